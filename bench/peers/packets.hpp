// SPDX-License-Identifier: MIT
//
// What the peers with packets over TCP share: a stream of packets ("#!?&", the body's length as
// u32, little-endian, the body), taken apart in the buffer it was received in.
//
//   0            begin_              parsed_         end_          size
//   +--------------+--------------------+--------------+-------------+
//   | answered     | whole packets      | one under way| space()     |
//   +--------------+--------------------+--------------+-------------+
//
// An echo's answer is the packet, so it is sent from here, and all answers to one receive are one
// piece of memory.
//
// Errors: std::runtime_error when what came is no packet.
// Thread safety: none. Units: bytes.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace peer {

static_assert(std::endian::native == std::endian::little, "the length is little-endian");

constexpr std::string_view packet_magic = "#!?&";
constexpr std::size_t packet_head_size = packet_magic.size() + sizeof(std::uint32_t);
constexpr std::size_t packet_body_size_max = std::size_t{16} << 20U;

class packet_buffer {
  public:
    explicit packet_buffer(std::size_t size) : memory_(size) {}

    /// Where to receive; never empty.
    [[nodiscard]] std::span<char> space() noexcept {
        return {memory_.data() + end_, memory_.size() - end_};
    }
    /// So much was received there.
    void received(std::size_t size) {
        end_ += size;
        parse();
    }
    /// Packets that are whole, heads included.
    [[nodiscard]] std::span<const char> whole() const noexcept {
        return {memory_.data() + begin_, parsed_ - begin_};
    }
    /// So much of whole() was answered.
    void answered(std::size_t size) {
        begin_ += size;
        if (begin_ == parsed_) make_space();
    }

  private:
    void parse() {
        for (;;) {
            const std::size_t size = size_of_next();
            if (size == 0 || end_ - parsed_ < size) break;
            parsed_ += size;
        }
        if (begin_ == parsed_) make_space();
    }

    // 0: not known yet.
    [[nodiscard]] std::size_t size_of_next() const {
        if (end_ - parsed_ < packet_head_size) return 0;
        const char* const head = memory_.data() + parsed_;
        std::uint32_t body_size = 0;
        std::memcpy(&body_size, head + packet_magic.size(), sizeof body_size);
        if (std::memcmp(head, packet_magic.data(), packet_magic.size()) != 0 ||
            body_size > packet_body_size_max) {
            throw std::runtime_error("a client sent what is no packet");
        }
        return packet_head_size + body_size;
    }

    // REQUIRES: nothing waits for its answer. Moves as little and as seldom as can be: only a
    // packet under way, and only when it cannot become whole where it is.
    void make_space() {
        if (begin_ == end_) {
            begin_ = parsed_ = end_ = 0;
            return;
        }
        const std::size_t size = std::max(size_of_next(), packet_head_size);
        if (memory_.size() - begin_ > size) return;
        std::memmove(memory_.data(), memory_.data() + begin_, end_ - begin_);
        end_ -= begin_;
        begin_ = parsed_ = 0;
        if (memory_.size() <= size) memory_.resize(2 * size);
    }

    std::vector<char> memory_;
    std::size_t begin_ = 0;
    std::size_t parsed_ = 0;
    std::size_t end_ = 0;
};

}  // namespace peer
