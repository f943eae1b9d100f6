// SPDX-License-Identifier: MIT
//
// peer_libuv: an echo server on libuv, as its documentation says to tune one. UV_UDP_RECVMMSG with
// one buffer of twenty datagrams of 64 KiB (uv_udp_recv_start divides it into 64 KiB chunks, at
// most twenty in 1.44) makes one recvmmsg fill up to twenty chunks. Replies go out with
// uv_udp_try_send straight from the chunk; one that finds no room is copied and queued with
// uv_udp_send.
#include "peer.hpp"

#include <cstring>
#include <memory>
#include <vector>

#include <uv.h>

namespace {

constexpr std::size_t chunk_size = 64 * 1024;  // UV__UDP_DGRAM_MAXSIZE
constexpr std::size_t chunk_count = 20;        // UV__MMSG_MAXWIDTH

void check(int result, const char* what) {
    if (result < 0) throw std::runtime_error(std::string(what) + ": " + uv_strerror(result));
}

class server {
  public:
    server(uv_loop_t& loop, const sockaddr_in& where) : buffer_(chunk_size * chunk_count) {
        check(::uv_udp_init_ex(&loop, &handle_, AF_INET | UV_UDP_RECVMMSG), "uv_udp_init_ex");
        handle_.data = this;
        const std::string words = "cannot listen on " + peer::to_text(where);
        check(::uv_udp_bind(&handle_, reinterpret_cast<const sockaddr*>(&where), 0), words.c_str());
        int size = peer::socket_buffer_size;
        check(::uv_recv_buffer_size(as_handle(), &size), "uv_recv_buffer_size");
        size = peer::socket_buffer_size;
        check(::uv_send_buffer_size(as_handle(), &size), "uv_send_buffer_size");
        check(::uv_udp_recv_start(&handle_, &server::on_allocate, &server::on_datagram),
              "uv_udp_recv_start");
    }

    [[nodiscard]] std::string local() const {
        sockaddr_in bound{};
        int size = sizeof bound;
        check(::uv_udp_getsockname(&handle_, reinterpret_cast<sockaddr*>(&bound), &size),
              "uv_udp_getsockname");
        return peer::to_text(bound);
    }
    [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }
    [[nodiscard]] bool is_failed() const noexcept { return error_ != 0; }
    [[nodiscard]] int error() const noexcept { return error_; }

  private:
    // The copy of a reply that has to wait, and the request that carries it.
    struct queued_reply {
        uv_udp_send_t request;
        server* owner;
        std::vector<char> payload;
    };

    uv_handle_t* as_handle() noexcept { return reinterpret_cast<uv_handle_t*>(&handle_); }

    static void on_allocate(uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
        auto* const self = static_cast<server*>(handle->data);
        // One buffer is enough: libuv hands it back before it asks again.
        *buffer = ::uv_buf_init(self->buffer_.data(), static_cast<unsigned>(self->buffer_.size()));
    }

    static void on_datagram(uv_udp_t* handle, ssize_t size, const uv_buf_t* buffer,
                            const sockaddr* from, unsigned) {
        auto* const self = static_cast<server*>(handle->data);
        if (size < 0) {
            self->error_ = static_cast<int>(size);
            ::uv_stop(handle->loop);
            return;
        }
        if (from == nullptr) return;  // nothing more to read, or UV_UDP_MMSG_FREE
        self->send_back(::uv_buf_init(buffer->base, static_cast<unsigned>(size)), from);
    }

    void send_back(const uv_buf_t& payload, const sockaddr* to) {
        const int sent = ::uv_udp_try_send(&handle_, &payload, 1, to);
        if (sent >= 0) return;
        if (sent != UV_EAGAIN) {
            ++refused_;
            return;
        }
        auto copy = std::make_unique<queued_reply>();
        copy->owner = this;
        copy->payload.assign(payload.base, payload.base + payload.len);
        copy->request.data = copy.get();
        const uv_buf_t queued =
            ::uv_buf_init(copy->payload.data(), static_cast<unsigned>(copy->payload.size()));
        if (::uv_udp_send(&copy->request, &handle_, &queued, 1, to, &server::on_sent) == 0) {
            static_cast<void>(copy.release());  // on_sent() frees it
        } else {
            ++refused_;
        }
    }

    static void on_sent(uv_udp_send_t* request, int status) {
        const std::unique_ptr<queued_reply> done(static_cast<queued_reply*>(request->data));
        if (status < 0) ++done->owner->refused_;
    }

    uv_udp_t handle_{};
    std::vector<char> buffer_;
    std::uint64_t refused_ = 0;
    int error_ = 0;
};

void stop_on(uv_loop_t& loop, uv_signal_t& signal, int number) {
    check(::uv_signal_init(&loop, &signal), "uv_signal_init");
    check(::uv_signal_start(
              &signal, [](uv_signal_t* handle, int) { ::uv_stop(handle->loop); }, number),
          "uv_signal_start");
}

void stop_after(uv_loop_t& loop, uv_timer_t& timer, double duration_s) {
    constexpr double second_ms = 1000;
    check(::uv_timer_init(&loop, &timer), "uv_timer_init");
    if (duration_s <= 0) return;
    check(::uv_timer_start(
              &timer, [](uv_timer_t* handle) { ::uv_stop(handle->loop); },
              static_cast<std::uint64_t>(duration_s * second_ms), 0),
          "uv_timer_start");
}

void serve(const peer::command_line& line) {
    // The handles live until the process ends: closing them would need another turn of the loop.
    uv_loop_t* const loop = ::uv_default_loop();
    server one(*loop, line.bind());
    uv_signal_t terminate;
    uv_signal_t interrupt;
    uv_timer_t timer;
    stop_on(*loop, terminate, SIGTERM);
    stop_on(*loop, interrupt, SIGINT);
    stop_after(*loop, timer, line.duration_s());
    peer::announce(one.local());
    ::uv_run(loop, UV_RUN_DEFAULT);
    peer::report_refused(one.refused());
    if (one.is_failed()) check(one.error(), "receive");
}

}  // namespace

int main(int argument_count, char** arguments) {
    peer::command_line line("Echo server: libuv with recvmmsg.");
    return peer::run_main(line, argument_count, arguments, [&] { serve(line); });
}
