// SPDX-License-Identifier: MIT
//
// What an endpoint's options mean for one of its sockets: which buffers it receives into, and how
// messages lie in them.
#pragma once

#include "net/message.hpp"

#include <quoit/address.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>

namespace quoit::detail {

/// Where a datagram lies in a buffer.
[[nodiscard]] message_layout layout_of(family of, const udp_options& options,
                                       bool has_gro) noexcept;
[[nodiscard]] bool fits_small_buffer(message_layout layout, const udp_options& options) noexcept;

/// What offload::automatic means for a socket of this family: trains are received where the buffers
/// are large anyway.
[[nodiscard]] udp_options for_socket(family of, udp_options options) noexcept;

/// The same for one that is bound there and has no peer: where reply_source needs it, each datagram
/// says where it was sent to.
[[nodiscard]] udp_options for_server_socket(const address& where, udp_options options) noexcept;
[[nodiscard]] bool needs_destinations(const address& where, const udp_options& options) noexcept;

[[nodiscard]] std::unexpected<error> no_socket_left(const loop_options& options);

}  // namespace quoit::detail
