// SPDX-License-Identifier: MIT
//
// What a port knows of its sockets and endpoints. Plain state of the port's thread; the transitions
// are in port_open.cpp, port_turn.cpp and port_send.cpp.
//
//   endpoint:  open --close()--> closing --every socket detached--> closed --release()--> free
//   socket:    attached --detach ordered--> leaving --`detached`--> free
//
// An endpoint has 1..n sockets and one inbox. A slot is free again when both its endpoint was
// released and the backend will speak of it no more.
#pragma once

#include "net/udp_socket.hpp"
#include "runtime/check_options.hpp"
#include "runtime/inbox.hpp"
#include "runtime/send_queue.hpp"
#include "runtime/unix_part.hpp"
#include "runtime/worker.hpp"

#include <quoit/port.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace quoit::detail {

struct socket_state {
    udp_socket socket;
    shared_socket shared;
    send_queue queue;
    std::unique_ptr<unix_part> as_unix;  // null: a UDP socket; otherwise its queue is used
    worker* owner = nullptr;
    std::size_t worker_index = 0;
    std::uint32_t tag = 0;       // the index of its slot
    std::uint32_t endpoint = 0;  // likewise
    address local;               // kept after the socket is closed
    // That sendmmsg(2) kept to itself (net/send.hpp): told with the next refusal that is heard of,
    // forgotten when a datagram comes instead.
    std::uint32_t refusals_unconfirmed = 0;
    std::uint32_t multicast_index = 0;  // of the interface that was set; 0: none
    // It is bound to every interface, and messages say where they were sent to.
    bool knows_destinations = false;
    bool is_unflushed = false;  // listed as having something to send
    bool is_blocked = false;    // waits to be writable
    bool is_leaving = false;    // its detach has been ordered
    bool is_gone = false;       // `detached` has come
    // Not read, because: its endpoint's inbox is full (when_full::pause), or it holds more than its
    // share of the buffers.
    bool is_paused_by_inbox = false;
    bool is_paused_by_leases = false;

    [[nodiscard]] bool is_paused() const noexcept {
        return is_paused_by_inbox || is_paused_by_leases;
    }

    // What waits to be sent: datagrams, and what they cost (send_queue::cost).
    [[nodiscard]] std::size_t queued_count() const noexcept {
        return as_unix ? as_unix->queue.count() : queue.count();
    }
    [[nodiscard]] std::size_t queued_cost() const noexcept {
        return as_unix ? as_unix->queue.cost() : queue.cost();
    }
    std::size_t drop_queued() noexcept { return as_unix ? as_unix->queue.drop() : queue.drop(); }
};

struct endpoint_state : destination_rules {
    endpoint_state(std::uint32_t queue_size_max, when_full policy)
        : received(queue_size_max, policy) {}

    endpoint_id id;
    udp_options options;
    std::vector<std::uint32_t> sockets;  // tags
    std::vector<address> locals;
    // Whose datagrams may still be in the socket: of the peers it had before, or, once it had none
    // or more than can be remembered, anybody's.
    static constexpr std::size_t former_peers_max = 8;
    std::vector<address> former_peers;
    bool was_unconnected = false;
    bool is_unix_client = false;
    inbox received;
    stats ledger;  // what is counted here; what others count is added by stats()
    bool is_closing = false;
    bool is_closed = false;
    bool is_released = false;
    bool is_above_high_water = false;

    // News for port_events, told at the end of the turn.
    bool is_listed = false;
    bool has_readable = false;
    bool has_drained = false;
    bool has_closed = false;
};

}  // namespace quoit::detail
