// SPDX-License-Identifier: MIT
//
// stream_socket: one TCP socket: a listener, or a connection. Knows nothing of loops, buffers or
// packets.
//
// What is set on every socket, and why:
//   SOCK_NONBLOCK | SOCK_CLOEXEC   sockets are ours; MSG_DONTWAIT is passed all the same
//   IPV6_V6ONLY = 1                an IPv6 listener takes IPv6 only, whatever the sysctl says
//   SO_REUSEADDR = 1 on listeners  a server that is restarted must not wait for the connections of
//                                  the one before (TIME_WAIT); two live listeners on one port it
//                                  does not allow (tcp(7), socket(7))
//
// Threads: any, one at a time. Errors: the kernel's errno, with "listen 127.0.0.1:4200" or
// "connect ..." as context.
#pragma once

#include <quoit/address.hpp>
#include <quoit/error.hpp>
#include <quoit/file_descriptor.hpp>
#include <quoit/packet_options.hpp>

#include <sys/uio.h>

#include <cstddef>
#include <span>

namespace quoit::detail {

class stream_socket {
  public:
    stream_socket() noexcept = default;

    /// Bound and listening; port 0: the kernel's choice.
    [[nodiscard]] static result<stream_socket> listen(const address& where,
                                                      const packet_options& options);
    /// Begins to connect: is writable when it has, or has failed (take_error()).
    [[nodiscard]] static result<stream_socket> connect(const address& peer,
                                                       const packet_options& options);
    /// Of what a listener accepted. Options that cannot be set are left as they are.
    [[nodiscard]] static stream_socket of_accepted(file_descriptor connection,
                                                   const packet_options& options);

    [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }
    [[nodiscard]] bool is_open() const noexcept { return fd_.is_open(); }
    /// Kept when it is closed.
    [[nodiscard]] const address& local() const noexcept { return local_; }
    [[nodiscard]] const address& peer() const noexcept { return peer_; }
    /// A connection has its local address only when it exists.
    void read_names() noexcept;
    /// It is connected.
    [[nodiscard]] bool has_peer() const noexcept;

    /// In order, as much as the kernel takes: bytes, or a negated errno. Never SIGPIPE.
    [[nodiscard]] std::ptrdiff_t send(std::span<iovec> pieces) noexcept;
    /// The peer is told that nothing more comes (FIN, behind what was sent).
    void finish() noexcept;
    /// SO_ERROR. 0: nothing.
    [[nodiscard]] int take_error() noexcept;
    /// Without what is still to be sent.
    void close() noexcept { fd_.reset(); }

  private:
    void set_connection_options(const packet_options& options) const noexcept;

    file_descriptor fd_;
    address local_;
    address peer_;
};

}  // namespace quoit::detail
