// SPDX-License-Identifier: MIT
#include "probe.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace quoit::program {

namespace {

std::vector<std::byte> make_probe(const probe_format& format, std::uint32_t flow,
                                  std::uint64_t sequence) {
    const probe_header header = format.make_header(flow, sequence, 12'345);
    const byte_view body = format.body(sequence);
    std::vector<std::byte> probe(sizeof header + body.size());
    std::memcpy(probe.data(), &header, sizeof header);
    std::ranges::copy(body.bytes(), probe.begin() + sizeof header);
    return probe;
}

probe_kind kind_of(const probe_format& format, const std::vector<std::byte>& probe,
                   std::uint32_t flow = 3) {
    probe_header header;
    return format.recognise(probe, flow, header);
}

TEST(probe, IsRecognisedWithEverythingThatWasPutIn) {
    for (const std::uint32_t size : {probe_size_min, 41U, 64U, 65'527U}) {
        const probe_format format(7, size);
        const auto probe = make_probe(format, 3, 99);
        EXPECT_EQ(probe.size(), size);
        probe_header header;
        EXPECT_EQ(format.recognise(probe, 3, header), probe_kind::ours);
        EXPECT_EQ(header.sequence, 99U);
        EXPECT_EQ(header.intended_ns, 12'345);
    }
}

TEST(probe, IsCorruptedWhenAnyOfItsBitsWasChanged) {
    const probe_format format(7, 64);
    auto probe = make_probe(format, 3, 99);
    for (std::byte& one : probe) {
        for (unsigned bit = 0; bit < 8; ++bit) {
            one ^= std::byte{1} << bit;
            EXPECT_EQ(kind_of(format, probe), probe_kind::corrupted);
            one ^= std::byte{1} << bit;
        }
    }
    EXPECT_EQ(kind_of(format, probe), probe_kind::ours);
}

TEST(probe, IsCorruptedWhenItWasCutOrExtended) {
    const probe_format format(7, 64);
    auto probe = make_probe(format, 3, 99);
    probe.push_back(std::byte{0});
    EXPECT_EQ(kind_of(format, probe), probe_kind::corrupted);
    for (probe.pop_back(); !probe.empty();) {
        probe.pop_back();
        EXPECT_EQ(kind_of(format, probe), probe_kind::corrupted);
    }
}

TEST(probe, IsCorruptedWhenItHasTheBodyOfAnother) {
    const probe_format format(7, 128);
    auto probe = make_probe(format, 3, 1);
    const auto other = make_probe(format, 3, 2);
    std::memcpy(probe.data() + probe_size_min, other.data() + probe_size_min,
                probe.size() - probe_size_min);
    EXPECT_EQ(kind_of(format, probe), probe_kind::corrupted);
}

TEST(probe, IsForeignWhenItIsOfAnotherRunOrFlow) {
    const probe_format format(7, 64);
    EXPECT_EQ(kind_of(format, make_probe(probe_format(8, 64), 3, 99)), probe_kind::foreign);
    EXPECT_EQ(kind_of(format, make_probe(format, 4, 99)), probe_kind::foreign);
}

}  // namespace

}  // namespace quoit::program
