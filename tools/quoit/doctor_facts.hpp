// SPDX-License-Identifier: MIT
//
// What quoit doctor knows about this process and this machine. All of it is gathered here; what it
// means is decided elsewhere (doctor_checks.hpp), by functions of these facts alone.
//
//   const machine_facts facts = gather_facts(backend::automatic, std::chrono::seconds(1));
//
// A fact that is nothing could not be read here: no /proc, a network namespace without the file, a
// kernel that has none. Nothing is changed by looking: no sysctl, no counter but those of datagrams
// over loopback.
#pragma once

#include "proc_text.hpp"

#include <quoit/capabilities.hpp>
#include <quoit/features.hpp>
#include <quoit/options.hpp>

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace quoit::program {

inline constexpr std::uint64_t unlimited = std::numeric_limits<std::uint64_t>::max();

struct network_sample {
    std::optional<udp_counters> ipv4;
    std::optional<udp_counters> ipv6;
    std::optional<std::vector<softnet_counters>> softnet;
};

struct machine_facts {
    std::string kernel_release;  // empty: unknown

    backend asked = backend::automatic;
    /// What a loop with default options got, when it was asked for that backend.
    std::optional<capabilities> chosen;
    /// Why it got nothing; empty otherwise.
    std::string refusal;
    /// Receive buffers that loop has, and those it asked for: fewer, when memory is short.
    std::uint64_t buffers = 0;
    std::uint64_t buffers_asked = 0;
    io_uring_features io_uring;
    offload_features offload;

    std::optional<std::int64_t> io_uring_disabled;  // sysctls, by their last names
    std::optional<std::int64_t> io_uring_group;
    std::optional<std::int64_t> rmem_max;
    std::optional<std::int64_t> wmem_max;
    std::optional<std::int64_t> netdev_max_backlog;
    std::optional<std::int64_t> netdev_budget;
    std::optional<udp_memory> udp_mem;
    std::optional<std::uint64_t> udp_pages;  // in use
    std::uint64_t page_size = 4096;

    std::optional<std::uint64_t> memlock;  // soft limit in bytes; `unlimited`
    std::optional<std::uint64_t> nofile;   // soft limit
    thread_status status;
    [[nodiscard]] std::optional<bool> has_capability(unsigned which) const noexcept {
        if (!status.capabilities) return std::nullopt;
        return (*status.capabilities >> which & 1U) != 0;
    }

    std::optional<unsigned> cpus_online;
    std::optional<unsigned> cpus_allowed;  // by the affinity mask
    std::optional<cpu_quota> quota;        // the smallest of the process's cgroups

    network_sample before;
    network_sample after;
    std::chrono::nanoseconds between{};
};

/// Takes `wait`, and a few milliseconds.
[[nodiscard]] machine_facts gather_facts(backend asked, std::chrono::nanoseconds wait);

}  // namespace quoit::program
