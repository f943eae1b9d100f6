// SPDX-License-Identifier: MIT
//
// What runs coroutines, without any I/O: who waits, who is ready, who is cancelled.
//
//   task_scheduler   the ready list, the timers and the tasks of one loop
//   task_context     one per spawned task, shared by all frames that are awaited below it;
//                    cancelling it cancels the contexts linked under it
//   waiter           one suspended await; every awaiter is one, and lies in its coroutine's frame
//   spawned          a task that was started, rather than awaited: its context, end and joiners
//
//              await_suspend                    wake()                 next turn
//   running  ---------------->  wait list,   ------------>  ready   ------------->  running
//                               timer heap                  list
//
// Invariants:
//   1. What I/O, timers or other tasks complete is resumed from the ready list only, so no await
//      runs another task's code, and the stack does not grow with the number of awaits.
//   2. A waiter is in at most one chain (a wait list or the ready list) and in at most one heap.
//      Its destructor takes it out, so a suspended frame can be destroyed at any time.
//   3. Cancellation is sticky: once a context is cancelled, every await of a waiter in it answers
//      errc::canceled, without suspending, whatever else it would have answered (those that wait
//      for what they cancel, join() of a group and with_timeout(), wait for its end instead). A
//      task that goes on awaiting nevertheless is dropped after canceled_awaits_max of them.
//   4. What keeps a loop from ending all the same is a task that never comes back to it: it
//      computes, or it awaits in a loop what never suspends. Of that kind are, in a task that is
//      not cancelled, reads of a closed endpoint; in any task, tasks that return before they wait
//      (with_timeout() with a limit that is no time). Nothing else runs meanwhile, so there is
//      nobody to cancel or to drop it.
//
// Thread safety: none; all of it belongs to the loop's thread.
#pragma once

#include <quoit/detail/chain.hpp>
#include <quoit/detail/counted.hpp>
#include <quoit/detail/frame_cache.hpp>
#include <quoit/detail/log_limiter.hpp>
#include <quoit/detail/timer_heap.hpp>
#include <quoit/detail/timer_queue.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>
#include <quoit/time.hpp>

#include <algorithm>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string_view>

namespace quoit::detail {

class spawned;
class task_scheduler;
class waiter;

/// How often a cancelled task may await before it is taken for one that will never end.
inline constexpr std::uint32_t canceled_awaits_max = 10'000;

/// The program broke a rule that no error could report: says which, and aborts.
[[noreturn, gnu::cold]] void misused(const char* words) noexcept;

/// The one whose turn runs on this thread. Aborts when there is none.
[[nodiscard]] task_scheduler& current_scheduler() noexcept;

class task_context : public chain_link<> {
  public:
    /// Cancels this one and all below it: wakes what they wait in. Runs no code of theirs.
    void cancel() noexcept;
    /// Links `child` under this one; it is cancelled at once when this one is.
    void adopt(task_context& child) noexcept;
    /// Takes it out from under its parent.
    void leave_parent() noexcept;

    [[nodiscard]] bool is_canceled() const noexcept { return is_canceled_; }
    [[nodiscard]] bool is_at_or_above(const task_context* other) const noexcept;
    /// Counts one more await that was answered errc::canceled. True when it was one too many: the
    /// await must suspend for good, and the task is dropped at the end of this turn.
    [[nodiscard]] bool has_given_up() noexcept;

  private:
    friend class spawned;
    friend class task_scheduler;
    friend class waiter;

    task_scheduler* scheduler_ = nullptr;
    spawned* owner_ = nullptr;  // null for a group's
    task_context* parent_ = nullptr;
    waiter* waiting_ = nullptr;  // the await a cancellation would end
    chain<task_context> children_;
    std::uint32_t canceled_awaits_ = 0;
    bool is_canceled_ = false;
};

class waiter : public chain_link<>, public timer_node {
  public:
    enum class outcome : std::uint8_t { pending, ready, timed_out, canceled, closed, invalid };

    waiter(const waiter&) = delete;
    waiter& operator=(const waiter&) = delete;

    /// From wherever it waits to the ready list, with the answer it will give. Does nothing when it
    /// is there already.
    void wake(outcome answer = outcome::ready) noexcept;
    /// For the scheduler. REQUIRES: it has been taken off the ready list.
    void resume();

  protected:
    waiter() noexcept = default;
    ~waiter() { leave_if_waiting(); }

    /// What every await_suspend comes to. False: the answer is known, do not suspend. `list` may be
    /// null; `limit` counts from now.
    bool start(std::coroutine_handle<> frame, task_context& context, const time_limit& limit,
               chain<waiter>* list, bool is_ready) {
        if (answers_at_once(context, limit)) {
            return answer_ == outcome::canceled && context.has_given_up();
        }
        if (is_ready) {
            answer_ = outcome::ready;
            return false;
        }
        enlist(frame, context, limit, list);
        return true;
    }
    /// It was cancelled, or asked for nonsense.
    [[nodiscard]] bool answers_at_once(const task_context& context,
                                       const time_limit& limit) noexcept {
        // Cancellation first: every await of a cancelled task counts towards its giving up.
        if (context.is_canceled()) {
            answer_ = outcome::canceled;
            return true;
        }
        if (!limit.is_valid()) {
            answer_ = outcome::invalid;
            return true;
        }
        return false;
    }
    void enlist(std::coroutine_handle<> frame, task_context& context, const time_limit& limit,
                chain<waiter>* list);
    /// As enlist(), but cancellation does not end it: for those who wait for what is cancelled.
    void enlist_shielded(std::coroutine_handle<> frame, task_context& context,
                         const time_limit& limit, chain<waiter>* list);
    /// Straight to the ready list.
    void enlist_ready(std::coroutine_handle<> frame, task_context& context) noexcept;
    /// Out of everything; it will not be resumed.
    void leave_if_waiting() noexcept {
        if (context_ != nullptr) leave();
    }

    [[nodiscard]] outcome answer() const noexcept { return answer_; }
    void set_answer(outcome answer) noexcept { answer_ = answer; }
    /// The answer as a status: success for outcome::ready.
    [[nodiscard]] status answer_as_status() const noexcept;

  private:
    void leave() noexcept;

    std::coroutine_handle<> frame_;
    task_context* context_ = nullptr;  // not null while it waits or is ready
    outcome answer_ = outcome::pending;
    bool is_shielded_ = false;
};

struct in_scheduler;
struct in_group;
struct in_given_up;

/// Hears of the end of the tasks that were spawned into it.
class spawn_group {
  public:
    virtual void child_ended(spawned& child) noexcept = 0;

  protected:
    ~spawn_group() = default;
};

/// Counted: by the scheduler until it ends, by handles, by groups, by who waits for its end.
class spawned : public chain_link<in_scheduler>,
                public chain_link<in_group>,
                public chain_link<in_given_up> {
  public:
    spawned(const spawned&) = delete;
    spawned& operator=(const spawned&) = delete;

    void retain() noexcept { ++references_; }
    void release() noexcept {
        if (--references_ == 0) delete this;
    }
    static void* operator new(std::size_t size) { return allocate_frame(size); }
    static void operator delete(void* object, std::size_t size) noexcept {
        free_frame(object, size);
    }

    /// In the scheduler's next turn; or at once, inside the caller.
    void start(task_scheduler& scheduler) noexcept;
    void start_now(task_scheduler& scheduler, task_context& parent);
    void cancel() noexcept { context_.cancel(); }
    /// Destroys its frames where they stand, unless it has ended.
    void drop() noexcept;
    /// From the coroutine's final suspend point.
    void ended() noexcept;

    [[nodiscard]] bool is_done() const noexcept { return is_done_; }
    /// Its frames are being destroyed, or were: it is dropped, or came to its end.
    [[nodiscard]] bool is_ending() const noexcept { return is_ending_; }
    /// Its context was cancelled before it ended.
    [[nodiscard]] bool was_canceled() const noexcept { return was_canceled_; }
    /// Whoever calls this has observed the exception; the second time there is none.
    void rethrow_exception_if_any();
    [[nodiscard]] bool has_exception() const noexcept { return exception_ != nullptr; }
    [[nodiscard]] task_context& context() noexcept { return context_; }
    [[nodiscard]] chain<waiter>& joiners() noexcept { return joiners_; }
    void set_group(spawn_group* group) noexcept { group_ = group; }

  protected:
    spawned() noexcept { context_.owner_ = this; }
    virtual ~spawned();

    virtual std::coroutine_handle<> prepare() noexcept = 0;
    /// Moves the outcome out of the frame and destroys it.
    virtual void collect() noexcept = 0;
    virtual void destroy_frame() noexcept = 0;

    void set_exception(std::exception_ptr exception) noexcept {
        exception_ = static_cast<std::exception_ptr&&>(exception);
    }

  private:
    friend class task_context;
    friend class task_scheduler;

    class first_turn final : public waiter {
      public:
        using waiter::enlist_ready;
        using waiter::leave_if_waiting;
    };

    void enter(task_scheduler& scheduler) noexcept;
    void finish() noexcept;

    task_context context_;
    first_turn first_turn_;
    chain<waiter> joiners_;
    std::exception_ptr exception_;
    spawn_group* group_ = nullptr;
    std::uint32_t references_ = 0;
    bool is_done_ = false;
    bool is_ending_ = false;  // and then nothing more is to be dropped
    bool was_canceled_ = false;
};

class task_scheduler {
  public:
    task_scheduler(const task_scheduler&) = delete;
    task_scheduler& operator=(const task_scheduler&) = delete;

    /// Makes awaits due that are due at `now`; runs no code. Returns how many were.
    std::size_t expire_timers(timer_heap::time_point now) noexcept;
    /// Runs what is ready as the list stands; what becomes ready meanwhile is for the next call.
    /// Then drops what has given up. Returns how many ran.
    std::size_t run_ready();

    /// Once called, tasks are cancelled from their start on.
    void cancel_all() noexcept;
    void accept_again() noexcept { is_ending_ = false; }
    void drop_all() noexcept;

    [[nodiscard]] bool has_ready() const noexcept {
        return !ready_.is_empty() || !given_up_.is_empty();
    }
    [[nodiscard]] bool has_tasks() const noexcept { return !tasks_.is_empty(); }
    [[nodiscard]] bool has_timers() const noexcept {
        return !timers_.is_empty() || !calls_.is_empty();
    }
    /// REQUIRES: has_timers().
    [[nodiscard]] timer_heap::time_point earliest_timer() const noexcept {
        if (calls_.is_empty()) return timers_.earliest();
        if (timers_.is_empty()) return calls_.earliest();
        return std::min(timers_.earliest(), calls_.earliest());
    }
    /// Functions to be called later.
    [[nodiscard]] timer_queue& calls() noexcept { return calls_; }
    /// Calls those that are due. Returns how many were.
    std::size_t run_calls(timer_heap::time_point now) noexcept;
    [[nodiscard]] std::uint64_t unobserved_exception_count() const noexcept {
        return unobserved_exceptions_;
    }
    /// The context whose code runs now; null between tasks.
    [[nodiscard]] const task_context* running() const noexcept { return running_; }

    // --- the log ---
    // What may repeat without end is limited: the first ten lines of a kind within a second are
    // logged, and a second later one line says how many more there were.

    void log(log_level level, std::string_view line) const noexcept { log_(level, line); }
    /// False: the default sink, which keeps nothing below a warning, so that a line of
    /// information need not even be made.
    [[nodiscard]] bool wants_information() const noexcept { return log_ != log_to_standard_error; }
    /// One line, limited with others of its kind. `kind` says in few words what repeats.
    void log_limited(log_level level, std::string_view kind, std::string_view line) noexcept;
    /// "WHOSE ended in an exception: ITS WORDS", an error, limited with others of `kind`: whose
    /// "the handler of 127.0.0.1:4000" and kind "a handler", for example. Counts nothing.
    /// REQUIRES: `exception` is not null.
    void log_failure(std::string_view kind, std::string_view whose,
                     const std::exception_ptr& exception) noexcept;
    /// As log_failure() with `whose` for its kind, for an exception that nobody will catch: it is
    /// counted in unobserved_exception_count().
    void report_unobserved(const std::exception_ptr& exception, std::string_view whose) noexcept;

  protected:
    explicit task_scheduler(log_function sink) noexcept : log_(sink) {}
    ~task_scheduler();
    /// Says what the limits kept from the log.
    void tell_remainders() noexcept;

  private:
    friend class spawned;
    friend class task_context;
    friend class waiter;

    chain<waiter> ready_;
    timer_heap timers_;  // of awaits
    timer_queue calls_;
    chain<spawned, in_scheduler> tasks_;  // that run
    chain<spawned, in_scheduler> ended_;  // that ended and that somebody still holds
    chain<spawned, in_given_up> given_up_;
    task_context* running_ = nullptr;
    std::uint64_t unobserved_exceptions_ = 0;
    log_function log_;
    log_limiter limiter_;
    bool is_ending_ = false;
};

}  // namespace quoit::detail
