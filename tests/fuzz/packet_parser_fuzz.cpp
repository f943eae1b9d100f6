// SPDX-License-Identifier: MIT
//
// The parser of packets on whatever a peer may send. It must not read or write outside of its
// memory (the sanitizers see to that), and besides:
//
//   - however the stream is cut, the packets, the outcome and what is unfinished are the same;
//   - they are what a parser says that is as simple as can be: the one below;
//   - no packet is longer than the maximum;
//   - after an offence nothing more is taken.
//
// Input: a byte for the framing, two for packet_size_max, one for how many cuts, so many bytes,
// each the size of the next piece; the rest is the stream.
#include "packets/packet_parser.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>
#include <vector>

namespace {

using namespace quoit::detail;
using quoit::packet_framing;
using quoit::shared_bytes;
using input_bytes = std::span<const std::uint8_t>;

void require(bool condition, const char* words) {
    if (condition) return;
    std::fprintf(stderr, "packet_parser_fuzz: %s\n", words);
    std::abort();
}

struct settings {
    packet_framing framing = packet_framing::packetsocket;
    std::uint32_t size_max = 1;
    input_bytes pieces;
};

// Takes them from the front of the input.
settings settings_of(input_bytes& input) {
    const auto take = [&input] {
        if (input.empty()) return std::uint8_t{0};
        const std::uint8_t byte = input.front();
        input = input.subspan(1);
        return byte;
    };
    settings made;
    made.framing = static_cast<packet_framing>(take() % 3);
    const unsigned low = take();
    made.size_max = std::max(1U, low | static_cast<unsigned>(take()) << 8U);
    const std::size_t cuts = std::min<std::size_t>(take(), input.size());
    made.pieces = input.first(cuts);
    input = input.subspan(cuts);
    return made;
}

// What parsing came to.
struct parsed {
    std::vector<std::vector<std::byte>> packets;
    parse_outcome outcome = parse_outcome::more;
    std::uint64_t unfinished = 0;
    bool operator==(const parsed&) const = default;
};

parsed parse_in_pieces(const settings& with, std::span<const std::byte> stream,
                       input_bytes pieces) {
    packet_parser parser(with.framing, with.size_max);
    std::vector<shared_bytes> packets;
    parsed made;
    const auto take = [&](std::size_t size) {
        const bool had_ended = made.outcome != parse_outcome::more;
        const std::size_t count = packets.size();
        const std::uint64_t unfinished = parser.bytes_unfinished();
        const parse_outcome outcome = parser.parse(stream.first(size), packets);
        require(!had_ended || (outcome == made.outcome && packets.size() == count &&
                               parser.bytes_unfinished() == unfinished),
                "something was taken after an offence");
        made.outcome = outcome;
        stream = stream.subspan(size);
    };
    for (const std::uint8_t size : pieces)
        take(std::min<std::size_t>(size, stream.size()));
    take(stream.size());
    for (const shared_bytes& packet : packets) {
        require(packet.size() <= with.size_max, "a packet is longer than the maximum");
        made.packets.emplace_back(packet.begin(), packet.end());
    }
    made.unfinished = parser.bytes_unfinished();
    require(parser.is_between_packets() == (made.unfinished == 0), "between packets, or not?");
    return made;
}

std::uint64_t length_of(packet_framing framing, std::span<const std::byte> header) {
    std::array<std::uint8_t, 4> digits{};
    std::ranges::transform(header.last(4), digits.begin(), std::to_integer<std::uint8_t>);
    if (framing != packet_framing::big_endian) std::ranges::reverse(digits);
    std::uint64_t length = 0;
    for (const std::uint8_t digit : digits)
        length = length * 256 + digit;
    return length;
}

parsed parse_simply(const settings& with, std::span<const std::byte> stream) {
    const std::string_view magic =
        with.framing == packet_framing::packetsocket ? "#!?&" : std::string_view();
    const std::size_t header_size = magic.size() + 4;
    parsed made;
    while (!stream.empty()) {
        for (std::size_t i = 0; i < std::min(magic.size(), stream.size()); ++i) {
            if (stream[i] == static_cast<std::byte>(magic[i])) continue;
            made.outcome = parse_outcome::bad_magic;
            made.unfinished = i + 1;
            return made;
        }
        made.unfinished = stream.size();
        if (stream.size() < header_size) return made;
        const std::uint64_t size = length_of(with.framing, stream.first(header_size));
        if (size > with.size_max) {
            made.outcome = parse_outcome::too_long;
            made.unfinished = header_size;
            return made;
        }
        stream = stream.subspan(header_size);
        if (stream.size() < size) return made;
        made.packets.emplace_back(stream.begin(), stream.begin() + static_cast<long>(size));
        stream = stream.subspan(size);
        made.unfinished = 0;
    }
    return made;
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    input_bytes input(data, size);
    const settings with = settings_of(input);
    const std::span<const std::byte> stream = std::as_bytes(input);
    const parsed expected = parse_simply(with, stream);
    require(parse_in_pieces(with, stream, {}) == expected, "in one piece it is something else");
    require(parse_in_pieces(with, stream, with.pieces) == expected,
            "cut into pieces it is something else");
    return 0;
}
