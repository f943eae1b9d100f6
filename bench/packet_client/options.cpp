// SPDX-License-Identifier: MIT
#include "options.hpp"

#include "clock.hpp"
#include "packet.hpp"
#include "target.hpp"

#include <CLI/CLI.hpp>

namespace bench::packets {

namespace {

constexpr int exit_usage = 2;
constexpr unsigned connection_count_max = 1024;
constexpr std::size_t outstanding_max = 65'536;
constexpr double duration_min_s = 0.001;
constexpr double duration_max_s = 3600;
// What all packets that may be outstanding take together.
constexpr std::size_t memory_size_max = std::size_t{1} << 30U;

constexpr const char* footer =
    "Every connection keeps that many packets in flight; counted is what came back whole, once,\n"
    "and within the time. A packet is \"#!?&\", the body's length as u32, little-endian, and the\n"
    "body; the answer has to be the same. The client spins: it never waits for the kernel.\n"
    "\n"
    "The figures exclude the warm-up, except that duplicated and corrupted count from the start.\n"
    "lost: sent in the window and not answered 200 ms after its end. corrupted: an answer of\n"
    "another length or with other bytes. duplicated: answered twice, or behind a later one.\n"
    "cpu_ns_per_packet is the client's own; with --server-pid there is the server's too.\n"
    "Exit codes: 0 well, 1 it could not be done or no answer came, 2 the command line is wrong";

// The options whose unit differs from what `options` holds.
struct raw_options {
    double duration_s = 1;
    double warmup_s = 0;
    pid_t server = 0;
};

void add_options(CLI::App& app, options& asked, raw_options& raw) {
    app.add_option("--target", asked.target_text, "the server")
        ->required()
        ->type_name("ADDRESS:PORT")
        ->check([&](const std::string& text) { return parse_target(text, asked.target); });
    app.add_option("--connections", asked.connection_count, "connections at once")
        ->capture_default_str()
        ->check(CLI::Range(1U, connection_count_max));
    app.add_option("--outstanding", asked.outstanding, "packets in flight per connection")
        ->capture_default_str()
        ->check(CLI::Range(std::size_t{1}, outstanding_max));
    app.add_option("--size", asked.size, "bytes of a packet's body")
        ->capture_default_str()
        ->check(CLI::Range(sizeof(probe_header), body_size_max));
    app.add_option("--duration", raw.duration_s, "length of the measured window")
        ->type_name("SECONDS")
        ->capture_default_str()
        ->check(CLI::Range(duration_min_s, duration_max_s));
    app.add_option("--warmup", raw.warmup_s, "time before the window")
        ->type_name("SECONDS")
        ->capture_default_str()
        ->check(CLI::Range(0.0, duration_max_s));
    app.add_option("--server-pid", raw.server, "also report the CPU time of that process")
        ->type_name("PID")
        ->check(CLI::PositiveNumber);
    app.add_flag("--json", asked.is_json, "one JSON line instead of words");
}

void check_memory(const options& asked) {
    const std::size_t packets = asked.connection_count * asked.outstanding;
    if (packets <= memory_size_max / (prefix_size + asked.size)) return;
    throw CLI::ValidationError("--connections x --outstanding x --size", "more than 1 GiB");
}

void convert(const raw_options& raw, options& asked) {
    asked.duration_ns = static_cast<std::int64_t>(raw.duration_s * static_cast<double>(second_ns));
    asked.warmup_ns = static_cast<std::int64_t>(raw.warmup_s * static_cast<double>(second_ns));
    if (raw.server > 0) asked.server = raw.server;
}

}  // namespace

parsed_options parse_options(int argument_count, char** arguments) {
    CLI::App app("Measures an echo server of packets over TCP: the same client for all of them.");
    app.footer(footer);
    parsed_options result;
    raw_options raw;
    add_options(app, result.asked, raw);
    try {
        app.parse(argument_count, arguments);
        check_memory(result.asked);
        convert(raw, result.asked);
    } catch (const CLI::ParseError& error) {
        result.exit_code = app.exit(error) == 0 ? 0 : exit_usage;
    }
    return result;
}

}  // namespace bench::packets
