// SPDX-License-Identifier: MIT
#include "clock.hpp"

#include <atomic>
#include <csignal>
#include <ctime>

namespace bench {

namespace {

std::atomic<bool> interrupted = false;

void on_signal(int) noexcept { interrupted.store(true, std::memory_order_relaxed); }

std::optional<std::int64_t> read_clock(clockid_t clock) noexcept {
    timespec read{};
    if (::clock_gettime(clock, &read) != 0) return std::nullopt;
    return read.tv_sec * second_ns + read.tv_nsec;
}

}  // namespace

std::int64_t now_ns() noexcept { return read_clock(CLOCK_MONOTONIC).value_or(0); }

std::int64_t own_cpu_ns() noexcept { return read_clock(CLOCK_PROCESS_CPUTIME_ID).value_or(0); }

std::optional<std::int64_t> cpu_ns_of(pid_t process) noexcept {
    clockid_t clock{};
    if (::clock_getcpuclockid(process, &clock) != 0) return std::nullopt;
    return read_clock(clock);
}

void note_interrupts() {
    struct sigaction action{};
    action.sa_handler = &on_signal;  // no SA_RESTART
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
}

bool is_interrupted() noexcept { return interrupted.load(std::memory_order_relaxed); }

}  // namespace bench
