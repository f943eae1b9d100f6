// SPDX-License-Identifier: MIT
#include <quoit/payload_buffer.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace {

using quoit::byte_view;
using quoit::payload_buffer;

static_assert(!std::is_copy_constructible_v<payload_buffer>);
static_assert(std::is_nothrow_move_constructible_v<payload_buffer>);

std::string sent(byte_view payload) {
    return {reinterpret_cast<const char*>(payload.data()), payload.size()};
}

TEST(payload_buffer, IsEmptyAtFirst) {
    const payload_buffer out;
    EXPECT_TRUE(out.is_empty());
    EXPECT_EQ(out.size(), 0U);
    EXPECT_FALSE(out.overflowed());
}

TEST(payload_buffer, KeepsWhatIsAppendedInOrder) {
    payload_buffer out;
    out.append("PUT ");
    out.append(std::string("key"));
    out.append("");
    out.push_back(' ');
    out.push_back(std::byte{'1'});
    EXPECT_EQ(out.text(), "PUT key 1");
    EXPECT_EQ(sent(out), "PUT key 1");
    EXPECT_EQ(out.bytes().size(), 9U);
}

TEST(payload_buffer, GivesRoomToWriteIntoAndTakesBackWhatWasTooMuch) {
    payload_buffer out;
    out.append("<");
    const std::span<std::byte> room = out.grow(100);
    ASSERT_EQ(room.size(), 100U);
    std::memcpy(room.data(), "four", 4);
    out.truncate(5);
    out.truncate(1000);
    EXPECT_EQ(out.text(), "<four");
}

TEST(payload_buffer, KeepsItsBytesWhenItGrows) {
    payload_buffer out;
    std::string expected;
    for (int i = 0; i < 60'000; ++i) {
        const char c = static_cast<char>('a' + i % 26);
        out.push_back(c);
        expected += c;
    }
    EXPECT_EQ(out.text(), expected);
}

TEST(payload_buffer, HoldsOneDatagramAndNotAByteMore) {
    payload_buffer out;
    out.append(std::string(payload_buffer::size_max, 'x'));
    EXPECT_FALSE(out.overflowed());
    out.append("");
    EXPECT_FALSE(out.overflowed());
    out.push_back('y');
    EXPECT_TRUE(out.overflowed());
    EXPECT_EQ(out.size(), payload_buffer::size_max);
}

TEST(payload_buffer, RemembersAnOverflowAndAppendsNothingAfterIt) {
    payload_buffer out;
    out.append("head");
    EXPECT_TRUE(out.grow(payload_buffer::size_max).empty());
    EXPECT_TRUE(out.overflowed());
    out.append("tail");
    EXPECT_TRUE(out.grow(1).empty());
    EXPECT_EQ(out.text(), "head");
    out.clear();
    EXPECT_FALSE(out.overflowed());
    out.append("again");
    EXPECT_EQ(out.text(), "again");
}

TEST(payload_buffer, DoesNotWrapAroundWhenFarTooMuchIsAsked) {
    payload_buffer out;
    out.append("head");
    EXPECT_TRUE(out.grow(static_cast<std::size_t>(-1)).empty());
    EXPECT_TRUE(out.overflowed());
    EXPECT_EQ(out.text(), "head");
}

TEST(payload_buffer, KeepsItsMemoryWhenCleared) {
    payload_buffer out;
    out.append(std::string(5000, 'x'));
    const std::byte* const memory = out.data();
    out.clear();
    out.append(std::string(5000, 'y'));
    EXPECT_EQ(out.data(), memory);
    EXPECT_EQ(out.text(), std::string(5000, 'y'));
}

TEST(payload_buffer, AppendsAPartOfItselfWhileItGrows) {
    for (const std::size_t size : {400U, 3000U}) {
        payload_buffer out;
        out.append(std::string(size, 'a'));
        while (out.size() < 20'000) {
            const std::size_t before = out.size();
            out.append(out);
            ASSERT_EQ(out.size(), 2 * before);
        }
        EXPECT_TRUE(std::ranges::all_of(out.text(), [](char c) { return c == 'a'; }));
    }
}

TEST(payload_buffer, MovesSmallAndLargeContentsAndIsEmptyAfterwards) {
    for (const std::size_t size : {3U, 5000U}) {
        payload_buffer from;
        from.append(std::string(size, 'm'));
        payload_buffer to(std::move(from));
        EXPECT_EQ(to.text(), std::string(size, 'm'));
        EXPECT_TRUE(from.is_empty());  // NOLINT(bugprone-use-after-move): promised
        from.append("usable");
        EXPECT_EQ(from.text(), "usable");
        to = std::move(from);
        EXPECT_EQ(to.text(), "usable");
        EXPECT_TRUE(from.is_empty());  // NOLINT(bugprone-use-after-move): promised
    }
}

}  // namespace
