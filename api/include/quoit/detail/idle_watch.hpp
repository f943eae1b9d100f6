// SPDX-License-Identifier: MIT
//
// idle_watch: notices that nothing has been received for a while, without a clock: it is asked
// looks_per_timeout times in that while, and compares how much has been received.
//
//   received   x                                               (the timeout is from | to |)
//   looks    ^   |   ^   ^   ^   ^   ^   ^   ^   |
//                0   1   2   3   4   5   6   7   8: idle
//
// Never early: the first look after something came, or after the connection did, only takes note.
// Late by one look at most.
#pragma once

#include <chrono>
#include <cstdint>

namespace quoit::detail {

class idle_watch {
  public:
    static constexpr std::uint32_t looks_per_timeout = 8;

    [[nodiscard]] static std::chrono::nanoseconds period(std::chrono::milliseconds timeout) {
        return std::chrono::nanoseconds(timeout) / looks_per_timeout;
    }

    /// True when it has been idle for the whole timeout. `is_held_up`: more may have been sent, but
    /// we do not take it.
    [[nodiscard]] bool look(std::uint64_t bytes_received, bool is_held_up) noexcept {
        if (is_new_ || bytes_received != bytes_ || is_held_up) {
            is_new_ = false;
            bytes_ = bytes_received;
            looks_ = 0;
            return false;
        }
        return ++looks_ >= looks_per_timeout;
    }

  private:
    std::uint64_t bytes_ = 0;
    std::uint32_t looks_ = 0;
    bool is_new_ = true;
};

}  // namespace quoit::detail
