// SPDX-License-Identifier: MIT
//
// However a stream is cut, it is the same packets and the same end.
#include "engine/packets/packet_test.hpp"
#include "packets/packet_parser.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

namespace quoit::detail {
namespace {

using test::all_framings;
using test::bytes_of;
using test::frames;
using test::header_of;
using test::texts_of;
using strings = std::vector<std::string>;

// What parsing came to.
struct parsed {
    strings packets;
    parse_outcome outcome = parse_outcome::more;
    std::uint64_t unfinished = 0;
    bool operator==(const parsed&) const = default;
};

void PrintTo(const parsed& one, std::ostream* out) {
    *out << one.packets.size() << " packets, outcome " << static_cast<int>(one.outcome) << ", "
         << one.unfinished << " bytes unfinished";
}

// Cut behind so many bytes each, in ascending order; beyond the end: no cut.
parsed parse_in_pieces(packet_framing framing, std::uint32_t size_max, const std::string& stream,
                       const std::vector<std::size_t>& cuts) {
    packet_parser parser(framing, size_max);
    std::vector<shared_bytes> packets;
    parsed made;
    std::size_t begin = 0;
    const auto take = [&](std::size_t end) {
        made.outcome = parser.parse(bytes_of(stream).subspan(begin, end - begin), packets);
        begin = end;
    };
    for (const std::size_t cut : cuts)
        take(std::min(cut, stream.size()));
    take(stream.size());
    made.packets = texts_of(packets);
    made.unfinished = parser.bytes_unfinished();
    EXPECT_EQ(parser.is_between_packets(), made.unfinished == 0);
    return made;
}

// --- every split of short streams ---

class every_split : public ::testing::TestWithParam<packet_framing> {
  protected:
    // Into two and into three, empty pieces included.
    static void expect(std::uint32_t size_max, const std::string& stream, const parsed& expected) {
        ASSERT_EQ(parse_in_pieces(GetParam(), size_max, stream, {}), expected);
        for (std::size_t first = 0; first <= stream.size(); ++first) {
            for (std::size_t second = first; second <= stream.size(); ++second) {
                ASSERT_EQ(parse_in_pieces(GetParam(), size_max, stream, {first, second}), expected)
                    << "cut at " << first << " and " << second;
            }
        }
    }
};
INSTANTIATE_TEST_SUITE_P(framings, every_split, ::testing::ValuesIn(all_framings),
                         test::framing_name);

TEST_P(every_split, OfWholePacketsIsThesePackets) {
    for (const strings& bodies : {strings{}, strings{""}, strings{"a"}, strings{"", "", ""},
                                  strings{"ab", "", "#!?&", "c"}, strings{"0123456789", "x"}}) {
        expect(10, frames(GetParam(), bodies), {.packets = bodies});
    }
}

TEST_P(every_split, OfAPacketThatIsCutOffLeavesItUnfinished) {
    const std::string whole = frames(GetParam(), {"ab", ""});
    const std::string last = frames(GetParam(), {"unfinished"});
    for (std::size_t there = 1; there < last.size(); there += 3) {
        expect(10, whole + last.substr(0, there), {.packets = {"ab", ""}, .unfinished = there});
    }
}

TEST_P(every_split, OfATooLongPacketIsAnOffenceBehindThePacketsBeforeIt) {
    expect(10, frames(GetParam(), {"ab", ""}) + header_of(GetParam(), 11) + "body and more",
           {.packets = {"ab", ""},
            .outcome = parse_outcome::too_long,
            .unfinished = packet_header_size(GetParam())});
}

TEST(every_split_of, AWrongMagicIsAnOffenceAtItsFirstWrongByte) {
    constexpr auto framing = packet_framing::packetsocket;
    for (std::size_t right = 0; right < 4; ++right) {
        const std::string stream =
            frames(framing, {"ab", ""}) + std::string("#!?&").substr(0, right) + "wrong";
        const parsed expected{
            .packets = {"ab", ""}, .outcome = parse_outcome::bad_magic, .unfinished = right + 1};
        for (std::size_t first = 0; first <= stream.size(); ++first) {
            for (std::size_t second = first; second <= stream.size(); ++second) {
                ASSERT_EQ(parse_in_pieces(framing, 10, stream, {first, second}), expected)
                    << "cut at " << first << " and " << second;
            }
        }
    }
}

// --- any split of any stream ---

// Short and empty bodies mostly, now and then a long one.
strings some_bodies() {
    const auto count = test::any_of<std::size_t>(0, 40);
    strings bodies;
    for (std::size_t i = 0; i < count; ++i) {
        const bool is_long = test::any_of(0, 8) == 0;
        const auto size = test::any_of<std::size_t>(0, is_long ? 20'000 : 80);
        std::string body(size, static_cast<char>(test::any_of(0, 128)));
        for (std::size_t at = 0; at < size; at += 7)
            body[at] = static_cast<char>(at + i);
        bodies.push_back(std::move(body));
    }
    return bodies;
}

// Sometimes many small pieces, sometimes few.
std::vector<std::size_t> some_cuts(std::size_t size) {
    const auto longest = *rc::gen::element<std::size_t>(2, 5, 9, 100, 4'000, 20'000);
    std::vector<std::size_t> cuts;
    for (std::size_t at = 0; at < size;) {
        at += test::any_of<std::size_t>(longest > 9 ? 0 : 1, longest);
        cuts.push_back(at);
        if (cuts.size() == 2'000) break;
    }
    return cuts;
}

TEST(any_split, OfRandomPacketsIsThesePackets) {
    for (const packet_framing framing : all_framings) {
        EXPECT_TRUE(rc::check([framing] {
            const strings bodies = some_bodies();
            const std::string stream = frames(framing, bodies);
            const parsed made = parse_in_pieces(framing, 20'000, stream, some_cuts(stream.size()));
            RC_ASSERT(made == parsed{.packets = bodies});
        }));
    }
}

TEST(any_split, OfRandomBytesEndsAsTheWholeDoes) {
    for (const packet_framing framing : all_framings) {
        EXPECT_TRUE(rc::check([framing] {
            // Packets, and then whatever: the end of one, an offence, more packets.
            std::string stream = frames(framing, some_bodies());
            if (*rc::gen::arbitrary<bool>() && !stream.empty())
                stream.resize(test::any_of<std::size_t>(0, stream.size()));
            stream += *rc::gen::arbitrary<std::string>();
            const auto size_max = *rc::gen::element<std::uint32_t>(1, 60, 1'000, 1U << 22);
            const parsed whole = parse_in_pieces(framing, size_max, stream, {});
            const auto is_short = [&](const std::string& one) { return one.size() <= size_max; };
            RC_ASSERT(std::ranges::all_of(whole.packets, is_short));
            const parsed cut = parse_in_pieces(framing, size_max, stream, some_cuts(stream.size()));
            RC_ASSERT(cut == whole);
            // Whole packets and the rest are what came.
            const std::size_t used = frames(framing, whole.packets).size() + whole.unfinished;
            const bool is_all = whole.outcome == parse_outcome::more;
            RC_ASSERT((is_all ? used == stream.size() : used <= stream.size()));
        }));
    }
}

}  // namespace
}  // namespace quoit::detail
