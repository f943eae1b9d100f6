// SPDX-License-Identifier: MIT
#include <quoit/detail/log_limiter.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace {

using namespace std::chrono_literals;
using quoit::log_level;
using quoit::detail::log_limiter;

constexpr log_limiter::time_point start{1h};

class limiter : public ::testing::Test {
  protected:
    std::uint32_t admitted(std::string_view kind, int lines, log_limiter::time_point now) {
        std::uint32_t count = 0;
        for (int i = 0; i < lines; ++i) {
            if (limits.admits(kind, log_level::error, now)) ++count;
        }
        return count;
    }
    log_limiter limits;
};

TEST_F(limiter, AdmitsTheFirstLinesOfASecondAndCountsTheRest) {
    EXPECT_EQ(admitted("a", 10, start), log_limiter::lines_max);
    EXPECT_FALSE(limits.has_remainder());
    EXPECT_EQ(admitted("a", 1234, start + 999ms), 0U);
    EXPECT_TRUE(limits.has_remainder());
    const auto left = limits.take_remainder();
    EXPECT_EQ(left.kind, "a");
    EXPECT_EQ(left.count, 1234U);
    EXPECT_EQ(left.level, log_level::error);
    EXPECT_FALSE(limits.has_remainder());
    EXPECT_EQ(limits.take_remainder().count, 0U);
}

TEST_F(limiter, AdmitsAgainAfterASecondAndKeepsWhatWasNotTold) {
    EXPECT_EQ(admitted("a", 12, start), 10U);
    EXPECT_EQ(admitted("a", 11, start + 1s), 10U);
    EXPECT_EQ(limits.take_remainder().count, 3U);
}

TEST_F(limiter, LimitsEachKindByItself) {
    EXPECT_EQ(admitted("a", 20, start), 10U);
    EXPECT_EQ(admitted("b", 5, start), 5U);
    EXPECT_EQ(admitted("b", 10, start), 5U);
    EXPECT_EQ(limits.take_remainder().count, 10U);
    const auto left = limits.take_remainder();
    EXPECT_EQ(left.kind, "b");
    EXPECT_EQ(left.count, 5U);
}

TEST_F(limiter, BoundsHowManyKindsItKeepsApart) {
    std::uint32_t count = 0;
    for (int i = 0; i < 1000; ++i)
        count += admitted("kind " + std::to_string(i), 1, start);
    EXPECT_EQ(count, log_limiter::kinds_max - 1 + log_limiter::lines_max);
    EXPECT_EQ(limits.take_remainder().count, 1000U - count);
}

}  // namespace
