// SPDX-License-Identifier: MIT
//
// reservations: who waits for the items of a queue, without holding them.
//
//   queue   [ reserved ............ | free for whoever does not wait ]
//            <------------------ size ------------------------------>
//
// A waiter that is woken holds a RESERVATION of one item, and takes the item when it runs. When it
// is destroyed or cancelled before that, the reservation passes to the next one that waits: nothing
// is lost, nothing has to be put back, and the order is kept. (loop_endpoint does the same with a
// queue that is the port's.)
//
// The owner of the items says when one came, one went, and when no more will come.
// Thread safety: none; the loop's thread.
#pragma once

#include <quoit/detail/chain.hpp>
#include <quoit/detail/counted.hpp>
#include <quoit/detail/scheduler.hpp>
#include <quoit/task.hpp>
#include <quoit/time.hpp>

#include <coroutine>
#include <cstddef>
#include <utility>

namespace quoit::detail {

class reservations {
  public:
    class claim;

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool has_free() const noexcept { return size_ > reserved_; }
    [[nodiscard]] bool has_ended() const noexcept { return has_ended_; }

    void added() noexcept {
        ++size_;
        serve();
    }
    void removed() noexcept {
        --size_;
        if (has_ended_) serve();
    }
    /// Who waits for more than there is answers errc::closed.
    void end() noexcept {
        has_ended_ = true;
        serve();
    }

  private:
    void serve() noexcept;

    chain<waiter> waiters_;
    std::size_t size_ = 0;
    std::size_t reserved_ = 0;
    bool has_ended_ = false;
};

/// Waits for one item. What derives from it keeps the queue alive, by a base in front of this one:
/// that is destroyed after it.
class reservations::claim : public waiter {
  public:
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <task_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> frame) {
        return wait(frame, *frame.promise().context);
    }

  protected:
    /// `queue` may be null: ended.
    claim(reservations* queue, time_limit limit) noexcept : queue_(queue), limit_(limit) {}
    ~claim() {
        if (has_reservation_) give_up();
    }
    /// After the await: an item may be taken, now. Otherwise answer_as_status() says why not.
    [[nodiscard]] bool may_take() noexcept {
        settle();
        return answer() == outcome::ready;
    }

  private:
    friend class reservations;
    bool wait(std::coroutine_handle<> frame, task_context& context);
    void settle() noexcept;
    void give_up() noexcept;

    reservations* queue_;
    time_limit limit_;
    bool has_reservation_ = false;
};

/// A base that keeps something alive.
template <class T>
class keeps {
  protected:
    explicit keeps(counted_ptr<T> kept) noexcept : kept_(std::move(kept)) {}
    [[nodiscard]] T* kept() const noexcept { return kept_.get(); }

  private:
    counted_ptr<T> kept_;
};

}  // namespace quoit::detail
