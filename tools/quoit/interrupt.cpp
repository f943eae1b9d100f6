// SPDX-License-Identifier: MIT
#include "interrupt.hpp"

#include <cerrno>

namespace quoit::program {

namespace {

// A signal handler has no argument to carry it.
std::atomic<interrupt*> current = nullptr;
static_assert(std::atomic<interrupt*>::is_always_lock_free &&
                  std::atomic<bool>::is_always_lock_free,
              "used by a signal handler");

}  // namespace

interrupt::interrupt(port& wakes) noexcept : port_(wakes) {
    // Pairs with the acquire load in handle().
    current.store(this, std::memory_order_release);
    struct sigaction action{};
    action.sa_handler = &interrupt::handle;
    action.sa_flags = static_cast<int>(SA_RESTART | SA_RESETHAND);
    ::sigaction(SIGINT, &action, &previous_int_);
    ::sigaction(SIGTERM, &action, &previous_term_);
}

interrupt::~interrupt() {
    ::sigaction(SIGINT, &previous_int_, nullptr);
    ::sigaction(SIGTERM, &previous_term_, nullptr);
    current.store(nullptr, std::memory_order_release);
}

void interrupt::handle(int) noexcept {
    const int saved = errno;
    if (interrupt* const one = current.load(std::memory_order_acquire)) {
        one->requested_.store(true, std::memory_order_relaxed);
        one->port_.wake();
    }
    errno = saved;
}

}  // namespace quoit::program
