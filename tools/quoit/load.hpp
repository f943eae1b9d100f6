// SPDX-License-Identifier: MIT
//
// quoit load: sends numbered probes to an echo server and reports what came back.
//
// Two ways of sending:
//   closed  --outstanding N: each flow keeps N probes in flight. A probe that is not answered
//           within 1 s gives its place back, so that loss does not bring the load to a standstill.
//   open    --rate R: probe k is due at start + k / R, over all flows in turn, whether answers come
//           or not. What is sent late is timed from when it was due, so that a server that stalls
//           cannot hide it (no coordinated omission).
//
// It stands on the port alone: one thread, one connected socket per flow, no coroutine.
//
// Errors: run_error. Units: nanoseconds on the steady clock.
#pragma once

#include "histogram.hpp"

#include <quoit/address.hpp>
#include <quoit/capabilities.hpp>
#include <quoit/options.hpp>
#include <quoit/stats.hpp>

#include <chrono>
#include <cstdint>
#include <optional>

namespace quoit::program {

struct load_settings {
    address target;
    std::uint32_t flow_count = 1;
    /// Of each flow; not used when there is a rate.
    std::uint32_t outstanding = 64;
    /// Probes per second over all flows.
    std::optional<double> rate;
    /// Bytes of payload.
    std::uint32_t size = 64;
    std::chrono::nanoseconds duration{};
    quoit::backend backend = quoit::backend::automatic;
    quoit::offload offload = quoit::offload::on;
    quoit::waiting waiting = quoit::waiting::block;
};

/// received + lost == sent.
struct load_counts {
    std::uint64_t sent = 0;
    std::uint64_t received = 0;    ///< probes that were answered, each counted once
    std::uint64_t duplicated = 0;  ///< further answers to the same probes
    std::uint64_t reordered = 0;   ///< of those received: after the answer to a later probe
    std::uint64_t corrupted = 0;   ///< datagrams that are not what any load sent
    std::uint64_t foreign = 0;     ///< intact probes of another run or flow
    std::uint64_t forgotten = 0;   ///< answers too late to tell whether they are the first
    [[nodiscard]] std::uint64_t lost() const noexcept { return sent - received; }
};

struct load_result {
    load_counts counts;
    /// Open load only: probes that were due. What was not sent of them is the client's fault.
    std::uint64_t scheduled = 0;
    /// Answers that came while it was still sending, and how long that was.
    std::uint64_t received_in_time = 0;
    std::chrono::nanoseconds sending_time{};
    histogram round_trips;
    quoit::stats ledger;
    quoit::engine_stats engine;
    quoit::capabilities capabilities;

    [[nodiscard]] double received_per_second() const noexcept {
        const double seconds = std::chrono::duration<double>(sending_time).count();
        return seconds > 0 ? static_cast<double>(received_in_time) / seconds : 0;
    }
};

/// Runs until the duration is over or SIGINT or SIGTERM arrives; then waits a little for what is
/// still on its way. Writes a line a second to standard error when that is a terminal.
[[nodiscard]] load_result run_load(const load_settings& settings);

}  // namespace quoit::program
