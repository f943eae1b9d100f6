// SPDX-License-Identifier: MIT
#include "backend/buffer_pool.hpp"

#include "base/poison.hpp"
#include "base/spsc_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <numeric>
#include <semaphore>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace quoit::detail;
using std::chrono::seconds;

constexpr std::uint32_t stride = 192;

buffer_pool::owner make_pool(std::uint32_t count, std::uint32_t socket_count = 4) {
    return quoit::or_throw(
        buffer_pool::create({.count = count, .stride = stride, .socket_count = socket_count}));
}

// What a backend does before an event names the buffer.
void fill(const buffer_pool& pool, std::uint32_t buffer, int value) {
    pool.unpoison(buffer);
    std::memset(pool.data(buffer), value, stride);
}

bool holds(const buffer_pool& pool, std::uint32_t buffer, int value) {
    return std::ranges::all_of(pool.used(buffer, stride), [value](std::byte one) {
        return one == static_cast<std::byte>(value);
    });
}

std::vector<std::uint32_t> returned(buffer_pool& pool) {
    std::vector<std::uint32_t> all;
    all.reserve(pool.count());
    pool.take_returned(all);
    std::ranges::sort(all);
    return all;
}

using buffers = std::vector<std::uint32_t>;

TEST(buffer_pool, BuffersLieAStrideApartAndDoNotOverlap) {
    const auto pool = make_pool(16);
    EXPECT_EQ(pool->count(), 16U);
    EXPECT_EQ(pool->stride(), stride);
    for (std::uint32_t i = 0; i < 16; ++i)
        fill(*pool, i, static_cast<int>(i));
    for (std::uint32_t i = 0; i < 16; ++i) {
        EXPECT_TRUE(holds(*pool, i, static_cast<int>(i)));
        EXPECT_EQ(pool->data(i) - pool->data(0), std::ptrdiff_t{i} * stride);
    }
}

TEST(buffer_pool, UsedNeverReachesBeyondTheBuffer) {
    const auto pool = make_pool(4);
    EXPECT_EQ(pool->used(1, 0).size(), 0U);
    EXPECT_EQ(pool->used(1, stride).size(), stride);
    EXPECT_EQ(pool->used(1, stride + 1).size(), stride);
    EXPECT_EQ(pool->used(3, ~std::uint32_t{0}).size(), stride);
    EXPECT_EQ(pool->used(3, 5).data(), pool->data(3));
}

TEST(buffer_pool, CreateSaysSoWhenThereIsNoMemory) {
    // 128 TiB: more than a process can address.
    const auto pool =
        buffer_pool::create({.count = 32'768, .stride = 0xffff'ffff, .socket_count = 1});
    ASSERT_FALSE(pool);
    EXPECT_EQ(pool.error(), std::errc::not_enough_memory);
    EXPECT_NE(pool.error().context().find("32768"), std::string_view::npos);
}

TEST(buffer_pool, ANewPoolHasNoLeasesAndNothingReturned) {
    const auto pool = make_pool(8);
    EXPECT_EQ(pool->leased(), 0U);
    for (std::uint32_t socket = 0; socket < 4; ++socket)
        EXPECT_EQ(pool->leased_by(socket), 0U);
    EXPECT_FALSE(pool->has_returned());
    EXPECT_EQ(returned(*pool), buffers{});
}

TEST(buffer_pool, TheLastReleaseReturnsABuffer) {
    const auto pool = make_pool(8);
    fill(*pool, 5, 1);
    pool->adopt(5, 0);
    pool->retain(5);
    pool->retain(5);
    EXPECT_EQ(pool->leased(), 1U) << "buffers, not leases";
    pool->release(5);
    pool->release(5);
    EXPECT_EQ(pool->leased(), 1U);
    EXPECT_FALSE(pool->has_returned());
    EXPECT_TRUE(holds(*pool, 5, 1));
    pool->release(5);
    EXPECT_EQ(pool->leased(), 0U);
    EXPECT_TRUE(pool->has_returned());
    EXPECT_EQ(returned(*pool), buffers{5});
}

TEST(buffer_pool, TakeReturnedTakesEachBufferOnceAndClearsWhatItIsGiven) {
    const auto pool = make_pool(8);
    for (const std::uint32_t buffer : {0U, 3U, 7U}) {
        pool->adopt(buffer, 0);
        pool->release(buffer);
    }
    buffers into{99, 98};
    into.reserve(8);
    pool->take_returned(into);
    std::ranges::sort(into);
    EXPECT_EQ(into, (buffers{0, 3, 7}));
    EXPECT_FALSE(pool->has_returned());
    pool->take_returned(into);
    EXPECT_EQ(into, buffers{});
}

TEST(buffer_pool, EveryBufferCanBeLeasedAndReturnedAtOnceAgainAndAgain) {
    const auto pool = make_pool(32);
    buffers all(32);
    std::iota(all.begin(), all.end(), 0U);
    for (int round = 0; round < 5; ++round) {
        for (const std::uint32_t buffer : all)
            pool->adopt(buffer, 0);
        EXPECT_EQ(pool->leased(), 32U);
        for (const std::uint32_t buffer : all)
            pool->release(buffer);
        EXPECT_EQ(pool->leased(), 0U);
        EXPECT_EQ(returned(*pool), all);
    }
}

TEST(buffer_pool, LeasesAreOnAccountOfTheSocketThatReceived) {
    const auto pool = make_pool(8, 3);
    pool->adopt(0, 0);
    pool->adopt(1, 2);
    pool->adopt(2, 2);
    pool->retain(2);
    EXPECT_EQ(pool->leased_by(0), 1U);
    EXPECT_EQ(pool->leased_by(1), 0U);
    EXPECT_EQ(pool->leased_by(2), 2U) << "buffers, not leases";
    pool->release(2);
    EXPECT_EQ(pool->leased_by(2), 2U);
    pool->release(2);
    EXPECT_EQ(pool->leased_by(2), 1U);
    // A buffer is on the account of who receives into it next.
    EXPECT_EQ(returned(*pool), buffers{2});
    pool->adopt(2, 1);
    EXPECT_EQ(pool->leased_by(1), 1U);
    pool->release(0);
    pool->release(1);
    pool->release(2);
    for (std::uint32_t socket = 0; socket < 3; ++socket)
        EXPECT_EQ(pool->leased_by(socket), 0U);
}

// --- the wake-up of a starved worker ---

struct counting_waker {
    int count = 0;
    static void wake(void* self) noexcept { ++static_cast<counting_waker*>(self)->count; }
};

void cycle(buffer_pool& pool, std::uint32_t from, std::uint32_t count) {
    for (std::uint32_t i = from; i < from + count; ++i) {
        pool.adopt(i, 0);
        pool.release(i);
    }
}

TEST(buffer_pool, AStarvedWorkerIsWokenWhenAQuarterHasComeBack) {
    const auto pool = make_pool(32);
    counting_waker waker;
    pool->set_waker(&counting_waker::wake, &waker);
    pool->set_starved(true);
    cycle(*pool, 0, 7);
    EXPECT_EQ(waker.count, 0);
    cycle(*pool, 7, 1);
    EXPECT_EQ(waker.count, 1);
    cycle(*pool, 8, 7);
    EXPECT_EQ(waker.count, 1) << "once per quarter, not per buffer";
    cycle(*pool, 15, 1);
    EXPECT_EQ(waker.count, 2);
}

TEST(buffer_pool, AWorkerThatIsNotStarvedIsNotWoken) {
    const auto pool = make_pool(32);
    counting_waker waker;
    pool->set_waker(&counting_waker::wake, &waker);
    cycle(*pool, 0, 32);
    pool->wake_if_starved();
    EXPECT_EQ(waker.count, 0);
    EXPECT_EQ(returned(*pool).size(), 32U);
    pool->set_starved(true);
    pool->set_starved(false);
    cycle(*pool, 0, 32);
    EXPECT_EQ(waker.count, 0);
}

TEST(buffer_pool, BuffersThatCameBackWhileNotStarvedDoNotCountTowardsTheQuarter) {
    const auto pool = make_pool(32);
    counting_waker waker;
    pool->set_waker(&counting_waker::wake, &waker);
    cycle(*pool, 0, 7);
    EXPECT_EQ(returned(*pool).size(), 7U);
    pool->set_starved(true);
    cycle(*pool, 0, 7);
    EXPECT_EQ(waker.count, 0);
}

TEST(buffer_pool, LessThanAQuarterWakesAtTheEndOfTheTurn) {
    const auto pool = make_pool(32);
    counting_waker waker;
    pool->set_waker(&counting_waker::wake, &waker);
    pool->set_starved(true);
    pool->wake_if_starved();
    EXPECT_EQ(waker.count, 0) << "nothing has come back";
    cycle(*pool, 0, 1);
    pool->wake_if_starved();
    EXPECT_EQ(waker.count, 1);
    EXPECT_EQ(returned(*pool), buffers{0});
    pool->wake_if_starved();
    EXPECT_EQ(waker.count, 1) << "it has been taken";
}

TEST(buffer_pool, AStarvedPoolWithoutAWakerWakesNobody) {
    const auto pool = make_pool(4);
    pool->set_starved(true);
    cycle(*pool, 0, 4);
    pool->wake_if_starved();
    EXPECT_EQ(returned(*pool).size(), 4U);
}

// A port reads and releases on its thread what a worker fills on another, which sleeps whenever it
// has no buffer. ThreadSanitizer sees a reader that the stack does not order before the next
// filling; a lost wake-up ends in the timeout.
TEST(buffer_pool, BuffersGoRoundBetweenTwoThreads) {
    constexpr std::uint32_t buffer_count = 8;
    constexpr std::uint32_t rounds = 20'000;
    struct filled {
        std::uint32_t buffer = 0;
        std::uint32_t number = 0;
    };
    const auto pool = make_pool(buffer_count);
    spsc_queue<filled> queue(buffer_count);
    std::counting_semaphore<> wakes(0);
    pool->set_waker(
        [](void* context) noexcept { static_cast<std::counting_semaphore<>*>(context)->release(); },
        &wakes);
    std::atomic<bool> is_stuck = false;
    std::atomic<bool> is_over = false;

    std::thread worker([&] {
        auto out = queue.producer_end();
        buffers free(buffer_count);
        std::iota(free.begin(), free.end(), 0U);
        free.reserve(buffer_count);
        for (std::uint32_t number = 0; number < rounds;) {
            for (const std::uint32_t buffer : free) {
                if (number == rounds) break;
                fill(*pool, buffer, static_cast<int>(number & 0xff));
                if (!out.push(filled{.buffer = buffer, .number = number})) is_stuck = true;
                ++number;
            }
            pool->take_returned(free);
            if (!free.empty()) continue;
            pool->set_starved(true);
            while (!pool->has_returned() && number < rounds) {
                if (!wakes.try_acquire_for(seconds(10))) {
                    is_stuck = true;
                    break;
                }
            }
            pool->set_starved(false);
            if (is_stuck) break;
            pool->take_returned(free);
        }
        is_over = true;
    });

    auto in = queue.consumer_end();
    std::uint32_t expected = 0;
    bool is_intact = true;
    while (expected < rounds && !is_stuck) {
        filled one;
        if (in.pop({&one, 1}) == 0) {
            pool->wake_if_starved();  // the end of a turn
            std::this_thread::yield();
            continue;
        }
        pool->adopt(one.buffer, one.number % 4);
        is_intact = is_intact && one.number == expected &&
                    holds(*pool, one.buffer, static_cast<int>(one.number & 0xff));
        ++expected;
        pool->release(one.buffer);
    }
    while (!is_over) {
        pool->wake_if_starved();
        std::this_thread::yield();
    }
    worker.join();
    EXPECT_FALSE(is_stuck) << "a wake-up was lost, or a buffer";
    EXPECT_TRUE(is_intact) << "a buffer was filled while it was held";
    EXPECT_EQ(expected, rounds);
    EXPECT_EQ(pool->leased(), 0U);
}

// --- abandon ---

// LeakSanitizer tells when it does not.
TEST(buffer_pool, AnAbandonedPoolWithoutLeasesIsFreedAtOnce) {
    auto pool = make_pool(4);
    cycle(*pool, 0, 4);
    pool.reset();
}

TEST(buffer_pool, AnAbandonedPoolLivesUntilItsLastLease) {
    counting_waker waker;
    auto pool = make_pool(4);
    pool->set_waker(&counting_waker::wake, &waker);
    pool->set_starved(true);
    buffer_pool* const abandoned = pool.get();
    for (std::uint32_t i = 0; i < 3; ++i) {
        fill(*pool, i, static_cast<int>(i) + 1);
        pool->adopt(i, i);
    }
    pool->retain(1);
    pool.reset();

    EXPECT_EQ(abandoned->leased(), 3U);
    abandoned->release(0);
    EXPECT_TRUE(holds(*abandoned, 1, 2));
    abandoned->release(1);
    EXPECT_TRUE(holds(*abandoned, 1, 2));
    abandoned->retain(2);
    abandoned->release(2);
    EXPECT_TRUE(holds(*abandoned, 2, 3));
    abandoned->release(2);
    EXPECT_TRUE(holds(*abandoned, 1, 2));
    abandoned->release(1);  // the last: the pool is gone
    EXPECT_EQ(waker.count, 0) << "nobody is left to be woken";
}

// --- poison: what is not leased must not be read ---

bool is_poisoned([[maybe_unused]] const std::byte* where) {
#if defined(ASAN_POISON_MEMORY_REGION)  // <sanitizer/asan_interface.h>, by base/poison.hpp
    return __asan_address_is_poisoned(where) != 0;
#else
    return false;
#endif
}

TEST(buffer_pool, ABufferIsPoisonedUnlessItIsLeased) {
    if (!is_poisoning_available) GTEST_SKIP() << "built without AddressSanitizer";
    const auto pool = make_pool(4);
    const auto expect_poisoned = [&](std::uint32_t buffer, bool expected) {
        EXPECT_EQ(is_poisoned(pool->data(buffer)), expected);
        EXPECT_EQ(is_poisoned(pool->data(buffer) + stride - 1), expected);
    };
    for (std::uint32_t i = 0; i < 4; ++i)
        expect_poisoned(i, true);
    fill(*pool, 2, 1);
    expect_poisoned(1, true);
    expect_poisoned(2, false);
    expect_poisoned(3, true);
    pool->adopt(2, 0);
    pool->retain(2);
    pool->release(2);
    expect_poisoned(2, false);
    pool->release(2);
    expect_poisoned(2, true);
    EXPECT_EQ(returned(*pool), buffers{2});
    expect_poisoned(2, true);
}

TEST(buffer_pool, ANewPoolAtTheAddressOfAnOldOneStartsClean) {
    // Whether the address is the same is the kernel's choice; it usually is.
    for (int round = 0; round < 4; ++round) {
        const auto pool = make_pool(4);
        for (std::uint32_t i = 0; i < 4; ++i) {
            fill(*pool, i, round);
            EXPECT_TRUE(holds(*pool, i, round));
        }
    }
}

}  // namespace
