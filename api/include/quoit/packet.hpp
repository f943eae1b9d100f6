// SPDX-License-Identifier: MIT
//
// Packets over TCP: whole packets in both directions, of one server and its many clients. On the
// wire each is a header with the length of its body, then the body (quoit::packet_framing); by
// default that of packetsocket: "#!?&", u32 little-endian, body.
//
//   auto server = or_throw(co_await quoit::start_packet_server({"", 4200}));
//   while (auto packet = co_await server.read()) server.write(*packet, packet->peer());
//
//   auto client = or_throw(co_await quoit::open_packet_connection({"127.0.0.1", 4200}));
//   client.write("written before the connection exists");
//   while (auto packet = co_await client.read()) std::cout << packet->text() << '\n';
//
// A packet arrives whole and once, in the order in which its peer wrote it, or the connection ends.
// Peers are served in turn, one packet each, so that none keeps others waiting.
//
// Writing never blocks and never waits: it queues in order, for each peer up to
// packet_options::write_queue_size_max, and is flushed at the end of the loop's turn; what becomes
// of a packet for a peer that does not read is packet_options::on_slow_peer. A body has been copied
// when write() returns, so temporaries are safe; a packet that was read, and shared_bytes, are
// shared and not copied, however many peers they go to. What write() reports is what is known at
// the call:
//   errc::closed            the connection has ended, or the server or client was closed
//   errc::message_too_long  longer than packet_options::packet_size_max
//   errc::would_block       the peer's queue is full; slow_peer::wait: write it again after drain()
//   errc::slow_peer         the peer's queue was full, and for that it was closed
//
// What peers send and nobody has read is bounded as well (packet_options::read_queue_size_max):
// a peer that finds its queue full waits.
//
// Life: close() is polite: what is queued is flushed, the end is sent, and the descriptor stays
// until the peer has ended too, at most a second after the last byte that it took. What was
// received stays readable, then reads answer errc::closed. The destructor does the same, but what
// was received is gone with the handle. abort() drops what is queued. Handles move; one that was
// moved from, and one whose loop is gone, answers errc::closed to everything.
//
// Thread safety: none; the loop's thread. From elsewhere: loop::post(), and packet_peer::close().
#pragma once

#include <quoit/address.hpp>
#include <quoit/detail/counted.hpp>
#include <quoit/detail/packet_endpoint.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>
#include <quoit/packet_options.hpp>
#include <quoit/packet_peer.hpp>
#include <quoit/packet_stats.hpp>
#include <quoit/payload.hpp>
#include <quoit/shared_bytes.hpp>
#include <quoit/task.hpp>

#include <cstddef>
#include <span>
#include <vector>

namespace quoit {

namespace detail {
class packet_client_core;
class packet_server_core;
struct packet_access;
}  // namespace detail

class packet_server {
  public:
    /// Closed.
    packet_server() noexcept;
    packet_server(packet_server&& other) noexcept;
    packet_server& operator=(packet_server&& other) noexcept;
    ~packet_server();

    // --- addresses; also after close ---
    /// Of the first listening socket.
    [[nodiscard]] address local_address() const noexcept;
    /// One for each. Valid while this handle lives.
    [[nodiscard]] std::span<const address> local_addresses() const noexcept;

    // --- reading ---
    /// The next packet of any peer; comings and goings are passed over. Several may wait, in read()
    /// and in next(); they are served in order. Does not suspend when something is there. A limit
    /// of 0 is a poll: it waits for one turn of the loop.
    /// Errors: errc::timed_out; errc::closed, once everything has been read; errc::canceled, even
    /// if something is there (it stays); errc::invalid_option.
    [[nodiscard("co_await it")]] detail::packet_read_operation read(
        wait_options options = {}) noexcept;
    /// As read(), comings and goings too: of each peer one `connected`, then its packets, then one
    /// `disconnected`, those that close() disconnects included. Who wants to hear of all of them
    /// only uses next(): a read() that waits elsewhere passes over those that nobody waits for.
    [[nodiscard("co_await it")]] detail::packet_next_operation next(
        wait_options options = {}) noexcept;
    /// What is there, and meant for nobody who waits; does not turn the loop.
    /// Errors: errc::would_block; errc::closed.
    [[nodiscard]] result<packet> try_read();
    [[nodiscard]] result<packet_event> try_next();

    // --- writing ---
    /// To everybody who is connected. One who is slow or gone keeps it from no other; the status is
    /// that of the first to whom it could not be written, in the order in which they connected.
    status write(byte_view body);
    status write(const shared_bytes& body);
    status write(const packet& received) { return write(received.shared()); }
    /// To one.
    status write(byte_view body, const packet_peer& to);
    status write(const shared_bytes& body, const packet_peer& to);
    status write(const packet& received, const packet_peer& to) {
        return write(received.shared(), to);
    }
    /// To each of these, as to everybody.
    status write(byte_view body, std::span<const packet_peer> to);
    status write(const shared_bytes& body, std::span<const packet_peer> to);
    status write(const packet& received, std::span<const packet_peer> to) {
        return write(received.shared(), to);
    }
    /// Now, not at the end of the turn, as far as the kernel takes it.
    void flush() noexcept;
    /// Waits while more than half of write_queue_size_max is queued for this peer, or while what
    /// was refused to it (errc::would_block) finds no room. A status.
    /// Errors: errc::closed when it has gone; errc::canceled.
    [[nodiscard("co_await it")]] detail::packet_drain_operation drain(packet_peer peer) noexcept;
    /// Until that is so of everybody: as long as the slowest takes, unless it goes.
    /// Errors: errc::closed after abort() or destruction; errc::canceled.
    [[nodiscard("co_await it")]] detail::packet_drain_operation drain() noexcept;

    // --- peers ---
    /// Who is connected, in the order in which they connected: those that next() has not told of
    /// yet, too.
    [[nodiscard]] std::vector<packet_peer> peers() const;
    [[nodiscard]] std::size_t peer_count() const noexcept;

    // --- life ---
    /// Takes no more connections and closes those there are. Wakes every read that waits.
    /// Idempotent.
    void close() noexcept;
    /// As close(), but drops what is queued, and closes now.
    void abort() noexcept;
    [[nodiscard]] bool is_closing() const noexcept;
    /// Until everything is flushed or dropped, every connection is closed and the ports can be
    /// bound again. Any number of waiters, before or after. A status. Errors: errc::canceled.
    [[nodiscard("co_await it")]] detail::packet_closed_operation wait_closed() noexcept;

    /// Of all connections there have been; readable after close, and after the loop is gone (as it
    /// stood then). Of a handle that was moved from: all zero.
    [[nodiscard]] packet_stats stats() const;
    /// Of one connection; all zero once its end has been handed out and it is closed.
    [[nodiscard]] packet_stats stats(const packet_peer& peer) const;

  private:
    friend struct detail::packet_access;
    explicit packet_server(detail::counted_ptr<detail::packet_server_core> core) noexcept;
    detail::counted_ptr<detail::packet_server_core> core_;
};

/// One connection to a server, or the attempt to make one. It connects in the background: what is
/// written meanwhile goes out when it has come about (up to write_queue_size_max, then
/// errc::would_block), and is dropped and counted when it has not. Why not is no exception but the
/// end of the connection: what read() and wait_connected() answer, again and again. Closed, or
/// destroyed, while it connects and has something to send, it goes on to send that first.
class packet_client {
  public:
    /// Closed.
    packet_client() noexcept;
    packet_client(packet_client&& other) noexcept;
    packet_client& operator=(packet_client&& other) noexcept;
    ~packet_client();

    // --- connecting ---
    /// Until there is a connection, or it is known that there will be none. A status; success also
    /// if it has ended meanwhile.
    /// Errors: why there is none, with one cause for each address that was tried
    /// (std::errc::connection_refused; std::errc::timed_out; errc::host_not_found; ...);
    /// errc::closed; errc::timed_out of this wait; errc::canceled; errc::invalid_option.
    [[nodiscard("co_await it")]] detail::packet_connected_operation wait_connected(
        wait_options options = {}) noexcept;
    /// There is a connection whose end has not been read yet, and close() was not called.
    [[nodiscard]] bool is_connected() const noexcept;

    // --- addresses: unspecified before it is connected; also after close ---
    [[nodiscard]] address local_address() const noexcept;
    [[nodiscard]] address peer_address() const noexcept;

    // --- reading ---
    /// The next packet. Several may wait; they are served in order. Does not suspend when something
    /// is there. A limit of 0 is a poll: it waits for one turn of the loop.
    /// Errors: errc::timed_out; errc::canceled, even if something is there (it stays);
    /// errc::invalid_option. Once everything has been read, and again and again: errc::closed after
    /// close(); errc::end_of_stream when the server has finished; errc::framing; errc::slow_peer;
    /// errc::timed_out (connect_timeout, idle_timeout); the kernel's errno; why there was no
    /// connection, as wait_connected().
    [[nodiscard("co_await it")]] detail::packet_read_operation read(
        wait_options options = {}) noexcept;
    /// What is there, and meant for nobody who waits; does not turn the loop.
    /// Errors: errc::would_block; how it has ended, as read().
    [[nodiscard]] result<packet> try_read();

    // --- writing ---
    status write(byte_view body);
    status write(const shared_bytes& body);
    status write(const packet& received) { return write(received.shared()); }
    /// Now, not at the end of the turn, as far as the kernel takes it.
    void flush() noexcept;
    /// Waits while more than half of write_queue_size_max is queued, or while what was refused
    /// (errc::would_block) finds no room. A status.
    /// Errors: errc::closed when the connection has ended; errc::canceled.
    [[nodiscard("co_await it")]] detail::packet_drain_operation drain() noexcept;

    // --- life ---
    /// Gives up connecting, unless something is written already. Wakes every read that waits.
    /// Idempotent.
    void close() noexcept;
    /// As close(), but drops what is queued, and closes now.
    void abort() noexcept;
    [[nodiscard]] bool is_closing() const noexcept;
    /// Until everything is flushed or dropped and the connection is closed. Any number of waiters,
    /// before or after. A status. Errors: errc::canceled.
    [[nodiscard("co_await it")]] detail::packet_closed_operation wait_closed() noexcept;

    /// Of the connection and the attempts before it; readable after close, and after the loop is
    /// gone (as it stood then). Of a handle that was moved from: all zero.
    [[nodiscard]] packet_stats stats() const;

  private:
    friend struct detail::packet_access;
    explicit packet_client(detail::counted_ptr<detail::packet_client_core> core) noexcept;
    detail::counted_ptr<detail::packet_client_core> core_;
};

// Opening. `where` is copied before the function returns, so temporaries are safe; nothing happens
// before the task is awaited. An error says what was opened: "listen 127.0.0.1:4200: Address
// already in use". A port or an option out of range: errc::invalid_option.

/// {"127.0.0.1", 4200}; {"", 4200}: every interface, IPv4 and IPv6. Port 0: the kernel's choice. Of
/// a name all addresses that this machine has. packet_options::peers_max is for each address.
[[nodiscard]] task<result<packet_server>> start_packet_server(host_port where,
                                                              packet_options options = {});
/// One server on several addresses: all or none, with one cause for each address that failed.
[[nodiscard]] task<result<packet_server>> start_packet_server(std::span<const host_port> where,
                                                              packet_options options = {});
/// The handle, at once; it connects in the background: of a name to the first of its addresses that
/// accepts. Errors: only what is known before anybody is asked (errc::invalid_option,
/// errc::invalid_address, a local address that cannot be had, too many open sockets); where a name
/// is to be resolved first, part of that is found out later, and told as a refusal is.
[[nodiscard]] task<result<packet_client>> open_packet_connection(host_port where,
                                                                 packet_options options = {});

}  // namespace quoit
