// SPDX-License-Identifier: MIT
#include <quoit/quoit.hpp>

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using quoit::errc;
using quoit::task;

template <class Body>
void run(Body body) {
    quoit::run(body());
}

// A server, and a client connected to it.
struct pair {
    quoit::udp_server server;
    quoit::udp_client client;
    pair(quoit::udp_server s, quoit::udp_client c) noexcept
        : server(std::move(s)), client(std::move(c)) {}
    pair(pair&&) noexcept = default;
};
task<pair> open_pair(quoit::udp_options options = {}) {
    auto server = or_throw(co_await quoit::start_udp_server({"127.0.0.1", 0}, options));
    auto client = or_throw(co_await quoit::open_udp_connection(server.local_address()));
    co_return pair(std::move(server), std::move(client));
}

// Turns the loop until `count` datagrams are queued; what has not come after a second is an error.
task<> wait_for_queued(quoit::udp_server& server, std::uint64_t count) {
    const auto give_up_at = std::chrono::steady_clock::now() + 1s;
    while (server.stats().received.taken < count) {
        if (std::chrono::steady_clock::now() > give_up_at) {
            ADD_FAILURE() << "the datagrams did not arrive";
            co_return;
        }
        co_await quoit::sleep(0ns);
    }
}

TEST(udp, FiveEchoesThenCloseThenWaitClosed) {
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        for (int i = 0; i < 5; ++i) {
            const std::string text = "number " + std::to_string(i);
            EXPECT_TRUE(client.send(text));
            auto request = or_throw(co_await server.read({.timeout = 2s}));
            EXPECT_EQ(request.text(), text);
            EXPECT_EQ(request.peer(), client.local_address());
            EXPECT_TRUE(server.reply(std::move(request)));
            auto reply = or_throw(co_await client.read({.timeout = 2s}));
            EXPECT_EQ(reply.text(), text);
        }
        server.close();
        server.close();
        EXPECT_TRUE(server.is_closing());
        const quoit::status closed = co_await server.wait_closed();
        EXPECT_TRUE(closed);
        const quoit::status again = co_await server.wait_closed();
        EXPECT_TRUE(again);
        EXPECT_EQ(server.stats().received.delivered, 5U);
        EXPECT_EQ(server.send("x"), errc::closed);
        EXPECT_EQ(server.sendto("x", client.local_address()), errc::closed);
    });
}

TEST(udp, ReadsThatWaitAreServedInOrder) {
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        std::vector<std::string> got(3);
        const auto reader = [&](std::size_t which) -> task<> {
            auto one = or_throw(co_await server.read({.timeout = 2s}));
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

// Runs three readers, queues two datagrams so that the first two readers hold a reservation, and
// then lets `disturb` loose on the first before any of them has run.
template <class Disturb>
void three_readers(Disturb disturb, const std::vector<std::string>& expected) {
    auto loop = or_throw(quoit::loop::create());
    std::optional<pair> both;
    std::vector<std::string> got(3);
    std::vector<quoit::task_handle<>> handles;
    std::optional<quoit::task_group> first_group;
    const auto reader = [&](std::size_t which) -> task<> {
        auto one = co_await both->server.read();
        got[which] = one ? one->to_string() : one.error().message();
    };
    const auto main = [&]() -> task<> {
        both.emplace(co_await open_pair());
        first_group.emplace();
        first_group->spawn(reader(0));
        for (std::size_t i = 1; i < 3; ++i)
            handles.push_back(quoit::spawn(reader(i)));
        co_await quoit::sleep(0ns);
        both->client.send("a");
        both->client.flush();
        both->client.send("b");
        both->client.flush();
        // A task that is ready before the readers: it runs in the turn that wakes them, and it is
        // the one that sees them with their reservations.
        const auto give_up_at = std::chrono::steady_clock::now() + 1s;
        while (both->server.stats().received.taken < 2) {
            if (std::chrono::steady_clock::now() > give_up_at) break;
            quoit::loop::current().post([&] {
                if (first_group && both->server.stats().received.taken >= 2)
                    disturb(*first_group, first_group);
            });
            co_await quoit::sleep(0ns);
        }
        EXPECT_EQ(both->server.stats().received.taken, 2U);
        for (int i = 0; i < 5; ++i)
            co_await quoit::sleep(0ns);
        both->server.close();
        for (auto& handle : handles) {
            const auto joined = co_await handle.join();
            EXPECT_TRUE(joined.has_value());
        }
        if (first_group) co_await first_group->join();
    };
    loop.run(main());
    EXPECT_EQ(got, expected);
    first_group.reset();
    both.reset();
}

TEST(reservations, PassToTheNextReaderWhenTheirHolderIsCancelled) {
    three_readers([](quoit::task_group& group, auto&) { group.cancel(); }, {"Canceled", "a", "b"});
}

TEST(reservations, PassToTheNextReaderWhenTheirHolderIsDestroyed) {
    three_readers([](quoit::task_group&, auto& holder) { holder.reset(); }, {"", "a", "b"});
}

TEST(reservations, TryReadTakesOnlyWhatNobodyWaitsFor) {
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
        const auto give_up_at = std::chrono::steady_clock::now() + 1s;
        while (!reader.is_done() && std::chrono::steady_clock::now() < give_up_at) {
            quoit::loop::current().post([&] {
                if (auto one = server.try_read()) stolen.push_back(one->to_string());
            });
            co_await quoit::sleep(0ns);
        }
        EXPECT_EQ(got, "for the reader");
        EXPECT_TRUE(stolen.empty());
    });
}

TEST(udp, CloseWakesEveryReadAndWhatWasQueuedStaysReadable) {
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
        co_await wait_for_queued(second, 2);
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

TEST(udp, AReadUnderCancellationAnswersItAndLeavesTheDatagram) {
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        client.send("stays");
        co_await wait_for_queued(server, 1);
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

TEST(udp, TimeoutsOfZeroOfATimeAndOfNonsense) {
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        const auto polled = co_await server.read({.timeout = 0s});
        EXPECT_EQ(polled.error(), errc::timed_out);
        const auto late = co_await server.read({.timeout = 1ms});
        EXPECT_EQ(late.error(), errc::timed_out);
        client.send("there");
        co_await wait_for_queued(server, 1);
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

TEST(udp, BatchesTakeWhatIsQueuedInOrder) {
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        for (int i = 0; i < 10; ++i)
            client.send(std::to_string(i));
        co_await wait_for_queued(server, 10);
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

TEST(udp, EmptyDatagramsAreDatagrams) {
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        for (int i = 0; i < 100; ++i)
            EXPECT_TRUE(client.send(""));
        EXPECT_TRUE(client.send_pieces({"f", "u", "", "ll"}));
        for (int i = 0; i < 100; ++i) {
            auto one = or_throw(co_await server.read({.timeout = 2s}));
            EXPECT_TRUE(one.is_empty());
            EXPECT_EQ(one.peer(), client.local_address());
        }
        auto last = or_throw(co_await server.read({.timeout = 2s}));
        EXPECT_EQ(last.text(), "full");
    });
}

TEST(udp, IterationEndsByItsBudgetAndByClose) {
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        for (int i = 0; i < 3; ++i)
            client.send("x");
        client.flush();
        int count = 0;
        auto budgeted = server.iterate({.budget = 20ms});
        while (auto one = co_await budgeted.next())
            ++count;
        EXPECT_EQ(count, 3);
        EXPECT_EQ(budgeted.ended(), errc::timed_out);
        const auto after = co_await budgeted.next();
        EXPECT_FALSE(after.has_value());

        client.send("y");
        co_await wait_for_queued(server, 4);
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

TEST(udp, ADeadPeerIsReportedByTheNextReadAndTheEndpointGoesOn) {
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        const quoit::address where = server.local_address();
        server = quoit::udp_server();
        client.send("nobody there");
        const auto refused = co_await client.read({.timeout = 2s});
        EXPECT_FALSE(refused.has_value());
        EXPECT_EQ(refused.error(), std::errc::connection_refused);
        server = or_throw(co_await quoit::start_udp_server(where));
        client.send("now");
        const auto heard = co_await server.read({.timeout = 2s});
        EXPECT_TRUE(heard.has_value());
    });
}

TEST(udp, HandlesMoveAndAnswerClosedAfterwards) {
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        quoit::udp_server moved = std::move(server);
        EXPECT_TRUE(server.is_closing());  // NOLINT(bugprone-use-after-move): what is tested
        const auto read = co_await server.read();
        EXPECT_EQ(read.error(), errc::closed);
        const auto batch = co_await server.read_batch();
        EXPECT_EQ(batch.error(), errc::closed);
        const auto tried = server.try_read();
        EXPECT_EQ(tried.error(), errc::closed);
        EXPECT_EQ(server.sendto("x", client.local_address()), errc::closed);
        EXPECT_EQ(server.set_broadcast(true), errc::closed);
        EXPECT_EQ(server.descriptor(), -1);
        EXPECT_EQ(server.stats().received.taken, 0U);
        EXPECT_TRUE(server.local_addresses().empty());
        const quoit::status closed = co_await server.wait_closed();
        EXPECT_TRUE(closed);
        const quoit::status drained = co_await server.drain();
        EXPECT_EQ(drained, errc::closed);
        auto iteration = server.iterate();
        const auto next = co_await iteration.next();
        EXPECT_FALSE(next.has_value());
        EXPECT_FALSE(moved.is_closing());
        client.send("still here");
        const auto heard = co_await moved.read({.timeout = 2s});
        EXPECT_TRUE(heard.has_value());
    });
}

TEST(udp, LeavingScopeFreesThePortAndWakesWhoWaits) {
    run([]() -> task<> {
        std::optional<quoit::udp_server> server(
            or_throw(co_await quoit::start_udp_server({"127.0.0.1", 0})));
        const quoit::address where = server->local_address();
        int woken = 0;
        quoit::task_group group;
        group.spawn([&]() -> task<> {
            const auto one = co_await server->read();
            if (!one && one.error() == errc::closed) ++woken;
        });
        group.spawn([&]() -> task<> {
            const quoit::status closed = co_await server->wait_closed();
            if (closed) ++woken;
        });
        co_await quoit::sleep(0ns);
        server.reset();
        co_await group.join();
        EXPECT_EQ(woken, 2);
        const auto again = co_await quoit::start_udp_server(where);
        EXPECT_TRUE(again.has_value());
    });
}

TEST(udp, ManyWaitForTheEndAndCancellingOneHarmsNoOther) {
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        int ended = 0;
        bool was_canceled = false;
        quoit::task_group group;
        for (int i = 0; i < 3; ++i) {
            group.spawn([&]() -> task<> {
                const quoit::status closed = co_await server.wait_closed();
                if (closed) ++ended;
            });
        }
        auto canceled = quoit::spawn([&]() -> task<> {
            const quoit::status closed = co_await server.wait_closed();
            was_canceled = closed == errc::canceled;
        });
        co_await quoit::sleep(0ns);
        canceled.cancel();
        co_await quoit::sleep(0ns);
        EXPECT_TRUE(was_canceled);
        server.close();
        co_await group.join();
        EXPECT_EQ(ended, 3);
    });
}

TEST(udp, AHandleClosesFromAnotherThreadAndAfterTheDeathOfEverything) {
    quoit::endpoint_handle handle;
    handle.close();
    run([&]() -> task<> {
        auto server = or_throw(co_await quoit::start_udp_server({"127.0.0.1", 0}));
        handle = server.handle();
        std::jthread other([handle] { handle.close(); });
        const auto one = co_await server.read();
        EXPECT_EQ(one.error(), errc::closed);
        other.join();
        server = quoit::udp_server();
        handle.abort();
        co_await quoit::sleep(0ns);
    });
    handle.close();
    handle.abort();
}

TEST(udp, AnEndpointMayOutliveItsLoopAndKeepsItsLedger) {
    quoit::udp_server server;
    run([&]() -> task<> {
        auto both = co_await open_pair();
        both.client.send("counted");
        auto one = or_throw(co_await both.server.read({.timeout = 2s}));
        server = std::move(both.server);
    });
    EXPECT_TRUE(server.is_closing());
    EXPECT_EQ(server.stats().received.delivered, 1U);
    EXPECT_EQ(server.sendto("x", {"127.0.0.1", 9}), errc::closed);
    EXPECT_EQ(server.try_read().error(), errc::closed);
    EXPECT_EQ(server.local_addresses().size(), 1U);
    server.close();
    server.abort();
}

TEST(udp, DrainDoesNotWaitBelowTheHighWaterMark) {
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        client.send("little");
        const quoit::status little = co_await client.drain();
        EXPECT_TRUE(little);
        const std::string kilobyte(1024, 'x');
        for (int i = 0; i < 200; ++i)
            client.send(kilobyte);
        const quoit::status drained = co_await client.drain();
        EXPECT_TRUE(drained);
    });
}

TEST(opening, SaysWhatWasOpenedAndWhyNot) {
    run([]() -> task<> {
        auto server = or_throw(co_await quoit::start_udp_server({"127.0.0.1", 0}));
        const auto used = co_await quoit::start_udp_server(server.local_address());
        EXPECT_FALSE(used.has_value());
        EXPECT_EQ(used.error(), std::errc::address_in_use);
        EXPECT_NE(used.error().message().find(server.local_address().to_string()),
                  std::string::npos)
            << used.error().message();
        server.sendto("the first one is unharmed", server.local_address());
        const auto own = co_await server.read({.timeout = 2s});
        EXPECT_TRUE(own.has_value());
    });
}

TEST(opening, RefusesNamesPortsAndNothingWithoutALookup) {
    run([]() -> task<> {
        const auto name = co_await quoit::start_udp_server({"example.com", 9999});
        EXPECT_EQ(name.error(), errc::invalid_address);
        EXPECT_NE(name.error().message().find("later version"), std::string::npos);
        const auto client = co_await quoit::open_udp_connection({"example.com", 9999});
        EXPECT_EQ(client.error(), errc::invalid_address);
        const auto port = co_await quoit::start_udp_server({"127.0.0.1", 65'536});
        EXPECT_EQ(port.error(), errc::invalid_option);
        const auto everywhere = co_await quoit::start_udp_server({"", -1});
        EXPECT_EQ(everywhere.error(), errc::invalid_option);
        const auto nobody = co_await quoit::open_udp_connection({"", 9});
        EXPECT_EQ(nobody.error(), errc::invalid_address);
        const auto none = co_await quoit::start_udp_server(std::span<const quoit::host_port>());
        EXPECT_EQ(none.error(), errc::invalid_option);
    });
}

TEST(opening, SeveralRefusalsAreOneErrorWithACauseForEach) {
    run([]() -> task<> {
        const std::array<quoit::host_port, 3> where{quoit::host_port("one.example", 1),
                                                    quoit::host_port("127.0.0.1", 0),
                                                    quoit::host_port("two.example", 2)};
        const auto outcome = co_await quoit::start_udp_server(where);
        EXPECT_FALSE(outcome.has_value());
        EXPECT_EQ(outcome.error().causes().size(), 2U);
    });
}

TEST(opening, EveryInterfaceAndANameThatDiesBeforeTheAwait) {
    run([]() -> task<> {
        auto opening = quoit::start_udp_server({std::string("127.0.0.1"), 0});
        auto server = or_throw(co_await std::move(opening));
        EXPECT_NE(server.local_address().port(), 0);
        auto everywhere = or_throw(co_await quoit::start_udp_server({"", 0}));
        EXPECT_NE(everywhere.local_address().port(), 0);
    });
}

TEST(udp, DestroyingFramesThatAreSuspendedInEveryKindOfAwaitIsSafe) {
    auto loop = or_throw(quoit::loop::create());
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        quoit::future<int> value;
        auto other = quoit::spawn([]() -> task<> { co_await quoit::sleep({}); });
        quoit::task_group joined;
        joined.spawn([]() -> task<> { co_await quoit::sleep({}); });
        auto iteration = server.iterate({.budget = 1h});
        {
            quoit::task_group group;
            group.spawn([&]() -> task<> { co_await quoit::sleep(1h); });
            group.spawn([&]() -> task<> { static_cast<void>(co_await server.read()); });
            group.spawn(
                [&]() -> task<> { static_cast<void>(co_await server.read({.timeout = 1h})); });
            group.spawn([&]() -> task<> { static_cast<void>(co_await server.read_batch()); });
            group.spawn([&]() -> task<> { static_cast<void>(co_await iteration.next()); });
            group.spawn([&]() -> task<> { co_await server.wait_closed(); });
            group.spawn([&]() -> task<> { static_cast<void>(co_await value.wait()); });
            group.spawn([&]() -> task<> { static_cast<void>(co_await other.join()); });
            group.spawn([&]() -> task<> { co_await joined.join(); });
            group.spawn([&]() -> task<> {
                const auto inner = [&]() -> task<> { static_cast<void>(co_await server.read()); };
                static_cast<void>(co_await quoit::with_timeout(inner(), 1h));
            });
            group.spawn(
                [&]() -> task<> { static_cast<void>(co_await quoit::wait_for_signal(10)); });
            group.spawn([]() -> task<> { co_return; });
            co_await quoit::sleep(0ns);
            EXPECT_EQ(group.size(), 11U);
            group.spawn([&]() -> task<> { co_await quoit::sleep({}); });  // never started
        }
        // What they waited for still works.
        client.send("x");
        const auto one = co_await server.read({.timeout = 2s});
        EXPECT_TRUE(one.has_value());
        value.set_value(1);
        joined.cancel();
        co_await joined.join();
    });
}

}  // namespace
