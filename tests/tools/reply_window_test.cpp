// SPDX-License-Identifier: MIT
#include "reply_window.hpp"

#include <gtest/gtest.h>

namespace quoit::program {

namespace {

reply_window with_sent(std::size_t size, int count) {
    reply_window window(size);
    for (int i = 0; i < count; ++i)
        window.sent();
    return window;
}

TEST(reply_window, TellsTheFirstAnswerFromDuplicates) {
    reply_window window = with_sent(64, 2);
    EXPECT_EQ(window.answered(0), reply_kind::first);
    EXPECT_EQ(window.answered(0), reply_kind::duplicated);
    EXPECT_EQ(window.answered(1), reply_kind::first);
    EXPECT_EQ(window.answered(2), reply_kind::never_sent);
}

TEST(reply_window, CallsAnAnswerReorderedThatComesAfterALaterOne) {
    reply_window window = with_sent(64, 3);
    EXPECT_EQ(window.answered(2), reply_kind::first);
    EXPECT_EQ(window.answered(0), reply_kind::reordered);
    EXPECT_EQ(window.answered(0), reply_kind::duplicated);
    EXPECT_EQ(window.answered(1), reply_kind::reordered);
}

TEST(reply_window, CountsWhatIsInFlight) {
    reply_window window = with_sent(64, 3);
    EXPECT_EQ(window.in_flight(), 3U);
    (void)window.answered(1);
    (void)window.answered(1);
    EXPECT_EQ(window.in_flight(), 2U);
}

TEST(reply_window, GivesThePlaceOfAnUnansweredProbeBackOnce) {
    reply_window window = with_sent(64, 3);
    (void)window.answered(0);
    window.give_up_before(2);
    EXPECT_EQ(window.in_flight(), 1U);
    window.give_up_before(1);
    window.give_up_before(2);
    EXPECT_EQ(window.in_flight(), 1U);
    EXPECT_EQ(window.answered(1), reply_kind::first) << "late, but it came";
    EXPECT_EQ(window.in_flight(), 1U);
    window.give_up_before(100);
    EXPECT_EQ(window.in_flight(), 0U);
}

TEST(reply_window, ForgetsProbesThatAreOlderThanItsSize) {
    reply_window window = with_sent(64, 65);
    EXPECT_EQ(window.in_flight(), 64U);
    EXPECT_EQ(window.answered(0), reply_kind::forgotten);
    EXPECT_EQ(window.answered(1), reply_kind::first);
    EXPECT_EQ(window.answered(64), reply_kind::first) << "its bit was that of probe 0";
}

}  // namespace

}  // namespace quoit::program
