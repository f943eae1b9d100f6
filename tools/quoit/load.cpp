// SPDX-License-Identifier: MIT
#include "load.hpp"

#include "failure.hpp"
#include "flow.hpp"
#include "interrupt.hpp"
#include "probe.hpp"
#include "units.hpp"

#include <quoit/port.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <deque>
#include <random>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

namespace quoit::program {

namespace {

using std::chrono::nanoseconds;

constexpr std::int64_t second_ns = 1'000'000'000;
// How often what is not urgent is looked after: giving up, full queues, progress.
constexpr std::int64_t tick_ns = 10'000'000;
// When the last answers are waited for: so long after the last one that came ...
constexpr std::int64_t grace_ns = second_ns;
// ... or, when none is missing, so long for duplicates.
constexpr std::int64_t grace_for_duplicates_ns = 20'000'000;
// How long an open load may go on after its duration to send what was due before.
constexpr std::int64_t overdue_ns = second_ns;
// Probes sent in a row, before answers are looked at: fewer than one turn receives (64 on epoll),
// or this side would overrun its own sockets and report that as loss.
constexpr std::uint32_t burst_size_max = 32;
// Turns in a row that only receive: whoever sends without end must not keep us from sending.
constexpr int receiving_turns_max = 64;

// Asked of the kernel, which grants what net.core.rmem_max allows.
constexpr std::uint32_t receive_buffer_size = 4U << 20U;
constexpr std::uint32_t queue_size_max = 1U << 16U;

// Probes each flow remembers, one bit each: 4 MiB over all flows, but at least 8 KiB for each.
std::size_t window_size_for(const load_settings& settings) {
    constexpr std::uint64_t bits_total = 1U << 25U;
    constexpr std::uint64_t bits_min = 1U << 16U;
    const std::uint64_t shared = std::max(bits_total / settings.flow_count, bits_min);
    return std::bit_floor(shared);
}

std::uint64_t random_number() {
    std::random_device source;
    return std::uint64_t{source()} << 32U | source();
}

port make_port(const load_settings& settings) {
    auto made = port::create({.backend = settings.backend,
                              .waiting = settings.waiting,
                              .socket_count_max = settings.flow_count});
    if (!made) throw run_error(made.error().message());
    return *std::move(made);
}

class run final : private port_events {
  public:
    explicit run(const load_settings& settings)
        : settings_(settings), port_(make_port(settings)), format_(random_number(), settings.size),
          context_{.port = port_, .format = format_, .start = {}} {
        flows_.reserve(settings.flow_count);
        for (std::uint32_t number = 0; number < settings.flow_count; ++number)
            open_flow(number);
    }

    load_result go() {
        const interrupt stop(port_);
        context_.start = port::clock::now();
        if (settings_.rate) {
            send_on_schedule(stop);
        } else {
            send_in_closed_loop(stop);
        }
        load_result result;
        result.sending_time = nanoseconds(context_.now_ns());
        result.received_in_time = context_.counts.received;
        result.scheduled = scheduled_;
        wait_for_the_rest();
        close();
        result.counts = context_.counts;
        result.round_trips = std::move(context_.round_trips);
        result.ledger = port_.stats();
        result.engine = port_.engine_stats();
        result.capabilities = port_.capabilities();
        return result;
    }

  private:
    void readable(endpoint_id endpoint) override { readable_.push_back(endpoint.index); }
    void drained(endpoint_id) override {}  // full queues are looked after every tick
    void closed(endpoint_id) override { ++closed_count_; }

    void open_flow(std::uint32_t number) {
        // One byte more than is expected, so that a longer answer does not pass for a right one.
        const auto opened = port_.open_connection(
            settings_.target, {.queue_size_max = queue_size_max,
                               .payload_size_max = std::min(settings_.size + 1, payload_size_limit),
                               .receive_buffer_size = receive_buffer_size,
                               .offload = settings_.offload});
        if (!opened) throw run_error(opened.error().message());
        flows_.emplace_back(context_, *opened, number, window_size_for(settings_));
        if (flow_of_index_.size() <= opened->index) flow_of_index_.resize(opened->index + 1);
        flow_of_index_[opened->index] = number;
        is_refillable_.push_back(false);
    }

    void send_in_closed_loop(const interrupt& stop) {
        while (!stop.is_requested()) {
            const std::int64_t now_ns = context_.now_ns();
            if (now_ns >= settings_.duration.count()) return;
            if (tick_is_due(now_ns)) {
                for (flow& one : flows_) {
                    one.give_up_old(now_ns);
                    list_refillable(one);
                }
            }
            refill_some();
            if (refillable_.empty()) {
                turn(std::min(next_tick_ns_, settings_.duration.count()));
            } else {
                poll();
            }
            for (const std::uint32_t index : readable_)
                list_refillable(flow_at(index));
            receive_all();
        }
    }

    void list_refillable(flow& one) {
        if (is_refillable_[one.number()]) return;
        is_refillable_[one.number()] = true;
        refillable_.push_back(one.number());
    }

    // Sends one burst, to those first that have waited longest.
    void refill_some() {
        std::uint32_t left = burst_size_max;
        while (left > 0 && !refillable_.empty()) {
            flow& one = flows_[refillable_.front()];
            left -= one.send_up_to(settings_.outstanding, left);
            if (left == 0) return;  // it may want more
            is_refillable_[one.number()] = false;
            refillable_.pop_front();
        }
    }

    void send_on_schedule(const interrupt& stop) {
        const double interval_ns = static_cast<double>(second_ns) / *settings_.rate;
        const auto due_at_ns = [&](std::uint64_t number) {
            return static_cast<std::int64_t>(static_cast<double>(number) * interval_ns);
        };
        scheduled_ = scheduled_count(interval_ns);
        std::uint64_t number = 0;
        while (number < scheduled_ && !stop.is_requested()) {
            const std::int64_t now_ns = context_.now_ns();
            if (now_ns >= settings_.duration.count() + overdue_ns) return;
            (void)tick_is_due(now_ns);
            const std::uint64_t burst_end = std::min(scheduled_, number + burst_size_max);
            bool is_blocked = false;
            while (number < burst_end && !is_blocked && due_at_ns(number) <= now_ns) {
                is_blocked = !flows_[number % flows_.size()].send_one(due_at_ns(number));
                if (!is_blocked) ++number;
            }
            turn(is_blocked ? next_tick_ns_ : std::min(next_tick_ns_, due_at_ns(number)));
            receive_until_quiet();
        }
        // The last probe is due a little before the end.
        while (context_.now_ns() < settings_.duration.count() && !stop.is_requested()) {
            turn(settings_.duration.count());
            receive_all();
        }
        if (stop.is_requested()) scheduled_ = number;
    }

    // Those that are due before the duration is over.
    [[nodiscard]] std::uint64_t scheduled_count(double interval_ns) const {
        const double count = static_cast<double>(settings_.duration.count()) / interval_ns;
        return std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::llround(count)));
    }

    void wait_for_the_rest() {
        const auto heard = [&] {
            const load_counts& c = context_.counts;
            return c.received + c.duplicated + c.corrupted + c.foreign + c.forgotten;
        };
        const std::int64_t limit_ns = context_.now_ns() + 10 * second_ns;
        std::uint64_t heard_before = heard();
        std::int64_t last_heard_ns = context_.now_ns();
        while (context_.now_ns() < limit_ns) {
            const std::int64_t grace = lost() == 0 ? grace_for_duplicates_ns : grace_ns;
            if (context_.now_ns() >= last_heard_ns + grace) return;
            turn(last_heard_ns + grace);
            receive_all();
            if (heard() != heard_before) {
                heard_before = heard();
                last_heard_ns = context_.now_ns();
            }
        }
    }

    void close() {
        for (const flow& one : flows_)
            port_.close(one.endpoint());
        const std::int64_t limit_ns = context_.now_ns() + second_ns;
        while (closed_count_ < flows_.size() && context_.now_ns() < limit_ns)
            turn(limit_ns);
        for (flow& one : flows_)
            one.receive();
        for (const flow& one : flows_)
            port_.release(one.endpoint());
    }

    // After a turn: takes what it brought, and turns for more until a turn brings nothing.
    void receive_until_quiet() {
        for (int turns = 0; !readable_.empty() && turns < receiving_turns_max; ++turns) {
            receive_all();
            poll();
        }
        receive_all();
    }

    // Sends what is queued, takes what is there, does not wait.
    void poll() { turn(0); }
    // Sends what is queued, then waits until something comes, at most until `until_ns`.
    void turn(std::int64_t until_ns) {
        readable_.clear();
        const auto turned = port_.turn(context_.start + nanoseconds(until_ns), *this);
        if (!turned) throw run_error(turned.error().message());
    }

    void receive_all() {
        for (const std::uint32_t index : readable_)
            flow_at(index).receive();
        readable_.clear();
    }

    bool tick_is_due(std::int64_t now_ns) {
        if (now_ns < next_tick_ns_) return false;
        next_tick_ns_ = now_ns + tick_ns;
        print_progress(now_ns);
        return true;
    }

    void print_progress(std::int64_t now_ns) {
        if (!is_terminal_ || now_ns < next_progress_ns_) return;
        const load_counts& c = context_.counts;
        const double seconds = static_cast<double>(now_ns - last_progress_ns_) / second_ns;
        const double rate = static_cast<double>(c.received - last_received_) / seconds;
        fmt::print(stderr, "{:3} s  {}  sent {}, received {}, not answered {}\n",
                   now_ns / second_ns, format_rate(rate), c.sent, c.received, c.lost());
        last_received_ = c.received;
        last_progress_ns_ = now_ns;
        next_progress_ns_ = (now_ns / second_ns + 1) * second_ns;
    }

    [[nodiscard]] std::uint64_t lost() const noexcept { return context_.counts.lost(); }
    [[nodiscard]] flow& flow_at(std::uint32_t index) { return flows_[flow_of_index_[index]]; }

    load_settings settings_;
    port port_;
    probe_format format_;
    load_context context_;
    std::vector<flow> flows_;
    std::vector<std::uint32_t> flow_of_index_;
    std::vector<std::uint32_t> readable_;
    // Flows that may have room for probes, each once.
    std::deque<std::uint32_t> refillable_;
    std::vector<bool> is_refillable_;
    std::uint64_t scheduled_ = 0;
    std::size_t closed_count_ = 0;
    std::int64_t next_tick_ns_ = 0;
    bool is_terminal_ = ::isatty(STDERR_FILENO) == 1;
    std::int64_t next_progress_ns_ = second_ns;
    std::int64_t last_progress_ns_ = 0;
    std::uint64_t last_received_ = 0;
};

}  // namespace

load_result run_load(const load_settings& settings) { return run(settings).go(); }

}  // namespace quoit::program
