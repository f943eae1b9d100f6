// SPDX-License-Identifier: MIT
#include <quoit/quoit.hpp>

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace {

using quoit::task;

task<int> ready(int value) { co_return value; }

task<int> depth(int levels) {
    if (levels == 0) co_return 0;
    const int below = co_await depth(levels - 1);
    co_return below + 1;
}

// Counts what lives: parameters and locals of frames.
class counted {
  public:
    explicit counted(int& alive) noexcept : alive_(&alive) { ++*alive_; }
    counted(const counted& other) noexcept : alive_(other.alive_) { ++*alive_; }
    counted& operator=(const counted&) = delete;
    ~counted() { --*alive_; }

  private:
    int* alive_;
};

TEST(task, AMillionAwaitsOfReadyTasksNeedConstantStack) {
    const auto main = []() -> task<long> {
        long sum = 0;
        for (int i = 0; i < 1'000'000; ++i)
            sum += co_await ready(1);
        co_return sum;
    };
    EXPECT_EQ(quoit::run(main()), 1'000'000);
}

TEST(task, AMillionAwaitsAfterASuspensionNeedConstantStack) {
    const auto main = []() -> task<long> {
        long sum = 0;
        co_await quoit::sleep(std::chrono::nanoseconds(0));
        for (int i = 0; i < 1'000'000; ++i)
            sum += co_await ready(1);
        co_return sum;
    };
    EXPECT_EQ(quoit::run(main()), 1'000'000);
}

TEST(task, AwaitsNestAThousandDeepAndUnwindTogether) {
    const auto bottom = [](auto& self, int levels) -> task<int> {
        if (levels == 0) {
            co_await quoit::sleep(std::chrono::nanoseconds(0));
            co_return 0;
        }
        const int below = co_await self(self, levels - 1);
        co_return below + 1;
    };
    EXPECT_EQ(quoit::run(depth(1000)), 1000);
    EXPECT_EQ(quoit::run(bottom(bottom, 1000)), 1000);
}

TEST(task, DoesNothingUntilItIsAwaited) {
    bool has_run = false;
    const auto mark = [&]() -> task<> {
        has_run = true;
        co_return;
    };
    {
        const task<> never = mark();
        EXPECT_FALSE(has_run);
    }
    EXPECT_FALSE(has_run);
    quoit::run(mark());
    EXPECT_TRUE(has_run);
}

TEST(task, ExceptionsPassThroughEveryAwait) {
    const auto thrower = [](int levels, auto& self) -> task<int> {
        if (levels == 0) throw std::runtime_error("from below");
        co_return co_await self(levels - 1, self);
    };
    try {
        quoit::run(thrower(3, thrower));
        ADD_FAILURE() << "nothing was thrown";
    } catch (const std::runtime_error& e) {
        EXPECT_STREQ(e.what(), "from below");
    }
}

TEST(task, GivesValuesThatCanOnlyBeMoved) {
    const auto make = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); };
    const auto main = [&]() -> task<int> {
        const std::unique_ptr<int> made = co_await make();
        co_return *made;
    };
    EXPECT_EQ(quoit::run(main()), 7);
}

TEST(task, AwaitsASpawnedTasksParametersDieWithItsEnd) {
    int alive = 0;
    const auto holder = [](counted held) -> task<> {
        co_await quoit::sleep(std::chrono::nanoseconds(0));
        static_cast<void>(held);
    };
    const auto main = [&]() -> task<> {
        auto handle = quoit::spawn(holder(counted(alive)));
        EXPECT_EQ(alive, 1);
        const auto ended = co_await handle.join();
        EXPECT_TRUE(ended.has_value());
        EXPECT_EQ(alive, 0) << "although the handle still lives";
    };
    quoit::run(main());
}

TEST(task_death, AwaitingAnEmptyTaskAbortsWithWords) {
    const auto main = []() -> task<> {
        task<int> empty;
        const int value = co_await std::move(empty);
        static_cast<void>(value);
    };
    EXPECT_DEATH(quoit::run(main()), "empty or has already ended");
}

TEST(run_main, PrintsWhatEscapesAndReturnsOne) {
    const auto failing = []() -> task<int> {
        throw std::runtime_error("no disk");
        co_return 0;
    };
    const auto three = []() -> task<int> { co_return 3; };
    const auto nothing = []() -> task<> { co_return; };
    testing::internal::CaptureStderr();
    EXPECT_EQ(quoit::run_main(failing()), 1);
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "error: no disk\n");
    EXPECT_EQ(quoit::run_main(three()), 3);
    EXPECT_EQ(quoit::run_main(nothing()), 0);
}

}  // namespace
