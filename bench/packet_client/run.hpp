// SPDX-License-Identifier: MIT
//
// A run of the client for packets: warm-up, measured window, and a wait for what is on its way.
// Bounded: it ends 200 ms after its time, whatever the server does.
#pragma once

#include "histogram.hpp"
#include "options.hpp"

#include <cstdint>
#include <optional>

namespace bench::packets {

struct result {
    double seconds = 0;          ///< length of the window
    std::uint64_t sent = 0;      ///< in the window
    std::uint64_t received = 0;  ///< answers to those
    std::uint64_t duplicated = 0;
    std::uint64_t corrupted = 0;
    std::uint64_t answered = 0;  ///< in the window, whenever the packet was sent
    std::int64_t own_cpu_ns = 0;
    std::optional<std::int64_t> server_cpu_ns;
    std::optional<histogram> round_trips;
};

[[nodiscard]] result run(const options& asked);

}  // namespace bench::packets
