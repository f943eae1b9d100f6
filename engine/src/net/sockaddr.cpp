// SPDX-License-Identifier: MIT
#include "net/sockaddr.hpp"

#include <arpa/inet.h>

#include <cstring>

namespace quoit::detail {

socket_address::socket_address(const address& from) noexcept : any_{} {
    const auto& bytes = from.host().bytes();
    if (from.family() == family::ipv6) {
        any_.v6 = {};
        any_.v6.sin6_family = AF_INET6;
        any_.v6.sin6_port = htons(from.port());
        any_.v6.sin6_flowinfo = htonl(from.flow());
        any_.v6.sin6_scope_id = from.host().scope();
        std::memcpy(&any_.v6.sin6_addr, bytes.data(), 16);
        size_ = sizeof(sockaddr_in6);
    } else if (from.family() == family::ipv4) {
        any_.v4 = {};
        any_.v4.sin_family = AF_INET;
        any_.v4.sin_port = htons(from.port());
        std::memcpy(&any_.v4.sin_addr, bytes.data(), 4);
        size_ = sizeof(sockaddr_in);
    }
}

std::optional<address> from_sockaddr(std::span<const std::byte> name) noexcept {
    sa_family_t domain = AF_UNSPEC;
    if (name.size() < sizeof domain) return std::nullopt;
    std::memcpy(&domain, name.data(), sizeof domain);
    if (domain == AF_INET && name.size() >= sizeof(sockaddr_in)) {
        sockaddr_in v4{};
        std::memcpy(&v4, name.data(), sizeof v4);
        std::array<std::uint8_t, 4> bytes{};
        std::memcpy(bytes.data(), &v4.sin_addr, bytes.size());
        return address(ip::v4(bytes), ntohs(v4.sin_port));
    }
    if (domain == AF_INET6 && name.size() >= sizeof(sockaddr_in6)) {
        sockaddr_in6 v6{};
        std::memcpy(&v6, name.data(), sizeof v6);
        std::array<std::uint8_t, 16> bytes{};
        std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
        return address(ip::v6(bytes, v6.sin6_scope_id), ntohs(v6.sin6_port))
            .with_flow(ntohl(v6.sin6_flowinfo));
    }
    return std::nullopt;
}

int domain_of(family of) noexcept {
    switch (of) {
        case family::ipv4: return AF_INET;
        case family::ipv6: return AF_INET6;
        case family::unspecified: break;
    }
    return AF_UNSPEC;
}

}  // namespace quoit::detail
