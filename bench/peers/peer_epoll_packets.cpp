// SPDX-License-Identifier: MIT
//
// peer_epoll_packets: packets over TCP on the classic event loop, with nothing between it and the
// kernel: epoll_wait, one recv of all there is, one send of all answers. Edge-triggered: a short
// recv says that the socket is empty (epoll(7)), so nobody asks again. A client that does not read
// is not read from.
#include "packets.hpp"
#include "peer.hpp"

#include <memory>
#include <unordered_map>
#include <vector>

#include <netinet/tcp.h>
#include <sys/epoll.h>

namespace {

// A packet of P11 and a little more. With room for several (136, 264, 512 KiB) one of these took a
// third more CPU time.
constexpr std::size_t buffer_size = std::size_t{72} << 10U;

class connection {
  public:
    explicit connection(int fd) : fd_(fd), buffer_(buffer_size) {}
    ~connection() { ::close(fd_); }
    connection(const connection&) = delete;
    connection& operator=(const connection&) = delete;

    /// False when it has ended.
    bool turn(bool is_hung_up) {
        while (!peer::stop_signal::is_requested()) {
            if (!answer()) return !is_broken_;
            const std::span<char> space = buffer_.space();
            const ssize_t received = ::recv(fd_, space.data(), space.size(), 0);
            if (received < 0 && errno == EINTR) continue;
            if (received < 0) return errno == EAGAIN;
            if (received == 0) return false;
            const auto size = static_cast<std::size_t>(received);
            buffer_.received(size);
            if (size < space.size() && !is_hung_up) return answer() || !is_broken_;
        }
        return true;
    }

  private:
    // False when the kernel takes no more for now, or never.
    bool answer() {
        for (std::span<const char> whole = buffer_.whole(); !whole.empty();
             whole = buffer_.whole()) {
            const ssize_t sent = ::send(fd_, whole.data(), whole.size(), MSG_NOSIGNAL);
            if (sent >= 0) {
                buffer_.answered(static_cast<std::size_t>(sent));
            } else if (errno != EINTR) {
                is_broken_ = errno != EAGAIN;
                return false;
            }
        }
        return true;
    }

    int fd_;
    bool is_broken_ = false;
    peer::packet_buffer buffer_;
};

class server {
  public:
    explicit server(const sockaddr_in& where)
        : listener_(where), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
        if (epoll_ < 0) peer::fail("epoll_create1");
        add(listener_.fd(), EPOLLIN);
    }
    ~server() { ::close(epoll_); }
    server(const server&) = delete;
    server& operator=(const server&) = delete;

    [[nodiscard]] const peer::listening_socket& listener() const noexcept { return listener_; }

    void turn() {
        constexpr int event_count_max = 64;
        constexpr int for_ever = -1;
        std::array<epoll_event, event_count_max> ready;
        const int count = ::epoll_wait(epoll_, ready.data(), event_count_max, for_ever);
        if (count < 0 && errno != EINTR) peer::fail("epoll_wait");
        for (int i = 0; i < count; ++i) {
            const epoll_event& event = ready[static_cast<std::size_t>(i)];
            if (event.data.fd == listener_.fd()) {
                accept();
            } else if (!serve(event)) {
                connections_.erase(event.data.fd);
            }
        }
    }

  private:
    void add(int fd, std::uint32_t events) const {
        epoll_event interest{.events = events, .data = {.fd = fd}};
        if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &interest) != 0) peer::fail("epoll_ctl");
    }

    void accept() {
        for (;;) {
            const int fd =
                ::accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
            if (fd < 0 && errno == EAGAIN) return;
            if (fd < 0) peer::fail("accept");
            connections_[fd] = std::make_unique<connection>(fd);
            constexpr int on = 1;
            if (::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
                peer::fail("TCP_NODELAY");
            }
            add(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
        }
    }

    bool serve(const epoll_event& event) {
        const bool is_hung_up = (event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
        try {
            return connections_.at(event.data.fd)->turn(is_hung_up);
        } catch (const std::runtime_error& error) {
            std::fprintf(stderr, "%s\n", error.what());
            return false;
        }
    }

    peer::listening_socket listener_;
    int epoll_;
    std::unordered_map<int, std::unique_ptr<connection>> connections_;
};

void serve(const peer::command_line& line) {
    const peer::stop_signal stop(line.duration_s());
    server one(line.bind());
    peer::announce(peer::local_of(one.listener().fd()));
    while (!stop.is_requested())
        one.turn();
}

}  // namespace

int main(int argument_count, char** arguments) {
    peer::command_line line("Echo server of packets: epoll_wait, recv, send.");
    return peer::run_main(line, argument_count, arguments, [&] { serve(line); });
}
