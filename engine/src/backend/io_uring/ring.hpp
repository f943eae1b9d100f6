// SPDX-License-Identifier: MIT
//
// ring: a submission and a completion queue, set up as well as this kernel can.
//
// The ladder, best first. Each rung is tried; EINVAL means "this kernel does not know a flag".
//   1. SINGLE_ISSUER | DEFER_TASKRUN (Linux 6.1): completions are posted only when this thread
//      enters with GETEVENTS, so nothing interrupts it
//   2. SINGLE_ISSUER | COOP_TASKRUN  (Linux 6.0, 5.19)
//   3. neither
// The first two with TASKRUN_FLAG (5.19): the kernel raises a flag in shared memory when it has
// something to post, so that a thread which spins enters the kernel only then.
// On all: CQSIZE, SUBMIT_ALL (5.18: one refused SQE does not stop the batch), and R_DISABLED
// (5.10), so that the issuer is the thread that first turns the ring, not the one that made it.
// Never SQPOLL (a spinning kernel thread per ring) and never IOU_PBUF_RING_INC (a datagram is a
// whole buffer).
//
// Threads: create() on any; everything else on one, which enable() fixes: another thread, or a
// forked child, gets EEXIST (SINGLE_ISSUER).
#pragma once

#include "backend/io_uring/system.hpp"

#include <quoit/error.hpp>

#include <chrono>
#include <cstdint>
#include <memory>

namespace quoit::detail {

class ring {
  public:
    /// Errors: EPERM (seccomp, kernel.io_uring_disabled), ENOSYS, ENOMEM (RLIMIT_MEMLOCK), EMFILE.
    [[nodiscard]] static result<std::unique_ptr<ring>> create(unsigned submissions,
                                                              unsigned completions);
    ring(const ring&) = delete;
    ring& operator=(const ring&) = delete;
    ~ring();

    [[nodiscard]] bool has_defer_taskrun() const noexcept {
        return (ring_.flags & IORING_SETUP_DEFER_TASKRUN) != 0;
    }
    [[nodiscard]] bool has_unsubmitted() const noexcept { return io_uring_sq_ready(&ring_) > 0; }
    [[nodiscard]] bool is_enabled() const noexcept { return is_enabled_; }
    /// The kernel says so when it has something to post; otherwise has_nothing_new() is never true.
    [[nodiscard]] bool has_taskrun_flag() const noexcept {
        return (ring_.flags & IORING_SETUP_TASKRUN_FLAG) != 0;
    }
    /// Makes the calling thread the ring's. Idempotent.
    void enable() noexcept;
    /// The same, for the self-test: returns the negated errno of a kernel, or a filter, that
    /// refuses.
    [[nodiscard]] int try_enable() noexcept;
    /// Lets the kernel post what is ready; does not wait. Returns the negated errno.
    [[nodiscard]] int post() noexcept;

    /// A submission to fill, zeroed; submits what is there when the queue is full.
    [[nodiscard]] io_uring_sqe& prepare() noexcept;
    /// Submits; waits for a completion until the deadline unless one is there already. EINTR,
    /// EAGAIN and EBUSY are never fatal: the caller handles what there is and comes back. Returns
    /// the negated errno for the curious.
    int turn(std::chrono::steady_clock::time_point deadline) noexcept;
    void submit() noexcept;

    /// Calls f(const io_uring_cqe&) for each completion there is now; returns how many.
    template <class F>
    unsigned consume(F&& f) {
        unsigned head = 0;
        unsigned count = 0;
        io_uring_cqe* completion = nullptr;
        const unsigned there = io_uring_cq_ready(&ring_);
        io_uring_for_each_cqe(&ring_, head, completion) {
            if (count == there) break;
            ++count;
            f(*completion);
        }
        io_uring_cq_advance(&ring_, count);
        return count;
    }
    /// Looks without taking: whether some completion that is there satisfies f.
    template <class F>
    [[nodiscard]] bool any_of(F&& f) {
        unsigned head = 0;
        io_uring_cqe* completion = nullptr;
        io_uring_for_each_cqe(&ring_, head, completion) {
            if (f(*completion)) return true;
        }
        return false;
    }

    /// Completions wait in the kernel because the queue was full; the next turn brings them.
    [[nodiscard]] bool has_overflow() const noexcept { return io_uring_cq_has_overflow(&ring_); }

    /// Raises the eventfd whenever there is something new, whatever thread waits for it. The ring's
    /// own descriptor cannot be waited for: with DEFER_TASKRUN it becomes readable when completions
    /// are posted, which only a turn does (measured on Linux 6.18). The kernel may put the signal
    /// off, or leave it out, when another eventfd is what woke it (the same measurement; it must
    /// not write one from within another's wake-up): wait for such an eventfd itself.
    /// Errors: ENOMEM.
    [[nodiscard]] int signal_to(int event_fd) noexcept;
    /// A turn would bring something without waiting, or submit what is prepared.
    [[nodiscard]] bool has_something_new() const noexcept;

    /// Cancels every operation on this descriptor (or, with -1, every operation) before it returns;
    /// their completions are then in the queue. Returns the negated errno.
    int cancel_now(int fd) noexcept;

    /// Before enable(). Errors: EINVAL, the kernel is too old.
    [[nodiscard]] int poll_cards(std::uint32_t time_us) noexcept;
    [[nodiscard]] int register_buffers(void* entries, std::uint16_t count,
                                       std::uint16_t group) noexcept;

    /// Entries into the kernel so far.
    [[nodiscard]] std::uint64_t system_calls() const noexcept { return system_calls_; }

  private:
    ring() = default;
    [[nodiscard]] bool has_nothing_new() const noexcept;
    io_uring ring_{};
    std::uint64_t system_calls_ = 0;
    bool is_open_ = false;
    bool is_enabled_ = false;
};

}  // namespace quoit::detail
