// SPDX-License-Identifier: MIT
//
// io_uring's entries into the kernel: with net/system.hpp the whole seam. One line each; results
// are the call's, or the negated errno.
//
// Constants newer than liburing 2.3 stand here. What a kernel can do is found by trying
// (backend/select.cpp), never from a version number.
#pragma once

#include <liburing.h>

#include <cstdint>

namespace quoit::detail::system {

[[nodiscard]] int ring_open(unsigned entries, io_uring* ring, io_uring_params* parameters) noexcept;
void ring_close(io_uring* ring) noexcept;
[[nodiscard]] int ring_enable(io_uring* ring) noexcept;
/// Submits what is prepared; does not wait, does not run completions.
[[nodiscard]] int ring_submit(io_uring* ring) noexcept;
/// Submits and lets the kernel post what is ready; does not wait.
[[nodiscard]] int ring_submit_and_get_events(io_uring* ring) noexcept;
/// Submits and waits for one completion, or until the time is up (-ETIME); null: for ever.
[[nodiscard]] int ring_submit_and_wait(io_uring* ring, __kernel_timespec* timeout) noexcept;
[[nodiscard]] int ring_get_events(io_uring* ring) noexcept;
[[nodiscard]] int ring_register_buffers(io_uring* ring, io_uring_buf_reg* registration) noexcept;
/// Raises the eventfd whenever a completion comes, or is to be posted by the ring's thread.
[[nodiscard]] int ring_register_event(io_uring* ring, int event_fd) noexcept;
/// Cancels and returns when that has happened (Linux 6.0).
[[nodiscard]] int ring_cancel_now(io_uring* ring, io_uring_sync_cancel_reg* what) noexcept;
/// Waiting polls the network cards for so many microseconds (IORING_REGISTER_NAPI, Linux 6.9).
/// EINVAL: this kernel does not know it.
[[nodiscard]] int ring_poll_cards(io_uring* ring, std::uint32_t time_us) noexcept;

}  // namespace quoit::detail::system
