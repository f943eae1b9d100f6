// SPDX-License-Identifier: MIT
//
// time_limit: how long an operation may wait. Not limited (the default), zero (a poll), a duration,
// or a point in time:
//
//   co_await server.read({.timeout = 3s});
//
// Invariants:
//   1. A positive duration never becomes a poll: less than a nanosecond counts as one.
//   2. A duration that no program outlasts (over 9e9 seconds, 285 years; infinity) is no limit.
//   3. A negative or NaN duration is kept as such, for the operation to refuse with
//      errc::invalid_option. It is neither a poll nor a wait for ever.
//
// Thread safety: values. Errors: none here.
// Units: nanoseconds of std::chrono::steady_clock, which on Linux is CLOCK_MONOTONIC: it stands
// still while the machine is suspended.
#pragma once

#include <chrono>
#include <cstdint>
#include <type_traits>

namespace quoit {

class time_limit {
  public:
    using time_point = std::chrono::steady_clock::time_point;

    constexpr time_limit() noexcept = default;

    /// Counted from the call that takes it.
    template <class Rep, class Period>
    constexpr time_limit(std::chrono::duration<Rep, Period> after) noexcept : kind_(kind::after) {
        // Floating point, because hours::max() has no integral number of nanoseconds.
        const auto seconds = std::chrono::duration<long double>(after).count();
        if (!(seconds >= 0)) {
            kind_ = kind::invalid;  // NaN included
        } else if (seconds > seconds_max) {
            kind_ = kind::none;
        } else {
            time_ = std::chrono::ceil<std::chrono::nanoseconds>(after);
        }
    }

    constexpr time_limit(time_point at) noexcept : time_(at.time_since_epoch()), kind_(kind::at) {}

    /// Not limited.
    [[nodiscard]] constexpr bool is_none() const noexcept { return kind_ == kind::none; }

    /// Must not wait at all. A point in time is never one, even if it has passed.
    [[nodiscard]] constexpr bool is_poll() const noexcept {
        return kind_ == kind::after && time_ == time_.zero();
    }

    [[nodiscard]] constexpr bool is_valid() const noexcept { return kind_ != kind::invalid; }

    /// When an operation that starts at `now` is to give up; time_point::max() when it is not
    /// limited. REQUIRES: is_valid(). Should that be forgotten, it is `now`, and nothing hangs.
    [[nodiscard]] constexpr time_point deadline(time_point now) const noexcept {
        switch (kind_) {
            case kind::none: return time_point::max();
            case kind::at: return time_point(time_);
            case kind::invalid: return now;
            case kind::after: break;
        }
        // The sum would overflow only for a `now` that is 7 years from the end of the clock.
        return now > time_point::max() - time_ ? time_point::max() : now + time_;
    }

  private:
    enum class kind : std::uint8_t { none, after, at, invalid };

    static constexpr long double seconds_max = 9e9L;

    std::chrono::nanoseconds time_{};
    kind kind_ = kind::none;
};
static_assert(std::is_trivially_copyable_v<time_limit> &&
                  std::is_trivially_destructible_v<time_limit>,
              "a member of option structs, which GCC 12 destroys twice if they are not trivial");

}  // namespace quoit
