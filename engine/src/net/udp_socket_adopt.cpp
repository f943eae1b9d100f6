// SPDX-License-Identifier: MIT
//
// udp_socket, of descriptors that somebody else opened. What such a socket is, the kernel says;
// what it was set to, it does not say completely, so whatever decides how messages look is set.
#include "net/kernel_constants.hpp"
#include "net/sockaddr.hpp"
#include "net/socket_option.hpp"
#include "net/udp_socket.hpp"

#include <netinet/in.h>

#include <cerrno>
#include <string>
#include <utility>

namespace quoit::detail {

namespace {

std::string adopting(int fd) { return "adopt descriptor " + std::to_string(fd); }

// IPv4 or IPv6, datagrams, UDP: or why not.
result<int> domain_of_udp_socket(int fd) {
    int domain = 0;
    socklen_t size = sizeof domain;
    if (const int error = system::get_option(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
        error < 0) {
        return system_failure(error, adopting(fd));
    }
    if (domain != AF_INET && domain != AF_INET6) {
        return failure(errc::not_supported, adopting(fd) + ": a socket of family " +
                                                std::to_string(domain) + ", expected IPv4 or IPv6");
    }
    // UDP-Lite and ICMP have datagram sockets too.
    if (get_int(fd, SOL_SOCKET, SO_TYPE) != SOCK_DGRAM ||
        get_int(fd, SOL_SOCKET, SO_PROTOCOL) != IPPROTO_UDP) {
        return failure(std::make_error_code(std::errc::wrong_protocol_type),
                       adopting(fd) + ": no UDP socket");
    }
    return domain;
}

}  // namespace

result<file_descriptor> take_descriptor(int fd, ownership how) {
    if (how == ownership::duplicate) {
        const int made = system::duplicate(fd);
        if (made < 0) return system_failure(made, adopting(fd));
        return file_descriptor(made);
    }
    // Fails only for what is no descriptor, which is then nobody's to close.
    const int error = system::set_close_on_exec(fd);
    if (error < 0) return system_failure(error, adopting(fd));
    return file_descriptor(fd);
}

result<udp_socket> udp_socket::adopt(file_descriptor fd, ownership how) {
    const int number = fd.get();
    udp_socket made;
    made.fd_ = std::move(fd);
    made.is_adopted_ = true;
    made.is_shared_ = how == ownership::duplicate;
    const result<int> domain = domain_of_udp_socket(number);
    if (!domain) return std::unexpected(domain.error());
    if (const int error = made.read_local_name(); error < 0) {
        return system_failure(error, adopting(number));
    }
    if (made.local_.port() == 0) {
        const address anywhere(*domain == AF_INET6 ? ip::v6({}) : ip::v4({}), 0);
        const socket_address name(anywhere);
        int error = system::bind(number, name.get(), name.size());
        if (error == 0) error = made.read_local_name();
        if (error < 0) return system_failure(error, adopting(number) + ": bind it");
    }
    made.read_peer_name();
    if (!made.peer_) made.bound_ = made.local_;
    made.drops_before_ = static_cast<std::uint32_t>(made.kernel_drops());
    return made;
}

status udp_socket::apply(const udp_options& options) {
    if (is_adopted_) reset_options();
    const int error = set_options(options);
    if (error < 0) return system_failure(error, adopting(descriptor()));
    return {};
}

// All that adds control messages, takes errors from where they are looked for, or keeps back what
// is sent, and is not set either way by set_options(). One the kernel does not know is not on.
void udp_socket::reset_options() noexcept {
    const option_setter socket(descriptor());
    socket.try_set(SOL_SOCKET, SO_TIMESTAMP, 0);
    socket.try_set(SOL_SOCKET, SO_TIMESTAMPNS, 0);
    socket.try_set(SOL_SOCKET, SO_TIMESTAMPING, 0);
    socket.try_set(SOL_SOCKET, SO_RXQ_OVFL, 0);
    socket.try_set(SOL_SOCKET, SO_PEEK_OFF, -1);
    // Every send would be appended to one datagram that never leaves. What was corked before goes.
    socket.try_set(SOL_UDP, UDP_CORK, 0);
    if (local_.family() == family::ipv6) {
        socket.try_set(IPPROTO_IPV6, IPV6_RECVPKTINFO, 0);
        socket.try_set(IPPROTO_IPV6, IPV6_RECVTCLASS, 0);
        socket.try_set(IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 0);
        socket.try_set(IPPROTO_IPV6, IPV6_RECVHOPOPTS, 0);
        socket.try_set(IPPROTO_IPV6, IPV6_RECVRTHDR, 0);
        socket.try_set(IPPROTO_IPV6, IPV6_RECVDSTOPTS, 0);
        socket.try_set(IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 0);
        socket.try_set(IPPROTO_IPV6, IPV6_RECVFRAGSIZE, 0);
    }
    // Of an IPv6 socket too: it may take IPv4.
    socket.try_set(IPPROTO_IP, IP_RECVERR, 0);
    socket.try_set(IPPROTO_IP, IP_PKTINFO, 0);
    socket.try_set(IPPROTO_IP, IP_RECVTOS, 0);
    socket.try_set(IPPROTO_IP, IP_RECVTTL, 0);
    socket.try_set(IPPROTO_IP, IP_RECVOPTS, 0);
    socket.try_set(IPPROTO_IP, IP_RETOPTS, 0);
    socket.try_set(IPPROTO_IP, IP_PASSSEC, 0);
    socket.try_set(IPPROTO_IP, IP_RECVORIGDSTADDR, 0);
    socket.try_set(IPPROTO_IP, IP_CHECKSUM, 0);
    socket.try_set(IPPROTO_IP, IP_RECVFRAGSIZE, 0);
}

}  // namespace quoit::detail
