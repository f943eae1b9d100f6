// SPDX-License-Identifier: MIT
//
// reply_window: which of the last probes of one flow were answered, one bit each, in fixed memory.
//
//                  given up         in flight, or answered
//     ... ---------------------+------------------------------+
//         forgotten | kept     |                              |
//     ... ----------+----------+------------------------------+
//              next - size   given_up                        next
//
// Each probe that is neither answered nor given up holds one place of --outstanding; in_flight()
// counts them.
//
// Invariant: next - size <= given_up <= next: what would be forgotten is given up first.
// Thread safety: none. Errors: none. Units: sequence numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace quoit::program {

enum class reply_kind : std::uint8_t {
    first,       ///< the first answer to this probe
    reordered,   ///< the same, but after the answer to a later probe (RFC 4737, section 3.3)
    duplicated,  ///< not the first
    forgotten,   ///< to a probe so old that nobody knows whether it was answered
    never_sent,
};

class reply_window {
  public:
    /// Remembers that many probes. REQUIRES: a power of two, at least 64.
    explicit reply_window(std::size_t size) : bits_(size / 64), size_(size) {}

    /// The number the next probe gets.
    [[nodiscard]] std::uint64_t next() const noexcept { return next_; }
    [[nodiscard]] std::uint64_t in_flight() const noexcept { return in_flight_; }

    /// The probe next() has been sent.
    void sent() noexcept;
    [[nodiscard]] reply_kind answered(std::uint64_t sequence) noexcept;
    /// Waits no longer for answers to probes before `sequence`. They still count when they come.
    void give_up_before(std::uint64_t sequence) noexcept;

  private:
    [[nodiscard]] std::uint64_t& word(std::uint64_t sequence) noexcept {
        return bits_[(sequence & (size_ - 1)) / 64];
    }
    [[nodiscard]] static std::uint64_t bit(std::uint64_t sequence) noexcept {
        return std::uint64_t{1} << (sequence & 63U);
    }

    std::vector<std::uint64_t> bits_;
    std::uint64_t size_;
    std::uint64_t next_ = 0;
    std::uint64_t given_up_ = 0;
    std::uint64_t in_flight_ = 0;
    std::uint64_t answered_end_ = 0;  // one past the latest that was answered
};

}  // namespace quoit::program
