// SPDX-License-Identifier: MIT
//
// buffer_ring: the buffers of one pool that the kernel may fill, in a ring the two share (Linux
// 5.19, io_uring_register_buf_ring). The kernel takes from the head, we add at the tail; both run
// freely and wrap.
//
//        taken by the kernel       for the kernel to fill
//   --------------------------+-----------------------------+----------
//                             head (the kernel's)           tail (ours)
//
// Each entry names a buffer by number, so the order in which they come back does not matter.
//
// Thread safety: the ring's thread.
#pragma once

#include "backend/buffer_pool.hpp"
#include "backend/io_uring/ring.hpp"
#include "base/mapped_region.hpp"

#include <cstdint>
#include <span>

namespace quoit::detail {

class buffer_ring {
  public:
    /// Registers with `ring` as buffer group `group` and gives it every buffer of `pool`.
    /// Errors: ENOMEM (RLIMIT_MEMLOCK), EINVAL (no buffer rings: kernels before 5.19, and some
    /// vendor kernels that have the ring but not this).
    [[nodiscard]] static result<buffer_ring> create(ring& owner, buffer_pool& pool,
                                                    std::uint16_t group);

    [[nodiscard]] std::uint16_t group() const noexcept { return group_; }
    /// Buffers that the kernel has to fill.
    [[nodiscard]] std::uint32_t available() const noexcept { return available_; }

    void add(std::span<const std::uint32_t> buffers) noexcept;
    /// The kernel has filled this one: a completion names it.
    void take(std::uint32_t buffer) noexcept;
    [[nodiscard]] buffer_pool& pool() const noexcept { return *pool_; }

  private:
    buffer_ring(buffer_pool& pool, std::uint16_t group, mapped_region memory) noexcept
        : pool_(&pool), memory_(std::move(memory)), group_(group) {}

    buffer_pool* pool_;
    mapped_region memory_;  // the entries; unmapped after the ring is closed
    std::uint16_t group_;
    std::uint16_t tail_ = 0;
    std::uint32_t available_ = 0;
};

}  // namespace quoit::detail
