// SPDX-License-Identifier: MIT
//
// peer_epoll: the classic event loop, epoll_wait, then recvfrom until EAGAIN with one sendto each.
// Edge-triggered: the socket is always read until empty, so the kernel need not look at it again
// on the next wait. --spin never blocks in epoll_wait.
#include "peer.hpp"

#include <vector>

#include <sys/epoll.h>

namespace {

class server {
  public:
    explicit server(const sockaddr_in& where)
        : socket_(where, SOCK_NONBLOCK), epoll_(::epoll_create1(EPOLL_CLOEXEC)),
          buffer_(peer::datagram_size_max) {
        if (epoll_ < 0) peer::fail("epoll_create1");
        epoll_event interest{.events = EPOLLIN | EPOLLET, .data = {}};
        if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, socket_.fd(), &interest) != 0) {
            peer::fail("epoll_ctl");
        }
    }
    ~server() { ::close(epoll_); }
    server(const server&) = delete;
    server& operator=(const server&) = delete;

    [[nodiscard]] const peer::bound_socket& socket() const noexcept { return socket_; }
    [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }

    void turn(int timeout_ms) {
        epoll_event ready;
        const int count = ::epoll_wait(epoll_, &ready, 1, timeout_ms);
        if (count < 0 && errno != EINTR) peer::fail("epoll_wait");
        // Bounded, so that a flood cannot keep the loop from seeing that it should end.
        while (count > 0 && !peer::stop_signal::is_requested() && echo_one()) {
        }
    }

  private:
    // False when there is nothing more.
    bool echo_one() {
        sockaddr_in from;
        socklen_t from_size = sizeof from;
        auto* const name = reinterpret_cast<sockaddr*>(&from);
        const ssize_t received =
            ::recvfrom(socket_.fd(), buffer_.data(), buffer_.size(), 0, name, &from_size);
        if (received < 0) {
            if (errno == EINTR) return true;
            if (errno == EAGAIN) return false;
            peer::fail("recvfrom");
        }
        const auto size = static_cast<std::size_t>(received);
        if (::sendto(socket_.fd(), buffer_.data(), size, MSG_NOSIGNAL, name, from_size) < 0) {
            ++refused_;
        }
        return true;
    }

    peer::bound_socket socket_;
    int epoll_;
    std::vector<char> buffer_;
    std::uint64_t refused_ = 0;
};

void serve(const peer::command_line& line, bool is_spinning) {
    const peer::stop_signal stop(line.duration_s());
    server one(line.bind());
    peer::announce(one.socket());
    constexpr int for_ever = -1;
    while (!stop.is_requested())
        one.turn(is_spinning ? 0 : for_ever);
    peer::report_refused(one.refused());
}

}  // namespace

int main(int argument_count, char** arguments) {
    peer::command_line line("Echo server: epoll_wait, recvfrom until EAGAIN, sendto.");
    bool is_spinning = false;
    line.app().add_flag("--spin", is_spinning, "never block in epoll_wait");
    return peer::run_main(line, argument_count, arguments, [&] { serve(line, is_spinning); });
}
