// SPDX-License-Identifier: MIT
//
// packet_server_core: what a packet server is: its listening streams, its connections, and whose
// turn it is to be read.
//
//   ring_:  connections that may have something to read, in turn: each take moves its connection
//           to the end, one that has nothing leaves the ring until the port says it has
//
// A connection is accepted -> announced -> gone -> forgotten: its coming has been handed out (or
// passed over); its end has, too, from when on the port closes it politely; it is closed and gone.
// One that closed first stays, with what it had received, until it is gone.
//
// Invariants:
//   1. What readers of the ring could be handed is in the ring (or held).
//   2. peer_count_ connections are not gone; open_count_ are not closed.
//
// Ownership: owns the streams and the connections; see packet_endpoint.
// Thread safety: none; the loop's thread.
#pragma once

#include <quoit/detail/idle_watch.hpp>
#include <quoit/detail/packet_endpoint.hpp>
#include <quoit/detail/timer_queue.hpp>
#include <quoit/packet_options.hpp>
#include <quoit/packet_stats.hpp>
#include <quoit/payload.hpp>

#include "packet_peer_state.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <vector>

namespace quoit::detail {

struct in_ring;
struct in_server;

class packet_server_core final : public packet_endpoint {
  public:
    /// Takes the streams over. REQUIRES: at least one.
    packet_server_core(loop_core& core, std::span<const packet_stream_id> listeners,
                       const packet_options& options);

    // --- the handle's side ---
    status write(byte_view body);
    status write(const shared_bytes& body);
    status write(byte_view body, const packet_peer& to);
    status write(const shared_bytes& body, const packet_peer& to);
    status write(byte_view body, std::span<const packet_peer> to);
    status write(const shared_bytes& body, std::span<const packet_peer> to);
    void flush() noexcept;
    [[nodiscard]] std::vector<packet_peer> peers() const;
    [[nodiscard]] std::size_t peer_count() const noexcept { return peer_count_; }
    [[nodiscard]] std::span<const address> local_addresses() const noexcept { return local_; }
    void close() noexcept;
    void abort() noexcept;
    [[nodiscard]] bool is_closing() const noexcept { return is_closing_; }
    /// The handle is gone: frees the ports, leaves the connections to be closed politely.
    void abandon() noexcept;
    [[nodiscard]] packet_stats stats() const;
    [[nodiscard]] packet_stats stats(const packet_peer& of) const;

    // --- for who keeps what was read elsewhere ---
    /// Does not read this peer until let_go().
    void hold(const packet_peer& peer) noexcept;
    void let_go(const packet_peer& peer) noexcept;
    /// A body of this size would be taken now. True also when nobody is there to take it.
    [[nodiscard]] bool has_room(const packet_peer& peer, std::size_t body_size) const noexcept;

    // --- packet_endpoint ---
    void lose_loop() noexcept override;
    [[nodiscard]] room room_for(const packet_peer& peer) noexcept override;
    [[nodiscard]] bool has_ended() const noexcept override;
    [[nodiscard]] error end() const override;

  private:
    class listener;
    class connection;

    ~packet_server_core() override;
    [[nodiscard]] bool take_next(packet_interest interest, packet_item& into) override;
    [[nodiscard]] packet_port& on() const noexcept;
    /// Null when it is forgotten, or not of this server.
    [[nodiscard]] connection* find(const packet_peer& peer) const noexcept;
    [[nodiscard]] std::optional<errc> refusal_of(std::size_t body_size) const noexcept;
    void refused(connection& one, const status& why, std::size_t body_size);
    [[nodiscard]] room room_for(connection& one) noexcept;
    template <class Body>
    status write_and_serve(connection& one, const Body& body);
    template <class Body>
    status write_to(connection& one, const Body& body);
    template <class Body>
    status write_to_all(const Body& body);
    template <class Body>
    status write_to_one(const Body& body, const packet_peer& to);
    template <class Body>
    status write_to_each(const Body& body, std::span<const packet_peer> to);
    void begin_closing() noexcept;
    void accepted(packet_stream_id stream) noexcept;
    void ended(connection& one, const error& why);
    void look_at_reading(connection& one);
    void stand_in_ring(connection& one) noexcept;
    void forget(connection& one) noexcept;
    void check_closed() noexcept;
    void look_for_idle() noexcept;
    [[nodiscard]] std::string name() const;

    packet_options options_;
    std::vector<std::unique_ptr<listener>> listeners_;
    std::vector<address> local_;
    chain<connection, in_server> connections_;  // in the order in which they came
    chain<connection, in_ring> ring_;
    std::size_t peer_count_ = 0;
    std::size_t open_count_ = 0;
    timer_queue::ptr idle_timer_;
    bool is_closing_ = false;
    bool was_aborted_ = false;
    packet_stats last_stats_;
};

}  // namespace quoit::detail
