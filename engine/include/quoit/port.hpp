// SPDX-License-Identifier: MIT
//
// port: one thread's end of the engine. It opens endpoints, is turned, hands over what arrived and
// sends. The coroutine facade stands on it; it is as usable without.
//
//   auto port = or_throw(quoit::port::create());
//   const std::array where{quoit::address("127.0.0.1", 9999)};
//   auto echo = or_throw(port.open(where));
//   for (;;) {
//       port.turn(quoit::port::no_deadline, events);            // fills the queues, calls `events`
//       while (auto received = port.receive(echo))
//           port.send(echo, std::move(*received));              // back to where it came from
//       port.flush();
//   }
//
// An endpoint is one socket, or one per address when several were given, with one queue of received
// datagrams (bounded, see udp_options) and one queue of datagrams to send.
//
// The life of an endpoint: open -> close() or abort() -> events.closed() -> release(). Between
// close and release what was received stays readable. release() alone closes too.
//
// Threads: a port is made by any thread and belongs to the one that first opens an endpoint or
// turns it; only wake() and is_called_from_its_thread() may be called from others. With
// worker_count 0 that thread also turns the ring; otherwise worker threads do, and queues lead
// here.
//
// A forked child must not use its copy: opening, sending and turning answer errc::forked, closing
// and waking do nothing.
//
// Errors: what a caller can react to is a result or a status. What happens to one datagram on the
// wire is counted (stats.hpp) and, for connected endpoints, reported once by the next receive() as
// the errno the kernel gave (std::errc::connection_refused). It never ends an endpoint.
#pragma once

#include <quoit/address.hpp>
#include <quoit/capabilities.hpp>
#include <quoit/datagram.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>
#include <quoit/packet_port.hpp>
#include <quoit/payload.hpp>
#include <quoit/socket_group.hpp>
#include <quoit/stats.hpp>
#include <quoit/unix_address.hpp>
#include <quoit/unix_options.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace quoit {

/// Names an endpoint of one port. Never reused while anybody could still mean the old one: a stale
/// id is answered with errc::closed.
struct endpoint_id {
    std::uint32_t index = 0;
    std::uint32_t generation = 0;  // 0: no endpoint
    [[nodiscard]] bool operator==(const endpoint_id&) const noexcept = default;
};

/// What kind of socket adopt() takes; any other is refused.
enum class connectedness : std::uint8_t { any, connected, unconnected };

/// Hears what a turn brought: at most one call of each kind per endpoint and turn, after everything
/// has been put into the queues. May call back into the port, but for turn(); must not throw.
class port_events {
  public:
    /// receive() has something: a datagram, a refusal, or the end.
    virtual void readable(endpoint_id endpoint) = 0;
    /// The send queue has fallen to its low-water mark.
    virtual void drained(endpoint_id endpoint) = 0;
    /// Closed: everything is flushed or dropped, the ports can be bound again.
    virtual void closed(endpoint_id endpoint) = 0;

  protected:
    ~port_events() = default;
};

class port {
  public:
    using clock = std::chrono::steady_clock;
    static constexpr clock::time_point no_deadline = clock::time_point::max();
    static constexpr clock::time_point at_once = clock::time_point::min();

    /// Errors: errc::invalid_option; for a backend that was named, why it cannot be had.
    [[nodiscard]] static result<port> create(const loop_options& options = {});
    port(port&&) noexcept;
    port& operator=(port&&) noexcept;
    /// Closes what is open: flushes each endpoint once, frees its ports, stops the workers.
    ~port();

    // --- endpoints ---

    /// Binds one socket to each address: all or none. One error per address that failed. An address
    /// that is in use is tried for 50 ms, on this thread.
    [[nodiscard]] result<endpoint_id> open(std::span<const address> where,
                                           const udp_options& options = {});
    /// Binds IPv4 and IPv6 on every interface, IPv6 for itself (IPV6_V6ONLY), on one port number.
    /// Only IPv4 where the machine has no IPv6.
    [[nodiscard]] result<endpoint_id> open_every_interface(std::uint16_t port_number,
                                                           const udp_options& options = {});
    /// Takes the sockets of one member of a group, with the options it was opened with. Errors:
    /// errc::closed for a member that was taken; then, as for all errors, it stays as it is.
    [[nodiscard]] result<endpoint_id> open(socket_group& group, std::size_t member);
    /// Connected: the kernel lets only `peer` in and reports its refusals.
    [[nodiscard]] result<endpoint_id> open_connection(const address& peer,
                                                      const udp_options& options = {});
    /// Makes an endpoint of a UDP socket that somebody else opened. Family, name and peer are those
    /// it has; one that is not bound is bound to every interface and a port of the kernel's choice.
    /// What it holds is delivered. O_NONBLOCK is not changed. What says how datagrams come
    /// (coalescing, control messages, error queue) is set as `options` has it; sizes of buffers,
    /// reuse and broadcast are only changed if options name them; options.local is not used.
    ///
    /// ownership::take: see there; nobody else may use the socket. ownership::duplicate: whoever
    /// has the original may go on using it; each datagram goes to one of the two. Therefore
    /// closing the endpoint takes nothing out of the socket (what nobody has read is not in the
    /// ledger then), and automatic offload does not receive trains, for which the other may not be
    /// prepared.
    ///
    /// Errors: the kernel's for a descriptor that is not open or no socket;
    /// std::errc::wrong_protocol_type for a socket that is not UDP; errc::not_supported for other
    /// families than IPv4 and IPv6; errc::not_connected, errc::already_connected for what is not
    /// `wanted`.
    [[nodiscard]] result<endpoint_id> adopt(int descriptor, ownership how,
                                            const udp_options& options = {},
                                            connectedness wanted = connectedness::any);

    // --- the peer of an open endpoint of one socket ---
    // What is queued is flushed first; what the kernel does not take then keeps its destination.
    // What the socket had received before stays readable, whoever sent it. local_addresses() may
    // change: a socket bound to every interface has one address while it is connected.
    // Errors: errc::closed; errc::not_supported for an endpoint of several sockets; the kernel's.

    /// From here on the kernel lets only `peer` in and reports its refusals.
    /// Errors: errc::already_connected, errc::wrong_family, errc::invalid_address.
    status connect(endpoint_id endpoint, const address& peer);
    /// To another peer, or to a first one. A refusal by the former peer is still reported. When it
    /// fails the former peer stays.
    status reconnect(endpoint_id endpoint, const address& peer);
    /// From here on anybody may send; the port number stays. The kernel gives up one that it chose
    /// itself, and it is bound again at once (measured on Linux 6.18): std::errc::address_in_use if
    /// somebody was faster. Errors: errc::not_connected.
    status disconnect(endpoint_id endpoint);

    /// Binds a UNIX datagram socket; unnamed: autobind. A path that exists is never taken over; the
    /// one that was made is removed when the endpoint closes, if it still is that file.
    /// unix_datagram makes of what receive() returns one with its peer and its descriptors.
    [[nodiscard]] result<endpoint_id> open_unix(const unix_address& where,
                                                const unix_options& options = {});
    /// Connected: only `peer` gets in. When it is gone a send counts as an error and receive()
    /// hears of the refusal; when it is there again, by that name, sends reach it.
    [[nodiscard]] result<endpoint_id> open_unix_connection(const unix_address& peer,
                                                           const unix_options& options = {});
    /// Stops receiving; flushes what is queued, however long the kernel takes. Idempotent.
    void close(endpoint_id endpoint) noexcept;
    /// As close(), but drops what is queued.
    void abort(endpoint_id endpoint) noexcept;
    /// Forgets the endpoint; what was not read is abandoned. Closes it first (one flush) if need
    /// be; its ports can be bound again when this returns (with workers it waits for theirs to let
    /// go, for one of their turns). Its share of socket_count_max is free after the next turn.
    void release(endpoint_id endpoint) noexcept;
    [[nodiscard]] bool is_closing(endpoint_id endpoint) const noexcept;
    /// closed() has been called, or would have been.
    [[nodiscard]] bool is_closed(endpoint_id endpoint) const noexcept;

    // --- turning ---

    /// Sends what is queued, waits until something happens or the deadline passes, fills the
    /// queues, then calls `events`. Never waits past wake(). Returns how many things arrived.
    /// Error: errc::forked in a child of the process that made the port; nothing else.
    result<std::size_t> turn(clock::time_point deadline, port_events& events);
    /// Makes a turn that waits, or the next one that would, return. Any thread; async-signal-safe.
    void wake() noexcept;
    [[nodiscard]] bool is_called_from_its_thread() const noexcept;
    /// The port belongs to whichever thread uses it next; that it does so after this call is for
    /// the caller to see to. REQUIRES: on epoll and without workers (an io_uring has one thread for
    /// good); no datagram of it is held.
    void let_go_of_thread() noexcept;

    // --- in a loop that is not quoit's ---
    // It watches one descriptor, and turns the port when that is readable:
    //
    //   auto watched = or_throw(port.descriptor());
    //   for (;;) {
    //       port.turn(quoit::port::at_once, events);           // and what there is to do about it
    //       port.prepare_to_wait(next_timer);
    //       poll(watched);                                     // whoever waits, and for what else
    //   }

    /// Readable (level-triggered) when a turn has something to do; from the start, so that there is
    /// a first turn. The port's to close. Made by the first call: others pay nothing for it. From
    /// then on waiting::busy_poll does not spin on this thread. Errors: the kernel's (EMFILE);
    /// errc::forked.
    [[nodiscard]] result<int> descriptor();
    /// After a turn, and after whatever else was done to the port since (opening, sending, giving
    /// datagrams back): sends what is queued, and readies the descriptor, which is readable from
    /// `deadline` on at the latest, and at once if there is something to do already. Without it
    /// nobody hears of what comes. Nothing happens when there is no descriptor.
    void prepare_to_wait(clock::time_point deadline);

    // --- receiving ---

    /// Errors: errc::would_block; errc::closed once everything has been read; a refusal.
    [[nodiscard]] result<datagram> receive(endpoint_id endpoint);
    /// Appends up to `size_max` datagrams. Stops in front of a refusal; answers it when it comes
    /// first. Errors as receive().
    status receive_batch(endpoint_id endpoint, std::size_t size_max, datagram_batch& into);
    /// Datagrams and refusals that receive() would hand over now.
    [[nodiscard]] std::size_t readable_count(endpoint_id endpoint) const noexcept;

    // --- sending: queued in order, flushed by flush(), by turn(), and when 64 messages wait ---
    // Errors, all known at the call: errc::closed, errc::message_too_long, errc::wrong_family,
    // errc::invalid_address (port 0), errc::not_connected (no destination), errc::already_connected
    // (another destination than the peer), errc::would_block (the queue is full), and
    // std::errc::permission_denied (broadcast without the option). Pieces make one datagram.

    status sendto(endpoint_id endpoint, std::span<const byte_view> pieces, const address& to);
    /// Connected endpoints.
    status send(endpoint_id endpoint, std::span<const byte_view> pieces);
    /// To its sender (as reply()), or to `to`, straight from the receive buffer. The
    /// datagram is taken over when the send is accepted, otherwise it stays the caller's.
    status send(endpoint_id endpoint, datagram&& received);
    status sendto(endpoint_id endpoint, datagram&& received, const address& to);
    /// At once, by a system call of its own; errc::would_block when the kernel would, or when
    /// something is queued before it; the kernel's errno otherwise.
    status try_sendto(endpoint_id endpoint, byte_view payload, const address& to);
    status try_send(endpoint_id endpoint, byte_view payload);
    /// Answers a datagram from the socket, and the address, it came to (quoit::reply_source).
    status reply(endpoint_id endpoint, const datagram_view& to, byte_view payload);
    /// UNIX endpoints. Also refused: errc::invalid_address (an unnamed destination, one too long),
    /// errc::message_too_long (above 65 527 bytes), and what is wrong with a descriptor.
    status sendto(endpoint_id endpoint, std::span<const byte_view> pieces, const unix_address& to,
                  const ancillary& with = {});
    status send(endpoint_id endpoint, std::span<const byte_view> pieces, const ancillary& with);
    /// Every endpoint's queue, as far as the kernel takes it.
    void flush() noexcept;
    void flush(endpoint_id endpoint) noexcept;
    /// Bytes that wait to be sent, 64 more for each datagram than its payload.
    [[nodiscard]] std::size_t send_queue_size(endpoint_id endpoint) const noexcept;

    // --- what is ---

    /// One for each socket; empty for a stale id. Valid until release().
    [[nodiscard]] std::span<const address> local_addresses(endpoint_id endpoint) const noexcept;
    [[nodiscard]] std::optional<address> peer_address(endpoint_id endpoint) const noexcept;
    /// Of UNIX endpoints; otherwise unnamed, and none.
    [[nodiscard]] unix_address unix_local_address(endpoint_id endpoint) const noexcept;
    [[nodiscard]] std::optional<unix_address> unix_peer_address(
        endpoint_id endpoint) const noexcept;
    /// Of the first socket, to look at and to set options on, not to close; -1 when closed.
    [[nodiscard]] int descriptor(endpoint_id endpoint) const noexcept;
    /// What it was opened with, defaults filled in.
    [[nodiscard]] udp_options options(endpoint_id endpoint) const noexcept;
    [[nodiscard]] buffer_sizes buffers(endpoint_id endpoint) const;
    [[nodiscard]] status set_broadcast(endpoint_id endpoint, bool allowed);
    [[nodiscard]] bool broadcast(endpoint_id endpoint) const noexcept;

    // --- multicast groups ---
    // An endpoint receives what is sent to groups that it has joined, whatever others on this host
    // have (IP_MULTICAST_ALL and IPV6_MULTICAST_ALL are off), and on the port it is bound to. It
    // must be bound to every interface, or to the group. Of several sockets, the one of the
    // group's family joins. Groups are left when the socket is closed.
    //
    // Errors: errc::closed; errc::wrong_family; errc::invalid_option for an address that is no
    // group; std::errc::no_such_device for an interface there is not, or no route to the group;
    // std::errc::address_in_use for a group that was joined already; and
    // std::errc::address_not_available for one that was not. Who has joined a group as a whole can
    // neither join nor leave a source of it (the same errors): the kernel would stop delivering all
    // other sources, or all of them (Linux net/ipv4/igmp.c, ip_mc_source).

    [[nodiscard]] status join_group(endpoint_id endpoint, const ip& group,
                                    const group_options& options = {});
    [[nodiscard]] status leave_group(endpoint_id endpoint, const ip& group,
                                     const group_options& options = {});
    /// Of all its sockets. Errors: errc::closed; errc::invalid_option;
    /// std::errc::no_such_device.
    [[nodiscard]] status set_multicast(endpoint_id endpoint, const multicast_options& options);
    /// Of the first socket, as the kernel has it; nothing when there is none.
    [[nodiscard]] multicast_options multicast(endpoint_id endpoint) const noexcept;

    /// Packets over TCP, by the same thread and the same turns. Lives as long as the port.
    [[nodiscard]] packet_port& packets() noexcept;
    [[nodiscard]] const packet_port& packets() const noexcept;

    /// The endpoint's ledger; readable until release().
    [[nodiscard]] quoit::stats stats(endpoint_id endpoint) const;
    /// All endpoints', closed and released ones included.
    [[nodiscard]] quoit::stats stats() const;
    [[nodiscard]] quoit::engine_stats engine_stats() const noexcept;
    [[nodiscard]] const quoit::capabilities& capabilities() const noexcept;
    [[nodiscard]] const loop_options& options() const noexcept;

  private:
    class implementation;
    explicit port(std::unique_ptr<implementation> made) noexcept;
    std::unique_ptr<implementation> implementation_;
};

}  // namespace quoit
