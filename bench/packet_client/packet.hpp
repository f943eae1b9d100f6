// SPDX-License-Identifier: MIT
//
// The packets this client sends, as they stand on the stream:
//
//   +------+-------------+--------------+--------------------------------+
//   | #!?& | u32 LE: size | probe_header | pattern, other in neighbours   |
//   +------+-------------+--------------+--------------------------------+
//    prefix, 8 bytes      body, `size` bytes
#pragma once

#include "probe.hpp"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>

namespace bench::packets {

static_assert(std::endian::native == std::endian::little, "the length is little-endian");

constexpr std::array magic{'#', '!', '?', '&'};
constexpr std::size_t prefix_size = magic.size() + sizeof(std::uint32_t);
constexpr std::size_t body_size_max = std::size_t{16} << 20U;

inline void write_prefix(char* to, std::uint32_t body_size) noexcept {
    std::memcpy(to, magic.data(), magic.size());
    std::memcpy(to + magic.size(), &body_size, sizeof body_size);
}

/// The body's size. Throws when it is no prefix: nobody knows where the next packet begins.
[[nodiscard]] inline std::uint32_t read_prefix(const char* from) {
    if (std::memcmp(from, magic.data(), magic.size()) != 0) {
        throw std::runtime_error("the server sent what is no packet");
    }
    std::uint32_t body_size = 0;
    std::memcpy(&body_size, from + magic.size(), sizeof body_size);
    return body_size;
}

}  // namespace bench::packets
