// SPDX-License-Identifier: MIT
#include <quoit/shared_bytes.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <new>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using quoit::byte_view;
using quoit::shared_bytes;
using quoit::detail::byte_block;

static_assert(std::is_nothrow_copy_constructible_v<shared_bytes>);
static_assert(std::is_nothrow_copy_assignable_v<shared_bytes>);
static_assert(std::is_nothrow_move_constructible_v<shared_bytes>);
static_assert(std::is_nothrow_move_assignable_v<shared_bytes>);
static_assert(std::is_convertible_v<shared_bytes, byte_view>);

TEST(shared_bytes, AreNoneAtFirst) {
    const shared_bytes none;
    EXPECT_TRUE(none.is_empty());
    EXPECT_EQ(none.size(), 0U);
    EXPECT_EQ(none.text(), "");
}

TEST(shared_bytes, ACopyOfBytesIsTheseBytesWhateverBecomesOfThem) {
    std::string text = "hello";
    const auto made = shared_bytes::copy_of(text);
    std::ranges::fill(text, '!');
    EXPECT_EQ(made.text(), "hello");
    EXPECT_EQ(made.size(), 5U);
    EXPECT_EQ(made.bytes().size(), 5U);
    EXPECT_FALSE(made.is_empty());
    EXPECT_EQ(byte_view(made).data(), made.data());
    EXPECT_EQ(byte_view(made).size(), 5U);
}

TEST(shared_bytes, ACopyOfNothingIsNone) {
    EXPECT_TRUE(shared_bytes::copy_of("").is_empty());
    EXPECT_TRUE(shared_bytes::copy_of(shared_bytes()).is_empty());
}

TEST(shared_bytes, CopiesOfAHandleAreTheSameBytes) {
    const auto made = shared_bytes::copy_of("hello");
    const shared_bytes copied = made;  // NOLINT(performance-unnecessary-copy-initialization)
    shared_bytes assigned = shared_bytes::copy_of("something else");
    assigned = made;
    EXPECT_EQ(copied.data(), made.data());
    EXPECT_EQ(assigned.data(), made.data());
    EXPECT_EQ(assigned.text(), "hello");
}

TEST(shared_bytes, BytesOutliveTheHandleTheyWereMadeBy) {
    shared_bytes kept;
    {
        const auto made = shared_bytes::copy_of(std::string(1000, 'x'));
        kept = made;
    }
    EXPECT_EQ(kept.text(), std::string(1000, 'x'));
}

TEST(shared_bytes, MovingLeavesNone) {
    auto made = shared_bytes::copy_of("hello");
    const auto* const data = made.data();
    shared_bytes moved = std::move(made);
    EXPECT_EQ(moved.data(), data);
    EXPECT_TRUE(made.is_empty());  // NOLINT(bugprone-use-after-move): that is the claim
    EXPECT_EQ(made.data(), nullptr);
    made = std::move(moved);
    EXPECT_EQ(made.text(), "hello");
    EXPECT_TRUE(moved.is_empty());  // NOLINT(bugprone-use-after-move)
}

TEST(shared_bytes, AssigningToItselfChangesNothing) {
    auto made = shared_bytes::copy_of("hello");
    const shared_bytes& same = made;
    made = same;
    EXPECT_EQ(made.text(), "hello");
}

TEST(shared_bytes, AreABodyToCopyAgain) {
    const auto made = shared_bytes::copy_of("hello");
    const auto again = shared_bytes::copy_of(made);
    EXPECT_EQ(again.text(), "hello");
    EXPECT_NE(again.data(), made.data());
}

TEST(shared_bytes, SeveralMayLieInOneBlockWhichGoesWithTheLast) {
    byte_block* const block = byte_block::make(10);
    ASSERT_EQ(block->capacity, 10U);
    std::fill_n(block->data(), 10, std::byte{'x'});
    shared_bytes last;
    {
        block->retain();
        const shared_bytes first(block, block->data(), 4);
        last = shared_bytes(block, block->data() + 4, 6);
        EXPECT_EQ(block->references, 2U);
        EXPECT_EQ(first.text(), "xxxx");
    }
    EXPECT_EQ(block->references, 1U);
    EXPECT_EQ(last.text(), "xxxxxx");
}

TEST(shared_bytes, ABlockMayHaveNoRoomAtAll) {
    byte_block* const block = byte_block::make(0);
    const shared_bytes empty(block, block->data(), 0);
    EXPECT_TRUE(empty.is_empty());
    EXPECT_EQ(empty.text(), "");
}

TEST(shared_bytes, ABlockThatCannotBeIsRefused) {
    const std::size_t too_much = std::numeric_limits<std::size_t>::max();
    EXPECT_THROW((void)byte_block::make(too_much), std::bad_alloc);
    EXPECT_THROW((void)byte_block::make(too_much - sizeof(byte_block) + 1), std::bad_alloc);
}

TEST(shared_bytes, HandlesAreCopiedReadAndDroppedOnAnyThread) {
    auto made = shared_bytes::copy_of(std::string(100, 'x'));
    {
        std::vector<std::jthread> readers;
        for (int i = 0; i < 4; ++i) {
            readers.emplace_back([mine = made] {
                for (int times = 0; times < 10'000; ++times) {
                    const shared_bytes copied = mine;
                    ASSERT_EQ(copied.text().back(), 'x');
                }
            });
        }
        made = {};
    }
    EXPECT_TRUE(made.is_empty());
}

}  // namespace
