// SPDX-License-Identifier: MIT
//
// peer_recvfrom: the simplest echo server there is, a blocking socket, one recvfrom and one sendto
// per datagram. Nothing to tune but the socket buffers: a blocking receive needs no readiness
// call, so this is the least a datagram can cost one at a time.
#include "peer.hpp"

#include <vector>

namespace {

void serve(const peer::command_line& line) {
    const peer::stop_signal stop(line.duration_s());
    const peer::bound_socket socket(line.bind());
    std::vector<char> buffer(peer::datagram_size_max);
    std::uint64_t refused = 0;
    peer::announce(socket);
    while (!stop.is_requested()) {
        sockaddr_in from;
        socklen_t from_size = sizeof from;
        auto* const name = reinterpret_cast<sockaddr*>(&from);
        const ssize_t received =
            ::recvfrom(socket.fd(), buffer.data(), buffer.size(), 0, name, &from_size);
        if (received < 0) {
            if (errno == EINTR) continue;
            peer::fail("recvfrom");
        }
        const auto size = static_cast<std::size_t>(received);
        if (::sendto(socket.fd(), buffer.data(), size, MSG_NOSIGNAL, name, from_size) < 0) {
            ++refused;
        }
    }
    peer::report_refused(refused);
}

}  // namespace

int main(int argument_count, char** arguments) {
    peer::command_line line("Echo server: blocking recvfrom and sendto.");
    return peer::run_main(line, argument_count, arguments, [&] { serve(line); });
}
