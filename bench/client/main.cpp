// SPDX-License-Identifier: MIT
//
// bench_client: the one client all contestants of the benchmarks face. It includes nothing of
// quoit, costs the same whoever answers, and counts what came back, never what was sent.
//
// One thread. Sockets are connected (no route lookup per send) with buffers of 4 MiB; everything
// there is is received before anything is sent; with --offload on a flow's datagrams leave as one
// UDP_SEGMENT message and replies are received by UDP_GRO.
#include "clock.hpp"
#include "result.hpp"
#include "settings.hpp"

#include <cstdio>
#include <exception>

namespace {

constexpr int exit_failure = 1;

bench::result run(const bench::settings& asked) {
    switch (asked.kind) {
        case bench::mode::echo: return bench::run_echo(asked);
        case bench::mode::ping: return bench::run_ping(asked);
        case bench::mode::flood: return bench::run_flood(asked);
    }
    return {};
}

// A run that measured nothing is a failure, even if the report is printed.
int judge(const bench::settings& asked, const bench::result& measured) {
    const bool is_flood = asked.kind == bench::mode::flood;
    if ((is_flood ? measured.sent : measured.received) > 0) return 0;
    std::fprintf(stderr, "bench_client: %s %s%s\n",
                 is_flood ? "nothing could be sent to" : "no reply came from",
                 asked.target_text.c_str(),
                 measured.refused > 0 ? ": the port is not open (connection refused)" : "");
    return exit_failure;
}

}  // namespace

int main(int argument_count, char** arguments) {
    try {
        const bench::parsed_settings parsed = bench::parse_settings(argument_count, arguments);
        if (parsed.exit_code) return *parsed.exit_code;
        bench::note_interrupts();
        const bench::result measured = run(parsed.asked);
        bench::report(parsed.asked, measured);
        return judge(parsed.asked, measured);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench_client: %s\n", error.what());
        return exit_failure;
    }
}
