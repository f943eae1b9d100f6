// SPDX-License-Identifier: MIT
//
// Timers of a loop. The queue itself: timer_queue_test.cpp.
#include <quoit/quoit.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using quoit::errc;
using quoit::log_level;
using quoit::loop;
using quoit::timer;
using time_point = timer::time_point;

// A sink has no data of its own. Everything here happens on one thread.
std::vector<std::pair<log_level, std::string>> lines;

void keep_line(log_level level, std::string_view line) noexcept { lines.emplace_back(level, line); }

loop make_loop() {
    lines.clear();
    return or_throw(loop::create({.backend = quoit::backend::epoll, .log = keep_line}));
}
// A loop under test that hangs ends with this.
constexpr auto patience = 10s;

TEST(timer, FiresOnceAndThenSaysSo) {
    loop on = make_loop();
    int count = 0;
    timer one = on.call_later(0s, [&] { ++count; });
    EXPECT_TRUE(one.is_active());
    EXPECT_TRUE(one.status());
    EXPECT_EQ(on.poll(), 1U);
    EXPECT_EQ(count, 1);
    EXPECT_FALSE(one.is_active());
    EXPECT_EQ(one.status(), errc::already_fired);
    EXPECT_EQ(one.cancel(), errc::already_fired);
    EXPECT_EQ(one.delay(1s), errc::already_fired);
    EXPECT_EQ(one.reset(1s), errc::already_fired);
    EXPECT_FALSE(one.time().has_value());
    EXPECT_EQ(on.poll(), 0U);
}

TEST(timer, IsInactiveInsideItsOwnFunctionAndThePeriodicOneIsNot) {
    loop on = make_loop();
    timer once;
    timer periodic;
    int calls = 0;
    once = on.call_at(time_point(), [&] { EXPECT_EQ(once.status(), errc::already_fired); });
    periodic = on.call_every(1ns, [&] {
        EXPECT_TRUE(periodic.is_active());
        if (++calls == 3) {
            EXPECT_TRUE(periodic.cancel());
            EXPECT_EQ(periodic.cancel(), errc::canceled);
            on.stop();
        }
    });
    on.run();
    EXPECT_EQ(calls, 3);
    EXPECT_EQ(periodic.status(), errc::canceled);
    on.poll();
    EXPECT_EQ(calls, 3);
}

TEST(timer, WakesALoopThatHasNothingElseToDo) {
    loop on = make_loop();
    on.call_later(5ms, [&] { on.stop(); });
    const auto started = std::chrono::steady_clock::now();
    on.run();
    EXPECT_GE(std::chrono::steady_clock::now() - started, 5ms);  // never early
}

TEST(timer, RunsOnWhenItsHandleIsDropped) {
    loop on = make_loop();
    bool was_called = false;
    {
        const timer dropped = on.call_later(0s, [&] { was_called = true; });
    }
    on.poll();
    EXPECT_TRUE(was_called);
}

TEST(timer, IsMovedByDelayAndReset) {
    loop on = make_loop();
    int count = 0;
    timer one = on.call_at(time_point(), [&] { ++count; });
    EXPECT_EQ(one.time(), time_point());
    EXPECT_TRUE(one.delay(2h));
    EXPECT_EQ(one.time(), time_point(2h));
    const auto before = std::chrono::steady_clock::now();
    EXPECT_TRUE(one.reset(3h));
    EXPECT_GE(*one.time(), before + 3h);
    EXPECT_EQ(on.poll(), 0U);
    EXPECT_TRUE(one.reset(0s));
    on.poll();
    EXPECT_EQ(count, 1);
}

TEST(timer, KeepsItsTimeWhenItIsMovedByNonsense) {
    loop on = make_loop();
    timer one = on.call_at(time_point(1h), [] {});
    EXPECT_EQ(one.delay(-1s), errc::invalid_option);
    EXPECT_EQ(one.reset(std::chrono::duration<double>(std::nan(""))), errc::invalid_option);
    EXPECT_EQ(one.time(), time_point(1h));
    EXPECT_TRUE(one.delay(std::chrono::hours::max()));
    EXPECT_EQ(one.time(), time_point::max());
}

TEST(timer, OfADelayThatIsNoTimeIsRefusedWithWordsInTheLog) {
    loop on = make_loop();
    bool was_called = false;
    const auto call = [&] { was_called = true; };
    timer negative = on.call_later(-1ns, call);
    EXPECT_EQ(negative.status(), errc::invalid_option);
    EXPECT_EQ(negative.cancel(), errc::invalid_option);
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_EQ(lines[0].second,
              "call_later: a delay that is negative or no number; nothing will be called");
    const std::chrono::duration<double> nan(std::numeric_limits<double>::quiet_NaN());
    EXPECT_EQ(on.call_later(nan, call).status(), errc::invalid_option);
    EXPECT_EQ(on.call_every(0s, call).status(), errc::invalid_option);
    EXPECT_EQ(on.call_every(-1s, call).status(), errc::invalid_option);
    EXPECT_EQ(on.call_every(nan, call).status(), errc::invalid_option);
    EXPECT_EQ(lines.size(), 5U);
    on.poll();
    EXPECT_FALSE(was_called);
}

TEST(timer, ThatIsOfNothingOrOutlivesItsLoopIsClosed) {
    timer none;
    EXPECT_FALSE(none.is_active());
    EXPECT_EQ(none.cancel(), errc::closed);
    timer pending;
    timer fired;
    {
        loop on = make_loop();
        pending = on.call_later(1h, [] {});
        fired = on.call_later(0s, [] {});
        on.poll();
        loop moved = std::move(on);
        EXPECT_TRUE(pending.is_active());
    }
    EXPECT_FALSE(pending.is_active());
    EXPECT_EQ(pending.cancel(), errc::closed);
    EXPECT_EQ(pending.reset(1s), errc::closed);
    EXPECT_EQ(fired.status(), errc::already_fired);
}

TEST(timer, LeftOverWhenRunReturnsFiresInTheNextTurn) {
    loop on = make_loop();
    bool was_called = false;
    on.run([](loop& of, bool& called) -> quoit::task<> {
        of.call_at(time_point(), [&called] { called = true; });
        co_return;
    }(on, was_called));
    on.poll();
    EXPECT_TRUE(was_called);
}

TEST(timer, SpawnsTasksAndIsStartedByThem) {
    loop on = make_loop();
    on.run([](loop& of) -> quoit::task<> {
        quoit::future<int> done;
        of.call_later(0s, [&] {
            quoit::spawn([](quoit::future<int>& f) -> quoit::task<> {
                loop::current().call_later(0s, [&f] { f.set_value(7); });
                co_return;
            }(done));
        });
        const auto value = co_await done.wait({.timeout = patience});
        EXPECT_TRUE(value.has_value());
    }(on));
}

TEST(timer, ThatThrowsIsLoggedAndCountedAndTheLoopGoesOn) {
    loop on = make_loop();
    int calls = 0;
    on.call_every(1ns, [&] {
        if (++calls == 3) on.stop();
        throw std::runtime_error("oops");
    });
    on.run();
    EXPECT_EQ(calls, 3);
    EXPECT_EQ(on.unobserved_exception_count(), 3U);
    ASSERT_EQ(lines.size(), 3U);
    EXPECT_EQ(lines[0].first, log_level::error);
    EXPECT_EQ(lines.back().second, "a timer's function ended in an exception: oops");
}

}  // namespace
