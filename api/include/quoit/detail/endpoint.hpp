// SPDX-License-Identifier: MIT
//
// loop_endpoint: what a loop knows of one endpoint of its port, and the awaits on it.
//
// A reader that is woken holds a RESERVATION of one item of the endpoint's queue, not a datagram.
// When it is destroyed or cancelled before it runs, the reservation passes to the next one that
// waits. Nothing is lost, nothing has to be put back, and the order is kept.
//
//   queue of the port:   [ reserved_ ............ | free for a read that does not wait ]
//                         <------------- readable_ ------------------------------------>
//
// Invariants:
//   1. reserved_ readers are on the ready list, each with one reservation.
//   2. readable_ is at most what the port would hand over: only reading makes that less. It is
//      brought up to date by the port's events, and before anybody suspends.
//   3. If a reader waits, nothing is free: readable_ <= reserved_.
//   4. A reader waits and the end has come (closed, readable_ == 0): never both.
//
// Ownership: counted with a plain integer; by the handle (udp_socket), by awaits that are suspended
// and by iterations. An await that does not suspend counts nothing, allocates nothing, locks
// nothing.
// Thread safety: none; the loop's thread.
#pragma once

#include <quoit/address.hpp>
#include <quoit/datagram.hpp>
#include <quoit/detail/chain.hpp>
#include <quoit/detail/counted.hpp>
#include <quoit/detail/scheduler.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>
#include <quoit/port.hpp>
#include <quoit/stats.hpp>
#include <quoit/task.hpp>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace quoit::detail {

class loop_core;
struct while_draining;

class loop_endpoint : public chain_link<while_draining> {
  public:
    class reader;

    loop_endpoint(loop_core& core, endpoint_id id);

    void retain() noexcept { ++references_; }
    void release() noexcept {
        if (--references_ == 0) delete this;
    }

    // --- the handle's side ---
    void close() noexcept;
    void abort() noexcept;
    /// The handle is gone: frees the port, wakes everybody.
    void abandon() noexcept;
    [[nodiscard]] bool is_closing() const noexcept { return is_closing_; }
    /// What was queued is flushed or dropped, the ports can be bound again.
    [[nodiscard]] bool is_closed() const noexcept;
    /// Null when the loop or the handle is gone; then `id` means nothing either.
    [[nodiscard]] port* live_port() const noexcept { return port_; }
    [[nodiscard]] endpoint_id id() const noexcept { return id_; }
    [[nodiscard]] loop_core* core() const noexcept { return core_; }
    [[nodiscard]] std::span<const address> local_addresses() const noexcept { return local_; }
    /// They may have changed with the peer. In place: somebody may look at them.
    void look_at_local_addresses() noexcept;
    [[nodiscard]] quoit::stats stats() const;

    // --- the loop's side ---
    void became_readable() noexcept;
    void became_drained() noexcept;
    void became_closed() noexcept;
    /// The loop is going; the port lives a little longer.
    void lose_loop() noexcept;

    // --- reading ---
    [[nodiscard]] bool has_free() const noexcept { return readable_ > reserved_; }
    /// Asks the port, and serves who waits.
    void look_again() noexcept;
    /// One item that is free. REQUIRES: has_free(), after giving up one's own reservation.
    [[nodiscard]] result<datagram> take() {
        result<datagram> taken = port_->receive(id_);
        --readable_;
        if (is_closing_ && readable_ == 0) serve_readers();
        return taken;
    }
    [[nodiscard]] result<datagram_batch> take_batch(std::size_t size_max);
    [[nodiscard]] bool is_at_end() const noexcept { return is_closing_ && readable_ == 0; }

    // --- waiting for other things ---
    [[nodiscard]] bool is_drained() noexcept;
    [[nodiscard]] bool was_aborted() const noexcept { return was_aborted_; }
    chain<waiter> closed_waiters;
    chain<waiter> drain_waiters;
    void watch_drain() noexcept;
    /// Wakes who drains, if there is no more than send_low_water queued.
    void look_at_send_queue() noexcept;

  private:
    ~loop_endpoint() = default;
    void serve_readers() noexcept;
    void wake_all_at_end() noexcept;

    port* port_;
    loop_core* core_;
    endpoint_id id_;
    std::size_t readable_ = 0;
    std::size_t reserved_ = 0;
    chain<waiter> readers_;
    bool is_closing_ = false;
    bool is_closed_ = false;
    bool was_aborted_ = false;
    std::uint32_t references_ = 0;
    std::uint32_t send_high_water_ = 0;
    std::uint32_t send_low_water_ = 0;
    std::vector<address> local_;
    quoit::stats last_stats_;
};

/// What reading one datagram and reading a batch have in common.
class loop_endpoint::reader : public waiter {
  public:
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <task_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> frame) {
        task_context& context = *frame.promise().context;
        if (endpoint_ != nullptr && endpoint_->has_free() && !answers_at_once(context, limit_))
            [[likely]] {
            set_answer(outcome::ready);
            return false;
        }
        return wait(frame, context);
    }

  protected:
    /// `endpoint` may be null: closed. It is not counted before the await suspends, because its
    /// handle was asked in the same expression.
    reader(loop_endpoint* endpoint, time_limit limit) noexcept
        : endpoint_(endpoint), limit_(limit) {}
    explicit reader(loop_endpoint* endpoint) noexcept : endpoint_(endpoint) {}
    ~reader() {
        if (has_suspended_) let_go();
    }
    /// After the await: may something be taken? Otherwise answer_as_status() says why not.
    [[nodiscard]] bool may_take() noexcept {
        if (has_suspended_) settle();
        return answer() == outcome::ready;
    }
    [[nodiscard]] loop_endpoint& endpoint() const noexcept { return *endpoint_; }

  private:
    friend class loop_endpoint;
    bool wait(std::coroutine_handle<> frame, task_context& context);
    void settle() noexcept;
    void let_go() noexcept;

    loop_endpoint* endpoint_;
    time_limit limit_;
    bool has_suspended_ = false;  // and holds a reference
    bool has_reservation_ = false;
};

/// Datagrams that one call may ask for.
inline constexpr std::uint32_t batch_size_limit = 65'536;

class [[nodiscard("co_await it")]] read_operation final : public loop_endpoint::reader {
  public:
    /// As long as it takes. Not a default argument of the other: copying options that were just
    /// written, in pieces, waits for the stores, a fifth of what a read() costs.
    explicit read_operation(loop_endpoint* endpoint) noexcept : reader(endpoint) {}
    read_operation(loop_endpoint* endpoint, wait_options options) noexcept
        : reader(endpoint, options.timeout) {}
    result<datagram> await_resume() {
        if (may_take()) [[likely]]
            return endpoint().take();
        return std::unexpected(answer_as_status().error());
    }
};

class [[nodiscard("co_await it")]] read_batch_operation final : public loop_endpoint::reader {
  public:
    read_batch_operation(loop_endpoint* endpoint, batch_options options) noexcept;
    result<datagram_batch> await_resume() {
        if (may_take()) [[likely]]
            return endpoint().take_batch(size_max_);
        return std::unexpected(answer_as_status().error());
    }

  private:
    std::size_t size_max_;
};

/// Waits on one of an endpoint's other lists; keeps the endpoint while it is suspended.
class endpoint_waiter : public waiter {
  protected:
    explicit endpoint_waiter(loop_endpoint* endpoint) noexcept : endpoint_(endpoint) {}
    counted_ptr<loop_endpoint> endpoint_;
};

class [[nodiscard("co_await it")]] closed_operation final : public endpoint_waiter {
  public:
    explicit closed_operation(loop_endpoint* endpoint) noexcept : endpoint_waiter(endpoint) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <task_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> frame) {
        return start(frame, *frame.promise().context, time_limit(),
                     endpoint_ ? &endpoint_->closed_waiters : nullptr,
                     !endpoint_ || endpoint_->is_closed());
    }
    status await_resume() const noexcept { return answer_as_status(); }
};

class [[nodiscard("co_await it")]] drain_operation final : public endpoint_waiter {
  public:
    explicit drain_operation(loop_endpoint* endpoint) noexcept : endpoint_waiter(endpoint) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <task_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> frame) {
        const bool is_drained = !endpoint_ || endpoint_->is_drained();
        const bool suspends = start(frame, *frame.promise().context, time_limit(),
                                    endpoint_ ? &endpoint_->drain_waiters : nullptr, is_drained);
        if (suspends && !is_drained) endpoint_->watch_drain();
        return suspends;
    }
    status await_resume() const noexcept {
        if (answer() == outcome::ready && (!endpoint_ || endpoint_->was_aborted())) {
            return errc::closed;
        }
        return answer_as_status();
    }
};

}  // namespace quoit::detail
