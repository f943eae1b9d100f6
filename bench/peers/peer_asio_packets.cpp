// SPDX-License-Identifier: MIT
//
// peer_asio_packets: packets over TCP on standalone Asio, as its users tune such a server. One
// thread says so to the io_context (concurrency hint 1). A connection reads what there is into a
// buffer that stays (async_read_some), takes the packets apart there, and answers all of them with
// one async_write. A client that does not read is not read from.
//
// With --one-by-one it is written as Asio's own examples of framed messages are: async_read of a
// header, async_read of the body, async_write of the answer.
#include "packets.hpp"
#include "peer.hpp"

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <sstream>
#include <string>
#include <utility>

#include <asio.hpp>

namespace {

using asio::ip::tcp;

// A packet of P11 and a little more. With room for several (136, 264, 512 KiB) one of these took a
// third more CPU time.
constexpr std::size_t buffer_size = std::size_t{72} << 10U;

class connection : public std::enable_shared_from_this<connection> {
  public:
    explicit connection(tcp::socket socket) : socket_(std::move(socket)), buffer_(buffer_size) {
        socket_.set_option(tcp::no_delay(true));
    }

    void read() {
        const std::span<char> space = buffer_.space();
        socket_.async_read_some(
            asio::buffer(space.data(), space.size()),
            [self = shared_from_this()](const asio::error_code& error, std::size_t size) {
                if (!error) self->parse(size);
            });
    }

  private:
    void parse(std::size_t size) {
        try {
            buffer_.received(size);
        } catch (const std::runtime_error& error) {
            std::fprintf(stderr, "%s\n", error.what());
            return;
        }
        answer();
    }

    void answer() {
        const std::span<const char> whole = buffer_.whole();
        if (whole.empty()) return read();
        asio::async_write(
            socket_, asio::buffer(whole.data(), whole.size()),
            [self = shared_from_this()](const asio::error_code& error, std::size_t size) {
                if (error) return;
                self->buffer_.answered(size);
                self->read();
            });
    }

    tcp::socket socket_;
    peer::packet_buffer buffer_;
};

class one_by_one : public std::enable_shared_from_this<one_by_one> {
  public:
    explicit one_by_one(tcp::socket socket) : socket_(std::move(socket)) {
        socket_.set_option(tcp::no_delay(true));
    }

    void read() {
        packet_.resize(peer::packet_head_size);
        asio::async_read(socket_, asio::buffer(packet_),
                         [self = shared_from_this()](const asio::error_code& error, std::size_t) {
                             if (!error) self->read_body();
                         });
    }

  private:
    void read_body() {
        std::uint32_t size = 0;
        std::memcpy(&size, packet_.data() + peer::packet_magic.size(), sizeof size);
        if (!packet_.starts_with(peer::packet_magic) || size > peer::packet_body_size_max) {
            std::fprintf(stderr, "a client sent what is no packet\n");
            return;
        }
        packet_.resize(peer::packet_head_size + size);
        asio::async_read(socket_, asio::buffer(packet_.data() + peer::packet_head_size, size),
                         [self = shared_from_this()](const asio::error_code& error, std::size_t) {
                             if (!error) self->answer();
                         });
    }

    void answer() {
        asio::async_write(socket_, asio::buffer(packet_),
                          [self = shared_from_this()](const asio::error_code& error, std::size_t) {
                              if (!error) self->read();
                          });
    }

    tcp::socket socket_;
    std::string packet_;
};

class server {
  public:
    server(asio::io_context& context, const tcp::endpoint& where, bool is_one_by_one)
        : acceptor_(context), is_one_by_one_(is_one_by_one) {
        acceptor_.open(where.protocol());
        acceptor_.set_option(tcp::acceptor::reuse_address(true));
        asio::error_code error;
        acceptor_.bind(where, error);
        if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
        if (error) {
            std::ostringstream words;
            words << "cannot listen on " << where;
            throw asio::system_error(error, words.str());
        }
    }

    [[nodiscard]] tcp::endpoint local() const { return acceptor_.local_endpoint(); }

    void accept() {
        acceptor_.async_accept([this](const asio::error_code& error, tcp::socket socket) {
            if (error == asio::error::operation_aborted) return;
            if (error) throw asio::system_error(error, "accept");
            if (is_one_by_one_) {
                std::make_shared<one_by_one>(std::move(socket))->read();
            } else {
                std::make_shared<connection>(std::move(socket))->read();
            }
            accept();
        });
    }

  private:
    tcp::acceptor acceptor_;
    bool is_one_by_one_;
};

void serve(const peer::command_line& line, bool is_one_by_one) {
    asio::io_context context(1);
    const tcp::endpoint where(asio::ip::address_v4(ntohl(line.bind().sin_addr.s_addr)),
                              ntohs(line.bind().sin_port));
    server one(context, where, is_one_by_one);

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
    one.accept();
    context.run();
}

}  // namespace

int main(int argument_count, char** arguments) {
    peer::command_line line("Echo server of packets: standalone Asio.");
    bool is_one_by_one = false;
    line.app().add_flag("--one-by-one", is_one_by_one,
                        "read header and body, and write each answer, by operations of their own");
    return peer::run_main(line, argument_count, arguments, [&] { serve(line, is_one_by_one); });
}
