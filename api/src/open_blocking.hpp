// SPDX-License-Identifier: MIT
//
// Opening for the blocking surface: names and literals to sockets, on the caller's thread. An error
// says what was opened; where several addresses were tried, it has one cause for each.
//
// Threads: any.
#pragma once

#include <quoit/address.hpp>
#include <quoit/detail/blocking_socket.hpp>
#include <quoit/options.hpp>

#include <span>

namespace quoit::detail {

/// Everything in `where`, or nothing; of a name all its addresses that this machine has. "" alone
/// is every interface.
[[nodiscard]] blocking_socket::opened open_blocking_server(std::span<const host_port> where,
                                                           const udp_options& options);
/// Of a name with several addresses the first that can be connected to.
[[nodiscard]] blocking_socket::opened open_blocking_client(const host_port& where,
                                                           const udp_options& options);

}  // namespace quoit::detail
