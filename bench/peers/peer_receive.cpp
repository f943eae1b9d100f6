// SPDX-License-Identifier: MIT
//
// peer_receive: receives only, to tell what one datagram costs the reader. recvmmsg in a blocking
// loop; with --offload trains by UDP_GRO. Every datagram of a train is visited and its first eight
// bytes added to a checksum, as the least any reader does. Tuned like peer_mmsg.
//
// When it ends it prints one JSON line: datagrams, bytes, cpu_ns (user and system time of the
// process), cpu_ns_before_ready (the part of it that starting took), messages, checksum.
#include "messages.hpp"

#include <algorithm>
#include <cinttypes>

namespace {

struct totals {
    std::uint64_t datagrams = 0;
    std::uint64_t bytes = 0;
    std::uint64_t messages = 0;
    std::uint64_t checksum = 0;
};

std::int64_t process_cpu_ns() {
    constexpr std::int64_t second_ns = 1'000'000'000;
    timespec used{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return used.tv_sec * second_ns + used.tv_nsec;
}

void read_datagram(const char* payload, std::size_t size, totals& so_far) {
    std::uint64_t word = 0;
    if (size >= sizeof word) {
        std::memcpy(&word, payload, sizeof word);
    } else {
        std::memcpy(&word, payload, size);
    }
    so_far.checksum += word;
    ++so_far.datagrams;
}

void read_message(const peer::messages& batch, unsigned i, totals& so_far) {
    const std::size_t size = batch.size(i);
    const std::size_t segment = batch.segment_size(i);
    ++so_far.messages;
    so_far.bytes += size;
    if (segment == 0 || segment >= size) return read_datagram(batch.payload(i), size, so_far);
    for (std::size_t at = 0; at < size; at += segment)
        read_datagram(batch.payload(i) + at, std::min(segment, size - at), so_far);
}

void print(const totals& all, std::int64_t before_ready_ns) {
    std::printf(
        "{\"datagrams\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"cpu_ns\":%" PRId64
        ",\"cpu_ns_before_ready\":%" PRId64 ",\"messages\":%" PRIu64 ",\"checksum\":%" PRIu64 "}\n",
        all.datagrams, all.bytes, process_cpu_ns(), before_ready_ns, all.messages, all.checksum);
    if (std::fflush(stdout) != 0) peer::fail("cannot write to standard output");
}

void serve(const peer::command_line& line, bool is_offloading) {
    const peer::stop_signal stop(line.duration_s());
    const peer::bound_socket socket(line.bind());
    if (is_offloading) socket.set(SOL_UDP, UDP_GRO, 1);
    peer::messages batch(is_offloading ? peer::train_count : peer::datagram_count,
                         peer::datagram_size_max);
    totals all;
    peer::announce(socket);
    const std::int64_t before_ready_ns = process_cpu_ns();
    while (!stop.is_requested()) {
        const unsigned count = peer::receive(socket, batch, MSG_WAITFORONE);
        for (unsigned i = 0; i < count; ++i)
            read_message(batch, i, all);
        batch.reset(count);
    }
    print(all, before_ready_ns);
}

}  // namespace

int main(int argument_count, char** arguments) {
    peer::command_line line("Receives, counts and answers nothing: recvmmsg.");
    bool is_offloading = false;
    line.app().add_flag("--offload", is_offloading, "receive trains: UDP_GRO");
    return peer::run_main(line, argument_count, arguments, [&] { serve(line, is_offloading); });
}
