// SPDX-License-Identifier: MIT
#include <quoit/task_group.hpp>

#include <utility>

namespace quoit {

// Waits, uncancelled, for tasks that are cancelled when the one who waits is. The group's context
// has one parent, so it is linked under the first who joins; those who join later are woken by
// their own cancellation, pass it on, and wait again.
class task_group::join_operation final : public detail::waiter {
  public:
    explicit join_operation(task_group& group) noexcept : group_(group) {}
    ~join_operation() {
        if (is_parent_) group_.context_.leave_parent();
    }
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <detail::task_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> frame) {
        detail::task_context& parent = *frame.promise().context;
        if (parent.is_canceled() && parent.has_given_up()) return true;
        if (!group_.context_.is_linked()) {
            parent.adopt(group_.context_);
            is_parent_ = true;
        } else if (parent.is_canceled()) {
            group_.cancel();
        }
        if (group_.is_empty()) return false;
        if (is_parent_ || parent.is_canceled()) {
            enlist_shielded(frame, parent, time_limit(), &group_.joiners_);
        } else {
            enlist(frame, parent, time_limit(), &group_.joiners_);
        }
        return true;
    }
    /// True: woken by a cancellation, to be awaited once more.
    [[nodiscard]] bool await_resume() const noexcept { return answer() == outcome::canceled; }

  private:
    task_group& group_;
    bool is_parent_ = false;
};

task<> task_group::join() {
    join_operation ended(*this);
    const bool is_to_pass_on = co_await ended;
    if (is_to_pass_on) static_cast<void>(co_await ended);
    if (failed_) std::exchange(failed_, {})->rethrow_exception_if_any();
}

task_group::~task_group() {
    while (detail::spawned* const child = children_.front()) {
        if (child->is_ending()) {
            let_go(*child);
        } else {
            child->drop();
        }
    }
}

// Of a child whose frame owned the group: its end, further up the stack, destroys this. It needs no
// dropping, and must not report to a group that is gone.
void task_group::let_go(detail::spawned& child) noexcept {
    static_cast<detail::chain_link<detail::in_group>&>(child).unlink();
    child.set_group(nullptr);
    child.context().leave_parent();
    child.release();
}

void task_group::add(detail::spawned& child) {
    child.retain();
    child.set_group(this);
    children_.push_back(child);
    ++size_;
    child.start(detail::current_scheduler());
    context_.adopt(child.context());
}

void task_group::child_ended(detail::spawned& child) noexcept {
    static_cast<detail::chain_link<detail::in_group>&>(child).unlink();
    --size_;
    if (child.has_exception() && !failed_) {
        failed_ = detail::counted_ptr<detail::spawned>(&child);
        cancel();
    }
    child.release();
    if (size_ != 0) return;
    while (detail::waiter* const joiner = joiners_.front())
        joiner->wake();
}

}  // namespace quoit
