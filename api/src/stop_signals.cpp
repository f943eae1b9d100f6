// SPDX-License-Identifier: MIT
#include "stop_signals.hpp"

#include <atomic>
#include <cerrno>
#include <thread>

#include <unistd.h>

namespace quoit::detail {

namespace {

// A handler has no argument to carry it. That nobody uses it any more when it goes is seen to as in
// signals.cpp: the handler counts itself, then reads it; who takes it away waits for the count.
std::atomic<core_group*> stopped_group{nullptr};
std::atomic<int> handlers_running{0};
std::atomic<pid_t> process{0};
static_assert(std::atomic<core_group*>::is_always_lock_free &&
              std::atomic<int>::is_always_lock_free);

extern "C" void quoit_stop_group(int signal) {
    const int errno_before = errno;
    handlers_running.fetch_add(1, std::memory_order_seq_cst);
    // In a child the group is a copy whose threads there are not. SA_RESETHAND: the default again.
    if (::getpid() != process.load(std::memory_order_relaxed)) {
        static_cast<void>(::raise(signal));
    } else if (core_group* const group = stopped_group.load(std::memory_order_seq_cst)) {
        group->stop();
    }
    handlers_running.fetch_sub(1, std::memory_order_release);
    errno = errno_before;
}

}  // namespace

stop_signals::stop_signals(core_group& stopped) noexcept {
    const pid_t self = ::getpid();
    // In a child these are the parent's: its group, and handlers of threads that there are not.
    if (process.load(std::memory_order_relaxed) != self) {
        handlers_running.store(0, std::memory_order_relaxed);
        stopped_group.store(nullptr, std::memory_order_seq_cst);
    }
    core_group* nobody = nullptr;
    is_installed_ =
        stopped_group.compare_exchange_strong(nobody, &stopped, std::memory_order_seq_cst);
    if (!is_installed_) return;
    // Relaxed: read by handlers that are installed below.
    process.store(self, std::memory_order_relaxed);
    struct sigaction action{};
    action.sa_handler = quoit_stop_group;
    action.sa_flags = static_cast<int>(SA_RESTART | SA_RESETHAND);
    sigemptyset(&action.sa_mask);
    ::sigaction(SIGINT, &action, &previous_int_);
    ::sigaction(SIGTERM, &action, &previous_term_);
    // In a child again: what the parent put there is for the parent's group.
    for (struct sigaction* const previous : {&previous_int_, &previous_term_}) {
        if (previous->sa_handler == quoit_stop_group) previous->sa_handler = SIG_DFL;
    }
}

stop_signals::~stop_signals() {
    if (!is_installed_) return;
    ::sigaction(SIGINT, &previous_int_, nullptr);
    ::sigaction(SIGTERM, &previous_term_, nullptr);
    stopped_group.store(nullptr, std::memory_order_seq_cst);
    // Pairs with the handler's release: what it did with the group is over.
    while (handlers_running.load(std::memory_order_seq_cst) != 0)
        std::this_thread::yield();
}

}  // namespace quoit::detail
