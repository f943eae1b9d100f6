// SPDX-License-Identifier: MIT
#include "base/fork_watch.hpp"

#include <pthread.h>

namespace quoit::detail {

void fork_watch::count_forks() noexcept {
    [[maybe_unused]] static const int registered = pthread_atfork(
        nullptr, nullptr, [] { fork_count_.fetch_add(1, std::memory_order_relaxed); });
}

}  // namespace quoit::detail
