// SPDX-License-Identifier: MIT
//
// What the machine grants its sockets, and what it drops.
#include "doctor_checks.hpp"
#include "units.hpp"

#include <algorithm>
#include <chrono>
#include <initializer_list>

#include <fmt/format.h>

namespace quoit::program {

namespace {

constexpr std::string_view group_buffers = "sockets of this machine";
constexpr std::string_view group_drops = "what was dropped";

// A sysctl that is a number and should be no less than `wanted`.
finding at_least(std::string_view group, const std::string& name,
                 const std::optional<std::int64_t>& value, std::int64_t wanted, std::string why) {
    finding made{.group = group, .id = name, .name = name};
    if (!value) {
        set_unknown(made);
        return made;
    }
    made.current = std::to_string(*value);
    if (*value >= wanted) return made;
    made.verdict = verdict::warn;
    made.wanted = fmt::format("at least {}", wanted);
    made.why = std::move(why);
    made.setting = sysctl_setting{.name = name, .value = std::to_string(wanted)};
    made.remedy = fmt::format("sysctl -w {}={}", name, wanted);
    return made;
}

// All UDP sockets of the machine share it, whatever their own buffers allow. udp(7) says that they
// are held back from the second number on; but UDP is never told of pressure, so above the first
// one a socket is refused what is beyond its minimum (__sk_mem_raise_allocated in the kernel's
// net/core/sock.c).
finding check_udp_mem(const machine_facts& facts) {
    const std::string name = "net.ipv4.udp_mem";
    finding made{.group = group_buffers, .id = name, .name = name};
    if (!facts.udp_mem || !facts.udp_pages) {
        set_unknown(made);
        return made;
    }
    const udp_memory& limits = *facts.udp_mem;
    const std::uint64_t used = *facts.udp_pages;
    const auto as_mib = [&](std::uint64_t pages) { return pages * facts.page_size >> 20U; };
    made.current =
        fmt::format("{} of {} pages ({} MiB) in use", used, limits.min, as_mib(limits.min));
    if (used < limits.min) return made;
    const bool is_full = used >= limits.max;
    made.verdict = is_full ? verdict::fail : verdict::warn;
    made.wanted = fmt::format("fewer than {} pages in use", limits.min);
    made.why = is_full
                   ? "At the last number the kernel drops datagrams for every UDP socket of the "
                     "machine, however empty its buffer is."
                   : "Above the first number the kernel drops datagrams for every UDP socket of "
                     "the machine that holds a few already (net.ipv4.udp_rmem_min).";
    const std::string value =
        fmt::format("{} {} {}", limits.min * 2, limits.pressure * 2, limits.max * 2);
    made.setting = sysctl_setting{.name = name, .value = value};
    made.remedy =
        fmt::format("sysctl -w {}=\"{}\", and look for a reader that does not read", name, value);
    made.caution = fmt::format(
        "Twice of what it was: UDP may then take up to {} MiB from this machine. If it fills up "
        "again, mend its readers instead of doubling it once more.",
        as_mib(limits.max * 2));
    return made;
}

// A counter in both samples, of IPv4 and IPv6 together.
struct growth {
    std::uint64_t total = 0;
    std::uint64_t now = 0;  // between the samples
};

std::uint64_t grown(std::uint64_t before, std::uint64_t after) {
    return after > before ? after - before : 0;
}

std::optional<growth> growth_of(const machine_facts& facts,
                                std::initializer_list<std::uint64_t udp_counters::*> counters) {
    std::optional<growth> found;
    const auto add = [&](const std::optional<udp_counters>& before,
                         const std::optional<udp_counters>& after) {
        if (!before || !after) return;
        if (!found) found.emplace();
        for (const auto counter : counters) {
            found->total += *after.*counter;
            found->now += grown(*before.*counter, *after.*counter);
        }
    };
    add(facts.before.ipv4, facts.after.ipv4);
    add(facts.before.ipv6, facts.after.ipv6);
    return found;
}

// Counters of a CPU wrap at 32 bits. One that came or went has moved the lines: not compared.
std::optional<growth> growth_of(const machine_facts& facts,
                                std::uint32_t softnet_counters::* counter) {
    const auto& before = facts.before.softnet;
    const auto& after = facts.after.softnet;
    if (!before || !after) return std::nullopt;
    if (!std::ranges::equal(*before, *after, {}, &softnet_counters::cpu, &softnet_counters::cpu)) {
        return std::nullopt;
    }
    growth found;
    for (std::size_t cpu = 0; cpu < after->size(); ++cpu) {
        const std::uint32_t now = (*after)[cpu].*counter;
        found.total += now;
        found.now += now - (*before)[cpu].*counter;
    }
    return found;
}

double seconds_between(const machine_facts& facts) {
    return std::chrono::duration<double>(facts.between).count();
}

finding dropped(const machine_facts& facts, std::string id, std::string name,
                const std::optional<growth>& counted) {
    finding made{.group = group_drops, .id = std::move(id), .name = std::move(name)};
    if (!counted) {
        set_unknown(made);
        return made;
    }
    made.current = fmt::format("{} in {}, {} in all", counted->now, format_duration(facts.between),
                               counted->total);
    const bool has_one_family = facts.after.ipv4.has_value() != facts.after.ipv6.has_value();
    if (has_one_family && made.id.starts_with("udp.")) {
        made.current +=
            facts.after.ipv4 ? " (IPv6 is not readable here)" : " (IPv4 is not readable here)";
    }
    return made;
}

finding check_receive_buffers(const machine_facts& facts) {
    const auto counted = growth_of(facts, {&udp_counters::receive_buffer_errors});
    finding made = dropped(facts, "udp.receive_buffer", "RcvbufErrors: sockets were full", counted);
    if (!counted || counted->now == 0) return made;
    made.verdict = verdict::warn;
    made.wanted = "0";
    made.why =
        "Some socket's buffer is too small for the bursts it gets, or its reader is too "
        "slow; the ledger's kernel_packets says whether it is one of quoit's.";
    made.remedy =
        "a larger receive_buffer_size (up to net.core.rmem_max), offload on, or more "
        "cores";
    return made;
}

finding check_send_buffers(const machine_facts& facts) {
    const auto counted = growth_of(facts, {&udp_counters::send_buffer_errors});
    finding made =
        dropped(facts, "udp.send_buffer", "SndbufErrors: nothing more could be sent", counted);
    if (!counted || counted->now == 0) return made;
    made.verdict = verdict::warn;
    made.wanted = "0";
    made.why =
        "Sends found the socket's buffer or the device's queue full; quoit waits and sends "
        "again, other programs may not.";
    made.remedy = "a larger send_buffer_size (up to net.core.wmem_max), or a slower sender";
    return made;
}

// InErrors counts what a socket filter dropped, too: quoit attaches one while it closes a socket.
// So only the kinds that are nobody's intention are judged.
finding check_receive_errors(const machine_facts& facts) {
    const auto all = growth_of(facts, {&udp_counters::receive_errors});
    finding made = dropped(facts, "udp.receive_errors", "InErrors: received, not delivered", all);
    const auto checksums = growth_of(facts, {&udp_counters::checksum_errors});
    const auto memory = growth_of(facts, {&udp_counters::memory_errors});
    if (!all || !checksums || !memory) return made;
    if (checksums->now == 0 && memory->now == 0) return made;
    made.verdict = verdict::warn;
    made.wanted = "none by checksum, none for want of memory";
    made.why = fmt::format(
        "{} had a wrong checksum (a bad link or offload), for {} net.ipv4.udp_mem "
        "was used up.",
        checksums->now, memory->now);
    made.remedy = memory->now > 0 ? "see net.ipv4.udp_mem" : "ethtool -S DEVICE, ethtool -K DEVICE";
    return made;
}

finding check_no_ports(const machine_facts& facts) {
    return dropped(facts, "udp.no_ports", "NoPorts: nobody had the port open",
                   growth_of(facts, {&udp_counters::no_ports}));
}

// To no less than `wanted`: half of that may have been too little before, too.
void double_sysctl(finding& one, const std::string& name, const std::optional<std::int64_t>& value,
                   std::int64_t wanted) {
    if (!value || *value <= 0) return;
    const std::int64_t mended = std::max(*value * 2, wanted);
    one.setting = sysctl_setting{.name = name, .value = std::to_string(mended)};
    one.remedy = fmt::format("sysctl -w {}={}", name, mended);
}

finding check_softnet_drops(const machine_facts& facts) {
    const auto counted = growth_of(facts, &softnet_counters::dropped);
    finding made = dropped(facts, "softnet.dropped", "softnet: backlog was full", counted);
    if (!counted || counted->now == 0) return made;
    made.verdict = verdict::warn;
    made.wanted = "0";
    made.why =
        "Packets came faster than a CPU took them from its backlog, in front of every "
        "socket; no socket's counter shows them.";
    made.remedy = "net.core.netdev_max_backlog on the host";
    double_sysctl(made, "net.core.netdev_max_backlog", facts.netdev_max_backlog, backlog_wanted);
    return made;
}

finding check_squeezes(const machine_facts& facts) {
    const auto counted = growth_of(facts, &softnet_counters::squeezed);
    finding made = dropped(facts, "softnet.squeezed", "softnet: budget was used up", counted);
    if (!counted) return made;
    const double allowed = squeezes_per_second_max * std::max(seconds_between(facts), 1.0);
    if (static_cast<double>(counted->now) <= allowed) return made;
    made.verdict = verdict::warn;
    made.wanted = fmt::format("at most {} a second", squeezes_per_second_max);
    made.why =
        "A CPU stopped taking packets with more of them waiting, since so many (netdev_budget) "
        "were taken or so much time (netdev_budget_usecs) was over; cards drop when it lasts.";
    made.remedy = "net.core.netdev_budget on the host";
    double_sysctl(made, "net.core.netdev_budget", facts.netdev_budget, budget_wanted);
    made.remedy += ", then net.core.netdev_budget_usecs";
    return made;
}

}  // namespace

void check_network(const machine_facts& facts, std::vector<finding>& into) {
    // What quoit echo asks for. A buffer costs memory only while it is full.
    into.push_back(at_least(group_buffers, "net.core.rmem_max", facts.rmem_max, rmem_max_wanted,
                            "No socket gets a larger receive buffer, whatever it asks for; what "
                            "does not fit while the program is busy is dropped."));
    // The kernel's default. Nothing is lost below it, since quoit waits.
    into.push_back(at_least(group_buffers, "net.core.wmem_max", facts.wmem_max, wmem_max_wanted,
                            "No socket gets a larger send buffer; a small one makes senders wait "
                            "more often."));
    into.push_back(check_udp_mem(facts));
    // Both: the kernel's defaults.
    into.push_back(at_least(group_buffers, "net.core.netdev_max_backlog", facts.netdev_max_backlog,
                            backlog_wanted,
                            "So many packets may wait for a CPU before any socket sees them; "
                            "loopback and virtual devices have no other queue."));
    into.push_back(at_least(group_buffers, "net.core.netdev_budget", facts.netdev_budget,
                            budget_wanted, "So many packets are taken from the cards in one go."));
    into.push_back(check_receive_buffers(facts));
    into.push_back(check_send_buffers(facts));
    into.push_back(check_receive_errors(facts));
    into.push_back(check_no_ports(facts));
    into.push_back(check_softnet_drops(facts));
    into.push_back(check_squeezes(facts));
}

}  // namespace quoit::program
