// SPDX-License-Identifier: MIT
//
// shared_bytes: bytes that do not change, held by whoever has a copy of the handle. The body of a
// packet: reading it, keeping it, and sending it on to a thousand peers copy no byte of it.
//
// Bodies that arrived together may share one block of memory, which is freed with the last of them:
// who keeps one of many for long copies it (shared_bytes::copy_of(kept)).
//
// Ownership: shared; copies are cheap (one atomic increment), moves are free.
// Thread safety: as of std::shared_ptr: different handles may be used, copied and dropped on
// different threads; the bytes are never written to.
// Errors: making one may throw std::bad_alloc; nothing else does.
// Units: bytes.
#pragma once

#include <quoit/detail/archive_version.hpp>
#include <quoit/payload.hpp>

#include <atomic>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

namespace quoit {

namespace detail {

/// Memory for bytes behind this header; freed with the last reference.
struct byte_block {
    std::atomic<std::size_t> references{1};
    std::size_t capacity = 0;

    /// Its bytes are not initialised, and take no memory before they are written. May throw
    /// std::bad_alloc.
    [[nodiscard]] static byte_block* make(std::size_t capacity);
    [[nodiscard]] std::byte* data() noexcept { return reinterpret_cast<std::byte*>(this + 1); }
    void retain() noexcept {
        // Relaxed: whoever copies a reference has one already.
        references.fetch_add(1, std::memory_order_relaxed);
    }
    /// Acquire and release: the last one to go must see that the others are done reading.
    void release() noexcept {
        if (references.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy(this);
    }
    static void destroy(byte_block* block) noexcept;
};

}  // namespace detail

class shared_bytes {
  public:
    /// None.
    shared_bytes() noexcept = default;
    [[nodiscard]] static shared_bytes copy_of(byte_view bytes);
    shared_bytes(const shared_bytes& other) noexcept
        : block_(other.block_), data_(other.data_), size_(other.size_) {
        if (block_ != nullptr) block_->retain();
    }
    shared_bytes(shared_bytes&& other) noexcept
        : block_(std::exchange(other.block_, nullptr)), data_(std::exchange(other.data_, nullptr)),
          size_(std::exchange(other.size_, 0)) {}
    shared_bytes& operator=(shared_bytes other) noexcept {
        std::swap(block_, other.block_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~shared_bytes() {
        if (block_ != nullptr) block_->release();
    }

    [[nodiscard]] const std::byte* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool is_empty() const noexcept { return size_ == 0; }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
    [[nodiscard]] std::string_view text() const noexcept {
        return {reinterpret_cast<const char*>(data_), size_};
    }
    /// So that it is a range of bytes, and with that a byte_view.
    [[nodiscard]] const std::byte* begin() const noexcept { return data_; }
    [[nodiscard]] const std::byte* end() const noexcept { return data_ + size_; }

    /// For the engine: takes over one reference of `block`; `data` lies in it.
    shared_bytes(detail::byte_block* block, const std::byte* data, std::size_t size) noexcept
        : block_(block), data_(data), size_(size) {}

  private:
    detail::byte_block* block_ = nullptr;
    const std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace quoit
