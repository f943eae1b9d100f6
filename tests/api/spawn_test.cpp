// SPDX-License-Identifier: MIT
#include <quoit/quoit.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using quoit::errc;
using quoit::result;
using quoit::task;

std::vector<std::string> logged;
void remember(quoit::log_level, std::string_view line) noexcept { logged.emplace_back(line); }

task<int> later(int value) {
    co_await quoit::sleep(0ns);
    co_return value;
}
task<int> failing() {
    co_await quoit::sleep(0ns);
    throw std::runtime_error("a bug");
}
task<result<int>> result_when_canceled() {
    co_await quoit::sleep({});
    co_return 5;
}
task<result<int>> error_when_canceled() {
    const auto slept = co_await quoit::sleep({});
    co_return quoit::failure(slept.code());
}

TEST(spawn, StartsWithTheNextTurnAndJoinGivesTheValue) {
    std::vector<int> order;
    const auto main = [&]() -> task<> {
        auto handle = quoit::spawn([&]() -> task<int> {
            order.push_back(2);
            co_return 7;
        });
        order.push_back(1);
        const auto joined = co_await handle.join();
        EXPECT_TRUE(joined.has_value());
        EXPECT_EQ(joined.value_or(0), 7);
        EXPECT_TRUE(handle.is_done());
        const auto again = co_await handle.join();
        EXPECT_FALSE(again.has_value()) << "the value was moved out";
    };
    quoit::run(main());
    EXPECT_EQ(order, (std::vector{1, 2}));
}

TEST(spawn, KeepsTheCallableBesideTheFrame) {
    std::weak_ptr<int> watched;
    const auto main = [&]() -> task<> {
        auto shared = std::make_shared<int>(3);
        watched = shared;
        auto handle = quoit::spawn([shared = std::move(shared)]() -> task<int> {
            co_await quoit::sleep(0ns);
            co_return *shared;
        });
        EXPECT_FALSE(watched.expired());
        const auto joined = co_await handle.join();
        EXPECT_EQ(joined.value_or(0), 3);
        EXPECT_TRUE(watched.expired());
    };
    quoit::run(main());
}

TEST(spawn, JoinDoesNotNestResults) {
    const auto main = []() -> task<> {
        auto handle = quoit::spawn(error_when_canceled());
        handle.cancel();
        const result<int> joined = co_await handle.join();
        EXPECT_FALSE(joined.has_value());
    };
    quoit::run(main());
}

TEST(spawn, JoinRethrowsAndHasThenObserved) {
    logged.clear();
    const auto main = []() -> task<std::string> {
        auto handle = quoit::spawn(failing());
        try {
            const auto joined = co_await handle.join();
            static_cast<void>(joined);
        } catch (const std::runtime_error& e) {
            co_return e.what();
        }
        co_return "nothing";
    };
    EXPECT_EQ(quoit::run(main(), {.log = remember}), "a bug");
    EXPECT_TRUE(logged.empty());
}

TEST(spawn, AnExceptionThatNobodyJoinsIsLoggedAndCounted) {
    logged.clear();
    auto loop = or_throw(quoit::loop::create({.log = remember}));
    const auto main = []() -> task<> {
        quoit::spawn(failing());
        co_await quoit::sleep(0ns);
        co_await quoit::sleep(0ns);
        co_await quoit::sleep(0ns);
    };
    loop.run(main());
    EXPECT_EQ(loop.unobserved_exception_count(), 1U);
    ASSERT_EQ(logged.size(), 1U);
    EXPECT_NE(logged[0].find("a bug"), std::string::npos);
}

TEST(spawn, JoinHasATimeoutOfItsOwn) {
    const auto main = []() -> task<> {
        auto handle = quoit::spawn(error_when_canceled());
        const auto joined = co_await handle.join({.timeout = 1ms});
        EXPECT_FALSE(joined.has_value());
        if (!joined) {
            EXPECT_EQ(joined.error(), errc::timed_out);
        }
        EXPECT_FALSE(handle.is_done());
    };
    quoit::run(main());
}

TEST(spawn, AHandleMayOutliveTheLoop) {
    quoit::task_handle<int> handle;
    {
        auto loop = or_throw(quoit::loop::create());
        handle = loop.spawn(later(1));
        EXPECT_FALSE(handle.is_done());
    }
    EXPECT_TRUE(handle.is_done());
    handle.cancel();
}

TEST(with_timeout, GivesTheValueOfWhatEndsInTime) {
    const auto main = []() -> task<> {
        const result<int> plain = co_await quoit::with_timeout(later(4), 1h);
        EXPECT_EQ(plain.value_or(0), 4);
        const auto nothing = []() -> task<> { co_return; };
        const result<void> empty = co_await quoit::with_timeout(nothing(), 1h);
        EXPECT_TRUE(empty.has_value());
        const result<int> unlimited = co_await quoit::with_timeout(later(5), {});
        EXPECT_EQ(unlimited.value_or(0), 5);
    };
    quoit::run(main());
}

TEST(with_timeout, CancelsAndWaitsForTheEnd) {
    bool has_ended = false;
    const auto slow = [&]() -> task<int> {
        co_await quoit::sleep({});
        has_ended = true;
        co_return 1;
    };
    const auto main = [&]() -> task<> {
        const auto outcome = co_await quoit::with_timeout(slow(), 1ms);
        EXPECT_TRUE(has_ended);
        EXPECT_FALSE(outcome.has_value());
        if (!outcome) {
            EXPECT_EQ(outcome.error(), errc::timed_out);
        }
    };
    quoit::run(main());
}

TEST(with_timeout, HandsOverAResultThatHoldsAValueInSpiteOfTheCancellation) {
    const auto main = []() -> task<> {
        const result<int> value = co_await quoit::with_timeout(result_when_canceled(), 0ns);
        EXPECT_EQ(value.value_or(0), 5);
        const result<int> none = co_await quoit::with_timeout(error_when_canceled(), 0ns);
        EXPECT_FALSE(none.has_value());
        if (!none) {
            EXPECT_EQ(none.error(), errc::timed_out);
        }
    };
    quoit::run(main());
}

TEST(with_timeout, RethrowsBeforeAndAfterTheLimit) {
    const auto late = []() -> task<> {
        co_await quoit::sleep({});
        throw std::runtime_error("late");
    };
    const auto main = [&]() -> task<std::string> {
        std::string words;
        try {
            const auto outcome = co_await quoit::with_timeout(failing(), 1h);
            static_cast<void>(outcome);
        } catch (const std::runtime_error& e) {
            words += e.what();
        }
        try {
            const auto outcome = co_await quoit::with_timeout(late(), 0ns);
            static_cast<void>(outcome);
        } catch (const std::runtime_error& e) {
            words += e.what();
        }
        co_return words;
    };
    EXPECT_EQ(quoit::run(main()), "a buglate");
}

TEST(with_timeout, RefusesALimitThatIsNoTimeWithoutRunningTheTask) {
    bool has_run = false;
    const auto mark = [&]() -> task<> {
        has_run = true;
        co_return;
    };
    const auto main = [&]() -> task<> {
        const auto outcome = co_await quoit::with_timeout(mark(), -1s);
        EXPECT_FALSE(outcome.has_value());
        if (!outcome) {
            EXPECT_EQ(outcome.error(), errc::invalid_option);
        }
    };
    quoit::run(main());
    EXPECT_FALSE(has_run);
}

TEST(future, GivesItsValueToEveryWaiterBeforeAndAfter) {
    std::vector<int> got;
    const auto main = [&]() -> task<> {
        quoit::future<int> value;
        const auto wait = [&]() -> task<> {
            const auto one = co_await value.wait();
            got.push_back(one.value_or(0));
        };
        quoit::task_group group;
        for (int i = 0; i < 3; ++i)
            group.spawn(wait());
        co_await quoit::sleep(0ns);
        EXPECT_TRUE(value.set_value(9));
        EXPECT_FALSE(value.set_value(10));
        co_await group.join();
        co_await wait();
    };
    quoit::run(main());
    EXPECT_EQ(got, std::vector(4, 9));
}

TEST(future, AValueThatCanOnlyBeMovedGoesToTheFirst) {
    const auto main = []() -> task<> {
        quoit::future<std::unique_ptr<int>> value;
        value.set_value(std::make_unique<int>(1));
        const auto first = co_await value.wait();
        EXPECT_TRUE(first.has_value());
        const auto second = co_await value.wait();
        EXPECT_FALSE(second.has_value());
        if (!second) {
            EXPECT_EQ(second.error(), errc::closed);
        }
    };
    quoit::run(main());
}

TEST(future, TimesOutRefusesNonsenseAndTellsErrors) {
    const auto main = []() -> task<> {
        quoit::future<> done;
        const auto late = co_await done.wait({.timeout = 1ms});
        const auto wrong = co_await done.wait({.timeout = -1s});
        done.set_error(quoit::error(errc::not_supported));
        const auto told = co_await done.wait();
        EXPECT_FALSE(late || wrong || told);
        EXPECT_EQ(late.error(), errc::timed_out);
        EXPECT_EQ(wrong.error(), errc::invalid_option);
        EXPECT_EQ(told.error(), errc::not_supported);
    };
    quoit::run(main());
}

TEST(future, ItsDeathWakesWhoWaits) {
    int closed = 0;
    const auto main = [&]() -> task<> {
        auto value = std::make_unique<quoit::future<int>>();
        quoit::task_group group;
        const auto wait = [&]() -> task<> {
            const auto one = co_await value->wait();
            if (!one && one.error() == errc::closed) ++closed;
        };
        group.spawn(wait());
        group.spawn(wait());
        co_await quoit::sleep(0ns);
        value.reset();
        co_await group.join();
        value = std::make_unique<quoit::future<int>>();
        group.spawn(wait());
        co_await quoit::sleep(0ns);
        value->set_value(1);
        value.reset();  // woken, and not run yet
        co_await group.join();
    };
    quoit::run(main());
    EXPECT_EQ(closed, 3);
}

}  // namespace
