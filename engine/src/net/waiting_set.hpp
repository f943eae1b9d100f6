// SPDX-License-Identifier: MIT
//
// waiting_set: one descriptor that is readable while one of several is, or once a time has come.
// What a port gives to a loop that is not quoit's:
//
//      that loop ---watches---> epoll set <--- descriptors of the port's backend
//                                     ^------- timerfd: the port's next deadline
//
//   auto set = waiting_set::create();
//   set->add(event_fd);
//   set->wait_until(deadline);       // before each wait
//   poll(set->descriptor())          // whoever waits
//
// An epoll set may stand in another one, five deep (epoll_ctl(2), ELOOP): this one and a backend's
// own leave three.
//
// Threads: one; descriptor() may be waited for by any.
// Errors: the kernel's (EMFILE, ENFILE, ENOMEM; ENOSPC: fs.epoll.max_user_watches).
#pragma once

#include <quoit/error.hpp>
#include <quoit/file_descriptor.hpp>

#include <chrono>
#include <utility>

namespace quoit::detail {

class waiting_set {
  public:
    using time_point = std::chrono::steady_clock::time_point;

    /// Readable from the start, until the first wait_until().
    [[nodiscard]] static result<waiting_set> create();
    /// REQUIRES: `fd` stays open as long as the set.
    [[nodiscard]] status add(int fd);
    /// Readable from then on, until the next call: time_point::min() is at once, max() never.
    void wait_until(time_point deadline) noexcept;
    [[nodiscard]] int descriptor() const noexcept { return epoll_.get(); }

  private:
    waiting_set(file_descriptor epoll, file_descriptor timer) noexcept
        : epoll_(std::move(epoll)), timer_(std::move(timer)) {}

    file_descriptor epoll_;
    file_descriptor timer_;
    time_point deadline_ = time_point::max();
};

}  // namespace quoit::detail
