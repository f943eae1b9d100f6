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

    /// Errors: errc::already_running, errc::closed.
    [[nodiscard]] status enter(std::shared_ptr<loop_mailbox> loop);
    /// serve_forever() has ended: tells who waits for that.
    void leave();

    void opened(std::shared_ptr<loop_mailbox> loop, std::vector<address> where);
    void freed();
    /// Calls `function` with the service on the loop that opened it. Nothing happens when it is
    /// not open, or when either is gone by then.
    void post(std::move_only_function<void(udp_service_base&)> function);
    void set_service(udp_service_base* service);

    /// Calls `function`, on some thread, when serve_forever() has ended. False: it does not run.
    [[nodiscard]] bool when_ended(letter function);
    /// True for the first call.
    bool close();

    [[nodiscard]] bool is_closed() const;
    [[nodiscard]] bool is_serving() const;
    [[nodiscard]] std::vector<address> addresses() const;

  private:
    mutable std::mutex mutex_;
    bool is_serving_ = false;
    bool is_closed_ = false;
    udp_service_base* service_ = nullptr;
    std::shared_ptr<loop_mailbox> loop_;
    std::vector<address> addresses_;
    std::vector<letter> waiting_;
};

/// How a service in a thread of its own is getting on.
class startup {
  public:
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
    bool is_up_ = false;
    bool has_ended_ = false;
    result<void> outcome_;
    std::exception_ptr thrown_;
};

}  // namespace quoit::detail
