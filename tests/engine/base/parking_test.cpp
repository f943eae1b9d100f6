// SPDX-License-Identifier: MIT
#include "base/parking.hpp"

#include "base/spsc_queue.hpp"

#include <quoit/file_descriptor.hpp>

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <thread>
#include <vector>

#include <poll.h>
#include <sys/eventfd.h>

namespace {

using quoit::file_descriptor;
using quoit::detail::parking_flag;
using quoit::detail::spsc_queue;

TEST(parking_flag, NobodyNeedsToWakeAConsumerThatIsAwake) {
    parking_flag flag;
    EXPECT_FALSE(flag.must_wake());
}

TEST(parking_flag, OnlyTheFirstProducerHasToWakeASleeper) {
    parking_flag flag;
    flag.prepare_to_sleep();
    EXPECT_TRUE(flag.must_wake());
    EXPECT_FALSE(flag.must_wake());
}

TEST(parking_flag, ACancelledSleepNeedsNoWakeUp) {
    parking_flag flag;
    flag.prepare_to_sleep();
    flag.cancel();
    EXPECT_FALSE(flag.must_wake());
}

TEST(parking_flag, EverySleepIsWokenAnew) {
    parking_flag flag;
    for (int sleep = 0; sleep < 3; ++sleep) {
        flag.prepare_to_sleep();
        EXPECT_TRUE(flag.must_wake());
        flag.cancel();
        EXPECT_FALSE(flag.must_wake());
    }
}

TEST(parking_flag, CancelWhileAwakeChangesNothing) {
    parking_flag flag;
    flag.cancel();
    EXPECT_FALSE(flag.must_wake());
    flag.prepare_to_sleep();
    EXPECT_TRUE(flag.must_wake());
}

TEST(parking_flag, SharesItsCacheLineWithNothing) {
    static_assert(alignof(parking_flag) == quoit::detail::cache_line_size);
    static_assert(sizeof(parking_flag) == quoit::detail::cache_line_size);
}

#if defined(__SANITIZE_THREAD__)
constexpr std::uint64_t round_count = 20'000;
constexpr std::uint64_t race_count = 50'000;
#else
constexpr std::uint64_t round_count = 100'000;
constexpr std::uint64_t race_count = 1'000'000;
#endif

// Lets two threads leave a point together, again and again, as nearly at once as spinning can.
class starting_line {
  public:
    void wait_for_both() {
        const std::uint64_t arrived = arrived_.fetch_add(1) + 1;
        const std::uint64_t needed = arrived + arrived % 2;
        for (int spin_count = 0; arrived_.load() < needed; ++spin_count) {
            // For a machine with one processor, or a busy one.
            if (spin_count > 1000) std::this_thread::yield();
        }
    }

  private:
    alignas(quoit::detail::cache_line_size) std::atomic<std::uint64_t> arrived_ = 0;
};

// Sweeps the phase between the two threads: some rounds hit the few nanoseconds that matter.
void dawdle(std::uint64_t step_count) {
    volatile std::uint64_t step = 0;
    while (step < step_count)
        step = step + 1;
}

// The race itself, without a kernel that slows it down: a push against a consumer falling asleep.
// It can only catch a protocol in the act: with a plain load before the exchange of must_wake(), or
// a plain store in prepare_to_sleep(), a handful of a million rounds fail on x86, in most runs.
TEST(parking_threads, EitherTheProducerSeesTheSleepOrTheConsumerSeesThePush) {
    spsc_queue<std::uint64_t> queue(1);
    parking_flag flag;
    starting_line start;
    starting_line finish;
    std::vector<char> has_producer_woken(race_count);
    std::vector<char> has_consumer_seen(race_count);

    {
        std::jthread pushing([&, producer = queue.producer_end()]() mutable {
            for (std::uint64_t round = 0; round < race_count; ++round) {
                start.wait_for_both();
                dawdle(round % 16);
                EXPECT_TRUE(producer.push(round));
                has_producer_woken[round] = flag.must_wake();
                finish.wait_for_both();
                // Takes the flag's cache line away from the consumer, whose next write to it then
                // lingers: that is when a later read can overtake it.
                dawdle(8);
                static_cast<void>(flag.must_wake());
            }
        });
        auto consumer = queue.consumer_end();
        for (std::uint64_t round = 0; round < race_count; ++round) {
            start.wait_for_both();
            dawdle(round / 16 % 16);
            flag.prepare_to_sleep();
            has_consumer_seen[round] = !consumer.is_empty();
            finish.wait_for_both();
            flag.cancel();
            EXPECT_EQ(consumer.consume(1, [](auto) {}), 1U);
        }
    }
    std::uint64_t lost_count = 0;
    for (std::uint64_t round = 0; round < race_count; ++round) {
        if (!has_producer_woken[round] && !has_consumer_seen[round]) ++lost_count;
    }
    EXPECT_EQ(lost_count, 0U);
}

// Longer than any scheduler keeps a thread waiting: what exceeds it is a wake-up that was lost.
constexpr int deadline_ms = 10'000;

// The consumer's end of the protocol, as a port or a worker has it.
class sleeper {
  public:
    enum class outcome { something_queued, woken, lost };

    template <class IsEmpty>
    outcome sleep_unless(IsEmpty&& is_empty) {
        flag_.prepare_to_sleep();
        outcome result = outcome::something_queued;
        if (is_empty()) {
            pollfd poll_for{.fd = event_.get(), .events = POLLIN, .revents = 0};
            const bool is_ready = ::poll(&poll_for, 1, deadline_ms) == 1;
            result = is_ready ? outcome::woken : outcome::lost;
        }
        flag_.cancel();
        // A write that comes late ends a later sleep early; draining without one is EAGAIN.
        eventfd_t value = 0;
        static_cast<void>(::eventfd_read(event_.get(), &value));
        return result;
    }

    // Any thread.
    void wake_if_asleep() {
        if (!flag_.must_wake()) return;
        ASSERT_EQ(::eventfd_write(event_.get(), 1), 0);
        wake_count_.fetch_add(1, std::memory_order_relaxed);
    }

    [[nodiscard]] std::uint64_t wake_count() const { return wake_count_.load(); }

  private:
    parking_flag flag_;
    file_descriptor event_{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    std::atomic<std::uint64_t> wake_count_ = 0;
};

// Pops everything there is; sleeps when there is nothing. False once a wake-up was lost.
template <class Consumers>
[[nodiscard]] bool drain_until(std::uint64_t count, sleeper& consumer_sleeper, Consumers& consumers,
                               std::uint64_t& sleep_count) {
    std::uint64_t drained = 0;
    while (drained < count) {
        std::size_t drained_now = 0;
        for (auto& consumer : consumers) {
            drained_now += consumer.consume(1024, [](auto) {});
        }
        drained += drained_now;
        if (drained_now != 0) continue;
        const auto outcome = consumer_sleeper.sleep_unless([&consumers] {
            bool is_empty = true;
            for (const auto& consumer : consumers)
                is_empty = is_empty && consumer.is_empty();
            return is_empty;
        });
        if (outcome == sleeper::outcome::lost) return false;
        ++sleep_count;
    }
    return true;
}

// Ping-pong: both sides sleep in every round, and the push races with the other's falling asleep.
TEST(parking_threads, NoWakeUpIsLostWhenBothSidesSleepInEveryRound) {
    spsc_queue<std::uint64_t> there(2);
    spsc_queue<std::uint64_t> back(2);
    sleeper echo_sleeper;
    sleeper main_sleeper;

    bool has_echo_lost = false;
    {
        std::jthread echo([&] {
            std::array consumers{there.consumer_end()};
            auto producer = back.producer_end();
            std::uint64_t sleep_count = 0;
            for (std::uint64_t round = 0; round < round_count; ++round) {
                if (!drain_until(1, echo_sleeper, consumers, sleep_count)) {
                    has_echo_lost = true;
                    return;
                }
                EXPECT_TRUE(producer.push(round));
                main_sleeper.wake_if_asleep();
            }
        });

        std::array consumers{back.consumer_end()};
        auto producer = there.producer_end();
        std::uint64_t sleep_count = 0;
        for (std::uint64_t round = 0; round < round_count; ++round) {
            ASSERT_TRUE(producer.push(round));
            echo_sleeper.wake_if_asleep();
            ASSERT_TRUE(drain_until(1, main_sleeper, consumers, sleep_count))
                << "lost in round " << round;
        }
        EXPECT_LE(main_sleeper.wake_count(), sleep_count) << "more than one write in one sleep";
    }
    EXPECT_FALSE(has_echo_lost);
}

// Several producers and one flag, as a port with several workers: the queue that runs dry is often
// pushed to in the very moment in which its consumer looks at it for the last time.
TEST(parking_threads, NoWakeUpIsLostWithSeveralProducers) {
    constexpr std::size_t producer_count = 3;
    std::deque<spsc_queue<std::uint64_t>> queues;
    for (std::size_t i = 0; i < producer_count; ++i)
        queues.emplace_back(round_count);
    sleeper consumer_sleeper;
    std::uint64_t sleep_count = 0;

    {
        std::vector<std::jthread> pushing;
        for (auto& queue : queues) {
            pushing.emplace_back([&consumer_sleeper, producer = queue.producer_end()]() mutable {
                for (std::uint64_t round = 0; round < round_count; ++round) {
                    EXPECT_TRUE(producer.push(round));
                    consumer_sleeper.wake_if_asleep();
                    // Gives the consumer the time to run dry.
                    if (round % 4 == 0) std::this_thread::yield();
                }
            });
        }
        std::vector<spsc_queue<std::uint64_t>::consumer> consumers;
        for (auto& queue : queues)
            consumers.push_back(queue.consumer_end());
        EXPECT_TRUE(
            drain_until(producer_count * round_count, consumer_sleeper, consumers, sleep_count));
    }
    EXPECT_LE(consumer_sleeper.wake_count(), sleep_count) << "more than one write in one sleep";
}

}  // namespace
