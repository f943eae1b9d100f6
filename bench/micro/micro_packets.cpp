// SPDX-License-Identifier: MIT
//
// What framing costs a packet, without a kernel.
//
//   parse/short   64 packets of 64 bytes, all in one chunk; the packets are dropped again
//   parse/long    one packet of 64 KiB in chunks of 16 KiB
//   write/one     a packet of 64 bytes: pushed, gathered, consumed
//   write/burst   64 of them pushed, gathered once, consumed
//   write/shared  a packet of 64 KiB that is shared: pushed, gathered, consumed
//
// items_per_second: packets; bytes_per_second: their bodies.
#include "packets/packet_parser.hpp"
#include "packets/packet_write_queue.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace {

using namespace quoit::detail;
using quoit::byte_view;
using quoit::packet_framing;
using quoit::shared_bytes;

constexpr auto framing = packet_framing::packetsocket;
constexpr std::uint32_t short_size = 64;
constexpr std::uint32_t long_size = 65'536;
constexpr std::size_t burst = 64;

std::vector<std::byte> stream_of(std::uint32_t body_size, std::size_t count) {
    std::vector<std::byte> stream;
    for (std::size_t i = 0; i < count; ++i) {
        std::array<std::byte, packet_header_size_max> header{};
        write_packet_header(framing, body_size, header.data());
        const auto size = static_cast<std::ptrdiff_t>(packet_header_size(framing));
        stream.insert(stream.end(), header.begin(), header.begin() + size);
        stream.insert(stream.end(), body_size, std::byte{'x'});
    }
    return stream;
}

void report(benchmark::State& state, std::size_t count, std::uint32_t size) {
    const auto packets = state.iterations() * static_cast<std::int64_t>(count);
    state.SetItemsProcessed(packets);
    state.SetBytesProcessed(packets * size);
}

void parse(benchmark::State& state, std::uint32_t body_size, std::size_t count,
           std::size_t chunk_size) {
    const std::vector<std::byte> stream = stream_of(body_size, count);
    packet_parser parser(framing, 16U << 20);
    std::vector<shared_bytes> packets;
    for ([[maybe_unused]] auto iteration : state) {
        std::span<const std::byte> left = stream;
        while (!left.empty()) {
            const auto chunk = left.first(std::min(chunk_size, left.size()));
            if (parser.parse(chunk, packets) != parse_outcome::more) state.SkipWithError("parse");
            left = left.subspan(chunk.size());
        }
        benchmark::DoNotOptimize(packets.data());
        if (packets.size() != count) state.SkipWithError("not every packet was found");
        packets.clear();
    }
    report(state, count, body_size);
}
BENCHMARK_CAPTURE(parse, short, short_size, burst, 65'536);
BENCHMARK_CAPTURE(parse, long, long_size, 1, 16'384);

template <class Body>
void push_and_take(benchmark::State& state, const Body& body, std::size_t count) {
    packet_write_queue queue(framing);
    std::array<iovec, 16> pieces;
    for ([[maybe_unused]] auto iteration : state) {
        for (std::size_t i = 0; i < count; ++i)
            queue.push(body);
        benchmark::DoNotOptimize(queue.gather(pieces));
        benchmark::DoNotOptimize(pieces);
        if (queue.consume(queue.size()) != count) state.SkipWithError("not every packet has gone");
    }
    report(state, count, static_cast<std::uint32_t>(body.size()));
}

void write(benchmark::State& state, std::size_t count) {
    const std::vector<std::byte> body(short_size);
    push_and_take(state, byte_view(body), count);
}
BENCHMARK_CAPTURE(write, one, 1);
BENCHMARK_CAPTURE(write, burst, burst);

void write_shared(benchmark::State& state) {
    const std::vector<std::byte> body(long_size);
    push_and_take(state, shared_bytes::copy_of(body), 1);
}
BENCHMARK(write_shared)->Name("write/shared");

}  // namespace

BENCHMARK_MAIN();
