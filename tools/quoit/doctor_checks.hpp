// SPDX-License-Identifier: MIT
//
// What quoit doctor makes of the facts: findings, each with what is, what is wanted, why, and what
// mends it. Functions of the facts alone, so that every rule is tested at its edges.
//
//   for (const finding& one : check(facts))
//       if (one.verdict == verdict::fail) ...
//
// Rules of thumb: what keeps a program from working as it was asked to is FAIL; what makes it lose
// datagrams or time is WARN; what could not be read is unknown, and never passes for OK. Lack of
// io_uring is WARN, since everything works on epoll, unless io_uring was asked for.
//
// Thread safety: functions of their arguments.
#pragma once

#include "doctor_facts.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace quoit::program {

enum class verdict : std::uint8_t { ok, warn, fail, unknown };
/// "OK", "WARN", "FAIL", "unknown".
[[nodiscard]] std::string_view to_string(verdict verdict) noexcept;

struct sysctl_setting {
    std::string name;   // "net.core.rmem_max"
    std::string value;  // "4194304"
    bool operator==(const sysctl_setting&) const = default;
};

struct finding {
    std::string_view group;  // "backend": what belongs together in the report
    std::string id;          // for programs: "net.core.rmem_max"
    std::string name;        // for people
    program::verdict verdict = verdict::ok;
    std::string current{};
    std::string wanted{};  // empty: nothing in particular
    std::string why{};     // one sentence
    std::string remedy{};  // a command, or what else mends it; empty when there is nothing to mend
    std::optional<sysctl_setting> setting{};  // the remedy, if it is a sysctl; none when it is OK
    std::string caution{};  // what else the setting does: sentences for the file that holds it
};

// What the rules want; the reasons stand where they are used.
inline constexpr std::int64_t rmem_max_wanted = 4 << 20;
inline constexpr std::int64_t wmem_max_wanted = 212'992;
inline constexpr std::int64_t backlog_wanted = 1000;
inline constexpr std::int64_t budget_wanted = 300;
inline constexpr std::uint64_t memlock_wanted_per_ring = 256 << 10;
inline constexpr std::uint64_t nofile_wanted = 1024;
inline constexpr double squeezes_per_second_max = 10;

/// In the order of the report.
[[nodiscard]] std::vector<finding> check(const machine_facts& facts);

/// The worst is a FAIL.
[[nodiscard]] bool has_failed(const std::vector<finding>& findings) noexcept;

// check() in parts, each in a file of its own.
void check_backend(const machine_facts& facts, std::vector<finding>& into);
void check_limits(const machine_facts& facts, std::vector<finding>& into);
void check_network(const machine_facts& facts, std::vector<finding>& into);

/// Lockable memory for a ring on each CPU and one more, in bytes.
[[nodiscard]] std::uint64_t memlock_wanted(const machine_facts& facts) noexcept;
/// The commands that raise it: above what is wanted, and above what there is.
[[nodiscard]] std::string more_lockable_memory(const machine_facts& facts);

inline constexpr std::string_view not_readable = "not readable here";
/// Makes it unknown: what it is about could not be read.
inline void set_unknown(finding& one) {
    one.verdict = verdict::unknown;
    one.current = not_readable;
}

}  // namespace quoit::program
