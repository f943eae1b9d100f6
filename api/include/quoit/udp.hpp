// SPDX-License-Identifier: MIT
//
// UDP endpoints: a server takes datagrams from anybody, a client is connected to one peer.
//
//   auto server = or_throw(co_await quoit::start_udp_server({"127.0.0.1", 9999}));
//   while (auto datagram = co_await server.read()) server.reply(std::move(*datagram));
//
// Sending copies the payload before it returns, or takes the datagram's buffer over, so temporaries
// are safe. It never blocks and never waits: it queues in order, up to send_queue_size_max, and is
// flushed at the end of the loop's turn. What it reports is what is known at the call (see
// port.hpp); the rest is counted, and a refusal is reported once to the next read of a client.
//
// Life: close() stops receiving and flushes; what was received stays readable, then reads answer
// errc::closed. The destructor closes, flushes once, and frees the port. Handles move; one that was
// moved from, and one whose loop is gone, answers errc::closed to everything.
//
// Thread safety: none; the loop's thread. From elsewhere: handle().
#pragma once

#include <quoit/address.hpp>
#include <quoit/datagram.hpp>
#include <quoit/detail/counted.hpp>
#include <quoit/detail/endpoint.hpp>
#include <quoit/error.hpp>
#include <quoit/loop.hpp>
#include <quoit/options.hpp>
#include <quoit/payload.hpp>
#include <quoit/port.hpp>
#include <quoit/stats.hpp>
#include <quoit/task.hpp>

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <utility>

namespace quoit {

namespace detail {
class loop_mailbox;
struct udp_access;
}  // namespace detail

/// Closes an endpoint from any thread, safely after the endpoint's and the loop's death, when it
/// does nothing. Copyable.
/// Errors: close() and abort() post to the loop, and may throw std::bad_alloc; then nothing has
/// been asked.
class endpoint_handle {
  public:
    /// Of nothing.
    endpoint_handle() noexcept = default;
    endpoint_handle(std::shared_ptr<detail::loop_mailbox> mailbox, endpoint_id id) noexcept
        : mailbox_(std::move(mailbox)), id_(id) {}

    /// Asks the loop to do what udp_socket::close() does, in its next turn.
    void close() const { post_close({.drops_what_is_queued = false}); }
    /// Asks the loop to do what udp_socket::abort() does, in its next turn.
    void abort() const { post_close({.drops_what_is_queued = true}); }

  private:
    struct close_options {
        bool drops_what_is_queued = false;
    };
    void post_close(close_options how) const;

    std::shared_ptr<detail::loop_mailbox> mailbox_;
    endpoint_id id_;
};

/// What servers and clients share but for reading.
class udp_socket {
  public:
    /// Closed.
    udp_socket() noexcept = default;
    udp_socket(udp_socket&&) noexcept = default;
    udp_socket& operator=(udp_socket&& other) noexcept;
    ~udp_socket();

    // --- addresses ---
    /// Of the first socket; unspecified when closed by destruction or moved from.
    [[nodiscard]] address local_address() const noexcept;
    /// One for each socket. Valid while this handle lives.
    [[nodiscard]] std::span<const address> local_addresses() const noexcept;
    /// Of a client, and of whatever was connected.
    [[nodiscard]] std::optional<address> peer_address() const noexcept;
    /// Of the first socket, to look at and to set options on, not to close; -1 once the endpoint
    /// is closed, of a handle that was moved from, and when the loop is gone.
    [[nodiscard]] int descriptor() const noexcept;

    // --- the peer; of an endpoint with one socket. See port::connect for what becomes of what is
    // queued in either direction, and for the errors ---
    /// From here on only this peer is let in, and its refusals are reported to read().
    /// Errors: errc::already_connected: reconnect() changes the peer.
    status connect(const address& peer);
    status reconnect(const address& peer);
    /// From here on anybody is let in again. Errors: errc::not_connected.
    status disconnect();

    // --- sending; errors as port::sendto ---
    status sendto(byte_view payload, const address& to);
    /// Straight from the receive buffer.
    status sendto(datagram&& received, address to);
    /// The pieces make one datagram.
    status sendto_pieces(std::span<const byte_view> pieces, const address& to);
    status sendto_pieces(std::initializer_list<byte_view> pieces, const address& to);
    /// To the peer of a client; errc::not_connected on a server.
    status send(byte_view payload);
    status send(datagram&& received);
    status send_pieces(std::span<const byte_view> pieces);
    status send_pieces(std::initializer_list<byte_view> pieces);
    /// Answers the sender, from the socket and the address it wrote to (quoit::reply_source).
    status reply(const datagram_view& to, byte_view payload);
    status reply(const datagram& to, byte_view payload);
    /// The same bytes back, straight from the receive buffer.
    status reply(datagram&& received);
    /// At once, by a system call of its own; errc::would_block when the kernel would block or when
    /// something is queued before it; otherwise the kernel's errno.
    status try_sendto(byte_view payload, const address& to);
    status try_send(byte_view payload);
    /// Now, not at the end of the turn, as far as the kernel takes it. What it does not take stays
    /// queued. Does nothing when the handle was moved from or the loop is gone.
    void flush() noexcept;
    /// Waits while more than send_high_water bytes are queued, until no more than send_low_water
    /// are. A status. Errors: errc::closed after abort() or destruction; errc::canceled.
    [[nodiscard("co_await it")]] detail::drain_operation drain() noexcept {
        return detail::drain_operation(endpoint_.get());
    }

    // --- life ---
    /// Stops receiving, flushes what is queued. Wakes every read that waits. Idempotent.
    void close() noexcept;
    /// As close(), but drops what is queued.
    void abort() noexcept;
    [[nodiscard]] bool is_closing() const noexcept;
    /// Until everything is flushed or dropped and the ports can be bound again. Any number of
    /// waiters, before or after. A status. Errors: errc::canceled, which harms no other waiter.
    [[nodiscard("co_await it")]] detail::closed_operation wait_closed() noexcept {
        return detail::closed_operation(endpoint_.get());
    }
    [[nodiscard]] endpoint_handle handle() const noexcept;

    // --- options in force ---
    /// The kernel's buffers of the first socket; all zero once the endpoint is closed, of a handle
    /// that was moved from, and when the loop is gone.
    [[nodiscard]] buffer_sizes buffers() const;
    /// Errors: errc::closed, from close() on as well; otherwise the kernel's.
    [[nodiscard]] status set_broadcast(bool allowed);
    /// False also when there is no socket to ask.
    [[nodiscard]] bool broadcast() const noexcept;
    /// See port::join_group for where an endpoint must be bound, and for the errors.
    [[nodiscard]] status join_group(const ip& group, const group_options& options = {});
    [[nodiscard]] status leave_group(const ip& group, const group_options& options = {});
    [[nodiscard]] status set_multicast(const multicast_options& options);
    /// Nothing is filled in when there is no socket to ask.
    [[nodiscard]] multicast_options multicast() const noexcept;

    /// The endpoint's ledger; readable after close, and after the loop is gone (as it stood then).
    /// Of a handle that was moved from: all zero.
    [[nodiscard]] quoit::stats stats() const;

  protected:
    explicit udp_socket(detail::counted_ptr<detail::loop_endpoint> endpoint) noexcept
        : endpoint_(std::move(endpoint)) {}
    [[nodiscard]] detail::loop_endpoint* endpoint() const noexcept { return endpoint_.get(); }

  private:
    friend struct detail::udp_access;
    [[nodiscard]] port* live_port() const noexcept {
        return endpoint_ ? endpoint_->live_port() : nullptr;
    }

    detail::counted_ptr<detail::loop_endpoint> endpoint_;
};

/// Reading with one budget of waiting:
///
///   auto incoming = server.iterate({.budget = 100ms});
///   while (auto datagram = co_await incoming.next()) ...
///
/// Only what next() waits is charged. The iteration ends when the budget is used up and nothing is
/// queued, at close, or on cancellation, and stays ended. A budget of 0 takes what is there, after
/// one turn of the loop. Refusals are skipped (they are counted).
/// Ownership: keeps what it reads from, not its socket open.
class incoming {
  public:
    /// Ends at once, with errc::closed.
    incoming() noexcept : incoming({}, {}) {}
    incoming(detail::counted_ptr<detail::loop_endpoint> endpoint,
             incoming_options options) noexcept;

    /// REQUIRES: this is not moved or destroyed while it is awaited.
    [[nodiscard]] task<std::optional<datagram>> next();
    /// Why it has ended: errc::timed_out, errc::closed, errc::canceled, errc::invalid_option.
    /// Success while it has not.
    [[nodiscard]] const status& ended() const noexcept { return ended_; }

  private:
    [[nodiscard]] bool has_ended() const noexcept { return !ended_; }
    [[nodiscard]] bool is_budgeted() const noexcept { return left_.has_value(); }

    detail::counted_ptr<detail::loop_endpoint> endpoint_;
    std::optional<std::chrono::nanoseconds> left_;
    bool may_poll_ = false;
    status ended_;
};

class udp_reader : public udp_socket {
  public:
    udp_reader() noexcept = default;

    /// The next datagram. Several may wait; they are served in order. Does not suspend, allocate or
    /// lock when one is queued. A limit of 0 is a poll: it waits for one turn of the loop.
    /// Errors: errc::timed_out; errc::closed, once everything has been read; errc::canceled, even
    /// if something is queued (it stays); errc::invalid_option; for clients the refusal the kernel
    /// reported (std::errc::connection_refused), once, after what was received before it.
    [[nodiscard("co_await it")]] detail::read_operation read() noexcept {
        return detail::read_operation(endpoint());
    }
    [[nodiscard("co_await it")]] detail::read_operation read(wait_options options) noexcept {
        return detail::read_operation(endpoint(), options);
    }
    /// As read(): at least one, at most `size_max`, as many as are queued.
    [[nodiscard("co_await it")]] detail::read_batch_operation read_batch(
        batch_options options = {}) noexcept {
        return detail::read_batch_operation(endpoint(), options);
    }
    /// What is queued and meant for nobody who waits; does not turn the loop.
    /// Errors: errc::would_block; errc::closed; a refusal.
    [[nodiscard]] result<datagram> try_read();
    [[nodiscard]] result<datagram_batch> try_read_batch(std::uint32_t size_max = 64);
    [[nodiscard]] incoming iterate(incoming_options options = {}) noexcept;

  protected:
    using udp_socket::udp_socket;
};

class udp_server : public udp_reader {
  public:
    udp_server() noexcept = default;

  private:
    friend struct detail::udp_access;
    using udp_reader::udp_reader;
};

class udp_client : public udp_reader {
  public:
    udp_client() noexcept = default;

  private:
    friend struct detail::udp_access;
    using udp_reader::udp_reader;
};

// Opening. `where` is copied before the function returns, so temporaries are safe; nothing happens
// before the task is awaited. An error says what was opened: "listen 127.0.0.1:9999: Address
// already in use". A host's name is resolved first (quoit/resolve.hpp): a server listens on all its
// addresses that this machine has, a client connects to the first that can be connected to. A port
// or an option out of range: errc::invalid_option.

/// {"127.0.0.1", 9999}; {"", 9999}: every interface, IPv4 and IPv6. Port 0: the kernel's choice.
[[nodiscard]] task<result<udp_server>> start_udp_server(host_port where, udp_options options = {});
/// One server on several addresses: all or none, with one cause for each address that failed.
[[nodiscard]] task<result<udp_server>> start_udp_server(std::span<const host_port> where,
                                                        udp_options options = {});
/// Connected: the kernel lets only this peer in and reports its refusals.
[[nodiscard]] task<result<udp_client>> open_udp_connection(host_port where,
                                                           udp_options options = {});

/// An endpoint made of a UDP socket that somebody else opened: see port::adopt for what is kept and
/// what is set, and quoit::ownership for whose the descriptor is. Belongs to the loop whose task
/// calls this. A server's socket has no peer, a client's has one: otherwise
/// errc::already_connected, errc::not_connected (and with ownership::take it is closed).
[[nodiscard]] result<udp_server> adopt_udp_server(int descriptor, ownership how,
                                                  const udp_options& options = {});
[[nodiscard]] result<udp_client> adopt_udp_client(int descriptor, ownership how,
                                                  const udp_options& options = {});

}  // namespace quoit
