// SPDX-License-Identifier: MIT
//
// Reads: who is served when, with what, and what ends them.
#include "api/udp_fixture.hpp"

#include <chrono>
#include <cmath>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace quoit::test {

namespace {

using namespace std::chrono_literals;

class udp_reading : public udp_case {};

class reservations : public udp_case {
  protected:
    using disturbance = std::function<void(std::optional<task_group>& first)>;

    /// Three readers wait, then two datagrams come, so that two readers hold a reservation; then
    /// `disturb` is let loose on the group of the first before any of them has run.
    void three_readers(const disturbance& disturb, const std::vector<std::string>& expected) {
        const auto give_up_at = std::chrono::steady_clock::now() + patience;
        while (!was_disturbed_ && std::chrono::steady_clock::now() < give_up_at)
            acceptance::run(try_to_disturb(disturb));
        if (!was_disturbed_) GTEST_SKIP() << "no turn of the loop delivered both datagrams";
        EXPECT_EQ(got_, expected);
    }

  private:
    /// Without effect if the datagrams come in different turns: then the first reader runs before
    /// the second one is woken. Nothing can forbid that to a worker, or to the kernel.
    task<> try_to_disturb(const disturbance& disturb) {
        auto [server, client] = co_await open_pair();
        got_.assign(3, "");
        const auto reader = [&](std::size_t which) -> task<> {
            auto one = co_await server.read();
            got_[which] = one ? one->to_string() : one.error().message();
        };
        task_group others;
        std::optional<task_group> first(std::in_place);
        first->spawn(reader(0));
        others.spawn(reader(1));
        others.spawn(reader(2));
        or_throw(co_await next_turn());
        client.send("a");
        client.flush();
        client.send("b");
        client.flush();
        const give_up_time limit;
        // So that a worker, which needs no turn of the loop for it, has both before the next one.
        while (has_workers() && server.stats().received.taken < 2) {
            limit.check("a worker");
            std::this_thread::yield();
        }
        while (server.stats().received.passed < 2) {
            limit.check("two datagrams");
            // A letter sees the turn's readers between their being woken and their running.
            loop::current().post([&] {
                if (server.stats().received.passed < 2 || !got_[0].empty()) return;
                was_disturbed_ = true;
                disturb(first);
            });
            or_throw(co_await next_turn());
        }
        if (was_disturbed_) co_await others.join();
        // Otherwise one reader still waits; it is dropped with its group.
    }

    std::vector<std::string> got_;
    bool was_disturbed_ = false;
};

TEST_P(reservations, PassToTheNextReaderWhenTheirHolderIsCancelled) {
    three_readers([](std::optional<task_group>& first) { first->cancel(); },
                  {"Canceled", "a", "b"});
}

TEST_P(reservations, PassToTheNextReaderWhenTheirHolderIsDestroyed) {
    three_readers([](std::optional<task_group>& first) { first.reset(); }, {"", "a", "b"});
}

TEST_P(reservations, TryReadTakesOnlyWhatNobodyWaitsFor) {
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        std::string got;
        auto reader = quoit::spawn([&]() -> task<> {
            auto one = or_throw(co_await server.read());
            got = one.to_string();
        });
        co_await quoit::sleep(0ns);
        client.send("for the reader");
        std::vector<std::string> stolen;
        const give_up_time limit;
        while (!reader.is_done()) {
            limit.check("the reader");
            quoit::loop::current().post([&] {
                if (auto one = server.try_read()) stolen.push_back(one->to_string());
            });
            co_await quoit::sleep(0ns);
        }
        EXPECT_EQ(got, "for the reader");
        EXPECT_TRUE(stolen.empty());
    });
}

TEST_P(udp_reading, ReadsThatWaitAreServedInOrder) {
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        std::vector<std::string> got(3);
        const auto reader = [&](std::size_t which) -> task<> {
            auto one = or_throw(co_await server.read(patiently));
            got[which] = one.to_string();
        };
        quoit::task_group group;
        for (std::size_t i = 0; i < 3; ++i)
            group.spawn(reader(i));
        co_await quoit::sleep(0ns);
        client.send("a");
        client.send("b");
        client.send("c");
        co_await group.join();
        EXPECT_EQ(got, (std::vector<std::string>{"a", "b", "c"}));
    });
}

TEST_P(udp_reading, CloseWakesEveryReadAndWhatWasQueuedStaysReadable) {
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        int closed = 0;
        const auto reader = [&]() -> task<> {
            const auto one = co_await server.read();
            if (!one && one.error() == errc::closed) ++closed;
        };
        const auto batch_reader = [&]() -> task<> {
            const auto batch = co_await server.read_batch();
            if (!batch && batch.error() == errc::closed) ++closed;
        };
        quoit::task_group group;
        group.spawn(reader());
        group.spawn(batch_reader());
        group.spawn(reader());
        co_await quoit::sleep(0ns);
        server.close();
        co_await group.join();
        EXPECT_EQ(closed, 3);

        auto [second, sender] = co_await open_pair();
        sender.send("1");
        sender.send("2");
        co_await wait_until_passed(second, 2);
        second.close();
        const auto first_read = co_await second.read();
        EXPECT_TRUE(first_read.has_value());
        const auto last_read = second.try_read();
        EXPECT_TRUE(last_read.has_value());
        const auto end = co_await second.read({.timeout = 0s});
        EXPECT_FALSE(end.has_value());
        EXPECT_EQ(end.error(), errc::closed);
        const auto try_end = second.try_read();
        EXPECT_EQ(try_end.error(), errc::closed);
    });
}

TEST_P(udp_reading, AReadUnderCancellationAnswersItAndLeavesTheDatagram) {
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        client.send("stays");
        co_await wait_until_passed(server, 1);
        bool was_canceled = false;
        auto reader = quoit::spawn([&]() -> task<> {
            const auto one = co_await server.read();
            was_canceled = !one && one.error() == errc::canceled;
        });
        reader.cancel();
        const auto joined = co_await reader.join();
        EXPECT_TRUE(joined.has_value());
        EXPECT_TRUE(was_canceled);
        const auto there = server.try_read();
        EXPECT_TRUE(there.has_value());
    });
}

TEST_P(udp_reading, TimeoutsOfZeroOfATimeAndOfNonsense) {
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        const auto polled = co_await server.read({.timeout = 0s});
        EXPECT_EQ(polled.error(), errc::timed_out);
        const auto late = co_await server.read({.timeout = 1ms});
        EXPECT_EQ(late.error(), errc::timed_out);
        client.send("there");
        co_await wait_until_passed(server, 1);
        const auto negative = co_await server.read({.timeout = -1s});
        EXPECT_EQ(negative.error(), errc::invalid_option);
        const auto no_number =
            co_await server.read({.timeout = std::chrono::duration<double>(std::nan(""))});
        EXPECT_EQ(no_number.error(), errc::invalid_option);
        const auto too_many = co_await server.read_batch({.size_max = 65'537});
        EXPECT_EQ(too_many.error(), errc::invalid_option);
        const auto none = co_await server.read_batch({.size_max = 0});
        EXPECT_EQ(none.error(), errc::invalid_option);
        const auto none_either = server.try_read_batch(0);
        EXPECT_EQ(none_either.error(), errc::invalid_option);
        const auto read = co_await server.read({.timeout = 0s});
        EXPECT_TRUE(read.has_value());
    });
}

TEST_P(udp_reading, BatchesTakeWhatIsQueuedInOrder) {
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        for (int i = 0; i < 10; ++i)
            client.send(std::to_string(i));
        co_await wait_until_passed(server, 10);
        auto first = or_throw(co_await server.read_batch({.size_max = 4}));
        EXPECT_EQ(first.size(), 4U);
        auto rest = or_throw(server.try_read_batch());
        EXPECT_EQ(rest.size(), 6U);
        std::string all;
        for (const auto& one : first)
            all += one.text();
        for (const auto& one : rest)
            all += one.text();
        EXPECT_EQ(all, "0123456789");
        const auto empty = server.try_read_batch();
        EXPECT_EQ(empty.error(), errc::would_block);
    });
}

TEST_P(udp_reading, EmptyDatagramsAreDatagrams) {
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        for (int i = 0; i < 100; ++i)
            EXPECT_TRUE(client.send(""));
        EXPECT_TRUE(client.send_pieces({"f", "u", "", "ll"}));
        for (int i = 0; i < 100; ++i) {
            auto one = or_throw(co_await server.read(patiently));
            EXPECT_TRUE(one.is_empty());
            EXPECT_EQ(one.peer(), client.local_address());
        }
        auto last = or_throw(co_await server.read(patiently));
        EXPECT_EQ(last.text(), "full");
    });
}

TEST_P(udp_reading, IterationEndsByItsBudgetAndByClose) {
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        for (int i = 0; i < 3; ++i)
            client.send("x");
        co_await wait_until_passed(server, 3);
        int count = 0;
        auto budgeted = server.iterate({.budget = 20ms});
        while (auto one = co_await budgeted.next())
            ++count;
        EXPECT_EQ(count, 3);
        EXPECT_EQ(budgeted.ended(), errc::timed_out);
        const auto after = co_await budgeted.next();
        EXPECT_FALSE(after.has_value());

        client.send("y");
        co_await wait_until_passed(server, 4);
        auto drained = server.iterate({.budget = 0s});
        while (auto one = co_await drained.next())
            ++count;
        EXPECT_EQ(count, 4);

        auto invalid = server.iterate({.budget = -1s});
        const auto none = co_await invalid.next();
        EXPECT_FALSE(none.has_value());
        EXPECT_EQ(invalid.ended(), errc::invalid_option);

        auto unlimited = server.iterate();
        quoit::loop::current().post([&] { server.close(); });
        while (auto one = co_await unlimited.next())
            ++count;
        EXPECT_EQ(count, 4);
        EXPECT_EQ(unlimited.ended(), errc::closed);
    });
}

INSTANTIATE_TEST_SUITE_P(, udp_reading, ::testing::ValuesIn(acceptance_settings()), setting_name);
INSTANTIATE_TEST_SUITE_P(, reservations, ::testing::ValuesIn(acceptance_settings()), setting_name);

}  // namespace

}  // namespace quoit::test
