// SPDX-License-Identifier: MIT
//
// What other threads see of a service: whether it serves, where, and how to make it stop.
//
// Thread safety: service_control and startup are for any thread.
#pragma once

#include <quoit/error.hpp>
#include <quoit/service.hpp>

#include "loop_core.hpp"

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace quoit::detail {

class service_control : public std::enable_shared_from_this<service_control> {
  public:
    using letter = std::move_only_function<void()>;

    /// The number of this serve_forever(), from 1. Errors: errc::already_running, errc::closed.
    [[nodiscard]] result<std::uint64_t> enter(std::shared_ptr<loop_mailbox> loop);
    /// serve_forever() has ended: tells who waits for that.
    void leave() noexcept;

    void opened(std::shared_ptr<loop_mailbox> loop, std::vector<address> where);
    void freed();
    /// Calls `function` with the service on the loop that opened it. Nothing happens when it is
    /// not open, or when either is gone by then.
    void post(std::move_only_function<void(udp_service_base&)> function);
    void set_service(udp_service_base* service);

    /// Calls `function`, on some thread, when serve_forever() has ended. Which one that is; 0: it
    /// does not run.
    [[nodiscard]] std::uint64_t when_ended(letter function);
    /// True for the first call.
    bool close();

    [[nodiscard]] bool is_closed() const;
    [[nodiscard]] bool is_serving() const;
    [[nodiscard]] std::vector<address> addresses() const;

  private:
    mutable std::mutex mutex_;
    bool is_serving_ = false;
    bool is_closed_ = false;
    std::uint64_t session_ = 0;
    udp_service_base* service_ = nullptr;
    std::shared_ptr<loop_mailbox> loop_;
    std::vector<address> addresses_;
    std::vector<letter> waiting_;
};

/// How a service in a thread of its own is getting on.
class startup {
  public:
    void begins(std::uint64_t session) {
        const std::scoped_lock lock(mutex_);
        session_ = session;
    }
    /// The number of its serve_forever(); 0: it has not begun.
    [[nodiscard]] std::uint64_t session() {
        const std::scoped_lock lock(mutex_);
        return session_;
    }
    [[nodiscard]] bool has_ended() {
        const std::scoped_lock lock(mutex_);
        return has_ended_;
    }
    void is_up() {
        const std::scoped_lock lock(mutex_);
        is_up_ = true;
        changed_.notify_all();
    }
    void ended(result<void> how, std::exception_ptr thrown) {
        const std::scoped_lock lock(mutex_);
        outcome_ = std::move(how);
        thrown_ = std::move(thrown);
        has_ended_ = true;
        changed_.notify_all();
    }
    /// True when it is up, false when it has ended.
    [[nodiscard]] bool wait_until_up() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return is_up_ || has_ended_; });
        return is_up_;
    }
    /// False when it has not ended in time.
    [[nodiscard]] bool wait_until_ended(const time_limit& limit) {
        std::unique_lock lock(mutex_);
        const auto has_ended = [this] { return has_ended_; };
        if (limit.is_none()) {
            changed_.wait(lock, has_ended);
            return true;
        }
        return changed_.wait_until(lock, limit.deadline(std::chrono::steady_clock::now()),
                                   has_ended);
    }
    /// REQUIRES: it has ended. Rethrows what it threw, the first time.
    [[nodiscard]] result<void> outcome() {
        const std::scoped_lock lock(mutex_);
        if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
        return outcome_;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::uint64_t session_ = 0;
    bool is_up_ = false;
    bool has_ended_ = false;
    result<void> outcome_;
    std::exception_ptr thrown_;
};

}  // namespace quoit::detail
