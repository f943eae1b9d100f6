// SPDX-License-Identifier: MIT
#pragma once

#include <quoit/packet_options.hpp>

#include <cstddef>

namespace quoit::detail {

/// Bytes in front of each body.
[[nodiscard]] constexpr std::size_t wire_overhead(packet_framing framing) noexcept {
    return framing == packet_framing::packetsocket ? 8 : 4;
}

}  // namespace quoit::detail
