// SPDX-License-Identifier: MIT
//
// The timers of a loop (quoit/detail/timer_heap.hpp). Nearly all of them are timeouts: added before
// a wait and cancelled when it has been answered in time, while others are pending.
//
//   add_cancel/N    one timer added and cancelled again, due at a random time among N others
//   add_expire/N    as many as N added, due at random times; then all expire, in order
//   none_due/N      what a turn of the loop pays to learn that nothing is due
//   call_cancel/N   as add_cancel, of loop::call_later(): with its function and its allocation
//   call_start/N    N functions set, due at random times; dropping them is not measured
//   call_fire/N     N functions called, in order, until none is left; setting them is not measured
//
// One thread. items_per_second: timers (none_due: looks). 100 000 timers do not fit the L1 cache,
// nor should they: each lies in a coroutine's frame.
#include <quoit/detail/timer_heap.hpp>
#include <quoit/detail/timer_queue.hpp>

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <random>
#include <vector>

namespace {

using quoit::detail::timer_heap;
using quoit::detail::timer_node;
using quoit::detail::timer_queue;
using time_point = timer_node::time_point;

constexpr std::int64_t range_ns = 1'000'000'000;

// Deadlines drawn beforehand, so that drawing is not measured.
std::vector<time_point> random_deadlines(std::size_t count) {
    std::mt19937_64 random(1);  // the same every time
    std::uniform_int_distribution<std::int64_t> in_range(1, range_ns);
    std::vector<time_point> made;
    made.reserve(count);
    for (std::size_t i = 0; i < count; ++i)
        made.emplace_back(std::chrono::nanoseconds(in_range(random)));
    return made;
}

class pending {
  public:
    explicit pending(std::size_t count)
        : deadlines_(random_deadlines(count)), nodes_(std::make_unique<timer_node[]>(count)) {
        add_all();
    }
    void add_all() {
        for (std::size_t i = 0; i < deadlines_.size(); ++i)
            heap.insert(nodes_[i], deadlines_[i]);
    }
    timer_heap heap;

  private:
    std::vector<time_point> deadlines_;
    std::unique_ptr<timer_node[]> nodes_;
};

void add_cancel(benchmark::State& state) {
    pending others(static_cast<std::size_t>(state.range(0)));
    const std::vector<time_point> deadlines = random_deadlines(4096);
    timer_node timeout;
    std::size_t next = 0;
    for ([[maybe_unused]] auto iteration : state) {
        others.heap.insert(timeout, deadlines[next++ % deadlines.size()]);
        benchmark::DoNotOptimize(timeout);
        others.heap.erase(timeout);
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(add_cancel)->Arg(1)->Arg(1000)->Arg(100'000);

void add_expire(benchmark::State& state) {
    pending all(static_cast<std::size_t>(state.range(0)));
    const time_point end{std::chrono::nanoseconds(range_ns)};
    while (all.heap.pop_due(end) != nullptr) {
    }
    for ([[maybe_unused]] auto iteration : state) {
        all.add_all();
        while (timer_node* const due = all.heap.pop_due(end))
            benchmark::DoNotOptimize(due);
    }
    state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(add_expire)->Arg(1)->Arg(1000)->Arg(100'000);

void none_due(benchmark::State& state) {
    pending others(static_cast<std::size_t>(state.range(0)));
    for ([[maybe_unused]] auto iteration : state)
        benchmark::DoNotOptimize(others.heap.pop_due(time_point()));
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(none_due)->Arg(1)->Arg(100'000);

class pending_calls {
  public:
    explicit pending_calls(const std::vector<time_point>& deadlines) {
        for (const time_point one : deadlines)
            queue.add([this] { ++called; }, one);
    }
    timer_queue queue;
    std::size_t called = 0;
};

void call_cancel(benchmark::State& state) {
    pending_calls others(random_deadlines(static_cast<std::size_t>(state.range(0))));
    const std::vector<time_point> deadlines = random_deadlines(4096);
    std::size_t next = 0;
    for ([[maybe_unused]] auto iteration : state) {
        const auto one =
            others.queue.add([&others] { ++others.called; }, deadlines[next++ % deadlines.size()]);
        one->cancel();
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(call_cancel)->Arg(1)->Arg(100'000)->Arg(1'000'000);

void call_start(benchmark::State& state) {
    const auto deadlines = random_deadlines(static_cast<std::size_t>(state.range(0)));
    for ([[maybe_unused]] auto iteration : state) {
        std::optional<pending_calls> calls(std::in_place, deadlines);
        benchmark::DoNotOptimize(calls);
        state.PauseTiming();
        calls.reset();
        state.ResumeTiming();
    }
    state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(call_start)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

void call_fire(benchmark::State& state) {
    const auto deadlines = random_deadlines(static_cast<std::size_t>(state.range(0)));
    const time_point end{std::chrono::nanoseconds(range_ns)};
    for ([[maybe_unused]] auto iteration : state) {
        state.PauseTiming();
        pending_calls calls(deadlines);
        state.ResumeTiming();
        calls.queue.run_due(end, [](const std::exception_ptr&) {});
        benchmark::DoNotOptimize(calls.called);
    }
    state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(call_fire)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
