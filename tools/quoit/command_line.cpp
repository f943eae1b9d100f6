// SPDX-License-Identifier: MIT
#include "command_line.hpp"

#include "failure.hpp"
#include "manual.hpp"
#include "probe.hpp"
#include "units.hpp"

#include <quoit/every_core.hpp>
#include <quoit/version.hpp>

#include <memory>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

namespace quoit::program {

namespace {

constexpr std::uint32_t worker_count_max = 64;
constexpr std::uint32_t flow_count_max = 1024;
constexpr std::uint32_t outstanding_max = 65'536;
constexpr std::uint32_t ipv4_payload_size_max = 65'507;

constexpr const char* main_footer =
    "Exit codes: 0 well, 1 it could not be done, (doctor) something is broken,\n"
    "2 the command line is wrong, 3 (load) no reply came, (packets send) answers are\n"
    "missing.\n"
    "More: quoit doctor --help, quoit echo --help, quoit load --help,\n"
    "quoit packets serve --help, quoit packets send --help";

constexpr const char* doctor_footer =
    "It looks at this process and this machine and changes nothing. What it finds is OK,\n"
    "WARN (datagrams or time may be lost, or io_uring cannot be used), FAIL (what was\n"
    "asked for does not work) or unknown (not readable here). Limits and capabilities are\n"
    "those it was started with: ask where your program will run, as the user it will be.\n"
    "\n"
    "Counters of drops are looked at twice; they are the machine's, or its network\n"
    "namespace's, and not only quoit's.\n"
    "\n"
    "With --fix the file is all there is on standard output; save it below /etc/sysctl.d.\n"
    "The JSON object has program, version, counts, findings (each with id, group, name,\n"
    "status, current, wanted, why, remedy, sysctl) and facts. --json without a file, or\n"
    "with -, prints it instead of the report.\n"
    "\n"
    "Example: does io_uring work here?\n"
    "  quoit doctor --backend io_uring\n"
    "\n"
    "Exit codes: 0 nothing is FAIL, 1 something is, 2 usage";

constexpr const char* echo_footer =
    "Durations have a unit: 90us, 250ms, 5s, 1m, 2h.\n"
    "SIGINT and SIGTERM end it: it stops receiving, answers what it has, and reports.\n"
    "\n"
    "The JSON object has backend, workers, addresses, offload, seconds, cpu_seconds,\n"
    "receive_buffer_size (granted), replies_refused (refused at the call, so never in\n"
    "the ledger), ledger (received, sent, leases_held, is_exact, unexplained) and engine\n"
    "(turns, system_calls, completions, wakeups, starved, rearmed, buffers,\n"
    "buffers_held). received and sent have trains and coalesced: how many trains of\n"
    "datagrams crossed the kernel whole, and the datagrams in them. --busy-poll runs on\n"
    "epoll unless a backend is named. With --json - it is the last thing on standard\n"
    "output, and the report goes to standard error. With --cores it has steering,\n"
    "steering_reason (why it is not what was asked for, or null) and cores, with cpu,\n"
    "backend, replies_refused, ledger and engine of each; the rest is their sum.\n"
    "\n"
    "Example: an echo server on IPv6, on a port of the kernel's choice, for 10 s\n"
    "  quoit echo --bind '[::1]:0' --duration 10s\n"
    "\n"
    "Exit codes: 0 it served, 1 it could not (address in use, ...), 2 usage";

constexpr const char* load_footer =
    "Durations have a unit: 90us, 250ms, 5s, 1m, 2h. Rates may have one: 1000, 250k,\n"
    "1.5M. Sizes are bytes and may have one: 64, 1400, 16K (16384).\n"
    "\n"
    "Round trips are timed from the intended send: with --rate, from when the datagram\n"
    "was due, so that waiting for a server that stalls is counted. Their percentiles\n"
    "are at most 0.8 % too large. What has not come back within 1 s after the last reply\n"
    "is lost. SIGINT ends it early, with a report.\n"
    "\n"
    "The JSON object has target, backend, offload, settings (flows, outstanding, rate,\n"
    "size, duration_ns), scheduled (with --rate), sent, received, lost, kernel_drops\n"
    "(answers this side's own sockets had no room for), duplicated, reordered, corrupted,\n"
    "foreign (of another run), forgotten (too late to be told from duplicates), seconds\n"
    "(of sending), rate (answered per second), rtt_ns (p50, p90, p99, p99.9, max), and\n"
    "ledger and engine as in quoit echo. With --json - it is all there is on standard\n"
    "output, and the report goes to standard error.\n"
    "\n"
    "Example: 16 flows, 50 000 datagrams of 1200 bytes a second, for 10 s\n"
    "  quoit load --target 127.0.0.1:9999 --flows 16 --rate 50k --size 1200 --duration 10s\n"
    "\n"
    "Exit codes: 0 replies came, 1 it could not be done, 2 usage, 3 no reply came";

constexpr const char* packets_footer =
    "More: quoit packets serve --help, quoit packets send --help";

constexpr const char* packets_serve_footer =
    "Framings: packetsocket is \"#!?&\" and the length as 4 bytes, little-endian;\n"
    "little_endian and big_endian are the length alone. Both ends must use the same.\n"
    "Durations have a unit: 90us, 250ms, 5s, 1m, 2h. Sizes are bytes and may have one:\n"
    "64, 16K, 16M.\n"
    "SIGINT and SIGTERM end it: it answers what it has, and reports. A peer whose answers\n"
    "nobody reads has 1 MiB of them wait; further ones are refused and counted.\n"
    "--busy-poll runs on epoll unless a backend is named.\n"
    "\n"
    "The JSON object has backend, workers, addresses, framing, packet_size_max, seconds,\n"
    "cpu_seconds, answers_refused (refused at the call, so not accepted in the ledger),\n"
    "ledger (received, sent, connections, unexplained) and engine as in quoit echo. With\n"
    "--json - it is the last thing on standard output, and the report goes to standard\n"
    "error.\n"
    "\n"
    "Example: on every interface, each packet comes back behind \"you said: \"\n"
    "  quoit packets serve --bind :4200 --prefix 'you said: '\n"
    "\n"
    "Exit codes: 0 it served, 1 it could not (address in use, ...), 2 usage";

constexpr const char* packets_send_footer =
    "Each line is a packet, without its newline; whatever else is in it is sent as it is.\n"
    "The answers are on standard output, each with a newline. It ends when as many came as\n"
    "were sent and the input is at its end. 1024 packets at most are unanswered: then no\n"
    "more is read. --timeout is for connecting, and for each answer that is due.\n"
    "Framings, sizes and durations: as in quoit packets serve.\n"
    "\n"
    "The JSON object has target, backend, workers, framing, packet_size_max, sent, received,\n"
    "reason (why answers are missing, or null), seconds, and ledger and engine as in quoit\n"
    "packets serve. With --json - it comes behind the answers.\n"
    "\n"
    "Example: two packets and their answers\n"
    "  printf 'one\\ntwo\\n' | quoit packets send --target 127.0.0.1:4200\n"
    "\n"
    "Exit codes: 0 everything was answered, 1 it could not be done, 2 usage,\n"
    "3 answers are missing";

// The options as text; what they mean is decided afterwards, so that all errors read alike.
struct raw_options {
    std::string bind = "127.0.0.1:9999";
    std::string inherited;
    std::string workers = "0";
    std::string cores;
    std::string steering;
    std::string pin;
    std::string target;
    std::string flows = "1";
    std::string outstanding = "64";
    std::string rate;
    std::string size = "64";
    std::string duration;
    std::string backend = "auto";
    std::string offload = "on";
    bool busy_poll = false;
    std::string json;
};
struct raw_doctor_options {
    std::string backend = "auto";
    std::string wait = "1s";
    std::string json;
    bool wants_json = false;
    bool wants_fix = false;
};
struct raw_packet_options {
    std::string bind = "127.0.0.1:4200";
    std::string target;
    std::string prefix;
    std::string backend = "auto";
    std::string workers = "0";
    std::string framing = "packetsocket";
    std::string size_max = "16M";
    std::string duration;
    std::string timeout = "10s";
    bool busy_poll = false;
    std::string json;
};

template <class T>
T value_of(std::string_view option, parsed<T> value) {
    if (!value) throw usage_error(std::string(option) + " " + value.error());
    return *value;
}

backend backend_of(std::string_view text) {
    if (text == "auto") return backend::automatic;
    if (text == "io_uring") return backend::io_uring;
    if (text == "epoll") return backend::epoll;
    throw usage_error("--backend " + quoted(text) + ": expected auto, io_uring or epoll");
}

offload offload_of(std::string_view text) {
    if (text == "on") return offload::on;
    if (text == "off") return offload::off;
    throw usage_error("--offload " + quoted(text) + ": expected on or off");
}

packet_framing framing_of(std::string_view text) {
    for (const packet_framing one : {packet_framing::packetsocket, packet_framing::little_endian,
                                     packet_framing::big_endian}) {
        if (text == to_string(one)) return one;
    }
    throw usage_error("--framing " + quoted(text) +
                      ": expected packetsocket, little_endian or big_endian");
}

steering steering_of(std::string_view text) {
    if (text == "hash") return steering::hash;
    if (text == "cpu") return steering::by_cpu;
    if (text == "random") return steering::random;
    throw usage_error("--steering " + quoted(text) + ": expected hash, cpu or random");
}

pinning pin_of(std::string_view text) {
    if (text == "spread") return pinning::spread;
    if (text == "none") return pinning::none;
    throw usage_error("--pin " + quoted(text) + ": expected spread or none");
}

std::uint32_t core_count_of(std::string_view text) {
    constexpr std::uint32_t count_max = 1024;
    const std::uint32_t count = value_of("--cores", parse_count(text, 1, count_max));
    const std::size_t allowed = core_group::core_count_max();
    if (count > allowed) {
        throw usage_error("--cores " + std::string(text) + ": this process may use " +
                          std::to_string(allowed) + (allowed == 1 ? " CPU" : " CPUs"));
    }
    return count;
}

waiting waiting_of(bool busy_poll) { return busy_poll ? waiting::busy_poll : waiting::block; }

[[noreturn]] void refuse_address(std::string_view option, std::string_view text,
                                 std::string_view expected) {
    std::string words = std::string(option) + " " + quoted(text) + ": ";
    if (host_port(text).is_host_name()) words += "host names are not looked up; ";
    throw usage_error(words + "expected " + std::string(expected));
}

std::string checked_bind(const std::string& text) {
    const host_port where(text);
    const bool is_every_interface = where.is_every_interface() && where.port() <= 65'535;
    if (!is_every_interface && !address::parse(text)) {
        refuse_address("--bind", text,
                       "ADDRESS:PORT, such as 127.0.0.1:9999, [::1]:0, or :9999 for every "
                       "interface");
    }
    return text;
}

address target_of(const std::string& text) {
    const auto parsed = address::parse(text);
    if (!parsed || parsed->port() == 0) {
        refuse_address("--target", text,
                       "ADDRESS:PORT with a port from 1 to 65535, such as 127.0.0.1:9999 or "
                       "[::1]:9999");
    }
    return *parsed;
}

echo_command echo_command_of(const raw_options& raw) {
    echo_command asked;
    asked.settings.bind = checked_bind(raw.bind);
    asked.settings.inherited = raw.inherited;
    asked.settings.backend = backend_of(raw.backend);
    asked.settings.worker_count =
        value_of("--workers", parse_count(raw.workers, 0, worker_count_max));
    asked.settings.offload = offload_of(raw.offload);
    asked.settings.waiting = waiting_of(raw.busy_poll);
    if (!raw.cores.empty()) asked.settings.core_count = core_count_of(raw.cores);
    if (!raw.steering.empty()) asked.settings.steering = steering_of(raw.steering);
    if (!raw.pin.empty()) asked.settings.pin = pin_of(raw.pin);
    if (asked.settings.steering == steering::by_cpu && asked.settings.pin == pinning::none) {
        throw usage_error("--steering cpu: cores with --pin none are on no CPU of their own");
    }
    if (!raw.duration.empty()) {
        asked.settings.duration = value_of("--duration", parse_duration(raw.duration));
    }
    asked.json = raw.json;
    return asked;
}

load_command load_command_of(const raw_options& raw) {
    load_command asked;
    load_settings& settings = asked.settings;
    settings.target = target_of(raw.target);
    const std::uint32_t size_max =
        settings.target.family() == family::ipv4 ? ipv4_payload_size_max : payload_size_limit;
    settings.flow_count = value_of("--flows", parse_count(raw.flows, 1, flow_count_max));
    settings.outstanding =
        value_of("--outstanding", parse_count(raw.outstanding, 1, outstanding_max));
    if (!raw.rate.empty()) settings.rate = value_of("--rate", parse_rate(raw.rate));
    settings.size = value_of("--size", parse_size(raw.size, probe_size_min, size_max));
    settings.duration = value_of("--duration", parse_duration(raw.duration));
    settings.backend = backend_of(raw.backend);
    settings.offload = offload_of(raw.offload);
    settings.waiting = waiting_of(raw.busy_poll);
    asked.json = raw.json;
    return asked;
}

packet_settings packet_settings_of(const raw_packet_options& raw) {
    return {
        .backend = backend_of(raw.backend),
        .worker_count = value_of("--workers", parse_count(raw.workers, 0, worker_count_max)),
        .waiting = waiting_of(raw.busy_poll),
        .framing = framing_of(raw.framing),
        .packet_size_max = value_of("--size-max", parse_size(raw.size_max, 1, packet_size_limit))};
}

packets_serve_command packets_serve_command_of(const raw_packet_options& raw) {
    packets_serve_command asked;
    asked.settings.bind = checked_bind(raw.bind);
    asked.settings.common = packet_settings_of(raw);
    asked.settings.prefix = raw.prefix;
    if (!raw.duration.empty()) {
        asked.settings.duration = value_of("--duration", parse_duration(raw.duration));
    }
    asked.json = raw.json;
    return asked;
}

packets_send_command packets_send_command_of(const raw_packet_options& raw) {
    constexpr auto timeout_max = std::chrono::hours(1);  // as packet_options::connect_timeout
    packets_send_command asked;
    asked.settings.target = target_of(raw.target);
    asked.settings.common = packet_settings_of(raw);
    asked.settings.timeout = value_of("--timeout", parse_duration(raw.timeout));
    if (asked.settings.timeout < std::chrono::milliseconds(1) ||
        asked.settings.timeout > timeout_max) {
        throw usage_error("--timeout " + program::quoted(raw.timeout) +
                          ": expected from 1ms to 1h");
    }
    asked.json = raw.json;
    return asked;
}

doctor_command doctor_command_of(const raw_doctor_options& raw) {
    constexpr auto wait_max = std::chrono::hours(1);
    doctor_command asked;
    asked.settings.backend = backend_of(raw.backend);
    asked.settings.wait = value_of("--wait", parse_duration(raw.wait, wait_max));
    if (raw.wants_json) asked.json = raw.json.empty() ? "-" : raw.json;
    asked.wants_fix = raw.wants_fix;
    return asked;
}

// Any text but an empty one, which would pass for no option at all.
CLI::Option* add(CLI::App& to, const std::string& names, std::string& value,
                 const std::string& words, const std::string& placeholder) {
    return to.add_option(names, value, words)
        ->type_name(placeholder)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
        ->check([](const std::string& text) {
            return text.empty() ? std::string("\"\": expected a value") : std::string();
        });
}

// "--backend: 1 required NAME missing" does not say which names there are.
std::string words_of(const CLI::ArgumentMismatch& wrong, const CLI::App& command) {
    const std::string words = wrong.what();
    const std::string name = words.substr(0, words.find(':'));
    const CLI::Option* const option = command.get_option_no_throw(name);
    if (option == nullptr) return words;
    return name + ": a value is missing; expected " + option->get_type_name() + ": " +
           option->get_description();
}

void add_busy_poll(CLI::App& to, bool& busy_poll) {
    to.add_flag("--busy-poll", busy_poll, "Spin instead of sleeping, if there is a CPU for it");
}

void add_speed(CLI::App& to, raw_options& raw) {
    add(to, "--offload", raw.offload, "Let the kernel move trains of datagrams: on or off", "WHICH")
        ->capture_default_str();
    add_busy_poll(to, raw.busy_poll);
}

CLI::App* add_echo(CLI::App& app, raw_options& raw) {
    CLI::App* const echo =
        app.add_subcommand("echo", "Send every datagram back to where it came from");
    CLI::Option* const bind =
        add(*echo, "--bind", raw.bind, "Where to listen; :PORT is every interface", "ADDRESS:PORT")
            ->capture_default_str();
    CLI::Option* const inherited =
        add(*echo, "--inherited", raw.inherited,
            "Instead: the socket of this name, from an init system (LISTEN_FDS)", "NAME")
            ->excludes(bind);
    add(*echo, "--backend", raw.backend, "auto, io_uring or epoll", "NAME")->capture_default_str();
    add(*echo, "--workers", raw.workers, "Threads that receive; 0: the program's own does", "N")
        ->capture_default_str();
    CLI::Option* const cores =
        add(*echo, "--cores", raw.cores,
            "Serve on N cores: a thread, a loop (and its workers) and a socket\n"
            "on each",
            "N")
            ->excludes(inherited);
    add(*echo, "--steering", raw.steering,
        "Which core gets a datagram [hash]: hash (of its flow), cpu (the one\n"
        "on which the kernel handles it), random",
        "NAME")
        ->needs(cores);
    add(*echo, "--pin", raw.pin, "Where their threads run [spread]: spread over the CPUs, none",
        "NAME")
        ->needs(cores);
    add(*echo, "--duration", raw.duration, "End after this time; without it: on a signal", "TIME");
    add(*echo, "--json", raw.json, "Write the report as JSON as well; - is standard output",
        "FILE");
    add_speed(*echo, raw);
    echo->footer(echo_footer);
    return echo;
}

CLI::App* add_load(CLI::App& app, raw_options& raw) {
    CLI::App* const load =
        app.add_subcommand("load", "Drive an echo server, count and time what comes back");
    add(*load, "--target", raw.target, "The echo server", "ADDRESS:PORT")->required();
    add(*load, "--flows", raw.flows, "Connected sockets to send from, 1 to 1024", "N")
        ->capture_default_str();
    CLI::Option* const outstanding =
        add(*load, "--outstanding", raw.outstanding,
            "In flight, of each flow; what is unanswered for 1 s is replaced", "N")
            ->capture_default_str();
    add(*load, "--rate", raw.rate, "Instead: datagrams per second over all flows, on schedule",
        "RATE")
        ->excludes(outstanding);
    add(*load, "--size", raw.size, "Bytes of each datagram, at least 40", "SIZE")
        ->capture_default_str();
    add(*load, "--duration", raw.duration, "How long to send [2s]", "TIME");
    add(*load, "--backend", raw.backend, "auto, io_uring or epoll", "NAME")->capture_default_str();
    add(*load, "--json", raw.json, "Write the report as JSON as well; - is standard output",
        "FILE");
    add_speed(*load, raw);
    load->footer(load_footer);
    return load;
}

void add_common(CLI::App& to, raw_packet_options& raw) {
    add(to, "--backend", raw.backend, "auto, io_uring or epoll", "NAME")->capture_default_str();
    add(to, "--workers", raw.workers, "Threads that do the I/O; 0: the program's own does", "N")
        ->capture_default_str();
    add(to, "--framing", raw.framing, "packetsocket, little_endian or big_endian", "NAME")
        ->capture_default_str();
    add(to, "--size-max", raw.size_max, "Bytes of the longest packet, at most 1024M", "SIZE")
        ->capture_default_str();
    add(to, "--json", raw.json, "Write the report as JSON as well; - is standard output", "FILE");
}

CLI::App* add_packets_serve(CLI::App& packets, raw_packet_options& raw) {
    CLI::App* const serve =
        packets.add_subcommand("serve", "Send every packet back to where it came from");
    add(*serve, "--bind", raw.bind, "Where to listen; :PORT is every interface", "ADDRESS:PORT")
        ->capture_default_str();
    serve->add_option("--prefix", raw.prefix, "What stands before each answer")
        ->type_name("TEXT")
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    add_common(*serve, raw);
    add_busy_poll(*serve, raw.busy_poll);
    add(*serve, "--duration", raw.duration, "End after this time; without it: on a signal", "TIME");
    serve->footer(packets_serve_footer);
    return serve;
}

CLI::App* add_packets_send(CLI::App& packets, raw_packet_options& raw) {
    CLI::App* const send =
        packets.add_subcommand("send", "Send standard input line by line, print the answers");
    add(*send, "--target", raw.target, "The server", "ADDRESS:PORT")->required();
    add(*send, "--timeout", raw.timeout, "How long to wait for an answer", "TIME")
        ->capture_default_str();
    add_common(*send, raw);
    send->footer(packets_send_footer);
    return send;
}

CLI::App* add_doctor(CLI::App& app, raw_doctor_options& raw) {
    CLI::App* const doctor =
        app.add_subcommand("doctor", "Say what keeps quoit from running well here");
    add(*doctor, "--backend", raw.backend, "What is wanted: auto, io_uring or epoll", "NAME")
        ->capture_default_str();
    add(*doctor, "--wait", raw.wait, "Between the two looks at the counters of drops", "TIME")
        ->capture_default_str();
    CLI::Option* const json = doctor
                                  ->add_option_function<std::vector<std::string>>(
                                      "--json",
                                      [&raw](const std::vector<std::string>& given) {
                                          raw.wants_json = true;
                                          if (!given.empty()) raw.json = given.back();
                                      },
                                      "Write it as JSON; without FILE in place of the report")
                                  ->type_name("[FILE]")
                                  ->expected(0, 1)
                                  ->allow_extra_args(false)
                                  ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    doctor->add_flag("--fix", raw.wants_fix, "Print a sysctl.d file that mends what sysctls can")
        ->excludes(json);
    doctor->footer(doctor_footer);
    return doctor;
}

// The one whose options were being parsed.
const CLI::App& innermost(const CLI::App& app) {
    const auto parsed = app.get_subcommands();
    return parsed.empty() ? app : innermost(*parsed.front());
}

}  // namespace

command parse_command_line(int argument_count, const char* const* arguments) {
    CLI::App app(
        "quoit: a UDP datagram engine for Linux. An echo server and a load for it, both ends\n"
        "of packets over TCP, and a doctor for the machine.",
        "quoit");
    app.set_version_flag("--version", "quoit " + std::string(version_string));
    bool is_manual_wanted = false;
    app.add_flag("--manual", is_manual_wanted, "Write the manual page quoit(1)")->group("");
    app.footer(main_footer);
    raw_options raw;
    CLI::App* const echo = add_echo(app, raw);
    CLI::App* const load = add_load(app, raw);
    raw_packet_options raw_packets;
    CLI::App* const packets = app.add_subcommand("packets", "Packets over TCP: serve, send");
    CLI::App* const serve = add_packets_serve(*packets, raw_packets);
    CLI::App* const send = add_packets_send(*packets, raw_packets);
    packets->require_subcommand(0, 1)->footer(packets_footer);
    raw_doctor_options raw_doctor;
    CLI::App* const doctor = add_doctor(app, raw_doctor);
    app.require_subcommand(0, 1);
    try {
        app.parse(argument_count, arguments);
    } catch (const CLI::CallForHelp&) {
        return print_command{app.help()};
    } catch (const CLI::CallForVersion& version) {
        return print_command{std::string(version.what()) + "\n"};
    } catch (const CLI::ArgumentMismatch& wrong) {
        throw usage_error(words_of(wrong, innermost(app)));
    } catch (const CLI::ParseError& wrong) {
        throw usage_error(wrong.what());
    }
    if (is_manual_wanted) return print_command{manual_page(app)};
    if (echo->parsed()) return echo_command_of(raw);
    if (load->parsed()) {
        if (raw.duration.empty()) raw.duration = "2s";
        return load_command_of(raw);
    }
    if (serve->parsed()) return packets_serve_command_of(raw_packets);
    if (send->parsed()) return packets_send_command_of(raw_packets);
    if (doctor->parsed()) return doctor_command_of(raw_doctor);
    if (packets->parsed()) throw usage_error("packets: expected a subcommand: serve or send");
    throw usage_error("expected a subcommand: echo, load, packets or doctor");
}

}  // namespace quoit::program
