// SPDX-License-Identifier: MIT
#include "backend/io_uring/ring.hpp"

#include "base/assert.hpp"
#include "net/system.hpp"

#include <array>
#include <cerrno>
#include <cstring>

namespace quoit::detail {

result<std::unique_ptr<ring>> ring::create(unsigned submissions, unsigned completions) {
    constexpr unsigned always = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL |
                                IORING_SETUP_R_DISABLED | IORING_SETUP_CLAMP;
    constexpr std::array<unsigned, 3> ladder{
        always | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_TASKRUN_FLAG |
            IORING_SETUP_DEFER_TASKRUN,
        always | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_COOP_TASKRUN,
        always,
    };
    std::unique_ptr<ring> made(new ring);
    int error = -EINVAL;
    for (std::size_t rung = 0; rung < ladder.size() && error == -EINVAL; ++rung) {
        io_uring_params parameters{};
        parameters.flags = ladder[rung];
        parameters.cq_entries = completions;
        error = system::ring_open(submissions, &made->ring_, &parameters);
    }
    if (error < 0) {
        return failure(std::error_code(-error, std::system_category()), "set up an io_uring");
    }
    made->is_open_ = true;
    return made;
}

ring::~ring() {
    if (is_open_) system::ring_close(&ring_);
}

void ring::enable() noexcept {
    const int error = try_enable();
    QUOIT_ASSERT(error == 0, "an io_uring could not be enabled");
}

int ring::try_enable() noexcept {
    if (is_enabled_) return 0;
    const int error = system::ring_enable(&ring_);
    is_enabled_ = error == 0;
    return error;
}

int ring::post() noexcept {
    ++system_calls_;
    return system::ring_get_events(&ring_);
}

io_uring_sqe& ring::prepare() noexcept {
    io_uring_sqe* next = io_uring_get_sqe(&ring_);
    // A full queue empties when it is submitted; EBUSY and EAGAIN (the completion queue has
    // overflowed, memory is short) pass when completions are flushed.
    constexpr int attempts_max = 1000;
    for (int attempt = 0; next == nullptr && attempt < attempts_max; ++attempt) {
        submit();
        next = io_uring_get_sqe(&ring_);
        if (next == nullptr) {
            [[maybe_unused]] const int error = system::ring_get_events(&ring_);
            ++system_calls_;
        }
    }
    QUOIT_ASSERT(next != nullptr, "the kernel takes no submissions");
    std::memset(next, 0, sizeof *next);
    return *next;
}

void ring::submit() noexcept {
    enable();
    [[maybe_unused]] const int error = system::ring_submit(&ring_);
    ++system_calls_;
}

int ring::turn(std::chrono::steady_clock::time_point deadline) noexcept {
    using clock = std::chrono::steady_clock;
    enable();
    // Completions that are already there (of a cancel_now, say) are not waited for.
    const bool must_not_wait = io_uring_cq_ready(&ring_) > 0;
    if (deadline == clock::time_point::min() && !must_not_wait && has_nothing_new()) return 0;
    ++system_calls_;
    if (deadline == clock::time_point::max() && !must_not_wait) {
        return system::ring_submit_and_wait(&ring_, nullptr);
    }
    const timespec left = must_not_wait ? timespec{} : system::time_until(deadline);
    if (left.tv_sec == 0 && left.tv_nsec == 0) return system::ring_submit_and_get_events(&ring_);
    __kernel_timespec timeout{.tv_sec = left.tv_sec, .tv_nsec = left.tv_nsec};
    return system::ring_submit_and_wait(&ring_, &timeout);
}

// What is posted is announced by the flag: an acquire load, after which the queue is looked at anew
// by whoever enters. Requests that completed without a task run (none of ours) are in the queue.
bool ring::has_nothing_new() const noexcept {
    if (!has_taskrun_flag() || io_uring_sq_ready(&ring_) > 0) return false;
    const unsigned flags = __atomic_load_n(ring_.sq.kflags, __ATOMIC_ACQUIRE);
    return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) == 0;
}

bool ring::has_something_new() const noexcept {
    if (io_uring_sq_ready(&ring_) > 0 || io_uring_cq_ready(&ring_) > 0) return true;
    const unsigned flags = __atomic_load_n(ring_.sq.kflags, __ATOMIC_ACQUIRE);
    return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

int ring::signal_to(int event_fd) noexcept { return system::ring_register_event(&ring_, event_fd); }

int ring::poll_cards(std::uint32_t time_us) noexcept {
    return system::ring_poll_cards(&ring_, time_us);
}

int ring::cancel_now(int fd) noexcept {
    io_uring_sync_cancel_reg what{};
    what.fd = fd;
    what.flags = fd < 0 ? unsigned{IORING_ASYNC_CANCEL_ANY}
                        : unsigned{IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL};
    what.timeout.tv_sec = -1;  // none
    what.timeout.tv_nsec = -1;
    const int result = system::ring_cancel_now(&ring_, &what);
    // Posts the completions. Without it the port stays bound after close(2): the cancelled request
    // still holds the file (measured on Linux 6.18).
    [[maybe_unused]] const int error = system::ring_get_events(&ring_);
    system_calls_ += 2;
    return result;
}

int ring::register_buffers(void* entries, std::uint16_t count, std::uint16_t group) noexcept {
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<std::uintptr_t>(entries);
    registration.ring_entries = count;
    registration.bgid = group;
    return system::ring_register_buffers(&ring_, &registration);
}

}  // namespace quoit::detail
