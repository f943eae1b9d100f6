// SPDX-License-Identifier: MIT
#include "resolver_threads.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include <unistd.h>

namespace quoit::detail::resolver_threads {

namespace {

constexpr std::size_t thread_count_max = 4;
constexpr std::size_t waiting_max = 1024;
constexpr std::chrono::seconds idle_time_max{10};

struct shared_state {
    std::mutex mutex;
    std::condition_variable has_work;
    std::deque<std::move_only_function<void()>> waiting;
    std::size_t threads = 0;
    std::size_t idle = 0;
    pid_t process = ::getpid();
};

void work(shared_state& state) {
    std::unique_lock lock(state.mutex);
    for (;;) {
        ++state.idle;
        const bool has_job =
            state.has_work.wait_for(lock, idle_time_max, [&] { return !state.waiting.empty(); });
        --state.idle;
        if (!has_job) break;
        auto job = std::move(state.waiting.front());
        state.waiting.pop_front();
        lock.unlock();
        job();
        job = nullptr;
        lock.lock();
    }
    --state.threads;
}

// Signals are for the program's own threads.
class signals_blocked {
  public:
    signals_blocked() noexcept {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    signals_blocked(const signals_blocked&) = delete;
    signals_blocked& operator=(const signals_blocked&) = delete;
    ~signals_blocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  private:
    sigset_t before_;
};

// Never freed: the threads may outlive static destructors. In the child of a fork the parent's is
// left alone, because its mutex may have been held; and no mutex guards this, because that might
// have been, too.
shared_state& the_state() {
    static constinit std::atomic<shared_state*> current{nullptr};
    const pid_t self = ::getpid();
    shared_state* state = current.load(std::memory_order_acquire);  // pairs with the exchange
    if (state != nullptr && state->process == self) return *state;
    auto made = std::make_unique<shared_state>();
    // Whoever loses finds the winner's, which is of this process as well.
    if (current.compare_exchange_strong(state, made.get(), std::memory_order_acq_rel,
                                        std::memory_order_acquire)) {
        return *made.release();
    }
    return *state;
}

}  // namespace

status submit(std::move_only_function<void()> job) {
    shared_state& state = the_state();
    const std::scoped_lock lock(state.mutex);
    if (state.waiting.size() >= waiting_max) return errc::would_block;
    state.waiting.push_back(std::move(job));
    if (state.waiting.size() > state.idle && state.threads < thread_count_max) {
        const signals_blocked blocked;
        try {
            std::thread(work, std::ref(state)).detach();
            ++state.threads;
        } catch (const std::system_error& why) {
            if (state.threads == 0) {
                state.waiting.pop_back();
                return why.code();
            }
        }
    }
    state.has_work.notify_one();
    return {};
}

}  // namespace quoit::detail::resolver_threads
