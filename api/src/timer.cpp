// SPDX-License-Identifier: MIT
#include <quoit/timer.hpp>

#include <utility>

namespace quoit {

namespace detail {

// --- timer_entry ---

void timer_entry::cancel() noexcept { queue_->retire(*this, errc::canceled); }

void timer_entry::move_to(time_point at) noexcept {
    unlink();  // it may be due already
    queue_->heap_.erase(*this);
    queue_->heap_.insert(*this, at);
}

// --- timer_queue ---

timer_queue::ptr timer_queue::add(timer_entry::function_type function, time_point at,
                                  std::chrono::nanoseconds period) {
    ptr made(new timer_entry(std::move(function), period));
    if (is_closed_) {
        made->function_ = nullptr;
        return made;
    }
    heap_.reserve(pending_count_ + 1);
    heap_.insert(*made, at);
    ++pending_count_;
    made->queue_ = this;
    made->retain();
    return made;
}

void timer_queue::collect_due(time_point now, chain<timer_entry>& due) noexcept {
    while (timer_node* const one = heap_.pop_due(now))
        due.push_back(static_cast<timer_entry&>(*one));
}

timer_entry::function_type timer_queue::begin(timer_entry& entry, time_point now) noexcept {
    timer_entry::function_type function = std::move(entry.function_);
    if (entry.period_ == entry.period_.zero()) {
        retire(entry, errc::already_fired);
        return function;
    }
    // The first point of the grid that is still to come. Subtracting first: a period of centuries
    // must not overflow.
    const auto missed = (now - entry.deadline()) / entry.period_;
    const time_point last = entry.deadline() + missed * entry.period_;
    heap_.insert(
        entry, last > time_point::max() - entry.period_ ? time_point::max() : last + entry.period_);
    return function;
}

void timer_queue::end(timer_entry& entry, timer_entry::function_type function) noexcept {
    if (entry.is_pending()) entry.function_ = std::move(function);
}

void timer_queue::retire(timer_entry& entry, errc how) noexcept {
    entry.unlink();
    heap_.erase(entry);
    --pending_count_;
    entry.queue_ = nullptr;
    entry.ended_ = how;
    // Last, because what it owns may do anything when it is destroyed.
    const timer_entry::function_type function = std::exchange(entry.function_, nullptr);
    entry.release();
}

void timer_queue::close() noexcept {
    is_closed_ = true;
    while (timer_node* const one = heap_.any())
        retire(static_cast<timer_entry&>(*one), errc::closed);
}

}  // namespace detail

// --- timer ---

quoit::status timer::status() const noexcept {
    if (!entry_) return refused_;
    return entry_->is_pending() ? quoit::status() : quoit::status(entry_->ended());
}

std::optional<timer::time_point> timer::time() const noexcept {
    return is_active() ? std::optional(entry_->deadline()) : std::nullopt;
}

quoit::status timer::cancel() noexcept {
    if (!is_active()) return status();
    entry_->cancel();
    return {};
}

quoit::status timer::move_by(time_limit more) noexcept {
    if (!is_active()) return status();
    if (!more.is_valid()) return errc::invalid_option;
    entry_->move_to(more.deadline(entry_->deadline()));
    return {};
}

quoit::status timer::move_from_now(time_limit after) noexcept {
    if (!is_active()) return status();
    if (!after.is_valid()) return errc::invalid_option;
    entry_->move_to(after.deadline(std::chrono::steady_clock::now()));
    return {};
}

}  // namespace quoit
