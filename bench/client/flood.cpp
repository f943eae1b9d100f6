// SPDX-License-Identifier: MIT
//
// Sends and expects no answer. With --rate trains leave when they are due: 64 datagrams at high
// rates, fewer at low ones so that there are at least a thousand trains a second, and none is sent
// to catch up for a pause of more than 10 ms, which would overrun the receiver.
#include "flow.hpp"

#include <algorithm>
#include <ctime>

#include <sys/prctl.h>

namespace bench {

namespace {

constexpr std::uint64_t train_length_max = 64;
constexpr double trains_per_second_min = 1000;
constexpr std::int64_t lag_max_ns = 10 * millisecond_ns;
constexpr std::int64_t pause_max_ns = 50 * millisecond_ns;

/// When the next train is due.
class pace {
  public:
    explicit pace(double rate) : rate_(rate), next_ns_(static_cast<double>(now_ns())) {
        constexpr unsigned long slack_ns = 1;  // the default of 50 us is a train at 1 M/s
        ::prctl(PR_SET_TIMERSLACK, slack_ns, 0, 0, 0);
    }

    [[nodiscard]] std::uint64_t train_length() const noexcept {
        if (rate_ <= 0) return train_length_max;
        const auto wanted = static_cast<std::uint64_t>(rate_ / trains_per_second_min);
        return std::clamp<std::uint64_t>(wanted, 1, train_length_max);
    }

    /// True when a train is due now; otherwise waits for it, at most 50 ms.
    [[nodiscard]] bool is_due(bool is_spinning) {
        if (rate_ <= 0) return true;
        const auto now = static_cast<double>(now_ns());
        if (now >= next_ns_) {
            const double interval_ns =
                static_cast<double>(train_length()) / rate_ * static_cast<double>(second_ns);
            const double lag_ns = now - next_ns_;
            next_ns_ = (lag_ns > static_cast<double>(lag_max_ns) ? now : next_ns_) + interval_ns;
            return true;
        }
        if (!is_spinning) sleep(static_cast<std::int64_t>(next_ns_ - now));
        return false;
    }

  private:
    static void sleep(std::int64_t pause_ns) {
        const timespec pause{.tv_sec = 0, .tv_nsec = std::min(pause_ns, pause_max_ns)};
        ::nanosleep(&pause, nullptr);
    }

    double rate_;
    double next_ns_;
};

class flood_run {
  public:
    explicit flood_run(const settings& asked)
        : asked_(asked), context_(asked), sender_(asked), pace_(asked.rate),
          next_sequence_(asked.flow_count) {
        sockets_.reserve(asked.flow_count);
        for (unsigned i = 0; i < asked.flow_count; ++i)
            sockets_.emplace_back(asked);
    }

    result run() {
        run_until(now_ns() + asked_.warmup_ns);
        context_.counted.begin_window();
        sent_ = 0;
        const window_clocks clocks(asked_.server);
        run_until(now_ns() + asked_.duration_ns);
        result measured = end_window(clocks, sent_);
        measured.sent = sent_;
        measured.refused = context_.counted.refused;
        return measured;
    }

  private:
    void run_until(std::int64_t end_ns) {
        while (now_ns() < end_ns && !is_interrupted()) {
            if (pace_.is_due(asked_.is_spinning)) send_train();
        }
    }

    // The flows take turns.
    void send_train() {
        const probe_header first{.run_id = context_.run_id,
                                 .flow = turn_,
                                 .size = static_cast<std::uint32_t>(asked_.size),
                                 .sequence = next_sequence_[turn_],
                                 .sent_ns = now_ns()};
        const std::uint64_t sent =
            sender_.send(sockets_[turn_].fd(), first, pace_.train_length(), context_.counted);
        next_sequence_[turn_] += sent;
        sent_ += sent;
        turn_ = (turn_ + 1) % asked_.flow_count;
    }

    const settings& asked_;
    run_context context_;
    sender sender_;
    pace pace_;
    std::vector<connected_socket> sockets_;
    std::vector<std::uint64_t> next_sequence_;
    std::uint64_t sent_ = 0;
    std::uint32_t turn_ = 0;
};

}  // namespace

result run_flood(const settings& asked) { return flood_run(asked).run(); }

}  // namespace bench
