// SPDX-License-Identifier: MIT
//
// worker: one backend, its receive buffers, and the sockets that receive through them. Either the
// port's own thread turns it (inline), or a thread of its own does:
//
//      port's thread                                     worker's thread
//      order() ---- up: attach, pause, detach ... ---->  execute
//      drain() <--- down: 16-byte events -------------   deliver
//      buffers ---- returned stack of the pool ------->  recycle
//
// The queue down has room for every buffer and for four events of every socket, so that pushing
// never fails: a buffer is in at most one event, and a socket has at most one each of `writable`,
// `detached`, `failed` (or `end_of_stream`) and `accepted` on its way: a refusal that follows one
// the port has not seen yet is counted with it (shared_socket::refusals), and a connection is asked
// for one at a time. `starved` is of no interest to a port and stays here.
//
// Wake-ups: one eventfd per worker (its backend's) and one per port. Who sleeps publishes it, looks
// at its queue again, sleeps; who pushes looks at the flag once per batch (base/parking.hpp).
#pragma once

#include "backend/backend.hpp"
#include "base/parking.hpp"
#include "base/spsc_queue.hpp"

#include <quoit/file_descriptor.hpp>

#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace quoit::detail {

/// What a worker and a port share about one socket. The port owns it; it lives until `detached`.
struct shared_socket {
    // Written by the port before `attach`.
    int fd = -1;
    source_options options;

    // The worker's: datagrams the kernel handed over, trains counted by their segments.
    counter taken;
    // Threaded: refusals the port has not taken yet. The one that raises it from 0 sends an event;
    // the port takes them all with that event.
    std::atomic<std::uint32_t> refusals{0};
};

enum class order_kind : std::uint8_t { attach, receive, pause, writable, detach };

struct order {
    order_kind kind = order_kind::attach;
    std::uint32_t tag = 0;
    shared_socket* socket = nullptr;
};

/// The sleeping side of a port, as its workers see it.
class port_waker {
  public:
    [[nodiscard]] static result<std::unique_ptr<port_waker>> create();
    [[nodiscard]] int descriptor() const noexcept { return event_.get(); }
    parking_flag parking;
    /// Any thread, async-signal-safe: whether it sleeps or not.
    void wake() const noexcept;

  private:
    explicit port_waker(file_descriptor event) noexcept : event_(std::move(event)) {}
    file_descriptor event_;
};

class worker final : private event_sink {
  public:
    struct options {
        quoit::backend backend = quoit::backend::automatic;
        std::array<std::uint32_t, buffer_class_count> buffer_counts{};
        std::uint32_t socket_count_max = 0;
        bool is_threaded = false;
        int cpu = -1;  // the thread is pinned to it; -1: not
        quoit::waiting waiting = waiting::block;
        std::chrono::microseconds spin_time{0};  // busy_poll: then it sleeps; 0: never
        std::uint32_t napi_busy_poll_us = 0;
    };

    /// Halves the buffers on ENOMEM, down to 64, before it gives up (or, for backend::automatic,
    /// before it falls back to epoll). `inline_sink` gets the events of an inline worker.
    [[nodiscard]] static result<std::unique_ptr<worker>> create(const options& wanted,
                                                                event_sink& inline_sink,
                                                                port_waker& waker);
    worker(const worker&) = delete;
    worker& operator=(const worker&) = delete;
    ~worker();

    // --- the port's thread ---

    /// Starts the thread of a threaded worker.
    void start();
    /// Ends it, and the backend with it: afterwards the kernel holds no buffer and no descriptor.
    /// What was on its way can still be drained. Idempotent.
    void stop() noexcept;
    [[nodiscard]] bool is_threaded() const noexcept { return is_threaded_; }
    /// Carried out at once by an inline worker; otherwise in order, soon.
    void give(const order& what);
    /// Pushes what did not fit and wakes the thread if something was ordered. Once per port turn.
    /// Returns whether it did.
    bool flush_orders() noexcept;
    /// Inline: turns the backend; the sink gets the events.
    void turn(steady_time deadline);
    /// Inline: as its backend's.
    [[nodiscard]] status join(waiting_set& set) { return backend_->join(set); }
    [[nodiscard]] bool prepare_to_wait();
    /// Threaded: calls f(std::span<const event>) for what has come.
    template <class F>
    void drain(F&& f) {
        if (down_) down_->consumer_end().consume(down_->capacity(), f);
    }
    [[nodiscard]] bool has_events() const noexcept {
        return down_ && !down_->consumer_end().is_empty();
    }
    /// Inline: in the port's name; the backend counts the system calls.
    [[nodiscard]] send_result send(std::uint32_t tag, std::span<const outgoing> messages) {
        return backend_->send(sources_[tag], messages);
    }
    [[nodiscard]] buffer_pool& pool(buffer_class of) const noexcept {
        return *pools_[static_cast<std::size_t>(of)];
    }

    [[nodiscard]] engine_stats stats() const noexcept;
    [[nodiscard]] const capabilities& about() const noexcept { return about_; }

    // --- any thread; async-signal-safe ---
    void wake() noexcept { backend_->wake(); }

  private:
    worker(const options& wanted, event_sink& inline_sink, port_waker& waker);
    [[nodiscard]] result<std::unique_ptr<io_backend>> make_backend_of(quoit::backend wanted);
    [[nodiscard]] result<void> make_pools(
        const std::array<std::uint32_t, buffer_class_count>& counts);

    // The worker's thread (inline: the port's).
    void run() noexcept;
    void execute(const order& what);
    void recycle();
    void deliver(std::span<const event> events) noexcept override;
    void note(const event& one) noexcept;
    [[nodiscard]] bool stays_here(const event& one) noexcept;
    [[nodiscard]] bool has_work() const noexcept;
    [[nodiscard]] steady_time next_spin_end(steady_time before) const noexcept;

    event_sink& inline_sink_;
    port_waker& waker_;
    std::array<buffer_pool::owner, buffer_class_count> pools_;
    backend_ledger ledger_;
    counter wakeups_;
    std::unique_ptr<io_backend> backend_;
    capabilities about_;
    std::uint32_t socket_count_max_;
    bool is_threaded_;
    int cpu_;
    bool spins_;
    std::chrono::microseconds spin_time_;
    std::uint32_t napi_busy_poll_us_;
    bool has_delivered_ = false;  // in the turn that runs

    // By tag; the worker's.
    std::vector<source_id> sources_;
    std::vector<shared_socket*> sockets_;
    std::vector<std::uint32_t> returned_;
    std::array<std::uint32_t, buffer_class_count> starved_{};  // sources that wait, at most

    // Threaded.
    std::unique_ptr<spsc_queue<event>> down_;
    std::unique_ptr<spsc_queue<order>> up_;
    std::vector<order> waiting_orders_;  // the port's: the queue was full
    bool has_ordered_ = false;           // the port's: since the last flush
    parking_flag parking_;
    std::atomic<bool> is_stopping_{false};
    std::atomic<bool> has_been_woken_{false};  // by stop(), which is done with the backend
    std::thread thread_;
};

}  // namespace quoit::detail
