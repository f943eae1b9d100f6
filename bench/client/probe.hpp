// SPDX-License-Identifier: MIT
//
// probe_header: the first 32 bytes of every datagram. What follows it is the same pattern in all
// datagrams (probe_pattern), so that one that comes back can be compared.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bench {

struct probe_header {
    std::uint64_t run_id;  ///< random: tells this run's datagrams from another's
    std::uint32_t flow;
    std::uint32_t size;  ///< of the whole datagram
    std::uint64_t sequence;
    std::int64_t sent_ns;  ///< CLOCK_MONOTONIC
};
static_assert(sizeof(probe_header) == 32);

/// The byte at `offset` of a datagram, behind the header. A prime period, so that a datagram
/// shifted by any power of two is noticed.
[[nodiscard]] constexpr char probe_pattern(std::size_t offset) noexcept {
    constexpr std::size_t period = 251;
    return static_cast<char>(offset % period);
}

}  // namespace bench
