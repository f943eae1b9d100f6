// SPDX-License-Identifier: MIT
#include "backend/buffer_pool.hpp"

#include "base/poison.hpp"
#include "net/ancillary.hpp"
#include "net/message.hpp"

#include <quoit/datagram.hpp>

namespace quoit::detail {

result<buffer_pool::owner> buffer_pool::create(const options& wanted) {
    QUOIT_ASSERT(wanted.count > 0 && wanted.stride > 0, "a buffer pool without buffers");
    QUOIT_ASSERT(wanted.socket_count <= 65'536, "a lease has 16 bits for its socket");
    auto memory = mapped_region::create(std::size_t{wanted.count} * wanted.stride);
    if (!memory) {
        return failure(std::error_code(memory.error(), std::system_category()),
                       "map " + std::to_string(wanted.count) + " receive buffers of " +
                           std::to_string(wanted.stride) + " bytes");
    }
    return owner(new buffer_pool(wanted, *std::move(memory)));
}

buffer_pool::buffer_pool(const options& wanted, mapped_region memory)
    : memory_(std::move(memory)), count_(wanted.count), stride_(wanted.stride),
      leases_(wanted.count), by_socket_(wanted.socket_count),
      next_(std::make_unique<std::atomic<std::uint32_t>[]>(wanted.count)) {
    for (std::uint32_t buffer = 0; buffer < count_; ++buffer)
        poison(buffer);
}

#if defined(QUOIT_DEBUG_ASSERTIONS) && QUOIT_DEBUG_ASSERTIONS
void buffer_pool::assert_port_thread() noexcept {
    if (port_thread_ == std::thread::id()) port_thread_ = std::this_thread::get_id();
    QUOIT_ASSERT(
        port_thread_ == std::this_thread::get_id(),
        "a datagram was used or dropped on a foreign thread: to_owned() makes a copy for it");
}
#endif

void buffer_pool::adopt(std::uint32_t buffer, std::uint32_t socket) noexcept {
    assert_port_thread();
    QUOIT_DEBUG_ASSERT(buffer < count_ && leases_[buffer].count == 0,
                       "an event named a buffer that is leased already");
    leases_[buffer] = {.count = 1, .socket = static_cast<std::uint16_t>(socket)};
    ++by_socket_[socket];
    ++leased_;
}

void buffer_pool::give_back(std::uint32_t buffer) noexcept {
    if (leases_[buffer].may_hold_descriptors) [[unlikely]]
        close_descriptors_in(buffer);
    --by_socket_[leases_[buffer].socket];
    --leased_;
    if (is_abandoned_) {
        if (leased_ == 0) delete this;
        return;
    }
    poison(buffer);
    push_returned(buffer);
    // Sequentially consistent, as are the push above, set_starved() and the worker's look at the
    // stack after it: either the worker sees the buffer, or this sees the flag.
    if (!is_starved_.load(std::memory_order_seq_cst)) {
        returned_while_starved_ = 0;
    } else if (++returned_while_starved_ >= count_ / 4) {
        wake_if_starved();
    }
}

void buffer_pool::close_descriptors_in(std::uint32_t buffer) noexcept {
    const unix_message message =
        unix_message_before(data(buffer) + message_layout::unix_control_offset,
                            stride_ - message_layout::unix_control_offset);
    close_descriptors(message.control);
    gave_descriptors_away(buffer);
}

void buffer_pool::push_returned(std::uint32_t buffer) noexcept {
    std::uint32_t head = returned_head_.load(std::memory_order_relaxed);
    do {
        // Relaxed: published by the exchange below.
        next_[buffer].store(head, std::memory_order_relaxed);
        // Release (and more): pairs with the acquire in take_returned; the reader is done with the
        // buffer, and next_ is written, before the worker gets it. Sequentially consistent for
        // release()'s look at is_starved_.
    } while (!returned_head_.compare_exchange_weak(head, buffer, std::memory_order_seq_cst,
                                                   std::memory_order_relaxed));
}

void buffer_pool::set_waker(void (*wake)(void*) noexcept, void* context) noexcept {
    wake_ = wake;
    wake_context_ = context;
}

void buffer_pool::wake_if_starved() noexcept {
    if (!is_starved_.load(std::memory_order_seq_cst) || !has_returned()) return;
    returned_while_starved_ = 0;
    if (wake_ != nullptr) wake_(wake_context_);
}

void buffer_pool::abandon() noexcept {
    is_abandoned_ = true;
    wake_ = nullptr;
    if (leased_ == 0) delete this;
}

void buffer_pool::take_returned(std::vector<std::uint32_t>& into) noexcept {
    into.clear();
    if (!has_returned()) return;
    // Acquire: pairs with the release in push_returned.
    std::uint32_t buffer = returned_head_.exchange(none, std::memory_order_acquire);
    while (buffer != none) {
        into.push_back(buffer);  // never allocates: the worker has reserved count()
        buffer = next_[buffer].load(std::memory_order_relaxed);
    }
}

bool buffer_pool::has_returned() const noexcept {
    // Sequentially consistent: the worker's second look after set_starved.
    return returned_head_.load(std::memory_order_seq_cst) != none;
}

void buffer_pool::set_starved(bool is_starved) noexcept {
    is_starved_.exchange(is_starved, std::memory_order_seq_cst);
}

void buffer_pool::poison(std::uint32_t buffer) const noexcept {
    poison_memory(data(buffer), stride_);
}

void buffer_pool::unpoison(std::uint32_t buffer) const noexcept {
    unpoison_memory(data(buffer), stride_);
}

void release_buffer(buffer_pool& pool, std::uint32_t buffer) noexcept { pool.release(buffer); }

}  // namespace quoit::detail
