// SPDX-License-Identifier: MIT
//
// What the kernel says in /proc and /sys, read from its text (proc(5); Linux net/ipv4/proc.c and
// net/core/net-procfs.c; Documentation/admin-guide/cgroup-v2.rst).
//
//   const auto counters = parse_udp_counters("Udp: InDatagrams ...\nUdp: 12 ...\n");
//   if (!counters) std::puts("not readable here");
//
// Errors: nothing, when the text is not what was expected; never a number that does not stand
// there. Columns that kernels have added are skipped, those they may lack are 0.
// Thread safety: functions of their arguments.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace quoit::program {

/// Of one network namespace, since it was made.
struct udp_counters {
    std::uint64_t received = 0;
    std::uint64_t no_ports = 0;               // nobody had the port open
    std::uint64_t receive_errors = 0;         // all of them, those below included
    std::uint64_t receive_buffer_errors = 0;  // the socket's buffer was full
    std::uint64_t send_buffer_errors = 0;
    std::uint64_t checksum_errors = 0;
    std::uint64_t memory_errors = 0;  // net.ipv4.udp_mem was used up; since Linux 5.11
    bool operator==(const udp_counters&) const = default;
};

/// Of one CPU, since boot; 32 bits that wrap.
struct softnet_counters {
    std::uint32_t processed = 0;
    std::uint32_t dropped = 0;   // net.core.netdev_max_backlog was reached
    std::uint32_t squeezed = 0;  // netdev_budget or netdev_budget_usecs was used up, packets left
    std::optional<std::uint32_t> cpu{};  // which one; since Linux 5.10
    bool operator==(const softnet_counters&) const = default;
};

/// Pages of memory that the UDP sockets of the machine may use together (udp(7)).
struct udp_memory {
    std::uint64_t min = 0;
    std::uint64_t pressure = 0;
    std::uint64_t max = 0;
    bool operator==(const udp_memory&) const = default;
};

/// A cgroup's share of CPU time.
struct cpu_quota {
    std::optional<double> cpus;  // nothing: unlimited
    bool operator==(const cpu_quota&) const = default;
};

/// /proc/thread-self/status.
struct thread_status {
    std::optional<int> seccomp_mode;            // 0 none, 1 strict, 2 filter
    std::optional<std::uint64_t> capabilities;  // effective
};

/// One number and a newline.
[[nodiscard]] std::optional<std::int64_t> parse_number(std::string_view text);
/// /proc/net/snmp.
[[nodiscard]] std::optional<udp_counters> parse_udp_counters(std::string_view text);
/// /proc/net/snmp6.
[[nodiscard]] std::optional<udp_counters> parse_udp6_counters(std::string_view text);
/// /proc/net/softnet_stat: one for each CPU that is online.
[[nodiscard]] std::optional<std::vector<softnet_counters>> parse_softnet(std::string_view text);
/// /proc/sys/net/ipv4/udp_mem.
[[nodiscard]] std::optional<udp_memory> parse_udp_memory(std::string_view text);
/// /proc/net/sockstat: the pages in use by UDP.
[[nodiscard]] std::optional<std::uint64_t> parse_udp_pages(std::string_view text);
[[nodiscard]] thread_status parse_thread_status(std::string_view text);
/// /proc/self/cgroup: the path in the unified hierarchy.
[[nodiscard]] std::optional<std::string> parse_cgroup_path(std::string_view text);
/// cpu.max: "50000 100000", "max 100000".
[[nodiscard]] std::optional<cpu_quota> parse_cpu_max(std::string_view text);

}  // namespace quoit::program
