// SPDX-License-Identifier: MIT
//
// peer_mmsg: the raw loop, recvmmsg and sendmmsg, 64 datagrams per call.
//
// With --offload it is the ceiling quoit is measured against: UDP_GRO on receive, and a train goes
// back as one message with UDP_SEGMENT straight from the buffer it came in. The socket blocks and
// recvmmsg waits for the first message only (MSG_WAITFORONE), so that a batch costs two system
// calls; received messages are turned into replies in place; see messages.hpp for the rest.
// Vectors of 8 trains: longer ones measured no faster, and their buffers leave the cache.
//
// --spin asks with MSG_DONTWAIT for ever instead of blocking: the raw loop for latency.
#include "messages.hpp"

namespace {

struct settings {
    bool is_offloading = false;
    bool is_spinning = false;
};

// Returns how many were refused: each of them is skipped, the rest is sent.
unsigned send_back(const peer::bound_socket& socket, peer::messages& batch, unsigned count) {
    for (unsigned i = 0; i < count; ++i)
        batch.to_reply(i);
    unsigned done = 0;
    unsigned refused = 0;
    while (done < count) {
        const int sent = ::sendmmsg(socket.fd(), batch.data() + done, count - done, MSG_NOSIGNAL);
        if (sent > 0) {
            done += static_cast<unsigned>(sent);
        } else if (errno != EINTR) {
            ++done;
            ++refused;
        }
    }
    return refused;
}

void serve(const peer::command_line& line, const settings& asked) {
    const peer::stop_signal stop(line.duration_s());
    const peer::bound_socket socket(line.bind());
    if (asked.is_offloading) socket.set(SOL_UDP, UDP_GRO, 1);
    peer::messages batch(asked.is_offloading ? peer::train_count : peer::datagram_count,
                         peer::datagram_size_max);
    const int flags = asked.is_spinning ? MSG_DONTWAIT : MSG_WAITFORONE;
    std::uint64_t refused = 0;
    peer::announce(socket);
    while (!stop.is_requested()) {
        const unsigned count = peer::receive(socket, batch, flags);
        if (count == 0) continue;
        refused += send_back(socket, batch, count);
        batch.reset(count);
    }
    peer::report_refused(refused);
}

}  // namespace

int main(int argument_count, char** arguments) {
    peer::command_line line("Echo server: recvmmsg and sendmmsg.");
    settings asked;
    line.app().add_flag("--offload", asked.is_offloading, "UDP_GRO and UDP_SEGMENT: the ceiling");
    line.app().add_flag("--spin", asked.is_spinning, "never block");
    return peer::run_main(line, argument_count, arguments, [&] { serve(line, asked); });
}
