// SPDX-License-Identifier: MIT
//
// flow: one connected socket of the load, its sequence numbers and what has been answered.
//
// Ownership: refers to the port, the format, the counts and the histogram, which live longer.
// Thread safety: none; the port's thread. Units: nanoseconds since the run began.
#pragma once

#include "histogram.hpp"
#include "load.hpp"
#include "probe.hpp"
#include "reply_window.hpp"

#include <quoit/port.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>

namespace quoit::program {

/// What all flows of a run share.
struct load_context {
    quoit::port& port;
    const probe_format& format;
    port::clock::time_point start;
    load_counts counts{};
    histogram round_trips{};

    [[nodiscard]] std::int64_t now_ns() const noexcept {
        return std::chrono::nanoseconds(port::clock::now() - start).count();
    }
};

class flow {
  public:
    flow(load_context& context, endpoint_id endpoint, std::uint32_t number, std::size_t window_size)
        : context_(context), endpoint_(endpoint), number_(number), window_(window_size) {}

    /// False: the send queue is full, nothing was sent.
    bool send_one(std::int64_t intended_ns);
    /// Sends until so many are in flight, but `count_max` at most. Returns how many it sent.
    std::uint32_t send_up_to(std::uint32_t outstanding, std::uint32_t count_max);
    /// Takes all answers that have come.
    void receive();
    /// To be called every now and then, for send_up_to(): gives up what was sent more than a second
    /// ago.
    void give_up_old(std::int64_t now_ns);

    [[nodiscard]] endpoint_id endpoint() const noexcept { return endpoint_; }
    [[nodiscard]] std::uint32_t number() const noexcept { return number_; }

  private:
    // Probes before `next` were sent before `at_ns`.
    struct mark {
        std::int64_t at_ns;
        std::uint64_t next;
    };

    void count(const datagram_view& received, std::int64_t now_ns);

    load_context& context_;
    endpoint_id endpoint_;
    std::uint32_t number_;
    reply_window window_;
    std::deque<mark> marks_;  // one for each give_up_old() of the last second
};

}  // namespace quoit::program
