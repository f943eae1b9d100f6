// SPDX-License-Identifier: MIT
//
// The "asleep" half of a wake-up: one consumer that sleeps in the kernel (on an eventfd, a ring, an
// epoll set) when its queues are empty, and any number of producers that write to its eventfd only
// if it sleeps. The flag neither sleeps nor wakes; it says who has to.
//
//      consumer                                 producer
//      --------                                 --------
//      drain the eventfd                        push a batch
//      flag.prepare_to_sleep()                  if (flag.must_wake()) write the eventfd
//      if every queue is_empty(): sleep
//      flag.cancel()
//      drain the queues
//
// The danger is the lost wake-up: the producer sees nobody asleep, the consumer sees nothing queued
// and sleeps on a full queue. Each side writes one variable and then reads the other's, and
// plain acquire and release let either read overtake the write before it (on x86 and on ARM).
//
// Why it cannot happen here:
//   1. Every write to the flag is a read-modify-write. Those of one atomic object form one order in
//      which each reads what the one before it wrote.
//   2. must_wake() releases and prepare_to_sleep() acquires. As nothing but read-modify-writes
//      stands between them, the later one reads from the release sequence of the earlier one, no
//      matter how many lie between, and so synchronizes with it.
//   3. Take a push with the must_wake() behind it, and a prepare_to_sleep() with the look at the
//      queue behind it. In the order of 1, one of the two exchanges is first.
//   4. If must_wake() is first, then by 2 the push happens before the look: the consumer sees it
//      and does not sleep. An acquire load, or even a relaxed one, is enough for that look.
//   5. If prepare_to_sleep() is first, the flag was true after it. Either this must_wake() takes
//      the true and its producer wakes; or somebody took it in between: another producer, who
//      wakes in its stead, or cancel(), and then the consumer is awake and about to drain its
//      queues, where by 6 it finds the push or else looks again before it sleeps.
//   6. Each sleep begins with a prepare_to_sleep() of its own, to which 3 to 5 apply again.
//
// So neither sequential consistency nor a fence is needed, and as ThreadSanitizer understands
// read-modify-writes but no fences (GCC: -Wtsan), it can check the users of this protocol. A look
// at the flag before the exchange, to spare the latter, would be wrong: that load could overtake
// the push. The price is one exchange per batch, which is what the fence would cost.
//
// For the same reasons:
//   - At most one producer per prepare_to_sleep() is told to wake: the exchange takes the flag.
//   - A wake-up may be late: the producer was told to, the consumer woke for another reason and
//     sleeps again, then the write arrives. So a sleep may end with nothing queued.
//   - The eventfd is drained before prepare_to_sleep(), never between it and the sleep: that could
//     swallow the one write there will be.
//
// Thread safety: prepare_to_sleep() and cancel() belong to the consumer's thread; must_wake() may
// be called from any thread. Any condition will do in place of the queues, if it is written before
// must_wake() and read after prepare_to_sleep().
#pragma once

#include "base/cache_line.hpp"

#include <atomic>

namespace quoit::detail {

class parking_flag {
  public:
    parking_flag() noexcept = default;
    parking_flag(const parking_flag&) = delete;
    parking_flag& operator=(const parking_flag&) = delete;

    // Consumer: from here on producers wake it. Look at every queue again before sleeping.
    void prepare_to_sleep() noexcept {
        // Acquire: pairs with the release of every must_wake() before it (2).
        is_asleep_.value.exchange(true, std::memory_order_acquire);
    }

    // Consumer: awake, whether it slept or found something and did not. Drain the queues after it.
    void cancel() noexcept {
        // Relaxed: nothing is read on the strength of it; whoever sleeps prepares again. If a
        // producer took the flag, as it does in every sleep that it ends, there is nothing to take
        // back. An exchange, because a plain store would cut the release sequence (2): the next
        // prepare_to_sleep() would read from it and synchronize with nobody.
        if (is_asleep_.value.load(std::memory_order_relaxed)) {
            is_asleep_.value.exchange(false, std::memory_order_relaxed);
        }
    }

    // Producer, once per batch and after the push: true if this caller has to write to the eventfd.
    [[nodiscard]] bool must_wake() noexcept {
        // Release: pairs with the acquire of the prepare_to_sleep() after it (2).
        return is_asleep_.value.exchange(false, std::memory_order_release);
    }

  private:
    // A line of its own: producers write to it with every batch.
    cache_line_padded<std::atomic<bool>> is_asleep_{.value = false};
};

}  // namespace quoit::detail
