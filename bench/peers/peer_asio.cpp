// SPDX-License-Identifier: MIT
//
// peer_asio: standalone Asio, as its users tune an echo server. One thread says so to the
// io_context (concurrency hint 1), and the socket is non-blocking: after each asynchronous receive
// the handler drains the socket with direct receive_from calls until would_block, answering with
// direct send_to calls, so that only a wake-up and not every datagram goes through the reactor. A
// reply the socket has no room for is sent with async_send_to before receiving goes on.
#include "peer.hpp"

#include <chrono>
#include <sstream>
#include <vector>

#include <asio.hpp>

namespace {

using asio::ip::udp;

// Bounded, so that a flood cannot keep timers and signals from being served.
constexpr int drain_count_max = 256;

class server {
  public:
    server(asio::io_context& context, const udp::endpoint& where)
        : socket_(context), buffer_(peer::datagram_size_max) {
        socket_.open(where.protocol());
        socket_.set_option(asio::socket_base::receive_buffer_size(peer::socket_buffer_size));
        socket_.set_option(asio::socket_base::send_buffer_size(peer::socket_buffer_size));
        asio::error_code error;
        socket_.bind(where, error);
        if (error) {
            std::ostringstream words;
            words << "cannot listen on " << where;
            throw asio::system_error(error, words.str());
        }
        socket_.non_blocking(true);
    }

    [[nodiscard]] udp::endpoint local() const { return socket_.local_endpoint(); }
    [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }

    void start() {
        socket_.async_receive_from(asio::buffer(buffer_), from_,
                                   [this](const asio::error_code& error, std::size_t size) {
                                       if (error == asio::error::operation_aborted) return;
                                       if (error) throw asio::system_error(error, "receive");
                                       drain(size);
                                   });
    }

  private:
    void drain(std::size_t size) {
        for (int count = 0; count < drain_count_max; ++count) {
            asio::error_code error;
            socket_.send_to(asio::buffer(buffer_.data(), size), from_, 0, error);
            if (error == asio::error::would_block) return send_later(size);
            if (error) ++refused_;
            size = socket_.receive_from(asio::buffer(buffer_), from_, 0, error);
            if (error == asio::error::would_block) return start();
            if (error) throw asio::system_error(error, "receive");
        }
        send_later(size);
    }

    void send_later(std::size_t size) {
        socket_.async_send_to(asio::buffer(buffer_.data(), size), from_,
                              [this](const asio::error_code& error, std::size_t) {
                                  if (error == asio::error::operation_aborted) return;
                                  if (error) ++refused_;
                                  start();
                              });
    }

    udp::socket socket_;
    udp::endpoint from_;
    std::vector<char> buffer_;
    std::uint64_t refused_ = 0;
};

void serve(const peer::command_line& line) {
    asio::io_context context(1);
    const udp::endpoint where(asio::ip::address_v4(ntohl(line.bind().sin_addr.s_addr)),
                              ntohs(line.bind().sin_port));
    server one(context, where);

    asio::signal_set signals(context, SIGTERM, SIGINT);
    signals.async_wait([&](const asio::error_code&, int) { context.stop(); });
    asio::steady_timer timer(context);
    if (line.duration_s() > 0) {
        const std::chrono::duration<double> duration(line.duration_s());
        timer.expires_after(std::chrono::duration_cast<std::chrono::nanoseconds>(duration));
        timer.async_wait([&](const asio::error_code&) { context.stop(); });
    }

    std::ostringstream local;
    local << one.local();
    peer::announce(local.str());
    one.start();
    context.run();
    peer::report_refused(one.refused());
}

}  // namespace

int main(int argument_count, char** arguments) {
    peer::command_line line("Echo server: standalone Asio.");
    return peer::run_main(line, argument_count, arguments, [&] { serve(line); });
}
