// SPDX-License-Identifier: MIT
#include <quoit/quoit.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace std::chrono_literals;
using quoit::errc;
using quoit::task;

std::vector<std::string> logged;
void remember(quoit::log_level, std::string_view line) noexcept { logged.emplace_back(line); }

task<int> failing() {
    co_await quoit::sleep(0ns);
    throw std::runtime_error("a bug");
}

TEST(task_group, JoinWaitsForAll) {
    int ended = 0;
    const auto work = [&](int turns) -> task<> {
        for (int i = 0; i < turns; ++i)
            co_await quoit::sleep(0ns);
        ++ended;
    };
    const auto main = [&]() -> task<> {
        quoit::task_group group;
        for (int i = 0; i < 10; ++i)
            group.spawn(work(i));
        EXPECT_EQ(group.size(), 10U);
        co_await group.join();
        EXPECT_TRUE(group.is_empty());
        co_await group.join();  // of nothing
        group.spawn(work(1));
        co_await group.join();
    };
    quoit::run(main());
    EXPECT_EQ(ended, 11);
}

TEST(task_group, TheFirstExceptionCancelsTheOthersAndIsRethrown) {
    bool was_canceled = false;
    const auto sleeper = [&]() -> task<> {
        const auto slept = co_await quoit::sleep({});
        was_canceled = slept == errc::canceled;
    };
    const auto main = [&]() -> task<std::string> {
        quoit::task_group group;
        group.spawn(sleeper());
        group.spawn(failing());
        try {
            co_await group.join();
        } catch (const std::runtime_error& e) {
            co_return e.what();
        }
        co_return "nothing";
    };
    EXPECT_EQ(quoit::run(main()), "a bug");
    EXPECT_TRUE(was_canceled);
}

TEST(task_group, TheDestructorDropsWhatStillRuns) {
    int alive = 0;
    struct presence {
        int& count;
        explicit presence(int& counted) noexcept : count(counted) { ++count; }
        presence(const presence&) = delete;
        presence& operator=(const presence&) = delete;
        ~presence() { --count; }
    };
    const auto sleeper = [&]() -> task<> {
        const presence here(alive);
        co_await quoit::sleep({});
        ADD_FAILURE() << "dropped tasks do not go on";
    };
    const auto main = [&]() -> task<> {
        {
            quoit::task_group group;
            group.spawn(sleeper());
            group.spawn(sleeper());
            co_await quoit::sleep(0ns);
            EXPECT_EQ(alive, 2);
        }
        EXPECT_EQ(alive, 0);
    };
    quoit::run(main());
}

TEST(task_group, WhatIsSpawnedAfterCancelStartsCancelled) {
    bool was_canceled = false;
    const auto main = [&]() -> task<> {
        quoit::task_group group;
        group.cancel();
        group.spawn([&]() -> task<> {
            const auto slept = co_await quoit::sleep({});
            was_canceled = slept == errc::canceled;
        });
        co_await group.join();
    };
    quoit::run(main());
    EXPECT_TRUE(was_canceled);
}

// What a server makes of a connection: an object that owns its tasks, and that they keep alive.
class session : public std::enable_shared_from_this<session> {
  public:
    explicit session(int& destroyed) noexcept : destroyed_(destroyed) {}
    session(const session&) = delete;
    session& operator=(const session&) = delete;
    ~session() { ++destroyed_; }

    quoit::task_group group;
    quoit::future<> go_on;

  private:
    int& destroyed_;
};
task<> keep_until_told(std::shared_ptr<session> kept) {
    static_cast<void>(co_await kept->go_on.wait());
    // `kept` dies with the frame, after the end.
}
task<> sleep_and_count(int& ended) {
    co_await quoit::sleep({});
    ++ended;
}

TEST(task_group, MayBeOwnedByAFrameOfItsOwnThatIsDropped) {
    int destroyed = 0;
    int siblings = 0;
    {
        auto loop = or_throw(quoit::loop::create());
        loop.spawn([&]() -> task<> {
            const auto one = std::make_shared<session>(destroyed);
            one->group.spawn(sleep_and_count(siblings));
            one->group.spawn(keep_until_told(one));
            const auto never_started = std::make_shared<session>(destroyed);
            never_started->group.spawn(keep_until_told(never_started));
            co_return;
        });
        loop.poll();
        EXPECT_EQ(destroyed, 0) << "each is kept by its own task";
    }
    EXPECT_EQ(destroyed, 2);
    EXPECT_EQ(siblings, 0) << "was dropped with the group";
}

TEST(task_group, MayBeOwnedByAFrameOfItsOwnThatEnds) {
    int destroyed = 0;
    int siblings = 0;
    const auto main = [&]() -> task<> {
        auto one = std::make_shared<session>(destroyed);
        one->group.spawn(keep_until_told(one));
        one->group.spawn(sleep_and_count(siblings));
        co_await quoit::sleep(0ns);
        one->go_on.set_value();
        one.reset();
        EXPECT_EQ(destroyed, 0);
        co_await quoit::sleep(0ns);
        EXPECT_EQ(destroyed, 1);
        co_await quoit::sleep(0ns);
    };
    quoit::run(main());
    EXPECT_EQ(siblings, 0) << "was dropped with the group";
}

TEST(task_group, MayBeOwnedByAFrameOfItsOwnThatThrows) {
    logged.clear();
    int destroyed = 0;
    const auto keep_and_throw = [](std::shared_ptr<session> kept) -> task<> {
        static_cast<void>(co_await kept->go_on.wait());
        throw std::runtime_error("a bug in a session");
    };
    const auto main = [&]() -> task<> {
        auto one = std::make_shared<session>(destroyed);
        one->group.spawn(keep_and_throw(one));
        co_await quoit::sleep(0ns);
        one->go_on.set_value();
        one.reset();
        co_await quoit::sleep(0ns);
        EXPECT_EQ(destroyed, 1);
    };
    quoit::run(main(), {.log = remember});
    ASSERT_EQ(logged.size(), 1U) << "nobody is left who could join";
    EXPECT_NE(logged[0].find("a bug in a session"), std::string::npos);
}

TEST(task_group, IsCancelledByEachOfThoseWhoJoin) {
    for (const std::size_t which : {0U, 1U, 2U}) {
        int ended = 0;
        int joined = 0;
        const auto main = [&]() -> task<> {
            quoit::task_group group;
            group.spawn(sleep_and_count(ended));
            group.spawn(sleep_and_count(ended));
            const auto join = [&]() -> task<> {
                co_await group.join();
                EXPECT_EQ(ended, 2) << "their end is waited for";
                ++joined;
            };
            std::vector<quoit::task_handle<>> joiners;
            for (int i = 0; i < 3; ++i)
                joiners.push_back(quoit::spawn(join()));
            co_await quoit::sleep(0ns);
            joiners[which].cancel();
            for (const auto& one : joiners) {
                const auto outcome = co_await one.join({.timeout = 2s});
                EXPECT_TRUE(outcome.has_value()) << "joiner " << which << " was cancelled";
            }
        };
        quoit::run(main());
        EXPECT_EQ(joined, 3);
    }
}

TEST(task_group, IsCancelledByALaterJoinerThatWasCancelledBefore) {
    int ended = 0;
    const auto main = [&]() -> task<> {
        quoit::task_group group;
        group.spawn(sleep_and_count(ended));
        const auto join = [&]() -> task<> { co_await group.join(); };
        auto first = quoit::spawn(join());
        co_await quoit::sleep(0ns);
        auto later = quoit::spawn(join());
        later.cancel();
        const auto outcome = co_await first.join({.timeout = 2s});
        EXPECT_TRUE(outcome.has_value());
        const auto other = co_await later.join({.timeout = 2s});
        EXPECT_TRUE(other.has_value());
    };
    quoit::run(main());
    EXPECT_EQ(ended, 1);
}

TEST(task_group, IsCancelledByALaterJoinerWhenTheFirstIsGone) {
    int ended = 0;
    const auto main = [&]() -> task<> {
        quoit::task_group group;
        group.spawn(sleep_and_count(ended));
        const auto join = [&]() -> task<> { co_await group.join(); };
        std::optional<quoit::task_group> first(std::in_place);
        first->spawn(join());
        co_await quoit::sleep(0ns);
        auto later = quoit::spawn(join());
        co_await quoit::sleep(0ns);
        first.reset();
        EXPECT_EQ(ended, 0);
        later.cancel();
        const auto outcome = co_await later.join({.timeout = 2s});
        EXPECT_TRUE(outcome.has_value());
        EXPECT_EQ(ended, 1);
    };
    quoit::run(main());
}

TEST(task_group_death, DroppingATaskFromInsideAbortsWithWords) {
    const auto main = []() -> task<> {
        auto group = std::make_unique<quoit::task_group>();
        group->spawn([&]() -> task<> {
            group.reset();
            co_return;
        });
        co_await quoit::sleep(0ns);
        co_await quoit::sleep(0ns);
    };
    EXPECT_DEATH(quoit::run(main()), "dropped by code that runs inside it");
}

}  // namespace
