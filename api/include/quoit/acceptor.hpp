// SPDX-License-Identifier: MIT
//
// udp_acceptor: a server's peers, one at a time; each is an endpoint of its own, with the read,
// send and close of a connection.
//
//   quoit::udp_acceptor peers(or_throw(co_await quoit::start_udp_server({"", 9999})));
//   quoit::task_group talks;
//   while (auto peer = co_await peers.accept()) talks.spawn(talk(std::move(*peer)));
//
// A connection is a queue and an address, over the server's own socket: no kernel socket, no port,
// no thread for each peer. A peer is known from its first datagram until its connection is closed;
// what it sends later makes a new one. How many are known, and how much waits for each, is bounded
// (peers.hpp).
//
// Ownership: the acceptor takes the server over. Connections end with it: what they have queued
// stays readable, then reads answer errc::closed, and so do sends. Handles move; one that was moved
// from answers errc::closed.
// Thread safety: none; the loop's thread.
#pragma once

#include <quoit/address.hpp>
#include <quoit/datagram.hpp>
#include <quoit/detail/counted.hpp>
#include <quoit/detail/peer_table.hpp>
#include <quoit/detail/reservations.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>
#include <quoit/payload.hpp>
#include <quoit/peers.hpp>
#include <quoit/stats.hpp>
#include <quoit/udp.hpp>

#include <span>
#include <utility>

namespace quoit {

namespace detail {
class acceptor_core;
class accept_operation;
}  // namespace detail

/// One peer of a server.
class udp_connection {
  public:
    /// Closed.
    udp_connection() noexcept = default;
    explicit udp_connection(detail::counted_ptr<detail::peer> peer) noexcept
        : peer_(std::move(peer)) {}
    udp_connection(udp_connection&&) noexcept = default;
    udp_connection& operator=(udp_connection&& other) noexcept;
    ~udp_connection() { close(); }

    [[nodiscard]] address peer_address() const noexcept {
        return peer_ ? peer_->remote() : address();
    }
    /// The address it wrote to, or that of the socket where that is not known.
    [[nodiscard]] address local_address() const noexcept {
        return peer_ ? peer_->local() : address();
    }

    /// Its next datagram. Errors: errc::timed_out, errc::closed, errc::canceled,
    /// errc::invalid_option. Without a limit: peer_options::idle_time_max.
    [[nodiscard("co_await it")]] detail::peer_read_operation read(
        wait_options options = {}) noexcept {
        return detail::peer_read_operation(peer_, options);
    }
    /// From the socket and the address it wrote to. Errors: as udp_socket::reply().
    status send(byte_view payload) { return peer_ ? peer_->send(payload) : status(errc::closed); }

    /// What is queued stays readable. Idempotent.
    void close() noexcept {
        if (peer_) peer_->close();
    }
    [[nodiscard]] bool is_closing() const noexcept { return !peer_ || peer_->is_closing(); }

  private:
    detail::counted_ptr<detail::peer> peer_;
};

class udp_acceptor {
  public:
    /// Closed.
    udp_acceptor() noexcept = default;
    /// What has arrived at the server already is not lost. May throw std::bad_alloc.
    explicit udp_acceptor(udp_server server, peer_options options = {});
    udp_acceptor(udp_acceptor&&) noexcept = default;
    udp_acceptor& operator=(udp_acceptor&& other) noexcept;
    /// Frees the port, ends the connections.
    ~udp_acceptor();

    /// The next peer that is new; its first datagram is there to be read. Several may wait.
    /// Errors: errc::timed_out; errc::closed; errc::canceled; errc::invalid_option, for the
    /// options given to the constructor too.
    [[nodiscard("co_await it")]] detail::accept_operation accept(
        wait_options options = {}) noexcept;

    [[nodiscard]] address local_address() const noexcept;
    [[nodiscard]] std::span<const address> local_addresses() const noexcept;
    /// Stops receiving. What was received goes to its connections; then those end.
    void close() noexcept;
    [[nodiscard]] bool is_closing() const noexcept;
    /// See udp_socket::wait_closed().
    [[nodiscard("co_await it")]] detail::closed_operation wait_closed() noexcept;

    [[nodiscard]] peer_stats peers() const noexcept;
    /// The server's ledger.
    [[nodiscard]] quoit::stats stats() const;

  private:
    detail::counted_ptr<detail::acceptor_core> core_;
};

namespace detail {

/// What an acceptor is; kept by its handle, by who waits in accept() and by the task that receives.
class acceptor_core final : private peer_host {
  public:
    acceptor_core(udp_server server, const peer_options& options);

    void retain() noexcept { ++references_; }
    void release() noexcept {
        if (--references_ == 0) delete this;
    }
    /// Starts receiving, once. Errors: of the options.
    status start();
    /// The handle is gone.
    void abandon() noexcept;
    [[nodiscard]] counted_ptr<peer> take() noexcept;
    [[nodiscard]] reservations& backlog() noexcept { return waiting_; }
    [[nodiscard]] udp_server& server() noexcept { return server_; }
    [[nodiscard]] const peer_table& table() const noexcept { return *table_; }

  private:
    ~acceptor_core();
    void came(peer& one) override;
    void forgotten(peer& one) noexcept override;
    class receiving;
    static task<> receive(receiving self);
    void end() noexcept;

    udp_server server_;
    counted_ptr<peer_table> table_;
    chain<peer, in_backlog> backlog_;  // each holds one reference
    reservations waiting_;
    std::uint32_t references_ = 0;
    bool is_started_ = false;
};

class [[nodiscard("co_await it")]] accept_operation final : private keeps<acceptor_core>,
                                                            public reservations::claim {
  public:
    accept_operation(counted_ptr<acceptor_core> core, time_limit limit) noexcept
        : keeps(core), claim(core ? &core->backlog() : nullptr, limit) {}
    template <task_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> frame) {
        if (kept() != nullptr) started_ = kept()->start();
        return started_ && claim::await_suspend(frame);
    }
    result<udp_connection> await_resume() {
        if (!started_) return std::unexpected(started_.error());
        if (!may_take()) return std::unexpected(answer_as_status().error());
        return udp_connection(kept()->take());
    }

  private:
    status started_;
};

}  // namespace detail

inline detail::accept_operation udp_acceptor::accept(wait_options options) noexcept {
    return detail::accept_operation(core_, options.timeout);
}

}  // namespace quoit
