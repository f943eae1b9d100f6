// SPDX-License-Identifier: MIT
//
// The signal handler runs on any thread, at any point, while loops come and go on others. What it
// touches is therefore global, lock-free, and never freed while it runs:
//
//   handler                          unsubscribe
//   ++handlers_running   (seq_cst)   inbox = null            (seq_cst)
//   read inbox           (seq_cst)   wait: handlers_running == 0 (seq_cst)
//   inbox->arrived()
//   --handlers_running   (release)   now nobody uses the inbox
//
// Either the handler reads null, or the one who unsubscribes sees that a handler runs and waits for
// it. A handler that interrupts the waiting thread itself comes to its end first.
#include "loop_core.hpp"

#include <quoit/future.hpp>
#include <quoit/signal.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace quoit {

namespace detail {

namespace {

constexpr int signal_max = 64;  // SIGRTMAX on Linux

struct signal_slot {
    std::atomic<signal_inbox*> inbox{nullptr};
    // Under `slots_mutex`:
    loop_core* core = nullptr;
    int subscription_count = 0;
    struct sigaction previous{};
};

std::mutex slots_mutex;
std::array<signal_slot, signal_max + 1> slots;
std::atomic<int> handlers_running{0};

extern "C" void quoit_signal_handler(int signal) {
    const int errno_before = errno;
    handlers_running.fetch_add(1, std::memory_order_seq_cst);
    signal_inbox* const inbox =
        slots[static_cast<std::size_t>(signal)].inbox.load(std::memory_order_seq_cst);
    if (inbox != nullptr) inbox->arrived(signal);
    handlers_running.fetch_sub(1, std::memory_order_release);
    errno = errno_before;
}

}  // namespace

result<signal_subscription> loop_core::subscribe(int signal,
                                                 std::move_only_function<void(int)> handler) {
    if (signal < 1 || signal > signal_max) {
        return failure(errc::invalid_option, "signal " + std::to_string(signal));
    }
    auto entry = std::make_shared<signal_entry>(signal_entry{signal, std::move(handler), nullptr});
    subscriptions_.push_back(entry);

    const std::scoped_lock lock(slots_mutex);
    signal_slot& slot = slots[static_cast<std::size_t>(signal)];
    if (slot.core != nullptr && slot.core != this) {
        subscriptions_.pop_back();
        return failure(errc::already_running,
                       "signal " + std::to_string(signal) + " belongs to another loop");
    }
    if (slot.core == nullptr) {
        slot.inbox.store(&signals_, std::memory_order_seq_cst);
        struct sigaction action{};
        action.sa_handler = quoit_signal_handler;
        action.sa_flags = SA_RESTART;
        sigemptyset(&action.sa_mask);
        if (::sigaction(signal, &action, &slot.previous) != 0) {
            const std::error_code why(errno, std::system_category());
            slot.inbox.store(nullptr, std::memory_order_seq_cst);
            subscriptions_.pop_back();
            return failure(why, "signal " + std::to_string(signal));
        }
        slot.core = this;
    }
    ++slot.subscription_count;
    entry->core = this;
    return signal_subscription(std::move(entry));
}

void loop_core::unsubscribe(signal_entry& entry) noexcept {
    entry.core = nullptr;
    std::erase_if(subscriptions_, [&](const auto& one) { return one.get() == &entry; });

    const std::scoped_lock lock(slots_mutex);
    signal_slot& slot = slots[static_cast<std::size_t>(entry.signal)];
    if (--slot.subscription_count > 0) return;
    ::sigaction(entry.signal, &slot.previous, nullptr);
    slot.core = nullptr;
    slot.inbox.store(nullptr, std::memory_order_seq_cst);
    while (handlers_running.load(std::memory_order_seq_cst) != 0)
        std::this_thread::yield();
}

task<result<int>> wait_for_any_signal(std::vector<int> signals) {
    future<int> arrived;
    std::vector<signal_subscription> subscriptions;
    for (const int signal : signals) {
        auto subscription = on_signal(signal, [&arrived](int which) { arrived.set_value(which); });
        if (!subscription) co_return std::unexpected(subscription.error());
        subscriptions.push_back(*std::move(subscription));
    }
    co_return co_await arrived.wait();
}

}  // namespace detail

result<signal_subscription> on_signal(int signal, std::move_only_function<void(int)> handler) {
    return detail::current_core().subscribe(signal, std::move(handler));
}

result<signal_subscription> on_signal(loop& runs, int signal,
                                      std::move_only_function<void(int)> handler) {
    return detail::loop_access::core(runs).subscribe(signal, std::move(handler));
}

signal_subscription& signal_subscription::operator=(signal_subscription&& other) noexcept {
    if (this != &other) {
        cancel();
        entry_ = std::move(other.entry_);
    }
    return *this;
}

void signal_subscription::cancel() noexcept {
    const std::shared_ptr<detail::signal_entry> entry = std::exchange(entry_, nullptr);
    if (entry && entry->core != nullptr) entry->core->unsubscribe(*entry);
}

}  // namespace quoit
