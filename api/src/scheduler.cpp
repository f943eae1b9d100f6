// SPDX-License-Identifier: MIT
#include <quoit/detail/scheduler.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

namespace quoit::detail {

void misused(const char* words) noexcept {
    std::fprintf(stderr, "quoit: %s\n", words);
    std::abort();
}

// --- task_context ---

void task_context::cancel() noexcept {
    if (is_canceled_) return;  // and so is everything below
    is_canceled_ = true;
    if (waiting_ != nullptr) waiting_->wake(waiter::outcome::canceled);
    children_.for_each([](task_context& child) { child.cancel(); });
}

void task_context::adopt(task_context& child) noexcept {
    child.parent_ = this;
    children_.push_back(child);
    if (is_canceled_) child.cancel();
}

void task_context::leave_parent() noexcept {
    parent_ = nullptr;
    unlink();
}

bool task_context::is_at_or_above(const task_context* other) const noexcept {
    while (other != nullptr && other != this)
        other = other->parent_;
    return other == this;
}

bool task_context::has_given_up() noexcept {
    if (canceled_awaits_ <= canceled_awaits_max) ++canceled_awaits_;
    if (canceled_awaits_ <= canceled_awaits_max) return false;
    if (!static_cast<chain_link<in_given_up>&>(*owner_).is_linked()) {
        scheduler_->log(log_level::error,
                        "a task that was cancelled awaited 10000 times more and is dropped: leave "
                        "when an await answers errc::canceled");
        scheduler_->given_up_.push_back(*owner_);
    }
    return true;
}

// --- waiter ---

void waiter::enlist(std::coroutine_handle<> frame, task_context& context, const time_limit& limit,
                    chain<waiter>* list) {
    enlist_shielded(frame, context, limit, list);
    is_shielded_ = false;
    context.waiting_ = this;
}

void waiter::enlist_shielded(std::coroutine_handle<> frame, task_context& context,
                             const time_limit& limit, chain<waiter>* list) {
    // The timer first: it is what can fail, and then nothing has changed.
    if (limit.is_poll()) {
        // Due at once, whatever the clock says: a poll gets the one turn that a ready loop takes.
        context.scheduler_->timers_.insert(*this, time_point::min());
    } else if (!limit.is_none()) {
        context.scheduler_->timers_.insert(*this, limit.deadline(std::chrono::steady_clock::now()));
    }
    if (list != nullptr) list->push_back(*this);
    frame_ = frame;
    context_ = &context;
    is_shielded_ = true;
    answer_ = outcome::pending;
}

void waiter::enlist_ready(std::coroutine_handle<> frame, task_context& context) noexcept {
    frame_ = frame;
    context_ = &context;
    answer_ = outcome::ready;
    context.scheduler_->ready_.push_back(*this);
}

void waiter::wake(outcome answer) noexcept {
    if (answer_ != outcome::pending) return;
    answer_ = answer;
    if (is_scheduled()) context_->scheduler_->timers_.erase(*this);
    context_->scheduler_->ready_.push_back(*this);
}

void waiter::leave() noexcept {
    unlink();
    if (is_scheduled()) context_->scheduler_->timers_.erase(*this);
    if (context_->waiting_ == this) context_->waiting_ = nullptr;
    context_ = nullptr;
}

void waiter::resume() {
    task_context& context = *context_;
    leave();
    // It was woken and then cancelled: cancellation arrives at every await.
    if (context.is_canceled_ && !is_shielded_) answer_ = outcome::canceled;
    context.scheduler_->running_ = &context;
    frame_.resume();  // may destroy this and the context
}

status waiter::answer_as_status() const noexcept {
    switch (answer_) {
        case outcome::pending:
        case outcome::ready: return {};
        case outcome::timed_out: return errc::timed_out;
        case outcome::canceled: return errc::canceled;
        case outcome::closed: return errc::closed;
        case outcome::invalid: return errc::invalid_option;
    }
    return {};
}

// --- spawned ---

spawned::~spawned() {
    if (exception_ != nullptr && context_.scheduler_ != nullptr) {
        context_.scheduler_->report_unobserved(exception_, "a task nobody joined");
    }
}

void spawned::enter(task_scheduler& scheduler) noexcept {
    context_.scheduler_ = &scheduler;
    retain();  // the scheduler's reference, until finish()
    scheduler.tasks_.push_back(*this);
    if (scheduler.is_ending_) context_.cancel();
}

void spawned::start(task_scheduler& scheduler) noexcept {
    enter(scheduler);
    first_turn_.enlist_ready(prepare(), context_);
}

void spawned::start_now(task_scheduler& scheduler, task_context& parent) {
    enter(scheduler);
    parent.adopt(context_);
    task_context* const outer = std::exchange(scheduler.running_, &context_);
    prepare().resume();
    scheduler.running_ = outer;
}

void spawned::drop() noexcept {
    if (is_done_ || is_ending_) return;
    if (context_.scheduler_ != nullptr && context_.is_at_or_above(context_.scheduler_->running_)) {
        misused(
            "a task was dropped by code that runs inside it (a task_group that is destroyed by "
            "one of its own tasks?)");
    }
    const counted_ptr<spawned> alive(this);
    is_ending_ = true;
    first_turn_.leave_if_waiting();
    destroy_frame();
    finish();
}

void spawned::ended() noexcept {
    const counted_ptr<spawned> alive(this);
    is_ending_ = true;
    collect();
    finish();
}

void spawned::finish() noexcept {
    is_done_ = true;
    was_canceled_ = context_.is_canceled();
    context_.leave_parent();
    static_cast<chain_link<in_given_up>&>(*this).unlink();
    if (context_.scheduler_ == nullptr) return;  // never started
    context_.scheduler_->ended_.push_back(*this);
    while (waiter* const joiner = joiners_.front())
        joiner->wake();
    if (group_ != nullptr) std::exchange(group_, nullptr)->child_ended(*this);
    release();
}

void spawned::rethrow_exception_if_any() {
    if (exception_ != nullptr) std::rethrow_exception(std::exchange(exception_, nullptr));
}

// --- task_scheduler ---

std::size_t task_scheduler::expire_timers(timer_heap::time_point now) noexcept {
    std::size_t count = 0;
    while (timer_node* const due = timers_.pop_due(now)) {
        static_cast<waiter*>(due)->wake(waiter::outcome::timed_out);
        ++count;
    }
    return count;
}

std::size_t task_scheduler::run_ready() {
    chain<waiter> batch;
    batch.push_all_of(ready_);
    std::size_t count = 0;
    while (waiter* const next = batch.pop_front()) {
        next->resume();
        running_ = nullptr;
        ++count;
    }
    while (spawned* const one = given_up_.pop_front())
        one->drop();
    return count;
}

void task_scheduler::cancel_all() noexcept {
    is_ending_ = true;
    tasks_.for_each([](spawned& one) { one.cancel(); });
}

void task_scheduler::drop_all() noexcept {
    // Dropping one runs destructors, which may end, drop or spawn others: look anew each time.
    while (spawned* const one = tasks_.front())
        one->drop();
}

task_scheduler::~task_scheduler() {
    drop_all();
    // Handles may outlive the loop; what they hold no longer has anybody to report to.
    while (spawned* const one = ended_.pop_front())
        one->context_.scheduler_ = nullptr;
    tell_remainders();
}

std::size_t task_scheduler::run_calls(timer_heap::time_point now) noexcept {
    return calls_.run_due(now, [this](const std::exception_ptr& thrown) {
        report_unobserved(thrown, "a timer's function");
    });
}

void task_scheduler::log_limited(log_level level, std::string_view kind,
                                 std::string_view line) noexcept {
    const auto now = std::chrono::steady_clock::now();
    const bool is_told_of = limiter_.has_remainder();
    if (limiter_.admits(kind, level, now)) {
        log_(level, line);
    } else if (!is_told_of) {
        try {
            calls_.add([this] { tell_remainders(); }, now + log_limiter::period);
        } catch (...) {
            return;  // then it is told at the loop's end
        }
    }
}

void task_scheduler::tell_remainders() noexcept {
    while (limiter_.has_remainder()) {
        const log_limiter::remainder left = limiter_.take_remainder();
        try {
            log_(left.level,
                 std::string(left.kind) + ": and " + std::to_string(left.count) + " more");
        } catch (...) {
            log_(left.level, "and more, for which there was no memory");
        }
    }
}

void task_scheduler::log_failure(std::string_view kind, std::string_view whose,
                                 const std::exception_ptr& exception) noexcept {
    try {
        std::string line(whose);
        line += " ended in an exception: ";
        try {
            std::rethrow_exception(exception);
        } catch (const std::exception& e) {
            line += e.what();
        } catch (...) {
            line += "of a type that is no std::exception";
        }
        log_limited(log_level::error, kind, line);
    } catch (...) {
        log_limited(log_level::error, kind, "something ended in an exception");
    }
}

void task_scheduler::report_unobserved(const std::exception_ptr& exception,
                                       std::string_view whose) noexcept {
    ++unobserved_exceptions_;
    log_failure(whose, whose, exception);
}

}  // namespace quoit::detail
