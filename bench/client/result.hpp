// SPDX-License-Identifier: MIT
//
// What a run counted, and how it is told.
#pragma once

#include "clock.hpp"
#include "histogram.hpp"
#include "settings.hpp"
#include "window_clocks.hpp"

#include <cstdint>
#include <optional>

namespace bench {

struct counts {
    std::uint64_t received = 0;    ///< first answers to datagrams sent in the window
    std::uint64_t arrived = 0;     ///< first answers, whenever their datagrams were sent
    std::uint64_t duplicated = 0;  ///< from the start
    std::uint64_t corrupted = 0;  ///< from the start; wrong length, bytes, run, flow, or never sent
    std::uint64_t refused = 0;    ///< sends and receives answered by an error
    std::uint64_t trains = 0;     ///< messages that held more than one datagram
    std::uint64_t datagrams_in_trains = 0;
    histogram round_trips;

    /// Starts the measured window.
    void begin_window() noexcept {
        received = arrived = refused = trains = datagrams_in_trains = 0;
        round_trips.clear();
    }
};

struct result {
    double seconds = 0;  ///< length of the window
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    std::optional<std::uint64_t> lost;  ///< nothing in flood: the receiver knows
    std::uint64_t duplicated = 0;
    std::uint64_t corrupted = 0;
    std::uint64_t refused = 0;
    double rate = 0;  ///< delivered back per second of the window; in flood sent per second
    std::int64_t own_cpu_ns = 0;
    std::optional<std::int64_t> server_cpu_ns;
    /// What the CPU times are divided by: answered in the window; in flood sent.
    std::uint64_t cpu_datagrams = 0;
    std::uint64_t trains_received = 0;
    std::uint64_t datagrams_in_trains = 0;
    std::optional<histogram> round_trips;
};

/// Ends the window: what must be read before the drain.
[[nodiscard]] inline result end_window(const window_clocks& clocks, std::uint64_t datagrams) {
    result ended;
    ended.seconds = clocks.elapsed_s();
    ended.own_cpu_ns = clocks.own_passed_ns();
    ended.server_cpu_ns = clocks.server_passed_ns();
    ended.cpu_datagrams = datagrams;
    ended.rate = static_cast<double>(datagrams) / ended.seconds;
    return ended;
}

/// Adds what is known after the drain.
inline void add_counts(const counts& counted, std::uint64_t sent, result& to) {
    to.sent = sent;
    to.received = counted.received;
    to.lost = sent - counted.received;
    to.duplicated = counted.duplicated;
    to.corrupted = counted.corrupted;
    to.refused = counted.refused;
    to.trains_received = counted.trains;
    to.datagrams_in_trains = counted.datagrams_in_trains;
    if (counted.round_trips.count() > 0) to.round_trips = counted.round_trips;
}

[[nodiscard]] result run_echo(const settings& asked);
[[nodiscard]] result run_ping(const settings& asked);
[[nodiscard]] result run_flood(const settings& asked);

/// Prints the result on standard output.
void report(const settings& asked, const result& measured);

}  // namespace bench
