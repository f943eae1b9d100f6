// SPDX-License-Identifier: MIT
#include <quoit/time.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <ratio>

namespace {

using namespace std::chrono_literals;
using quoit::time_limit;
using clock_type = std::chrono::steady_clock;
using time_point = clock_type::time_point;

constexpr time_point now{1000s};

TEST(time_limit, IsNoLimitByDefault) {
    constexpr time_limit limit;
    EXPECT_TRUE(limit.is_none());
    EXPECT_TRUE(limit.is_valid());
    EXPECT_FALSE(limit.is_poll());
    EXPECT_EQ(limit.deadline(now), time_point::max());
}

TEST(time_limit, IsAPollWhenZeroInAnyUnit) {
    EXPECT_TRUE(time_limit(0s).is_poll());
    EXPECT_TRUE(time_limit(0ns).is_poll());
    EXPECT_TRUE(time_limit(std::chrono::duration<double>(0)).is_poll());
    EXPECT_TRUE(time_limit(std::chrono::duration<double>(-0.0)).is_poll());
    EXPECT_FALSE(time_limit(0s).is_none());
    EXPECT_EQ(time_limit(0s).deadline(now), now);
}

TEST(time_limit, CountsADurationFromTheCallThatTakesIt) {
    constexpr time_limit limit = 3s;
    static_assert(limit.deadline(now) == now + 3s);
    EXPECT_FALSE(limit.is_none() || limit.is_poll());
    EXPECT_EQ(time_limit(1.5s).deadline(now), now + 1500ms);
    EXPECT_EQ(time_limit(0.3s).deadline(now), now + 300ms);
    EXPECT_EQ(time_limit(std::chrono::duration<float>(0.5F)).deadline(now), now + 500ms);
    EXPECT_EQ(time_limit(2min).deadline(now), now + 120s);
}

TEST(time_limit, NeverTurnsAPositiveDurationIntoAPoll) {
    using picoseconds = std::chrono::duration<std::int64_t, std::pico>;
    EXPECT_FALSE(time_limit(picoseconds(1)).is_poll());
    EXPECT_EQ(time_limit(picoseconds(1)).deadline(now), now + 1ns);
    EXPECT_EQ(time_limit(picoseconds(1001)).deadline(now), now + 2ns);
    EXPECT_FALSE(time_limit(std::chrono::duration<double>(1e-12)).is_poll());
    EXPECT_FALSE(time_limit(std::chrono::duration<double>(5e-324)).is_poll());
}

TEST(time_limit, KeepsAPointInTimeWhateverTheClockSays) {
    constexpr time_limit limit = time_point(990s);
    EXPECT_EQ(limit.deadline(now), time_point(990s));
    EXPECT_EQ(limit.deadline(now + 1h), time_point(990s));
    EXPECT_FALSE(limit.is_none() || limit.is_poll());
    EXPECT_FALSE(time_limit(time_point()).is_poll());
}

TEST(time_limit, KeepsNegativeAndNanDurationsForTheOperationToRefuse) {
    const time_limit refused[] = {
        -1s,
        -1ns,
        -0.001s,
        std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN()),
        std::chrono::duration<double>(-std::numeric_limits<double>::infinity()),
        std::chrono::hours::min(),
        std::chrono::nanoseconds::min()};
    for (const time_limit& limit : refused) {
        EXPECT_FALSE(limit.is_valid());
        EXPECT_FALSE(limit.is_poll());
        EXPECT_FALSE(limit.is_none());
        EXPECT_EQ(limit.deadline(now), now) << "a forgotten check must not hang";
    }
}

TEST(time_limit, TakesWhatNoProgramOutlastsAsNoLimit) {
    EXPECT_TRUE(time_limit(std::chrono::hours::max()).is_none());
    EXPECT_TRUE(time_limit(std::chrono::nanoseconds::max()).is_none());
    EXPECT_TRUE(time_limit(std::chrono::duration<double>(std::numeric_limits<double>::infinity()))
                    .is_none());
    EXPECT_FALSE(time_limit(std::chrono::seconds(9'000'000'000)).is_none());
}

TEST(time_limit, NeverOverflowsTheClock) {
    const time_limit longest = std::chrono::seconds(9'000'000'000);
    EXPECT_EQ(longest.deadline(time_point::max() - 1s), time_point::max());
    EXPECT_EQ(longest.deadline(time_point()), time_point(std::chrono::seconds(9'000'000'000)));
}

}  // namespace
