// SPDX-License-Identifier: MIT
//
// What this process may use: memory, descriptors, CPUs.
#include "doctor_checks.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace quoit::program {

namespace {

constexpr std::string_view group = "limits of this process";
constexpr unsigned cap_ipc_lock = 14;  // <linux/capability.h>

std::string as_kib(std::uint64_t bytes) {
    return bytes == unlimited ? "unlimited" : fmt::format("{} KiB", bytes / 1024);
}

finding unknown(std::string id, std::string name) {
    finding made{.group = group, .id = std::move(id), .name = std::move(name)};
    set_unknown(made);
    return made;
}

// A process with one loop needs 120 KiB with the default buffers (measured on Linux 6.18; kernels
// differ in what they count): a ring with its buffer rings, and the self-test's, whose memory
// returns late. So: one ring for each CPU and one more, with room to spare.
finding check_memlock(const machine_facts& facts) {
    if (!facts.memlock) return unknown("memlock", "RLIMIT_MEMLOCK");
    finding made{.group = group,
                 .id = "memlock",
                 .name = "RLIMIT_MEMLOCK",
                 .current = as_kib(*facts.memlock)};
    if (facts.has_capability(cap_ipc_lock).value_or(false)) {
        made.current += " (does not count: CAP_IPC_LOCK)";
        return made;
    }
    const std::uint64_t wanted = memlock_wanted(facts);
    const bool needs_rings = facts.asked != backend::epoll && !facts.io_uring.features.empty();
    if (*facts.memlock >= wanted || !needs_rings) return made;
    made.verdict = verdict::warn;
    made.wanted = "at least " + as_kib(wanted);
    made.why =
        "Rings and their buffers count, for all processes of a user together; when there "
        "is no more, a loop gets fewer buffers, or runs on epoll.";
    made.remedy = more_lockable_memory(facts);
    return made;
}

finding check_nofile(const machine_facts& facts) {
    if (!facts.nofile) return unknown("nofile", "RLIMIT_NOFILE");
    finding made{.group = group, .id = "nofile", .name = "RLIMIT_NOFILE"};
    made.current = *facts.nofile == unlimited ? "unlimited" : std::to_string(*facts.nofile);
    if (*facts.nofile >= nofile_wanted) return made;
    made.verdict = verdict::warn;
    made.wanted = fmt::format("at least {}", nofile_wanted);
    made.why =
        "Each socket and each TCP connection is a descriptor; without one, opening and "
        "accepting fail.";
    made.remedy = "ulimit -n 4096, or LimitNOFILE=4096 in the unit";
    return made;
}

finding check_cpus(const machine_facts& facts) {
    if (!facts.cpus_allowed) return unknown("cpus", "CPUs");
    const unsigned allowed = *facts.cpus_allowed;
    finding made{.group = group, .id = "cpus", .name = "CPUs"};
    made.current = facts.cpus_online
                       ? fmt::format("{} of {} online may be used", allowed, *facts.cpus_online)
                       : fmt::format("{} may be used", allowed);
    if (allowed >= 2) {
        made.why = fmt::format(
            "busy_poll has a CPU for the loop and {} worker{}; with more "
            "workers its threads sleep instead.",
            allowed - 1, allowed == 2 ? "" : "s");
        return made;
    }
    made.verdict = verdict::warn;
    made.wanted = "2 or more";
    made.why =
        "Worker threads and the loop take turns on one CPU. busy_poll with workers sleeps "
        "instead of spinning; without workers it spins, and takes the CPU from all else.";
    if (facts.cpus_online.value_or(1) > 1) {
        // The file has them as taskset takes them, with the holes there may be.
        made.remedy =
            "taskset -a -c -p $(cat /sys/devices/system/cpu/online) PID, CPUAffinity= in the "
            "unit, docker run --cpuset-cpus";
    }
    return made;
}

finding check_quota(const machine_facts& facts) {
    if (!facts.quota) return unknown("cpu_quota", "CPU quota (cpu.max)");
    finding made{.group = group, .id = "cpu_quota", .name = "CPU quota (cpu.max)"};
    if (!facts.quota->cpus) {
        made.current = "none";
        return made;
    }
    made.current = fmt::format("{:.2f} CPUs", *facts.quota->cpus);
    if (*facts.quota->cpus >= facts.cpus_allowed.value_or(1)) return made;
    made.verdict = verdict::warn;
    made.wanted = fmt::format("none, or {} CPUs", facts.cpus_allowed.value_or(1));
    made.why =
        "A process that has used its quota stands still until the next period, and its "
        "sockets fill up; threads that spin use it up by themselves.";
    made.remedy =
        "CPUQuota= in the unit, docker run --cpus, resources.limits.cpu in Kubernetes; "
        "and no busy_poll";
    return made;
}

}  // namespace

std::uint64_t memlock_wanted(const machine_facts& facts) noexcept {
    return memlock_wanted_per_ring * (facts.cpus_allowed.value_or(1) + 1U);
}

std::string more_lockable_memory(const machine_facts& facts) {
    constexpr std::uint64_t usual = 8U << 20U;
    constexpr std::uint64_t mebibyte = 1U << 20U;
    const std::uint64_t now = std::min(facts.memlock.value_or(0), unlimited / 4);
    const std::uint64_t bytes = std::max({usual, memlock_wanted(facts), now * 2});
    const std::uint64_t mebibytes = (bytes + mebibyte - 1) / mebibyte;
    return fmt::format("ulimit -l {} (as root, or in limits.conf), or LimitMEMLOCK={}M in the unit",
                       mebibytes * 1024, mebibytes);
}

void check_limits(const machine_facts& facts, std::vector<finding>& into) {
    into.push_back(check_memlock(facts));
    into.push_back(check_nofile(facts));
    into.push_back(check_cpus(facts));
    into.push_back(check_quota(facts));
}

}  // namespace quoit::program
