// SPDX-License-Identifier: MIT
//
// reply_window: which of the last datagrams of one flow were answered, one bit each.
//
//                  given up         in flight, or answered
//     ... ---------------------+------------------------------+
//         forgotten | kept     |                              |
//     ... ----------+----------+------------------------------+
//              next - size   given_up                        next
//
// A datagram that is neither answered nor given up holds a place; in_flight() counts them.
//
// Invariant: next - size <= given_up <= next: what would be forgotten is given up first.
// Thread safety: none. Units: sequence numbers.
// quoit load has one too. This client judges quoit beside others, so it shares no code with it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace bench {

enum class reply_kind : std::uint8_t {
    first,
    duplicated,
    forgotten,  ///< so old that nobody knows whether it was answered: it stays lost
    never_sent,
};

class reply_window {
  public:
    /// Remembers that many. REQUIRES: a power of two, at least 64.
    explicit reply_window(std::size_t size) : bits_(size / 64), size_(size) {}

    [[nodiscard]] std::uint64_t next() const noexcept { return next_; }
    [[nodiscard]] std::uint64_t in_flight() const noexcept { return in_flight_; }

    /// The datagrams next() to next() + count - 1 have been sent.
    void sent(std::uint64_t count) noexcept {
        const std::uint64_t end = next_ + count;
        if (end > size_) give_up_before(end - size_);
        for (; next_ < end; ++next_)
            word(next_) &= ~bit(next_);
        in_flight_ += count;
    }

    [[nodiscard]] reply_kind answered(std::uint64_t sequence) noexcept {
        if (sequence >= next_) return reply_kind::never_sent;
        if (next_ - sequence > size_) return reply_kind::forgotten;
        if ((word(sequence) & bit(sequence)) != 0) return reply_kind::duplicated;
        word(sequence) |= bit(sequence);
        if (sequence >= given_up_) --in_flight_;
        return reply_kind::first;
    }

    /// Waits no longer for answers to datagrams before `sequence`; they still count when they come.
    void give_up_before(std::uint64_t sequence) noexcept {
        sequence = std::min(sequence, next_);
        for (; given_up_ < sequence; ++given_up_) {
            if ((word(given_up_) & bit(given_up_)) == 0) --in_flight_;
        }
    }

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
};

}  // namespace bench
