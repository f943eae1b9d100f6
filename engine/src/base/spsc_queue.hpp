// SPDX-License-Identifier: MIT
//
// A bounded queue from one thread to one other, without locks: a ring of trivially copyable events.
//
//             head                    tail           both only ever grow (and wrap at SIZE_MAX);
//              |                       |             their low bits are the slot:
//              v                       v             slot = index & mask
//    +----+----+----+----+----+----+----+----+
//    |    |    | 18 | 19 | 20 | 21 |    |    |       capacity 8, mask 7
//    +----+----+----+----+----+----+----+----+       head 18: the consumer reads slot 2 next
//      0    1    2    3    4    5    6    7          tail 22: the producer fills slot 6 next
//
// Invariants:
//   1. tail - head is the number of events waiting, 0 to capacity, also after an index has wrapped:
//      capacity is a power of two, so it divides the range of std::size_t.
//   2. Only the producer writes tail, only the consumer writes head.
//   3. Slots [head, tail) belong to the consumer, all others to the producer. Storing an index
//      hands slots over: tail with release after the slots were written, head with release after
//      they were read. The other side loads it with acquire before it touches them.
//   4. Each side keeps what it last saw of the other's index. That is stale in the safe direction
//      only (fewer events, less room), so it is read anew, at the price of a cache miss, only when
//      what it promises is not enough.
//
// The queue owns the memory; the two threads use handles, `producer` and `consumer`, so that a push
// from the wrong side does not compile.
//
// Thread safety: one thread at a time through producer handles, one through consumer handles (the
// two may be the same thread). Constructing and destroying happen before and after both. It neither
// blocks nor wakes; base/parking.hpp does, and is_empty() is the look that its protocol asks for.
// Errors: none at run time; a full queue is a short count. Constructing may throw std::bad_alloc.
// Units: counts and capacities are in events.
#pragma once

#include "base/assert.hpp"
#include "base/cache_line.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

namespace quoit::detail {

template <class T>
class spsc_queue {
    static_assert(std::is_trivially_copyable_v<T> && std::is_default_constructible_v<T>);

  public:
    // Far above any sensible queue: a size computed wrongly fails here and not in the allocator.
    static constexpr std::size_t capacity_max = std::size_t{1} << 30;

    class producer;
    class consumer;

    // Room for at least `capacity_min` events, rounded up to a power of two.
    // `index_first` is where both indices start; it is there for tests that let them wrap.
    // REQUIRES: 1 <= capacity_min <= capacity_max.
    explicit spsc_queue(std::size_t capacity_min, std::size_t index_first = 0)
        : capacity_(checked_capacity(capacity_min)),
          slots_(std::make_unique_for_overwrite<T[]>(capacity_)),
          producer_side_{{.index = index_first, .opposite_seen = index_first}},
          consumer_side_{{.index = index_first, .opposite_seen = index_first}} {}

    spsc_queue(const spsc_queue&) = delete;
    spsc_queue& operator=(const spsc_queue&) = delete;

    // Handles refer to the queue and are as cheap to copy as a pointer; they must not outlive it.
    [[nodiscard]] producer producer_end() noexcept { return producer(*this); }
    [[nodiscard]] consumer consumer_end() noexcept { return consumer(*this); }

    // Any thread.
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

  private:
    // What one thread writes: its own index, and the other's as it last saw it.
    struct side {
        std::atomic<std::size_t> index;
        std::size_t opposite_seen;
    };

    // At most two stretches of slots: a batch that reaches the ring's end goes on at its start.
    struct stretches {
        std::span<T> first;
        std::span<T> second;
    };

    static std::size_t checked_capacity(std::size_t capacity_min) noexcept {
        QUOIT_ASSERT(capacity_min >= 1, "a queue without capacity");
        QUOIT_ASSERT(capacity_min <= capacity_max, "a queue of more than 2^30 events");
        return std::bit_ceil(capacity_min);
    }

    T& slot(std::size_t index) const noexcept { return slots_[index & (capacity_ - 1)]; }

    // REQUIRES: count <= capacity_.
    stretches slots_from(std::size_t index, std::size_t count) const noexcept {
        const std::size_t position = index & (capacity_ - 1);
        const std::size_t count_first = std::min(count, capacity_ - position);
        return {.first = {slots_.get() + position, count_first},
                .second = {slots_.get(), count - count_first}};
    }

    static constexpr std::size_t slots_per_line =
        std::max<std::size_t>(cache_line_size / sizeof(T), 1);
    static constexpr std::size_t slots_ahead = 4 * slots_per_line;

    // Asks for the cache lines of slots that are about to be written. The consumer's core has them,
    // since it has read them, and stores become visible in order: without this each line is waited
    // for in turn. (Batches of 64 events, two cores of a Xeon: 1.5 times the throughput.)
    //
    // Why not __builtin_prefetch: unless the compiler is told that the processor has PREFETCHW it
    // asks for the line to read it, so that the store has to ask again: slower than nothing.
    // Where PREFETCHW is missing (Intel before Broadwell) it does nothing.
    static void prefetch_to_write(std::span<T> slots) noexcept {
        for (std::size_t i = 0; i < slots.size(); i += slots_per_line) {
#if defined(__x86_64__)
            asm volatile("prefetchw %0" : : "m"(slots[i]));
#else
            __builtin_prefetch(&slots[i], 1);
#endif
        }
    }

    // Written by nobody, so both threads keep this line in their caches.
    const std::size_t capacity_;
    const std::unique_ptr<T[]> slots_;

    cache_line_padded<side> producer_side_;  // index: tail
    cache_line_padded<side> consumer_side_;  // index: head
};

template <class T>
class spsc_queue<T>::producer {
  public:
    // Appends as many events as fit, from the first on, and returns how many that were.
    [[nodiscard]] std::size_t push(std::span<const T> events) noexcept {
        const std::size_t tail = own_tail();
        const std::size_t count = std::min(events.size(), room(tail, events.size()));
        if (count == 0) return 0;

        const stretches free = queue_->slots_from(tail, count);
        prefetch_to_write(free.first);
        prefetch_to_write(free.second);
        std::copy_n(events.data(), free.first.size(), free.first.data());
        std::copy_n(events.data() + free.first.size(), free.second.size(), free.second.data());
        publish(tail + count);
        return count;
    }

    // Appends one event; false if the queue is full.
    [[nodiscard]] bool push(const T& event) noexcept {
        const std::size_t tail = own_tail();
        if (room(tail, 1) == 0) return false;
        // At the start of a line, the line some pushes ahead; by then it has come.
        if (tail % slots_per_line == 0) prefetch_to_write({&queue_->slot(tail + slots_ahead), 1});
        queue_->slot(tail) = event;
        publish(tail + 1);
        return true;
    }

  private:
    friend spsc_queue;
    explicit producer(spsc_queue& queue) noexcept : queue_(&queue) {}

    // Relaxed: reads what this very thread stored.
    std::size_t own_tail() const noexcept {
        return queue_->producer_side_.value.index.load(std::memory_order_relaxed);
    }

    // How many slots are free; looks at the consumer's index only if those known are not enough.
    std::size_t room(std::size_t tail, std::size_t count_wanted) const noexcept {
        std::size_t& head_seen = queue_->producer_side_.value.opposite_seen;
        if (queue_->capacity_ - (tail - head_seen) < count_wanted) {
            // Acquire: pairs with the release store in consumer::release. The consumer has read
            // these slots before this thread overwrites them.
            head_seen = queue_->consumer_side_.value.index.load(std::memory_order_acquire);
        }
        QUOIT_DEBUG_ASSERT(tail - head_seen <= queue_->capacity_,
                           "two threads push into, or two pop from, a queue for one of each");
        return queue_->capacity_ - (tail - head_seen);
    }

    void publish(std::size_t tail) noexcept {
        // Release: pairs with the acquire loads in consumer::waiting and consumer::is_empty. The
        // slots are written before the consumer reads them.
        queue_->producer_side_.value.index.store(tail, std::memory_order_release);
    }

    spsc_queue* queue_;
};

template <class T>
class spsc_queue<T>::consumer {
  public:
    // Moves the oldest events, at most events.size(), to the front of `events`; returns how many.
    [[nodiscard]] std::size_t pop(std::span<T> events) noexcept {
        T* next = events.data();
        return consume(events.size(), [&next](std::span<const T> waiting) {
            next = std::copy_n(waiting.data(), waiting.size(), next);
        });
    }

    // Calls f with the oldest events where they lie, at most count_max, in order, as one or two
    // spans (never empty); returns how many. The slots go back to the producer when f has seen
    // them all: until then the spans stay valid and the queue stays as full as it was.
    //
    // REQUIRES: f does not throw and does not consume from this queue; it would see the same events
    // again.
    template <class F>
    std::size_t consume(std::size_t count_max, F&& f) {
        const std::size_t head = own_head();
        const std::size_t count = std::min(count_max, waiting(head, count_max));
        if (count == 0) return 0;

        const stretches events = queue_->slots_from(head, count);
        f(std::span<const T>(events.first));
        if (!events.second.empty()) f(std::span<const T>(events.second));
        QUOIT_DEBUG_ASSERT(own_head() == head, "a consumer consumed from within its own callback");
        release(head + count);
        return count;
    }

    // Looks anew, whatever was seen before. Between parking_flag::prepare_to_sleep() and the sleep
    // this sees every push whose producer's must_wake() was too early to be told of the sleep (see
    // base/parking.hpp for why acquire is enough).
    [[nodiscard]] bool is_empty() const noexcept {
        // Acquire: pairs with the release store in producer::publish, so that who finds the queue
        // not empty also sees everything that was written before the push.
        return queue_->producer_side_.value.index.load(std::memory_order_acquire) == own_head();
    }

  private:
    friend spsc_queue;
    explicit consumer(spsc_queue& queue) noexcept : queue_(&queue) {}

    // Relaxed: reads what this very thread stored.
    std::size_t own_head() const noexcept {
        return queue_->consumer_side_.value.index.load(std::memory_order_relaxed);
    }

    // How many events wait; looks at the producer's index only if those known are not enough.
    std::size_t waiting(std::size_t head, std::size_t count_wanted) const noexcept {
        std::size_t& tail_seen = queue_->consumer_side_.value.opposite_seen;
        if (tail_seen - head < count_wanted) {
            // Acquire: pairs with the release store in producer::publish. The slots are written
            // before this thread reads them.
            tail_seen = queue_->producer_side_.value.index.load(std::memory_order_acquire);
        }
        QUOIT_DEBUG_ASSERT(tail_seen - head <= queue_->capacity_,
                           "two threads push into, or two pop from, a queue for one of each");
        return tail_seen - head;
    }

    void release(std::size_t head) noexcept {
        // Release: pairs with the acquire load in producer::room. The slots are read before the
        // producer overwrites them.
        queue_->consumer_side_.value.index.store(head, std::memory_order_release);
    }

    spsc_queue* queue_;
};

}  // namespace quoit::detail
