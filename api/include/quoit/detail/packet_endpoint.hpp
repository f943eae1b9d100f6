// SPDX-License-Identifier: MIT
//
// packet_endpoint: what packet servers and clients have in common: who waits for packets, for room
// to write and for the end; and the awaits on them.
//
// A reader that waits is HANDED what came for it: the event lies in the reader, in its coroutine's
// frame. When the reader is cancelled or destroyed before it runs, the event goes on to the one
// that was woken after it, whose own goes on in turn, and what the last one had is put in front of
// what waits. Nothing is lost, and the order is kept.
//
//   engine --take()--> reader 1   reader 2   reader 3        (woken, in this order)
//                         x  -------> . -------> . ---> returned_, which is read first
//
// Invariants:
//   1. If a reader waits, there is nothing it could be handed: what comes is handed out at once.
//   2. returned_ has room for what every reader that waits or was woken could give back, so giving
//      back cannot fail.
//
// Ownership: counted with a plain integer; by the handle and by readers that are suspended.
// Thread safety: none; the loop's thread.
#pragma once

#include <quoit/detail/chain.hpp>
#include <quoit/detail/counted.hpp>
#include <quoit/detail/scheduler.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>
#include <quoit/packet_peer.hpp>
#include <quoit/shared_bytes.hpp>
#include <quoit/task.hpp>
#include <quoit/time.hpp>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <utility>
#include <vector>

namespace quoit::detail {

class loop_core;
struct in_loop;
struct while_awaiting_room;
struct while_woken;

/// What read() passes over, or does not.
enum class packet_interest : std::uint8_t { packets, everything };

/// An event on its way. Not an aggregate: it lies in awaits (docs/coroutines.md).
class packet_item {
  public:
    packet_item() noexcept {}
    packet_item(packet_event::kind kind, packet_peer whose, std::error_code why = {}) noexcept
        : what(kind), peer(std::move(whose)), reason(why) {}
    packet_item(packet_peer from, shared_bytes received) noexcept
        : peer(std::move(from)), body(std::move(received)) {}

    void set_packet(const packet_peer& from, shared_bytes received) noexcept {
        what = packet_event::kind::received;
        peer = from;
        body = std::move(received);
    }
    [[nodiscard]] bool is_packet() const noexcept { return what == packet_event::kind::received; }
    [[nodiscard]] packet as_packet() && noexcept { return {std::move(peer), std::move(body)}; }
    [[nodiscard]] packet_event as_event() &&;

    packet_event::kind what = packet_event::kind::received;
    packet_peer peer;
    shared_bytes body;
    std::error_code reason;
};

class packet_endpoint : public chain_link<in_loop>, public chain_link<while_awaiting_room> {
  public:
    class reader;

    packet_endpoint(const packet_endpoint&) = delete;
    packet_endpoint& operator=(const packet_endpoint&) = delete;

    void retain() noexcept { ++references_; }
    void release() noexcept {
        if (--references_ == 0) delete this;
    }

    /// Null when the loop or the handle is gone.
    [[nodiscard]] loop_core* core() const noexcept { return core_; }
    /// The next event that nobody waits for. Errors: errc::would_block; why there will be no more.
    [[nodiscard]] result<packet_item> try_take(packet_interest interest);

    // --- the loop's side ---
    /// The loop is going; its port lives a little longer. May destroy it.
    virtual void lose_loop() noexcept = 0;
    /// Wakes who waits for room where there is some, or nobody any more to have it. False: nobody
    /// waits now.
    bool look_for_room() noexcept;

    // --- waiting for other things than packets ---
    chain<waiter> closed_waiters;
    [[nodiscard]] bool is_closed() const noexcept { return is_closed_; }
    /// Of clients.
    chain<waiter> connected_waiters;
    [[nodiscard]] bool has_connected() const noexcept { return has_connected_; }
    enum class room : std::uint8_t { none, some, gone };
    /// For what one peer is written, or everybody (`peer` of nobody).
    [[nodiscard]] virtual room room_for(const packet_peer& peer) noexcept = 0;
    /// Nothing more will come but what waits to be read.
    [[nodiscard]] virtual bool has_ended() const noexcept = 0;
    /// What reading answers then.
    [[nodiscard]] virtual error end() const = 0;

  protected:
    explicit packet_endpoint(loop_core& core) noexcept : core_(&core) {}
    virtual ~packet_endpoint() = default;

    /// The next event, of what was not given back. False: none, for now or for ever.
    [[nodiscard]] virtual bool take_next(packet_interest interest, packet_item& into) = 0;

    void join_loop() noexcept;
    /// For good: wakes everybody. REQUIRES: has_ended() from here on, and take_next() has nothing.
    void leave_loop() noexcept;
    /// Hands what there is to who waits; wakes them all when nothing more will come.
    void serve_readers();
    void wake_closed_waiters() noexcept;

    bool is_closed_ = false;
    bool has_connected_ = false;

  private:
    friend class packet_drain_operation;
    [[nodiscard]] bool take(packet_interest interest, packet_item& into);
    [[nodiscard]] reader* first_for_everything() const noexcept;
    void give_back(reader& from) noexcept;

    loop_core* core_;
    chain<waiter> readers_;
    chain<reader, while_woken> woken_;
    chain<waiter> room_waiters_;
    std::vector<packet_item> returned_;  // the last one is read first
    std::size_t reader_count_ = 0;       // that wait or were woken
    std::uint32_t references_ = 0;
};

class packet_endpoint::reader : public waiter, public chain_link<while_woken> {
  public:
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <task_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> frame) {
        return wait(frame, *frame.promise().context);
    }

  protected:
    /// `endpoint` may be null: closed. It is not counted before the await suspends, because its
    /// handle was asked in the same expression.
    reader(packet_endpoint* endpoint, packet_interest interest, wait_options options) noexcept
        : endpoint_(endpoint), limit_(options.timeout), interest_(interest) {}
    ~reader() {
        if (has_suspended_) let_go();
    }
    /// After the await: what there was to read, or why there was nothing.
    [[nodiscard]] result<packet_item> outcome_of_reading();
    /// What a busy server's reads come to: there was something, and the await did not suspend. Then
    /// it lies in item(), and outcome_of_reading() is not needed.
    [[nodiscard]] bool take_at_once() noexcept {
        return !has_suspended_ && std::exchange(has_item_, false);
    }
    [[nodiscard]] packet_item& item() noexcept { return item_; }

  private:
    friend class packet_endpoint;
    bool wait(std::coroutine_handle<> frame, task_context& context);
    void let_go() noexcept;

    packet_endpoint* endpoint_;
    time_limit limit_;
    packet_interest interest_;
    bool has_item_ = false;
    bool has_suspended_ = false;  // and holds a reference
    packet_item item_;
};

class [[nodiscard("co_await it")]] packet_read_operation final : public packet_endpoint::reader {
  public:
    packet_read_operation(packet_endpoint* endpoint, wait_options options) noexcept
        : reader(endpoint, packet_interest::packets, options) {}
    result<packet> await_resume() {
        if (take_at_once()) {
            return result<packet>(std::in_place, std::move(item().peer), std::move(item().body));
        }
        result<packet_item> read = outcome_of_reading();
        if (!read) return std::unexpected(std::move(read).error());
        return std::move(*read).as_packet();
    }
};

class [[nodiscard("co_await it")]] packet_next_operation final : public packet_endpoint::reader {
  public:
    packet_next_operation(packet_endpoint* endpoint, wait_options options) noexcept
        : reader(endpoint, packet_interest::everything, options) {}
    result<packet_event> await_resume() {
        result<packet_item> read = outcome_of_reading();
        if (!read) return std::unexpected(std::move(read).error());
        return std::move(*read).as_event();
    }
};

/// Waits until there is room to write to one peer, or to everybody.
class [[nodiscard("co_await it")]] packet_drain_operation final : public waiter {
  public:
    /// `peer` of nobody: everybody.
    packet_drain_operation(counted_ptr<packet_endpoint> of, packet_peer peer) noexcept
        : of_(std::move(of)), peer_(std::move(peer)) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <task_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> frame) {
        return wait(frame, *frame.promise().context);
    }
    status await_resume() const noexcept { return answer_as_status(); }

  private:
    friend class packet_endpoint;
    bool wait(std::coroutine_handle<> frame, task_context& context);

    counted_ptr<packet_endpoint> of_;
    packet_peer peer_;
};

class [[nodiscard("co_await it")]] packet_closed_operation final : public waiter {
  public:
    explicit packet_closed_operation(counted_ptr<packet_endpoint> of) noexcept
        : of_(std::move(of)) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <task_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> frame) {
        return start(frame, *frame.promise().context, time_limit(),
                     of_ ? &of_->closed_waiters : nullptr, !of_ || of_->is_closed());
    }
    status await_resume() const noexcept { return answer_as_status(); }

  private:
    counted_ptr<packet_endpoint> of_;
};

class [[nodiscard("co_await it")]] packet_connected_operation final : public waiter {
  public:
    packet_connected_operation(counted_ptr<packet_endpoint> of, wait_options options) noexcept
        : of_(std::move(of)), limit_(options.timeout) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <task_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> frame) {
        return start(frame, *frame.promise().context, limit_,
                     of_ ? &of_->connected_waiters : nullptr,
                     !of_ || of_->has_connected() || of_->has_ended());
    }
    status await_resume() const;

  private:
    counted_ptr<packet_endpoint> of_;
    time_limit limit_;
};

}  // namespace quoit::detail
