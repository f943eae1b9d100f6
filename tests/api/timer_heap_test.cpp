// SPDX-License-Identifier: MIT
#include <quoit/detail/timer_heap.hpp>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace {

using quoit::detail::timer_heap;
using quoit::detail::timer_node;

timer_heap::time_point at(int tick) { return timer_heap::time_point(std::chrono::seconds(tick)); }

TEST(timer_heap, BehavesAsAMultimapByDeadlineThatKeepsTheOrderOfInsertion) {
    const bool holds = rc::check([](const std::vector<std::pair<int, int>>& commands) {
        timer_heap heap;
        // A multimap inserts equal keys behind those that are there: first in, first out.
        std::multimap<timer_heap::time_point, timer_node*> model;
        std::vector<std::unique_ptr<timer_node>> nodes;
        for (const auto& [what, value] : commands) {
            const int kind = ((what % 4) + 4) % 4;
            const int tick = ((value % 16) + 16) % 16;
            if (kind <= 1) {
                nodes.push_back(std::make_unique<timer_node>());
                heap.insert(*nodes.back(), at(tick));
                model.emplace(at(tick), nodes.back().get());
            } else if (kind == 2 && !nodes.empty()) {
                timer_node& one = *nodes[static_cast<std::size_t>(tick) % nodes.size()];
                heap.erase(one);
                RC_ASSERT(!one.is_scheduled());
                std::erase_if(model, [&](const auto& entry) { return entry.second == &one; });
            } else {
                timer_node* const due = heap.pop_due(at(tick));
                const bool is_one_due = !model.empty() && model.begin()->first <= at(tick);
                RC_ASSERT((due != nullptr) == is_one_due);
                if (due != nullptr) {
                    RC_ASSERT(due == model.begin()->second);
                    model.erase(model.begin());
                }
            }
            RC_ASSERT(heap.size() == model.size());
            if (!model.empty()) RC_ASSERT(heap.earliest() == model.begin()->first);
        }
        while (timer_node* const due = heap.pop_due(at(100))) {
            RC_ASSERT(due == model.begin()->second);
            model.erase(model.begin());
        }
        RC_ASSERT(model.empty());
    });
    EXPECT_TRUE(holds);
}

TEST(timer_heap, EqualDeadlinesAreFirstInFirstOut) {
    timer_heap heap;
    std::vector<std::unique_ptr<timer_node>> nodes;
    for (int i = 0; i < 100; ++i) {
        nodes.push_back(std::make_unique<timer_node>());
        heap.insert(*nodes.back(), at(1));
    }
    for (const auto& node : nodes)
        EXPECT_EQ(heap.pop_due(at(1)), node.get());
    EXPECT_EQ(heap.pop_due(at(1)), nullptr);
}

TEST(timer_heap, ErasingWhatIsNotInItDoesNothing) {
    timer_heap heap;
    timer_node node;
    heap.erase(node);
    heap.insert(node, at(1));
    heap.erase(node);
    heap.erase(node);
    EXPECT_TRUE(heap.is_empty());
}

}  // namespace
