// SPDX-License-Identifier: MIT
#include <quoit/detail/reservations.hpp>

namespace quoit::detail {

void reservations::serve() noexcept {
    while (has_free() && !waiters_.is_empty()) {
        auto* const next = static_cast<claim*>(waiters_.front());
        ++reserved_;
        next->has_reservation_ = true;
        next->wake();
    }
    if (!has_ended_ || size_ > 0) return;
    while (waiter* const one = waiters_.front())
        one->wake(waiter::outcome::closed);
}

bool reservations::claim::wait(std::coroutine_handle<> frame, task_context& context) {
    if (answers_at_once(context, limit_)) {
        return answer() == outcome::canceled && context.has_given_up();
    }
    if (queue_ != nullptr && queue_->has_free()) {
        ++queue_->reserved_;
        has_reservation_ = true;
        set_answer(outcome::ready);
        return false;
    }
    if (queue_ == nullptr || queue_->has_ended_) {
        set_answer(outcome::closed);
        return false;
    }
    enlist(frame, context, limit_, &queue_->waiters_);
    return true;
}

void reservations::claim::settle() noexcept {
    if (!std::exchange(has_reservation_, false)) return;
    --queue_->reserved_;
    if (answer() != outcome::ready) queue_->serve();
}

void reservations::claim::give_up() noexcept {
    set_answer(outcome::canceled);
    settle();
}

}  // namespace quoit::detail
