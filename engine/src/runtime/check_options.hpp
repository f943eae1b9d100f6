// SPDX-License-Identifier: MIT
//
// What is refused before anything is made: options out of range, by the field's name, and
// destinations a socket can never send to.
#pragma once

#include <quoit/error.hpp>
#include <quoit/options.hpp>
#include <quoit/packet_options.hpp>

#include <cstddef>
#include <optional>

namespace quoit::detail {

[[nodiscard]] result<void> check(const loop_options& options);
/// With the defaults that stand for 0 filled in.
[[nodiscard]] udp_options with_defaults(udp_options options) noexcept;
[[nodiscard]] result<void> check(const udp_options& options);
[[nodiscard]] result<void> check(const packet_options& options);

/// The payload limit of a family: 65 507 bytes for IPv4, 65 527 for IPv6 (RFC 768, RFC 8200).
[[nodiscard]] constexpr std::size_t payload_size_max_of(family of) noexcept {
    return of == family::ipv6 ? 65'527 : 65'507;
}

/// What an endpoint may send to.
struct destination_rules {
    std::optional<address> peer;
    bool has_ipv4 = false;  // among its sockets
    bool has_ipv6 = false;
    bool allows_broadcast = false;
};
/// Why `size` bytes to `to` (null: to the peer) are refused at the call; no error when they may go.
[[nodiscard]] inline std::error_code check_destination(const destination_rules& rules,
                                                       std::size_t size,
                                                       const address* to) noexcept {
    constexpr ip broadcast_host = ip::v4({255, 255, 255, 255});
    if (rules.peer && to != nullptr && *to != *rules.peer) return errc::already_connected;
    if (!rules.peer && to == nullptr) return errc::not_connected;
    const address& destination = to != nullptr ? *to : *rules.peer;
    const bool is_v4 = destination.family() == family::ipv4;
    const bool has_family =
        is_v4 ? rules.has_ipv4 : rules.has_ipv6 && destination.family() == family::ipv6;
    if (!has_family) return errc::wrong_family;
    if (destination.port() == 0) return errc::invalid_address;
    if (size > payload_size_max_of(destination.family())) return errc::message_too_long;
    if (is_v4 && !rules.allows_broadcast && destination.host() == broadcast_host) {
        return std::make_error_code(std::errc::permission_denied);
    }
    return {};
}

}  // namespace quoit::detail
