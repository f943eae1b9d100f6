// SPDX-License-Identifier: MIT
//
// fork_watch: whether this process is a child, by fork(), of the one that made the watch. What is
// shared with the parent from then on (sockets with their filters, eventfds, epoll sets, rings) is
// not to be touched there: the parent would be deaf, or awake for ever.
//
// Thread safety: any thread. Errors: none; where pthread_atfork(3) fails no fork is noticed.
#pragma once

#include <atomic>
#include <cstdint>

namespace quoit::detail {

class fork_watch {
  public:
    fork_watch() noexcept : forks_before_(forks_so_far()) { count_forks(); }
    [[nodiscard]] bool is_forked() const noexcept { return forks_so_far() != forks_before_; }

  private:
    static void count_forks() noexcept;
    // Relaxed: nothing is ordered by it.
    static std::uint32_t forks_so_far() noexcept {
        return fork_count_.load(std::memory_order_relaxed);
    }

    // Of this process and its ancestors, since the first watch.
    static inline std::atomic<std::uint32_t> fork_count_{0};
    std::uint32_t forks_before_;
};

}  // namespace quoit::detail
