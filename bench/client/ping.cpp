// SPDX-License-Identifier: MIT
//
// One datagram at a time. The next is sent when the answer came or 200 ms have passed, so the
// intended send is the send itself. A blocking receive is the least a client can add to the round
// trip; --spin takes the wake-up out as well.
#include "flow.hpp"

#include <cerrno>
#include <system_error>

namespace bench {

namespace {

class ping_run {
  public:
    explicit ping_run(const settings& asked)
        : asked_(asked), context_(asked), sender_(asked), flow_(context_, 0),
          buffer_(asked.size + 1) {
        flow_.socket().set_receive_timeout(give_up_after_ns);
    }

    result run() {
        run_until(now_ns() + asked_.warmup_ns);
        context_.counted.begin_window();
        flow_.begin_window();
        const window_clocks clocks(asked_.server);
        run_until(now_ns() + asked_.duration_ns);
        result measured = end_window(clocks, context_.counted.arrived);
        add_counts(context_.counted, flow_.sent_in_window(), measured);
        return measured;
    }

  private:
    // How long a spinning receive goes without a look at the clock.
    static constexpr int spins_per_look = 64;

    void run_until(std::int64_t end_ns) {
        while (now_ns() < end_ns && !is_interrupted()) {
            flow_.refill(sender_);
            const std::int64_t sent_ns = now_ns();
            wait_for_answer(sent_ns + give_up_after_ns);
            if (flow_.in_flight() == 0) continue;
            // Two marks, one before and one after the time is up, give the place back.
            flow_.give_up_old(sent_ns);
            flow_.give_up_old(sent_ns + give_up_after_ns);
        }
    }

    void wait_for_answer(std::int64_t deadline_ns) {
        const int flags = asked_.is_spinning ? MSG_DONTWAIT : 0;
        int looks_left = spins_per_look;
        while (flow_.in_flight() > 0 && !is_interrupted()) {
            const ssize_t size = ::recv(flow_.fd(), buffer_.data(), buffer_.size(), flags);
            if (size >= 0) {
                flow_.count({buffer_.data(), static_cast<std::size_t>(size)}, now_ns());
                continue;
            }
            note_error();
            if (asked_.is_spinning && --looks_left > 0) continue;
            if (now_ns() >= deadline_ns) return;
            looks_left = spins_per_look;
        }
    }

    void note_error() {
        if (errno == EAGAIN || errno == EINTR) return;
        if (errno != ECONNREFUSED) {
            throw std::system_error(errno, std::generic_category(), "recv");
        }
        ++context_.counted.refused;
    }

    const settings& asked_;
    run_context context_;
    sender sender_;
    flow flow_;
    std::vector<char> buffer_;
};

}  // namespace

result run_ping(const settings& asked) { return ping_run(asked).run(); }

}  // namespace bench
