// SPDX-License-Identifier: MIT
//
// Multicast on a descriptor: groups and what is set for sending to them (RFC 3678; ip(7),
// ipv6(7)). IPv4 and IPv6 by the same requests, MCAST_JOIN_GROUP and its like, which take the
// index of an interface.
//
// Threads: any, one at a time. Errors: the kernel's errno, in words (see explain()).
#pragma once

#include <quoit/address.hpp>
#include <quoit/error.hpp>
#include <quoit/interface.hpp>
#include <quoit/options.hpp>

#include <cstdint>

namespace quoit::detail {

/// 0 for the kernel's choice. Looks names and addresses up, which takes a few system calls.
/// Errors: see quoit/interface.hpp.
[[nodiscard]] result<std::uint32_t> index_of(const interface& which);

enum class membership : std::uint8_t { join, leave };

/// Error: errc::invalid_option for an address that is no group.
[[nodiscard]] status check_group(membership what, const ip& group);
/// REQUIRES: a group, and a socket of its family.
[[nodiscard]] status change_membership(int fd, membership what, const ip& group,
                                       const group_options& options);

/// What set_multicast() shall do, looked up and checked, so that it can be done to every socket of
/// an endpoint.
struct multicast_request {
    multicast_options options;
    std::uint32_t index = 0;
};
[[nodiscard]] result<multicast_request> look_up(const multicast_options& options);
/// 0, or a negated errno.
[[nodiscard]] int set_multicast(int fd, family of, const multicast_request& wanted) noexcept;
/// Without the index of an IPv4 socket's interface, which the kernel keeps to itself
/// (IP_MULTICAST_IF answers the address only, Linux net/ipv4/ip_sockglue.c).
[[nodiscard]] multicast_options get_multicast(int fd, family of) noexcept;

}  // namespace quoit::detail
