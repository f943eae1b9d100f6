// SPDX-License-Identifier: MIT
#include "backend/io_uring/refusal.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <fstream>
#include <iterator>

namespace quoit::detail {

namespace {

constexpr unsigned cap_ipc_lock = 14;  // <linux/capability.h>
constexpr unsigned cap_sys_admin = 21;
constexpr std::string_view in_profile =
    "allow io_uring_setup, io_uring_enter and io_uring_register in its profile";

std::string_view system_call_of(io_uring_step step) {
    switch (step) {
        case io_uring_step::ring:
        case io_uring_step::defer_taskrun: return "io_uring_setup";
        case io_uring_step::buffer_ring:
        case io_uring_step::cancelling: return "io_uring_register";
        case io_uring_step::entering:
        case io_uring_step::receiving:
        case io_uring_step::rearming:
        case io_uring_step::letting_go: return "io_uring_enter";
        case io_uring_step::resources: break;
    }
    return "";
}

explanation explain_permission(io_uring_step step, std::error_code code,
                               const process_facts& facts) {
    const bool is_filtered = facts.has_filter.value_or(true);
    const bool may_be_sysctl =
        step == io_uring_step::ring && code == std::errc::operation_not_permitted;
    if (may_be_sysctl && facts.io_uring_disabled == 2) {
        return {"kernel.io_uring_disabled is 2, which refuses it to everybody",
                "`sysctl -w kernel.io_uring_disabled=0` allows it"};
    }
    // Who has the capability is not meant by 1, if it is that of the whole machine: then a filter,
    // if there is one, is the likelier cause.
    const bool is_exempt = facts.may_administrate.value_or(false) && is_filtered;
    if (may_be_sysctl && facts.io_uring_disabled == 1 && !is_exempt) {
        return {
            "kernel.io_uring_disabled is 1, which leaves it to CAP_SYS_ADMIN and the group in "
            "kernel.io_uring_group",
            "`sysctl -w kernel.io_uring_group=" + std::to_string(facts.group) +
                "` lets this process's group in, `sysctl -w kernel.io_uring_disabled=0` "
                "everybody"};
    }
    const std::string call(system_call_of(step));
    if (is_filtered) {
        return {"a seccomp filter refuses " + call + " (the default in containers)",
                std::string(in_profile)};
    }
    return {"a security module (SELinux, AppArmor) refuses " + call, "allow it in its policy"};
}

explanation explain_memory(io_uring_step step, const process_facts& facts) {
    // What is locked is the ring's and its buffers'.
    const bool may_be_limit = step != io_uring_step::resources;
    if (may_be_limit && facts.memlock && !facts.may_lock.value_or(false)) {
        return {"RLIMIT_MEMLOCK is " + std::to_string(*facts.memlock / 1024) +
                    " KiB, for all processes of this user together",
                "raise it (`ulimit -l`, LimitMEMLOCK=)"};
    }
    return {"the kernel has no memory for it", ""};
}

explanation explain_descriptors(std::error_code code, const process_facts& facts) {
    if (code == std::errc::too_many_files_open_in_system) {
        return {"the machine has no file left", "raise `sysctl fs.file-max`"};
    }
    return {"this process has no descriptor left" +
                (facts.nofile ? ": RLIMIT_NOFILE is " + std::to_string(*facts.nofile) : ""),
            "raise it (`ulimit -n`, LimitNOFILE=)"};
}

explanation explain_no_call(io_uring_step step, const process_facts& facts) {
    // The sysctl is there where io_uring was built in (since Linux 6.6).
    if (facts.io_uring_disabled) {
        return {"a seccomp filter hides " + std::string(system_call_of(step)) +
                    ", which this kernel has",
                std::string(in_profile)};
    }
    if (facts.has_filter.value_or(true)) {
        return {"this kernel is built without io_uring, or a seccomp filter hides it",
                "a kernel with CONFIG_IO_URING has it; in a filter, " + std::string(in_profile)};
    }
    return {"this kernel is built without io_uring", "a kernel with CONFIG_IO_URING has it"};
}

explanation explain_unknown_to_kernel(io_uring_step step, const process_facts& facts) {
    const std::string or_filter =
        facts.has_filter.value_or(false) ? ", or a seccomp filter refuses it" : "";
    const std::string kernel = "this kernel's io_uring ";
    switch (step) {
        case io_uring_step::buffer_ring:
            return {kernel + "lacks buffer rings" + or_filter, "Linux 5.19 has them"};
        case io_uring_step::cancelling:
            return {kernel + "lacks synchronous cancels" + or_filter, "Linux 6.0 has them"};
        case io_uring_step::receiving:
            return {kernel + "lacks multishot receives" + or_filter, "Linux 6.0 has them"};
        default: return {kernel + "lacks what quoit asks of it" + or_filter, "Linux 6.0 has it"};
    }
}

std::optional<std::uint64_t> limit_of(__rlimit_resource which) {
    rlimit limit{};
    if (getrlimit(which, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
    return limit.rlim_cur;
}

// The word behind "NAME:\t" at the start of a line; empty when there is none.
std::string_view value_in(std::string_view text, std::string_view name) {
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        if (line.starts_with(name) && line.substr(name.size()).starts_with(":\t")) {
            return line.substr(name.size() + 2);
        }
        text.remove_prefix(line.size() == text.size() ? line.size() : line.size() + 1);
    }
    return {};
}

template <class Number>
std::optional<Number> parse(std::string_view text, int base) {
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

}  // namespace

void read_status(std::string_view text, process_facts& into) {
    constexpr int filter_mode = 2;  // SECCOMP_MODE_FILTER
    if (const auto mode = parse<int>(value_in(text, "Seccomp"), 10)) {
        into.has_filter = *mode == filter_mode;
    }
    if (const auto set = parse<std::uint64_t>(value_in(text, "CapEff"), 16)) {
        into.may_lock = (*set >> cap_ipc_lock & 1U) != 0;
        into.may_administrate = (*set >> cap_sys_admin & 1U) != 0;
    }
}

process_facts read_process_facts() {
    process_facts facts;
    facts.memlock = limit_of(RLIMIT_MEMLOCK);
    facts.nofile = limit_of(RLIMIT_NOFILE);
    facts.group = getegid();
    int disabled = 0;
    if (std::ifstream("/proc/sys/kernel/io_uring_disabled") >> disabled) {
        facts.io_uring_disabled = disabled;
    }
    std::ifstream status("/proc/thread-self/status");  // since Linux 3.17
    read_status(std::string(std::istreambuf_iterator<char>(status), {}), facts);
    return facts;
}

explanation explain(io_uring_step step, std::error_code code, const process_facts& facts) {
    if (code == std::errc::not_enough_memory) return explain_memory(step, facts);
    if (code == std::errc::too_many_files_open ||
        code == std::errc::too_many_files_open_in_system) {
        return explain_descriptors(code, facts);
    }
    if (step == io_uring_step::resources) {
        return {"the self-test has no UNIX socket pair to try it with", ""};
    }
    if (code == std::errc::operation_not_permitted || code == std::errc::permission_denied) {
        return explain_permission(step, code, facts);
    }
    if (code == std::errc::function_not_supported) return explain_no_call(step, facts);
    if (code == std::errc::invalid_argument || code == std::errc::operation_not_supported) {
        return explain_unknown_to_kernel(step, facts);
    }
    switch (step) {
        case io_uring_step::receiving:
            return {"the self-test: no datagram came through within a second", ""};
        case io_uring_step::rearming:
            return {"the self-test: nothing came through behind an empty datagram", ""};
        case io_uring_step::letting_go:
            return {"the self-test: a receive could not be cancelled", ""};
        default: return {std::string(system_call_of(step)) + " failed", ""};
    }
}

error obstacle_of(std::error_code code, const explanation& said) {
    return {code,
            "io_uring (" + said.cause + (said.remedy.empty() ? "" : "; " + said.remedy) + ")"};
}

}  // namespace quoit::detail
