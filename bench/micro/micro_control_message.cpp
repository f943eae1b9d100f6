// SPDX-License-Identifier: MIT
//
// What it costs to read a received message where it lies in its buffer: once per system call's
// message, so once per datagram, or once per train where the kernel coalesces.
//
//   parse_control/none, gro, everything   the control messages alone: none; the segment of a train,
//                                         which every endpoint with GRO gets; all the metadata the
//                                         options can ask for, in the kernel's order
//   parse_message/plain, train, everything   the whole message: header, name (IPv4), control
//
// One thread, buffers in the cache. items_per_second: messages.
#include "net/control_message.hpp"
#include "net/message.hpp"
#include "net/sockaddr.hpp"

#include <benchmark/benchmark.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <span>
#include <vector>

#ifndef UDP_GRO
#define UDP_GRO 104  // since Linux 5.0, <linux/udp.h>
#endif

namespace {

using namespace quoit::detail;
using bytes = std::vector<std::byte>;

constexpr std::uint32_t datagram_size = 64;

template <class T>
void append(bytes& to, int level, int type, const T& value) {
    cmsghdr header{};
    header.cmsg_len = CMSG_LEN(sizeof value);
    header.cmsg_level = level;
    header.cmsg_type = type;
    const std::size_t at = to.size();
    to.resize(at + CMSG_SPACE(sizeof value));
    std::memcpy(to.data() + at, &header, sizeof header);
    std::memcpy(to.data() + at + CMSG_LEN(0), &value, sizeof value);
}

bytes no_control() { return {}; }

bytes gro_control() {
    bytes control;
    append(control, SOL_UDP, UDP_GRO, static_cast<int>(datagram_size));
    return control;
}

bytes every_control() {
    in_pktinfo info{};
    info.ipi_ifindex = 1;
    info.ipi_addr.s_addr = htonl(INADDR_LOOPBACK);
    bytes control;
    append(control, SOL_SOCKET, SCM_TIMESTAMPNS, timespec{.tv_sec = 1'700'000'000, .tv_nsec = 42});
    append(control, IPPROTO_IP, IP_PKTINFO, info);
    append(control, IPPROTO_IP, IP_TTL, 64);
    append(control, IPPROTO_IP, IP_TOS, std::uint8_t{0xb8});
    append(control, SOL_UDP, UDP_GRO, static_cast<int>(datagram_size));
    return control;
}

void parse_control_of(benchmark::State& state, bytes (*make)()) {
    const bytes control = make();
    std::span<const std::byte> seen(control);
    for ([[maybe_unused]] auto iteration : state) {
        benchmark::DoNotOptimize(seen);
        control_data said = parse_control(seen);
        benchmark::DoNotOptimize(said);
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(parse_control_of, none, no_control)->Name("parse_control/none");
BENCHMARK_CAPTURE(parse_control_of, gro, gro_control)->Name("parse_control/gro");
BENCHMARK_CAPTURE(parse_control_of, everything, every_control)->Name("parse_control/everything");

// A buffer as a backend leaves it.
struct laid_out {
    laid_out(const bytes& control, std::uint32_t payload_size) {
        layout.name_size = sizeof(sockaddr_in);
        layout.control_size = static_cast<std::uint16_t>(control.size());
        message_header header;
        header.name_size = layout.name_size;
        header.control_size = layout.control_size;
        header.payload_size = payload_size;
        const socket_address peer(quoit::address("127.0.0.1", 9999));
        buffer.resize(layout.payload_offset() + payload_size);
        std::memcpy(buffer.data(), &header, sizeof header);
        std::memcpy(buffer.data() + message_layout::header_size, peer.get(), peer.size());
        if (!control.empty()) {
            std::memcpy(buffer.data() + layout.control_offset(), control.data(), control.size());
        }
    }
    bytes buffer;
    message_layout layout;
};

void parse_message_of(benchmark::State& state, bytes (*make)(), std::uint32_t datagrams) {
    const laid_out message(make(), datagrams * datagram_size);
    if (const parsed_message parsed =
            parse_message(message.buffer, message.layout, quoit::payload_size_limit);
        parsed.state != message_state::valid || parsed.count() != datagrams) {
        state.SkipWithError("this is not the message that was meant");
    }
    std::span<const std::byte> seen(message.buffer);
    for ([[maybe_unused]] auto iteration : state) {
        benchmark::DoNotOptimize(seen);
        parsed_message parsed = parse_message(seen, message.layout, quoit::payload_size_limit);
        benchmark::DoNotOptimize(parsed);
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(parse_message_of, plain, no_control, 1)->Name("parse_message/plain");
BENCHMARK_CAPTURE(parse_message_of, train, gro_control, 64)->Name("parse_message/train");
BENCHMARK_CAPTURE(parse_message_of, everything, every_control, 64)
    ->Name("parse_message/everything");

}  // namespace

BENCHMARK_MAIN();
