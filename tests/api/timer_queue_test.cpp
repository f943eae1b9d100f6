// SPDX-License-Identifier: MIT
//
// The queue behind loop::call_later(), with a time of its own. Counts every call of the global
// operator new in this program. The operators are not inlined, so that GCC cannot see a new that is
// matched by a free().
#include <quoit/detail/timer_queue.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>
#include <utility>
#include <vector>

namespace {

std::atomic<std::size_t> allocation_count{0};

void* counted_allocation(std::size_t size) {
    allocation_count.fetch_add(1, std::memory_order_relaxed);
    if (void* const memory = std::malloc(size == 0 ? 1 : size)) return memory;
    throw std::bad_alloc();
}

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t size) { return counted_allocation(size); }
[[gnu::noinline]] void* operator new[](std::size_t size) { return counted_allocation(size); }
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using namespace std::chrono_literals;
using quoit::errc;
using quoit::detail::timer_queue;
using time_point = timer_queue::time_point;

constexpr time_point at(std::int64_t tick) { return time_point(std::chrono::milliseconds(tick)); }

class timers : public ::testing::Test {
  protected:
    std::size_t run(std::int64_t tick) {
        return queue.run_due(at(tick), [this](const std::exception_ptr&) { ++failed; });
    }
    auto note(int what) {
        return [this, what] { called.push_back(what); };
    }

    timer_queue queue;
    std::vector<int> called;
    int failed = 0;
};

TEST_F(timers, AreCalledInTheOrderOfTimeThenOfBeingSet) {
    const auto late = queue.add(note(3), at(30));
    const auto first = queue.add(note(1), at(10));
    const auto second = queue.add(note(2), at(10));
    EXPECT_EQ(queue.earliest(), at(10));
    EXPECT_EQ(run(9), 0U);
    EXPECT_EQ(run(30), 3U);
    EXPECT_EQ(called, (std::vector{1, 2, 3}));
    EXPECT_TRUE(queue.is_empty());
    EXPECT_EQ(late->ended(), errc::already_fired);
    EXPECT_EQ(run(100), 0U);
}

TEST_F(timers, ThatAreSetWhileOthersRunAreForTheNextTime) {
    queue.add(
        [this] {
            called.push_back(1);
            queue.add(note(2), at(0));
        },
        at(10));
    EXPECT_EQ(run(10), 1U);
    EXPECT_EQ(called, (std::vector{1}));
    EXPECT_EQ(run(10), 1U);
    EXPECT_EQ(called, (std::vector{1, 2}));
}

TEST_F(timers, ThatArePeriodicKeepToTheirGridAndDoNotPileUp) {
    const auto periodic = queue.add(note(1), at(10), 10ms);
    EXPECT_EQ(run(10), 1U);
    EXPECT_EQ(periodic->deadline(), at(20));
    EXPECT_EQ(run(23), 1U);
    EXPECT_EQ(periodic->deadline(), at(30)) << "late by 3 is no drift";
    EXPECT_EQ(run(95), 1U) << "seven periods missed, one call";
    EXPECT_EQ(periodic->deadline(), at(100));
    EXPECT_EQ(run(99), 0U);
    EXPECT_EQ(run(100), 1U);
    EXPECT_EQ(called.size(), 4U);
    EXPECT_TRUE(periodic->is_pending());
}

TEST_F(timers, OfAHugePeriodDoNotOverflow) {
    const auto periodic = queue.add(note(1), at(10), std::chrono::nanoseconds::max());
    EXPECT_EQ(run(20), 1U);
    EXPECT_EQ(periodic->deadline(), time_point::max());
    EXPECT_EQ(run(1'000'000), 0U);
}

TEST_F(timers, ThatAreCancelledAreNotCalledEvenIfDueAlready) {
    const auto third = queue.add(note(3), at(30));
    const auto second = queue.add(note(2), at(20));
    const auto first = queue.add([&] { second->cancel(); }, at(10));
    third->cancel();
    EXPECT_EQ(third->ended(), errc::canceled);
    EXPECT_EQ(run(100), 1U);
    EXPECT_TRUE(called.empty());
    EXPECT_EQ(second->ended(), errc::canceled);
    EXPECT_EQ(first->ended(), errc::already_fired);
}

TEST_F(timers, AreMovedEvenIfDueAlready) {
    const auto second = queue.add(note(2), at(20));
    const auto first = queue.add([&] { second->move_to(at(50)); }, at(10));
    const auto third = queue.add(note(3), at(70));
    third->move_to(at(40));
    EXPECT_EQ(run(30), 1U);
    EXPECT_EQ(run(100), 2U);
    EXPECT_EQ(called, (std::vector{3, 2}));
}

TEST_F(timers, MayCancelAndMoveThemselvesWhileTheyRun) {
    int runs = 0;
    timer_queue::ptr periodic;
    const auto owned = std::make_shared<int>(7);
    periodic = queue.add(
        [&, owned] {
            if (++runs == 1) periodic->move_to(at(500));
            if (runs == 2) periodic->cancel();
            EXPECT_EQ(*owned, 7) << "what it captured is alive while it runs";
        },
        at(10), 10ms);
    EXPECT_EQ(run(10), 1U);
    EXPECT_EQ(periodic->deadline(), at(500));
    EXPECT_EQ(owned.use_count(), 2);
    EXPECT_EQ(run(500), 1U);
    EXPECT_FALSE(periodic->is_pending());
    EXPECT_EQ(owned.use_count(), 1);
    EXPECT_EQ(run(1000), 0U);
}

TEST_F(timers, DropTheirFunctionAsSoonAsItIsNotNeeded) {
    const auto owned = std::make_shared<int>(7);
    const auto fired = queue.add([owned] {}, at(10));
    const auto cancelled = queue.add([owned] {}, at(20));
    EXPECT_EQ(owned.use_count(), 3);
    run(10);
    EXPECT_EQ(owned.use_count(), 2);
    cancelled->cancel();
    EXPECT_EQ(owned.use_count(), 1);
}

TEST_F(timers, ThatThrowAreReportedAndAPeriodicOneGoesOn) {
    const auto periodic = queue.add([] { throw std::runtime_error("oops"); }, at(10), 10ms);
    queue.add(note(1), at(10));
    EXPECT_EQ(run(10), 2U);
    EXPECT_EQ(run(20), 1U);
    EXPECT_EQ(failed, 2);
    EXPECT_EQ(called, (std::vector{1}));
    EXPECT_TRUE(periodic->is_pending());
}

TEST_F(timers, AreClosedWithTheirQueueWhichTakesNoMore) {
    struct restless {
        timer_queue* queue = nullptr;
        restless(timer_queue* of) : queue(of) {}
        restless(restless&& other) noexcept : queue(std::exchange(other.queue, nullptr)) {}
        ~restless() {
            if (queue == nullptr) return;
            EXPECT_EQ(queue->add([] {}, at(1))->ended(), errc::closed);
        }
    };
    const auto one = queue.add([owned = restless(&queue)] { static_cast<void>(owned); }, at(10));
    const auto two = queue.add(note(2), at(20));
    queue.close();
    EXPECT_TRUE(queue.is_empty());
    EXPECT_FALSE(one->is_pending());
    EXPECT_EQ(two->ended(), errc::closed);
    EXPECT_EQ(run(100), 0U);
    EXPECT_TRUE(called.empty());
}

TEST_F(timers, OfAMillionCostOneAllocationEachAndFireInOrder) {
    constexpr std::int64_t count = 1'000'000;
    struct {
        std::int64_t fired = 0;
        time_point last{};
        bool is_ordered = true;
    } seen;
    std::vector<timer_queue::ptr> all(count);
    const std::size_t before = allocation_count.load();
    for (std::int64_t i = 0; i < count; ++i) {
        const time_point when = at(1 + i * 7'919 % count);  // each time once
        all[static_cast<std::size_t>(i)] = queue.add(
            [&seen, when] {
                ++seen.fired;
                seen.is_ordered = seen.is_ordered && seen.last < when;
                seen.last = when;
            },
            when);
    }
    // One for each, and those of the heap's vector, which doubles.
    EXPECT_LE(allocation_count.load() - before, static_cast<std::size_t>(count) + 64);
    for (std::size_t i = 0; i < all.size(); i += 2)
        all[i]->cancel();
    EXPECT_EQ(run(count), static_cast<std::size_t>(count / 2));
    EXPECT_EQ(seen.fired, count / 2);
    EXPECT_TRUE(seen.is_ordered);
    EXPECT_TRUE(queue.is_empty());
}

}  // namespace
