// SPDX-License-Identifier: MIT
//
// peer_filter: a classic BPF program that lets a UDP socket take one peer's datagrams only.
//
// A connected socket needs none, but for the moment after its peer changed: the kernel looks a
// datagram's socket up first and runs the socket's filter later (Linux net/ipv4/udp.c,
// udp_unicast_rcv_skb), so one that was found while the socket had no peer is queued afterwards,
// if a filter does not refuse it then (seen once in some 10^5 changes under a flood, Linux 6.18).
//
// What a filter refuses counts as dropped by the kernel.
#pragma once

#include <quoit/address.hpp>

#include <linux/filter.h>

#include <array>
#include <cstdint>

namespace quoit::detail {

class peer_filter {
  public:
    /// Scope and flow of an IPv6 peer are not looked at.
    /// REQUIRES: a family, and a socket of that family.
    explicit peer_filter(const address& peer) noexcept;

    /// 0, or a negated errno. Takes the place of a filter the socket has.
    [[nodiscard]] int attach_to(int socket) const noexcept;
    /// The socket's filter is this one. (false also when the kernel does not show it.)
    [[nodiscard]] bool is_on(int socket) const noexcept;

  private:
    // port: load, compare; host: up to four words of load, compare; take or drop.
    static constexpr std::size_t steps_max = 2 + 8 + 2;
    void expect(std::uint16_t load, std::uint32_t offset, std::uint32_t value) noexcept;

    std::array<sock_filter, steps_max> steps_{};
    unsigned short size_ = 0;
};

/// The socket has a filter, or the kernel does not say.
[[nodiscard]] bool has_filter(int socket) noexcept;

}  // namespace quoit::detail
