// SPDX-License-Identifier: MIT
#include "api/udp_fixture.hpp"

#include <array>
#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>

namespace quoit::test {

namespace {

using namespace std::chrono_literals;

class udp : public udp_case {};
class opening : public udp_case {};

TEST_P(udp, FiveEchoesThenCloseThenWaitClosed) {
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        for (int i = 0; i < 5; ++i) {
            const std::string text = "number " + std::to_string(i);
            EXPECT_TRUE(client.send(text));
            auto request = or_throw(co_await server.read(patiently));
            EXPECT_EQ(request.text(), text);
            EXPECT_EQ(request.peer(), client.local_address());
            EXPECT_TRUE(server.reply(std::move(request)));
            auto reply = or_throw(co_await client.read(patiently));
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

TEST_P(udp, ADeadPeerIsReportedByTheNextReadAndTheEndpointGoesOn) {
    run([]() -> task<> {
        auto [server, client] = co_await open_pair();
        const quoit::address where = server.local_address();
        server = quoit::udp_server();
        client.send("nobody there");
        const auto refused = co_await client.read(patiently);
        EXPECT_FALSE(refused.has_value());
        EXPECT_EQ(refused.error(), std::errc::connection_refused);
        server = or_throw(co_await quoit::start_udp_server(where));
        client.send("now");
        const auto heard = co_await server.read(patiently);
        EXPECT_TRUE(heard.has_value());
    });
}

TEST_P(udp, HandlesMoveAndAnswerClosedAfterwards) {
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
        EXPECT_FALSE(server.broadcast());
        EXPECT_EQ(server.buffers().receive.granted, 0U);
        server.flush();
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
        const auto heard = co_await moved.read(patiently);
        EXPECT_TRUE(heard.has_value());
    });
}

TEST_P(udp, LeavingScopeFreesThePortAndWakesWhoWaits) {
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

TEST_P(udp, ManyWaitForTheEndAndCancellingOneHarmsNoOther) {
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

TEST_P(udp, AHandleClosesFromAnotherThreadAndAfterTheDeathOfEverything) {
    quoit::endpoint_handle handle;
    handle.close();
    const auto main = [&]() -> task<> {
        auto server = or_throw(co_await quoit::start_udp_server({"127.0.0.1", 0}));
        handle = server.handle();
        std::jthread other([handle] { handle.close(); });
        const auto one = co_await server.read();
        EXPECT_EQ(one.error(), errc::closed);
        other.join();
        server = quoit::udp_server();
        handle.abort();
        co_await quoit::sleep(0ns);
    };
    {
        auto dies = or_throw(make_loop());
        run_case(dies, main());
    }
    handle.close();
    handle.abort();
}

TEST_P(udp, AnEndpointMayOutliveItsLoopAndKeepsItsLedger) {
    quoit::udp_server server;
    const auto main = [&]() -> task<> {
        auto both = co_await open_pair();
        both.client.send("counted");
        auto one = or_throw(co_await both.server.read(patiently));
        server = std::move(both.server);
    };
    {
        auto dies = or_throw(make_loop());
        run_case(dies, main());
    }
    EXPECT_TRUE(server.is_closing());
    EXPECT_EQ(server.stats().received.delivered, 1U);
    EXPECT_EQ(server.sendto("x", {"127.0.0.1", 9}), errc::closed);
    EXPECT_EQ(server.try_read().error(), errc::closed);
    EXPECT_EQ(server.local_addresses().size(), 1U);
    EXPECT_EQ(server.descriptor(), -1);
    EXPECT_EQ(server.buffers().send.granted, 0U);
    server.flush();
    server.close();
    server.abort();
}

TEST_P(udp, DrainDoesNotWaitBelowTheHighWaterMark) {
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

TEST_P(udp, DestroyingFramesThatAreSuspendedInEveryKindOfAwaitIsSafe) {
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
        const auto one = co_await server.read(patiently);
        EXPECT_TRUE(one.has_value());
        value.set_value(1);
        joined.cancel();
        co_await joined.join();
    });
}

TEST_P(opening, SaysWhatWasOpenedAndWhyNot) {
    run([]() -> task<> {
        auto server = or_throw(co_await quoit::start_udp_server({"127.0.0.1", 0}));
        const auto used = co_await quoit::start_udp_server(server.local_address());
        EXPECT_FALSE(used.has_value());
        EXPECT_EQ(used.error(), std::errc::address_in_use);
        EXPECT_NE(used.error().message().find(server.local_address().to_string()),
                  std::string::npos)
            << used.error().message();
        server.sendto("the first one is unharmed", server.local_address());
        const auto own = co_await server.read(patiently);
        EXPECT_TRUE(own.has_value());
    });
}

TEST_P(opening, RefusesWrongLiteralsPortsAndNothing) {
    run([]() -> task<> {
        const auto literal = co_await quoit::start_udp_server({"127.0.0.256", 9999});
        EXPECT_EQ(literal.error(), errc::invalid_address);
        const auto client = co_await quoit::open_udp_connection({"127.0.0.256", 9999});
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

TEST_P(opening, SeveralRefusalsAreOneErrorWithACauseForEach) {
    run([]() -> task<> {
        const std::array<quoit::host_port, 3> where{quoit::host_port("127.0.0.256", 1),
                                                    quoit::host_port("127.0.0.1", 0),
                                                    quoit::host_port("fe80::x", 2)};
        const auto outcome = co_await quoit::start_udp_server(where);
        EXPECT_FALSE(outcome.has_value());
        EXPECT_EQ(outcome.error().causes().size(), 2U);
    });
}

TEST_P(opening, EveryInterfaceAndANameThatDiesBeforeTheAwait) {
    run([]() -> task<> {
        auto later = quoit::start_udp_server({std::string("127.0.0.1"), 0});
        auto server = or_throw(co_await std::move(later));
        EXPECT_NE(server.local_address().port(), 0);
        auto everywhere = or_throw(co_await quoit::start_udp_server({"", 0}));
        EXPECT_NE(everywhere.local_address().port(), 0);
    });
}

INSTANTIATE_TEST_SUITE_P(, udp, ::testing::ValuesIn(acceptance_settings()), setting_name);
INSTANTIATE_TEST_SUITE_P(, opening, ::testing::ValuesIn(acceptance_settings()), setting_name);

}  // namespace

}  // namespace quoit::test
