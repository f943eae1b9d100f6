// SPDX-License-Identifier: MIT
//
// quoit's queue between a worker and a port, beside the two that a C++ program would otherwise
// take: boost::lockfree::spsc_queue and moodycamel::ReaderWriterQueue. A producer on the first CPU
// this process may use sends numbered events of 16 bytes to a consumer on the second one, which
// checks the order of every one. An iteration ends when the consumer has seen the last of them.
//
// NAME/single    one event per push and per pop
// NAME/batched   64 events per push; the consumer takes whatever is there
//
// Each queue is used as its documentation recommends:
//   quoit       push(span); consume(), which shows the events where they lie, as worker::drain does
//   boost       a capacity known at compile time; push(pointer, size); consume_all()
//   moodycamel  reserved when constructed, so that it never allocates; it has no calls for several
//               events, so 64 are pushed one by one, and the consumer takes one by one until the
//               queue is empty
// All have room for 1024 events, and whoever finds the queue full or empty does the same: one pause
// instruction, and a yield once that has not helped for long, so that a CPU that is shared with
// others does not decide the comparison.
//
// items_per_second: events. Two threads on two CPUs of a virtual machine: compare the queues within
// one run, interleaved (--benchmark_enable_random_interleaving, --benchmark_repetitions), never
// figures of different machines.
#include "backend/backend.hpp"
#include "base/spsc_queue.hpp"

#include <benchmark/benchmark.h>
#include <pthread.h>
#include <sched.h>
#ifdef QUOIT_HAS_BOOST_LOCKFREE
#include <boost/lockfree/spsc_queue.hpp>
#endif
#ifdef QUOIT_HAS_READERWRITERQUEUE
#include <readerwriterqueue/readerwriterqueue.h>
#endif

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace {

using quoit::detail::event;

constexpr std::size_t capacity = 1024;
constexpr std::size_t batch_size = 64;
constexpr std::uint32_t events_per_iteration = 4'000'000;
static_assert(events_per_iteration % batch_size == 0);

// --- the contestants: push() takes some from the front and says how many ---

class quoit_queue {
  public:
    bool push(const event& one) { return queue_.producer_end().push(one); }
    std::size_t push(std::span<const event> events) { return queue_.producer_end().push(events); }
    bool pop(event& one) { return queue_.consumer_end().pop({&one, 1}) == 1; }
    template <class F>
    std::size_t drain(F f) {
        return queue_.consumer_end().consume(capacity, [&f](std::span<const event> events) {
            for (const event& one : events)
                f(one);
        });
    }

  private:
    quoit::detail::spsc_queue<event> queue_{capacity};
};

#ifdef QUOIT_HAS_BOOST_LOCKFREE
class boost_queue {
  public:
    bool push(const event& one) { return queue_.push(one); }
    std::size_t push(std::span<const event> events) {
        return queue_.push(events.data(), events.size());
    }
    bool pop(event& one) { return queue_.pop(one); }
    template <class F>
    std::size_t drain(F f) {
        return queue_.consume_all(f);
    }

  private:
    boost::lockfree::spsc_queue<event, boost::lockfree::capacity<capacity>> queue_;
};
#endif

#ifdef QUOIT_HAS_READERWRITERQUEUE
class moodycamel_queue {
  public:
    bool push(const event& one) { return queue_.try_enqueue(one); }
    std::size_t push(std::span<const event> events) {
        std::size_t count = 0;
        while (count < events.size() && queue_.try_enqueue(events[count]))
            ++count;
        return count;
    }
    bool pop(event& one) { return queue_.try_dequeue(one); }
    template <class F>
    std::size_t drain(F f) {
        std::size_t count = 0;
        event one;
        for (; queue_.try_dequeue(one); ++count)
            f(one);
        return count;
    }

  private:
    moodycamel::ReaderWriterQueue<event> queue_{capacity};
};
#endif

// --- the two threads ---

// What to do when the queue is full or empty.
class patience {
  public:
    void wait() {
        if (++waits_ % waits_before_yield == 0) {
            std::this_thread::yield();
            return;
        }
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }

  private:
    static constexpr std::uint32_t waits_before_yield = 4096;
    std::uint32_t waits_ = 0;
};

std::vector<int> allowed_cpus() {
    cpu_set_t set;
    CPU_ZERO(&set);
    std::vector<int> cpus;
    if (::sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(static_cast<unsigned>(cpu), &set)) cpus.push_back(cpu);
    }
    return cpus;
}

void pin_this_thread(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(cpu), &set);
    ::pthread_setaffinity_np(::pthread_self(), sizeof set, &set);
}

// Before main(), which pins its thread.
const std::vector<int> cpus = allowed_cpus();

struct single {
    template <class Queue>
    static void send(Queue& queue, std::uint32_t& number) {
        patience full;
        for (std::uint32_t i = 0; i < events_per_iteration; ++i) {
            event one;
            one.value = number++;
            while (!queue.push(one))
                full.wait();
        }
    }
    template <class Queue, class F>
    static std::size_t receive(Queue& queue, F f) {
        event one;
        if (!queue.pop(one)) return 0;
        f(one);
        return 1;
    }
};

struct batched {
    template <class Queue>
    static void send(Queue& queue, std::uint32_t& number) {
        patience full;
        std::array<event, batch_size> batch;
        for (std::uint32_t i = 0; i < events_per_iteration; i += batch_size) {
            for (event& one : batch)
                one.value = number++;
            std::span<const event> left(batch);
            for (;;) {
                left = left.subspan(queue.push(left));
                if (left.empty()) break;
                full.wait();
            }
        }
    }
    template <class Queue, class F>
    static std::size_t receive(Queue& queue, F f) {
        return queue.drain(f);
    }
};

// What the consumer says, on a line of its own: it is read while the last events are on their way.
struct alignas(64) progress {
    std::atomic<std::uint64_t> rounds_seen{0};
    std::atomic<bool> is_in_order{true};
};

template <class Queue, class How>
void consume(const std::stop_token& stop, Queue& queue, progress& said) {
    pin_this_thread(cpus[1]);
    patience empty;
    std::uint32_t expected = 0;
    std::size_t left = events_per_iteration;
    bool is_in_order = true;
    for (;;) {
        const std::size_t count = How::receive(queue, [&](const event& one) {
            is_in_order &= one.value == expected;
            ++expected;
        });
        if (count == 0) {
            if (stop.stop_requested()) return;
            empty.wait();
            continue;
        }
        left -= count;
        if (left > 0) continue;
        left = events_per_iteration;
        if (!is_in_order) said.is_in_order.store(false, std::memory_order_relaxed);
        // Release: whoever sees that the round is over sees what became of it.
        said.rounds_seen.fetch_add(1, std::memory_order_release);
    }
}

template <class Queue, class How>
void transfer(benchmark::State& state) {
    if (cpus.size() < 2) {
        state.SkipWithError("two CPUs are needed, one for each thread");
        return;
    }
    pin_this_thread(cpus[0]);
    const auto queue = std::make_unique<Queue>();
    progress said;
    std::uint32_t number = 0;
    std::uint64_t rounds = 0;
    {
        const std::jthread consumer(
            [&](const std::stop_token& stop) { consume<Queue, How>(stop, *queue, said); });
        for ([[maybe_unused]] auto iteration : state) {
            How::send(*queue, number);
            ++rounds;
            patience last;
            while (said.rounds_seen.load(std::memory_order_acquire) != rounds)
                last.wait();
        }
    }
    if (!said.is_in_order.load(std::memory_order_relaxed)) {
        state.SkipWithError("events were lost, or came out of order");
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(rounds) * events_per_iteration);
}

template <class Queue>
void add(const std::string& name) {
    for (const bool is_batched : {false, true}) {
        benchmark::RegisterBenchmark(
            (name + (is_batched ? "/batched" : "/single")).c_str(),
            is_batched ? transfer<Queue, batched> : transfer<Queue, single>)
            ->UseRealTime()
            ->Unit(benchmark::kMillisecond);
    }
}

}  // namespace

int main(int argc, char** argv) {
    add<quoit_queue>("quoit");
#ifdef QUOIT_HAS_BOOST_LOCKFREE
    add<boost_queue>("boost");
#endif
#ifdef QUOIT_HAS_READERWRITERQUEUE
    add<moodycamel_queue>("moodycamel");
#endif
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}
