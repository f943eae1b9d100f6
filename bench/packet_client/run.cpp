// SPDX-License-Identifier: MIT
#include "run.hpp"

#include "clock.hpp"
#include "connection.hpp"
#include "window_clocks.hpp"

#include <vector>

namespace bench::packets {

namespace {

constexpr std::int64_t drain_max_ns = 200 * millisecond_ns;

class packet_run {
  public:
    explicit packet_run(const options& asked) : asked_(asked), context_(asked) {
        connections_.reserve(asked.connection_count);
        for (unsigned i = 0; i < asked.connection_count; ++i)
            connections_.emplace_back(context_, i);
    }

    result run() {
        turn_until(now_ns() + asked_.warmup_ns);
        begin_window();
        const window_clocks clocks(asked_.server);
        turn_until(now_ns() + asked_.duration_ns);
        result measured;
        measured.seconds = clocks.elapsed_s();
        measured.own_cpu_ns = clocks.own_passed_ns();
        measured.server_cpu_ns = clocks.server_passed_ns();
        measured.answered = context_.counted.arrived;
        measured.sent = sent_in_window();
        drain();
        add_counts(measured);
        return measured;
    }

  private:
    void begin_window() noexcept {
        context_.counted.begin_window();
        for (connection& one : connections_)
            one.begin_window();
    }

    void turn_until(std::int64_t end_ns) {
        while (now_ns() < end_ns && !is_interrupted()) {
            for (connection& one : connections_) {
                one.receive();
                one.send();
            }
        }
    }

    // What is still on its way may arrive. What waits for room with the kernel is sent, since it
    // has been counted, but nothing new is.
    void drain() {
        const std::int64_t end_ns = now_ns() + drain_max_ns;
        while (in_flight() > 0 && now_ns() < end_ns && !is_interrupted()) {
            for (connection& one : connections_) {
                one.receive();
                one.send_rest();
            }
        }
    }

    void add_counts(result& to) const {
        const counts& counted = context_.counted;
        to.received = counted.received;
        to.duplicated = counted.duplicated;
        to.corrupted = counted.corrupted;
        if (counted.round_trips.count() > 0) to.round_trips = counted.round_trips;
    }

    [[nodiscard]] std::uint64_t in_flight() const noexcept {
        std::uint64_t sum = 0;
        for (const connection& one : connections_)
            sum += one.in_flight();
        return sum;
    }

    [[nodiscard]] std::uint64_t sent_in_window() const noexcept {
        std::uint64_t sum = 0;
        for (const connection& one : connections_)
            sum += one.sent_in_window();
        return sum;
    }

    const options& asked_;
    run_context context_;
    std::vector<connection> connections_;
};

}  // namespace

result run(const options& asked) { return packet_run(asked).run(); }

}  // namespace bench::packets
