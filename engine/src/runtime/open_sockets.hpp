// SPDX-License-Identifier: MIT
//
// Opening the sockets of one endpoint: on several addresses, on every interface, or to a peer. For
// whoever receives from them, a port or a blocked thread: they differ in what offload::automatic
// means, among others, which is what `for_socket` decides.
//
// Threads: any. Errors: those of net/udp_socket.hpp, one cause for each address that failed;
// errc::invalid_address, errc::wrong_family.
#pragma once

#include "net/udp_socket.hpp"

#include <quoit/address.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>

#include <cstdint>
#include <span>
#include <vector>

namespace quoit::detail {

/// What an endpoint's options mean for its socket at `where` (a client's: to `where`).
using socket_options_of = udp_options (*)(const address& where, udp_options options);

/// How one socket is bound: udp_socket::listen, or listen_first.
using listen_function = result<udp_socket> (*)(const address& where, const udp_options& options);

/// One socket on each address: all or none.
[[nodiscard]] result<std::vector<udp_socket>> listen_on_all(
    std::span<const address> where, const udp_options& options, socket_options_of for_socket,
    listen_function listen = udp_socket::listen);
/// IPv4 and, where the machine has it, IPv6, on one port number.
[[nodiscard]] result<std::vector<udp_socket>> listen_on_every_interface(
    std::uint16_t port_number, const udp_options& options, socket_options_of for_socket,
    listen_function listen = udp_socket::listen);

[[nodiscard]] result<udp_socket> connect_to(const address& peer, const udp_options& options,
                                            socket_options_of for_socket);

}  // namespace quoit::detail
