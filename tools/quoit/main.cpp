// SPDX-License-Identifier: MIT
//
// The program quoit: an echo server and a load for it, and both ends of packets over TCP, to watch
// the engine work; and a doctor that says what keeps it from working well.
#include "command_line.hpp"
#include "failure.hpp"
#include "json_output.hpp"
#include "report.hpp"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include <fmt/format.h>

namespace {

using namespace quoit::program;

// One line, whatever the words are.
void complain(std::string_view where, std::string words) {
    std::ranges::replace_if(words, [](unsigned char c) { return c < ' ' || c == 0x7f; }, ' ');
    fmt::print(stderr, "{}: {}\n", where, words);
}

// The report goes where the JSON does not.
void print_report(const std::string& text, const json_output& json) {
    std::FILE* const to = json.is_standard_output() ? stderr : stdout;
    fmt::print(to, "{}", text);
    if (std::fflush(to) != 0) throw run_error("cannot write the report");
}

// Of a ledger of datagrams, or of packets.
template <class Ledger>
exit_code checked(const Ledger& ledger, exit_code otherwise, std::string_view where) {
    if (ledger.unexplained() == 0) return otherwise;
    complain(where, fmt::format("warning: the ledger cannot account for {} {}, which is a defect "
                                "of quoit",
                                ledger.unexplained(),
                                std::is_same_v<Ledger, quoit::stats> ? "datagrams" : "packets"));
    return exit_code::failure;
}

exit_code run(const print_command& asked) {
    fmt::print("{}", asked.text);
    if (std::fflush(stdout) != 0) throw run_error("cannot write to standard output");
    return exit_code::success;
}

exit_code run(const echo_command& asked) {
    json_output json(asked.json);
    const echo_result result = run_echo(asked.settings);
    print_report(to_text(result), json);
    json.write(to_json(result));
    return checked(result.ledger, exit_code::success, "quoit echo");
}

exit_code run(const load_command& asked) {
    json_output json(asked.json);
    const load_result result = run_load(asked.settings);
    print_report(to_text(asked.settings, result), json);
    json.write(to_json(asked.settings, result));
    if (result.counts.received > 0) {
        return checked(result.ledger, exit_code::success, "quoit load");
    }
    complain("quoit load", fmt::format("no reply came from {}{}", asked.settings.target.to_string(),
                                       result.ledger.received.refused > 0
                                           ? ": the port is not open (connection refused)"
                                           : ""));
    return checked(result.ledger, exit_code::no_reply, "quoit load");
}

exit_code run(const packets_serve_command& asked) {
    json_output json(asked.json);
    const packets_serve_result result = run_packets_serve(asked.settings);
    print_report(to_text(result), json);
    json.write(to_json(result));
    return checked(result.ledger, exit_code::success, "quoit packets serve");
}

// No report but the answers, so that it can stand in a pipe.
exit_code run(const packets_send_command& asked) {
    json_output json(asked.json);
    const packets_send_result result = run_packets_send(asked.settings);
    json.write(to_json(asked.settings, result));
    if (result.is_complete()) {
        return checked(result.ledger, exit_code::success, "quoit packets send");
    }
    complain("quoit packets send",
             fmt::format("{} of {} answers came from {}: {}", result.received, result.sent,
                         asked.settings.target.to_string(), result.reason));
    return checked(result.ledger, exit_code::no_reply, "quoit packets send");
}

// The report or the JSON, never both on standard output: what is printed is for a pipe.
exit_code run(const doctor_command& asked) {
    json_output json(asked.json);
    const doctor_result result = run_doctor(asked.settings);
    std::string text;
    if (asked.wants_fix) {
        text = to_sysctl_file(result);
    } else if (!json.is_standard_output()) {
        text = to_text(result);
    }
    fmt::print("{}", text);
    if (std::fflush(stdout) != 0) throw run_error("cannot write to standard output");
    json.write(to_json(result));
    return has_failed(result.findings) ? exit_code::failure : exit_code::success;
}

std::string_view name_of(const command& asked) {
    if (std::holds_alternative<doctor_command>(asked)) return "quoit doctor";
    if (std::holds_alternative<echo_command>(asked)) return "quoit echo";
    if (std::holds_alternative<load_command>(asked)) return "quoit load";
    if (std::holds_alternative<packets_serve_command>(asked)) return "quoit packets serve";
    if (std::holds_alternative<packets_send_command>(asked)) return "quoit packets send";
    return "quoit";
}

exit_code run(const command& asked) {
    try {
        return std::visit([](const auto& one) { return run(one); }, asked);
    } catch (const std::exception& why) {
        complain(name_of(asked), why.what());
        return exit_code::failure;
    }
}

}  // namespace

int main(int argument_count, char** arguments) {
    if (argument_count < 2) {
        const char* const help[] = {"quoit", "--help"};
        fmt::print(stderr, "{}", std::get<print_command>(parse_command_line(2, help)).text);
        return static_cast<int>(exit_code::usage);
    }
    try {
        return static_cast<int>(run(parse_command_line(argument_count, arguments)));
    } catch (const usage_error& wrong) {
        complain("quoit", std::string(wrong.what()) + " (quoit --help tells more)");
        return static_cast<int>(exit_code::usage);
    } catch (const std::exception& why) {
        complain("quoit", why.what());
        return static_cast<int>(exit_code::failure);
    }
}
