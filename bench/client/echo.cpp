// SPDX-License-Identifier: MIT
//
// The closed loop. Each turn waits, receives everything there is from the flows that are ready,
// then refills them, so that what has come back leaves again in as few messages as possible. One
// flow blocks in recvmmsg itself; several share an edge-triggered epoll set: a socket read until
// empty need not be looked at again.
#include "flow.hpp"
#include "receiver.hpp"

#include <array>
#include <cerrno>
#include <system_error>

#include <sys/epoll.h>
#include <unistd.h>

namespace bench {

namespace {

constexpr std::int64_t sweep_interval_ns = 10 * millisecond_ns;
constexpr int sweep_interval_ms = 10;

class epoll_set {
  public:
    epoll_set() : fd_(::epoll_create1(EPOLL_CLOEXEC)) {
        if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
    }
    ~epoll_set() { ::close(fd_); }
    epoll_set(const epoll_set&) = delete;
    epoll_set& operator=(const epoll_set&) = delete;

    void add(flow& one) {
        epoll_event interest{.events = EPOLLIN | EPOLLET, .data = {.ptr = &one}};
        if (::epoll_ctl(fd_, EPOLL_CTL_ADD, one.fd(), &interest) != 0) {
            throw std::system_error(errno, std::generic_category(), "epoll_ctl");
        }
    }
    [[nodiscard]] std::span<const epoll_event> wait(int timeout_ms) {
        const int count =
            ::epoll_wait(fd_, ready_.data(), static_cast<int>(ready_.size()), timeout_ms);
        if (count < 0 && errno != EINTR) {
            throw std::system_error(errno, std::generic_category(), "epoll_wait");
        }
        return {ready_.data(), count < 0 ? 0 : static_cast<std::size_t>(count)};
    }

  private:
    static constexpr std::size_t ready_count_max = 256;
    int fd_;
    std::array<epoll_event, ready_count_max> ready_{};
};

class echo_run {
  public:
    explicit echo_run(const settings& asked)
        : asked_(asked), context_(asked), receiver_(context_), sender_(asked) {
        flows_.reserve(asked.flow_count);  // epoll keeps their addresses
        for (unsigned i = 0; i < asked.flow_count; ++i) {
            flow& one = flows_.emplace_back(context_, i);
            if (asked.flow_count > 1) ready_.add(one);
        }
        if (asked.flow_count == 1) flows_.front().socket().set_receive_timeout(sweep_interval_ns);
    }

    result run() {
        run_until(now_ns() + asked_.warmup_ns);
        begin_window();
        const window_clocks clocks(asked_.server);
        run_until(now_ns() + asked_.duration_ns);
        result measured = end_window(clocks, context_.counted.arrived);
        drain();
        add_counts(context_.counted, sent_in_window(), measured);
        return measured;
    }

  private:
    void begin_window() {
        context_.counted.begin_window();
        for (flow& one : flows_)
            one.begin_window();
    }

    void run_until(std::int64_t end_ns) {
        for (std::int64_t now = now_ns(); now < end_ns && !is_interrupted(); now = now_ns()) {
            if (now >= sweep_ns_) sweep(now);
            if (asked_.flow_count == 1) {
                turn_one();
            } else {
                turn_ready();
            }
        }
    }

    void turn_one() {
        flow& one = flows_.front();
        receiver_.receive(one, asked_.is_spinning ? MSG_DONTWAIT : MSG_WAITFORONE);
        one.refill(sender_);
    }

    void turn_ready() {
        const auto events = ready_.wait(asked_.is_spinning ? 0 : sweep_interval_ms);
        for (const epoll_event& event : events)
            receiver_.receive(*static_cast<flow*>(event.data.ptr), MSG_DONTWAIT);
        for (const epoll_event& event : events)
            static_cast<flow*>(event.data.ptr)->refill(sender_);
    }

    void sweep(std::int64_t now) {
        for (flow& one : flows_)
            one.give_up_old(now);
        refill_all();
        sweep_ns_ = now + sweep_interval_ns;
    }

    void refill_all() {
        for (flow& one : flows_)
            one.refill(sender_);
    }

    // What is still on its way may arrive, but nothing more is sent.
    void drain() {
        const std::int64_t end_ns = now_ns() + drain_max_ns;
        while (in_flight() > 0 && now_ns() < end_ns && !is_interrupted()) {
            for (flow& one : flows_)
                receiver_.receive(one, MSG_DONTWAIT);
            constexpr useconds_t pause_us = 200;
            if (in_flight() > 0) ::usleep(pause_us);
        }
    }

    [[nodiscard]] std::uint64_t in_flight() const noexcept {
        std::uint64_t sum = 0;
        for (const flow& one : flows_)
            sum += one.in_flight();
        return sum;
    }

    [[nodiscard]] std::uint64_t sent_in_window() const noexcept {
        std::uint64_t sum = 0;
        for (const flow& one : flows_)
            sum += one.sent_in_window();
        return sum;
    }

    const settings& asked_;
    run_context context_;
    receiver receiver_;
    sender sender_;
    std::vector<flow> flows_;
    epoll_set ready_;
    std::int64_t sweep_ns_ = 0;  // the first is due at once: it fills the flows
};

}  // namespace

result run_echo(const settings& asked) { return echo_run(asked).run(); }

}  // namespace bench
