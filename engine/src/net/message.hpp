// SPDX-License-Identifier: MIT
//
// A received message as it lies in a receive buffer. Both backends lay a buffer out alike, so there
// is one parser:
//
//     0            16              16+name_size    16+name_size+control_size
//     +------------+---------------+---------------+--------------------------+
//     | header     | name          | control       | payload ...              |
//     +------------+---------------+---------------+--------------------------+
//
// The header is struct io_uring_recvmsg_out (since Linux 6.0, <liburing/io_uring.h>): how many
// bytes of name, control and payload there were, and msg_flags. The epoll backend writes the same.
// The *offsets* follow from what was asked for, not from what arrived.
//
// A UNIX source is told by the size of its name. Its peer's name is read from the buffer when it is
// asked for (datagram_fields has no room for one), so control data is always pointed at there: the
// name lies right before it, the header before the name.
//
// Everything here is checked against the bytes that are there: nothing the kernel reports is used
// as a length or offset before.
#pragma once

#include <quoit/datagram.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace quoit::detail {

/// How much of a buffer is set aside for what, in bytes. Fixed when a socket is opened.
struct message_layout {
    static constexpr std::uint32_t header_size = 16;
    /// sockaddr_un in whole 16 bytes.
    static constexpr std::uint16_t unix_name_size = 112;
    static constexpr std::uint32_t unix_control_offset = header_size + unix_name_size;

    std::uint16_t name_size = 0;
    std::uint16_t control_size = 0;

    [[nodiscard]] constexpr bool is_unix() const noexcept { return name_size == unix_name_size; }
    [[nodiscard]] constexpr std::uint32_t control_offset() const noexcept {
        return header_size + name_size;
    }
    [[nodiscard]] constexpr std::uint32_t payload_offset() const noexcept {
        return header_size + name_size + std::uint32_t{control_size};
    }
};

/// The first 16 bytes of a buffer.
struct message_header {
    std::uint32_t name_size = 0;
    std::uint32_t control_size = 0;
    std::uint32_t payload_size = 0;  // the original one: MSG_TRUNC is always asked for
    std::uint32_t flags = 0;         // msg_flags
};
static_assert(sizeof(message_header) == message_layout::header_size);

/// What became of a message in a buffer.
enum class message_state : std::uint8_t {
    valid,
    short_buffer,  // fewer bytes than its layout says
    bad_name,      // no address of a family we know
    control_cut,  // MSG_CTRUNC: read without metadata; a train whose UDP_GRO was cut off looks like
                  // one giant datagram, so on a socket with UDP_GRO this is not to be trusted
    bad_control,  // control messages whose lengths do not add up
};

/// How many datagrams are in `size` bytes of payload whose train has segments of `segment` bytes
/// (0: no train).
[[nodiscard]] constexpr std::uint32_t datagrams_in(std::uint32_t size,
                                                   std::uint16_t segment) noexcept {
    return segment == 0 || size <= segment ? 1 : (size + segment - 1U) / segment;
}

struct parsed_message {
    message_state state = message_state::short_buffer;
    std::uint16_t segment = 0;     // UDP_GRO: bytes per datagram; 0: one datagram
    std::uint32_t size_total = 0;  // bytes of payload there are, all datagrams together
    datagram_fields first;         // the first (or only) datagram; original_size set
    /// How many datagrams: a coalesced train holds ceil(size_total / segment).
    [[nodiscard]] std::uint32_t count() const noexcept { return datagrams_in(size_total, segment); }
};

/// Reads a message. `buffer` is what is there: header, name, control and as much of the payload as
/// fitted. `payload_size_max` cuts what is longer. The fields point into `buffer`.
[[nodiscard]] parsed_message parse_message(std::span<const std::byte> buffer, message_layout layout,
                                           std::uint32_t payload_size_max) noexcept;

/// What a UNIX source's buffer says beside the payload.
struct unix_message {
    std::span<const std::byte> name;
    std::span<const std::byte> control;
    bool is_control_cut = false;  // MSG_CTRUNC
};
/// REQUIRES: `control` is datagram_fields::control of a message of a UNIX source whose buffer is
/// still held; control_size bytes of it are there.
[[nodiscard]] unix_message unix_message_before(const std::byte* control,
                                               std::size_t control_size) noexcept;

/// How many datagrams a buffer of `length` bytes holds whose train has segments of `segment` bytes
/// (0: no train). Whoever counts without parsing agrees with parsed_message::count() by this.
[[nodiscard]] constexpr std::uint32_t datagram_count(std::uint32_t length, std::uint16_t segment,
                                                     message_layout layout) noexcept {
    const std::uint32_t offset = layout.payload_offset();
    const std::uint32_t size = length > offset ? length - offset : 0;
    return datagrams_in(size, segment);
}

/// Only the segment size, for whoever counts: 0 for one datagram, or where the message is not
/// valid.
[[nodiscard]] std::uint16_t segment_of(std::span<const std::byte> buffer,
                                       message_layout layout) noexcept;

}  // namespace quoit::detail
