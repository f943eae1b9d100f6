// SPDX-License-Identifier: MIT
//
// Time and CPU time, in nanoseconds, and the request to end early.
#pragma once

#include <cstdint>
#include <optional>

#include <sys/types.h>

namespace bench {

constexpr std::int64_t second_ns = 1'000'000'000;
constexpr std::int64_t millisecond_ns = 1'000'000;

/// CLOCK_MONOTONIC.
[[nodiscard]] std::int64_t now_ns() noexcept;

/// User and system time of this process.
[[nodiscard]] std::int64_t own_cpu_ns() noexcept;

/// User and system time of all threads of another process; nothing when it has gone.
[[nodiscard]] std::optional<std::int64_t> cpu_ns_of(pid_t process) noexcept;

/// SIGINT and SIGTERM are noted from now on and make blocking calls return.
void note_interrupts();
[[nodiscard]] bool is_interrupted() noexcept;

}  // namespace bench
