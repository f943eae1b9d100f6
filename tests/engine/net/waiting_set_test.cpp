// SPDX-License-Identifier: MIT
#include "net/waiting_set.hpp"

#include "net/system.hpp"

#include <gtest/gtest.h>

#include <poll.h>

#include <chrono>
#include <cstdint>

namespace quoit::detail {
namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

constexpr auto never = clock::time_point::max();
constexpr auto at_once = clock::time_point::min();

bool is_readable(const waiting_set& set, std::chrono::seconds within) {
    const timespec limit{.tv_sec = within.count(), .tv_nsec = 0};
    return system::poll_one(set.descriptor(), POLLIN, &limit) == 1;
}

TEST(waiting_set, IsReadableFromTheStartUntilItIsToldHowLongToWait) {
    waiting_set set = or_throw(waiting_set::create());
    EXPECT_TRUE(is_readable(set, 10s));
    set.wait_until(never);
    EXPECT_FALSE(is_readable(set, 0s));
}

TEST(waiting_set, IsReadableWhileOneOfItsDescriptorsIs) {
    waiting_set set = or_throw(waiting_set::create());
    const file_descriptor first(system::event_open());
    const file_descriptor second(system::event_open());
    EXPECT_TRUE(set.add(first.get()));
    EXPECT_TRUE(set.add(second.get()));
    set.wait_until(never);
    EXPECT_FALSE(is_readable(set, 0s));
    system::event_raise(second.get());
    EXPECT_TRUE(is_readable(set, 10s));
    EXPECT_TRUE(is_readable(set, 0s)) << "looking takes nothing";
    system::event_clear(second.get());
    EXPECT_FALSE(is_readable(set, 0s));
}

TEST(waiting_set, IsReadableFromTheDeadlineOnAndStaysSo) {
    waiting_set set = or_throw(waiting_set::create());
    const auto deadline = clock::now() + 1ms;
    set.wait_until(deadline);
    EXPECT_TRUE(is_readable(set, 10s));
    EXPECT_GE(clock::now(), deadline);
    set.wait_until(deadline);  // told the same again
    EXPECT_TRUE(is_readable(set, 0s));
    set.wait_until(clock::now() + 1h);
    EXPECT_FALSE(is_readable(set, 0s));
    set.wait_until(clock::time_point(1ms));  // long past
    EXPECT_TRUE(is_readable(set, 10s));
    set.wait_until(never);
    EXPECT_FALSE(is_readable(set, 0s));
    set.wait_until(at_once);
    EXPECT_TRUE(is_readable(set, 10s));
}

TEST(waiting_set, SaysWhyADescriptorCannotBeAdded) {
    waiting_set set = or_throw(waiting_set::create());
    EXPECT_EQ(set.add(-1), std::errc::bad_file_descriptor);
    const file_descriptor event(system::event_open());
    EXPECT_TRUE(set.add(event.get()));
    EXPECT_EQ(set.add(event.get()), std::errc::file_exists);
}

}  // namespace
}  // namespace quoit::detail
