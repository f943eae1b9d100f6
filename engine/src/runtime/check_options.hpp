// SPDX-License-Identifier: MIT
//
// What is refused before anything is made: options out of range, by the field's name, and
// destinations a socket can never send to.
#pragma once

#include <quoit/error.hpp>
#include <quoit/options.hpp>

#include <cstddef>

namespace quoit::detail {

[[nodiscard]] result<void> check(const loop_options& options);
/// With the defaults that stand for 0 filled in.
[[nodiscard]] udp_options with_defaults(udp_options options) noexcept;
[[nodiscard]] result<void> check(const udp_options& options);

/// The payload limit of a family: 65 507 bytes for IPv4, 65 527 for IPv6 (RFC 768, RFC 8200).
[[nodiscard]] constexpr std::size_t payload_size_max_of(family of) noexcept {
    return of == family::ipv6 ? 65'527 : 65'507;
}

}  // namespace quoit::detail
