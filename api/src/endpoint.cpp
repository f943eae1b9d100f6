// SPDX-License-Identifier: MIT
#include <quoit/detail/endpoint.hpp>

#include "loop_core.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace quoit::detail {

loop_endpoint::loop_endpoint(loop_core& core, endpoint_id id)
    : port_(&core.get_port()), core_(&core), id_(id) {
    const udp_options in_force = port_->options(id);
    send_high_water_ = in_force.send_high_water;
    send_low_water_ = in_force.send_low_water;
    const std::span<const address> local = port_->local_addresses(id);
    local_.assign(local.begin(), local.end());
}

void loop_endpoint::look_at_local_addresses() noexcept {
    std::ranges::copy(port_->local_addresses(id_), local_.begin());
}

// --- the handle's side ---

void loop_endpoint::close() noexcept {
    if (is_closing_) return;
    port_->close(id_);
    is_closing_ = true;
    look_again();
}

void loop_endpoint::abort() noexcept {
    if (port_ == nullptr || was_aborted_) return;
    was_aborted_ = true;
    is_closing_ = true;
    port_->abort(id_);
    look_again();
}

void loop_endpoint::abandon() noexcept {
    if (port_ == nullptr) return;
    if (!is_closed_ && core_->wants_information()) {
        port_->close(id_);  // so that what is flushed now is in the line
        core_->announce_closing(*this);
    }
    core_->forget_endpoint(*this);
    std::exchange(port_, nullptr)->release(id_);
    core_ = nullptr;
    wake_all_at_end();
}

void loop_endpoint::lose_loop() noexcept {
    port_->close(id_);  // one flush
    last_stats_ = port_->stats(id_);
    abandon();
}

bool loop_endpoint::is_closed() const noexcept {
    return is_closed_ || port_ == nullptr || port_->is_closed(id_);
}

quoit::stats loop_endpoint::stats() const {
    return port_ != nullptr ? port_->stats(id_) : last_stats_;
}

// --- the loop's side ---

void loop_endpoint::became_readable() noexcept { look_again(); }

void loop_endpoint::became_drained() noexcept { look_at_send_queue(); }

void loop_endpoint::became_closed() noexcept {
    if (!is_closed_ && port_ != nullptr) core_->announce_closing(*this);
    is_closed_ = true;
    is_closing_ = true;
    look_again();
    while (waiter* const one = closed_waiters.front())
        one->wake();
    while (waiter* const one = drain_waiters.front())
        one->wake();
}

void loop_endpoint::wake_all_at_end() noexcept {
    is_closing_ = true;
    is_closed_ = true;
    readable_ = 0;
    serve_readers();
    while (waiter* const one = closed_waiters.front())
        one->wake();
    while (waiter* const one = drain_waiters.front())
        one->wake(waiter::outcome::closed);
}

// --- reading ---

void loop_endpoint::look_again() noexcept {
    if (port_ == nullptr) return;
    readable_ = port_->readable_count(id_);
    serve_readers();
}

void loop_endpoint::serve_readers() noexcept {
    while (has_free() && !readers_.is_empty()) {
        auto* const next = static_cast<reader*>(readers_.front());
        ++reserved_;
        next->has_reservation_ = true;
        next->wake();
    }
    if (!is_at_end()) return;
    while (waiter* const one = readers_.front())
        one->wake(waiter::outcome::closed);
}

result<datagram_batch> loop_endpoint::take_batch(std::size_t size_max) {
    const std::size_t free = readable_ - reserved_;
    result<datagram_batch> taken;
    const status outcome = port_->receive_batch(id_, free < size_max ? free : size_max, *taken);
    look_again();
    if (!outcome && taken->is_empty()) return std::unexpected(outcome.error());
    return taken;
}

bool loop_endpoint::reader::wait(std::coroutine_handle<> frame, task_context& context) {
    if (answers_at_once(context, limit_)) {
        return answer() == outcome::canceled && context.has_given_up();
    }
    if (endpoint_ == nullptr) {
        set_answer(outcome::closed);
        return false;
    }
    if (endpoint_->core_ != nullptr && endpoint_->core_ != &current_core()) {
        misused("an endpoint was read by a task of another loop");
    }
    endpoint_->look_again();
    if (endpoint_->has_free() || endpoint_->is_at_end()) {
        set_answer(endpoint_->has_free() ? outcome::ready : outcome::closed);
        return false;
    }
    enlist(frame, context, limit_, &endpoint_->readers_);
    endpoint_->retain();
    has_suspended_ = true;
    return true;
}

void loop_endpoint::reader::settle() noexcept {
    if (!std::exchange(has_reservation_, false)) return;
    --endpoint_->reserved_;
    if (answer() != outcome::ready) {
        endpoint_->serve_readers();  // the one who waits next takes it over
    } else if (endpoint_->readable_ == 0) {
        set_answer(outcome::closed);  // the handle was destroyed, and what was queued with it
    }
}

void loop_endpoint::reader::let_go() noexcept {
    if (has_reservation_) {
        set_answer(outcome::canceled);
        settle();
    }
    endpoint_->release();
}

read_batch_operation::read_batch_operation(loop_endpoint* endpoint, batch_options options) noexcept
    // A size out of range is refused as a time out of range is.
    : reader(endpoint, options.size_max >= 1 && options.size_max <= batch_size_limit
                           ? options.timeout
                           : time_limit(std::chrono::nanoseconds(-1))),
      size_max_(options.size_max) {}

// --- draining ---

bool loop_endpoint::is_drained() noexcept {
    if (port_ == nullptr || port_->send_queue_size(id_) <= send_high_water_) return true;
    port_->flush(id_);
    return port_->send_queue_size(id_) <= send_high_water_;
}

void loop_endpoint::watch_drain() noexcept { core_->watch_drain(*this); }

void loop_endpoint::look_at_send_queue() noexcept {
    if (port_ == nullptr || port_->send_queue_size(id_) > send_low_water_) return;
    while (waiter* const one = drain_waiters.front())
        one->wake();
}

}  // namespace quoit::detail
