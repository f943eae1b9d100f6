// SPDX-License-Identifier: MIT
//
// bench_packet_client: the one client all contestants with packets over TCP face. It includes
// nothing of quoit, costs the same whoever answers, and counts what came back, never what was sent.
//
//   bench_packet_client --target 127.0.0.1:4200 --outstanding 64 --size 64 --duration 1
//
// One thread that spins: receives what there is, compares it byte for byte with what was sent, and
// sends what has become free as one send.
#include "clock.hpp"
#include "figures.hpp"
#include "options.hpp"
#include "run.hpp"

#include <cstdio>
#include <exception>

namespace {

namespace packets = bench::packets;

constexpr int exit_failure = 1;

void report(const packets::options& asked, const packets::result& measured) {
    const bench::figures told = {
        {"mode", "packets"},
        {"connections", asked.connection_count},
        {"outstanding", asked.outstanding},
        {"size", asked.size},
        {"seconds", measured.seconds},
        {"sent", measured.sent},
        {"received", measured.received},
        {"lost", measured.sent - measured.received},
        {"duplicated", measured.duplicated},
        {"corrupted", measured.corrupted},
        {"rate", static_cast<double>(measured.answered) / measured.seconds},
        {"cpu_ns_per_packet", bench::cpu_ns_per(measured.own_cpu_ns, measured.answered)},
        {"server_cpu_ns_per_packet", bench::cpu_ns_per(measured.server_cpu_ns, measured.answered)},
        {"rtt_ns", bench::round_trip_figures(measured.round_trips)}};
    bench::print(told, asked.is_json);
}

}  // namespace

int main(int argument_count, char** arguments) {
    try {
        const packets::parsed_options parsed = packets::parse_options(argument_count, arguments);
        if (parsed.exit_code) return *parsed.exit_code;
        bench::note_interrupts();
        const packets::result measured = packets::run(parsed.asked);
        report(parsed.asked, measured);
        if (measured.received > 0) return 0;
        std::fprintf(stderr, "bench_packet_client: no answer came from %s\n",
                     parsed.asked.target_text.c_str());
        return exit_failure;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench_packet_client: %s\n", error.what());
        return exit_failure;
    }
}
