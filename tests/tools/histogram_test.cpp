// SPDX-License-Identifier: MIT
#include "histogram.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace quoit::program {

namespace {

using std::chrono::nanoseconds;

TEST(histogram, HasQuantilesOfZeroWhenNothingWasRecorded) {
    const histogram empty;
    EXPECT_EQ(empty.count(), 0U);
    EXPECT_EQ(empty.quantile(0.5), nanoseconds(0));
    EXPECT_EQ(empty.max(), nanoseconds(0));
}

TEST(histogram, IsExactBelow256Nanoseconds) {
    histogram recorded;
    for (int ns = 1; ns <= 100; ++ns)
        recorded.record(nanoseconds(ns));
    EXPECT_EQ(recorded.quantile(0.5), nanoseconds(50));
    EXPECT_EQ(recorded.quantile(0.99), nanoseconds(99));
    EXPECT_EQ(recorded.quantile(1), nanoseconds(100));
    EXPECT_EQ(recorded.quantile(0), nanoseconds(1));
}

TEST(histogram, TakesTheExtremesOfItsRange) {
    histogram recorded;
    recorded.record(nanoseconds(std::numeric_limits<std::int64_t>::max()));
    recorded.record(nanoseconds(-5));
    EXPECT_EQ(recorded.count(), 2U);
    EXPECT_EQ(recorded.quantile(0.5), nanoseconds(0));
    EXPECT_EQ(recorded.max(), nanoseconds(std::numeric_limits<std::int64_t>::max()));
    EXPECT_EQ(recorded.quantile(1), recorded.max());
}

TEST(histogram, KeepsTheErrorWithinItsBoundAroundEveryPowerOfTwo) {
    for (unsigned power = 0; power < 63; ++power) {
        for (const std::int64_t around : {-1, 0, 1}) {
            const std::int64_t ns = (std::int64_t{1} << power) + around;
            histogram recorded;
            recorded.record(nanoseconds(ns));
            recorded.record(nanoseconds(std::numeric_limits<std::int64_t>::max()));
            const std::int64_t found = recorded.quantile(0.5).count();
            EXPECT_GE(found, ns);
            EXPECT_LE(found - ns, ns / 128 + 1) << ns;
        }
    }
}

RC_GTEST_PROP(histogram, QuantilesAreNeverTooSmallAndTooLargeByLessThanOnePercent,
              (std::vector<std::uint32_t> values)) {
    RC_PRE(!values.empty());
    histogram recorded;
    for (const std::uint32_t value : values)
        recorded.record(nanoseconds(value));
    std::ranges::sort(values);
    for (const double q : {0.0, 0.5, 0.9, 0.99, 0.999, 1.0}) {
        const double rank = std::max(1.0, std::ceil(q * static_cast<double>(values.size())));
        const auto exact = static_cast<std::int64_t>(values[static_cast<std::size_t>(rank) - 1]);
        const std::int64_t found = recorded.quantile(q).count();
        RC_ASSERT(found >= exact);
        RC_ASSERT(found - exact <= exact / 100);
    }
}

}  // namespace

}  // namespace quoit::program
