// SPDX-License-Identifier: MIT
//
// payload_buffer: the bytes of one datagram while they are being written; what codecs encode into.
//
//   quoit::payload_buffer out;
//   out.append("PUT ");
//   out.append(key);
//   if (out.overflowed()) ...            // more than a datagram holds: asked once, at the end
//   client.send(out);
//   out.clear();                         // and the next one, in the same memory
//
// It never holds more than one datagram can (payload_buffer::size_max). What would go beyond is not
// appended, and neither is anything after it: overflowed() remembers, until clear(). So a writer
// need not look after each step, and what is never sent is half a packet.
//
// The first payload_buffer::inline_size bytes lie in the object; beyond that memory is allocated
// once and kept by clear(): one that is reused allocates nothing once warm.
//
// Ownership: owns its bytes; moves, does not copy. Views of them last until it is changed.
// Thread safety: none. Errors: appending may throw std::bad_alloc, with nothing changed.
// Units: bytes.
#pragma once

#include <quoit/options.hpp>
#include <quoit/payload.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace quoit {

class payload_buffer {
  public:
    /// What a datagram holds at most, over IPv6; over IPv4 it is 20 bytes less, as sending says.
    static constexpr std::size_t size_max = payload_size_limit;
    static constexpr std::size_t inline_size = 512;

    payload_buffer() noexcept {}  // NOLINT(modernize-use-equals-default): leaves inline_ as it is
    payload_buffer(payload_buffer&& other) noexcept { take(other); }
    payload_buffer& operator=(payload_buffer&& other) noexcept {
        if (this != &other) take(other);
        return *this;
    }
    ~payload_buffer() = default;

    /// May be part of this buffer itself.
    void append(byte_view bytes);
    template <byte_like Byte>
    void push_back(Byte one) {
        if (const std::span<std::byte> room = grow(1); !room.empty()) {
            room.front() = static_cast<std::byte>(one);
        }
    }
    /// `size` bytes more, to be written by the caller: their values are undefined. Empty when they
    /// do not fit, or did not before.
    [[nodiscard]] std::span<std::byte> grow(std::size_t size);
    /// Gives back what grow() had too much of. Does nothing when there is less.
    void truncate(std::size_t size) noexcept {
        if (size < size_) size_ = size;
    }
    /// Empty, and no longer overflowed. Keeps its memory.
    void clear() noexcept {
        size_ = 0;
        overflowed_ = false;
    }

    /// Something was not appended, because it did not fit.
    [[nodiscard]] bool overflowed() const noexcept { return overflowed_; }

    [[nodiscard]] const std::byte* data() const noexcept { return heap_ ? heap_.get() : inline_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool is_empty() const noexcept { return size_ == 0; }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data(), size_}; }
    [[nodiscard]] std::string_view text() const noexcept {
        return {reinterpret_cast<const char*>(data()), size_};
    }
    /// So that it is a range of bytes, and with that a byte_view.
    [[nodiscard]] const std::byte* begin() const noexcept { return data(); }
    [[nodiscard]] const std::byte* end() const noexcept { return data() + size_; }

  private:
    void take(payload_buffer& other) noexcept;
    // Room for `size` bytes in all; returns what held them before, which a caller may still read.
    std::unique_ptr<std::byte[]> reserve(std::size_t size);
    [[nodiscard]] bool refuses(std::size_t more) noexcept {
        if (more > size_max - size_) overflowed_ = true;
        return overflowed_;
    }
    [[nodiscard]] std::byte* writable() noexcept { return heap_ ? heap_.get() : inline_; }

    std::unique_ptr<std::byte[]> heap_;
    std::size_t size_ = 0;
    std::size_t capacity_ = inline_size;
    bool overflowed_ = false;
    std::byte inline_[inline_size];
};

}  // namespace quoit
