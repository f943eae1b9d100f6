// SPDX-License-Identifier: MIT
#include "packets/packet_parser.hpp"

#include "engine/packets/packet_test.hpp"
#include "support/port_fixture.hpp"

#include <gtest/gtest.h>

#include <array>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace quoit::detail {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;
using test::all_framings;
using test::bytes_of;
using test::frame;
using test::frames;
using test::header_of;
using test::texts_of;
using enum parse_outcome;
using strings = std::vector<std::string>;

static_assert(!std::is_copy_constructible_v<packet_parser>);

constexpr std::uint32_t size_max = 1U << 20;

class packet_parsing : public ::testing::TestWithParam<packet_framing> {
  protected:
    parse_outcome parse(std::string_view bytes) { return parser.parse(bytes_of(bytes), packets); }
    [[nodiscard]] strings texts() const { return texts_of(packets); }

    packet_parser parser{GetParam(), size_max};
    std::vector<shared_bytes> packets;
};
INSTANTIATE_TEST_SUITE_P(framings, packet_parsing, ::testing::ValuesIn(all_framings),
                         test::framing_name);

// --- headers ---

TEST(packet_header, AreTheBytesThatPacketsocketSends) {
    std::array<std::byte, packet_header_size_max> header{};
    ASSERT_EQ(packet_header_size(packet_framing::packetsocket), 8U);
    write_packet_header(packet_framing::packetsocket, 0x01020304, header.data());
    EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(header.data()), 8),
              "#!?&\x04\x03\x02\x01"sv);
}

TEST(packet_header, AreALengthInEitherOrder) {
    std::array<std::byte, 4> header{};
    const std::string_view written(reinterpret_cast<const char*>(header.data()), header.size());
    ASSERT_EQ(packet_header_size(packet_framing::little_endian), 4U);
    write_packet_header(packet_framing::little_endian, 0x01020380, header.data());
    EXPECT_EQ(written, "\x80\x03\x02\x01"sv);
    ASSERT_EQ(packet_header_size(packet_framing::big_endian), 4U);
    write_packet_header(packet_framing::big_endian, 0x01020380, header.data());
    EXPECT_EQ(written, "\x01\x02\x03\x80"sv);
}

// --- whole packets ---

TEST_P(packet_parsing, NothingIsNoPacket) {
    EXPECT_EQ(parse(""), more);
    EXPECT_TRUE(packets.empty());
    EXPECT_TRUE(parser.is_between_packets());
    EXPECT_EQ(parser.bytes_unfinished(), 0U);
}

TEST_P(packet_parsing, APacketIsItsBody) {
    EXPECT_EQ(parse(frame(GetParam(), "hello")), more);
    EXPECT_EQ(texts(), strings{"hello"});
    EXPECT_TRUE(parser.is_between_packets());
}

TEST_P(packet_parsing, AnEmptyPacketIsOne) {
    EXPECT_EQ(parse(frame(GetParam(), "")), more);
    EXPECT_EQ(texts(), strings{""});
    EXPECT_TRUE(parser.is_between_packets());
}

TEST_P(packet_parsing, SeveralInOneSegmentAreSeveralInOrder) {
    const strings bodies{"a", "", "bcd", std::string(1000, 'e'), "", "f"};
    EXPECT_EQ(parse(frames(GetParam(), bodies)), more);
    EXPECT_EQ(texts(), bodies);
    EXPECT_TRUE(parser.is_between_packets());
}

TEST_P(packet_parsing, OneByteAtATimeIsTheSame) {
    const strings bodies{"", "abc", std::string(300, 'x'), ""};
    for (const char byte : frames(GetParam(), bodies))
        ASSERT_EQ(parse({&byte, 1}), more);
    EXPECT_EQ(texts(), bodies);
    EXPECT_TRUE(parser.is_between_packets());
}

TEST_P(packet_parsing, APacketOf600000BytesIsPutTogether) {
    std::string body(600'000, '\0');
    for (std::size_t i = 0; i < body.size(); ++i)
        body[i] = static_cast<char>(i * 7 % 251);
    const std::string stream = frames(GetParam(), {"before", body, "behind"});
    for (std::size_t at = 0; at < stream.size(); at += 16'384)
        ASSERT_EQ(parse(std::string_view(stream).substr(at, 16'384)), more);
    EXPECT_EQ(texts(), (strings{"before", body, "behind"}));
}

TEST_P(packet_parsing, BodiesThatLookLikeHeadersAreBodies) {
    const strings bodies{"#!?&", "#!?&\x01\0\0\0x"s, std::string(9, '\0'),
                         frame(GetParam(), frame(GetParam(), "inside"))};
    const std::string stream = frames(GetParam(), bodies);
    for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
        packet_parser fresh(GetParam(), size_max);
        packets.clear();
        ASSERT_EQ(fresh.parse(bytes_of(stream).first(cut), packets), more);
        ASSERT_EQ(fresh.parse(bytes_of(stream).subspan(cut), packets), more);
        ASSERT_EQ(texts(), bodies) << "cut at " << cut;
    }
}

TEST_P(packet_parsing, PacketsAreAppendedToThoseThatAreThere) {
    packets.push_back(shared_bytes::copy_of("first"));
    EXPECT_EQ(parse(frames(GetParam(), {"second", "third"})), more);
    EXPECT_EQ(texts(), (strings{"first", "second", "third"}));
}

TEST_P(packet_parsing, PacketsOutliveTheParserAndEachOther) {
    shared_bytes kept;
    {
        packet_parser gone(GetParam(), size_max);
        std::vector<shared_bytes> all;
        ASSERT_EQ(gone.parse(bytes_of(frames(GetParam(), {"one", "two", "three"})), all), more);
        kept = all[1];
    }
    EXPECT_EQ(kept.text(), "two");
}

// --- what is not whole ---

TEST_P(packet_parsing, WhatIsNotWholeIsCountedWithItsHeader) {
    const std::string stream = frame(GetParam(), "hello");
    for (std::size_t taken = 1; taken < stream.size(); ++taken) {
        packet_parser fresh(GetParam(), size_max);
        packets.clear();
        ASSERT_EQ(fresh.parse(bytes_of(stream).first(taken), packets), more);
        ASSERT_TRUE(packets.empty()) << taken;
        ASSERT_FALSE(fresh.is_between_packets()) << taken;
        ASSERT_EQ(fresh.bytes_unfinished(), taken);
    }
}

TEST_P(packet_parsing, WhatIsNotWholeBehindWholePacketsIsCountedAlone) {
    EXPECT_EQ(parse(frames(GetParam(), {"one", "two"}) + frame(GetParam(), "three").substr(0, 6)),
              more);
    EXPECT_EQ(texts(), (strings{"one", "two"}));
    EXPECT_FALSE(parser.is_between_packets());
    EXPECT_EQ(parser.bytes_unfinished(), 6U);
}

// --- the limit ---

TEST_P(packet_parsing, ABodyMayBeAsLongAsTheMaximumAndNoLonger) {
    packet_parser small(GetParam(), 5);
    EXPECT_EQ(small.parse(bytes_of(frame(GetParam(), "12345")), packets), more);
    EXPECT_EQ(texts(), strings{"12345"});
    EXPECT_EQ(small.parse(bytes_of(frame(GetParam(), "123456")), packets), too_long);
    EXPECT_EQ(texts(), strings{"12345"});
}

TEST_P(packet_parsing, ATooLongPacketIsAnOffenceWhenItsHeaderIsWhole) {
    for (const std::uint32_t size : {size_max + 1, 0x7FFF'FFFFU, 0xFFFF'FFFFU}) {
        packet_parser fresh(GetParam(), size_max);
        const std::string header = header_of(GetParam(), size);
        const auto bytes = bytes_of(header);
        EXPECT_EQ(fresh.parse(bytes.first(header.size() - 1), packets), more);
        EXPECT_EQ(fresh.parse(bytes.last(1), packets), too_long);
        EXPECT_EQ(fresh.bytes_unfinished(), header.size());
    }
}

TEST_P(packet_parsing, WhatIsInFrontOfAnOffenceIsDelivered) {
    EXPECT_EQ(parse(frames(GetParam(), {"one", "two"}) + header_of(GetParam(), size_max + 1)),
              too_long);
    EXPECT_EQ(texts(), (strings{"one", "two"}));
}

TEST_P(packet_parsing, AfterAnOffenceNothingIsTakenAndTheAnswerStays) {
    EXPECT_EQ(parse(header_of(GetParam(), size_max + 1) + frame(GetParam(), "one")), too_long);
    const std::uint64_t unfinished = parser.bytes_unfinished();
    EXPECT_EQ(unfinished, packet_header_size(GetParam()));
    EXPECT_EQ(parse(frame(GetParam(), "two")), too_long);
    EXPECT_EQ(parse(""), too_long);
    EXPECT_TRUE(packets.empty());
    EXPECT_FALSE(parser.is_between_packets());
    EXPECT_EQ(parser.bytes_unfinished(), unfinished);
}

// --- the magic ---

class packet_magic : public ::testing::Test {
  protected:
    packet_parser parser{packet_framing::packetsocket, size_max};
    std::vector<shared_bytes> packets;
};

TEST_F(packet_magic, AWrongByteIsAnOffenceAsSoonAsItIsThere) {
    constexpr std::string_view magic = "#!?&";
    for (std::size_t right = 0; right < magic.size(); ++right) {
        for (const bool is_split : {false, true}) {
            packet_parser fresh(packet_framing::packetsocket, size_max);
            const std::string stream = std::string(magic.substr(0, right)) + "x";
            const auto bytes = bytes_of(stream);
            if (is_split) {
                ASSERT_EQ(fresh.parse(bytes.first(right), packets), more);
            }
            ASSERT_EQ(fresh.parse(is_split ? bytes.last(1) : bytes, packets), bad_magic) << right;
            EXPECT_EQ(fresh.bytes_unfinished(), right + 1);
            EXPECT_FALSE(fresh.is_between_packets());
        }
    }
}

TEST_F(packet_magic, GarbageBehindPacketsIsAnOffenceBehindThem) {
    const std::string stream = frames(packet_framing::packetsocket, {"one", ""}) + "GET / HTTP/1.1";
    EXPECT_EQ(parser.parse(bytes_of(stream), packets), bad_magic);
    EXPECT_EQ(texts_of(packets), (strings{"one", ""}));
    EXPECT_EQ(parser.bytes_unfinished(), 1U);
}

TEST_F(packet_magic, AWrongMagicCountsBeforeATooLongLength) {
    const std::string stream = "#!?%\xFF\xFF\xFF\xFF";
    EXPECT_EQ(parser.parse(bytes_of(stream), packets), bad_magic);
    EXPECT_EQ(parser.bytes_unfinished(), 4U);
}

TEST_F(packet_magic, TheOtherFramingsHaveNone) {
    packet_parser little(packet_framing::little_endian, size_max);
    EXPECT_EQ(little.parse(bytes_of("\x01\0\0\0x"sv), packets), more);
    EXPECT_EQ(texts_of(packets), strings{"x"});
}

// --- memory ---

TEST_P(packet_parsing, SixtyFourWholePacketsTakeOneAllocation) {
    const std::string stream = frames(GetParam(), strings(64, std::string(64, 'x')));
    packets.reserve(64);
    std::size_t count = 0;
    {
        const test::allocation_meter meter;
        ASSERT_EQ(parser.parse(bytes_of(stream), packets), more);
        count = meter.count();
    }
    EXPECT_EQ(packets.size(), 64U);
    EXPECT_EQ(count, 1U);
}

TEST_P(packet_parsing, APacketOfManySegmentsTakesOneAllocationOfItsSize) {
    const std::string stream = frame(GetParam(), std::string(65'536, 'x'));
    packets.reserve(1);
    std::size_t count = 0;
    std::size_t largest = 0;
    {
        const test::allocation_meter meter;
        for (std::size_t at = 0; at < stream.size(); at += 1000)
            ASSERT_EQ(parse(std::string_view(stream).substr(at, 1000)), more);
        count = meter.count();
        largest = meter.largest();
    }
    EXPECT_EQ(packets.size(), 1U);
    EXPECT_EQ(count, 1U);
    EXPECT_EQ(largest, 65'536 + sizeof(byte_block));
}

TEST_P(packet_parsing, WholePacketsTakeNoMoreThanTheyAreThoughMoreFollows) {
    const std::string stream = frame(GetParam(), "a") + frame(GetParam(), std::string(60'000, 'x'));
    packets.reserve(1);
    std::size_t count = 0;
    std::size_t largest = 0;
    {
        const test::allocation_meter meter;
        ASSERT_EQ(parse(std::string_view(stream).substr(0, frame(GetParam(), "a").size() + 2)),
                  more);
        count = meter.count();
        largest = meter.largest();
    }
    EXPECT_EQ(count, 1U);
    EXPECT_EQ(largest, frame(GetParam(), "a").size() + sizeof(byte_block));
}

TEST_P(packet_parsing, APacketThatIsTooLongTakesNoMemory) {
    const std::string header = header_of(GetParam(), size_max + 1);
    std::size_t count = 0;
    {
        const test::allocation_meter meter;
        ASSERT_EQ(parse(header), too_long);
        count = meter.count();
    }
    EXPECT_EQ(count, 0U);
}

TEST_P(packet_parsing, ManySmallParsesIntoOneVectorGrowItGeometrically) {
    const std::string one = frame(GetParam(), "x");
    std::size_t count = 0;
    {
        const test::allocation_meter meter;
        for (int i = 0; i < 1024; ++i)
            ASSERT_EQ(parse(one), more);
        count = meter.count();
    }
    EXPECT_EQ(packets.size(), 1024U);
    EXPECT_LE(count, 1024U + 11U) << "one for each, and the vector's";
}

TEST_P(packet_parsing, WhereMemoryEndsItThrowsAndWhatCameBeforeIsThere) {
    const std::string stream =
        frames(GetParam(), {"one", "two"}) + header_of(GetParam(), 100) + "x";
    std::size_t failed = 0;
    for (std::size_t limit = 0;; ++limit) {
        packet_parser fresh(GetParam(), size_max);
        packets.clear();
        packets.shrink_to_fit();
        bool has_thrown = false;
        {
            const test::allocation_limit no_more(limit);
            try {
                EXPECT_EQ(fresh.parse(bytes_of(stream), packets), more);
            } catch (const std::bad_alloc&) {
                has_thrown = true;
            }
        }
        if (!has_thrown) break;
        ++failed;
        EXPECT_EQ(texts(), limit < 2 ? strings{} : (strings{"one", "two"})) << limit;
    }
    EXPECT_EQ(failed, 3U) << "the vector, the block of whole packets, and the next one's";
    EXPECT_EQ(texts(), (strings{"one", "two"}));
}

}  // namespace
}  // namespace quoit::detail
