// SPDX-License-Identifier: MIT
//
// unix_socket: one UNIX datagram socket, opened and named as the options say. Knows nothing of
// loops or buffers.
//
// The mode of a path is set before there is a path: fchmod(2) on a socket that is not bound yet
// decides the bits of the file that bind(2) makes, less those of the umask (measured on Linux
// 6.18). So nobody can send through a wider mode for a moment, and no umask, which is the whole
// process's, is touched. Bits that the umask took away are given back afterwards, to the very file
// that was opened: through O_PATH | O_NOFOLLOW and /proc, because fchmod(2) refuses such a
// descriptor (EBADF).
//
// A path outlives its socket, so whoever made it removes it, but only while it still is the file
// that was made (st_dev and st_ino; the number cannot be used again while the socket is open). One
// that exists already is never taken over: the error says whether anybody listens there.
//
// Threads: any, one at a time. Errors: the kernel's errno, with "listen /run/app.sock" or "connect
// ..." as context.
#pragma once

#include <quoit/error.hpp>
#include <quoit/file_descriptor.hpp>
#include <quoit/unix_address.hpp>
#include <quoit/unix_options.hpp>

#include <cstdint>
#include <optional>

namespace quoit::detail {

/// The name of a UNIX socket, and the file that goes with it.
class unix_binding {
  public:
    [[nodiscard]] const unix_address& local() const noexcept { return local_; }

    /// Sets the mode of an unbound socket, binds it, reads its name. Unnamed: autobind.
    /// `what`: "listen" or "bind", for the error.
    [[nodiscard]] result<void> bind(const char* what, int fd, const unix_address& where,
                                    std::uint32_t mode);
    /// Removes the file if it is the one that was made; once.
    void unlink() noexcept;

  private:
    [[nodiscard]] int adopt_file(std::uint32_t mode) noexcept;

    unix_address local_;
    std::uint64_t device_ = 0;
    std::uint64_t inode_ = 0;
    bool has_file_ = false;
};

struct unix_socket {
    file_descriptor fd;
    unix_binding binding;
    /// Of a connected one: what the kernel calls the peer, which is what it bound itself to.
    std::optional<unix_address> peer;

    [[nodiscard]] static result<unix_socket> listen(const unix_address& where,
                                                    const unix_options& options);
    [[nodiscard]] static result<unix_socket> connect(const unix_address& peer,
                                                     const unix_options& options);
};

/// Connects, or connects anew: after a peer that died the kernel disconnects the socket (a send
/// answers ECONNREFUSED, the next one ENOTCONN, measured on Linux 6.18). Returns the negated errno.
[[nodiscard]] int connect_unix(int fd, const unix_address& to) noexcept;
/// All that it has sent and nobody has read fills its send buffer: the kernel says EAGAIN whoever
/// is sent something. SO_MEMINFO.
[[nodiscard]] bool is_send_buffer_full(int fd) noexcept;
/// Unnamed when there is none.
[[nodiscard]] unix_address peer_of_unix(int fd) noexcept;

}  // namespace quoit::detail
