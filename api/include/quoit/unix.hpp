// SPDX-License-Identifier: MIT
//
// UNIX datagrams: a server takes them from anybody who may write to its path, a client is connected
// to one server. The facade of quoit/udp.hpp with another kind of address, and with descriptors and
// credentials beside the payload.
//
//   auto server = or_throw(quoit::start_unix_server("app.sock", {.mode = 0600}));
//   while (auto datagram = co_await server.read()) {
//       for (auto& file : datagram->take_descriptors()) append(file.get(), datagram->text());
//       server.reply(*datagram, "done");
//   }
//
//   auto client = or_throw(quoit::open_unix_connection("app.sock"));  // can be answered
//   const int passed[] = {log.get()};
//   client.send("a line\n", {.descriptors = passed});
//
// UNIX datagrams are not lost on the way: a peer that does not read makes sends wait in this
// endpoint's queue. A client's wait until it is writable. A server's wait for that destination
// only, which is tried again for a second; then they count as errors. What peers have not read is
// charged to the server's send buffer, though: when those that do not read have used it up (each
// net.unix.max_dgram_qlen datagrams, 10 by default), nobody can be sent anything until one of them
// reads or goes. Sends wait for that, ten seconds at most, and then count as errors: give a server
// of many slow peers with long datagrams a larger send_buffer_size. A peer that is gone is
// reported to a client's next read (std::errc::connection_refused) for each datagram that could not
// be sent; when it is there again, by its name, sends reach it.
//
// Descriptors that nobody took are closed with their datagram, read or not. A path is removed when
// its endpoint closes, if it is still the file that was made; one that exists is never taken over.
//
// Life, ownership, sending and thread safety: as in quoit/udp.hpp. Opening waits for nothing, so
// these functions return results and no tasks; they are called by tasks, on the loop that runs
// them.
#pragma once

#include <quoit/detail/counted.hpp>
#include <quoit/detail/endpoint.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>
#include <quoit/payload.hpp>
#include <quoit/port.hpp>
#include <quoit/stats.hpp>
#include <quoit/udp.hpp>
#include <quoit/unix_address.hpp>
#include <quoit/unix_datagram.hpp>
#include <quoit/unix_options.hpp>

#include <initializer_list>
#include <optional>
#include <span>
#include <utility>

namespace quoit {

namespace detail {

struct unix_access;

/// The next datagram of a UNIX endpoint. See read_operation.
class [[nodiscard("co_await it")]] unix_read_operation final : public loop_endpoint::reader {
  public:
    unix_read_operation(loop_endpoint* endpoint, wait_options options) noexcept
        : reader(endpoint, options.timeout) {}
    result<unix_datagram> await_resume() {
        if (!may_take()) return std::unexpected(answer_as_status().error());
        result<datagram> taken = endpoint().take();
        if (!taken) return std::unexpected(std::move(taken).error());
        return unix_datagram(*std::move(taken));
    }
};

}  // namespace detail

/// What UNIX servers and clients share.
class unix_endpoint {
  public:
    /// Closed.
    unix_endpoint() noexcept = default;
    unix_endpoint(unix_endpoint&&) noexcept = default;
    unix_endpoint& operator=(unix_endpoint&& other) noexcept;
    ~unix_endpoint();

    // --- addresses ---
    /// Also after close.
    [[nodiscard]] const unix_address& local_address() const noexcept { return local_; }
    /// Of a client.
    [[nodiscard]] const std::optional<unix_address>& peer_address() const noexcept { return peer_; }
    /// To look at and to set options on, not to close; -1 once the endpoint is closed, of a handle
    /// that was moved from, and when the loop is gone.
    [[nodiscard]] int descriptor() const noexcept;

    // --- sending; errors as port::sendto for UNIX endpoints ---
    status sendto(byte_view payload, const unix_address& to, const ancillary& with = {});
    /// The pieces make one datagram.
    status sendto_pieces(std::initializer_list<byte_view> pieces, const unix_address& to,
                         const ancillary& with = {});
    /// To the peer of a client; errc::not_connected on a server.
    status send(byte_view payload, const ancillary& with = {});
    status send_pieces(std::initializer_list<byte_view> pieces, const ancillary& with = {});
    /// To its sender; errc::invalid_address when that has no name.
    status reply(const unix_datagram& to, byte_view payload, const ancillary& with = {});
    /// Now, not at the end of the turn. See udp_socket::flush().
    void flush() noexcept;
    /// See udp_socket::drain().
    [[nodiscard("co_await it")]] detail::drain_operation drain() noexcept {
        return detail::drain_operation(endpoint_.get());
    }

    // --- reading ---
    /// As udp_reader::read(): several may wait; a limit of 0 is a poll.
    [[nodiscard("co_await it")]] detail::unix_read_operation read(
        wait_options options = {}) noexcept {
        return detail::unix_read_operation(endpoint_.get(), options);
    }
    /// What is queued and meant for nobody who waits; does not turn the loop.
    /// Errors: errc::would_block; errc::closed; a refusal.
    [[nodiscard]] result<unix_datagram> try_read();

    // --- life ---
    /// Stops receiving, flushes what is queued (until nobody has taken anything for a second: the
    /// rest counts as errors), removes the path. Wakes every read that waits. Idempotent.
    void close() noexcept;
    /// As close(), but drops what is queued.
    void abort() noexcept;
    [[nodiscard]] bool is_closing() const noexcept;
    /// Until everything is flushed or dropped and the name can be bound again. See
    /// udp_socket::wait_closed().
    [[nodiscard("co_await it")]] detail::closed_operation wait_closed() noexcept {
        return detail::closed_operation(endpoint_.get());
    }
    [[nodiscard]] endpoint_handle handle() const noexcept;

    /// The kernel's buffers; all zero once the endpoint is closed.
    [[nodiscard]] buffer_sizes buffers() const;
    /// The endpoint's ledger; readable after close, and after the loop is gone.
    [[nodiscard]] quoit::stats stats() const;

  protected:
    unix_endpoint(detail::counted_ptr<detail::loop_endpoint> endpoint, const unix_address& local,
                  const std::optional<unix_address>& peer) noexcept
        : endpoint_(std::move(endpoint)), local_(local), peer_(peer) {}

  private:
    [[nodiscard]] port* live_port() const noexcept {
        return endpoint_ ? endpoint_->live_port() : nullptr;
    }

    detail::counted_ptr<detail::loop_endpoint> endpoint_;
    unix_address local_;
    std::optional<unix_address> peer_;
};

class unix_server : public unix_endpoint {
  public:
    unix_server() noexcept = default;

  private:
    friend struct detail::unix_access;
    using unix_endpoint::unix_endpoint;
};

class unix_client : public unix_endpoint {
  public:
    unix_client() noexcept = default;

  private:
    friend struct detail::unix_access;
    using unix_endpoint::unix_endpoint;
};

/// Bound to `where`: a path, an abstract name, or unnamed for a name of the kernel's choice.
/// Errors: the kernel's, with "listen app.sock"; errc::invalid_address; errc::invalid_option.
/// REQUIRES: a loop runs on this thread.
[[nodiscard]] result<unix_server> start_unix_server(const unix_address& where,
                                                    const unix_options& options = {});
/// Connected to `where`, from options.local, or from a name of the kernel's choice.
/// Errors and requirement: as start_unix_server(), with "connect app.sock".
[[nodiscard]] result<unix_client> open_unix_connection(const unix_address& where,
                                                       const unix_options& options = {});

}  // namespace quoit
