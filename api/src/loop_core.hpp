// SPDX-License-Identifier: MIT
//
// loop_core: what a loop is made of: the scheduler, the port, and three ways in.
//
//   other threads --post, close--> loop_mailbox --+
//   signal handlers --------bit--> signal_inbox --+--> turn(): port, timers, signals, mail, tasks
//   the kernel ------------------------> port ----+
//
// Thread safety: loop_mailbox is for all threads and outlives the loop; signal_inbox::arrived is
// for signal handlers; the rest belongs to the loop's thread.
#pragma once

#include <quoit/detail/endpoint.hpp>
#include <quoit/detail/packet_endpoint.hpp>
#include <quoit/detail/scheduler.hpp>
#include <quoit/loop.hpp>
#include <quoit/packet_port.hpp>
#include <quoit/port.hpp>
#include <quoit/signal.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

namespace quoit::detail {

class collective_openings;
class packet_handler;

/// Functions on their way to the loop. Shared: senders may outlive it, and then nothing happens.
class loop_mailbox {
  public:
    using letter = std::move_only_function<void()>;

    explicit loop_mailbox(port& receiver) noexcept : receiver_(&receiver) {}

    /// Any thread. Without effect once the loop is gone.
    void post(letter function);
    /// The loop's thread: moves what has come into `into`, which is empty.
    void take(std::vector<letter>& into);
    [[nodiscard]] bool has_letters() const noexcept {
        // Acquire is not needed: the mutex in take() orders the letters. A letter this misses woke
        // the port after it was written, so the next turn does not wait and looks again.
        return has_letters_.load(std::memory_order_relaxed);
    }
    /// The loop is going; nothing more is accepted.
    void shut(std::vector<letter>& into);

  private:
    std::mutex mutex_;
    std::vector<letter> letters_;  // under mutex_
    port* receiver_;               // under mutex_; null when the loop is gone
    std::atomic<bool> has_letters_{false};
};

struct signal_entry {
    int signal = 0;
    std::move_only_function<void(int)> handler;
    loop_core* core = nullptr;  // null once the subscription has ended
    std::uint32_t forks = 0;    // how many the process had come through when it was made
};

class signal_inbox {
  public:
    explicit signal_inbox(port& receiver) noexcept : receiver_(receiver) {}
    /// From a signal handler.
    void arrived(int signal) noexcept {
        // Release, with the acquire in take(): what the signalled thread did is seen by the
        // handler.
        pending_.fetch_or(bit(signal), std::memory_order_release);
        receiver_.wake();
    }
    [[nodiscard]] std::uint64_t take() noexcept {
        return pending_.load(std::memory_order_relaxed) == 0
                   ? 0
                   : pending_.exchange(0, std::memory_order_acquire);
    }
    /// As if it had not arrived. REQUIRES: it arrives no more.
    void forget(int signal) noexcept {
        // Relaxed: the bit is thrown away, so nothing is published by it.
        pending_.fetch_and(~bit(signal), std::memory_order_relaxed);
    }
    /// Signals are numbered from 1 to 64.
    [[nodiscard]] static std::uint64_t bit(int signal) noexcept {
        return std::uint64_t{1} << (signal - 1);
    }

  private:
    static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "used in signal handlers");
    std::atomic<std::uint64_t> pending_{0};
    port& receiver_;
};

class loop_core final : public task_scheduler, private port_events, private packet_events {
  public:
    loop_core(port&& made, const loop_options& options);
    ~loop_core();

    /// Makes it the current one of this thread while it lives.
    class scope {
      public:
        explicit scope(loop_core& entered) noexcept;
        scope(const scope&) = delete;
        scope& operator=(const scope&) = delete;
        ~scope();

      private:
        loop_core* outer_;
    };

    /// One turn. Waits until `until` at most, when nothing is ready. Returns how many things
    /// arrived or ran. REQUIRES: no turn of this loop runs.
    std::size_t turn(port::clock::time_point until);
    /// Before somebody else waits, for the port's descriptor; if there is one.
    void prepare_to_wait() { port_.prepare_to_wait(next_due()); }
    void run_until_done(spawned& main);
    void run_until_stopped();
    /// Any thread; async-signal-safe.
    void request_stop() noexcept {
        // Release, with the acquire in take_stop(): what the caller did is seen after run().
        stop_.store(true, std::memory_order_release);
        port_.wake();
    }

    void register_endpoint(loop_endpoint& endpoint);
    void forget_endpoint(loop_endpoint& endpoint) noexcept;
    /// Null when it is gone.
    [[nodiscard]] loop_endpoint* find_endpoint(endpoint_id id) const noexcept;
    /// To be looked at after each flush: somebody drains it.
    void watch_drain(loop_endpoint& endpoint) noexcept { draining_.push_back(endpoint); }

    /// One line each, of information, and warnings about buffers that were not granted.
    void announce_opening(const loop_endpoint& endpoint) const noexcept;
    void announce_closing(const loop_endpoint& endpoint) const noexcept;

    // --- packets over TCP ---
    /// Of the port; its events come here from the first call on.
    [[nodiscard]] packet_port& packets() noexcept {
        return packets_ != nullptr ? *packets_ : first_packets();
    }
    /// Who hears of a stream; one that nobody is registered for is released when it is closed.
    void register_stream(packet_stream_id stream, packet_handler& handler);
    void forget_stream(packet_stream_id stream) noexcept;
    void add_packet_endpoint(packet_endpoint& one) noexcept { packet_endpoints_.push_back(one); }
    /// To be looked at after each flush: somebody waits for room.
    void watch_room(packet_endpoint& one) noexcept { awaiting_room_.push_back(one); }
    /// One line of information: "WORDS (BACKEND)" and "closed WHAT: ITS LEDGER".
    void announce_packets(std::string_view words) const noexcept;
    void announce_packets_closed(std::string_view what, const packet_stats& ledger) const noexcept;

    [[nodiscard]] port& get_port() noexcept { return port_; }
    [[nodiscard]] const port& get_port() const noexcept { return port_; }
    [[nodiscard]] const std::shared_ptr<loop_mailbox>& mailbox() const noexcept { return mailbox_; }

    [[nodiscard]] result<signal_subscription> subscribe(int signal,
                                                        std::move_only_function<void(int)> handler);
    void unsubscribe(signal_entry& entry) noexcept;

    quoit::loop* owner = nullptr;  // set when entered, because loops move

    /// Of a core of a group: what its servers with reuse_port are opened by.
    struct group_place {
        collective_openings* openings = nullptr;
        std::size_t core = 0;
    };
    group_place in_group;

  private:
    void readable(endpoint_id endpoint) override;
    void drained(endpoint_id endpoint) override;
    void closed(endpoint_id endpoint) override;
    void accepted(packet_stream_id listener, packet_stream_id stream) override;
    void connected(packet_stream_id stream) override;
    void readable(packet_stream_id stream) override;
    void drained(packet_stream_id stream) override;
    void closed(packet_stream_id stream) override;
    /// Null when nobody is registered.
    [[nodiscard]] packet_handler* find_stream(packet_stream_id stream) const noexcept;

    [[nodiscard]] bool take_stop() noexcept {
        return stop_.load(std::memory_order_relaxed) &&
               stop_.exchange(false, std::memory_order_acquire);
    }
    [[nodiscard]] packet_port& first_packets() noexcept;
    [[nodiscard]] port::clock::time_point next_due() const noexcept;
    void end_leftovers();
    void pin_thread() noexcept;
    std::size_t deliver_letters();
    std::size_t deliver_signals();
    void look_at_draining() noexcept;
    void look_for_room() noexcept;

    port port_;
    std::shared_ptr<loop_mailbox> mailbox_;
    signal_inbox signals_;
    std::vector<std::shared_ptr<signal_entry>> subscriptions_;
    std::vector<loop_endpoint*> endpoints_;  // by endpoint_id::index
    chain<loop_endpoint, while_draining> draining_;
    struct registered_stream {
        packet_stream_id id;
        packet_handler* handler = nullptr;
    };
    std::vector<registered_stream> streams_;  // by packet_stream_id::index
    chain<packet_endpoint, in_loop> packet_endpoints_;
    chain<packet_endpoint, while_awaiting_room> awaiting_room_;
    packet_port* packets_ = nullptr;             // the port's, once they are heard of
    std::vector<loop_mailbox::letter> letters_;  // kept for its capacity
    std::atomic<bool> stop_{false};
    int cpu_;
    bool is_turning_ = false;
};

struct loop_access {
    static loop_core& core(loop& of) noexcept { return *of.core_; }
    static loop make(std::unique_ptr<loop_core> core) noexcept { return loop(std::move(core)); }
};

/// The one whose turn runs on this thread. Aborts when there is none.
[[nodiscard]] loop_core& current_core() noexcept;
[[nodiscard]] loop_core* current_core_or_null() noexcept;

}  // namespace quoit::detail
