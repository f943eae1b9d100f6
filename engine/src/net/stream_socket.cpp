// SPDX-License-Identifier: MIT
#include "net/stream_socket.hpp"

#include "net/sockaddr.hpp"
#include "net/socket_option.hpp"
#include "net/system.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <optional>
#include <utility>

namespace quoit::detail {

namespace {

// keep_alive_s: then so many questions, one a second.
constexpr int keep_alive_questions = 10;
constexpr int keep_alive_interval_s = 1;

result<file_descriptor> open(const address& where, const packet_options& options,
                             const char* doing) {
    const int fd = system::socket(domain_of(where.family()),
                                  SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0) return system_failure(fd, doing, where);
    file_descriptor opened(fd);
    option_setter set(fd);
    if (where.family() == family::ipv6) set.set(IPPROTO_IPV6, IPV6_V6ONLY, 1);
    // Before listen and connect: they decide about the window's scale (tcp(7)).
    if (options.receive_buffer_size > 0) {
        set.set(SOL_SOCKET, SO_RCVBUF, static_cast<int>(options.receive_buffer_size));
    }
    if (options.send_buffer_size > 0) {
        set.set(SOL_SOCKET, SO_SNDBUF, static_cast<int>(options.send_buffer_size));
    }
    if (set.error() < 0) return system_failure(set.error(), doing, where);
    return opened;
}

}  // namespace

result<stream_socket> stream_socket::listen(const address& where, const packet_options& options) {
    constexpr const char* doing = "listen";
    auto opened = open(where, options, doing);
    if (!opened) return std::unexpected(opened.error());
    stream_socket made;
    made.fd_ = *std::move(opened);
    option_setter set(made.descriptor());
    set.set(SOL_SOCKET, SO_REUSEADDR, 1);
    if (options.reuse_port) set.set(SOL_SOCKET, SO_REUSEPORT, 1);
    int error = set.error();
    const socket_address name(where);
    if (error == 0) error = system::bind(made.descriptor(), name.get(), name.size());
    if (error == 0) error = system::listen(made.descriptor(), static_cast<int>(options.backlog));
    if (error < 0) return system_failure(error, doing, where);
    made.read_names();
    return made;
}

result<stream_socket> stream_socket::connect(const address& peer, const packet_options& options) {
    constexpr const char* doing = "connect";
    auto opened = open(peer, options, doing);
    if (!opened) return std::unexpected(opened.error());
    stream_socket made;
    made.fd_ = *std::move(opened);
    made.peer_ = peer;
    made.set_connection_options(options);
    if (options.local.family() != family::unspecified) {
        const socket_address name(options.local);
        const int error = system::bind(made.descriptor(), name.get(), name.size());
        if (error < 0) return system_failure(error, "bind", options.local);
    }
    const socket_address name(peer);
    const int error = system::connect(made.descriptor(), name.get(), name.size());
    if (error < 0 && error != -EINPROGRESS) return system_failure(error, doing, peer);
    return made;
}

stream_socket stream_socket::of_accepted(file_descriptor connection,
                                         const packet_options& options) {
    stream_socket made;
    made.fd_ = std::move(connection);
    made.set_connection_options(options);
    made.read_names();
    return made;
}

void stream_socket::set_connection_options(const packet_options& options) const noexcept {
    const option_setter set(descriptor());
    set.try_set(IPPROTO_TCP, TCP_NODELAY, options.no_delay ? 1 : 0);
    if (options.keep_alive_s == 0) return;
    set.try_set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set.try_set(IPPROTO_TCP, TCP_KEEPIDLE, static_cast<int>(options.keep_alive_s));
    set.try_set(IPPROTO_TCP, TCP_KEEPINTVL, keep_alive_interval_s);
    set.try_set(IPPROTO_TCP, TCP_KEEPCNT, keep_alive_questions);
}

void stream_socket::read_names() noexcept {
    const auto name_of = [this](auto ask) -> std::optional<address> {
        socket_address name;
        socklen_t size = socket_address::size_max;
        if (ask(descriptor(), name.get(), &size) < 0) return std::nullopt;
        return from_sockaddr({reinterpret_cast<const std::byte*>(name.get()), size});
    };
    if (const auto found = name_of(system::local_name)) local_ = *found;
    if (const auto found = name_of(system::peer_name)) peer_ = *found;
}

bool stream_socket::has_peer() const noexcept {
    socket_address name;
    socklen_t size = socket_address::size_max;
    return system::peer_name(descriptor(), name.get(), &size) == 0;
}

std::ptrdiff_t stream_socket::send(std::span<iovec> pieces) noexcept {
    return system::send_pieces(descriptor(), pieces, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void stream_socket::finish() noexcept {
    // ENOTCONN: the peer was faster.
    [[maybe_unused]] const int error = system::shut_sending(descriptor());
}

int stream_socket::take_error() noexcept { return get_int(descriptor(), SOL_SOCKET, SO_ERROR); }

}  // namespace quoit::detail
