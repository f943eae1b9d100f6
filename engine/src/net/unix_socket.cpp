// SPDX-License-Identifier: MIT
#include "net/unix_socket.hpp"

#include "net/kernel_constants.hpp"
#include "net/system.hpp"
#include "net/unix_name.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <string>
#include <utility>

namespace quoit::detail {

namespace {

// The indices of what SO_MEMINFO returns (SK_MEMINFO_WMEM_ALLOC and _SNDBUF in
// <linux/sock_diag.h>).
constexpr std::size_t meminfo_sent = 2;
constexpr std::size_t meminfo_send_buffer = 3;
constexpr std::size_t meminfo_count = 9;

std::unexpected<error> system_failure(int negative_errno, std::string what) {
    return failure(std::error_code(-negative_errno, std::system_category()), std::move(what));
}

std::string naming(const char* what, const unix_address& where) {
    return std::string(what) + " " + where.to_string();
}

std::unexpected<error> bad_name(const char* what, const unix_address& where) {
    const bool is_too_long = where.kernel_name().size() == unix_address::size_max;
    return failure(
        errc::invalid_address,
        naming(what, where) + (is_too_long ? " (more than 108 bytes)" : " (NUL inside)"));
}

int to_int(std::uint32_t value) noexcept {
    return static_cast<int>(std::min<std::uint32_t>(value, std::numeric_limits<int>::max()));
}

int set_int(int fd, int name, int value) noexcept {
    return system::set_option(fd, SOL_SOCKET, name, &value, sizeof value);
}

unix_address read_name(int (*of)(int, sockaddr*, socklen_t*) noexcept, int fd) noexcept {
    unix_name name;
    socklen_t size = unix_name::size_max;
    if (of(fd, name.get(), &size) < 0) return {};
    const auto* bytes = reinterpret_cast<const std::byte*>(name.get());
    return from_unix_name({bytes, std::min(size, unix_name::size_max)}).value_or(unix_address());
}

result<file_descriptor> open(const char* what, const unix_address& where,
                             const unix_options& options) {
    if (!where.is_valid()) return bad_name(what, where);
    const int fd = system::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return system_failure(fd, naming(what, where));
    file_descriptor made(fd);
    int error = 0;
    if (options.receive_credentials) error = set_int(fd, SO_PASSCRED, 1);
    if (error == 0 && options.receive_buffer_size != 0) {
        error = set_int(fd, SO_RCVBUF, to_int(options.receive_buffer_size));
    }
    if (error == 0 && options.send_buffer_size != 0) {
        error = set_int(fd, SO_SNDBUF, to_int(options.send_buffer_size));
    }
    if (error < 0) return system_failure(error, naming(what, where));
    return made;
}

// Of a path that exists already. Connecting tells, and changes nothing for whoever listens there.
std::string why_in_use(int fd, const unix_address& where) {
    const bool is_stale = where.is_path() && connect_unix(fd, where) == -ECONNREFUSED;
    return is_stale ? " (it exists, but nobody listens there: remove it first)" : "";
}

}  // namespace

int connect_unix(int fd, const unix_address& to) noexcept {
    const unix_name name(to);
    return system::connect(fd, name.get(), name.size());
}

bool is_send_buffer_full(int fd) noexcept {
    std::array<std::uint32_t, meminfo_count> memory{};
    socklen_t size = sizeof memory;
    if (system::get_option(fd, SOL_SOCKET, SO_MEMINFO, memory.data(), &size) < 0) return false;
    // As the kernel compares them (Linux net/core/sock.c, sock_alloc_send_pskb).
    return memory[meminfo_sent] >= memory[meminfo_send_buffer];
}

unix_address peer_of_unix(int fd) noexcept { return read_name(system::peer_name, fd); }

// --- unix_binding ---

result<void> unix_binding::bind(const char* what, int fd, const unix_address& where,
                                std::uint32_t mode) {
    int error = 0;
    if (where.is_path() && mode != mode_of_umask) error = system::change_mode(fd, mode);
    const unix_name name(where);
    if (error == 0) error = system::bind(fd, name.get(), name.size());
    if (error < 0) {
        return system_failure(
            error, naming(what, where) + (error == -EADDRINUSE ? why_in_use(fd, where) : ""));
    }
    local_ = where.is_path() ? where : read_name(system::local_name, fd);
    if (!where.is_path()) return {};
    error = adopt_file(mode);
    if (error < 0) return system_failure(error, naming(what, where) + ": set its mode");
    return {};
}

// Learns which file was made, and gives back what the umask took.
int unix_binding::adopt_file(std::uint32_t mode) noexcept {
    const std::string path(local_.name());
    const int fd = system::open_path(path.c_str());
    if (fd < 0) return fd == -ENOENT ? 0 : fd;  // somebody has removed it already
    const file_descriptor file(fd);
    system::file_identity found;
    if (const int error = system::identify(fd, found); error < 0) return error;
    if (!found.is_socket) return 0;  // somebody has put another file there
    device_ = found.device;
    inode_ = found.inode;
    has_file_ = true;
    if (mode == mode_of_umask || found.mode == mode) return 0;
    const int error = system::change_mode_of_path(fd, mode);
    if (error < 0) unlink();
    return error;
}

void unix_binding::unlink() noexcept {
    if (!std::exchange(has_file_, false)) return;
    const std::string path(local_.name());
    const file_descriptor file(system::open_path(path.c_str()));
    system::file_identity found;
    if (!file.is_open() || system::identify(file.get(), found) < 0) return;
    if (found.device != device_ || found.inode != inode_) return;
    [[maybe_unused]] const int error = system::unlink(path.c_str());
}

// --- unix_socket ---

result<unix_socket> unix_socket::listen(const unix_address& where, const unix_options& options) {
    auto fd = open("listen", where, options);
    if (!fd) return std::unexpected(fd.error());
    if (options.send_buffer_size == 0) {
        [[maybe_unused]] const int error =
            set_int(fd->get(), SO_SNDBUF, to_int(unix_server_send_buffer_size));
    }
    unix_socket made;
    made.fd = *std::move(fd);
    if (auto bound = made.binding.bind("listen", made.fd.get(), where, options.mode); !bound) {
        return std::unexpected(bound.error());
    }
    return made;
}

result<unix_socket> unix_socket::connect(const unix_address& peer, const unix_options& options) {
    if (peer.is_unnamed()) return failure(errc::invalid_address, naming("connect", peer));
    if (!options.local.is_valid()) return bad_name("bind", options.local);
    auto fd = open("connect", peer, options);
    if (!fd) return std::unexpected(fd.error());
    unix_socket made;
    made.fd = *std::move(fd);
    if (auto bound = made.binding.bind("bind", made.fd.get(), options.local, options.mode);
        !bound) {
        return std::unexpected(bound.error());
    }
    if (const int error = connect_unix(made.fd.get(), peer); error < 0) {
        made.binding.unlink();
        return system_failure(error, naming("connect", peer));
    }
    made.peer = peer_of_unix(made.fd.get());
    return made;
}

}  // namespace quoit::detail
