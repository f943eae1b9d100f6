// SPDX-License-Identifier: MIT
//
// quoit packets serve: sends every packet that comes over TCP back to its sender, behind a prefix
// if one is wanted, and says at the end where each one went. An ordinary program on the coroutine
// facade.
//
// Errors: run_error.
#pragma once

#include <quoit/address.hpp>
#include <quoit/capabilities.hpp>
#include <quoit/options.hpp>
#include <quoit/packet_options.hpp>
#include <quoit/packet_stats.hpp>
#include <quoit/stats.hpp>
#include <quoit/time.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace quoit::program {

/// What both ends of a connection are told.
struct packet_settings {
    quoit::backend backend = quoit::backend::automatic;
    std::uint32_t worker_count = 0;
    quoit::waiting waiting = quoit::waiting::block;
    packet_framing framing = packet_framing::packetsocket;
    std::uint32_t packet_size_max = packet_options().packet_size_max;
};

struct packets_serve_settings {
    /// As given: "127.0.0.1:4200", "[::1]:0", ":4200".
    std::string bind;
    packet_settings common;
    /// Stands before each answer.
    std::string prefix;
    /// Until a signal comes, when there is none.
    time_limit duration;
};

struct packets_serve_result {
    std::vector<address> addresses;
    packet_settings settings;
    /// Answers that were refused at the call: their peer does not read, has gone, or they are too
    /// long with the prefix. received.delivered == sent.accepted + refused.
    std::uint64_t refused = 0;
    std::chrono::nanoseconds running_time{};
    /// User and system time of the process, all threads.
    std::chrono::microseconds cpu_time{};
    packet_stats ledger;
    quoit::engine_stats engine;
    quoit::capabilities capabilities;
};

/// Serves until SIGINT, SIGTERM or the end of the duration; answers what was received by then.
/// Prints "listening on ADDRESS:PORT (backend NAME, workers N)" on standard output once it does.
[[nodiscard]] packets_serve_result run_packets_serve(const packets_serve_settings& settings);

}  // namespace quoit::program
