// SPDX-License-Identifier: MIT
//
// buffer_pool: the receive buffers of one worker and class, and who holds which.
//
//              take_returned()                      events
//   worker  <------------------ [returned stack]      |
//     |                                ^              v
//     +--> kernel fills buffers        |    port: adopt -> retain/release
//                                      +------------- last release pushes
//
// A buffer is at any time in one of four hands: the backend (or the kernel for it), an event on its
// way, the port (leases > 0), or the stack of returned ones.
//
// Invariants:
//  1. Lease counts are plain integers: they are read and written by the port's thread only.
//  2. The stack is pushed by the port's thread (compare-exchange) and emptied by the worker in one
//     exchange. Nothing pops single elements, so there is no ABA problem.
//  3. The pool outlives the worker and the port: it is freed by abandon() when nothing is leased,
//     otherwise by the last release.
//
// Descriptors that a UNIX message brought are this process's, read or not. So there is one place
// where those that nobody took are closed, whatever became of the datagram: where its buffer is
// given back.
//
// Memory: `count * stride` bytes, mapped at once, used as they are touched. Under AddressSanitizer
// a buffer is poisoned while it is not leased, so that a view that outlives its lease is caught.
#pragma once

#include "base/assert.hpp"
#include "base/cache_line.hpp"
#include "base/mapped_region.hpp"

#include <quoit/error.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <thread>
#include <vector>

namespace quoit::detail {

/// `small` buffers hold a datagram of an ordinary network; `large` ones the largest datagram, or a
/// coalesced train, whole. Those of streams are as long, but given back as soon as they have been
/// parsed, so there are few: the kernel fills those of a ring in turn, and what it comes back to is
/// still in the cache then (packets of 64 KiB: 1.4 times the rate of 256 buffers, Linux 6.18).
enum class buffer_class : std::uint8_t { small, large, stream };
inline constexpr std::size_t buffer_class_count = 3;
inline constexpr std::uint32_t stream_buffer_count = 8;

/// Bytes from one buffer to the next. No powers of two: those collide in the L1 cache.
inline constexpr std::uint32_t small_buffer_stride = 2112;
/// 16 header + 32 name + up to 281 control + 65 527 payload, in whole cache lines.
inline constexpr std::uint32_t large_buffer_stride = 65'856;

class buffer_pool {
  public:
    struct options {
        std::uint32_t count = 0;         // a power of two, at most 32 768
        std::uint32_t stride = 0;        // bytes
        std::uint32_t socket_count = 0;  // sockets that may hold leases, at most 65 536
    };
    struct abandoner {
        void operator()(buffer_pool* pool) const noexcept { pool->abandon(); }
    };
    using owner = std::unique_ptr<buffer_pool, abandoner>;

    /// Errors: the kernel's (ENOMEM).
    [[nodiscard]] static result<owner> create(const options& wanted);

    [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
    [[nodiscard]] std::uint32_t stride() const noexcept { return stride_; }
    [[nodiscard]] std::byte* data(std::uint32_t buffer) const noexcept {
        return memory_.bytes().data() + std::size_t{buffer} * stride_;
    }
    [[nodiscard]] std::span<const std::byte> used(std::uint32_t buffer,
                                                  std::uint32_t length) const noexcept {
        return {data(buffer), length < stride_ ? length : stride_};
    }

    // --- the port's thread ---

    /// An event named this buffer: the port now holds one lease, on account of `socket`.
    void adopt(std::uint32_t buffer, std::uint32_t socket) noexcept;
    void retain(std::uint32_t buffer) noexcept {
        assert_port_thread();
        QUOIT_DEBUG_ASSERT(leases_[buffer].count > 0, "a buffer nobody holds was retained");
        ++leases_[buffer].count;
    }
    /// The port's thread is whichever uses the pool next.
    void let_go_of_thread() noexcept { port_thread_ = {}; }
    /// The last release gives the buffer back to the worker.
    void release(std::uint32_t buffer) noexcept {
        assert_port_thread();
        QUOIT_DEBUG_ASSERT(leases_[buffer].count > 0,
                           "a buffer was released more often than it was held");
        if (--leases_[buffer].count == 0) give_back(buffer);
    }
    /// The buffer holds a message of a UNIX source that may have brought descriptors: they are
    /// closed with the last release, unless gave_descriptors_away() was called before.
    void may_hold_descriptors(std::uint32_t buffer) noexcept {
        leases_[buffer].may_hold_descriptors = true;
    }
    [[nodiscard]] bool holds_descriptors(std::uint32_t buffer) const noexcept {
        return leases_[buffer].may_hold_descriptors;
    }
    /// Somebody else closes them.
    void gave_descriptors_away(std::uint32_t buffer) noexcept {
        leases_[buffer].may_hold_descriptors = false;
    }
    /// Buffers that are leased now, and those leased on account of one socket.
    [[nodiscard]] std::uint32_t leased() const noexcept { return leased_; }
    [[nodiscard]] std::uint32_t leased_by(std::uint32_t socket) const noexcept {
        return by_socket_[socket];
    }
    /// Who to wake when a starved worker could go on; `wake` may be called from release().
    void set_waker(void (*wake)(void*) noexcept, void* context) noexcept;
    /// A starved worker sleeps and something has come back: wake it. Called once per port turn, so
    /// that even less than a quarter of the buffers gets a starved worker going.
    void wake_if_starved() noexcept;
    /// The owner is gone: free the pool now, or with its last lease.
    void abandon() noexcept;

    // --- the worker's thread ---

    /// Empties the stack of returned buffers into `into` (cleared first).
    void take_returned(std::vector<std::uint32_t>& into) noexcept;
    [[nodiscard]] bool has_returned() const noexcept;
    /// Sockets wait for buffers; release() then wakes the worker when a quarter has come back.
    void set_starved(bool is_starved) noexcept;

    // --- whoever hands a buffer to or takes it from the kernel; nothing without ASan ---
    void poison(std::uint32_t buffer) const noexcept;
    void unpoison(std::uint32_t buffer) const noexcept;

  private:
    explicit buffer_pool(const options& wanted, mapped_region memory);
    ~buffer_pool() = default;
    void give_back(std::uint32_t buffer) noexcept;
    void push_returned(std::uint32_t buffer) noexcept;
    void close_descriptors_in(std::uint32_t buffer) noexcept;
#if defined(QUOIT_DEBUG_ASSERTIONS) && QUOIT_DEBUG_ASSERTIONS
    void assert_port_thread() noexcept;
#else
    void assert_port_thread() const noexcept {}
#endif

    static constexpr std::uint32_t none = ~std::uint32_t{0};

    mapped_region memory_;
    std::uint32_t count_;
    std::uint32_t stride_;

    // The port's.
    struct lease {
        std::uint32_t count = 0;
        std::uint16_t socket = 0;
        bool may_hold_descriptors = false;
    };
    std::vector<lease> leases_;
    std::vector<std::uint32_t> by_socket_;
    std::uint32_t leased_ = 0;
    std::uint32_t returned_while_starved_ = 0;
    bool is_abandoned_ = false;
    void (*wake_)(void*) noexcept = nullptr;
    void* wake_context_ = nullptr;
    std::thread::id port_thread_;  // of the first adopt; looked at in debug builds only

    // Between the two threads.
    std::unique_ptr<std::atomic<std::uint32_t>[]> next_;
    alignas(cache_line_size) std::atomic<std::uint32_t> returned_head_{none};
    alignas(cache_line_size) std::atomic<bool> is_starved_{false};
};

}  // namespace quoit::detail
