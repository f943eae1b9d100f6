// SPDX-License-Identifier: MIT
#include "backend/io_uring/buffer_ring.hpp"

#include "base/assert.hpp"

#include <atomic>
#include <cstddef>
#include <numeric>
#include <vector>

namespace quoit::detail {

// The tail overlays the last 16 bits of the first entry (struct io_uring_buf_ring): adding an entry
// must not write there.
static_assert(sizeof(io_uring_buf) == 16 && offsetof(io_uring_buf, resv) == 14 &&
              offsetof(io_uring_buf_ring, tail) == 14);

result<buffer_ring> buffer_ring::create(ring& owner, buffer_pool& pool, std::uint16_t group) {
    const auto failed = [&pool](int error) {
        return failure(std::error_code(error, std::system_category()),
                       "register a ring of " + std::to_string(pool.count()) + " buffers");
    };
    auto memory = mapped_region::create(pool.count() * sizeof(io_uring_buf));
    if (!memory) return failed(memory.error());
    const int error = owner.register_buffers(memory->bytes().data(),
                                             static_cast<std::uint16_t>(pool.count()), group);
    if (error < 0) return failed(-error);

    buffer_ring made(pool, group, *std::move(memory));
    std::vector<std::uint32_t> all(pool.count());
    std::iota(all.begin(), all.end(), 0U);
    made.add(all);
    return made;
}

void buffer_ring::add(std::span<const std::uint32_t> buffers) noexcept {
    auto* const entries = reinterpret_cast<io_uring_buf*>(memory_.bytes().data());
    const std::uint32_t mask = pool_->count() - 1;
    for (const std::uint32_t buffer : buffers) {
        io_uring_buf& entry = entries[tail_++ & mask];
        entry.addr = reinterpret_cast<std::uintptr_t>(pool_->data(buffer));
        entry.len = pool_->stride();
        entry.bid = static_cast<std::uint16_t>(buffer);
    }
    available_ += static_cast<std::uint32_t>(buffers.size());
    QUOIT_DEBUG_ASSERT(available_ <= pool_->count(), "the kernel was given a buffer twice");
    // Release: the kernel reads the entries after it has read the tail (smp_load_acquire in
    // io_uring/kbuf.c).
    std::atomic_ref(entries[0].resv).store(tail_, std::memory_order_release);
}

void buffer_ring::take(std::uint32_t buffer) noexcept {
    QUOIT_DEBUG_ASSERT(buffer < pool_->count() && available_ > 0,
                       "the kernel returned a buffer it was not given");
    --available_;
    pool_->unpoison(buffer);
}

}  // namespace quoit::detail
