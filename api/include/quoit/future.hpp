// SPDX-License-Identifier: MIT
//
// future<T>: a value that one task waits for and another sets.
//
//   quoit::future<quoit::datagram> reply;
//   auto answer = co_await reply.wait({.timeout = 200ms});   // in one task
//   reply.set_value(std::move(datagram));                    // in another
//
// It is set once: the first value or error counts. If T can be copied, every waiter, before or
// after, gets a copy. If it can only be moved, the one who waited longest takes it, and every other
// waiter answers errc::closed.
//
// Ownership: whoever waits when the future is destroyed is woken with errc::closed.
// Thread safety: none; the loop's thread.
#pragma once

#include <quoit/detail/chain.hpp>
#include <quoit/detail/scheduler.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>
#include <quoit/task.hpp>

#include <concepts>
#include <coroutine>
#include <optional>
#include <type_traits>
#include <utility>

namespace quoit {

template <class T = void>
class future {
  public:
    class wait_operation;

    future() noexcept = default;
    future(const future&) = delete;
    future& operator=(const future&) = delete;
    ~future() {
        while (auto* const one = static_cast<wait_operation*>(waiters_.front())) {
            one->future_ = nullptr;
            one->wake(detail::waiter::outcome::closed);
        }
        // Those that were woken and have not run yet.
        woken_.for_each([](wait_operation& one) { one.future_ = nullptr; });
    }

    /// False: it was set before, and nothing has changed.
    template <class... Value>
        requires(std::is_void_v<T> ? sizeof...(Value) == 0
                                   : sizeof...(Value) == 1 && std::constructible_from<T, Value...>)
    bool set_value(Value&&... value) {
        return set(std::in_place, std::forward<Value>(value)...);
    }
    bool set_error(quoit::error why) { return set(std::unexpect, std::move(why)); }

    [[nodiscard]] bool is_set() const noexcept { return is_set_; }

    /// Errors: what set_error() was given; errc::timed_out, errc::canceled, errc::invalid_option,
    /// errc::closed. A limit of 0 waits for one turn.
    [[nodiscard("co_await it")]] wait_operation wait(wait_options options = {}) {
        return wait_operation(*this, options.timeout);
    }

  private:
    static constexpr bool is_shared = std::is_void_v<T> || std::copy_constructible<T>;

    template <class... Arguments>
    bool set(Arguments&&... arguments) {
        if (is_set_) return false;
        outcome_.emplace(std::forward<Arguments>(arguments)...);
        is_set_ = true;
        while (auto* const one = static_cast<wait_operation*>(waiters_.front())) {
            woken_.push_back(*one);
            one->wake();
        }
        return true;
    }
    result<T> take() {
        if (!outcome_) return failure(errc::closed);
        if constexpr (is_shared) {
            return *outcome_;
        } else if (!*outcome_) {
            return std::unexpected(outcome_->error());
        } else {
            result<T> taken = *std::move(outcome_);
            outcome_.reset();
            return taken;
        }
    }

    struct is_woken;
    std::optional<result<T>> outcome_;
    detail::chain<detail::waiter> waiters_;
    detail::chain<wait_operation, is_woken> woken_;
    bool is_set_ = false;
};

template <class T>
class [[nodiscard("co_await it")]] future<T>::wait_operation final
    : public detail::waiter,
      public detail::chain_link<typename future<T>::is_woken> {
  public:
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <detail::task_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> frame) {
        return start(frame, *frame.promise().context, limit_, &future_->waiters_,
                     future_->is_set());
    }
    result<T> await_resume() {
        if (answer() != outcome::ready) return std::unexpected(answer_as_status().error());
        if (future_ == nullptr) return failure(errc::closed);
        return future_->take();
    }

  private:
    friend class future;
    wait_operation(future& awaited, time_limit limit) noexcept : future_(&awaited), limit_(limit) {}
    future* future_;
    time_limit limit_;
};

}  // namespace quoit
