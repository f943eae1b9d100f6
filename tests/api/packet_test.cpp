// SPDX-License-Identifier: MIT
//
// Packet servers, clients and protocols: what is theirs and not the engine's. T01 to T12 are in
// integration/acceptance_packets*_test.cpp.
#include "api/udp_fixture.hpp"

#include <quoit/quoit.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace quoit::test;
using quoit::errc;
using quoit::or_throw;
using quoit::task;
using kind = quoit::packet_event::kind;

// No aggregate: see docs/coroutines.md.
class packet_pair {
  public:
    packet_pair(quoit::packet_server s, quoit::packet_client c) noexcept
        : server(std::move(s)), client(std::move(c)) {}
    quoit::packet_server server;
    quoit::packet_client client;
};

// Connected, and the server has been told.
task<packet_pair> open_packet_pair(quoit::packet_options options = {}) {
    auto server = or_throw(co_await quoit::start_packet_server({"127.0.0.1", 0}, options));
    auto client = or_throw(co_await quoit::open_packet_connection(server.local_address()));
    const auto event = or_throw(co_await server.next());
    EXPECT_EQ(event.what, kind::connected);
    or_throw(co_await client.wait_connected());
    co_return packet_pair(std::move(server), std::move(client));
}

task<> append_next(quoit::packet_client& client, std::vector<std::string>& into) {
    const auto read = co_await client.read();
    into.push_back(read ? std::string(read->text()) : read.error().message());
}

class packets : public udp_case {
  protected:
    void TearDown() override {
        EXPECT_EQ(the_loop().packet_stats().unexplained(), 0U) << the_loop().packet_stats();
        udp_case::TearDown();
    }
};

// --- peers ---

TEST_P(packets, PeersAreComparedOrderedAndHashedByTheirConnection) {
    const auto body = [&]() -> task<> {
        auto server = or_throw(co_await quoit::start_packet_server({"127.0.0.1", 0}));
        auto one = or_throw(co_await quoit::open_packet_connection(server.local_address()));
        const auto first = or_throw(co_await server.next());
        auto other = or_throw(co_await quoit::open_packet_connection(server.local_address()));
        const auto second = or_throw(co_await server.next());
        EXPECT_EQ(first.peer, first.peer);
        EXPECT_NE(first.peer, second.peer);
        EXPECT_LT(first.peer, second.peer) << "in the order in which they connected";
        EXPECT_EQ(first.peer.remote(), one.local_address());
        const std::unordered_set<quoit::packet_peer> known{first.peer, second.peer, first.peer};
        EXPECT_EQ(known.size(), 2U);
        EXPECT_EQ(server.peers(), (std::vector{first.peer, second.peer}));
        const quoit::packet_peer nobody;
        EXPECT_FALSE(nobody.is_connected());
        EXPECT_LT(nobody, first.peer);
    };
    run(body);
}

TEST_P(packets, APeerIsConnectedUntilItsEndHasBeenHandedOut) {
    const auto body = [&]() -> task<> {
        auto pair = co_await open_packet_pair();
        const quoit::packet_peer peer = pair.server.peers().front();
        pair.client.write("the last");
        pair.client.close();
        const auto last = or_throw(co_await pair.server.next());
        EXPECT_EQ(last.what, kind::received);
        EXPECT_TRUE(peer.is_connected());
        const auto end = or_throw(co_await pair.server.next());
        EXPECT_EQ(end.what, kind::disconnected);
        EXPECT_EQ(end.reason, std::error_code());
        EXPECT_FALSE(peer.is_connected());
        EXPECT_EQ(pair.server.write("too late", peer), errc::closed);
        EXPECT_EQ(pair.server.peer_count(), 0U);
    };
    run(body);
}

TEST_P(packets, AReadThatWaitsPassesOverComingsAndGoings) {
    const auto body = [&]() -> task<> {
        auto server = or_throw(co_await quoit::start_packet_server({"127.0.0.1", 0}));
        const quoit::address where = server.local_address();
        const auto come_and_go = [where]() -> task<> {
            for (int i = 0; i < 3; ++i) {
                auto client = or_throw(co_await quoit::open_packet_connection(where));
                or_throw(co_await client.wait_connected());
                client.close();
                co_await client.wait_closed();
            }
            auto client = or_throw(co_await quoit::open_packet_connection(where));
            client.write("here");
            co_await client.read();
        };
        auto clients = quoit::spawn(come_and_go);
        const auto read = or_throw(co_await server.read());
        EXPECT_EQ(read.text(), "here");
        EXPECT_EQ(server.peers(), std::vector{read.peer()}) << "the others are forgotten";
        server.close();
        co_await clients.join();
    };
    run(body);
}

TEST_P(packets, APeerIsClosedFromAnotherThread) {
    const auto body = [&]() -> task<> {
        auto pair = co_await open_packet_pair();
        const quoit::packet_peer peer = pair.server.peers().front();
        std::jthread elsewhere([peer] { peer.close(); });
        const auto end = or_throw(co_await pair.server.next());
        EXPECT_EQ(end.what, kind::disconnected);
        EXPECT_EQ(end.peer, peer);
        EXPECT_EQ(end.reason, make_error_code(errc::closed));
        const auto read = co_await pair.client.read();
        EXPECT_TRUE(!read && read.error() == errc::end_of_stream);
    };
    run(body);
}

// --- reading ---

TEST_P(packets, PeersAreServedInTurnAndEachInOrder) {
    const auto body = [&]() -> task<> {
        auto server = or_throw(co_await quoit::start_packet_server({"127.0.0.1", 0}));
        auto loud = or_throw(co_await quoit::open_packet_connection(server.local_address()));
        for (int i = 0; i < 100; ++i)
            loud.write(std::to_string(i));
        const auto first = or_throw(co_await server.read());
        auto quiet = or_throw(co_await quoit::open_packet_connection(server.local_address()));
        quiet.write("quiet");
        while (server.stats().received.packets < 101)
            co_await quoit::sleep(0ns);
        int place = 0;
        int next = 1;
        for (int i = 0; i < 100; ++i) {
            const auto packet = or_throw(co_await server.read());
            if (packet.peer() == first.peer()) {
                EXPECT_EQ(packet.text(), std::to_string(next++));
            } else {
                place = i;
            }
        }
        EXPECT_LE(place, 1) << "not behind everything that the loud one has sent";
    };
    run(body);
}

TEST_P(packets, WhatACanceledReaderWasHandedGoesToTheNextOneInOrder) {
    const auto body = [&]() -> task<> {
        auto pair = co_await open_packet_pair();
        std::vector<std::string> read;
        quoit::task_handle<> second;
        // Woken together with the others, it cancels the second before that runs.
        const auto first = [&]() -> task<> {
            co_await append_next(pair.client, read);
            second.cancel();
        };
        auto a = quoit::spawn(first());
        second = quoit::spawn(append_next(pair.client, read));
        auto c = quoit::spawn(append_next(pair.client, read));
        co_await quoit::sleep(0ns);
        pair.server.write("1");
        pair.server.write("2");
        pair.server.write("3");
        co_await a.join();
        co_await c.join();
        co_await append_next(pair.client, read);
        const std::string canceled = quoit::error(errc::canceled).message();
        std::erase(read, canceled);
        EXPECT_EQ(read, (std::vector<std::string>{"1", "2", "3"}));
    };
    run(body);
}

TEST_P(packets, WhatWasReceivedStaysReadableAfterClose) {
    const auto body = [&]() -> task<> {
        auto pair = co_await open_packet_pair();
        pair.client.write("1");
        pair.client.write("2");
        while (pair.server.stats().received.packets < 2)
            co_await quoit::sleep(0ns);
        pair.server.close();
        EXPECT_TRUE(pair.server.is_closing());
        EXPECT_EQ(pair.server.write("no more"), errc::closed);
        const auto one = or_throw(co_await pair.server.read());
        EXPECT_EQ(one.text(), "1");
        const auto two = or_throw(co_await pair.server.next());
        EXPECT_EQ(two.received->text(), "2");
        const auto end = or_throw(co_await pair.server.next());
        EXPECT_EQ(end.what, kind::disconnected);
        EXPECT_EQ(end.reason, make_error_code(errc::closed));
        for (int i = 0; i < 2; ++i) {
            const auto none = co_await pair.server.next();
            EXPECT_TRUE(!none && none.error() == errc::closed);
        }
        const auto finished = co_await pair.client.read();
        EXPECT_TRUE(!finished && finished.error() == errc::end_of_stream);
        co_await pair.server.wait_closed();
        EXPECT_EQ(pair.server.stats().unexplained(), 0U);
    };
    run(body);
}

TEST_P(packets, ReadsAnswerAsOtherReadsDo) {
    const auto body = [&]() -> task<> {
        auto pair = co_await open_packet_pair();
        const auto poll = co_await pair.server.read({.timeout = 0s});
        EXPECT_TRUE(!poll && poll.error() == errc::timed_out);
        const auto late = co_await pair.client.read({.timeout = 1ms});
        EXPECT_TRUE(!late && late.error() == errc::timed_out);
        const auto nonsense = co_await pair.server.next({.timeout = -1s});
        EXPECT_TRUE(!nonsense && nonsense.error() == errc::invalid_option);
        const auto nothing = pair.server.try_read();
        EXPECT_TRUE(!nothing && nothing.error() == errc::would_block);
        quoit::packet_server moved = std::move(pair.server);
        const auto from_nobody = co_await pair.server.read();
        EXPECT_TRUE(!from_nobody && from_nobody.error() == errc::closed);
        EXPECT_EQ(pair.server.write("x"), errc::closed);
        or_throw(co_await pair.server.wait_closed());
    };
    run(body);
}

// --- writing ---

TEST_P(packets, APacketThatWasRefusedFitsWhenDrainReturns) {
    const auto body = [&]() -> task<> {
        quoit::packet_options options{.on_slow_peer = quoit::slow_peer::wait};
        options.write_queue_size_max = 100'000;
        options.send_buffer_size = 4096;
        auto pair = co_await open_packet_pair(options);
        const quoit::packet_peer peer = pair.server.peers().front();
        const std::string small(30'000, 's');
        std::size_t sent = 0;
        while (pair.server.write(small, peer))
            ++sent;
        std::size_t received = 0;
        const auto reading = [&]() -> task<> {
            while (co_await pair.client.read())
                ++received;
        };
        auto reader = quoit::spawn(reading());
        // With less than half of the queue waiting it still may find no room.
        const std::string large(70'000, 'l');
        for (int refused = 0; !pair.server.write(large, peer); ++refused) {
            if (refused == 1) {
                ADD_FAILURE() << "refused after drain()";
                break;
            }
            or_throw(co_await pair.server.drain(peer));
        }
        pair.server.close();
        co_await reader.join();
        EXPECT_EQ(received, sent + 1);
    };
    run(body);
}

TEST_P(packets, OfWritingToSeveralTheFirstFailureIsTold) {
    const auto body = [&]() -> task<> {
        auto pair = co_await open_packet_pair({.packet_size_max = 10});
        auto other = co_await open_packet_pair();
        const quoit::packet_peer here = pair.server.peers().front();
        const std::vector to{other.server.peers().front(), quoit::packet_peer(), here};
        EXPECT_EQ(pair.server.write("x", to), errc::closed) << "a peer of another server";
        const auto read = or_throw(co_await pair.client.read());
        EXPECT_EQ(read.text(), "x") << "and yet";
        EXPECT_EQ(pair.server.write("01234567890"), errc::message_too_long);
        pair.client.abort();
        or_throw(co_await pair.server.next());
        EXPECT_EQ(pair.server.write("01234567890"), errc::message_too_long) << "to nobody, too";
        EXPECT_TRUE(pair.server.write("x")) << "to nobody";
    };
    run(body);
}

// --- clients ---

TEST_P(packets, WhatIsWrittenBeforeTheConnectionIsBoundedAndCounted) {
    const auto body = [&]() -> task<> {
        auto server = or_throw(co_await quoit::start_packet_server({"127.0.0.1", 0}));
        auto client = or_throw(co_await quoit::open_packet_connection(
            server.local_address(), {.write_queue_size_max = 100}));
        const std::string body_of_40(40, 'x');
        EXPECT_TRUE(client.write(body_of_40));
        EXPECT_TRUE(client.write(body_of_40));
        EXPECT_EQ(client.write(body_of_40), errc::would_block);
        EXPECT_EQ(client.stats().sent.accepted, 2U);
        EXPECT_EQ(client.stats().sent.waiting, 2U);
        EXPECT_EQ(client.stats().sent.dropped_slow, 1U);
        EXPECT_EQ(client.stats().unexplained(), 0U);
        or_throw(co_await server.read());
        or_throw(co_await server.read());
        EXPECT_EQ(client.stats().sent.accepted, 2U);
        EXPECT_EQ(client.stats().sent.sent, 2U);
        EXPECT_EQ(client.stats().unexplained(), 0U);
    };
    run(body);
}

TEST_P(packets, AClientThatIsDroppedWhileItConnectsStillSendsWhatWasWritten) {
    const auto body = [&]() -> task<> {
        auto server = or_throw(co_await quoit::start_packet_server({"127.0.0.1", 0}));
        {
            auto client = or_throw(co_await quoit::open_packet_connection(server.local_address()));
            client.write("fire and forget");
        }
        const auto read = or_throw(co_await server.read());
        EXPECT_EQ(read.text(), "fire and forget");
        auto client = or_throw(co_await quoit::open_packet_connection(server.local_address()));
        client.write("and close");
        client.close();
        const auto none = co_await client.read();
        EXPECT_TRUE(!none && none.error() == errc::closed);
        EXPECT_EQ(client.write("too late"), errc::closed);
        const auto closed = or_throw(co_await server.read());
        EXPECT_EQ(closed.text(), "and close");
        const auto end = or_throw(co_await server.next());
        EXPECT_EQ(end.what, kind::disconnected);
        co_await client.wait_closed();
        EXPECT_EQ(client.stats().sent.sent, 1U);
        EXPECT_EQ(client.stats().unexplained(), 0U);
    };
    run(body);
}

TEST_P(packets, AnAnswerReachesAClientAlthoughTheServerIsDestroyed) {
    const auto body = [&]() -> task<> {
        auto pair = co_await open_packet_pair();
        pair.client.write("unread");
        while (pair.server.stats().received.packets < 1)
            co_await quoit::sleep(0ns);
        pair.server.write("the answer");
        pair.server = quoit::packet_server();
        const auto read = or_throw(co_await pair.client.read());
        EXPECT_EQ(read.text(), "the answer");
        const auto end = co_await pair.client.read();
        EXPECT_TRUE(!end && end.error() == errc::end_of_stream);
    };
    run(body);
}

TEST_P(packets, ATimeoutOfConnectingIsForAllAddressesTogether) {
    const auto body = [&]() -> task<> {
        // Nobody accepts: the queue of one is full, and the kernel drops what else comes.
        auto full = or_throw(
            co_await quoit::start_packet_server({"127.0.0.1", 0}, {.peers_max = 1, .backlog = 1}));
        std::vector<quoit::packet_client> waiting;
        for (int i = 0; i < 5; ++i) {
            waiting.push_back(
                or_throw(co_await quoit::open_packet_connection(full.local_address())));
        }
        auto late = or_throw(co_await quoit::open_packet_connection(full.local_address(),
                                                                    {.connect_timeout = 20ms}));
        const auto outcome = co_await late.wait_connected();
        EXPECT_EQ(outcome, errc::timed_out) << outcome.error().message();
        const auto read = co_await late.read();
        EXPECT_TRUE(!read && read.error() == errc::timed_out);
        EXPECT_EQ(late.stats().connections.failed, 1U);
        EXPECT_TRUE(late.is_closing());
    };
    run(body);
}

TEST_P(packets, AnIdleConnectionIsClosedAndOneThatSpeaksIsNot) {
    const auto body = [&]() -> task<> {
        auto pair = co_await open_packet_pair({.idle_timeout = 100ms});
        auto lively = or_throw(co_await quoit::open_packet_connection(pair.server.local_address()));
        bool is_over = false;
        const auto speak = [&]() -> task<> {
            while (!is_over) {
                lively.write("still here");
                co_await quoit::sleep(10ms);
            }
        };
        auto speaking = quoit::spawn(speak());
        for (;;) {
            const auto event = or_throw(co_await pair.server.next());
            if (event.what != kind::disconnected) continue;
            EXPECT_EQ(event.peer.remote(), pair.client.local_address());
            EXPECT_EQ(event.reason, make_error_code(errc::timed_out));
            break;
        }
        EXPECT_EQ(pair.server.stats().connections.timed_out, 1U);
        is_over = true;
        co_await speaking.join();
    };
    run(body);
}

// --- life ---

TEST_P(packets, HandlesOutliveTheirLoop) {
    quoit::packet_server server;
    quoit::packet_client client;
    quoit::packet_peer peer;
    const auto body = [&]() -> task<> {
        auto pair = co_await open_packet_pair();
        peer = pair.server.peers().front();
        pair.client.write("unread");
        while (pair.server.stats().received.packets < 1)
            co_await quoit::sleep(0ns);
        server = std::move(pair.server);
        client = std::move(pair.client);
    };
    {
        auto loop = or_throw(make_loop());
        loop.run(body());
    }
    EXPECT_TRUE(server.is_closing());
    EXPECT_EQ(server.write("x"), errc::closed);
    EXPECT_EQ(server.try_next().error(), errc::closed);
    EXPECT_EQ(server.stats().received.packets, 1U);
    EXPECT_EQ(server.stats().unexplained(), 0U);
    EXPECT_NE(server.local_address().port(), 0);
    EXPECT_EQ(client.write("x"), errc::closed);
    EXPECT_EQ(client.try_read().error(), errc::closed);
    EXPECT_FALSE(peer.is_connected());
    peer.close();
}

TEST_P(packets, EveryInterfaceHasOnePortNumber) {
    const auto body = [&]() -> task<> {
        auto server = or_throw(co_await quoit::start_packet_server({"", 0}));
        const auto all = server.local_addresses();
        EXPECT_GE(all.size(), 1U);
        for (const quoit::address& one : all)
            EXPECT_EQ(one.port(), all.front().port());
        auto client =
            or_throw(co_await quoit::open_packet_connection({"localhost", all.front().port()}));
        or_throw(co_await client.wait_connected());
    };
    run(body);
}

TEST_P(packets, OfSeveralAddressesAllAreBoundOrNone) {
    const auto body = [&]() -> task<> {
        auto taken = or_throw(co_await quoit::start_packet_server({"127.0.0.1", 0}));
        auto probe = or_throw(co_await quoit::start_packet_server({"127.0.0.1", 0}));
        const std::uint16_t free_port = probe.local_address().port();
        probe.close();
        co_await probe.wait_closed();
        const quoit::host_port hosts[] = {{"127.0.0.1", free_port},
                                          {"127.0.0.1", taken.local_address().port()}};
        const auto refused = co_await quoit::start_packet_server(hosts);
        EXPECT_TRUE(!refused && refused.error() == std::errc::address_in_use);
        auto again = co_await quoit::start_packet_server({"127.0.0.1", free_port});
        EXPECT_TRUE(again) << again.error().message();
    };
    run(body);
}

// --- callbacks ---

class recorder final : public quoit::packet_protocol {
  public:
    std::vector<std::string> heard;

    void started() override { heard.emplace_back("started"); }
    void connected(const quoit::packet_peer& peer) override {
        heard.emplace_back("connected");
        transport().write("welcome", peer);
    }
    void packet_received(quoit::packet& received) override {
        heard.emplace_back(received.text());
        if (received.text() == "throw") throw std::runtime_error("thrown");
        transport().write(received, received.peer());
    }
    void disconnected(const quoit::packet_peer& peer, std::error_code reason) override {
        EXPECT_FALSE(peer.is_connected());
        heard.push_back(reason ? "disconnected: " + reason.message() : "disconnected");
    }
    void stopped() override { heard.emplace_back("stopped"); }
};

TEST_P(packets, AProtocolIsToldEverythingInOrderAndOnce) {
    const auto protocol = std::make_shared<recorder>();
    const auto body = [&]() -> task<> {
        quoit::loop& loop = quoit::loop::current();
        auto port = or_throw(loop.listen_packets({"127.0.0.1", 0}, protocol));
        EXPECT_EQ(protocol->heard, std::vector<std::string>{"started"});
        const auto twice = loop.listen_packets({"127.0.0.1", 0}, protocol);
        EXPECT_TRUE(!twice && twice.error() == errc::already_running);
        {
            auto client = or_throw(co_await quoit::open_packet_connection(port.local_address()));
            client.write("throw");
            client.write("echo");
            const auto welcome = or_throw(co_await client.read());
            EXPECT_EQ(welcome.text(), "welcome");
            const auto echo = or_throw(co_await client.read());
            EXPECT_EQ(echo.text(), "echo");
            EXPECT_EQ(port.failure_count(), 1U);
            client.close();
            co_await client.wait_closed();
        }
        auto client = or_throw(co_await quoit::open_packet_connection(port.local_address()));
        or_throw(co_await client.read());
        port.close();
        const auto end = co_await client.read();
        EXPECT_TRUE(!end && end.error() == errc::end_of_stream);
        co_await port.wait_closed();
        while (protocol->heard.back() != "stopped")
            co_await quoit::sleep(0ns);
    };
    run(body);
    const std::string closed = "disconnected: " + make_error_code(errc::closed).message();
    EXPECT_EQ(protocol->heard,
              (std::vector<std::string>{"started", "connected", "throw", "echo", "disconnected",
                                        "connected", closed, "stopped"}));
}

INSTANTIATE_TEST_SUITE_P(, packets, ::testing::ValuesIn(acceptance_settings()), setting_name);

}  // namespace
