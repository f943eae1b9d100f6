// SPDX-License-Identifier: MIT
#include <quoit/detail/timer_heap.hpp>

#include <algorithm>

namespace quoit::detail {

namespace {
constexpr std::size_t children = 4;
}

void timer_heap::insert(timer_node& node, time_point deadline) {
    slots_.push_back({deadline, &node});
    node.deadline_ = deadline;
    node.sequence_ = next_sequence_++;
    sift_up(slots_.size() - 1, {deadline, &node});
}

void timer_heap::reserve(std::size_t count) {
    if (count > slots_.capacity()) slots_.reserve(std::max(count, 2 * slots_.capacity()));
}

void timer_heap::erase(timer_node& node) noexcept {
    const std::size_t hole = node.position_;
    if (hole == timer_node::none) return;
    node.position_ = timer_node::none;
    const slot last = slots_.back();
    slots_.pop_back();
    if (last.node == &node) return;
    // The last node may belong above the hole as well as below it: they may be cousins.
    if (hole > 0 && last.is_due_before(slots_[(hole - 1) / children])) {
        sift_up(hole, last);
    } else {
        sift_down(hole, last);
    }
}

timer_node* timer_heap::pop_due(time_point now) noexcept {
    if (slots_.empty() || slots_.front().deadline > now) return nullptr;
    timer_node* const due = slots_.front().node;
    erase(*due);
    return due;
}

void timer_heap::sift_up(std::size_t position, slot one) noexcept {
    while (position > 0) {
        const std::size_t parent = (position - 1) / children;
        if (!one.is_due_before(slots_[parent])) break;
        put(position, slots_[parent]);
        position = parent;
    }
    put(position, one);
}

void timer_heap::sift_down(std::size_t position, slot one) noexcept {
    for (;;) {
        const std::size_t first = position * children + 1;
        if (first >= slots_.size()) break;
        const std::size_t end = std::min(first + children, slots_.size());
        std::size_t earliest = first;
        for (std::size_t child = first + 1; child < end; ++child) {
            if (slots_[child].is_due_before(slots_[earliest])) earliest = child;
        }
        if (!slots_[earliest].is_due_before(one)) break;
        put(position, slots_[earliest]);
        position = earliest;
    }
    put(position, one);
}

}  // namespace quoit::detail
