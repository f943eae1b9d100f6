// SPDX-License-Identifier: MIT
#include "doctor_facts.hpp"

#include <quoit/port.hpp>

#include <algorithm>
#include <fstream>
#include <string_view>
#include <thread>

#include <sched.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace quoit::program {

namespace {

// Nothing that is read here is longer: /proc/net/snmp6 has about 100 lines, softnet_stat one of 150
// bytes for each CPU.
constexpr std::size_t text_size_max = std::size_t{1} << 20U;
constexpr std::size_t cgroup_depth_max = 64;

std::optional<std::string> read_text(const std::string& path) {
    std::ifstream file(path);
    if (!file) return std::nullopt;
    std::string text(text_size_max, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (file.bad()) return std::nullopt;
    text.resize(static_cast<std::size_t>(file.gcount()));
    return text;
}

// What `parse` makes of a file; nothing when it cannot be read.
template <class Parse>
auto parse_file(const std::string& path, Parse parse) -> decltype(parse(std::string_view())) {
    const auto text = read_text(path);
    if (!text) return {};
    return parse(*text);
}

std::optional<std::int64_t> sysctl(const std::string& path) {
    return parse_file("/proc/sys/" + path, parse_number);
}

std::optional<std::uint64_t> soft_limit(__rlimit_resource which) {
    rlimit limit{};
    if (getrlimit(which, &limit) != 0) return std::nullopt;
    return limit.rlim_cur == RLIM_INFINITY ? unlimited : limit.rlim_cur;
}

std::optional<unsigned> online_cpus() {
    const long count = sysconf(_SC_NPROCESSORS_ONLN);
    if (count < 1) return std::nullopt;
    return static_cast<unsigned>(count);
}

// As base/allowed_cpus.cpp of the engine counts them: what busy polling goes by.
std::optional<unsigned> allowed_cpus() {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return std::nullopt;
    return static_cast<unsigned>(CPU_COUNT(&allowed));
}

// Whether all of the unified hierarchy can be seen, with its CPU controller. Only its root has no
// type; what a container sees as the root has one.
bool are_all_quotas_seen() {
    const auto has_cpu = [](std::string_view controllers) {
        std::string words(" ");
        words += controllers;
        std::ranges::replace(words, '\n', ' ');
        return words.find(" cpu ") != std::string::npos;
    };
    return parse_file("/sys/fs/cgroup/cgroup.controllers", has_cpu) &&
           !read_text("/sys/fs/cgroup/cgroup.type");
}

// A limit of any ancestor holds. Neither the root has a cpu.max nor those for which the controller
// is off; and in a container the path may lead nowhere: what it sees as the root has it then.
std::optional<cpu_quota> smallest_quota() {
    const auto path = parse_file("/proc/self/cgroup", parse_cgroup_path);
    if (!path) return std::nullopt;
    std::optional<cpu_quota> found;
    std::string here = *path;
    for (std::size_t depth = 0; depth < cgroup_depth_max; ++depth) {
        const auto one = parse_file("/sys/fs/cgroup" + here + "/cpu.max", parse_cpu_max);
        if (one && (!found || !found->cpus || (one->cpus && *one->cpus < *found->cpus))) {
            found = one;
        }
        if (here.empty()) break;
        here.resize(here.rfind('/'));
    }
    if (!found && are_all_quotas_seen()) found.emplace();
    return found;
}

network_sample sample_network() {
    return {.ipv4 = parse_file("/proc/net/snmp", parse_udp_counters),
            .ipv6 = parse_file("/proc/net/snmp6", parse_udp6_counters),
            .softnet = parse_file("/proc/net/softnet_stat", parse_softnet)};
}

void choose_backend(machine_facts& facts) {
    facts.io_uring = probe_io_uring();
    // What the log would say is told by the findings.
    const loop_options options{.backend = facts.asked, .log = [](auto, auto) noexcept {}};
    auto made = port::create(options);
    if (made) {
        facts.chosen = made->capabilities();
        facts.buffers = made->engine_stats().buffers;
        facts.buffers_asked =
            std::uint64_t{options.small_buffer_count} + options.large_buffer_count;
    } else {
        facts.refusal = made.error().message();
    }
}

}  // namespace

machine_facts gather_facts(backend asked, std::chrono::nanoseconds wait) {
    machine_facts facts;
    utsname system{};
    if (uname(&system) == 0) facts.kernel_release = system.release;
    facts.asked = asked;
    choose_backend(facts);
    facts.offload = probe_offload();

    facts.io_uring_disabled = sysctl("kernel/io_uring_disabled");
    facts.io_uring_group = sysctl("kernel/io_uring_group");
    facts.rmem_max = sysctl("net/core/rmem_max");
    facts.wmem_max = sysctl("net/core/wmem_max");
    facts.netdev_max_backlog = sysctl("net/core/netdev_max_backlog");
    facts.netdev_budget = sysctl("net/core/netdev_budget");
    facts.udp_mem = parse_file("/proc/sys/net/ipv4/udp_mem", parse_udp_memory);
    facts.udp_pages = parse_file("/proc/net/sockstat", parse_udp_pages);
    if (const long size = sysconf(_SC_PAGESIZE); size > 0) {
        facts.page_size = static_cast<std::uint64_t>(size);
    }

    facts.memlock = soft_limit(RLIMIT_MEMLOCK);
    facts.nofile = soft_limit(RLIMIT_NOFILE);
    facts.status = parse_file("/proc/thread-self/status", parse_thread_status);
    facts.cpus_online = online_cpus();
    facts.cpus_allowed = allowed_cpus();
    facts.quota = smallest_quota();

    // Last, so that what was sent to find out is in both.
    const auto started = std::chrono::steady_clock::now();
    facts.before = sample_network();
    std::this_thread::sleep_for(wait);
    facts.after = sample_network();
    facts.between = std::chrono::steady_clock::now() - started;
    return facts;
}

}  // namespace quoit::program
