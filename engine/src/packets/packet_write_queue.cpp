// SPDX-License-Identifier: MIT
#include "packets/packet_write_queue.hpp"

#include "base/assert.hpp"
#include "base/copy_bytes.hpp"
#include "packets/packet_parser.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

namespace quoit::detail {

namespace {

// Bytes of a block: with its own header and malloc's, whole pages. A peer that is sent little does
// with the small one; there may be thousands of them.
constexpr std::size_t small_block_size = 4'096 - 32;
constexpr std::size_t block_size = 16'384 - 32;
static_assert(block_size >= packet_header_size_max + packet_write_queue::shared_size_min);

// Bytes of a table that an empty queue keeps.
constexpr std::size_t table_kept_max = 16'384;
static_assert(block_size + 2 * table_kept_max <= packet_write_queue::memory_kept_max);

}  // namespace

void packet_write_queue::push(byte_view body) { push_from(body.bytes(), nullptr, 0); }

void packet_write_queue::push(const shared_bytes& body) { push_from(body.bytes(), &body, 0); }

void packet_write_queue::push_rest(byte_view body, std::size_t sent) {
    QUOIT_DEBUG_ASSERT(is_empty(), "a packet was begun behind others");
    push_from(body.bytes(), nullptr, sent);
}

void packet_write_queue::push_rest(const shared_bytes& body, std::size_t sent) {
    QUOIT_DEBUG_ASSERT(is_empty(), "a packet was begun behind others");
    push_from(body.bytes(), &body, sent);
}

void packet_write_queue::push_from(std::span<const std::byte> body, const shared_bytes* holder,
                                   std::size_t sent) {
    const std::size_t header_size = packet_header_size(framing_);
    QUOIT_DEBUG_ASSERT(body.size() <= packet_size_limit, "a packet longer than any may be");
    QUOIT_DEBUG_ASSERT(sent < header_size + body.size(), "a packet that was sent whole is queued");
    const auto body_size = static_cast<std::uint32_t>(body.size());
    const std::size_t header_sent = std::min(sent, header_size);
    body = body.subspan(sent - header_sent);
    const std::size_t size = header_size - header_sent + body.size();

    piece shared;
    if (body.size() >= shared_size_min) {
        shared.holder = holder != nullptr ? *holder : shared_bytes::copy_of(body);
        shared.bytes = holder != nullptr ? body : shared.holder.bytes();
        body = {};
    }
    packets_.make_room(1);
    pieces_.make_room(2);
    make_block_room(header_size + body.size());

    // From here on nothing throws.
    packets_.push_back(static_cast<std::uint32_t>(size));
    size_ += size;
    // The header is written whole; what was sent of it is in no piece.
    std::byte* const at = block_->data() + block_used_;
    write_packet_header(framing_, body_size, at);
    copy_bytes(at + header_size, body.data(), body.size());
    block_used_ += header_size + body.size();
    append_stretch({at + header_sent, at + header_size + body.size()});
    if (!shared.bytes.empty()) pieces_.push_back(std::move(shared));
}

void packet_write_queue::make_block_room(std::size_t size) {
    if (block_ != nullptr) {
        if (size <= block_->capacity - block_used_) return;
        // No piece is in it any more; relaxed: no other thread ever has it.
        const bool is_free = block_->references.load(std::memory_order_relaxed) == 1;
        if (is_free && size <= block_->capacity) {
            block_used_ = 0;
            return;
        }
    }
    const bool is_small = block_ == nullptr && size <= small_block_size;
    // Its pieces keep the one before.
    block_.reset(byte_block::make(is_small ? small_block_size : block_size));
    block_used_ = 0;
}

// Bytes in the block, behind those that are in pieces.
void packet_write_queue::append_stretch(std::span<const std::byte> bytes) noexcept {
    if (bytes.empty()) return;
    // Only a piece in this block can end where they begin: in front of its bytes is its own header.
    const std::byte* const begin = bytes.data();
    if (!pieces_.is_empty() && std::to_address(pieces_.back().bytes.end()) == begin) {
        auto& last = pieces_.back().bytes;
        last = {last.data(), last.size() + bytes.size()};
        return;
    }
    block_->retain();
    pieces_.push_back({.bytes = bytes, .holder = {block_.get(), begin, 0}});
}

std::size_t packet_write_queue::gather(std::span<iovec> into) const noexcept {
    const std::span<const piece> all = pieces_.all();
    const std::size_t count = std::min(all.size(), into.size());
    for (std::size_t i = 0; i < count; ++i) {
        // The kernel only reads it, but struct iovec serves both directions.
        into[i] = {.iov_base = const_cast<std::byte*>(all[i].bytes.data()),
                   .iov_len = all[i].bytes.size()};
    }
    return count;
}

std::size_t packet_write_queue::consume(std::size_t bytes) noexcept {
    QUOIT_ASSERT(bytes <= size_, "more was sent than waited");
    size_ -= bytes;
    std::size_t whole = 0;
    std::size_t left = bytes;
    while (left > 0 && left >= packets_.front()) {
        left -= packets_.front();
        packets_.pop_front();
        ++whole;
    }
    if (left > 0) packets_.front() -= static_cast<std::uint32_t>(left);

    left = bytes;
    while (left > 0 && left >= pieces_.front().bytes.size()) {
        left -= pieces_.front().bytes.size();
        pieces_.pop_front();
    }
    if (left > 0) pieces_.front().bytes = pieces_.front().bytes.subspan(left);

    if (is_empty()) {
        packets_.clear(table_kept_max / sizeof(std::uint32_t));
        pieces_.clear(table_kept_max / sizeof(piece));
        block_used_ = 0;
    }
    return whole;
}

std::size_t packet_write_queue::drop() noexcept {
    const std::size_t dropped = count();
    size_ = 0;
    packets_.clear(0);
    pieces_.clear(0);
    block_.reset();
    block_used_ = 0;
    return dropped;
}

}  // namespace quoit::detail
