// SPDX-License-Identifier: MIT
#include <quoit/quoit.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace std::chrono_literals;
using quoit::errc;
using quoit::status;
using quoit::task;

std::vector<std::string> logged;
void remember(quoit::log_level, std::string_view line) noexcept { logged.emplace_back(line); }

task<> sleep_for_ever(std::vector<status>& answers) {
    answers.push_back(co_await quoit::sleep({}));
}

task<> through(int levels, std::vector<status>& answers) {
    if (levels == 0) {
        co_await sleep_for_ever(answers);
    } else {
        co_await through(levels - 1, answers);
    }
}

TEST(cancellation, ArrivesAtTheInnermostAwaitOfTheTask) {
    std::vector<status> answers;
    const auto main = [&]() -> task<> {
        auto handle = quoit::spawn(through(5, answers));
        co_await quoit::sleep(0ns);
        handle.cancel();
        const auto ended = co_await handle.join();
        EXPECT_TRUE(ended.has_value()) << "the task returned by itself";
    };
    quoit::run(main());
    EXPECT_EQ(answers, std::vector<status>{errc::canceled});
}

TEST(cancellation, IsStickyAndEveryFurtherAwaitAnswersIt) {
    int canceled = 0;
    const auto stubborn = [&]() -> task<> {
        for (int i = 0; i < 100; ++i) {
            const status slept = co_await quoit::sleep(0ns);
            if (slept == errc::canceled) ++canceled;
        }
        quoit::future<int> never;
        const auto value = co_await never.wait();
        if (!value && value.error() == errc::canceled) ++canceled;
    };
    const auto main = [&]() -> task<> {
        auto handle = quoit::spawn(stubborn());
        handle.cancel();
        const auto ended = co_await handle.join();
        EXPECT_TRUE(ended.has_value());
    };
    quoit::run(main());
    EXPECT_EQ(canceled, 101);
}

TEST(cancellation, OfOneTaskLeavesItsSiblingsAlone) {
    std::vector<status> first, second;
    const auto main = [&]() -> task<> {
        auto a = quoit::spawn(sleep_for_ever(first));
        auto b = quoit::spawn(sleep_for_ever(second));
        co_await quoit::sleep(0ns);
        a.cancel();
        const auto ended = co_await a.join();
        EXPECT_TRUE(ended.has_value());
        EXPECT_FALSE(b.is_done());
    };
    quoit::run(main());
    EXPECT_EQ(first.size(), 1U);
    EXPECT_EQ(second.size(), 1U) << "at the end of run()";
}

TEST(cancellation, RunsDownThroughTimeoutsAndGroups) {
    std::vector<status> answers;
    const auto grouped = [&]() -> task<> {
        quoit::task_group group;
        group.spawn(sleep_for_ever(answers));
        group.spawn(through(3, answers));
        co_await group.join();
        answers.push_back(co_await quoit::sleep({}));  // the group's own parent
    };
    const auto limited = [&]() -> task<> {
        const auto outcome = co_await quoit::with_timeout(grouped(), 1h);
        EXPECT_FALSE(outcome.has_value());
        if (!outcome) {
            EXPECT_EQ(outcome.error(), errc::canceled);
        }
    };
    const auto main = [&]() -> task<> {
        auto handle = quoit::spawn(limited());
        co_await quoit::sleep(0ns);
        co_await quoit::sleep(0ns);
        EXPECT_TRUE(answers.empty());
        handle.cancel();
        const auto ended = co_await handle.join();
        EXPECT_TRUE(ended.has_value());
    };
    quoit::run(main());
    EXPECT_EQ(answers, std::vector<status>(3, errc::canceled));
}

TEST(cancellation, BeforeTheStartStillLetsTheTaskStart) {
    std::vector<status> answers;
    const auto main = [&]() -> task<> {
        auto handle = quoit::spawn(sleep_for_ever(answers));
        handle.cancel();
        EXPECT_TRUE(answers.empty());
        const auto ended = co_await handle.join();
        EXPECT_TRUE(ended.has_value());
    };
    quoit::run(main());
    EXPECT_EQ(answers.size(), 1U);
}

TEST(cancellation, OfTheJoinerLeavesWhatItJoinsAlone) {
    std::vector<status> answers;
    bool was_canceled = false;
    const auto main = [&]() -> task<> {
        auto worker = quoit::spawn(sleep_for_ever(answers));
        const auto join = [&]() -> task<> {
            const auto joined = co_await worker.join();
            was_canceled = !joined && joined.error() == errc::canceled;
        };
        auto joiner = quoit::spawn(join());
        co_await quoit::sleep(0ns);
        joiner.cancel();
        const auto ended = co_await joiner.join();
        EXPECT_TRUE(ended.has_value());
        EXPECT_FALSE(worker.is_done());
    };
    quoit::run(main());
    EXPECT_TRUE(was_canceled);
}

TEST(cancellation, OverridesAWakeUpThatHasNotRunYet) {
    bool was_canceled = false;
    const auto main = [&]() -> task<> {
        quoit::future<int> value;
        const auto wait = [&]() -> task<> {
            const auto got = co_await value.wait();
            was_canceled = !got && got.error() == errc::canceled;
        };
        auto handle = quoit::spawn(wait());
        co_await quoit::sleep(0ns);
        value.set_value(1);
        handle.cancel();
        const auto ended = co_await handle.join();
        EXPECT_TRUE(ended.has_value());
        EXPECT_TRUE(value.is_set());
    };
    quoit::run(main());
    EXPECT_TRUE(was_canceled);
}

TEST(cancellation, ATaskThatNeverLeavesIsDroppedAndTheProcessEnds) {
    logged.clear();
    bool was_destroyed = false;
    struct mark {
        bool& flag;
        ~mark() { flag = true; }
    };
    const auto stubborn = [&]() -> task<> {
        const mark destroyed{was_destroyed};
        for (;;)
            co_await quoit::sleep(1h);
    };
    const auto main = [&]() -> task<> {
        quoit::spawn(stubborn());
        co_await quoit::sleep(0ns);
    };
    quoit::run(main(), {.log = remember});
    EXPECT_TRUE(was_destroyed);
    ASSERT_EQ(logged.size(), 1U);
    EXPECT_NE(logged[0].find("10000 times"), std::string::npos);
}

TEST(cancellation, WinsOverALimitThatIsNoTimeSoThatSuchAwaitsCountAsWell) {
    logged.clear();
    bool was_destroyed = false;
    struct mark {
        bool& flag;
        ~mark() { flag = true; }
    };
    int others = 0;
    const auto stubborn = [&]() -> task<> {
        const mark destroyed{was_destroyed};
        for (int i = 0; i < 20'000; ++i) {  // twice what is put up with
            const status slept = co_await quoit::sleep(-1s);
            if (slept != errc::canceled) ++others;
        }
        ADD_FAILURE() << "was not dropped";
    };
    const auto main = [&]() -> task<> {
        auto handle = quoit::spawn(stubborn());
        handle.cancel();
        const auto joined = co_await handle.join();
        EXPECT_FALSE(joined.has_value());
    };
    quoit::run(main(), {.log = remember});
    EXPECT_EQ(others, 0);
    EXPECT_TRUE(was_destroyed);
    ASSERT_EQ(logged.size(), 1U);
    EXPECT_NE(logged[0].find("10000 times"), std::string::npos);
}

TEST(cancellation, WhoWaitsForATaskThatNeverLeavesGoesOn) {
    logged.clear();
    int passed = 0;
    const auto stubborn = []() -> task<> {
        for (;;)
            co_await quoit::sleep(1h);
    };
    const auto sleeper = []() -> task<> { co_await quoit::sleep(1h); };
    const auto around = [&]() -> task<> {
        for (;;) {
            const auto outcome = co_await quoit::with_timeout(sleeper(), 1h);
            if (!outcome) continue;
        }
    };
    const auto main = [&]() -> task<> {
        const auto limited = co_await quoit::with_timeout(stubborn(), 0ns);
        if (!limited && limited.error() == errc::timed_out) ++passed;
        quoit::task_group group;
        group.spawn(stubborn());
        group.cancel();
        co_await group.join();
        ++passed;
        auto handle = quoit::spawn(stubborn());
        handle.cancel();
        const auto joined = co_await handle.join();
        if (!joined && joined.error() == errc::canceled) ++passed;
        // One that keeps starting children after it was cancelled is caught as well.
        auto parent = quoit::spawn(around());
        co_await quoit::sleep(0ns);
        parent.cancel();
        const auto dropped = co_await parent.join();
        if (!dropped) ++passed;
    };
    quoit::run(main(), {.log = remember});
    EXPECT_EQ(passed, 4);
}

}  // namespace
