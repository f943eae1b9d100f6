// SPDX-License-Identifier: MIT
//
// What quoit::sync's packet servers and clients are: a loop of their own, which update() turns on
// the caller's thread, and queues between that and the threads that read and write.
//
//   write() --> [ left ] --update()--> backlog --> engine          read() <-- [ come ] <--update()
//               queues_              turning_                                 queues_
//
// Two locks. `turning_` is held while update() waits, and by who closes: whoever else comes in
// update() does not wait for it. `queues_` is held for short only, and never while turning.
//
// Invariants:
//   1. What write() took is in `left`, in the backlog or in the engine, until it is sent or its
//      connection has ended. What waits in `left` and backlog is counted per peer, and bounded.
//   2. The backlog keeps what the engine has no room for. With slow_peer::close it is given to the
//      engine nevertheless, which then closes the peer.
//
// Threads: any; a port belongs to the thread that turns it, so the loop is let go of after each
// turn (port::let_go_of_thread()), and is on epoll.
#pragma once

#include <quoit/error.hpp>
#include <quoit/loop.hpp>
#include <quoit/packet.hpp>
#include <quoit/packet_options.hpp>
#include <quoit/packet_peer.hpp>
#include <quoit/packet_stats.hpp>
#include <quoit/packet_sync.hpp>
#include <quoit/shared_bytes.hpp>
#include <quoit/time.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

namespace quoit::detail {

class loop_mailbox;

/// The loop and its turns.
class polled_loop {
  public:
    polled_loop(const polled_loop&) = delete;
    polled_loop& operator=(const polled_loop&) = delete;

    status update(time_limit wait);
    void close() noexcept;
    /// May a body of this size be written? Of everybody's errors.
    [[nodiscard]] status check(std::size_t body_size) const noexcept;
    [[nodiscard]] bool is_open() const noexcept {
        // Relaxed: whoever acts on it takes a lock.
        return is_open_.load(std::memory_order_relaxed);
    }

  protected:
    explicit polled_loop(const packet_options& options);
    ~polled_loop();

    /// Makes the loop. `open` is called with it, on this thread.
    status start(const std::function<status(quoit::loop&)>& open);

    // Called in update() and close(), between turns.
    virtual void send() = 0;
    /// Takes what has come, as far as the bounds allow; whether there was anything.
    virtual bool receive() = 0;
    /// From here on receive() takes everything.
    virtual void forget_bounds() noexcept = 0;
    /// After send(): does something wait for the kernel to take it?
    [[nodiscard]] virtual bool has_unsent() = 0;
    virtual void begin_closing() noexcept = 0;
    /// After begin_closing(): the peers have taken everything and have ended, too.
    [[nodiscard]] virtual bool is_closed() const noexcept = 0;
    /// The last look, and the end of the handle.
    virtual void end() noexcept = 0;
    /// What update() answers after a turn.
    [[nodiscard]] virtual status state_of_connection() const { return {}; }

    /// From write(), without the lock.
    void wake_if_waiting();
    [[nodiscard]] std::size_t size_of(const shared_bytes& body) const noexcept;

    const packet_options options_;
    mutable std::mutex queues_;
    std::optional<quoit::loop> loop_;  // under turning_
    bool has_bounds_ = true;           // likewise

  private:
    [[nodiscard]] bool is_forked() const noexcept;
    enum class caller : std::uint8_t { update, close };
    void turn(time_limit wait, caller who);
    void close_in_turns();
    void let_go_of_thread() noexcept;

    std::mutex turning_;
    std::shared_ptr<loop_mailbox> mailbox_;
    std::atomic<bool> is_open_{false};  // becomes false under queues_
    bool is_waiting_ = false;           // under queues_: a write is to wake the turn
    const int process_;
};

class polled_packet_server final : public polled_loop {
  public:
    explicit polled_packet_server(const packet_options& options) : polled_loop(options) {}
    ~polled_packet_server() { close(); }
    status open(std::span<const host_port> where);

    [[nodiscard]] std::vector<sync::packets_of_peer> read();
    [[nodiscard]] std::vector<sync::departure> departed();
    status write(const shared_bytes& body);
    status write(const shared_bytes& body, std::span<const packet_peer> to);
    [[nodiscard]] std::vector<packet_peer> clients() const;
    [[nodiscard]] std::size_t client_count() const noexcept;
    [[nodiscard]] std::span<const address> local_addresses() const noexcept { return local_; }
    [[nodiscard]] packet_stats stats() const;

  private:
    /// One client, under queues_.
    struct client {
        std::vector<shared_bytes> left;  // by write()
        std::size_t unsent_size = 0;     // of it and of the backlog, with headers
        std::vector<packet> come;
        std::size_t unread_size = 0;
        bool is_held = false;  // too much has come; the engine does not read it
        bool has_gone = false;
        std::error_code reason;
    };
    using client_map = std::map<packet_peer, client>;

    void send() override;
    bool receive() override;
    void forget_bounds() noexcept override;
    [[nodiscard]] bool has_unsent() override;
    void begin_closing() noexcept override;
    [[nodiscard]] bool is_closed() const noexcept override;
    void end() noexcept override;
    status leave(client_map::iterator who, const shared_bytes& body);
    void send_backlog(const packet_peer& peer, std::deque<shared_bytes>& queue);
    void take_over(packet_event event);
    void look_at_stats();
    void let_clients_go() noexcept;
    void depart(client_map::iterator who);

    packet_server server_;                                     // under turning_
    std::map<packet_peer, std::deque<shared_bytes>> backlog_;  // under turning_
    std::vector<address> local_;                               // const once open

    client_map clients_;                   // under queues_, and so is the rest
    std::vector<packet_peer> written_to_;  // have something left
    std::vector<packet_peer> heard_;       // have something come, in order
    std::vector<packet_peer> to_let_go_;
    std::deque<sync::departure> departed_;
    std::size_t gone_count_ = 0;  // of clients_ that have gone and are still to be read
    std::uint64_t refused_slow_ = 0;
    std::uint64_t dropped_count_ = 0;  // that never came to the engine
    packet_stats stats_;
};

class polled_packet_client final : public polled_loop {
  public:
    explicit polled_packet_client(const packet_options& options) : polled_loop(options) {}
    ~polled_packet_client() { close(); }
    status open(const host_port& where);

    [[nodiscard]] std::vector<packet> read();
    status write(const shared_bytes& body);
    [[nodiscard]] bool is_connected() const noexcept;
    [[nodiscard]] status state() const;
    [[nodiscard]] address local_address() const noexcept;
    [[nodiscard]] address peer_address() const noexcept;
    [[nodiscard]] packet_stats stats() const;

  private:
    void send() override;
    bool receive() override;
    void forget_bounds() noexcept override;
    [[nodiscard]] bool has_unsent() override;
    void begin_closing() noexcept override;
    [[nodiscard]] bool is_closed() const noexcept override;
    void end() noexcept override;
    [[nodiscard]] status state_of_connection() const override { return state(); }
    void look_at_stats();

    packet_client client_;              // under turning_
    std::deque<shared_bytes> backlog_;  // under turning_

    std::vector<shared_bytes> left_;  // under queues_, and so is the rest
    std::size_t unsent_size_ = 0;
    std::vector<packet> come_;
    std::size_t unread_size_ = 0;
    bool is_connected_ = false;
    status state_;
    address local_;
    address remote_;
    std::uint64_t refused_slow_ = 0;
    std::uint64_t dropped_count_ = 0;  // that never came to the engine
    packet_stats stats_;
};

}  // namespace quoit::detail
