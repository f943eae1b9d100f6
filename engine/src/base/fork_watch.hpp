// SPDX-License-Identifier: MIT
//
// fork_watch: whether this process is a child, by fork(), of the one that made the watch. What is
// shared with the parent from then on (sockets with their filters, eventfds, epoll sets, rings) is
// not to be touched there: the parent would be deaf, or awake for ever.
//
// Thread safety: any thread. Errors: none; where pthread_atfork(3) fails no fork is noticed.
#pragma once

#include <cstdint>

namespace quoit::detail {

class fork_watch {
  public:
    fork_watch() noexcept;
    [[nodiscard]] bool is_forked() const noexcept;

  private:
    std::uint32_t forks_before_;
};

}  // namespace quoit::detail
