// SPDX-License-Identifier: MIT
#include <quoit/payload.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace {

using namespace std::string_view_literals;
using quoit::byte_view;
using quoit::object_bytes;

// As a sending function takes it.
std::string sent(byte_view payload) {
    return {reinterpret_cast<const char*>(payload.data()), payload.size()};
}

TEST(byte_view, TakesALiteralWithoutItsFinalNulAndKeepsEmbeddedOnes) {
    EXPECT_EQ(sent("pong"), "pong");
    EXPECT_EQ(sent("a\0b"), "a\0b"sv);
    EXPECT_EQ(sent("\0"), "\0"sv);
    EXPECT_EQ(sent(u8"\u00fc"), "\xc3\xbc");
}

TEST(byte_view, OfNothingIsEmpty) {
    EXPECT_EQ(byte_view().size(), 0U);
    EXPECT_EQ(byte_view("").size(), 0U);
    EXPECT_EQ(byte_view(std::vector<char>()).size(), 0U);
    EXPECT_TRUE(byte_view().bytes().empty());
}

TEST(byte_view, TakesAnyContiguousBytes) {
    const std::string text = "text";
    char buffer[] = {'t', 'e', 'x', 't', '!'};
    EXPECT_EQ(sent(text), "text");
    EXPECT_EQ(sent(std::string("te") + "xt"), "text");
    EXPECT_EQ(sent(std::string_view(text)), "text");
    EXPECT_EQ(sent(std::span(buffer, 4)), "text");
    EXPECT_EQ(sent(std::vector<unsigned char>{'t', 'e', 'x', 't'}), "text");
    EXPECT_EQ(sent(std::array<char, 4>{'t', 'e', 'x', 't'}), "text");
    EXPECT_EQ(sent(std::as_bytes(std::span(text))), "text");
    EXPECT_EQ(sent({buffer, 4}), "text");
}

TEST(byte_view, TakesArraysOfBytesWhole) {
    const unsigned char octets[] = {1, 0, 2, 0};
    std::byte bytes[3] = {};
    EXPECT_EQ(sent(octets), "\1\0\2\0"sv);
    EXPECT_EQ(byte_view(bytes).size(), 3U);
}

TEST(byte_view, PointsToTheBytesThemselves) {
    const std::string text = "not copied";
    const byte_view view = text;
    EXPECT_EQ(static_cast<const void*>(view.data()), text.data());
    EXPECT_EQ(view.bytes().data(), view.data());
    EXPECT_EQ(view.bytes().size(), text.size());
}

TEST(byte_view, RefusesWhatDoesNotSayHowMuchOfItIsMeant) {
    static_assert(!std::is_constructible_v<byte_view, char(&)[16]>);
    static_assert(!std::is_constructible_v<byte_view, char8_t(&)[16]>);
    static_assert(!std::is_constructible_v<byte_view, const char*>);
}

TEST(byte_view, RefusesWhatIsNotContiguousBytes) {
    static_assert(!std::is_constructible_v<byte_view, std::vector<int>>);
    static_assert(!std::is_constructible_v<byte_view, std::vector<bool>>);
    static_assert(!std::is_constructible_v<byte_view, std::list<char>>);
    static_assert(!std::is_constructible_v<byte_view, std::wstring>);
    static_assert(!std::is_constructible_v<byte_view, int>);
}

struct header {
    std::uint16_t type;
    std::uint16_t length;
};

struct padded {
    std::uint8_t type;
    std::uint32_t length;
};

template <class T>
concept has_object_bytes = requires(const T& object) { object_bytes(object); };

TEST(object_bytes, IsTheObjectAsItLiesInMemory) {
    const header h{0x0101, 0x0202};
    EXPECT_EQ(sent(object_bytes(h)), "\1\1\2\2"sv);
    EXPECT_EQ(static_cast<const void*>(object_bytes(h).data()), &h);
    EXPECT_EQ(object_bytes(std::uint64_t{7}).size(), 8U);
    EXPECT_EQ(object_bytes(std::array<std::uint32_t, 3>{}).size(), 12U);
}

TEST(object_bytes, RefusesPaddingAndWhatIsOnlyAPointer) {
    static_assert(has_object_bytes<header>);
    static_assert(!has_object_bytes<padded>);
    static_assert(!has_object_bytes<float>);
    static_assert(!has_object_bytes<std::string>);
    static_assert(!has_object_bytes<const char*>);
    static_assert(!has_object_bytes<std::string_view>);
    static_assert(!has_object_bytes<std::span<const char>>);
    static_assert(!has_object_bytes<byte_view>);
    static_assert(!std::is_constructible_v<byte_view, header>, "asked for by name, not converted");
}

}  // namespace
