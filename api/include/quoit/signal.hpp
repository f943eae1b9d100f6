// SPDX-License-Identifier: MIT
//
// Signals, on the loop's thread.
//
//   auto sighup = or_throw(quoit::on_signal(SIGHUP, [&](int) { reload(); }));
//   const int signal = or_throw(co_await quoit::wait_for_signal(SIGTERM, SIGINT));
//
// While somebody is subscribed to a signal it no longer does what it did before (end the process,
// say); when the last subscription ends, the previous disposition is restored. A signal belongs to
// one loop at a time. Several arrivals between two turns are one; one that has not been delivered
// when the last subscription ends is forgotten.
//
// In a child made by fork() subscriptions have ended: its signals do what they did before them.
//
// The handler proper sets a bit and wakes the loop, nothing else; it is installed with SA_RESTART.
// Thread safety: subscriptions belong to the loop's thread. The signal may arrive on any thread.
#pragma once

#include <quoit/error.hpp>
#include <quoit/task.hpp>

#include <concepts>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace quoit {

class loop;

namespace detail {
struct signal_entry;
[[nodiscard]] task<result<int>> wait_for_any_signal(std::vector<int> signals);
}  // namespace detail

/// Ends the subscription when it is destroyed, which a handler may do from inside. May outlive the
/// loop.
class signal_subscription {
  public:
    /// To nothing.
    signal_subscription() noexcept = default;
    explicit signal_subscription(std::shared_ptr<detail::signal_entry> entry) noexcept
        : entry_(std::move(entry)) {}
    signal_subscription(signal_subscription&&) noexcept = default;
    signal_subscription& operator=(signal_subscription&& other) noexcept;
    ~signal_subscription() { cancel(); }

    void cancel() noexcept;
    [[nodiscard]] bool is_active() const noexcept { return entry_ != nullptr; }

  private:
    std::shared_ptr<detail::signal_entry> entry_;
};

/// Calls `handler` with the signal's number, on the loop's thread, in the turn after the signal.
/// What it throws is logged and counted. Without a loop: the current one, whose turn must run here.
/// Errors: errc::invalid_option for no signal's number and for an empty handler;
/// errc::already_running when the signal belongs to another loop; the kernel's for what cannot be
/// caught (SIGKILL).
[[nodiscard]] result<signal_subscription> on_signal(int signal,
                                                    std::move_only_function<void(int)> handler);
[[nodiscard]] result<signal_subscription> on_signal(loop& runs, int signal,
                                                    std::move_only_function<void(int)> handler);

/// The first of these that arrives from the moment this is awaited.
/// Errors: errc::canceled; as on_signal().
template <std::same_as<int>... Signals>
    requires(sizeof...(Signals) > 0)
[[nodiscard]] task<result<int>> wait_for_signal(Signals... signals) {
    return detail::wait_for_any_signal(std::vector<int>{signals...});
}

}  // namespace quoit
