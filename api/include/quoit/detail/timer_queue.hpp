// SPDX-License-Identifier: MIT
//
// timer_queue: the functions that a loop calls at points in time; what loop::call_later() and its
// neighbours are made of.
//
//   add() ---> heap --run_due()--> due (a chain) ---> called, and back into the heap if periodic
//               |                   |
//               +----- cancel(), move_to() from anywhere in between
//
// Invariants:
//   1. An entry is in the heap or in the chain exactly while it is pending; then queue_ is set and
//      the queue holds one reference.
//   2. The heap has room for every pending entry, so moving one, and running them, cannot fail.
//   3. While its function runs, the entry does not have it: cancelling it there destroys nothing
//      that runs.
//
// Thread safety: none; the loop's thread.
#pragma once

#include <quoit/detail/chain.hpp>
#include <quoit/detail/counted.hpp>
#include <quoit/detail/frame_cache.hpp>
#include <quoit/detail/timer_heap.hpp>
#include <quoit/error.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <utility>

namespace quoit::detail {

class timer_queue;

class timer_entry final : public chain_link<>, public timer_node {
  public:
    using function_type = std::move_only_function<void()>;

    timer_entry(function_type function, std::chrono::nanoseconds period) noexcept
        : function_(std::move(function)), period_(period) {}

    void retain() noexcept { ++references_; }
    void release() noexcept {
        if (--references_ == 0) delete this;
    }
    static void* operator new(std::size_t size) { return allocate_frame(size); }
    static void operator delete(void* object, std::size_t size) noexcept {
        free_frame(object, size);
    }

    [[nodiscard]] bool is_pending() const noexcept { return queue_ != nullptr; }
    /// Why it is not pending: errc::already_fired, errc::canceled, errc::closed.
    [[nodiscard]] errc ended() const noexcept { return ended_; }

    /// REQUIRES: is_pending().
    void cancel() noexcept;
    void move_to(time_point at) noexcept;

  private:
    friend class timer_queue;
    ~timer_entry() = default;

    timer_queue* queue_ = nullptr;  // null when it is not pending
    function_type function_;
    std::chrono::nanoseconds period_;  // 0: once
    std::uint32_t references_ = 0;
    errc ended_ = errc::closed;
};

class timer_queue {
  public:
    using time_point = timer_heap::time_point;
    using ptr = counted_ptr<timer_entry>;

    timer_queue() noexcept = default;
    timer_queue(const timer_queue&) = delete;
    timer_queue& operator=(const timer_queue&) = delete;
    ~timer_queue() { close(); }

    /// May throw std::bad_alloc, with nothing changed. After close() it is closed from the start.
    ptr add(timer_entry::function_type function, time_point at,
            std::chrono::nanoseconds period = {});
    /// Calls what is due at `now`, in the order of time, then of insertion. What is added meanwhile
    /// is for the next time. Each exception goes to `failed`. Returns how many were called.
    template <class Failed>
    std::size_t run_due(time_point now, Failed failed) noexcept {
        if (heap_.is_empty() || heap_.earliest() > now) return 0;
        chain<timer_entry> due;
        collect_due(now, due);
        std::size_t count = 0;
        for (; timer_entry* const next = due.pop_front(); ++count) {
            const ptr alive(next);
            timer_entry::function_type function = begin(*next, now);
            try {
                function();
            } catch (...) {
                failed(std::current_exception());
            }
            end(*next, std::move(function));
        }
        return count;
    }
    /// Drops them all; nothing is accepted from here on.
    void close() noexcept;

    [[nodiscard]] bool is_empty() const noexcept { return heap_.is_empty(); }
    /// REQUIRES: !is_empty().
    [[nodiscard]] time_point earliest() const noexcept { return heap_.earliest(); }

  private:
    friend class timer_entry;

    void collect_due(time_point now, chain<timer_entry>& due) noexcept;
    // Before and after its function runs.
    timer_entry::function_type begin(timer_entry& entry, time_point now) noexcept;
    static void end(timer_entry& entry, timer_entry::function_type function) noexcept;
    void retire(timer_entry& entry, errc how) noexcept;

    timer_heap heap_;
    std::size_t pending_count_ = 0;  // in the heap, or due
    bool is_closed_ = false;
};

}  // namespace quoit::detail
