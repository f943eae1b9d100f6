// SPDX-License-Identifier: MIT
//
// quoit packets send: sends the lines of standard input as packets over TCP and prints the answers,
// one per line, until there are as many. An ordinary program on the coroutine facade.
//
// Errors: run_error, for what is wrong on this side; that answers are missing is no error but in
// the result.
#pragma once

#include "packets_serve.hpp"

#include <quoit/address.hpp>
#include <quoit/capabilities.hpp>
#include <quoit/packet_stats.hpp>
#include <quoit/stats.hpp>

#include <chrono>
#include <cstdint>
#include <string>

namespace quoit::program {

struct packets_send_settings {
    address target;
    packet_settings common;
    /// For connecting, and for the next answer when one is due.
    std::chrono::nanoseconds timeout{};
};

struct packets_send_result {
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    /// Why it ended before everything was answered; empty when it did not.
    std::string reason;
    std::chrono::nanoseconds running_time{};
    packet_stats ledger;
    quoit::engine_stats engine;
    quoit::capabilities capabilities;

    [[nodiscard]] bool is_complete() const noexcept { return reason.empty(); }
};

/// Until everything is answered and standard input is at its end, or no answer comes for the
/// timeout, the connection ends, or SIGINT or SIGTERM comes. Each answer is on standard output
/// before the next one is waited for. What is unanswered is bounded: then no more is read.
[[nodiscard]] packets_send_result run_packets_send(const packets_send_settings& settings);

}  // namespace quoit::program
