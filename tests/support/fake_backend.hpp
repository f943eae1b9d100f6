// SPDX-License-Identifier: MIT
//
// fake_network and fake_backend: datagram sockets and an io_backend in memory, for tests that want
// a kernel which does exactly as it is told.
//
//   fake_network net;
//   const int server = *net.open(family::ipv4);              a small integer, not a descriptor
//   net.set_error(server, ECONNREFUSED);                     the next receive reports it
//   net.set_send_room(server, 3);                            three messages go, then EAGAIN
//   auto backend = make_fake_backend(options, net);
//
// What it has in common with Linux, because the contract is about it: a socket's queue is bounded
// and drops what does not fit; an error is reported ahead of datagrams that are already queued, and
// by a send as well as by a receive; a connected socket that sends to a port nobody has gets
// ECONNREFUSED later. What it has not: time, merging, fragments, more hosts than one per family.
//
// It fills buffers of a real buffer_pool in the real layout, and asserts what io_backend requires
// of its callers: one thread, no call back from deliver(), no more sources than there is room for.
//
// Threads: a fake_network may be used by any; a fake_backend by one, except wake().
#pragma once

#include "backend/backend.hpp"

#include <quoit/address.hpp>
#include <quoit/error.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <expected>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace quoit::test {

class fake_network {
  public:
    /// What a socket has received.
    struct arrival {
        address from;
        std::vector<std::byte> payload;
        std::vector<std::byte> control;  // as the kernel would write it
    };

    fake_network() = default;
    fake_network(const fake_network&) = delete;
    fake_network& operator=(const fake_network&) = delete;

    // All functions that return an int return 0 or a negated errno.

    /// A socket bound to its family's loopback address; port 0: the next one that is free. Errors:
    /// EADDRINUSE.
    [[nodiscard]] std::expected<int, int> open(family of, std::uint16_t port = 0);
    [[nodiscard]] int connect(int fd, const address& to);
    /// Drops what is queued; the port is free at once. REQUIRES: no backend receives from it.
    void close(int fd);
    [[nodiscard]] address local(int fd) const;

    /// `to` may be null on a connected socket. With a segment the message is a train, which arrives
    /// whole, with a UDP_GRO control message, at sockets that want that, and otherwise in parts.
    [[nodiscard]] int send(int fd, std::span<const std::byte> payload, const address* to,
                           std::uint16_t segment = 0);
    /// Errors: EAGAIN, and the socket's own, which is taken by reporting it.
    [[nodiscard]] std::expected<arrival, int> receive(int fd);

    /// Puts anything at all into a socket's queue.
    void inject(int fd, arrival what);
    void set_error(int fd, int error);
    /// Sends that succeed before EAGAIN; nothing: no limit.
    void set_send_room(int fd, std::optional<std::size_t> messages);
    void set_queue_size_max(int fd, std::size_t datagrams);
    void set_gro(int fd, bool is_on);

    [[nodiscard]] std::size_t queued(int fd) const;
    [[nodiscard]] bool has_error(int fd) const;
    [[nodiscard]] std::uint64_t dropped(int fd) const;

    // For backends.
    struct readiness {
        bool is_readable = false;  // a datagram or an error
        bool is_writable = false;
    };
    [[nodiscard]] readiness look(int fd) const;
    /// Raises the eventfd `waker` when something happens to the socket; -1: no longer.
    void watch(int fd, int waker);

  private:
    struct socket {
        address local;
        std::optional<address> peer;
        std::deque<arrival> queue;
        std::size_t queue_size_max = 256;
        std::optional<std::size_t> send_room;
        std::uint64_t dropped = 0;
        int error = 0;
        int waker = -1;
        bool has_gro = false;
    };
    [[nodiscard]] socket& at(int fd);
    [[nodiscard]] const socket& at(int fd) const;
    [[nodiscard]] socket* find_bound(const address& to);
    void arrive(socket& where, arrival what);
    void notify(const socket& where) const;

    mutable std::mutex mutex_;
    std::map<int, socket> sockets_;
    std::uint16_t next_port_ = 40'000;
};

/// A backend for `net`, which outlives it; source_options come with descriptors of `net`. Its
/// about().backend is `automatic`, which no real backend's is.
[[nodiscard]] result<std::unique_ptr<detail::io_backend>> make_fake_backend(
    const detail::backend_options& options, fake_network& net);

}  // namespace quoit::test
