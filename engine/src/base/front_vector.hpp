// SPDX-License-Identifier: MIT
//
// front_vector: entries that are taken from the front and appended at the back, in one stretch of
// memory that is used again.
//
//   waiting.make_room(1);            // may throw, and has then changed nothing
//   waiting.push_back(entry);        // does not
//   ... waiting.front() is done: waiting.pop_front();
//   ... all are: waiting.clear(1000);
//
// A std::deque would allocate and free as it moves through memory. What was popped is room again
// when at least half of the entries were: so each is moved at most once on average.
//
// Single-threaded. T moves and is made without throwing. Units: entries.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace quoit::detail {

template <class T>
class front_vector {
    static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T>);

  public:
    /// So many push_back() do not throw then.
    void make_room(std::size_t count) {
        if (entries_.capacity() - entries_.size() >= count) return;
        if (head_ >= count && head_ * 2 >= entries_.size()) {
            entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(head_));
            head_ = 0;
        } else {
            entries_.reserve(std::max(entries_.size() + count, 2 * entries_.capacity()));
        }
    }
    /// REQUIRES: room.
    void push_back(T entry) noexcept { entries_.push_back(std::move(entry)); }
    /// Of these, and of front() and back(): REQUIRES: !is_empty().
    void pop_front() noexcept { entries_[head_++] = T(); }
    /// Keeps memory for `kept_max` entries at most.
    void clear(std::size_t kept_max) noexcept {
        if (entries_.capacity() > kept_max) std::vector<T>().swap(entries_);
        entries_.clear();
        head_ = 0;
    }

    [[nodiscard]] bool is_empty() const noexcept { return head_ == entries_.size(); }
    [[nodiscard]] std::size_t size() const noexcept { return entries_.size() - head_; }
    [[nodiscard]] std::size_t capacity() const noexcept { return entries_.capacity(); }
    [[nodiscard]] T& front() noexcept { return entries_[head_]; }
    [[nodiscard]] T& back() noexcept { return entries_.back(); }
    [[nodiscard]] std::span<const T> all() const noexcept {
        return std::span(entries_).subspan(head_);
    }

  private:
    std::vector<T> entries_;
    std::size_t head_ = 0;
};

}  // namespace quoit::detail
