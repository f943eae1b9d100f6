// SPDX-License-Identifier: MIT
//
// The datagrams `quoit load` sends, called probes, and how it knows them when they come back.
//
//      0         8         16        24      28      32          40              size
//      +---------+---------+---------+-------+-------+-----------+------- ... ----+
//      |   run   |sequence |intended | flow  | size  |   check   |      body      |
//      +---------+---------+---------+-------+-------+-----------+------- ... ----+
//
// run       random, one for each run of the program
// intended  when it was meant to be sent, in nanoseconds since the run began
// check     a hash of what stands before it
// body      random bytes of the run, from a place that depends on the sequence
//
// Host byte order: only the process that wrote a probe reads it.
//
// Invariant: a probe that any bit was changed in, that was cut or extended, is told from one that
// was not, but for a chance of 2^-64.
//
// Thread safety: none is needed; a probe_format does not change. Errors: none.
#pragma once

#include <quoit/payload.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace quoit::program {

struct probe_header {
    std::uint64_t run = 0;
    std::uint64_t sequence = 0;
    std::int64_t intended_ns = 0;
    std::uint32_t flow = 0;
    std::uint32_t size = 0;
    std::uint64_t check = 0;
};

/// The smallest probe: a header and no body.
inline constexpr std::uint32_t probe_size_min = sizeof(probe_header);
static_assert(probe_size_min == 40);

/// What a datagram turned out to be.
enum class probe_kind : std::uint8_t {
    ours,
    corrupted,  ///< not what any quoit load sent
    foreign,    ///< an intact probe, but of another run or another flow
};

class probe_format {
  public:
    /// `size` is that of the whole payload. REQUIRES: size >= probe_size_min.
    probe_format(std::uint64_t run, std::uint32_t size);

    [[nodiscard]] probe_header make_header(std::uint32_t flow, std::uint64_t sequence,
                                           std::int64_t intended_ns) const noexcept;

    /// What follows the header. Valid as long as this lives.
    [[nodiscard]] byte_view body(std::uint64_t sequence) const noexcept;

    /// Writes `header` whenever the payload is long enough to hold one.
    [[nodiscard]] probe_kind recognise(std::span<const std::byte> payload, std::uint32_t flow,
                                       probe_header& header) const noexcept;

    [[nodiscard]] std::uint32_t size() const noexcept { return size_; }

  private:
    std::uint64_t run_;
    std::uint32_t size_;
    std::vector<std::byte> pattern_;
};

}  // namespace quoit::program
