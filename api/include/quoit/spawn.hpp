// SPDX-License-Identifier: MIT
//
// Tasks that run beside each other: spawn(), task_handle, with_timeout().
//
//   auto worker = quoit::spawn(work());            // starts with the loop's next turn
//   quoit::spawn([peer]() -> quoit::task<> {...});  // the lambda is kept beside its frame
//   auto outcome = co_await worker.join();         // a result, or what the task threw
//
// A result is not nested: joining a task<result<T>> gives result<T>.
//
// Ownership: the loop keeps what it runs. Letting a handle go detaches the task; what it throws
// then is logged and counted (loop::unobserved_exception_count). Handles may outlive the loop.
// Thread safety: none; all of this belongs to the loop's thread. loop::post() leads there.
#pragma once

#include <quoit/detail/counted.hpp>
#include <quoit/detail/scheduler.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>
#include <quoit/task.hpp>
#include <quoit/time.hpp>

#include <concepts>
#include <coroutine>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

namespace quoit {

namespace detail {

template <class T>
struct flat_result_of {
    using type = result<T>;
    static constexpr bool is_result = false;
};
template <class T>
struct flat_result_of<result<T>> {
    using type = result<T>;
    static constexpr bool is_result = true;
};
/// result<T>, also for T = result<U>.
template <class T>
using flat_result = typename flat_result_of<T>::type;

struct nothing {};

template <class T>
class spawned_task final : public spawned {
    using stored = std::conditional_t<std::is_void_v<T>, nothing, T>;

  public:
    explicit spawned_task(task<T> body) noexcept : body_(std::move(body)) {
        if (!body_.frame_ || body_.frame_.done()) {
            misused("a task was spawned or run that is empty or has already ended");
        }
    }

    /// What it gave, once. Rethrows what it threw; `if_dropped` when it was dropped.
    /// REQUIRES: is_done().
    flat_result<T> take(errc if_dropped) {
        rethrow_exception_if_any();
        if (!value_) return failure(if_dropped);
        std::optional<stored> value = std::exchange(value_, std::nullopt);
        if constexpr (std::is_void_v<T>) {
            return {};
        } else {
            return *std::move(value);
        }
    }
    /// As take(), of one that was cancelled because of a limit: only a result that holds a value
    /// tells that the task achieved something in spite of it.
    flat_result<T> take_limited(errc otherwise) {
        if constexpr (flat_result_of<T>::is_result) {
            flat_result<T> outcome = take(otherwise);
            if (!outcome) return failure(otherwise);
            return outcome;
        } else {
            rethrow_exception_if_any();
            return failure(otherwise);
        }
    }
    /// What run() returns. REQUIRES: is_done().
    T take_or_throw() {
        rethrow_exception_if_any();
        if (!value_) throw_error(errc::canceled);
        if constexpr (!std::is_void_v<T>) return *std::move(value_);
    }

  private:
    std::coroutine_handle<> prepare() noexcept override {
        auto& promise = body_.frame_.promise();
        promise.context = &context();
        promise.root = this;
        return body_.frame_;
    }
    void collect() noexcept override {
        auto& promise = body_.frame_.promise();
        if (promise.exception) {
            set_exception(std::exchange(promise.exception, nullptr));
        } else {
            try {
                if constexpr (std::is_void_v<T>) {
                    value_.emplace();
                } else {
                    value_.emplace(promise.take());
                }
            } catch (...) {  // from moving the value
                set_exception(std::current_exception());
            }
        }
        destroy_frame();
    }
    void destroy_frame() noexcept override { body_ = task<T>(); }

    task<T> body_;
    std::optional<stored> value_;
};

template <class T>
class [[nodiscard("co_await it")]] join_operation final : public waiter {
  public:
    join_operation(counted_ptr<spawned_task<T>> joined, time_limit limit) noexcept
        : joined_(std::move(joined)), limit_(limit) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <task_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> frame) {
        const bool is_known = !joined_ || joined_->is_done();
        return start(frame, *frame.promise().context, limit_,
                     joined_ ? &joined_->joiners() : nullptr, is_known);
    }
    flat_result<T> await_resume() {
        if (answer() != outcome::ready) return std::unexpected(answer_as_status().error());
        if (!joined_) return failure(errc::closed);
        return joined_->take(errc::canceled);
    }

  private:
    counted_ptr<spawned_task<T>> joined_;
    time_limit limit_;
};

/// Drops what it started when it is left before that has ended.
template <class T>
class supervised {
  public:
    explicit supervised(task<T> body) : child_(new spawned_task<T>(std::move(body))) {}
    supervised(const supervised&) = delete;
    supervised& operator=(const supervised&) = delete;
    ~supervised() { child_->drop(); }
    spawned_task<T>* operator->() const noexcept { return child_.get(); }
    spawned_task<T>& operator*() const noexcept { return *child_; }

  private:
    counted_ptr<spawned_task<T>> child_;
};

/// Runs a child below the task that awaits this and waits for its end, or for the limit. Is not
/// cancelled itself: the child is, and then ends.
class [[nodiscard("co_await it")]] supervise_operation final : public waiter {
  public:
    supervise_operation(spawned& child, time_limit limit) noexcept : child_(child), limit_(limit) {}
    [[nodiscard]] bool await_ready() const noexcept { return child_.is_done(); }
    template <task_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> frame) {
        return supervise(frame, *frame.promise().context);
    }
    void await_resume() const noexcept {}

  private:
    bool supervise(std::coroutine_handle<> frame, task_context& parent);

    spawned& child_;
    time_limit limit_;
};

/// Keeps the callable beside the frame of its coroutine.
template <class Function>
auto keep_callable(Function function) -> std::invoke_result_t<Function&> {
    co_return co_await std::invoke(function);
}

}  // namespace detail

/// Something that returns a task when called.
template <class Function>
concept task_function = requires { typename std::invoke_result_t<Function&>::promise_type; };

/// Stands for a task that runs by itself. Move-only; letting it go detaches the task.
template <class T = void>
class task_handle {
  public:
    /// No task: done, and joining it answers errc::closed.
    task_handle() noexcept = default;
    explicit task_handle(detail::counted_ptr<detail::spawned_task<T>> running) noexcept
        : running_(std::move(running)) {}
    task_handle(task_handle&&) noexcept = default;
    task_handle& operator=(task_handle&&) noexcept = default;
    ~task_handle() = default;

    /// Has returned, thrown or been dropped.
    [[nodiscard]] bool is_done() const noexcept { return !running_ || running_->is_done(); }

    /// From now on every await of the task and of what it awaits answers errc::canceled. A task
    /// that has not started yet starts nevertheless, so that its clean-up runs.
    void cancel() noexcept {
        if (running_) running_->cancel();
    }

    /// Waits for the end: what the task returned, which is moved out, or rethrows what it threw.
    /// Errors: errc::canceled, when the one who joins was cancelled or the task was dropped;
    /// errc::timed_out, errc::invalid_option; of a task that returns a result, its own.
    /// Joining again answers errc::canceled, as of a task that left nothing.
    [[nodiscard("co_await it")]] detail::join_operation<T> join(wait_options options = {}) const {
        return detail::join_operation<T>(running_, options.timeout);
    }

  private:
    detail::counted_ptr<detail::spawned_task<T>> running_;
};

/// Runs on the current loop, from its next turn on. REQUIRES: a loop's turn is on this thread
/// (otherwise: loop::spawn).
template <class T>
task_handle<T> spawn(task<T> body) {
    const detail::counted_ptr running(new detail::spawned_task<T>(std::move(body)));
    running->start(detail::current_scheduler());
    return task_handle<T>(running);
}

/// Takes the callable itself: spawn([=]() -> task<> {...}), never spawn([=]() -> task<> {...}()),
/// whose captures would be gone before the task starts.
template <task_function Function>
auto spawn(Function function) {
    return spawn(detail::keep_callable(std::move(function)));
}

/// Runs the task below this one, for a limited time: when that has passed the task is cancelled,
/// and in any case its end is waited for. Cancelling the task that awaits this cancels it as well.
///
/// Gives what the task gave. After the limit: errc::timed_out, unless the task returned a result
/// that holds a value nevertheless. After a cancellation from above: what a task<result<T>>
/// returned, otherwise errc::canceled. A limit that is no time: errc::invalid_option, and the task
/// does not run. Rethrows what the task threw. A limit of 0: the task runs up to its first wait and
/// gets one turn.
template <class T>
task<detail::flat_result<T>> with_timeout(task<T> body, time_limit limit) {
    if (!limit.is_valid()) co_return failure(errc::invalid_option);
    const detail::supervised<T> child(std::move(body));
    co_await detail::supervise_operation(*child, limit);
    if (!child->is_done()) {
        child->cancel();
        co_await detail::supervise_operation(*child, time_limit());
        co_return child->take_limited(errc::timed_out);
    }
    if (child->was_canceled() && !detail::flat_result_of<T>::is_result) {
        co_return child->take_limited(errc::canceled);
    }
    co_return child->take(errc::canceled);
}

}  // namespace quoit
