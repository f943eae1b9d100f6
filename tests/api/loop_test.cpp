// SPDX-License-Identifier: MIT
#include <quoit/quoit.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using quoit::errc;
using quoit::task;

std::vector<std::string> logged;
void remember(quoit::log_level, std::string_view line) noexcept { logged.emplace_back(line); }

quoit::loop make_loop(quoit::loop_options options = {}) {
    return or_throw(quoit::loop::create(options));
}

TEST(loop, RefusesOptionsOutOfRange) {
    const auto outcome = quoit::loop::create({.cpu = -2});
    ASSERT_FALSE(outcome.has_value());
    EXPECT_EQ(outcome.error(), errc::invalid_option);
}

TEST(loop, SleepersWakeInTheOrderOfTheirDeadlines) {
    std::vector<int> order;
    const auto sleeper = [&](int number, std::chrono::milliseconds how_long) -> task<> {
        co_await quoit::sleep(how_long);
        order.push_back(number);
    };
    const auto main = [&]() -> task<> {
        quoit::task_group group;
        group.spawn(sleeper(3, 30ms));
        group.spawn(sleeper(1, 1ms));
        group.spawn(sleeper(2, 15ms));
        co_await group.join();
    };
    quoit::run(main());
    EXPECT_EQ(order, (std::vector{1, 2, 3}));
}

TEST(loop, SleepRefusesWhatIsNoTime) {
    const auto main = []() -> task<> {
        const quoit::status slept = co_await quoit::sleep(-1ms);
        EXPECT_EQ(slept, errc::invalid_option);
        const quoit::status past = co_await quoit::sleep(std::chrono::steady_clock::now() - 1h);
        EXPECT_TRUE(past);
    };
    quoit::run(main());
}

TEST(loop, WhatBecomesReadyInATurnRunsInTheNext) {
    auto loop = make_loop();
    int runs = 0;
    const auto spinner = [&]() -> task<> {
        for (;;) {
            ++runs;
            const auto slept = co_await quoit::sleep(0ns);
            if (!slept) co_return;
        }
    };
    loop.spawn(spinner());
    for (int turns = 1; turns <= 5; ++turns) {
        loop.poll();
        EXPECT_EQ(runs, turns);
    }
}

TEST(loop, PollCountsWhatRanAndNeverWaits) {
    auto loop = make_loop();
    EXPECT_EQ(loop.poll(), 0U);
    loop.post([] {});
    EXPECT_GE(loop.poll(), 1U);
}

TEST(loop, PostsOfFourThreadsAllArriveEachThreadsInOrder) {
    constexpr int thread_count = 4;
    constexpr int posts_each = 5000;
    auto loop = make_loop();
    std::vector<int> last(thread_count, -1);
    bool is_in_order = true;
    int received = 0;
    std::vector<std::jthread> threads;
    for (int t = 0; t < thread_count; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < posts_each; ++i) {
                loop.post([&, t, i] {
                    int& before = last[static_cast<std::size_t>(t)];
                    is_in_order = is_in_order && before + 1 == i;
                    before = i;
                    if (++received == thread_count * posts_each) loop.stop();
                });
            }
        });
    }
    loop.run();
    EXPECT_EQ(received, thread_count * posts_each);
    EXPECT_TRUE(is_in_order);
}

TEST(loop, APostWakesALoopThatWaits) {
    auto loop = make_loop();
    std::atomic<bool> has_run{false};
    std::jthread other([&] {
        loop.post([&] {
            has_run = true;
            loop.stop();
        });
    });
    loop.run();
    EXPECT_TRUE(has_run);
}

TEST(loop, WhatAPostedFunctionThrowsIsLoggedAndTheOthersRun) {
    logged.clear();
    auto loop = make_loop({.log = remember});
    bool has_run = false;
    loop.post([] { throw std::runtime_error("in a post"); });
    loop.post([&] { has_run = true; });
    loop.poll();
    EXPECT_TRUE(has_run);
    EXPECT_EQ(loop.unobserved_exception_count(), 1U);
    ASSERT_EQ(logged.size(), 1U);
    EXPECT_NE(logged[0].find("in a post"), std::string::npos);
}

TEST(loop, AStopBeforeRunCounts) {
    auto loop = make_loop();
    loop.stop();
    loop.run();
    SUCCEED();
}

TEST(loop, StopCancelsTheMainTask) {
    auto loop = make_loop();
    const auto main = [&]() -> task<bool> {
        quoit::loop::current().stop();
        const auto slept = co_await quoit::sleep({});
        co_return slept == errc::canceled;
    };
    EXPECT_TRUE(loop.run(main()));
}

TEST(loop, AStopWhileTheRestEndsIsNotMeantForTheNextRun) {
    auto loop = make_loop();
    const auto left = []() -> task<> {
        co_await quoit::sleep({});
        quoit::loop::current().stop();
    };
    const auto main = [&]() -> task<> {
        quoit::spawn(left());
        co_await quoit::sleep(0ns);
    };
    loop.run(main());
    const auto next = []() -> task<bool> {
        co_await quoit::sleep(0ns);
        const auto slept = co_await quoit::sleep(0ns);
        co_return static_cast<bool>(slept);
    };
    EXPECT_TRUE(loop.run(next()));
}

TEST(loop, RunCancelsWhatMainLeftAndWaitsForItsCleanUp) {
    bool has_cleaned_up = false;
    const auto left = [&]() -> task<> {
        co_await quoit::sleep({});
        has_cleaned_up = true;
    };
    const auto main = [&]() -> task<int> {
        quoit::spawn(left());
        co_await quoit::sleep(0ns);
        co_return 1;
    };
    EXPECT_EQ(quoit::run(main()), 1);
    EXPECT_TRUE(has_cleaned_up);
}

TEST(loop, WhatIsSpawnedWhileTheRestEndsStartsCancelled) {
    bool was_canceled = false;
    const auto late = [&]() -> task<> {
        const auto slept = co_await quoit::sleep({});
        was_canceled = slept == errc::canceled;
    };
    const auto left = [&]() -> task<> {
        co_await quoit::sleep({});
        quoit::spawn(late());
    };
    const auto main = [&]() -> task<> {
        quoit::spawn(left());
        co_await quoit::sleep(0ns);
    };
    quoit::run(main());
    EXPECT_TRUE(was_canceled);
}

TEST(loop, RunsAgainAfterItHasRun) {
    auto loop = make_loop();
    const auto main = []() -> task<int> {
        const auto slept = co_await quoit::sleep(1ms);
        co_return slept ? 1 : 0;
    };
    EXPECT_EQ(loop.run(main()), 1);
    EXPECT_EQ(loop.run(main()), 1);
}

TEST(loop, CurrentFollowsAMove) {
    auto first = make_loop();
    quoit::loop second = std::move(first);
    const quoit::loop* seen = nullptr;
    second.post([&] { seen = &quoit::loop::current(); });
    second.poll();
    EXPECT_EQ(seen, &second);
}

TEST(loop, DestructionDropsTasksWithTheirFrames) {
    bool was_destroyed = false;
    struct mark {
        bool& flag;
        explicit mark(bool& f) noexcept : flag(f) {}
        mark(const mark&) = delete;
        mark& operator=(const mark&) = delete;
        ~mark() { flag = true; }
    };
    const auto sleeper = [&]() -> task<> {
        const mark destroyed(was_destroyed);
        co_await quoit::sleep({});
    };
    {
        auto loop = make_loop();
        loop.spawn(sleeper());
        loop.poll();
        EXPECT_FALSE(was_destroyed);
    }
    EXPECT_TRUE(was_destroyed);
}

TEST(loop, ALoopMayRunInsideATaskOfAnother) {
    const auto inner = []() -> task<int> {
        co_await quoit::sleep(0ns);
        co_return 2;
    };
    const auto outer = [&]() -> task<int> {
        co_await quoit::sleep(0ns);
        const int from_inner = quoit::run(inner());
        co_await quoit::sleep(0ns);
        co_return from_inner;
    };
    EXPECT_EQ(quoit::run(outer()), 2);
}

TEST(loop_death, TurningFromInsideATurnAbortsWithWords) {
    const auto main = []() -> task<> {
        quoit::loop::current().poll();
        co_return;
    };
    EXPECT_DEATH(quoit::run(main()), "from inside its own turn");
}

TEST(loop_death, SpawningWithoutALoopAbortsWithWords) {
    const auto nothing = []() -> task<> { co_return; };
    EXPECT_DEATH(quoit::spawn(nothing()), "needs a loop");
}

}  // namespace
