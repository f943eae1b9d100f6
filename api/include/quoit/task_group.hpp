// SPDX-License-Identifier: MIT
//
// task_group: tasks that end together.
//
//   quoit::task_group group;
//   for (auto& part : parts) group.spawn(work(part));
//   co_await group.join();
//
// The first task that throws cancels the others, and join() rethrows what it threw; what others
// throw is logged and counted. Cancelling is sticky: what is spawned afterwards starts cancelled.
//
// Ownership: the destructor drops what still runs, so tasks may refer to whatever was declared
// before the group; declare it last. A task that has ended leaves the group, which may therefore
// live as long as a server. A task may own what the group is a member of (by a parameter such as
// shared_from_this()): the group then goes with the task's frame, and drops the other tasks.
// Thread safety: none; the loop's thread.
#pragma once

#include <quoit/detail/chain.hpp>
#include <quoit/detail/scheduler.hpp>
#include <quoit/spawn.hpp>
#include <quoit/task.hpp>

#include <coroutine>
#include <cstddef>
#include <utility>

namespace quoit {

class task_group final : private detail::spawn_group {
  public:
    task_group() noexcept = default;
    task_group(const task_group&) = delete;
    task_group& operator=(const task_group&) = delete;
    ~task_group();

    /// Starts it with the next turn of the current loop. The handle may be let go: the group keeps
    /// the task. REQUIRES: as quoit::spawn.
    template <class T>
    task_handle<T> spawn(task<T> body) {
        const detail::counted_ptr running(new detail::spawned_task<T>(std::move(body)));
        add(*running);
        return task_handle<T>(running);
    }
    template <task_function Function>
    auto spawn(Function function) {
        return spawn(detail::keep_callable(std::move(function)));
    }

    /// Every await in the group answers errc::canceled from now on.
    void cancel() noexcept { context_.cancel(); }

    /// Waits until all have ended, then rethrows the first exception, to one of those who join.
    /// Cancelling a task that joins cancels the group; their end is waited for all the same.
    /// REQUIRES: the group outlives those who wait.
    [[nodiscard]] task<> join();

    /// Tasks that have not ended.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool is_empty() const noexcept { return size_ == 0; }

  private:
    class join_operation;

    void add(detail::spawned& child);
    void child_ended(detail::spawned& child) noexcept override;
    void let_go(detail::spawned& child) noexcept;

    detail::task_context context_;
    detail::chain<detail::spawned, detail::in_group> children_;  // each holds one reference
    detail::chain<detail::waiter> joiners_;
    detail::counted_ptr<detail::spawned> failed_;  // the first that threw
    std::size_t size_ = 0;
};

}  // namespace quoit
