// SPDX-License-Identifier: MIT
//
// quoit::address <-> struct sockaddr_in, sockaddr_in6. Lossless both ways: scope and flow are kept.
#pragma once

#include <quoit/address.hpp>

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>
#include <optional>
#include <span>

namespace quoit::detail {

/// What the kernel takes. Not sockaddr_storage: 28 bytes hold either family.
class socket_address {
  public:
    /// Not initialised: for the kernel to fill, or to be assigned to.
    socket_address() noexcept {}
    explicit socket_address(const address& from) noexcept;

    [[nodiscard]] const sockaddr* get() const noexcept { return &any_.base; }
    [[nodiscard]] sockaddr* get() noexcept { return &any_.base; }
    [[nodiscard]] socklen_t size() const noexcept { return size_; }
    static constexpr socklen_t size_max = sizeof(sockaddr_in6);

  private:
    union {
        sockaddr base;
        sockaddr_in v4;
        sockaddr_in6 v6;
    } any_;
    socklen_t size_ = 0;
};

/// Nothing when the bytes are no whole IPv4 or IPv6 address.
[[nodiscard]] std::optional<address> from_sockaddr(std::span<const std::byte> name) noexcept;

/// 0.0.0.0 or ::
[[nodiscard]] constexpr bool is_every_interface(const ip& host) noexcept {
    return host == ip::v4({}) || host == ip::v6({});
}

/// AF_INET, AF_INET6 or AF_UNSPEC.
[[nodiscard]] int domain_of(family of) noexcept;

}  // namespace quoit::detail
