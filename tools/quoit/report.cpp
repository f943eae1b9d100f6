// SPDX-License-Identifier: MIT
#include "report.hpp"

#include "units.hpp"

#include <quoit/version.hpp>

#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace quoit::program {

namespace {

using json = nlohmann::ordered_json;

constexpr int json_indent = 2;

double seconds_of(std::chrono::nanoseconds duration) {
    return std::chrono::duration<double>(duration).count();
}

json json_of(const receive_stats& received) {
    return {{"taken", received.taken},
            {"passed", received.passed},
            {"delivered", received.delivered},
            {"waiting", received.waiting},
            {"bytes", received.bytes},
            {"empty", received.empty},
            {"truncated", received.truncated},
            {"trains", received.trains},
            {"coalesced", received.coalesced},
            {"refused", received.refused},
            {"dropped",
             {{"kernel_packets", received.dropped.kernel_packets},
              {"queue_full", received.dropped.queue_full},
              {"invalid", received.dropped.invalid},
              {"late", received.dropped.late},
              {"abandoned", received.dropped.abandoned}}}};
}

json json_of(const send_stats& sent) {
    json reasons = json::array();
    for (const send_stats::reason& one : sent.reasons) {
        if (one.count == 0) continue;
        reasons.push_back({{"errno", one.error},
                           {"words", std::generic_category().message(one.error)},
                           {"count", one.count}});
    }
    return {{"accepted", sent.accepted},
            {"sent", sent.sent},
            {"waiting", sent.waiting},
            {"bytes", sent.bytes},
            {"errors", sent.errors},
            {"dropped", sent.dropped},
            {"trains", sent.trains},
            {"coalesced", sent.coalesced},
            {"trains_refused", sent.trains_refused},
            {"resent", sent.resent},
            {"blocked", sent.blocked},
            {"reasons", reasons}};
}

json json_of(const stats& ledger) {
    return {{"received", json_of(ledger.received)},
            {"sent", json_of(ledger.sent)},
            {"leases_held", ledger.leases_held},
            {"is_exact", ledger.is_exact},
            {"unexplained", ledger.unexplained()}};
}

json json_of(const engine_stats& engine) {
    return {{"turns", engine.turns},
            {"system_calls", engine.system_calls},
            {"completions", engine.completions},
            {"wakeups", engine.wakeups},
            {"starved", engine.starved},
            {"rearmed",
             {{"empty", engine.rearmed.empty},
              {"starved", engine.rearmed.starved},
              {"overflow", engine.rearmed.overflow},
              {"error", engine.rearmed.error},
              {"resumed", engine.rearmed.resumed}}},
            {"buffers", engine.buffers},
            {"buffers_held", engine.buffers_held}};
}

json json_of(const packet_stats& ledger) {
    const packet_stats::receives& received = ledger.received;
    const packet_stats::sends& sent = ledger.sent;
    const packet_stats::ends& connections = ledger.connections;
    return {{"received",
             {{"packets", received.packets},
              {"bytes", received.bytes},
              {"delivered", received.delivered},
              {"waiting", received.waiting},
              {"abandoned", received.abandoned},
              {"bytes_discarded", received.bytes_discarded}}},
            {"sent",
             {{"accepted", sent.accepted},
              {"sent", sent.sent},
              {"bytes", sent.bytes},
              {"waiting", sent.waiting},
              {"dropped", sent.dropped},
              {"dropped_slow", sent.dropped_slow},
              {"blocked", sent.blocked}}},
            {"connections",
             {{"made", connections.made},
              {"open", connections.open},
              {"ended", connections.ended},
              {"reset", connections.reset},
              {"framing", connections.framing},
              {"slow", connections.slow},
              {"timed_out", connections.timed_out},
              {"closed", connections.closed},
              {"failed", connections.failed},
              {"accept_errors", connections.accept_errors}}},
            {"unexplained", ledger.unexplained()}};
}

json json_of(const histogram& round_trips) {
    if (round_trips.count() == 0) return nullptr;
    return {{"p50", round_trips.quantile(0.5).count()},
            {"p90", round_trips.quantile(0.9).count()},
            {"p99", round_trips.quantile(0.99).count()},
            {"p99.9", round_trips.quantile(0.999).count()},
            {"max", round_trips.max().count()}};
}

json json_of(const std::vector<address>& addresses) {
    json texts = json::array();
    for (const address& one : addresses)
        texts.push_back(one.to_string());
    return texts;
}

template <class T>
json or_null(bool is_known, T value) {
    return is_known ? json(value) : json(nullptr);
}

std::string count(std::uint64_t number, std::string_view one) {
    return fmt::format("{} {}{}", number, one, number == 1 ? "" : "s");
}

std::string settings_as_text(const load_settings& settings, const load_result& result) {
    const std::string pace = settings.rate
                                 ? fmt::format("{} on schedule", format_rate(*settings.rate))
                                 : fmt::format("{} outstanding{}", settings.outstanding,
                                               settings.flow_count == 1 ? "" : " each");
    return fmt::format("load of {}: {}, {}, {} bytes, for {} (backend {})\n",
                       settings.target.to_string(), count(settings.flow_count, "flow"), pace,
                       settings.size, format_duration(result.sending_time),
                       to_string(result.capabilities.backend));
}

std::string round_trips_as_text(const histogram& round_trips) {
    if (round_trips.count() == 0) return "RTT         unknown: nothing was answered\n";
    return fmt::format(
        "RTT         p50 {}, p90 {}, p99 {}, p99.9 {}, max {}\n"
        "            from the intended send\n",
        format_duration(round_trips.quantile(0.5)), format_duration(round_trips.quantile(0.9)),
        format_duration(round_trips.quantile(0.99)), format_duration(round_trips.quantile(0.999)),
        format_duration(round_trips.max()));
}

// `messages`: how many datagrams, or packets.
std::string engine_as_text(const engine_stats& engine, std::uint64_t number,
                           std::string_view messages) {
    const double per_thousand =
        number == 0 ? 0
                    : 1000 * static_cast<double>(engine.system_calls) / static_cast<double>(number);
    return fmt::format("{} turns, {}", engine.turns, count(engine.system_calls, "system call")) +
           (number == 0 ? "\n" : fmt::format(" ({:.0f} per 1000 {})\n", per_thousand, messages));
}

// "echoed 5 datagrams in 2.00 s, CPU time 10 ms (2000 ns per datagram)"
std::string echoed_as_text(std::uint64_t sent, std::uint64_t served, std::string_view what,
                           std::chrono::nanoseconds running_time, std::chrono::nanoseconds cpu) {
    std::string text = fmt::format("echoed {} in {}, CPU time {}", count(sent, what),
                                   format_duration(running_time), format_duration(cpu));
    if (served > 0) {
        text += fmt::format(" ({:.0f} ns per {})",
                            static_cast<double>(cpu.count()) / static_cast<double>(served), what);
    }
    return text + "\n";
}

// Whether trains arrived whole, and left so.
std::string trains_as_text(offload asked, const capabilities& had, const stats& ledger) {
    if (asked == offload::off) return "offload     off\n";
    if (!had.segmentation_offload && !had.receive_offload) {
        return "offload     none: this kernel knows neither UDP_SEGMENT nor UDP_GRO\n";
    }
    const auto direction = [](std::uint64_t datagrams, std::uint64_t trains) {
        if (trains == 0) return std::string("none in trains");
        return fmt::format("{} in {} ({:.1f} each)", datagrams, count(trains, "train"),
                           static_cast<double>(datagrams) / static_cast<double>(trains));
    };
    const receive_stats& in = ledger.received;
    const send_stats& out = ledger.sent;
    return fmt::format("offload     received {}, sent {}\n", direction(in.coalesced, in.trains),
                       direction(out.coalesced, out.trains));
}

}  // namespace

namespace {

// A line for each core, when there are several loops.
std::string cores_as_text(const echo_result& result) {
    if (result.cores.empty()) return {};
    std::string text = fmt::format("steering    {}\n", to_string(result.steering));
    if (!result.steering_reason.empty()) {
        text =
            fmt::format("steering    {}: {}\n", to_string(result.steering), result.steering_reason);
    }
    for (std::size_t core = 0; core < result.cores.size(); ++core) {
        const echo_core& one = result.cores[core];
        text += fmt::format("core {:<6} {}received {}, sent {}, {}", core,
                            one.cpu < 0 ? "" : fmt::format("on CPU {}: ", one.cpu),
                            one.ledger.received.taken, one.ledger.sent.sent,
                            engine_as_text(one.engine, one.ledger.received.delivered, "datagrams"));
    }
    return text;
}

json json_of(const std::vector<echo_core>& cores) {
    json all = json::array();
    for (const echo_core& one : cores) {
        all.push_back({{"cpu", or_null(one.cpu >= 0, one.cpu)},
                       {"backend", to_string(one.backend)},
                       {"replies_refused", one.refused},
                       {"ledger", json_of(one.ledger)},
                       {"engine", json_of(one.engine)}});
    }
    return all;
}

}  // namespace

std::string to_text(const echo_result& result) {
    const std::uint64_t served = result.ledger.received.delivered;
    return echoed_as_text(result.ledger.sent.sent, served, "datagram", result.running_time,
                          result.cpu_time) +
           engine_as_text(result.engine, served, "datagrams") + cores_as_text(result) +
           trains_as_text(result.offload, result.capabilities, result.ledger) +
           fmt::format("replies refused at the call {}\n{}\n", result.refused,
                       result.ledger.to_string());
}

std::string to_text(const load_settings& settings, const load_result& result) {
    const load_counts& c = result.counts;
    const double lost_percent =
        c.sent == 0 ? 0 : 100 * static_cast<double>(c.lost()) / static_cast<double>(c.sent);
    std::string text = settings_as_text(settings, result);
    text += fmt::format("sent        {}", c.sent);
    if (settings.rate && c.sent != result.scheduled) {
        text += fmt::format(" of {} that were due: this side could not keep up", result.scheduled);
    }
    text += fmt::format("\nreceived    {}\nlost        {} ({:.3g} %)", c.received, c.lost(),
                        lost_percent);
    const std::uint64_t dropped = result.ledger.received.dropped.kernel_packets;
    if (c.lost() > 0 || dropped > 0) {
        text += fmt::format("; this side's full sockets dropped {}", dropped);
    }
    text += fmt::format("\nduplicated  {}\nreordered   {}\ncorrupted   {}\n", c.duplicated,
                        c.reordered, c.corrupted);
    if (c.foreign > 0) text += fmt::format("foreign     {} (of another run)\n", c.foreign);
    if (c.forgotten > 0) {
        text += fmt::format("forgotten   {} (too late to be told from duplicates)\n", c.forgotten);
    }
    text += fmt::format("rate        {} answered\n", format_rate(result.received_per_second()));
    text += round_trips_as_text(result.round_trips);
    text += trains_as_text(settings.offload, result.capabilities, result.ledger);
    return text + "the client's ledger:\n" + result.ledger.to_string() + "\n";
}

std::string to_text(const packets_serve_result& result) {
    const std::uint64_t served = result.ledger.received.delivered;
    return echoed_as_text(result.ledger.sent.sent, served, "packet", result.running_time,
                          result.cpu_time) +
           engine_as_text(result.engine, served, "packets") +
           fmt::format("answers refused at the call {}\n{}\n", result.refused,
                       result.ledger.to_string());
}

std::string to_json(const echo_result& result) {
    json object{{"program", "quoit echo"},
                {"version", version_string},
                {"backend", to_string(result.capabilities.backend)},
                {"workers", result.worker_count},
                {"addresses", json_of(result.addresses)},
                {"offload", result.offload != offload::off},
                {"seconds", seconds_of(result.running_time)},
                {"cpu_seconds", seconds_of(result.cpu_time)},
                {"receive_buffer_size", result.buffers.receive.granted},
                {"replies_refused", result.refused},
                {"ledger", json_of(result.ledger)},
                {"engine", json_of(result.engine)}};
    if (!result.cores.empty()) {
        object["steering"] = to_string(result.steering);
        object["steering_reason"] =
            or_null(!result.steering_reason.empty(), result.steering_reason);
        object["cores"] = json_of(result.cores);
    }
    return object.dump(json_indent);
}

std::string to_json(const load_settings& settings, const load_result& result) {
    const load_counts& c = result.counts;
    const json asked{{"flows", settings.flow_count},
                     {"outstanding", or_null(!settings.rate, settings.outstanding)},
                     {"rate", or_null(settings.rate.has_value(), settings.rate.value_or(0))},
                     {"size", settings.size},
                     {"duration_ns", settings.duration.count()}};
    const json object{{"program", "quoit load"},
                      {"version", version_string},
                      {"target", settings.target.to_string()},
                      {"backend", to_string(result.capabilities.backend)},
                      {"offload", settings.offload != offload::off},
                      {"settings", asked},
                      {"scheduled", or_null(settings.rate.has_value(), result.scheduled)},
                      {"sent", c.sent},
                      {"received", c.received},
                      {"lost", c.lost()},
                      {"kernel_drops", result.ledger.received.dropped.kernel_packets},
                      {"duplicated", c.duplicated},
                      {"reordered", c.reordered},
                      {"corrupted", c.corrupted},
                      {"foreign", c.foreign},
                      {"forgotten", c.forgotten},
                      {"seconds", seconds_of(result.sending_time)},
                      {"rate", result.received_per_second()},
                      {"rtt_ns", json_of(result.round_trips)},
                      {"ledger", json_of(result.ledger)},
                      {"engine", json_of(result.engine)}};
    return object.dump(json_indent);
}

std::string to_json(const packets_serve_result& result) {
    const packet_settings& settings = result.settings;
    const json object{{"program", "quoit packets serve"},
                      {"version", version_string},
                      {"backend", to_string(result.capabilities.backend)},
                      {"workers", settings.worker_count},
                      {"addresses", json_of(result.addresses)},
                      {"framing", to_string(settings.framing)},
                      {"packet_size_max", settings.packet_size_max},
                      {"seconds", seconds_of(result.running_time)},
                      {"cpu_seconds", seconds_of(result.cpu_time)},
                      {"answers_refused", result.refused},
                      {"ledger", json_of(result.ledger)},
                      {"engine", json_of(result.engine)}};
    return object.dump(json_indent);
}

std::string to_json(const packets_send_settings& settings, const packets_send_result& result) {
    const packet_settings& common = settings.common;
    const json object{{"program", "quoit packets send"},
                      {"version", version_string},
                      {"target", settings.target.to_string()},
                      {"backend", to_string(result.capabilities.backend)},
                      {"workers", common.worker_count},
                      {"framing", to_string(common.framing)},
                      {"packet_size_max", common.packet_size_max},
                      {"sent", result.sent},
                      {"received", result.received},
                      {"reason", or_null(!result.is_complete(), result.reason)},
                      {"seconds", seconds_of(result.running_time)},
                      {"ledger", json_of(result.ledger)},
                      {"engine", json_of(result.engine)}};
    return object.dump(json_indent);
}

}  // namespace quoit::program
