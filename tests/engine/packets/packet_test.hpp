// SPDX-License-Identifier: MIT
//
// Streams of packets for the tests of packets: made by hand, not by what is tested.
#pragma once

#include <quoit/packet_options.hpp>
#include <quoit/shared_bytes.hpp>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quoit::test {

inline constexpr packet_framing all_framings[]{
    packet_framing::packetsocket, packet_framing::little_endian, packet_framing::big_endian};

inline std::string header_of(packet_framing framing, std::uint32_t size) {
    std::string made;
    for (int i = 0; i < 4; ++i) {
        const auto byte = static_cast<char>(size & 0xFFU);
        size >>= 8U;
        if (framing == packet_framing::big_endian) {
            made.insert(made.begin(), byte);
        } else {
            made.push_back(byte);
        }
    }
    return framing == packet_framing::packetsocket ? "#!?&" + made : made;
}

inline std::string frame(packet_framing framing, std::string_view body) {
    return header_of(framing, static_cast<std::uint32_t>(body.size())) + std::string(body);
}

inline std::string frames(packet_framing framing, const std::vector<std::string>& bodies) {
    std::string stream;
    for (const std::string& body : bodies)
        stream += frame(framing, body);
    return stream;
}

inline std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}

inline std::vector<std::string> texts_of(std::span<const shared_bytes> packets) {
    std::vector<std::string> texts;
    for (const shared_bytes& packet : packets)
        texts.emplace_back(packet.text());
    return texts;
}

/// Uniform whatever the size of a case: rc::gen::inRange() alone keeps close to `min` at first.
template <class T>
T any_of(T min, T end) {
    return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange<T>(min, end));
}

/// "packetsocket", ... for the names of parametrised tests.
inline std::string framing_name(const ::testing::TestParamInfo<packet_framing>& info) {
    return std::string(to_string(info.param));
}

}  // namespace quoit::test
