// SPDX-License-Identifier: MIT
//
// Control messages (cmsg(3)): what the kernel says about a datagram beside its bytes. The parser
// takes no length on trust: a control message that reaches beyond its buffer, or is shorter than
// its own header, ends the walk with an error. It reads by memcpy, so alignment does not matter.
#pragma once

#include <quoit/address.hpp>
#include <quoit/options.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace quoit::detail {

/// What a control buffer said. Types we do not know are passed over.
struct control_data {
    bool is_valid = true;           // every length made sense
    std::uint16_t gro_segment = 0;  // UDP_GRO: an int since Linux 5.0, 1..65535; 0: none
    std::optional<ip> local;        // IP_PKTINFO, IPV6_PKTINFO: where it was sent to
    std::optional<ip> source;       // likewise: what an answer to it is sent from; with a scope,
                                    // through that interface
    std::optional<std::chrono::sys_time<std::chrono::nanoseconds>> received_at;  // SO_TIMESTAMPNS
    std::optional<std::uint8_t> tos;  // IP_TOS (one byte) or IPV6_TCLASS (an int)
    std::optional<std::uint8_t> ttl;  // IP_TTL or IPV6_HOPLIMIT (ints)
};

[[nodiscard]] control_data parse_control(std::span<const std::byte> control) noexcept;

/// Of control_data what says whether there is a train.
struct segment_data {
    bool is_valid = true;
    std::uint16_t gro_segment = 0;
};
/// As parse_control(), for whoever needs only that: once per message on a socket with UDP_GRO.
[[nodiscard]] segment_data find_segment(std::span<const std::byte> control) noexcept;
/// parse_control().source, for whoever needs only that: once per answer.
[[nodiscard]] std::optional<ip> find_source(std::span<const std::byte> control) noexcept;

/// Bytes of control buffer that hold all of this at once on a socket of that family.
[[nodiscard]] std::uint16_t control_size_for(family of, metadata wanted, bool has_gro) noexcept;

/// Copies the message that says where the datagram was sent to, if there is one and it fits.
/// Returns its size with its padding; 0: nothing was copied.
[[nodiscard]] std::size_t copy_destination(std::span<const std::byte> control,
                                           std::span<std::byte> into) noexcept;

}  // namespace quoit::detail
