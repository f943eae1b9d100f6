// SPDX-License-Identifier: MIT
//
// blocking_socket: what quoit::sync and quoit::request_server stand on. One endpoint (1..n sockets)
// without port, ring or thread: whoever calls receives and sends, and waits in poll(2).
//
//   auto client = or_throw(detail::blocking_socket::connect(peer, {}));
//   client->send(pieces, {.timeout = 1s});
//   result<datagram> answer = client->receive(1s);
//
// Threads: every function, from any thread, at the same time. One thread receives and one sends at
// a time; others wait for their turn, in no particular order, within their own time limit. close()
// wakes all of them. The descriptors are closed by whoever leaves last, not under somebody's feet.
//
// Invariants:
//   1. Between two calls nothing is held here but what came before a refusal (see receive()): the
//      kernel's buffers are the only queue, both ways, and a limit that passes loses nothing.
//   2. What is received lies in bytes of its own, which any thread may keep and drop. That
//      allocation is the only one of a call.
//   3. stats() never shows a datagram half counted: unexplained() is 0 at any time. A datagram that
//      the kernel refuses for good is counted as accepted and as an error, and the send says so.
//
// Memory: one receive buffer of payload_size_max bytes, used by whoever receives.
//
// Offload is off in both directions: a datagram a call. Of udp_options those about queues
// (on_full, send_queue_size_max, the water marks) have nothing to rule here.
//
// Errors: errc::closed; errc::timed_out; errc::invalid_option for a limit that is no time; for
// sends those of port.hpp that are known at the call, then the kernel's errno.
#pragma once

#include <quoit/address.hpp>
#include <quoit/datagram.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>
#include <quoit/payload.hpp>
#include <quoit/stats.hpp>
#include <quoit/time.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

namespace quoit::detail {

class blocking_socket {
  public:
    using opened = result<std::shared_ptr<blocking_socket>>;

    /// One socket on each address: all or none, with one cause for each that failed.
    [[nodiscard]] static opened listen(std::span<const address> where, const udp_options& options);
    /// IPv4 and IPv6 on one port number; only IPv4 where the machine has no IPv6.
    [[nodiscard]] static opened listen_on_every_interface(std::uint16_t port_number,
                                                          const udp_options& options);
    [[nodiscard]] static opened connect(const address& peer, const udp_options& options);

    blocking_socket(const blocking_socket&) = delete;
    blocking_socket& operator=(const blocking_socket&) = delete;
    /// REQUIRES: nobody is inside.
    virtual ~blocking_socket() = default;

    /// The next datagram, in bytes of its own. Of connected sockets also a refusal, once, after
    /// what was received before it (at most queue_size_max datagrams of that are kept here).
    /// Errors: also errc::canceled, see interrupt().
    [[nodiscard]] virtual result<datagram> receive(time_limit timeout) = 0;
    /// One receive() that waits, or else the next one, answers errc::canceled.
    virtual void interrupt() noexcept = 0;

    struct destination {
        const address* to = nullptr;  ///< null: the peer
        /// What is answered, if anything: the answer leaves by the socket that received it.
        const datagram_fields* request = nullptr;
    };
    /// The pieces make one datagram. A refusal of an earlier one that is met on the way goes to the
    /// next receive(), and this is sent once more; with report_refused_on_send it is answered.
    [[nodiscard]] virtual status send(std::span<const byte_view> pieces, destination where,
                                      time_limit timeout) = 0;

    /// Wakes everybody. What the kernel still holds is counted as late. Idempotent.
    virtual void close() noexcept = 0;
    [[nodiscard]] virtual bool is_closing() const noexcept = 0;

    /// Of each socket; as long as this lives.
    [[nodiscard]] virtual std::span<const address> local_addresses() const noexcept = 0;
    [[nodiscard]] virtual std::optional<address> peer() const noexcept = 0;
    /// Of the first socket; -1 once closing.
    [[nodiscard]] virtual int descriptor() const noexcept = 0;
    /// Of the first socket; zero once closing.
    [[nodiscard]] virtual buffer_sizes buffers() const = 0;
    [[nodiscard]] virtual status set_broadcast(bool allowed) noexcept = 0;
    [[nodiscard]] virtual bool broadcast() const noexcept = 0;
    [[nodiscard]] virtual quoit::stats stats() const = 0;

  protected:
    blocking_socket() noexcept = default;
};

}  // namespace quoit::detail
