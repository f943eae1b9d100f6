// SPDX-License-Identifier: MIT
//
// packet_parser: makes packets of a stream of bytes, however it was cut on its way.
//
//   packet_parser parser(packet_framing::packetsocket, 16U << 20);
//   std::vector<shared_bytes> packets;
//   ... whenever bytes came:
//       if (parser.parse(bytes, packets) != parse_outcome::more) ... the peer sends no packets
//       ... `packets` are whole, in order
//
// A body is copied once. Packets that are whole in what parse() is given share one block:
//
//   bytes   | header body header body header body | header bo      the rest becomes a packet of its
//           '------------- copied as one ---------'         own block, which the next bytes fill
//
// A packet that reaches beyond what parse() was given has a block of its own, of its body's size,
// from the moment its header is whole. Who only announces a long packet costs address space: memory
// is used as it is filled. So what a parser holds is bounded by packet_size_max.
//
// An offence is found as soon as its first byte is there, or, a length, with its last. It is for
// good: nothing says where the next packet would begin.
//
// Single-threaded; the packets may go to other threads. Errors: parse_outcome, std::bad_alloc.
// Units: bytes.
#pragma once

#include <quoit/packet_options.hpp>
#include <quoit/shared_bytes.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace quoit::detail {

inline constexpr std::size_t packet_header_size_max = 8;
/// Writes packet_header_size() bytes.
void write_packet_header(packet_framing framing, std::uint32_t body_size, std::byte* out) noexcept;

enum class parse_outcome : std::uint8_t {
    more,       ///< all is well
    bad_magic,  ///< where a header should begin, something else does
    too_long,   ///< a packet of more than packet_size_max was announced
};

class packet_parser {
  public:
    packet_parser(packet_framing framing, std::uint32_t packet_size_max) noexcept;
    packet_parser(const packet_parser&) = delete;
    packet_parser& operator=(const packet_parser&) = delete;
    packet_parser(packet_parser&&) noexcept = default;
    packet_parser& operator=(packet_parser&&) noexcept = default;
    ~packet_parser() = default;

    /// Takes all of `bytes` and appends the packets that are now whole to `into`; those before an
    /// offence too. After an offence it takes nothing more and goes on answering the same. When it
    /// throws, packets before that are in `into`, and it must not be used again.
    [[nodiscard]] parse_outcome parse(std::span<const std::byte> bytes,
                                      std::vector<shared_bytes>& into);

    /// Nothing of a next packet has been taken.
    [[nodiscard]] bool is_between_packets() const noexcept { return taken_ == 0; }
    /// Taken, of a packet that is not whole, header included. After an offence: up to and with the
    /// byte that showed it.
    [[nodiscard]] std::uint64_t bytes_unfinished() const noexcept { return taken_; }

  private:
    std::size_t take_whole(std::span<const std::byte> bytes, std::vector<shared_bytes>& into) const;
    std::size_t take_part(std::span<const std::byte> bytes, std::vector<shared_bytes>& into);
    std::size_t take_header(std::span<const std::byte> bytes);

    packet_framing framing_;
    parse_outcome outcome_ = parse_outcome::more;
    std::uint32_t header_size_;
    std::uint32_t packet_size_max_;
    // Of the packet under way. Its header is whole when taken_ is header_size_ or more: then it has
    // its body, filled up to fill_.
    std::array<std::byte, packet_header_size_max> header_{};
    std::uint64_t taken_ = 0;
    shared_bytes body_;
    std::byte* fill_ = nullptr;
};

}  // namespace quoit::detail
