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
//
// A forked child inherits handlers that would fill inboxes nobody empties, and a count of handlers
// on threads it does not have. pthread_atfork(3) handlers put it back to where it was before the
// subscriptions, with signals blocked in between, so that none is lost on the way.
#include "loop_core.hpp"

#include <quoit/future.hpp>
#include <quoit/signal.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include <pthread.h>

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
// Under `slots_mutex`:
std::uint32_t forks = 0;  // from the first subscription of all to this process
bool handles_forks = false;
sigset_t mask_before_fork;

extern "C" void quoit_signal_handler(int signal) {
    const int errno_before = errno;
    handlers_running.fetch_add(1, std::memory_order_seq_cst);
    signal_inbox* const inbox =
        slots[static_cast<std::size_t>(signal)].inbox.load(std::memory_order_seq_cst);
    if (inbox != nullptr) inbox->arrived(signal);
    handlers_running.fetch_sub(1, std::memory_order_release);
    errno = errno_before;
}

// Holds the mutex across the fork, so that the child finds slots that nobody was changing.
void before_fork() noexcept {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    slots_mutex.lock();
    mask_before_fork = before;
}

void after_fork() noexcept {
    const sigset_t before = mask_before_fork;
    slots_mutex.unlock();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void after_fork_in_child() noexcept {
    for (int signal = 1; signal <= signal_max; ++signal) {
        signal_slot& slot = slots[static_cast<std::size_t>(signal)];
        if (slot.core == nullptr) continue;
        ::sigaction(signal, &slot.previous, nullptr);
        slot.inbox.store(nullptr, std::memory_order_seq_cst);
        slot.core = nullptr;
        slot.subscription_count = 0;
    }
    handlers_running.store(0, std::memory_order_seq_cst);  // those of the parent's other threads
    ++forks;
    after_fork();
}

// Once for the process. REQUIRES: slots_mutex is held.
[[nodiscard]] std::error_code handle_forks() noexcept {
    if (handles_forks) return {};
    const int why = pthread_atfork(before_fork, after_fork, after_fork_in_child);
    handles_forks = why == 0;
    return {why, std::system_category()};
}

}  // namespace

result<signal_subscription> loop_core::subscribe(int signal,
                                                 std::move_only_function<void(int)> handler) {
    if (signal < 1 || signal > signal_max) {
        return failure(errc::invalid_option, "signal " + std::to_string(signal));
    }
    if (!handler) {
        return failure(errc::invalid_option,
                       "signal " + std::to_string(signal) + ": an empty handler");
    }
    auto entry = std::make_shared<signal_entry>(
        signal_entry{.signal = signal, .handler = std::move(handler)});
    subscriptions_.push_back(entry);

    const std::scoped_lock lock(slots_mutex);
    signal_slot& slot = slots[static_cast<std::size_t>(signal)];
    if (slot.core != nullptr && slot.core != this) {
        subscriptions_.pop_back();
        return failure(errc::already_running,
                       "signal " + std::to_string(signal) + " belongs to another loop");
    }
    if (slot.core == nullptr) {
        if (const std::error_code why = handle_forks()) {
            subscriptions_.pop_back();
            return failure(why, "pthread_atfork");
        }
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
    entry->forks = forks;
    return signal_subscription(std::move(entry));
}

void loop_core::unsubscribe(signal_entry& entry) noexcept {
    entry.core = nullptr;
    std::erase_if(subscriptions_, [&](const auto& one) { return one.get() == &entry; });

    const std::scoped_lock lock(slots_mutex);
    if (entry.forks != forks) return;  // the parent's; here it ended with the fork
    signal_slot& slot = slots[static_cast<std::size_t>(entry.signal)];
    if (--slot.subscription_count > 0) return;
    ::sigaction(entry.signal, &slot.previous, nullptr);
    slot.core = nullptr;
    slot.inbox.store(nullptr, std::memory_order_seq_cst);
    while (handlers_running.load(std::memory_order_seq_cst) != 0)
        std::this_thread::yield();
    // What came for those who have left is not for those who come.
    signals_.forget(entry.signal);
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
