// SPDX-License-Identifier: MIT
#include <quoit/detail/timer_heap.hpp>

#include <algorithm>

namespace quoit::detail {

namespace {
constexpr std::size_t children = 4;
}

void timer_heap::insert(timer_node& node, time_point deadline) {
    nodes_.push_back(&node);
    node.deadline_ = deadline;
    node.sequence_ = next_sequence_++;
    sift_up(nodes_.size() - 1, node);
}

void timer_heap::erase(timer_node& node) noexcept {
    const std::size_t hole = node.position_;
    if (hole == timer_node::none) return;
    node.position_ = timer_node::none;
    timer_node& last = *nodes_.back();
    nodes_.pop_back();
    if (&last == &node) return;
    // The last node may belong above the hole as well as below it: they may be cousins.
    if (hole > 0 && last.is_due_before(*nodes_[(hole - 1) / children])) {
        sift_up(hole, last);
    } else {
        sift_down(hole, last);
    }
}

timer_node* timer_heap::pop_due(time_point now) noexcept {
    if (nodes_.empty() || nodes_.front()->deadline_ > now) return nullptr;
    timer_node* const due = nodes_.front();
    erase(*due);
    return due;
}

void timer_heap::sift_up(std::size_t position, timer_node& node) noexcept {
    while (position > 0) {
        const std::size_t parent = (position - 1) / children;
        if (!node.is_due_before(*nodes_[parent])) break;
        put(position, *nodes_[parent]);
        position = parent;
    }
    put(position, node);
}

void timer_heap::sift_down(std::size_t position, timer_node& node) noexcept {
    for (;;) {
        const std::size_t first = position * children + 1;
        if (first >= nodes_.size()) break;
        const std::size_t end = std::min(first + children, nodes_.size());
        std::size_t earliest = first;
        for (std::size_t child = first + 1; child < end; ++child) {
            if (nodes_[child]->is_due_before(*nodes_[earliest])) earliest = child;
        }
        if (!nodes_[earliest]->is_due_before(node)) break;
        put(position, *nodes_[earliest]);
        position = earliest;
    }
    put(position, node);
}

}  // namespace quoit::detail
