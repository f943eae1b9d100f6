// SPDX-License-Identifier: MIT
//
// packet_port: packets over TCP on a port: the engine below quoit/packet.hpp, usable without it.
//
//   quoit::packet_port& packets = port.packets();
//   packets.set_events(&mine);
//   const auto server = or_throw(packets.listen({"127.0.0.1", 4200}));
//   for (;;) port.turn(quoit::port::no_deadline, datagram_events);    // calls `mine`
//
//   void readable(packet_stream_id peer) override {
//       while (auto body = packets.receive(peer)) packets.write(peer, *body);   // an echo
//       if (is over) packets.close(peer);
//   }
//
// A stream is a connection, or a listener that makes connections of what connects to it.
//
//   connecting --connected()--> open --+--> ended: packets are still readable, writing still works
//                                |     +--> failed: packets are still readable
//                                close() or abort() --> closed() --> release()
//
// A stream that ended or failed stays until it is closed and released; release() alone closes too.
//
// close() is polite: nothing more is received (what was stays readable until release()), what is
// queued is flushed, the end is sent (FIN), and the descriptor stays until the peer has ended too,
// so that what is on its way to it is not destroyed by a reset: at most one second after the last
// byte that the kernel took for it. abort() is not.
//
// Threads, forks: as port. Errors: every call answers errc::closed for a stale id.
#pragma once

#include <quoit/address.hpp>
#include <quoit/error.hpp>
#include <quoit/packet_options.hpp>
#include <quoit/packet_stats.hpp>
#include <quoit/payload.hpp>
#include <quoit/shared_bytes.hpp>

#include <cstddef>
#include <cstdint>

namespace quoit {

/// Names a listener or a connection of one port; never reused while anybody could mean the old one.
struct packet_stream_id {
    std::uint32_t index = 0;
    std::uint32_t generation = 0;  // 0: none
    [[nodiscard]] bool operator==(const packet_stream_id&) const noexcept = default;
};

/// Hears what a turn brought, at its end: at most one call of each kind per stream and turn, in the
/// order in which they stand here. May call back into the port, but for turn(); must not throw.
class packet_events {
  public:
    /// `stream` is a new connection of `listener`.
    virtual void accepted(packet_stream_id listener, packet_stream_id stream) = 0;
    /// The connection exists: what was written before goes out.
    virtual void connected(packet_stream_id stream) = 0;
    /// receive() has something: a packet, or the end.
    virtual void readable(packet_stream_id stream) = 0;
    /// No more than half of write_queue_size_max waits, after there was more; and, when a write was
    /// refused for want of room (errc::would_block), what was refused now finds some.
    virtual void drained(packet_stream_id stream) = 0;
    /// After close() or abort(): the descriptor is closed, a listener's port can be bound again.
    virtual void closed(packet_stream_id stream) = 0;

  protected:
    ~packet_events() = default;
};

/// Part of a port; see port::packets().
class packet_port {
  public:
    packet_port(const packet_port&) = delete;
    packet_port& operator=(const packet_port&) = delete;

    /// Whom to tell, from now on; null: nobody. It must outlive its use.
    virtual void set_events(packet_events* events) noexcept = 0;

    // --- opening ---

    /// An IPv6 socket takes IPv6 only (IPV6_V6ONLY), and a port is free again at once after its
    /// server (SO_REUSEADDR). Errors: the kernel's, with "listen 127.0.0.1:4200"; errc::invalid_option;
    /// std::errc::too_many_files_open when socket_count_max sockets are open.
    [[nodiscard]] virtual result<packet_stream_id> listen(const address& where,
                                                          const packet_options& options = {}) = 0;
    /// Begins to connect. Packets can be written at once; a refusal is the end that receive()
    /// tells. connect_timeout and idle_timeout are the caller's (timers are above the engine).
    /// Errors, all known at the call: as listen(), with "connect 127.0.0.1:4200";
    /// errc::invalid_address (port 0).
    [[nodiscard]] virtual result<packet_stream_id> connect(const address& peer,
                                                           const packet_options& options = {}) = 0;

    // --- packets ---

    /// The next body. Errors: errc::would_block; when all have been read, how the stream ended:
    /// errc::end_of_stream, errc::framing, errc::slow_peer, errc::closed (by close() or abort()),
    /// what abort() was given, or the kernel's errno (ECONNRESET; of a connection that never came
    /// about ECONNREFUSED, ETIMEDOUT, ...).
    [[nodiscard]] virtual result<shared_bytes> receive(packet_stream_id stream) = 0;
    /// Packets that receive() would hand over now.
    [[nodiscard]] virtual std::size_t readable_count(packet_stream_id stream) const noexcept = 0;

    /// Queued in order, flushed by flush(), by turn(), and when much waits. The body has been
    /// copied or sent when this returns. Errors: errc::closed (also: the stream has failed);
    /// errc::message_too_long; errc::would_block (the peer is slow, see packet_options);
    /// errc::slow_peer (it was closed for it).
    virtual status write(packet_stream_id stream, byte_view body) = 0;
    /// The same without a copy: the queue shares the body.
    virtual status write(packet_stream_id stream, const shared_bytes& body) = 0;
    /// Bytes that wait, headers included.
    [[nodiscard]] virtual std::size_t write_queue_size(packet_stream_id stream) const noexcept = 0;
    virtual void flush(packet_stream_id stream) noexcept = 0;

    // --- closing ---

    /// Idempotent. A listener's connections go on. Ends with closed().
    virtual void close(packet_stream_id stream) noexcept = 0;
    /// Drops what is queued and closes now. `why` is what receive() tells and the ledger counts:
    /// errc::closed, errc::timed_out, ... Ends with closed(), in the next turn.
    virtual void abort(packet_stream_id stream, std::error_code why) noexcept = 0;
    /// Forgets it; aborts first if need be. A listener's port can be bound again when this returns.
    virtual void release(packet_stream_id stream) noexcept = 0;
    /// close() or abort() was called; true for a stale id.
    [[nodiscard]] virtual bool is_closing(packet_stream_id stream) const noexcept = 0;
    [[nodiscard]] virtual bool is_closed(packet_stream_id stream) const noexcept = 0;
    /// It is connected, and neither failed nor closed; the peer may have ended.
    [[nodiscard]] virtual bool is_connected(packet_stream_id stream) const noexcept = 0;

    // --- what is ---

    /// Known while the stream is, also when it is closed; unspecified before it is connected.
    [[nodiscard]] virtual address local_address(packet_stream_id stream) const noexcept = 0;
    /// Unspecified of a listener.
    [[nodiscard]] virtual address peer_address(packet_stream_id stream) const noexcept = 0;
    /// To look at and to set options on, not to close; -1 when closed.
    [[nodiscard]] virtual int descriptor(packet_stream_id stream) const noexcept = 0;
    /// Of a connection; of a listener with all that it accepted, those that are gone too. Readable
    /// until release().
    [[nodiscard]] virtual packet_stats stats(packet_stream_id stream) const = 0;
    /// Bytes received so far: grows with whatever the peer sends, whole packets or not.
    [[nodiscard]] virtual std::uint64_t bytes_received(packet_stream_id stream) const noexcept = 0;
    /// All streams', released ones included.
    [[nodiscard]] virtual packet_stats stats() const = 0;

  protected:
    packet_port() = default;
    ~packet_port() = default;
};

}  // namespace quoit
