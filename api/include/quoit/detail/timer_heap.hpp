// SPDX-License-Identifier: MIT
//
// timer_heap: what waits for a point in time, the earliest first; equal ones in the order in which
// they were inserted.
//
// A heap with four children to a node: half as deep as a binary one, and the four that it compares,
// each with its deadline beside the pointer, are one cache line, so that nodes are read only where
// deadlines are equal. Each node knows its position, so that it can be taken out of the middle:
// most timers are timeouts, which are cancelled. O(log n) to insert and to erase; the vector keeps
// its capacity, so that nothing is allocated once warm.
//
// Invariants:
//   1. slots_[n].node->position_ == n, and its deadline is slots_[n].deadline; a node that is in no
//      heap has position none.
//   2. No node is due before its parent, slots_[(n - 1) / 4].
//
// Thread safety: none.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace quoit::detail {

class timer_heap;

/// Belongs to one heap at most, which does not own it: whoever destroys it erases it first.
class timer_node {
  public:
    using time_point = std::chrono::steady_clock::time_point;

    timer_node() noexcept = default;
    timer_node(const timer_node&) = delete;
    timer_node& operator=(const timer_node&) = delete;
    ~timer_node() = default;

    [[nodiscard]] time_point deadline() const noexcept { return deadline_; }
    [[nodiscard]] bool is_scheduled() const noexcept { return position_ != none; }

  private:
    friend class timer_heap;
    static constexpr std::size_t none = std::numeric_limits<std::size_t>::max();

    time_point deadline_{};
    std::uint64_t sequence_ = 0;
    std::size_t position_ = none;
};

class timer_heap {
  public:
    using time_point = timer_node::time_point;

    /// REQUIRES: `node` is in no heap. May throw std::bad_alloc, with nothing changed.
    void insert(timer_node& node, time_point deadline);
    /// Room for so many: inserting up to that number does not fail.
    void reserve(std::size_t count);
    /// Does nothing when the node is in no heap.
    void erase(timer_node& node) noexcept;
    /// The earliest, if it is due at `now`; taken out. Null otherwise.
    [[nodiscard]] timer_node* pop_due(time_point now) noexcept;

    /// One of them, the cheapest to erase; null when there is none.
    [[nodiscard]] timer_node* any() const noexcept {
        return slots_.empty() ? nullptr : slots_.back().node;
    }

    /// REQUIRES: !is_empty().
    [[nodiscard]] time_point earliest() const noexcept { return slots_.front().deadline; }
    [[nodiscard]] bool is_empty() const noexcept { return slots_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return slots_.size(); }

  private:
    struct slot {
        time_point deadline;
        timer_node* node;

        [[nodiscard]] bool is_due_before(const slot& other) const noexcept {
            return deadline != other.deadline ? deadline < other.deadline
                                              : node->sequence_ < other.node->sequence_;
        }
    };
    void put(std::size_t position, const slot& one) noexcept {
        slots_[position] = one;
        one.node->position_ = position;
    }
    // From the hole at `position`, towards the root or the leaves, until `one` fits.
    void sift_up(std::size_t position, slot one) noexcept;
    void sift_down(std::size_t position, slot one) noexcept;

    std::vector<slot> slots_;
    std::uint64_t next_sequence_ = 0;
};

}  // namespace quoit::detail
