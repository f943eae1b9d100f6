// SPDX-License-Identifier: MIT
#include "reply_window.hpp"

#include <algorithm>

namespace quoit::program {

void reply_window::sent() noexcept {
    if (next_ >= size_) give_up_before(next_ - size_ + 1);
    word(next_) &= ~bit(next_);
    ++next_;
    ++in_flight_;
}

reply_kind reply_window::answered(std::uint64_t sequence) noexcept {
    if (sequence >= next_) return reply_kind::never_sent;
    if (next_ - sequence > size_) return reply_kind::forgotten;
    if ((word(sequence) & bit(sequence)) != 0) return reply_kind::duplicated;
    word(sequence) |= bit(sequence);
    if (sequence >= given_up_) --in_flight_;
    if (sequence < answered_end_) return reply_kind::reordered;
    answered_end_ = sequence + 1;
    return reply_kind::first;
}

void reply_window::give_up_before(std::uint64_t sequence) noexcept {
    sequence = std::min(sequence, next_);
    for (; given_up_ < sequence; ++given_up_) {
        if ((word(given_up_) & bit(given_up_)) == 0) --in_flight_;
    }
}

}  // namespace quoit::program
