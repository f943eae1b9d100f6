// SPDX-License-Identifier: MIT
#include <quoit/detail/idle_watch.hpp>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <chrono>
#include <cstdint>

namespace {

using quoit::detail::idle_watch;
constexpr std::uint32_t looks = idle_watch::looks_per_timeout;

// How many looks it takes from now on.
std::uint32_t looks_until_idle(idle_watch& watch, std::uint64_t bytes) {
    std::uint32_t count = 1;
    while (!watch.look(bytes, false) && count < 100)
        ++count;
    return count;
}

TEST(idle_watch, TheFirstLookOnlyTakesNote) {
    idle_watch watch;
    EXPECT_EQ(looks_until_idle(watch, 0), looks + 1);
}

TEST(idle_watch, WhateverIsReceivedBeginsAnew) {
    idle_watch watch;
    for (std::uint32_t i = 0; i < looks; ++i)
        EXPECT_FALSE(watch.look(7, false));
    EXPECT_EQ(looks_until_idle(watch, 8), looks + 1);
}

TEST(idle_watch, APeerThatIsHeldUpIsNotIdle) {
    idle_watch watch;
    for (std::uint32_t i = 0; i < 10 * looks; ++i)
        EXPECT_FALSE(watch.look(7, true));
    EXPECT_EQ(looks_until_idle(watch, 7), looks);
}

// Time in ticks of a hundredth of a timeout: a look every 12.5 of them, at any phase.
RC_GTEST_PROP(idle_watch, IsNeverEarlyAndLateByOneLookAtMost, ()) {
    constexpr int timeout = 1000;
    constexpr int period = timeout / static_cast<int>(looks);
    const int phase = *rc::gen::inRange(0, period);
    const int last_heard = *rc::gen::inRange(0, 10 * timeout);
    const int gap = *rc::gen::inRange(1, timeout - period);
    idle_watch watch;
    for (int now = phase;; now += period) {
        const int heard_until = now < last_heard ? now : last_heard;
        if (watch.look(static_cast<std::uint64_t>(heard_until / gap + 1), false)) {
            const int last_change = last_heard / gap * gap;
            RC_ASSERT(now - last_change >= timeout);
            RC_ASSERT(now - last_change <= timeout + period);
            break;
        }
    }
}

TEST(idle_watch, LooksEightTimesInATimeout) {
    EXPECT_EQ(idle_watch::period(std::chrono::milliseconds(1)), std::chrono::microseconds(125));
}

}  // namespace
