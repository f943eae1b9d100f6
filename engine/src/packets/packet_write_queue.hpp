// SPDX-License-Identifier: MIT
//
// packet_write_queue: the packets that wait for one peer, as the bytes of its stream.
//
//   packet_write_queue queue(packet_framing::packetsocket);
//   queue.push("a body");
//   std::array<iovec, 64> pieces;
//   const std::size_t count = queue.gather(pieces);
//   ... the kernel takes `n` bytes of these pieces ...
//   const std::size_t sent = queue.consume(n);    // packets
//
// Short packets are copied one behind the other into a block: all of them are one piece. A long
// body is a piece of its own, which shares the body (or a copy, if it was pushed as a view); its
// header is at the end of the piece before it.
//
//   push      "ab"       "cd"       100 000 bytes           "ef"
//   block    | header ab header cd header |                 | header ef |
//   pieces   '-------------- 1 ----------'  '----- 2 -----'  '--- 3 ---'
//
// The last block, and the tables, are used again once the queue is empty; what is kept then is
// bounded (memory_kept_max). So packets that leave as fast as they come allocate nothing.
//
// A gathered piece stays valid, and its bytes where they are, until it is consumed or dropped,
// whatever is pushed meanwhile.
//
// Single-threaded. Errors: push() may throw std::bad_alloc, and has then changed nothing.
// Units: bytes.
#pragma once

#include "base/front_vector.hpp"

#include <quoit/packet_options.hpp>
#include <quoit/payload.hpp>
#include <quoit/shared_bytes.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include <sys/uio.h>

namespace quoit::detail {

class packet_write_queue {
  public:
    /// Bytes of a body from which on it is shared instead of copied.
    static constexpr std::size_t shared_size_min = 4096;
    /// Bytes that an empty queue keeps: a block, and the tables.
    static constexpr std::size_t memory_kept_max = 3 * 16'384;

    explicit packet_write_queue(packet_framing framing) noexcept : framing_(framing) {}
    packet_write_queue(const packet_write_queue&) = delete;
    packet_write_queue& operator=(const packet_write_queue&) = delete;
    packet_write_queue(packet_write_queue&&) noexcept = default;
    packet_write_queue& operator=(packet_write_queue&&) noexcept = default;
    ~packet_write_queue() = default;

    /// Copies. REQUIRES: packet_size_limit bytes at most, here and below.
    void push(byte_view body);
    /// Shares a body of at least shared_size_min bytes, copies a shorter one.
    void push(const shared_bytes& body);
    /// What is left of a packet of which the kernel has taken the first `sent` bytes already,
    /// header included. REQUIRES: is_empty(), and something is left.
    void push_rest(byte_view body, std::size_t sent);
    void push_rest(const shared_bytes& body, std::size_t sent);

    [[nodiscard]] bool is_empty() const noexcept { return size_ == 0; }
    /// Bytes that wait, headers included.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// Packets that have not been taken whole.
    [[nodiscard]] std::size_t count() const noexcept { return packets_.size(); }
    /// The first pieces, in order; returns how many there are in `into` now.
    [[nodiscard]] std::size_t gather(std::span<iovec> into) const noexcept;
    /// The kernel took so many bytes, size() at most; returns how many packets are whole with that.
    [[nodiscard]] std::size_t consume(std::size_t bytes) noexcept;
    /// Forgets all, and keeps no memory; returns count().
    std::size_t drop() noexcept;

  private:
    struct piece {
        std::span<const std::byte> bytes;
        shared_bytes holder;  // of the memory they lie in
    };
    struct give_back {
        void operator()(byte_block* block) const noexcept { block->release(); }
    };
    // `holder` has the body; null: nobody does for long, it is copied.
    void push_from(std::span<const std::byte> body, const shared_bytes* holder, std::size_t sent);
    void make_block_room(std::size_t size);
    void append_stretch(std::span<const std::byte> bytes) noexcept;

    packet_framing framing_;
    std::size_t size_ = 0;
    front_vector<std::uint32_t> packets_;  // bytes that wait of each
    front_vector<piece> pieces_;
    // Where short packets are appended.
    std::unique_ptr<byte_block, give_back> block_;
    std::size_t block_used_ = 0;
};

}  // namespace quoit::detail
