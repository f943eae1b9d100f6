// SPDX-License-Identifier: MIT
//
// Owns anonymous private memory from mmap(2): page-aligned, zeroed, given back to the kernel when
// destroyed. For buffer pools and rings, which want pages of their own.
//
// The pages are not touched: each costs memory from its first use only. Empty when
// default-constructed or moved from; the address of the memory does not change when moved.
//
// Thread safety: none for the owner; the bytes are as any memory.
// Errors: create() returns an errno.
// Units: sizes in bytes.
#pragma once

#include <cstddef>
#include <expected>
#include <span>
#include <utility>

namespace quoit::detail {

class [[nodiscard]] mapped_region {
  public:
    mapped_region() noexcept = default;

    mapped_region(mapped_region&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
    mapped_region& operator=(mapped_region&& other) noexcept {
        mapped_region moved(std::move(other));
        std::swap(bytes_, moved.bytes_);
        return *this;
    }
    mapped_region(const mapped_region&) = delete;
    mapped_region& operator=(const mapped_region&) = delete;

    // Unpoisons what was poisoned: the next mapping at this address starts clean.
    ~mapped_region();

    // Maps at least `size` bytes, rounded up to whole pages.
    //
    // Errors (errno):
    //   EINVAL  the size is 0
    //   ENOMEM  no memory, no address space or too many mappings (RLIMIT_AS, vm.max_map_count,
    //           vm.overcommit_memory); also a size that cannot be rounded up
    //   others  as mmap(2) has them
    [[nodiscard]] static std::expected<mapped_region, int> create(std::size_t size) noexcept;

    // All of it, rounding included; empty if nothing is held. Valid until the owner is destroyed or
    // assigned to.
    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }

  private:
    explicit mapped_region(std::span<std::byte> bytes) noexcept : bytes_(bytes) {}

    std::span<std::byte> bytes_;
};

}  // namespace quoit::detail
