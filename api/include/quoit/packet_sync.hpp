// SPDX-License-Identifier: MIT
//
// Packets over TCP in packetsocket's polling style: update() does the I/O of one turn, on the
// caller's thread; read() takes what has come, write() leaves what is to go.
//
//   auto server = or_throw(quoit::sync::packet_server::open({"", 4200}));
//   while (server.is_open()) {
//       server.update();
//       for (auto& [peer, packets] : server.read())
//           for (auto& packet : packets) server.write(packet, peer);
//   }
//
// There is no hidden thread: nothing is accepted, received or sent but in update(), which waits for
// something to happen (5 ms unless told otherwise) and is woken by write(). Nothing is lost to a
// lock: read() and write() never wait for an update(), and what they leave is taken by the next.
//
// Bounds, for each peer: packet_options::write_queue_size_max of what write() has left, and as much
// again in the engine; then write() answers errc::would_block. What it took waits until the engine
// has room for it, and is not dropped for a peer that is slow; with slow_peer::close that peer is
// closed. packet_options::read_queue_size_max of what read() has not taken, and as much again in
// the engine; then the peer waits.
//
// Life: close() flushes what was written, for a second at most, and frees the port; what was
// received stays readable. open() again afterwards starts anew. Handles move; one that was moved
// from answers errc::closed, as a closed one does.
//
// Thread safety: every operation of one handle may be called from any thread at the same time. Of
// several threads in update() one does the work, and the others return at once. Moving and
// destroying a handle is for one thread, when no other uses it. After fork() the child may only
// destroy it: errc::forked.
// On epoll, whichever backend there is: an io_uring belongs to one thread.
#pragma once

#include <quoit/address.hpp>
#include <quoit/error.hpp>
#include <quoit/packet_options.hpp>
#include <quoit/packet_peer.hpp>
#include <quoit/packet_stats.hpp>
#include <quoit/payload.hpp>
#include <quoit/shared_bytes.hpp>
#include <quoit/time.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

namespace quoit::detail {
class polled_packet_server;
class polled_packet_client;
}  // namespace quoit::detail

namespace quoit::sync {

/// Packets of one peer, in order.
using packets_of_peer = std::pair<packet_peer, std::vector<packet>>;

/// A peer that has gone, and why: as packet_event::reason.
struct departure {
    packet_peer peer{};
    std::error_code reason{};
};

class packet_server {
  public:
    /// Closed.
    packet_server() noexcept;
    /// Listens: {"127.0.0.1", 4200}; {"", 4200}: every interface, IPv4 and IPv6. Names and errors:
    /// as quoit::start_packet_server(). A name is resolved on this thread.
    [[nodiscard]] static result<packet_server> open(host_port where,
                                                    const packet_options& options = {});
    /// One server on several addresses: all or none.
    [[nodiscard]] static result<packet_server> open(std::span<const host_port> where,
                                                    const packet_options& options = {});
    packet_server(packet_server&& other) noexcept;
    packet_server& operator=(packet_server&& other) noexcept;
    ~packet_server();

    /// Accepts, receives and sends: one turn, which waits for `wait` at most when there is nothing
    /// to do; 0 s: not at all; {}: until something happens. Returns at once when another thread is
    /// in update(). Errors: errc::closed; errc::invalid_option; errc::forked.
    status update(time_limit wait = std::chrono::milliseconds(5));

    /// What has come since the last time, by peer: those first that were heard first. Never waits.
    [[nodiscard]] std::vector<packets_of_peer> read();
    /// Who has gone since the last time, in order; what they sent is readable before they are
    /// listed here. The last packet_options::peers_max of them are kept.
    [[nodiscard]] std::vector<departure> departed();

    // Writing: to everybody who is connected, to one, or to several; sent by the next update().
    // Never waits. Errors: errc::closed, also for a peer that has gone; errc::message_too_long;
    // errc::would_block when too much waits already. Of several peers one that cannot take it keeps
    // it from no other, and the status is the first such peer's.

    status write(byte_view body);
    status write(const shared_bytes& body);
    status write(const packet& received) { return write(received.shared()); }
    status write(byte_view body, const packet_peer& to);
    status write(const shared_bytes& body, const packet_peer& to);
    status write(const packet& received, const packet_peer& to) {
        return write(received.shared(), to);
    }
    status write(byte_view body, std::span<const packet_peer> to);
    status write(const shared_bytes& body, std::span<const packet_peer> to);
    status write(const packet& received, std::span<const packet_peer> to) {
        return write(received.shared(), to);
    }

    /// Who is connected, as update() last saw it, in the order in which they connected.
    [[nodiscard]] std::vector<packet_peer> clients() const;
    [[nodiscard]] std::size_t client_count() const noexcept;

    /// Of the first listening socket; also after close().
    [[nodiscard]] address local_address() const noexcept;
    /// One for each. Valid while this handle lives.
    [[nodiscard]] std::span<const address> local_addresses() const noexcept;

    /// Waits for an update() that is under way, and for what is flushed. Idempotent.
    void close() noexcept;
    [[nodiscard]] bool is_open() const noexcept;

    /// As update() last saw it; also after close(). What waits between write() and the engine is
    /// not in it yet.
    [[nodiscard]] packet_stats stats() const;

  private:
    explicit packet_server(std::shared_ptr<detail::polled_packet_server> state) noexcept;
    std::shared_ptr<detail::polled_packet_server> state_;
};

class packet_client {
  public:
    /// Closed.
    packet_client() noexcept;
    /// Begins to connect, of a name to the first of its addresses that accepts; the name is
    /// resolved on this thread. What is written meanwhile goes out when the connection has come
    /// about. Errors: as quoit::open_packet_connection(), and why a name could not be resolved.
    [[nodiscard]] static result<packet_client> open(host_port where,
                                                    const packet_options& options = {});
    packet_client(packet_client&& other) noexcept;
    packet_client& operator=(packet_client&& other) noexcept;
    ~packet_client();

    /// As packet_server::update(). Errors, besides: once the connection has ended, or could not be
    /// made, how, again and again: errc::end_of_stream, std::errc::connection_refused, ... (see
    /// quoit::packet_client::read()). What was received before that stays readable.
    status update(time_limit wait = std::chrono::milliseconds(5));

    /// What has come since the last time, in order. Never waits.
    [[nodiscard]] std::vector<packet> read();

    // Writing: sent by the next update(). Never waits. Errors: errc::closed, also when the
    // connection has ended; errc::message_too_long; errc::would_block when too much waits already.

    status write(byte_view body);
    status write(const shared_bytes& body);
    status write(const packet& received) { return write(received.shared()); }

    /// There is a connection, as update() last saw it.
    [[nodiscard]] bool is_connected() const noexcept;
    /// Success while it connects and while there is a connection; then what update() answers.
    [[nodiscard]] status state() const;

    /// Unspecified before it is connected; also after close().
    [[nodiscard]] address local_address() const noexcept;
    [[nodiscard]] address peer_address() const noexcept;

    /// Waits for an update() that is under way, and for what is flushed. Idempotent.
    void close() noexcept;
    /// Until close(), whatever has become of the connection.
    [[nodiscard]] bool is_open() const noexcept;

    /// As update() last saw it; also after close().
    [[nodiscard]] packet_stats stats() const;

  private:
    explicit packet_client(std::shared_ptr<detail::polled_packet_client> state) noexcept;
    std::shared_ptr<detail::polled_packet_client> state_;
};

}  // namespace quoit::sync
