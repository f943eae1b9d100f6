// SPDX-License-Identifier: MIT
#include "runtime/inbox.hpp"

#include "support/port_fixture.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace quoit::detail {
namespace {

using strings = std::vector<std::string>;

constexpr std::uint32_t buffer_count = 256;
constexpr std::uint32_t socket_tag = 3;

// A pool whose buffers are filled by hand, as if the kernel had.
class inbox_test : public ::testing::Test {
  protected:
    void SetUp() override {
        auto made = buffer_pool::create({.count = buffer_count, .stride = 2112, .socket_count = 8});
        ASSERT_TRUE(made) << made.error();
        pool_ = *std::move(made);
        for (std::uint32_t i = buffer_count; i > 0; --i)
            free_.push_back(i - 1);
    }
    void TearDown() override {
        EXPECT_EQ(pool_->leased(), 0U) << "a lease was lost";
        EXPECT_EQ(pool_->leased_by(socket_tag), 0U);
    }

    // What the port does with an event. `segment` 0: one datagram.
    void push(inbox& into, std::string_view payload, std::uint16_t segment = 0,
              std::uint32_t size_max = 65'527) {
        if (free_.empty()) pool_->take_returned(free_);
        ASSERT_FALSE(free_.empty()) << "no buffer is free";
        const std::uint32_t buffer = free_.back();
        free_.pop_back();
        pool_->unpoison(buffer);
        if (!payload.empty()) std::memcpy(pool_->data(buffer), payload.data(), payload.size());
        pool_->adopt(buffer, socket_tag);

        const auto size = static_cast<std::uint32_t>(payload.size());
        const std::uint32_t first = segment == 0 ? size : segment;
        parsed_message message;
        message.state = message_state::valid;
        message.segment = segment;
        message.size_total = size;
        message.first.data = pool_->data(buffer);
        message.first.original_size = first;
        message.first.size = std::min(first, size_max);
        into.push(*pool_, buffer, message);
    }
    void push_numbers(inbox& into, std::size_t count, std::size_t first = 0) {
        for (std::size_t i = first; i < first + count; ++i)
            push(into, std::to_string(i));
    }
    static strings pop_all(inbox& from) {
        strings all;
        while (from.readable_count() > 0) {
            if (const int error = from.front_error(); error != 0) {
                all.push_back("!" + std::to_string(error));
                from.pop_error();
            } else {
                all.push_back(from.pop().to_string());
            }
        }
        return all;
    }
    static strings texts(const train& of) {
        strings all;
        for (const datagram_view& one : of)
            all.emplace_back(one.text());
        return all;
    }

    buffer_pool& pool() { return *pool_; }

  private:
    buffer_pool::owner pool_;
    std::vector<std::uint32_t> free_;
};

// --- order ---

TEST_F(inbox_test, IsEmptyAtFirst) {
    const inbox box(10, when_full::drop_newest);
    EXPECT_EQ(box.datagram_count(), 0U);
    EXPECT_EQ(box.readable_count(), 0U);
    EXPECT_EQ(box.front_error(), 0);
    EXPECT_FALSE(box.is_full());
}

TEST_F(inbox_test, HandsDatagramsOverInTheOrderTheyCame) {
    inbox box(10, when_full::drop_newest);
    push(box, "a");
    push(box, "b");
    push(box, "c");
    EXPECT_EQ(box.datagram_count(), 3U);
    EXPECT_EQ(pop_all(box), (strings{"a", "b", "c"}));
}

TEST_F(inbox_test, AnEmptyDatagramIsADatagram) {
    inbox box(10, when_full::drop_newest);
    push(box, "");
    push(box, "x");
    push(box, "");
    EXPECT_EQ(box.datagram_count(), 3U);
    EXPECT_EQ(pop_all(box), (strings{"", "x", ""}));
}

TEST_F(inbox_test, RefusalsKeepTheirPlaceAmongDatagrams) {
    inbox box(10, when_full::drop_newest);
    push(box, "a");
    box.push_error(ECONNREFUSED, 1);
    push(box, "b");
    EXPECT_EQ(box.datagram_count(), 2U);
    EXPECT_EQ(box.readable_count(), 3U);
    EXPECT_EQ(pop_all(box), (strings{"a", "!" + std::to_string(ECONNREFUSED), "b"}));
}

TEST_F(inbox_test, RefusalsNobodyReadsCostNoMemoryAndAreAllTold) {
    inbox box(10, when_full::drop_newest);
    push(box, "a");
    for (int i = 0; i < 1000; ++i)
        box.push_error(i % 2 == 0 ? ECONNREFUSED : EHOSTUNREACH, 1);
    const test::allocation_meter meter;
    for (int i = 0; i < 100'000; ++i)
        box.push_error(i % 2 == 0 ? ECONNREFUSED : EHOSTUNREACH, 1);
    EXPECT_EQ(meter.count(), 0U);
    EXPECT_EQ(box.readable_count(), 101'001U);
    EXPECT_EQ(box.pop().to_string(), "a");
    for (int i = 0; i < 101'000; ++i) {
        ASSERT_NE(box.front_error(), 0);
        box.pop_error();
    }
    EXPECT_EQ(box.readable_count(), 0U);
}

TEST_F(inbox_test, KeepsItsOrderWhileItGrows) {
    inbox box(1000, when_full::drop_newest);
    strings expected;
    strings got;
    // Off the start of its storage before it grows, so that what it holds wraps around.
    push_numbers(box, 50);
    for (std::size_t i = 0; i < 50; ++i) {
        expected.push_back(std::to_string(i));
        if (i < 40) got.push_back(box.pop().to_string());
    }
    push_numbers(box, 200, 50);
    for (std::size_t i = 50; i < 250; ++i)
        expected.push_back(std::to_string(i));
    for (const auto& one : pop_all(box))
        got.push_back(one);
    EXPECT_EQ(got, expected);
}

// --- the bound ---

TEST_F(inbox_test, DropNewestKeepsTheOldestAndCountsTheRest) {
    inbox box(5, when_full::drop_newest);
    push_numbers(box, 8);
    EXPECT_TRUE(box.is_full());
    EXPECT_EQ(box.counted().passed, 8U);
    EXPECT_EQ(box.counted().dropped_full, 3U);
    EXPECT_EQ(pool().leased(), 5U);
    EXPECT_EQ(pop_all(box), (strings{"0", "1", "2", "3", "4"}));
}

TEST_F(inbox_test, DropOldestKeepsTheNewestAndCountsTheRest) {
    inbox box(5, when_full::drop_oldest);
    push_numbers(box, 8);
    EXPECT_TRUE(box.is_full());
    EXPECT_EQ(box.counted().dropped_full, 3U);
    EXPECT_EQ(pool().leased(), 5U);
    EXPECT_EQ(pop_all(box), (strings{"3", "4", "5", "6", "7"}));
}

TEST_F(inbox_test, PauseDropsNothing) {
    inbox box(5, when_full::pause);
    push_numbers(box, 8);
    EXPECT_TRUE(box.is_full());
    EXPECT_EQ(box.counted().dropped_full, 0U);
    EXPECT_EQ(pop_all(box), (strings{"0", "1", "2", "3", "4", "5", "6", "7"}));
}

TEST_F(inbox_test, TakesDatagramsAgainOnceOneWasRead) {
    inbox box(2, when_full::drop_newest);
    push_numbers(box, 3);
    EXPECT_EQ(box.pop().to_string(), "0");
    EXPECT_FALSE(box.is_full());
    push(box, "new");
    EXPECT_EQ(pop_all(box), (strings{"1", "new"}));
}

TEST_F(inbox_test, RefusalsDoNotCountAgainstTheBound) {
    inbox box(1, when_full::drop_newest);
    for (int i = 0; i < 5; ++i)
        box.push_error(ECONNREFUSED, 1);
    EXPECT_FALSE(box.is_full());
    push(box, "a");
    EXPECT_EQ(box.counted().dropped_full, 0U);
    EXPECT_EQ(pop_all(box).size(), 6U);
}

TEST_F(inbox_test, DropOldestDropsOldRefusalsWithTheDatagramsTheyWereNewsBefore) {
    inbox box(1, when_full::drop_oldest);
    box.push_error(ECONNREFUSED, 1);
    push(box, "a");
    push(box, "b");
    EXPECT_EQ(box.counted().dropped_full, 1U);
    EXPECT_EQ(pop_all(box), (strings{"b"}));
}

// --- trains ---

TEST_F(inbox_test, ATrainIsReadAsTheDatagramsItWasMadeOf) {
    inbox box(10, when_full::drop_newest);
    push(box, "aaabbbcc", 3);
    EXPECT_EQ(box.datagram_count(), 3U);
    EXPECT_EQ(box.counted().passed, 3U);
    EXPECT_EQ(pool().leased(), 1U);
    EXPECT_EQ(pop_all(box), (strings{"aaa", "bbb", "cc"}));
    EXPECT_EQ(box.counted().delivered, 3U);
}

TEST_F(inbox_test, EveryDatagramOfATrainHoldsItsBuffer) {
    inbox box(10, when_full::drop_newest);
    push(box, "aaabbb", 3);
    const datagram first = box.pop();
    {
        const datagram second = box.pop();
        EXPECT_EQ(second.text(), "bbb");
    }
    EXPECT_EQ(pool().leased(), 1U);
    EXPECT_EQ(first.text(), "aaa");
}

TEST_F(inbox_test, ATrainThatDoesNotFitIsCutAtTheBound) {
    inbox newest(2, when_full::drop_newest);
    push(newest, "aaabbbcc", 3);
    EXPECT_EQ(newest.counted().dropped_full, 1U);
    EXPECT_EQ(pop_all(newest), (strings{"aaa", "bbb"}));

    inbox oldest(2, when_full::drop_oldest);
    push(oldest, "aaabbbcc", 3);
    EXPECT_EQ(oldest.counted().dropped_full, 1U);
    EXPECT_EQ(pop_all(oldest), (strings{"bbb", "cc"}));
}

TEST_F(inbox_test, ATrainIsHandedOverWholeOrInParts) {
    inbox box(10, when_full::drop_newest);
    push(box, "aaabbbcccd", 3);
    {
        const train part = box.pop_train(2);
        EXPECT_EQ(texts(part), (strings{"aaa", "bbb"}));
    }
    EXPECT_EQ(box.datagram_count(), 2U);
    EXPECT_EQ(box.pop().to_string(), "ccc");
    const train rest = box.pop_train(100);
    EXPECT_EQ(texts(rest), (strings{"d"}));
    EXPECT_EQ(box.counted().delivered, 4U);
}

TEST_F(inbox_test, ASingleDatagramIsATrainOfOne) {
    inbox box(10, when_full::drop_newest);
    push(box, "hello");
    push(box, "");
    EXPECT_EQ(texts(box.pop_train(64)), (strings{"hello"}));
    EXPECT_EQ(texts(box.pop_train(64)), (strings{""}));
}

TEST_F(inbox_test, ADatagramThatWasCutSaysSo) {
    inbox box(10, when_full::drop_newest);
    push(box, "0123456789", 0, 4);
    const datagram got = box.pop();
    EXPECT_EQ(got.text(), "0123");
    EXPECT_TRUE(got.truncated());
    EXPECT_EQ(got.original_size(), 10U);
}

// --- leases ---

TEST_F(inbox_test, ADatagramTakesItsLeaseAlong) {
    inbox box(10, when_full::drop_newest);
    push(box, "a");
    {
        const datagram held = box.pop();
        EXPECT_EQ(pool().leased(), 1U);
        EXPECT_TRUE(held.is_lease());
    }
    EXPECT_EQ(pool().leased(), 0U);
}

TEST_F(inbox_test, WhatIsAbandonedIsCountedAndGivenBack) {
    inbox box(10, when_full::drop_newest);
    push(box, "a");
    push(box, "bbcc", 2);
    box.push_error(ECONNREFUSED, 1);
    box.abandon();
    EXPECT_EQ(box.readable_count(), 0U);
    EXPECT_EQ(box.counted().abandoned, 3U);
    EXPECT_EQ(pool().leased(), 0U);
}

TEST_F(inbox_test, ADestroyedInboxGivesItsBuffersBack) {
    {
        inbox box(10, when_full::drop_newest);
        push_numbers(box, 10);
        EXPECT_EQ(pool().leased(), 10U);
    }
    EXPECT_EQ(pool().leased(), 0U);
}

TEST_F(inbox_test, ItsCountsAddUpUnderEveryPolicy) {
    for (const when_full policy :
         {when_full::drop_newest, when_full::drop_oldest, when_full::pause}) {
        inbox box(7, policy);
        for (int round = 0; round < 100; ++round) {
            push(box, "aabbc", round % 3 == 0 ? std::uint16_t{2} : std::uint16_t{0});
            if (round % 4 == 0) box.push_error(ECONNREFUSED, 1);
            // Read less than comes until the end, so that it is full most of the time.
            if (round % 2 == 0 && box.front_error() != 0) box.pop_error();
            if (round % 2 == 0 && box.datagram_count() > 0 && box.front_error() == 0) {
                EXPECT_LE(box.pop().size(), 5U);
            }
            if (policy == when_full::pause && box.is_full()) pop_all(box);
            const inbox::counts& now = box.counted();
            ASSERT_EQ(now.passed, now.delivered + now.dropped_full + box.datagram_count());
            if (policy != when_full::pause) {
                ASSERT_LE(box.datagram_count(), box.size_max());
            }
        }
        box.abandon();
        const inbox::counts& end = box.counted();
        EXPECT_EQ(end.passed, end.delivered + end.dropped_full + end.abandoned);
    }
}

}  // namespace
}  // namespace quoit::detail
