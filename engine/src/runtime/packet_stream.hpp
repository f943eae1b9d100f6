// SPDX-License-Identifier: MIT
//
// What a port knows of one stream of packets: a listener, or a connection. Plain state of the
// port's thread; the transitions are in port_packets.cpp.
//
//                       +--> ended (the peer has finished; writing goes on) --+
//   connecting --> open +--> failed (error, framing, slow) -------------------+--> closing
//                       +-----------------------------------------------------+
//
//   closing:  flush --> FIN --> wait for the peer's end --> detach ordered --> `detached` --> gone
//
// A stream that has failed is detached at once; its packets stay readable until it is released. A
// slot is free again when its stream was released and the backend will speak of it no more.
#pragma once

#include "backend/backend.hpp"
#include "net/stream_socket.hpp"
#include "packets/packet_parser.hpp"
#include "packets/packet_write_queue.hpp"
#include "runtime/worker.hpp"

#include <quoit/packet_port.hpp>

#include <cstddef>
#include <cstdint>
#include <system_error>
#include <vector>

namespace quoit::detail {

struct packet_stream {
    explicit packet_stream(const packet_options& wanted)
        : options(wanted), parser(wanted.framing, wanted.packet_size_max), queue(wanted.framing) {}

    packet_stream_id id;
    packet_options options;
    stream_socket socket;
    shared_socket shared;
    worker* owner = nullptr;
    std::size_t worker_index = 0;
    std::uint32_t tag = 0;  // the index of its slot among the port's sockets
    packet_stats ledger;    // of a listener: also of its connections that are gone

    // Listeners.
    bool is_listener = false;
    bool is_asked = false;                   // for a connection, which has not come yet
    bool is_waiting_for_room = false;        // asks for none until there is room
    bool is_listed_to_ask = false;           // asks again when a time has passed
    std::uint32_t peer_count = 0;            // connections that are not gone
    std::vector<packet_stream_id> arrivals;  // not told yet

    // Connections.
    packet_stream_id listener{};  // whose it is; generation 0: it was made by connect()
    packet_parser parser;
    packet_write_queue queue;
    std::vector<shared_bytes> received;  // from next_unread on
    std::size_t next_unread = 0;
    std::size_t unread_cost = 0;
    std::uint64_t bytes_received = 0;
    std::error_code end;                   // how it ended; none: it goes on
    std::error_code refused_sends;         // what a send was refused with, once for all
    std::size_t refused_size = 0;          // of the write that found no room last; 0: none since
    steady_time give_up_at = no_deadline;  // closing: the peer takes nothing any more

    bool is_connecting = false;
    bool has_failed = false;    // nothing can be sent any more
    bool is_settled = false;    // how it ended is in the ledger
    bool is_closing = false;    // close() or abort()
    bool has_finished = false;  // FIN is sent
    bool has_peer_ended = false;
    bool is_leaving = false;  // its detach is ordered, or listed
    bool is_gone = false;     // `detached` has come
    bool is_released = false;
    bool is_paused = false;     // not read: too much of it is unread
    bool is_blocked = false;    // waits to be writable
    bool is_unflushed = false;  // listed as having something to send
    bool is_above_half = false;

    // Told at the end of the turn.
    bool is_listed = false;
    bool has_connected = false;
    bool has_readable = false;
    bool has_drained = false;
    bool has_closed = false;

    [[nodiscard]] std::size_t unread_count() const noexcept {
        return received.size() - next_unread;
    }
    [[nodiscard]] bool can_send() const noexcept { return !is_connecting && !has_failed; }
};

}  // namespace quoit::detail
