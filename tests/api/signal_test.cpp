// SPDX-License-Identifier: MIT
#include <quoit/quoit.hpp>

#include <gtest/gtest.h>

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using quoit::errc;
using quoit::task;

int seen_before = 0;
extern "C" void previous_handler(int signal) { seen_before = signal; }

TEST(signals, TheHandlerRunsOnTheLoopsThreadInTheNextTurn) {
    auto loop = or_throw(quoit::loop::create());
    std::vector<int> seen;
    std::thread::id where;
    auto subscription = or_throw(quoit::on_signal(loop, SIGUSR1, [&](int signal) {
        seen.push_back(signal);
        where = std::this_thread::get_id();
    }));
    std::jthread([] { std::raise(SIGUSR1); }).join();
    EXPECT_TRUE(seen.empty());
    loop.poll();
    EXPECT_EQ(seen, std::vector{SIGUSR1});
    EXPECT_EQ(where, std::this_thread::get_id());
}

TEST(signals, WaitForSignalGivesTheOneThatArrived) {
    const auto main = []() -> task<int> {
        quoit::spawn([]() -> task<> {
            std::raise(SIGUSR2);
            co_return;
        });
        const int signal = or_throw(co_await quoit::wait_for_signal(SIGUSR1, SIGUSR2));
        co_return signal;
    };
    EXPECT_EQ(quoit::run(main()), SIGUSR2);
}

TEST(signals, WaitForSignalCanBeCancelledAndRefusesWhatIsNone) {
    const auto main = []() -> task<> {
        auto outcome = co_await quoit::with_timeout(quoit::wait_for_signal(SIGUSR1), 0ns);
        EXPECT_FALSE(outcome.has_value());
        const auto wrong = co_await quoit::wait_for_signal(0);
        EXPECT_FALSE(wrong.has_value());
        if (!wrong) {
            EXPECT_EQ(wrong.error(), errc::invalid_option);
        }
        const auto kill = co_await quoit::wait_for_signal(SIGUSR1, SIGKILL);
        EXPECT_FALSE(kill.has_value());
        if (!kill) {
            EXPECT_EQ(kill.error(), std::errc::invalid_argument);
        }
    };
    quoit::run(main());
}

TEST(signals, ThePreviousDispositionComesBackWithTheLastSubscription) {
    std::signal(SIGUSR1, previous_handler);
    seen_before = 0;
    auto loop = or_throw(quoit::loop::create());
    int count = 0;
    std::optional first = or_throw(quoit::on_signal(loop, SIGUSR1, [&](int) { ++count; }));
    auto second = or_throw(quoit::on_signal(loop, SIGUSR1, [&](int) { ++count; }));
    std::raise(SIGUSR1);
    loop.poll();
    EXPECT_EQ(count, 2);
    first.reset();
    std::raise(SIGUSR1);
    loop.poll();
    EXPECT_EQ(count, 3);
    EXPECT_EQ(seen_before, 0);
    second.cancel();
    std::raise(SIGUSR1);
    EXPECT_EQ(seen_before, SIGUSR1);
    std::signal(SIGUSR1, SIG_DFL);
}

TEST(signals, OneThatCameForAnEarlierSubscriptionIsNotForALaterOne) {
    auto loop = or_throw(quoit::loop::create());
    int early = 0;
    int late = 0;
    auto first = or_throw(quoit::on_signal(loop, SIGUSR1, [&](int) { ++early; }));
    auto other = or_throw(quoit::on_signal(loop, SIGUSR2, [&](int) { ++early; }));
    std::raise(SIGUSR1);
    std::raise(SIGUSR2);
    first.cancel();
    auto second = or_throw(quoit::on_signal(loop, SIGUSR1, [&](int) { ++late; }));
    loop.poll();
    EXPECT_EQ(early, 1) << "of the other signal, which is still subscribed to";
    EXPECT_EQ(late, 0);
    std::raise(SIGUSR1);
    loop.poll();
    EXPECT_EQ(late, 1);
}

TEST(signals, AnEmptyHandlerIsRefused) {
    auto loop = or_throw(quoit::loop::create());
    const auto refused = quoit::on_signal(loop, SIGUSR1, {});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error(), errc::invalid_option);
    EXPECT_TRUE(quoit::on_signal(loop, SIGUSR1, [](int) {}).has_value()) << "nothing was changed";
}

TEST(signals, BelongToOneLoopAtATime) {
    auto a = or_throw(quoit::loop::create());
    auto b = or_throw(quoit::loop::create());
    auto held = or_throw(quoit::on_signal(a, SIGUSR1, [](int) {}));
    const auto refused = quoit::on_signal(b, SIGUSR1, [](int) {});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error(), errc::already_running);
    held.cancel();
    EXPECT_TRUE(quoit::on_signal(b, SIGUSR1, [](int) {}).has_value());
}

TEST(signals, AHandlerMayEndItsOwnSubscription) {
    auto loop = or_throw(quoit::loop::create());
    quoit::signal_subscription subscription;
    int count = 0;
    subscription = or_throw(quoit::on_signal(loop, SIGUSR1, [&](int) {
        ++count;
        subscription.cancel();
    }));
    std::raise(SIGUSR1);
    loop.poll();
    EXPECT_EQ(count, 1);
    EXPECT_FALSE(subscription.is_active());
}

TEST(signals, ASubscriptionMayOutliveItsLoop) {
    quoit::signal_subscription subscription;
    {
        auto loop = or_throw(quoit::loop::create());
        subscription = or_throw(quoit::on_signal(loop, SIGUSR1, [](int) {}));
    }
    std::signal(SIGUSR1, SIG_IGN);
    std::raise(SIGUSR1);
    std::signal(SIGUSR1, SIG_DFL);
}

TEST(signals, ArriveOnAnyThreadWhileSubscriptionsComeAndGo) {
    std::signal(SIGUSR1, SIG_IGN);
    auto loop = or_throw(quoit::loop::create());
    std::atomic<bool> is_over{false};
    {
        std::jthread sender([&] {
            while (!is_over)
                std::raise(SIGUSR1);
        });
        for (int i = 0; i < 200; ++i) {
            auto subscription = or_throw(quoit::on_signal(loop, SIGUSR1, [](int) {}));
            loop.poll();
        }
        is_over = true;
    }
    std::signal(SIGUSR1, SIG_DFL);
}

// How the child ended: the number of the signal it died of; -1 for its own exit(0), -2 for another.
int end_of(pid_t child) {
    int how = 0;
    EXPECT_EQ(::waitpid(child, &how, 0), child);
    if (WIFSIGNALED(how)) return WTERMSIG(how);
    return WEXITSTATUS(how) == 0 ? -1 : -2;
}

TEST(signals_fork, AChildDiesOfWhatItsParentSubscribedTo) {
    auto loop = or_throw(quoit::loop::create());
    int count = 0;
    auto subscription = or_throw(quoit::on_signal(loop, SIGTERM, [&](int) { ++count; }));
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        ::alarm(10);  // if it does not die of the other
        for (;;)
            ::pause();
    }
    // At once: it is not lost on the way either.
    EXPECT_EQ(::kill(child, SIGTERM), 0);
    EXPECT_EQ(end_of(child), SIGTERM);
    std::raise(SIGTERM);
    loop.poll();
    EXPECT_EQ(count, 1) << "nothing has changed for the parent";
}

TEST(signals_fork, AChildHasThePreviousDispositionAndMayChangeIt) {
    std::signal(SIGUSR1, previous_handler);
    seen_before = 0;
    auto loop = or_throw(quoit::loop::create());
    auto subscription = or_throw(quoit::on_signal(loop, SIGUSR1, [](int) {}));
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        ::alarm(10);
        std::raise(SIGUSR1);
        if (seen_before != SIGUSR1) ::_exit(1);
        std::signal(SIGUSR1, SIG_IGN);
        subscription.cancel();  // ended with the fork: restores nothing
        std::raise(SIGUSR1);
        ::_exit(std::signal(SIGUSR1, SIG_DFL) == SIG_IGN ? 0 : 1);
    }
    EXPECT_EQ(end_of(child), -1);
    subscription.cancel();
    std::signal(SIGUSR1, SIG_DFL);
}

TEST(signals_fork, AChildEndsSubscriptionsThoughTheHandlerRanOnAnotherThread) {
    std::signal(SIGUSR1, SIG_IGN);
    auto loop = or_throw(quoit::loop::create());
    auto subscription = or_throw(quoit::on_signal(loop, SIGUSR1, [](int) {}));
    std::atomic<bool> is_over{false};
    std::jthread sender([&] {
        while (!is_over)
            std::raise(SIGUSR1);
    });
    int failed = 0;
    for (int i = 0; i < 500 && failed == 0; ++i) {
        const pid_t child = ::fork();
        if (child == 0) {
            ::alarm(10);  // a child that waits for a thread it does not have dies of this
            subscription.cancel();
            // A loop of the parent's cannot run here, but it can be subscribed to.
            auto own = quoit::on_signal(loop, SIGUSR2, [](int) {});
            if (own) own->cancel();
            ::_exit(own.has_value() ? 0 : 1);
        }
        if (child < 0 || end_of(child) != -1) ++failed;
        loop.poll();
    }
    EXPECT_EQ(failed, 0);
    is_over = true;
    sender.join();
    subscription.cancel();
    std::signal(SIGUSR1, SIG_DFL);
}

}  // namespace
