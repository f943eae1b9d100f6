// SPDX-License-Identifier: MIT
#include "base/fork_watch.hpp"

#include <pthread.h>

#include <atomic>

namespace quoit::detail {

namespace {

// Of this process and its ancestors, since the first watch. Nothing is ordered by it.
std::atomic<std::uint32_t> fork_count{0};

std::uint32_t forks_so_far() noexcept { return fork_count.load(std::memory_order_relaxed); }

void count_forks() noexcept {
    [[maybe_unused]] static const int registered = pthread_atfork(
        nullptr, nullptr, [] { fork_count.fetch_add(1, std::memory_order_relaxed); });
}

}  // namespace

fork_watch::fork_watch() noexcept : forks_before_(forks_so_far()) { count_forks(); }

bool fork_watch::is_forked() const noexcept { return forks_so_far() != forks_before_; }

}  // namespace quoit::detail
