// SPDX-License-Identifier: MIT
#include "base/spsc_queue.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <numeric>
#include <thread>
#include <vector>

namespace {

using quoit::detail::spsc_queue;
using queue_of_int = spsc_queue<int>;

// The size of an event of the engine, with a checksum to recognise one that was torn.
struct event {
    std::uint64_t number = 0;
    std::uint64_t complement = ~std::uint64_t{0};

    static event make(std::uint64_t number) { return {.number = number, .complement = ~number}; }
    bool operator==(const event&) const = default;
};

template <class Handle>
concept can_push = requires(Handle handle) { handle.push(1); };
template <class Handle>
concept can_pop = requires(Handle handle, std::span<int> events) { handle.pop(events); };

static_assert(can_push<queue_of_int::producer> && !can_pop<queue_of_int::producer>);
static_assert(can_pop<queue_of_int::consumer> && !can_push<queue_of_int::consumer>);
static_assert(!can_push<queue_of_int> && !can_pop<queue_of_int>);
static_assert(!std::movable<queue_of_int> && !std::copyable<queue_of_int>);

std::vector<int> pop_all(queue_of_int& queue) {
    std::vector<int> events(queue.capacity());
    events.resize(queue.consumer_end().pop(events));
    return events;
}

TEST(spsc_queue, CapacityIsRoundedUpToAPowerOfTwo) {
    EXPECT_EQ(queue_of_int(1).capacity(), 1U);
    EXPECT_EQ(queue_of_int(2).capacity(), 2U);
    EXPECT_EQ(queue_of_int(3).capacity(), 4U);
    EXPECT_EQ(queue_of_int(1000).capacity(), 1024U);
    EXPECT_EQ(queue_of_int(1024).capacity(), 1024U);
}

TEST(spsc_queue_death, ACapacityOutOfRangeIsRefusedInWords) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(queue_of_int{0}, "quoit: assertion failed: .*: a queue without capacity");
    EXPECT_DEATH(queue_of_int{std::numeric_limits<std::size_t>::max()},
                 "quoit: assertion failed: .*: a queue of more than");
}

TEST(spsc_queue, IsEmptyUntilSomethingIsPushedAndOnceAllIsPopped) {
    queue_of_int queue(4);
    EXPECT_TRUE(queue.consumer_end().is_empty());
    EXPECT_TRUE(queue.producer_end().push(1));
    EXPECT_FALSE(queue.consumer_end().is_empty());
    EXPECT_EQ(pop_all(queue), std::vector{1});
    EXPECT_TRUE(queue.consumer_end().is_empty());
}

TEST(spsc_queue, PushStopsAtCapacityAndReportsHowManyFit) {
    queue_of_int queue(4);
    auto producer = queue.producer_end();
    EXPECT_EQ(producer.push(std::array{1, 2, 3}), 3U);
    EXPECT_EQ(producer.push(std::array{4, 5, 6}), 1U);
    EXPECT_EQ(producer.push(std::array{5, 6}), 0U);
    EXPECT_FALSE(producer.push(5));
    EXPECT_EQ(pop_all(queue), (std::vector{1, 2, 3, 4}));
}

TEST(spsc_queue, PoppedSlotsAreRoomAgain) {
    queue_of_int queue(2);
    auto producer = queue.producer_end();
    EXPECT_EQ(producer.push(std::array{1, 2, 3}), 2U);
    std::array<int, 1> popped{};
    EXPECT_EQ(queue.consumer_end().pop(popped), 1U);
    EXPECT_TRUE(producer.push(3));
    EXPECT_FALSE(producer.push(4));
    EXPECT_EQ(pop_all(queue), (std::vector{2, 3}));
}

TEST(spsc_queue, EmptyBatchesChangeNothing) {
    queue_of_int queue(2);
    EXPECT_EQ(queue.producer_end().push(std::span<const int>{}), 0U);
    EXPECT_TRUE(queue.producer_end().push(1));
    EXPECT_EQ(queue.consumer_end().pop({}), 0U);
    EXPECT_EQ(queue.consumer_end().consume(0, [](std::span<const int>) { FAIL(); }), 0U);
    EXPECT_EQ(pop_all(queue), std::vector{1});
}

TEST(spsc_queue, ConsumeOfAnEmptyQueueDoesNotCall) {
    queue_of_int queue(2);
    EXPECT_EQ(queue.consumer_end().consume(2, [](std::span<const int>) { FAIL(); }), 0U);
}

TEST(spsc_queue, ConsumeShowsABatchAcrossTheEndOfTheRingAsTwoSpans) {
    queue_of_int queue(4, 3);
    EXPECT_EQ(queue.producer_end().push(std::array{1, 2, 3}), 3U);
    std::vector<std::vector<int>> spans;
    const auto note = [&spans](std::span<const int> events) {
        spans.emplace_back(events.begin(), events.end());
    };
    EXPECT_EQ(queue.consumer_end().consume(4, note), 3U);
    EXPECT_EQ(spans, (std::vector<std::vector<int>>{{1}, {2, 3}}));
}

TEST(spsc_queue, ConsumeKeepsTheSlotsUntilTheCallbackReturned) {
    queue_of_int queue(2);
    auto producer = queue.producer_end();
    EXPECT_EQ(producer.push(std::array{1, 2}), 2U);
    queue.consumer_end().consume(
        2, [&producer](std::span<const int>) { EXPECT_FALSE(producer.push(3)); });
    EXPECT_TRUE(producer.push(3));
}

TEST(spsc_queue, ConsumeTakesNoMoreThanAsked) {
    queue_of_int queue(8);
    EXPECT_EQ(queue.producer_end().push(std::array{1, 2, 3}), 3U);
    int sum = 0;
    const auto add = [&sum](std::span<const int> events) {
        sum = std::accumulate(events.begin(), events.end(), sum);
    };
    EXPECT_EQ(queue.consumer_end().consume(2, add), 2U);
    EXPECT_EQ(sum, 3);
    EXPECT_EQ(pop_all(queue), std::vector{3});
}

TEST(spsc_queue, EveryHandleOfASideContinuesWhereTheLastOneStopped) {
    queue_of_int queue(4);
    EXPECT_TRUE(queue.producer_end().push(1));
    EXPECT_TRUE(queue.producer_end().push(2));
    std::array<int, 1> popped{};
    EXPECT_EQ(queue.consumer_end().pop(popped), 1U);
    EXPECT_EQ(popped[0], 1);
    EXPECT_EQ(queue.consumer_end().pop(popped), 1U);
    EXPECT_EQ(popped[0], 2);
}

// Random operations, compared with a std::deque after each one.
void behaves_as_a_bounded_deque(std::size_t index_first) {
    const auto capacity_min = *rc::gen::inRange<std::size_t>(1, 20);
    queue_of_int queue(capacity_min, index_first);
    std::deque<int> model;
    auto producer = queue.producer_end();
    auto consumer = queue.consumer_end();
    int next = 0;

    const auto take_from_model = [&model](std::size_t count) {
        const auto end = model.begin() + static_cast<std::ptrdiff_t>(count);
        std::vector<int> taken(model.begin(), end);
        model.erase(model.begin(), end);
        return taken;
    };

    const auto operations = *rc::gen::container<std::vector<std::pair<int, std::size_t>>>(
        rc::gen::pair(rc::gen::inRange(0, 4), rc::gen::inRange<std::size_t>(0, 40)));
    for (const auto& [operation, count] : operations) {
        const std::size_t room = queue.capacity() - model.size();
        if (operation == 0) {
            RC_ASSERT(producer.push(next) == (room > 0));
            if (room > 0) model.push_back(next);
            ++next;
        } else if (operation == 1) {
            std::vector<int> batch(count);
            std::iota(batch.begin(), batch.end(), next);
            next += static_cast<int>(count);
            const std::size_t pushed = producer.push(batch);
            RC_ASSERT(pushed == std::min(count, room));
            model.insert(model.end(), batch.begin(),
                         batch.begin() + static_cast<std::ptrdiff_t>(pushed));
        } else if (operation == 2) {
            std::vector<int> popped(count);
            popped.resize(consumer.pop(popped));
            RC_ASSERT(popped == take_from_model(std::min(count, model.size())));
        } else {
            std::vector<int> seen;
            std::size_t calls = 0;
            const std::size_t consumed = consumer.consume(count, [&](std::span<const int> events) {
                RC_ASSERT(!events.empty());
                seen.insert(seen.end(), events.begin(), events.end());
                ++calls;
            });
            RC_ASSERT(calls <= 2U);
            RC_ASSERT(consumed == seen.size());
            RC_ASSERT(seen == take_from_model(std::min(count, model.size())));
        }
        RC_ASSERT(consumer.is_empty() == model.empty());
    }
}

RC_GTEST_PROP(spsc_queue, BehavesAsABoundedDeque, ()) { behaves_as_a_bounded_deque(0); }

RC_GTEST_PROP(spsc_queue, BehavesAsABoundedDequeWhileItsIndicesWrap, ()) {
    const auto before_wrap = *rc::gen::inRange<std::size_t>(0, 64);
    behaves_as_a_bounded_deque(std::numeric_limits<std::size_t>::max() - before_wrap);
}

#if defined(__SANITIZE_THREAD__)
constexpr std::uint64_t event_count = 200'000;
#else
constexpr std::uint64_t event_count = 1'000'000;
#endif

// Wraps in the middle of the run, and is full and empty often.
constexpr std::size_t index_before_wrap =
    std::numeric_limits<std::size_t>::max() - std::size_t{event_count / 2};
constexpr std::size_t busy_capacity = 256;

// Counts the events that are not the expected one, torn ones included; the run goes on to its end.
class order_check {
  public:
    void operator()(std::span<const event> events) {
        for (const event& each : events) {
            if (each != event::make(expected_)) ++wrong_;
            ++expected_;
        }
    }
    [[nodiscard]] std::uint64_t seen() const { return expected_; }
    [[nodiscard]] std::uint64_t wrong() const { return wrong_; }

  private:
    std::uint64_t expected_ = 0;
    std::uint64_t wrong_ = 0;
};

TEST(spsc_queue_threads, SingleEventsArriveOnceAndInOrder) {
    spsc_queue<event> queue(busy_capacity, index_before_wrap);
    std::jthread pushing([producer = queue.producer_end()]() mutable {
        for (std::uint64_t number = 0; number < event_count; ++number) {
            while (!producer.push(event::make(number)))
                std::this_thread::yield();
        }
    });

    order_check check;
    auto consumer = queue.consumer_end();
    while (check.seen() < event_count) {
        std::array<event, 1> popped;
        if (consumer.pop(popped) == 1) {
            check(popped);
        } else {
            std::this_thread::yield();
        }
    }
    EXPECT_EQ(check.wrong(), 0U);
    EXPECT_TRUE(consumer.is_empty());
}

// Batches of 1 to 100: no multiple of the capacity, so that they end everywhere in the ring.
void push_in_batches(spsc_queue<event>::producer producer) {
    std::vector<event> batch;
    std::uint64_t number = 0;
    while (number < event_count) {
        const std::uint64_t size = std::min(1 + number % 100, event_count - number);
        batch.clear();
        for (std::uint64_t i = 0; i < size; ++i)
            batch.push_back(event::make(number + i));
        std::span<const event> left = batch;
        while (!left.empty()) {
            const std::size_t pushed = producer.push(left);
            left = left.subspan(pushed);
            if (pushed == 0) std::this_thread::yield();
        }
        number += size;
    }
}

TEST(spsc_queue_threads, BatchesArriveOnceAndInOrder) {
    spsc_queue<event> queue(busy_capacity, index_before_wrap);
    std::jthread pushing([producer = queue.producer_end()] { push_in_batches(producer); });

    order_check check;
    auto consumer = queue.consumer_end();
    std::array<event, 77> popped;
    while (check.seen() < event_count) {
        const std::size_t count = consumer.pop(popped);
        check(std::span(popped).first(count));
        if (count == 0) std::this_thread::yield();
    }
    EXPECT_EQ(check.wrong(), 0U);
    EXPECT_TRUE(consumer.is_empty());
}

TEST(spsc_queue_threads, BatchesConsumedInPlaceArriveOnceAndInOrder) {
    spsc_queue<event> queue(busy_capacity, index_before_wrap);
    std::jthread pushing([producer = queue.producer_end()] { push_in_batches(producer); });

    order_check check;
    auto consumer = queue.consumer_end();
    while (check.seen() < event_count) {
        if (consumer.consume(queue.capacity(), check) == 0) std::this_thread::yield();
    }
    EXPECT_EQ(check.wrong(), 0U);
    EXPECT_TRUE(consumer.is_empty());
}

}  // namespace
