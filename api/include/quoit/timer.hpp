// SPDX-License-Identifier: MIT
//
// timer: the handle of a function that a loop calls later, or again and again.
//
//   auto giving_up = loop.call_later(10s, [&] { server.abort(); });
//   ...
//   giving_up.cancel();                                          // or .delay(5s), .reset(10s)
//   loop.call_every(1s, [&] { report(); });                      // for as long as the loop runs
//
// The function runs on the loop's thread, between tasks, in the first turn at or after its time:
// never early, and those that are due together in the order of their times, then of their being
// set. What it throws is logged and counted (loop::unobserved_exception_count()); a periodic one
// goes on. It may start, move and cancel timers, itself included; what it starts runs in a later
// turn.
//
// A periodic timer keeps to its grid (start + n * period) and does not drift. A loop that is late
// calls it once, however many periods it has missed; the next call is on the grid again.
//
// Dropping the handle changes nothing: as in asyncio, the timer runs on. The function, and what it
// owns, is destroyed when it has run for the last time, when it is cancelled, or with the loop.
// Timers do not keep run() from returning; those that are left fire when the loop is turned again.
//
// Cost: one allocation for each timer, and one more if what the function captures is larger than
// two pointers; O(log n) to start, move and cancel. Timeouts of awaits need none of this: they
// are options of the await.
//
// Thread safety: none; the loop's thread, or before it runs. From elsewhere: loop::post().
// Ownership: handles are copied cheaply, and may outlive the loop; then they answer errc::closed.
// Errors: errc::already_fired, errc::canceled when it was cancelled before, errc::closed when the
// loop is gone or the handle is of nothing, errc::invalid_option for a time that is negative or no
// number (NaN).
// Units: std::chrono; nanoseconds of the steady clock.
#pragma once

#include <quoit/detail/counted.hpp>
#include <quoit/detail/timer_queue.hpp>
#include <quoit/error.hpp>
#include <quoit/time.hpp>

#include <chrono>
#include <optional>
#include <utility>

namespace quoit {

class timer {
  public:
    using time_point = std::chrono::steady_clock::time_point;

    /// Of nothing.
    timer() noexcept = default;
    explicit timer(detail::counted_ptr<detail::timer_entry> entry) noexcept
        : entry_(std::move(entry)) {}
    /// One that was refused.
    explicit timer(errc why) noexcept : refused_(why) {}

    /// It will call its function (again). A function that runs once finds itself inactive.
    [[nodiscard]] bool is_active() const noexcept { return entry_ && entry_->is_pending(); }
    /// Success while it is active; then why it is not, and of one that was refused, why.
    [[nodiscard]] quoit::status status() const noexcept;
    /// When it will call its function next, if it is active.
    [[nodiscard]] std::optional<time_point> time() const noexcept;

    /// For good.
    quoit::status cancel() noexcept;
    /// Later than its time by `more`. A periodic one moves its grid.
    template <class Rep, class Period>
    quoit::status delay(std::chrono::duration<Rep, Period> more) noexcept {
        return move_by(time_limit(more));
    }
    /// To that long from now, earlier or later. A periodic one moves its grid.
    template <class Rep, class Period>
    quoit::status reset(std::chrono::duration<Rep, Period> from_now) noexcept {
        return move_from_now(time_limit(from_now));
    }

  private:
    quoit::status move_by(time_limit more) noexcept;
    quoit::status move_from_now(time_limit after) noexcept;

    detail::counted_ptr<detail::timer_entry> entry_;
    errc refused_ = errc::closed;
};

}  // namespace quoit
