// SPDX-License-Identifier: MIT
#include "settings.hpp"

#include "clock.hpp"
#include "probe.hpp"
#include "target.hpp"

#include <map>

#include <CLI/CLI.hpp>

namespace bench {

namespace {

constexpr int exit_usage = 2;
constexpr unsigned flow_count_max = 1024;
constexpr std::uint64_t outstanding_max = 65'536;
constexpr std::size_t size_max = 65'507;
constexpr double duration_min_s = 0.001;
constexpr double duration_max_s = 3600;
constexpr double rate_max = 1e9;

constexpr const char* footer =
    "echo   closed loop: every flow keeps that many datagrams in flight; counted is what came\n"
    "       back whole, once, and within the time. A datagram unanswered for 200 ms gives its\n"
    "       place back and is lost unless it comes yet.\n"
    "ping   one flow, one datagram at a time, for the round trip\n"
    "flood  sends only; the receiver counts\n"
    "\n"
    "The figures exclude the warm-up, except that duplicated and corrupted count from the start.\n"
    "cpu_ns_per_datagram is the client's own; with --server-pid there is the server's too.\n"
    "Exit codes: 0 well, 1 it could not be done or no reply came, 2 the command line is wrong";

const std::map<std::string, mode> modes{
    {"echo", mode::echo}, {"ping", mode::ping}, {"flood", mode::flood}};

// The options whose text or unit differs from what settings holds.
struct raw_options {
    std::string mode_name = "echo";
    std::string offload = "off";
    double duration_s = 1;
    double warmup_s = 0;
    pid_t server = 0;
};

void add_options(CLI::App& app, settings& asked, raw_options& raw) {
    app.add_option("--target", asked.target_text, "the server")
        ->required()
        ->type_name("ADDRESS:PORT")
        ->check([&](const std::string& text) { return parse_target(text, asked.target); });
    app.add_option("--mode", raw.mode_name, "echo, ping or flood")
        ->type_name("NAME")
        ->capture_default_str()
        ->check(CLI::IsMember(modes));
    app.add_option("--flows", asked.flow_count, "connected sockets")
        ->capture_default_str()
        ->check(CLI::Range(1U, flow_count_max));
    app.add_option("--outstanding", asked.outstanding, "datagrams in flight per flow (echo)")
        ->capture_default_str()
        ->check(CLI::Range(std::uint64_t{1}, outstanding_max));
    app.add_option("--size", asked.size, "bytes of payload")
        ->capture_default_str()
        ->check(CLI::Range(sizeof(probe_header), size_max));
    app.add_option("--offload", raw.offload, "on: send with UDP_SEGMENT, receive with UDP_GRO")
        ->type_name("on|off")
        ->capture_default_str()
        ->check(CLI::IsMember({"on", "off"}));
    app.add_option("--duration", raw.duration_s, "length of the measured window")
        ->type_name("SECONDS")
        ->capture_default_str()
        ->check(CLI::Range(duration_min_s, duration_max_s));
    app.add_option("--warmup", raw.warmup_s, "time before the window")
        ->type_name("SECONDS")
        ->capture_default_str()
        ->check(CLI::Range(0.0, duration_max_s));
    app.add_option("--rate", asked.rate, "datagrams per second (flood); default: no limit")
        ->type_name("PER_SECOND")
        ->check(CLI::Range(1.0, rate_max));
    app.add_option("--train-max", asked.train_max, "offload: datagrams sent as one, at most")
        ->type_name("N")
        ->check(CLI::Range(1, 64));
    app.add_option("--server-pid", raw.server, "also report the CPU time of that process")
        ->type_name("PID")
        ->check(CLI::PositiveNumber);
    app.add_flag("--spin", asked.is_spinning, "never block: ask and ask again");
    app.add_flag("--json", asked.is_json, "one JSON line instead of words");
}

// Options that a mode would ignore are refused.
void check_combination(const CLI::App& app, const settings& asked) {
    const auto refuse = [&](const char* option, const char* words) {
        throw CLI::ValidationError(option, std::string(words) + " in mode " + name_of(asked.kind));
    };
    if (asked.kind != mode::flood && asked.rate > 0) refuse("--rate", "has no meaning");
    if (asked.kind != mode::ping) return;
    if (asked.flow_count != 1) refuse("--flows", "must be 1");
    if (asked.is_offloading) refuse("--offload", "must be off");
    if (app.count("--outstanding") > 0 && asked.outstanding != 1) {
        refuse("--outstanding", "must be 1");
    }
}

void convert(const raw_options& raw, settings& asked) {
    asked.kind = modes.at(raw.mode_name);
    asked.is_offloading = raw.offload == "on";
    asked.duration_ns = static_cast<std::int64_t>(raw.duration_s * static_cast<double>(second_ns));
    asked.warmup_ns = static_cast<std::int64_t>(raw.warmup_s * static_cast<double>(second_ns));
    if (raw.server > 0) asked.server = raw.server;
}

}  // namespace

parsed_settings parse_settings(int argument_count, char** arguments) {
    CLI::App app("Measures a UDP echo server: the same client for all of them.");
    app.footer(footer);
    parsed_settings result;
    raw_options raw;
    add_options(app, result.asked, raw);
    try {
        app.parse(argument_count, arguments);
        convert(raw, result.asked);
        check_combination(app, result.asked);
    } catch (const CLI::ParseError& error) {
        result.exit_code = app.exit(error) == 0 ? 0 : exit_usage;
    }
    if (result.asked.kind == mode::ping) result.asked.outstanding = 1;
    return result;
}

const char* name_of(mode kind) noexcept {
    switch (kind) {
        case mode::echo: return "echo";
        case mode::ping: return "ping";
        case mode::flood: return "flood";
    }
    return "";
}

}  // namespace bench
