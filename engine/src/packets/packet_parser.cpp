// SPDX-License-Identifier: MIT
#include "packets/packet_parser.hpp"

#include "base/copy_bytes.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <utility>

namespace quoit::detail {

namespace {

constexpr std::array magic{std::byte{'#'}, std::byte{'!'}, std::byte{'?'}, std::byte{'&'}};

constexpr std::size_t magic_size(packet_framing framing) noexcept {
    return framing == packet_framing::packetsocket ? magic.size() : 0;
}

static_assert(packet_header_size(packet_framing::packetsocket) == packet_header_size_max);
static_assert(packet_header_size_max == magic.size() + sizeof(std::uint32_t));
static_assert(packet_header_size(packet_framing::big_endian) == sizeof(std::uint32_t));

// Between this machine's order and the wire's, either way.
constexpr std::uint32_t reorder(packet_framing framing, std::uint32_t length) noexcept {
    static_assert(std::endian::native == std::endian::little ||
                  std::endian::native == std::endian::big);
    const auto wire =
        framing == packet_framing::big_endian ? std::endian::big : std::endian::little;
    return wire == std::endian::native ? length : std::byteswap(length);
}

// Of a whole header.
std::uint32_t body_size_of(packet_framing framing, const std::byte* header) noexcept {
    std::uint32_t length = 0;
    std::memcpy(&length, header + magic_size(framing), sizeof length);
    return reorder(framing, length);
}

// What stands at the front of some bytes.
struct stretch {
    std::size_t size = 0;
    std::size_t count = 0;  // of whole packets
};

// The framing is a constant here: this runs once for each packet.
template <packet_framing Framing>
stretch find_whole(std::span<const std::byte> bytes, std::uint32_t packet_size_max) noexcept {
    constexpr std::size_t header = packet_header_size(Framing);
    const std::byte* at = bytes.data();
    std::size_t left = bytes.size();
    stretch found;
    while (left >= header) {
        if constexpr (magic_size(Framing) > 0) {
            if (std::memcmp(at, magic.data(), magic.size()) != 0) break;
        }
        const std::uint32_t size = body_size_of(Framing, at);
        if (size > packet_size_max || size > left - header) break;
        at += header + size;
        left -= header + size;
        ++found.count;
    }
    found.size = bytes.size() - left;
    return found;
}

// `into` has room for them.
template <packet_framing Framing>
void make_handles(byte_block* block, std::size_t count, std::vector<shared_bytes>& into) {
    const std::byte* at = block->data();
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t size = body_size_of(Framing, at);
        at += packet_header_size(Framing);
        into.emplace_back(block, at, size);
        at += size;
    }
}

// Doubles it, as appending one by one would.
void make_room(std::size_t count, std::vector<shared_bytes>& in) {
    if (in.capacity() - in.size() < count)
        in.reserve(std::max(in.size() + count, 2 * in.capacity()));
}

template <packet_framing Framing>
std::size_t copy_whole(std::span<const std::byte> bytes, std::uint32_t packet_size_max,
                       std::vector<shared_bytes>& into) {
    const stretch whole = find_whole<Framing>(bytes, packet_size_max);
    if (whole.count == 0) return 0;
    make_room(whole.count, into);
    byte_block* const block = byte_block::make(whole.size);
    copy_bytes(block->data(), bytes.data(), whole.size);
    // Relaxed: nobody else has it yet. From here on nothing throws.
    block->references.store(whole.count, std::memory_order_relaxed);
    make_handles<Framing>(block, whole.count, into);
    return whole.size;
}

}  // namespace

void write_packet_header(packet_framing framing, std::uint32_t body_size, std::byte* out) noexcept {
    std::memcpy(out, magic.data(), magic_size(framing));
    const std::uint32_t length = reorder(framing, body_size);
    std::memcpy(out + magic_size(framing), &length, sizeof length);
}

packet_parser::packet_parser(packet_framing framing, std::uint32_t packet_size_max) noexcept
    : framing_(framing), header_size_(static_cast<std::uint32_t>(packet_header_size(framing))),
      packet_size_max_(packet_size_max) {}

parse_outcome packet_parser::parse(std::span<const std::byte> bytes,
                                   std::vector<shared_bytes>& into) {
    if (outcome_ != parse_outcome::more) return outcome_;
    if (taken_ != 0) bytes = bytes.subspan(take_part(bytes, into));
    if (bytes.empty() || outcome_ != parse_outcome::more) return outcome_;
    bytes = bytes.subspan(take_whole(bytes, into));
    // What is left is the beginning of a packet, or an offence.
    take_part(bytes, into);
    return outcome_;
}

// The packets that are whole in `bytes`; returns how long they are together.
std::size_t packet_parser::take_whole(std::span<const std::byte> bytes,
                                      std::vector<shared_bytes>& into) const {
    using enum packet_framing;
    switch (framing_) {
        case packetsocket: return copy_whole<packetsocket>(bytes, packet_size_max_, into);
        case little_endian: return copy_whole<little_endian>(bytes, packet_size_max_, into);
        case big_endian: return copy_whole<big_endian>(bytes, packet_size_max_, into);
    }
    return 0;
}

// Goes on with the packet under way, or begins one; returns how many bytes that took.
std::size_t packet_parser::take_part(std::span<const std::byte> bytes,
                                     std::vector<shared_bytes>& into) {
    std::size_t took = 0;
    if (taken_ < header_size_) {
        took = take_header(bytes);
        if (taken_ < header_size_ || outcome_ != parse_outcome::more) return took;
    }
    const std::uint64_t left = header_size_ + body_.size() - taken_;
    const std::size_t now = std::min<std::size_t>(left, bytes.size() - took);
    copy_bytes(fill_, bytes.data() + took, now);
    fill_ += now;
    taken_ += now;
    if (now == left) {
        into.push_back(std::move(body_));
        taken_ = 0;
    }
    return took + now;
}

// The same of a header. Once it is whole there is a body, or an offence.
std::size_t packet_parser::take_header(std::span<const std::byte> bytes) {
    std::size_t took = 0;
    while (took < bytes.size() && taken_ < header_size_) {
        const std::size_t at = taken_++;
        header_[at] = bytes[took++];
        if (at < magic_size(framing_) && header_[at] != magic[at]) {
            outcome_ = parse_outcome::bad_magic;
            return took;
        }
    }
    if (taken_ < header_size_) return took;
    const std::uint32_t size = body_size_of(framing_, header_.data());
    if (size > packet_size_max_) {
        outcome_ = parse_outcome::too_long;
        return took;
    }
    byte_block* const block = byte_block::make(size);
    fill_ = block->data();
    body_ = shared_bytes(block, fill_, size);
    return took;
}

}  // namespace quoit::detail
