// SPDX-License-Identifier: MIT
//
// The blocking surface: servers and clients without loop or coroutine.
//
//   auto client = or_throw(quoit::sync::open_udp_connection({"127.0.0.1", 9999}));
//   client.send("ping", {.timeout = 1s});
//   auto answer = client.read({.timeout = 1s});
//   for (auto& late : client.received({.budget = 100ms})) std::cout << late.text() << '\n';
//
// There is no ring and no hidden thread: the caller's thread receives, sends and waits. Datagrams
// have bytes of their own, which any thread may keep and drop. Offload is off: one system call a
// datagram; for many datagrams a loop is what one wants (udp.hpp). The kernel's buffers are the
// only queue, so of udp_options those about queues (on_full, send_queue_size_max, the water marks)
// rule nothing here, and queue_size_max only how much is kept that came before a refusal.
//
// Timeouts: none ({}), 0 s (a poll), a duration or a point in time. What has not happened by then
// is errc::timed_out, and nothing is lost: what comes later is the next call's. A negative or NaN
// duration is errc::invalid_option.
//
// Life: close(), from any thread, wakes everybody who waits with errc::closed; what the kernel
// still holds is counted as late, and the port can be bound again once they have left. The
// destructor closes. Handles move; one that was moved from answers errc::closed to everything.
//
// Thread safety: every operation of one handle may be called from any thread at the same time: one
// may wait in read() while another sends. Of several readers (or senders) one at a time is served;
// what the others wait for their turn counts in their timeout. Moving and destroying a handle is
// for one thread, when no other uses it. After fork() the child may only destroy it: errc::forked.
#pragma once

#include <quoit/address.hpp>
#include <quoit/datagram.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>
#include <quoit/payload.hpp>
#include <quoit/stats.hpp>
#include <quoit/time.hpp>

#include <chrono>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <span>

namespace quoit::detail {
class blocking_socket;
}  // namespace quoit::detail

namespace quoit::sync {

class incoming_range;

class udp_endpoint {
  public:
    /// Closed.
    udp_endpoint() noexcept = default;
    explicit udp_endpoint(std::shared_ptr<detail::blocking_socket> socket) noexcept;
    udp_endpoint(udp_endpoint&&) noexcept = default;
    udp_endpoint& operator=(udp_endpoint&& other) noexcept;
    ~udp_endpoint();

    // --- addresses; also after close() ---
    /// Of the first socket.
    [[nodiscard]] address local_address() const noexcept;
    /// One for each socket. Valid while this handle lives.
    [[nodiscard]] std::span<const address> local_addresses() const noexcept;
    /// Of a client.
    [[nodiscard]] std::optional<address> peer_address() const noexcept;
    /// Of the first socket, to look at and to set options on, not to close and not for UDP_GRO; -1
    /// once closed.
    [[nodiscard]] int descriptor() const noexcept;

    // --- receiving ---
    /// The next datagram. Errors: errc::timed_out, errc::closed, errc::invalid_option; for clients
    /// the refusal the kernel reported (std::errc::connection_refused), once, after what was
    /// received before it.
    [[nodiscard]] result<datagram> read(wait_options options = {});
    /// One after the other, until the budget of waiting is used up and nothing is there, or until
    /// close(). By default what is there now. Refusals are skipped (they are counted).
    [[nodiscard]] incoming_range received(incoming_options options = {
                                              .budget = std::chrono::seconds(0)});

    // --- sending. When these return the kernel has the datagram, or has refused it ---
    // Errors: those of port.hpp that are known at the call (errc::closed, errc::message_too_long,
    // errc::wrong_family, errc::invalid_address, errc::not_connected, errc::already_connected,
    // std::errc::permission_denied); errc::timed_out, errc::invalid_option; the kernel's errno. A
    // refusal of an earlier datagram is for the next read(), unless report_refused_on_send asks
    // for it here; then this datagram was not sent.

    /// To the peer of a client.
    status send(byte_view payload, wait_options options = {});
    /// The pieces make one datagram.
    status send_pieces(std::span<const byte_view> pieces, wait_options options = {});
    status send_pieces(std::initializer_list<byte_view> pieces, wait_options options = {});
    status sendto(byte_view payload, const address& to, wait_options options = {});
    status sendto_pieces(std::span<const byte_view> pieces, const address& to,
                         wait_options options = {});
    status sendto_pieces(std::initializer_list<byte_view> pieces, const address& to,
                         wait_options options = {});
    /// To the sender, from the socket it wrote to.
    status reply(const datagram& to, byte_view payload, wait_options options = {});

    // --- life ---
    void close() noexcept;
    [[nodiscard]] bool is_closing() const noexcept;

    // --- options in force ---
    /// Of the first socket; all zero once closed.
    [[nodiscard]] buffer_sizes buffers() const;
    status set_broadcast(bool allowed) noexcept;
    [[nodiscard]] bool broadcast() const noexcept;

    /// Also after close(). A datagram is never half counted: unexplained() is 0 at any time. What
    /// the kernel refused for good is among `accepted` and `errors`, and the send has said so.
    [[nodiscard]] quoit::stats stats() const;

  private:
    std::shared_ptr<detail::blocking_socket> socket_;
};

/// What udp_endpoint::received() gives, for a range-for:
///
///   auto incoming = client.received({.budget = 100ms});
///   for (quoit::datagram& one : incoming) keep(std::move(one));
///   if (incoming.ended() == quoit::errc::closed) ...
///
/// Only what reading waits is charged to the budget; what happens in between is not. Single pass.
/// Ownership: keeps what it reads from, not its socket open. Thread safety: one thread.
class incoming_range {
  public:
    class iterator;

    incoming_range(std::shared_ptr<detail::blocking_socket> socket,
                   incoming_options options) noexcept;
    incoming_range(const incoming_range&) = delete;
    incoming_range& operator=(const incoming_range&) = delete;

    /// Reads the first one. REQUIRES: called once; this outlives the iterator.
    [[nodiscard]] iterator begin();
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

    /// Why it has ended: errc::timed_out, errc::closed, errc::invalid_option. Success while it has
    /// not.
    [[nodiscard]] const status& ended() const noexcept { return ended_; }

  private:
    void advance();

    std::shared_ptr<detail::blocking_socket> socket_;
    std::optional<std::chrono::nanoseconds> left_;
    status ended_;
    datagram current_;
};

class incoming_range::iterator {
  public:
    using value_type = datagram;
    using difference_type = std::ptrdiff_t;

    explicit iterator(incoming_range& of) noexcept : of_(&of) {}
    [[nodiscard]] datagram& operator*() const noexcept { return of_->current_; }
    [[nodiscard]] datagram* operator->() const noexcept { return &of_->current_; }
    iterator& operator++() {
        of_->advance();
        return *this;
    }
    void operator++(int) { of_->advance(); }
    [[nodiscard]] bool operator==(std::default_sentinel_t) const noexcept { return !of_->ended_; }

  private:
    incoming_range* of_;
};

class udp_client : public udp_endpoint {
  public:
    using udp_endpoint::udp_endpoint;
};

class udp_server : public udp_endpoint {
  public:
    using udp_endpoint::udp_endpoint;
};

// Opening, on the caller's thread. An error says what was opened: "listen 127.0.0.1:9999: Address
// already in use"; where several addresses were tried, it has one cause for each. A port or an
// option out of range: errc::invalid_option.

/// Connected: the kernel lets only this peer in and reports its refusals. Of a name the first
/// address that works.
[[nodiscard]] result<udp_client> open_udp_connection(host_port where,
                                                     const udp_options& options = {});
/// {"127.0.0.1", 9999}; {"", 9999}: every interface, IPv4 and IPv6. Port 0: the kernel's choice. A
/// name stands for all its addresses that this machine has.
[[nodiscard]] result<udp_server> start_udp_server(host_port where, const udp_options& options = {});
/// One server on several addresses: all or none.
[[nodiscard]] result<udp_server> start_udp_server(std::span<const host_port> where,
                                                  const udp_options& options = {});

}  // namespace quoit::sync
