// SPDX-License-Identifier: MIT
//
// Addresses as text: for logs and for what a user types, never on a datagram's way. inet_ntop(3)
// and inet_pton(3), which know no ports, stand beside ours for scale.
//
//   to_string/*    a std::string, of a size that needs no allocation only for short ones
//   stream/*       operator<<, into a stream that is emptied each time
//   parse/*        text known at run time only
//
// One thread. items_per_second: addresses.
#include <quoit/address.hpp>

#include <arpa/inet.h>
#include <benchmark/benchmark.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <sstream>
#include <string>
#include <string_view>

namespace {

using quoit::address;

constexpr std::string_view text_v4 = "192.168.100.200:54321";
constexpr std::string_view text_v6 = "[2001:db8:85a3::8a2e:370:7334]:54321";
constexpr const char* host_v4 = "192.168.100.200";
constexpr const char* host_v6 = "2001:db8:85a3::8a2e:370:7334";

void to_string_of(benchmark::State& state, std::string_view text) {
    address seen = *address::parse(text);
    for ([[maybe_unused]] auto iteration : state) {
        benchmark::DoNotOptimize(seen);
        std::string made = seen.to_string();
        benchmark::DoNotOptimize(made);
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(to_string_of, ipv4, text_v4)->Name("to_string/ipv4");
BENCHMARK_CAPTURE(to_string_of, ipv6, text_v6)->Name("to_string/ipv6");

void stream_of(benchmark::State& state, std::string_view text) {
    const address seen = *address::parse(text);
    std::ostringstream out;
    for ([[maybe_unused]] auto iteration : state) {
        out.seekp(0);
        out << seen;
        benchmark::DoNotOptimize(out);
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(stream_of, ipv4, text_v4)->Name("stream/ipv4");
BENCHMARK_CAPTURE(stream_of, ipv6, text_v6)->Name("stream/ipv6");

void inet_ntop_of(benchmark::State& state, int family, const char* text) {
    std::array<unsigned char, sizeof(in6_addr)> host{};
    if (::inet_pton(family, text, host.data()) != 1) state.SkipWithError("no such address");
    std::array<char, INET6_ADDRSTRLEN> into{};
    for ([[maybe_unused]] auto iteration : state) {
        benchmark::DoNotOptimize(host);
        benchmark::DoNotOptimize(::inet_ntop(family, host.data(), into.data(), into.size()));
        benchmark::ClobberMemory();
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(inet_ntop_of, ipv4, AF_INET, host_v4)->Name("to_string/ipv4/inet_ntop");
BENCHMARK_CAPTURE(inet_ntop_of, ipv6, AF_INET6, host_v6)->Name("to_string/ipv6/inet_ntop");

void parse_of(benchmark::State& state, std::string_view text) {
    for ([[maybe_unused]] auto iteration : state) {
        benchmark::DoNotOptimize(text);
        auto parsed = address::parse(text);
        benchmark::DoNotOptimize(parsed);
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(parse_of, ipv4, text_v4)->Name("parse/ipv4");
BENCHMARK_CAPTURE(parse_of, ipv6, text_v6)->Name("parse/ipv6");
// A mistake costs an error with words.
BENCHMARK_CAPTURE(parse_of, refused, "192.168.100.200:65536")->Name("parse/refused");

void inet_pton_of(benchmark::State& state, int family, const char* text) {
    std::array<unsigned char, sizeof(in6_addr)> host{};
    for ([[maybe_unused]] auto iteration : state) {
        benchmark::DoNotOptimize(text);
        benchmark::DoNotOptimize(::inet_pton(family, text, host.data()));
        benchmark::ClobberMemory();
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(inet_pton_of, ipv4, AF_INET, host_v4)->Name("parse/ipv4/inet_pton");
BENCHMARK_CAPTURE(inet_pton_of, ipv6, AF_INET6, host_v6)->Name("parse/ipv6/inet_pton");

}  // namespace

BENCHMARK_MAIN();
