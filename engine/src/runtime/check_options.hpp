// SPDX-License-Identifier: MIT
//
// What is refused before anything is made: options out of range, by the field's name, and
// destinations a socket can never send to.
#pragma once

#include <quoit/error.hpp>
#include <quoit/options.hpp>

#include <cstddef>
#include <optional>

namespace quoit::detail {

[[nodiscard]] result<void> check(const loop_options& options);
/// With the defaults that stand for 0 filled in.
[[nodiscard]] udp_options with_defaults(udp_options options) noexcept;
[[nodiscard]] result<void> check(const udp_options& options);

/// The payload limit of a family: 65 507 bytes for IPv4, 65 527 for IPv6 (RFC 768, RFC 8200).
[[nodiscard]] constexpr std::size_t payload_size_max_of(family of) noexcept {
    return of == family::ipv6 ? 65'527 : 65'507;
}

/// What an endpoint may send to.
struct destination_rules {
    std::optional<address> peer;
    bool has_ipv4 = false;
    bool has_ipv6 = false;
    bool allows_broadcast = false;
};
/// Why `size` bytes to `to` (null: to the peer) are refused at the call; no error when they may go.
[[nodiscard]] std::error_code check_destination(const destination_rules& rules, std::size_t size,
                                                const address* to) noexcept;

}  // namespace quoit::detail
