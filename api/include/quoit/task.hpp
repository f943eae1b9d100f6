// SPDX-License-Identifier: MIT
//
// task<T>: a coroutine that runs on a loop.
//
//   quoit::task<int> answer() { co_return 42; }
//   quoit::task<> ask() { std::cout << co_await answer() << '\n'; }
//
// Lazy: nothing happens until it is awaited, spawned or run, and that once. Awaiting one gives its
// T or throws what it threw. Destroying one that is suspended drops it: its frames are destroyed
// where they stand, and every await they are in lets go by itself.
//
// Cancellation is a value: it belongs to the tree of tasks, is sticky, and arrives at every await
// as errc::canceled. Awaiting a task is no such place: the task is entered, and its awaits answer.
//
// No symmetric transfer: below -O2 and under sanitizers GCC does not make it a tail call, and a
// loop that awaits tasks which end at once would overflow the stack. Instead await_suspend resumes
// the child inside and says "do not suspend" when it has already ended: constant stack.
//
// Coroutines take parameters by value, or refer to what outlives them: a task holds its frame, not
// what the frame's references and string_views refer to. docs/coroutines.md has the call sites that
// GCC 12 miscompiles.
//
// Thread safety: none; a task belongs to the thread of the loop it runs on.
// Errors: exceptions pass through. Frames come from a free list and may throw std::bad_alloc.
#pragma once

#include <quoit/detail/frame_cache.hpp>
#include <quoit/detail/scheduler.hpp>

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace quoit {

template <class T = void>
class task;

namespace detail {

struct promise_base {
    task_context* context = nullptr;
    std::coroutine_handle<> continuation;  // who awaits it
    spawned* root = nullptr;               // or whose body it is
    std::exception_ptr exception;
    bool is_starting = false;  // the awaiter's await_suspend is below us on the stack

    static void* operator new(std::size_t size) { return allocate_frame(size); }
    static void operator delete(void* frame, std::size_t size) noexcept { free_frame(frame, size); }

    // The way up. Either the one who awaits is still in its await_suspend, which will notice that
    // we are done; or it has suspended long ago, and we were resumed by the loop: then it is
    // resumed from here, in the same turn.
    //
    // The frame may be destroyed meanwhile: by ended(), or by the continuation, when the temporary
    // task it awaited goes out of scope. That is allowed, because a coroutine counts as suspended
    // once await_suspend has been entered; and it is safe, because nothing of the frame (this
    // awaiter, the promise) is touched afterwards: await_suspend returns void, on which the
    // coroutine only returns to whoever resumed it. The stack grows by one level for each await
    // that ends together with this one, not with the number of awaits: a continuation that goes on
    // to await something else suspends, and the stack unwinds to the loop.
    class final_awaiter {
      public:
        [[nodiscard]] bool await_ready() const noexcept { return false; }
        template <std::derived_from<promise_base> Promise>
        void await_suspend(std::coroutine_handle<Promise> frame) const noexcept {
            promise_base& self = frame.promise();
            if (self.root != nullptr) {
                self.root->ended();
            } else if (!self.is_starting) {
                self.continuation.resume();
            }
        }
        void await_resume() const noexcept {}
    };
    [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
    [[nodiscard]] final_awaiter final_suspend() const noexcept { return {}; }
    void unhandled_exception() noexcept { exception = std::current_exception(); }

    void rethrow_if_failed() {
        if (exception) std::rethrow_exception(std::exchange(exception, nullptr));
    }
};

/// Awaiters of quoit can be awaited in tasks only: they need the task's context.
template <class Promise>
concept task_promise = std::derived_from<Promise, promise_base>;

template <class T>
class promise final : public promise_base {
  public:
    task<T> get_return_object() noexcept;
    template <class U = T>
        requires std::constructible_from<T, U&&>
    void return_value(U&& value) {
        value_.emplace(std::forward<U>(value));
    }
    /// REQUIRES: it ended, and this was not called before.
    T take() {
        rethrow_if_failed();
        return *std::move(value_);
    }

  private:
    std::optional<T> value_;
};

template <>
class promise<void> final : public promise_base {
  public:
    task<void> get_return_object() noexcept;
    void return_void() const noexcept {}
    void take() { rethrow_if_failed(); }
};

template <class T>
class spawned_task;

}  // namespace detail

template <class T>
class [[nodiscard("a task does nothing until it is awaited, spawned or run")]] task {
    static_assert(!std::is_reference_v<T>, "a task gives a value; return a pointer instead");

  public:
    using promise_type = detail::promise<T>;
    using value_type = T;
    class awaiter;

    /// No task; awaiting it aborts.
    task() noexcept = default;
    task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    task& operator=(task&& other) noexcept {
        task(std::move(other)).swap(*this);
        return *this;
    }
    ~task() {
        if (frame_) frame_.destroy();
    }
    void swap(task& other) noexcept { std::swap(frame_, other.frame_); }

    /// `co_await std::move(t)` for one with a name.
    awaiter operator co_await() && noexcept;

  private:
    friend class detail::promise<T>;
    friend class detail::spawned_task<T>;
    explicit task(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}
    std::coroutine_handle<promise_type> frame_;
};

template <class T>
class task<T>::awaiter {
  public:
    explicit awaiter(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <detail::task_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> parent) const {
        if (!frame_ || frame_.done()) {
            detail::misused("a task was awaited that is empty or has already ended");
        }
        promise_type& child = frame_.promise();
        child.context = parent.promise().context;
        child.continuation = parent;
        child.is_starting = true;
        frame_.resume();
        child.is_starting = false;
        return !frame_.done();
    }
    T await_resume() const { return frame_.promise().take(); }

  private:
    std::coroutine_handle<promise_type> frame_;
};

template <class T>
typename task<T>::awaiter task<T>::operator co_await() && noexcept {
    return awaiter(frame_);
}

template <class T>
task<T> detail::promise<T>::get_return_object() noexcept {
    return task<T>(std::coroutine_handle<promise<T>>::from_promise(*this));
}
inline task<void> detail::promise<void>::get_return_object() noexcept {
    return task<void>(std::coroutine_handle<promise<void>>::from_promise(*this));
}

}  // namespace quoit
