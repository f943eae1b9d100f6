// SPDX-License-Identifier: MIT
//
// quoit echo: sends every datagram back to where it came from, and says at the end where each one
// went. An ordinary program on the coroutine facade.
//
// Errors: run_error.
#pragma once

#include <quoit/address.hpp>
#include <quoit/capabilities.hpp>
#include <quoit/options.hpp>
#include <quoit/socket_group.hpp>
#include <quoit/stats.hpp>
#include <quoit/time.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace quoit::program {

struct echo_settings {
    /// As given: "127.0.0.1:9999", "[::1]:0", ":9999".
    std::string bind;
    /// Instead: the name of a socket that an init system passed on; "" for none.
    std::string inherited;
    quoit::backend backend = quoit::backend::automatic;
    std::uint32_t worker_count = 0;
    quoit::offload offload = quoit::offload::on;
    quoit::waiting waiting = quoit::waiting::block;
    /// Loops that serve, each on a thread of its own (core_group); none: one, on the program's.
    std::optional<std::uint32_t> core_count;
    quoit::pinning pin = quoit::pinning::spread;
    quoit::steering steering = quoit::steering::hash;
    /// Until a signal comes, when there is none.
    time_limit duration;
};

/// Of one loop.
struct echo_core {
    /// -1: none in particular.
    int cpu = -1;
    quoit::backend backend = quoit::backend::epoll;
    std::uint64_t refused = 0;
    quoit::stats ledger;
    quoit::engine_stats engine;
};

struct echo_result {
    std::vector<address> addresses;
    std::uint32_t worker_count = 0;
    quoit::offload offload = quoit::offload::on;
    /// Replies that were refused at the call, mostly because the send queue was full. Not part of
    /// the ledger, which begins with what was accepted: delivered == accepted + refused.
    std::uint64_t refused = 0;
    std::chrono::nanoseconds running_time{};
    /// User and system time of the process, all threads.
    std::chrono::microseconds cpu_time{};
    quoit::buffer_sizes buffers;
    quoit::stats ledger;
    quoit::engine_stats engine;
    quoit::capabilities capabilities;
    /// Empty without core_count; what is above is their sum, or the first's.
    std::vector<echo_core> cores;
    quoit::steering steering = quoit::steering::hash;
    /// Why that is not what was asked for; empty when it is.
    std::string steering_reason;
};

/// Serves until SIGINT, SIGTERM or the end of the duration; answers what was received by then.
/// Prints "listening on ADDRESS:PORT (backend NAME, workers N)" on standard output once it does;
/// with cores, once all do, "(backend NAME, workers N, cores N, steering NAME)".
[[nodiscard]] echo_result run_echo(const echo_settings& settings);

}  // namespace quoit::program
