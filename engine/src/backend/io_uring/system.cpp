// SPDX-License-Identifier: MIT
#include "backend/io_uring/system.hpp"

namespace quoit::detail::system {

namespace {

// struct io_uring_napi and its operation, since Linux 6.9 (<linux/io_uring.h>).
constexpr unsigned register_napi = 27;
struct napi_options {
    std::uint32_t busy_poll_time_us;
    std::uint8_t prefers_busy_poll;
    std::uint8_t padding[3];
    std::uint64_t reserved;
};
static_assert(sizeof(napi_options) == 16);

}  // namespace

int ring_open(unsigned entries, io_uring* ring, io_uring_params* parameters) noexcept {
    return io_uring_queue_init_params(entries, ring, parameters);
}

void ring_close(io_uring* ring) noexcept { io_uring_queue_exit(ring); }

// Not io_uring_enable_rings: liburing 2.3 declares it, but its shared library does not export it.
int ring_enable(io_uring* ring) noexcept {
    return io_uring_register(static_cast<unsigned>(ring->ring_fd), IORING_REGISTER_ENABLE_RINGS,
                             nullptr, 0);
}

int ring_submit(io_uring* ring) noexcept { return io_uring_submit(ring); }

int ring_submit_and_get_events(io_uring* ring) noexcept {
    return io_uring_submit_and_get_events(ring);
}

int ring_submit_and_wait(io_uring* ring, __kernel_timespec* timeout) noexcept {
    if (timeout == nullptr) return io_uring_submit_and_wait(ring, 1);
    io_uring_cqe* first = nullptr;
    return io_uring_submit_and_wait_timeout(ring, &first, 1, timeout, nullptr);
}

int ring_get_events(io_uring* ring) noexcept { return io_uring_get_events(ring); }

int ring_register_buffers(io_uring* ring, io_uring_buf_reg* registration) noexcept {
    return io_uring_register_buf_ring(ring, registration, 0);
}

int ring_register_event(io_uring* ring, int event_fd) noexcept {
    return io_uring_register_eventfd(ring, event_fd);
}

int ring_cancel_now(io_uring* ring, io_uring_sync_cancel_reg* what) noexcept {
    return io_uring_register_sync_cancel(ring, what);
}

int ring_poll_cards(io_uring* ring, std::uint32_t time_us) noexcept {
    napi_options wanted{
        .busy_poll_time_us = time_us, .prefers_busy_poll = 0, .padding = {}, .reserved = 0};
    return io_uring_register(static_cast<unsigned>(ring->ring_fd), register_napi, &wanted, 1);
}

}  // namespace quoit::detail::system
