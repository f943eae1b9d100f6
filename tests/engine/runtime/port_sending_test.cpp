// SPDX-License-Identifier: MIT
//
// What quoit/port.hpp promises, on real sockets, whatever the port runs on: refusals, and sending:
// what is known at the call, flushing, sends that block.
#include "engine/runtime/port_test.hpp"

namespace quoit::test {
namespace {

// --- refusals ---

TEST_P(port_test, EveryRefusalIsReportedOnceAndTrafficFlowsWhenThePeerStarts) {
    start();
    const address peer = dead_address();
    const endpoint_id client = open_connection(peer);
    for (std::uint64_t i = 1; i <= 5; ++i) {
        EXPECT_TRUE(send(client, "anybody?"));
        ASSERT_TRUE(turn_until_readable(client, 1));
        const auto refused = port().receive(client);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error(), std::errc::connection_refused);
        EXPECT_EQ(port().receive(client).error(), errc::would_block);
        EXPECT_EQ(port().stats(client).received.refused, i);
    }
    turn_at_once();
    EXPECT_EQ(port().readable_count(client), 0U);
    const foreign_socket late(peer);
    EXPECT_TRUE(send(client, "now?"));
    port().flush();
    EXPECT_EQ(late.receive(), "now?");
    ASSERT_EQ(late.send("yes", local(client)), 0);
    ASSERT_TRUE(turn_until_readable(client, 1));
    EXPECT_EQ(read_all(client), (strings{"yes"}));
    EXPECT_EQ(port().stats(client).sent.errors, 0U);
    expect_balanced(client);
}

TEST_P(port_test, ARefusalKeepsItsPlaceAmongDatagrams) {
    start();
    foreign_socket peer;
    const address where = peer.local();
    const endpoint_id client = open_connection(where);
    ASSERT_EQ(peer.send("a", local(client)), 0);
    ASSERT_EQ(peer.send("b", local(client)), 0);
    peer.close();
    EXPECT_TRUE(send(client, "anybody?"));
    ASSERT_TRUE(turn_until_readable(client, 3));
    const foreign_socket next(where);
    ASSERT_EQ(next.send("c", local(client)), 0);
    ASSERT_TRUE(turn_until_readable(client, 4));

    datagram_batch batch;
    EXPECT_TRUE(port().receive_batch(client, 64, batch));
    EXPECT_EQ(batch.size(), 2U);
    EXPECT_EQ(port().receive_batch(client, 64, batch), std::errc::connection_refused);
    EXPECT_EQ(batch.size(), 2U);
    EXPECT_TRUE(port().receive_batch(client, 64, batch));
    EXPECT_EQ(batch.size(), 3U);
    EXPECT_EQ(port().receive_batch(client, 64, batch), errc::would_block);
}

TEST_P(port_test, ASendThatMeetsSomebodyElsesRefusalIsSentAgain) {
    start();
    foreign_socket peer;
    const address where = peer.local();
    peer.close();
    const endpoint_id client = open_connection(where);
    settle();
    EXPECT_TRUE(send(client, "refused"));
    port().flush();
    const foreign_socket late(where);
    for (const auto& text : numbers(20))
        EXPECT_TRUE(send(client, text));
    port().flush();
    for (const auto& text : numbers(20))
        EXPECT_EQ(late.receive(), text);
    ASSERT_TRUE(turn_until_readable(client, 1));
    EXPECT_EQ(port().receive(client).error(), std::errc::connection_refused);
    const stats ledger = port().stats(client);
    EXPECT_EQ(ledger.sent.sent, 21U);
    EXPECT_EQ(ledger.sent.errors, 0U);
    EXPECT_EQ(ledger.received.refused, 1U);
}

TEST_P(port_test, NoDatagramIsLostToRefusalsInTheMiddleOfABatch) {
    start();
    const endpoint_id client = open_connection(dead_address());
    for (const auto& text : numbers(200))
        EXPECT_TRUE(send(client, text));
    port().flush();
    ASSERT_TRUE(turn_until([&] { return port().readable_count(client) > 0; }, "a refusal"));
    turn_at_once();
    const stats ledger = port().stats(client);
    EXPECT_EQ(ledger.sent.sent, 200U) << ledger;
    EXPECT_EQ(ledger.sent.errors, 0U) << ledger;
    EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
    // Refusals that no call took in between have become one.
    EXPECT_EQ(port().readable_count(client), ledger.received.refused);
}

TEST_P(port_test, DeadPortsAreNoErrorOfAnUnconnectedEndpoint) {
    start();
    const endpoint_id server = open();
    for (int i = 0; i < 20; ++i)
        EXPECT_TRUE(sendto(server, "anybody?", dead_address()));
    port().flush();
    turn_at_once();
    EXPECT_EQ(port().readable_count(server), 0U);
    const foreign_socket client;
    ASSERT_EQ(client.send("alive", local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, 1));
    EXPECT_EQ(read_all(server), (strings{"alive"}));
    const stats ledger = port().stats(server);
    EXPECT_EQ(ledger.sent.sent, 20U);
    EXPECT_EQ(ledger.sent.errors, 0U);
    EXPECT_EQ(ledger.received.refused, 0U);
}

TEST_P(port_test, AskedToASendReportsARefusalItself) {
    start();
    if (!is_inline()) GTEST_SKIP() << "a worker may hear of it first";
    const address peer = dead_address();
    const endpoint_id client = open_connection(peer, {.report_refused_on_send = true});
    turn();
    EXPECT_TRUE(send(client, "anybody?"));
    pollfd refusal{.fd = port().descriptor(client), .events = 0, .revents = 0};
    ASSERT_EQ(::poll(&refusal, 1, 5000), 1);
    EXPECT_EQ(send(client, "not sent"), std::errc::connection_refused);
    const foreign_socket late(peer);
    EXPECT_TRUE(send(client, "sent"));
    EXPECT_EQ(late.receive(), "sent");
    turn_at_once();
    EXPECT_EQ(port().readable_count(client), 0U);
    expect_balanced(client);
}

// --- sending: what is known at the call ---

TEST_P(port_test, SendsAreCheckedBeforeTheyAreQueued) {
    start();
    const foreign_socket peer;
    const endpoint_id server = open();
    const endpoint_id client = open_connection(peer.local());
    const std::string largest(65'507, 'x');
    const std::string too_large(65'508, 'x');
    const address to = peer.local();
    const auto expect = [&](endpoint_id from, byte_view payload, const address& where, errc what) {
        EXPECT_EQ(sendto(from, payload, where), what);
        EXPECT_EQ(port().try_sendto(from, payload, where), what);
    };
    expect(server, too_large, to, errc::message_too_long);
    expect(server, "x", address("::1", 9), errc::wrong_family);
    expect(server, "x", to.with_port(0), errc::invalid_address);
    expect(server, "x", address(), errc::wrong_family);
    EXPECT_EQ(send(server, "x"), errc::not_connected);
    EXPECT_EQ(port().try_send(server, "x"), errc::not_connected);
    expect(client, "x", address("127.0.0.1", 9), errc::already_connected);
    expect(client, too_large, to, errc::message_too_long);
    EXPECT_EQ(send(client, too_large), errc::message_too_long);
    EXPECT_EQ(sendto(server, "x", address("255.255.255.255", 9)), std::errc::permission_denied);

    const std::array pieces{byte_view(largest), byte_view("x")};
    EXPECT_EQ(port().sendto(server, pieces, to), errc::message_too_long);
    EXPECT_EQ(port().stats().sent.accepted, 0U);
    EXPECT_EQ(port().send_queue_size(server), 0U);

    // None of which did any harm.
    EXPECT_TRUE(sendto(server, largest, to));
    EXPECT_TRUE(sendto(client, "with its peer's address", to));
    port().flush();
    strings got{peer.receive().value_or(""), peer.receive().value_or("")};
    std::ranges::sort(got);
    EXPECT_EQ(got, (strings{"with its peer's address", largest}));
}

TEST_P(port_test, AnIpv6PayloadMayBeTwentyBytesLonger) {
    if (!has_ipv6()) GTEST_SKIP() << "no IPv6 loopback";
    start();
    const foreign_socket peer(address("::1", 0));
    const endpoint_id server = open({}, address("::1", 0));
    EXPECT_EQ(sendto(server, std::string(65'528, 'x'), peer.local()), errc::message_too_long);
    EXPECT_TRUE(sendto(server, std::string(65'527, 'x'), peer.local()));
    EXPECT_EQ(sendto(server, "x", address("127.0.0.1", 9)), errc::wrong_family);
    port().flush();
    EXPECT_EQ(peer.receive().value_or("").size(), 65'527U);
}

TEST_P(port_test, BroadcastIsRefusedUntilAllowed) {
    start();
    const endpoint_id server = open();
    const address everybody("255.255.255.255", 9);
    EXPECT_FALSE(port().broadcast(server));
    EXPECT_EQ(sendto(server, "x", everybody), std::errc::permission_denied);
    EXPECT_TRUE(port().set_broadcast(server, true));
    EXPECT_TRUE(port().broadcast(server));
    EXPECT_TRUE(port().set_broadcast(server, false));
    EXPECT_FALSE(port().broadcast(server));
    EXPECT_EQ(sendto(server, "x", everybody), std::errc::permission_denied);
    EXPECT_TRUE(port().broadcast(open({.broadcast = true})));
}

TEST_P(port_test, WhatTheKernelRefusesForGoodIsCountedByErrnoAndTheNextGoesOn) {
    in_namespace({}, [&] {
        start();
        const foreign_socket peer;
        const endpoint_id server = open();
        EXPECT_TRUE(sendto(server, "0", peer.local()));
        EXPECT_TRUE(sendto(server, "no way there", address("192.0.2.1", 9)));
        EXPECT_TRUE(sendto(server, "nor there", address("198.51.100.1", 9)));
        EXPECT_TRUE(sendto(server, "1", peer.local()));
        port().flush();
        EXPECT_EQ(peer.receive(), "0");
        EXPECT_EQ(peer.receive(), "1");
        const stats ledger = port().stats(server);
        EXPECT_EQ(ledger.sent.errors, 2U) << ledger;
        EXPECT_EQ(ledger.sent.reasons[0].error, ENETUNREACH);
        EXPECT_EQ(ledger.sent.reasons[0].count, 2U);
        EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
    });
}

TEST_P(port_test, WhatTheKernelRefusesForGoodIsToldToReadersWhoAskedInOrderWithWhatWasReceived) {
    in_namespace({}, [&] {
        start();
        const foreign_socket peer;
        const endpoint_id server = open({.report_send_errors = true});
        const address here = port().local_addresses(server).front();
        ASSERT_EQ(peer.send("before", here), 0);
        ASSERT_TRUE(turn_until_readable(server, 1));
        EXPECT_TRUE(sendto(server, "no way there", address("192.0.2.1", 9)));
        EXPECT_TRUE(sendto(server, "nor there", address("198.51.100.1", 9)));
        port().flush();
        EXPECT_EQ(port().readable_count(server), 3U);
        const auto before = port().receive(server);
        ASSERT_TRUE(before.has_value());
        EXPECT_EQ(before->text(), "before");
        for (int i = 0; i < 2; ++i) {
            const auto told = port().receive(server);
            ASSERT_FALSE(told.has_value());
            EXPECT_EQ(told.error(), std::errc::network_unreachable);
        }
        EXPECT_EQ(port().receive(server).error(), errc::would_block);
        ASSERT_EQ(peer.send("after", here), 0);
        ASSERT_TRUE(turn_until_readable(server, 1));
        EXPECT_EQ(port().receive(server)->text(), "after");
        EXPECT_EQ(port().stats(server).sent.errors, 2U);
        EXPECT_EQ(port().stats(server).unexplained(), 0U) << port().stats(server);
    });
}

TEST_P(port_test, PiecesMakeOneDatagram) {
    start();
    const foreign_socket peer;
    const endpoint_id server = open();
    const std::array<byte_view, 4> pieces{"one ", "", "data", "gram"};
    EXPECT_TRUE(port().sendto(server, pieces, peer.local()));
    EXPECT_TRUE(port().sendto(server, std::span<const byte_view>(), peer.local()));
    port().flush();
    EXPECT_EQ(peer.receive(), "one datagram");
    EXPECT_EQ(peer.receive(), "");
}

// --- sending: flushing ---

TEST_P(port_test, QueuedSendsGoOutInOrder) {
    start();
    const foreign_socket peer;
    ASSERT_EQ(peer.set_option(SOL_SOCKET, SO_RCVBUF, roomy), 0);
    const endpoint_id server = open();
    for (const auto& text : numbers(500))
        EXPECT_TRUE(sendto(server, text, peer.local()));
    port().flush();
    for (const auto& text : numbers(500))
        ASSERT_EQ(peer.receive(), text);
    EXPECT_EQ(port().send_queue_size(server), 0U);
    EXPECT_EQ(port().stats(server).sent.sent, 500U);
}

TEST_P(port_test, SendsWaitForAFlushATurnOrSixtyFourMessages) {
    start();
    const foreign_socket peer;
    const endpoint_id server = open({.offload = offload::off});
    for (const auto& text : numbers(63))
        EXPECT_TRUE(sendto(server, text, peer.local()));
    EXPECT_EQ(port().stats(server).sent.waiting, 63U);
    EXPECT_GT(port().send_queue_size(server), 0U);
    EXPECT_FALSE(peer.has_datagram());
    EXPECT_TRUE(sendto(server, "63", peer.local()));
    EXPECT_EQ(port().stats(server).sent.waiting, 0U);
    EXPECT_TRUE(sendto(server, "64", peer.local()));
    turn();
    for (const auto& text : numbers(65))
        EXPECT_EQ(peer.receive(), text);
}

TEST_P(port_test, TrySendGoesOutAtOnceAndOvertakesNothing) {
    start();
    const foreign_socket peer;
    const endpoint_id client = open_connection(peer.local());
    EXPECT_TRUE(send(client, "queued"));
    EXPECT_TRUE(port().try_send(client, "at once"));
    EXPECT_EQ(peer.receive(), "queued");
    EXPECT_EQ(peer.receive(), "at once");
    EXPECT_EQ(port().stats(client).sent.sent, 2U);
    expect_balanced(client);
}

TEST_P(port_test, AFullSendQueueIsWouldBlock) {
    start();
    const foreign_socket peer;
    const endpoint_id server = open({.send_queue_size_max = 1000});
    // One is always taken, or a bound below its size would shut the endpoint up for good.
    EXPECT_TRUE(sendto(server, std::string(2000, 'x'), peer.local()));
    port().flush();
    EXPECT_EQ(peer.receive().value_or("").size(), 2000U);
    EXPECT_TRUE(sendto(server, std::string(500, 'x'), peer.local()));
    // Room is made where the kernel lets us.
    EXPECT_TRUE(sendto(server, std::string(501, 'x'), peer.local()));
    EXPECT_TRUE(sendto(server, "x", peer.local()));
    port().flush();
    EXPECT_EQ(peer.receive().value_or("").size(), 500U);
    EXPECT_EQ(peer.receive().value_or("").size(), 501U);
    EXPECT_EQ(peer.receive(), "x");
    EXPECT_EQ(port().stats(server).sent.accepted, 4U);
}

TEST_P(port_test, BroadcastIsSetOnEverySocketOfAnEndpoint) {
    start();
    const std::array where{address("127.0.0.1", 0), address("127.0.0.2", 0)};
    const auto server = port().open(where);
    ASSERT_TRUE(server);
    ASSERT_TRUE(port().set_broadcast(*server, true));
    int count = 0;
    for (int fd = port().descriptor(*server); fd < port().descriptor(*server) + 2; ++fd) {
        int is_on = 0;
        socklen_t size = sizeof is_on;
        if (::getsockopt(fd, SOL_SOCKET, SO_BROADCAST, &is_on, &size) == 0) count += is_on;
    }
    EXPECT_EQ(count, 2);
}

// --- sends that block ---

// 8 Mbit/s and room for about five datagrams in the socket.
const namespace_options slow_network{.loopback_shape = "tbf rate 8mbit burst 4kb limit 4mb"};
constexpr std::uint32_t narrow = 4608;

std::string padded(std::string text) {
    text.resize(500, '.');
    return text;
}

void expect_padded_numbers(const foreign_socket& at, std::size_t count) {
    for (const auto& text : numbers(count))
        ASSERT_EQ(at.receive(), padded(text));
}

TEST_P(port_test, WhatTheKernelDoesNotTakeIsQueuedAndFlushedInOrder) {
    in_namespace(slow_network, [&] {
        start();
        const foreign_socket peer;
        ASSERT_EQ(peer.set_option(SOL_SOCKET, SO_RCVBUF, roomy), 0);
        const endpoint_id server =
            open({.send_buffer_size = narrow, .send_high_water = 16'000, .send_low_water = 4000});
        events.on_drained = [&](endpoint_id) { EXPECT_LE(port().send_queue_size(server), 4000U); };
        for (const auto& text : numbers(200)) {
            EXPECT_TRUE(sendto(server, padded(text), peer.local()));
        }
        port().flush();
        EXPECT_GT(port().send_queue_size(server), 16'000U);
        EXPECT_GT(port().stats(server).sent.blocked, 0U);
        EXPECT_EQ(port().try_sendto(server, "overtakes", peer.local()), errc::would_block);
        expect_balanced(server);
        ASSERT_TRUE(turn_until([&] { return port().send_queue_size(server) == 0; }, "flushed"));
        EXPECT_EQ(events.of(server).drained, 1U);
        expect_padded_numbers(peer, 200);
        EXPECT_EQ(port().stats(server).sent.sent, 200U);
        expect_balanced(server);
    });
}

TEST_P(port_test, ABlockedQueueIsBoundedAndTakesMoreWhenItHasRoom) {
    in_namespace(slow_network, [&] {
        start();
        const foreign_socket peer;
        ASSERT_EQ(peer.set_option(SOL_SOCKET, SO_RCVBUF, roomy), 0);
        const endpoint_id server =
            open({.send_buffer_size = narrow, .send_queue_size_max = 20'000});
        std::size_t accepted = 0;
        while (accepted < 1000 && sendto(server, padded(std::to_string(accepted)), peer.local())) {
            ++accepted;
        }
        ASSERT_LT(accepted, 1000U) << "never full";
        EXPECT_LE(port().send_queue_size(server), 20'000U);
        EXPECT_EQ(sendto(server, padded("full"), peer.local()), errc::would_block);
        ASSERT_TRUE(turn_until([&] { return port().send_queue_size(server) < 10'000; }, "room"));
        EXPECT_TRUE(sendto(server, padded(std::to_string(accepted++)), peer.local()));
        ASSERT_TRUE(turn_until([&] { return port().send_queue_size(server) == 0; }, "flushed"));
        expect_padded_numbers(peer, accepted);
        EXPECT_EQ(port().stats(server).sent.accepted, accepted);
    });
}

TEST_P(port_test, ATrainIsOneMessageAmongThoseThatWait) {
    start();
    const foreign_socket peer;
    const endpoint_id server = open();
    for (int i = 0; i < 100; ++i)
        EXPECT_TRUE(sendto(server, "equal", peer.local()));
    EXPECT_EQ(port().stats(server).sent.waiting, 100U);
    EXPECT_FALSE(peer.has_datagram());
    turn();
    for (int i = 0; i < 100; ++i)
        ASSERT_EQ(peer.receive(), "equal");
    EXPECT_EQ(port().stats(server).sent.trains, 1U);
    EXPECT_EQ(port().stats(server).sent.coalesced, 100U);
}

TEST_P(port_test, BlockedTrainsArriveWholeAndInOrder) {
    in_namespace(slow_network, [&] {
        start();
        const foreign_socket peer;
        ASSERT_EQ(peer.set_option(SOL_SOCKET, SO_RCVBUF, roomy), 0);
        const endpoint_id server = open({.send_buffer_size = narrow});
        for (const auto& text : numbers(300))
            EXPECT_TRUE(sendto(server, padded(text), peer.local()));
        port().flush();
        EXPECT_GT(port().send_queue_size(server), 0U) << "nothing blocked";
        ASSERT_TRUE(turn_until([&] { return port().send_queue_size(server) == 0; }, "flushed"));
        expect_padded_numbers(peer, 300);
        EXPECT_GT(port().stats(server).sent.trains, 0U);
        expect_balanced(server);
    });
}

TEST_P(port_test, ALeaseDoesNotWaitForTheKernel) {
    in_namespace(slow_network, [&] {
        start();
        const foreign_socket peer;
        ASSERT_EQ(peer.set_option(SOL_SOCKET, SO_RCVBUF, roomy), 0);
        const endpoint_id server = open({.send_buffer_size = narrow, .offload = offload::off});
        for (const auto& text : numbers(50))
            ASSERT_EQ(peer.send(padded(text), local(server)), 0);
        ASSERT_TRUE(turn_until_readable(server, 50));
        while (auto received = port().receive(server)) {
            EXPECT_TRUE(port().send(server, std::move(*received)));
        }
        EXPECT_EQ(port().stats(server).leases_held, 50U);
        port().flush();
        EXPECT_GT(port().send_queue_size(server), 0U) << "nothing blocked";
        EXPECT_EQ(port().stats(server).leases_held, 0U);
        ASSERT_TRUE(turn_until([&] { return port().send_queue_size(server) == 0; }, "flushed"));
        expect_padded_numbers(peer, 50);
    });
}

TEST_P(port_test, CloseFlushesWhatIsBlocked) {
    in_namespace(slow_network, [&] {
        start();
        const foreign_socket peer;
        ASSERT_EQ(peer.set_option(SOL_SOCKET, SO_RCVBUF, roomy), 0);
        const endpoint_id server = open({.send_buffer_size = narrow, .offload = offload::off});
        for (const auto& text : numbers(100)) {
            EXPECT_TRUE(sendto(server, padded(text), peer.local()));
        }
        port().close(server);
        EXPECT_TRUE(port().is_closing(server));
        EXPECT_FALSE(port().is_closed(server));
        EXPECT_GT(port().send_queue_size(server), 0U) << "nothing blocked";
        EXPECT_EQ(sendto(server, "x", peer.local()), errc::closed);
        ASSERT_TRUE(turn_until_closed(server));
        EXPECT_EQ(events.of(server).closed, 1U);
        expect_padded_numbers(peer, 100);
        EXPECT_EQ(port().stats(server).sent.sent, 100U);
        EXPECT_EQ(port().stats(server).sent.dropped, 0U);
        expect_balanced(server);
    });
}

TEST_P(port_test, AbortDropsWhatIsBlockedAndCountsIt) {
    in_namespace(slow_network, [&] {
        start();
        const foreign_socket peer;
        const endpoint_id server = open({.send_buffer_size = narrow, .offload = offload::off});
        for (const auto& text : numbers(100)) {
            EXPECT_TRUE(sendto(server, padded(text), peer.local()));
        }
        port().close(server);
        ASSERT_GT(port().send_queue_size(server), 0U) << "nothing blocked";
        port().abort(server);
        EXPECT_EQ(port().send_queue_size(server), 0U);
        ASSERT_TRUE(turn_until_closed(server));
        EXPECT_EQ(events.of(server).closed, 1U);
        const stats ledger = port().stats(server);
        EXPECT_GT(ledger.sent.dropped, 0U) << ledger;
        EXPECT_EQ(ledger.sent.accepted, ledger.sent.sent + ledger.sent.dropped) << ledger;
        EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
    });
}

TEST_P(port_test, WhatAConnectedEndpointLosesIsReportedOnce) {
    in_namespace({}, [&] {
        const auto change = [](const std::string& what) {
            const std::string command = "ip address " + what + " 10.8.0.1/24 dev lo";
            return std::system(("PATH=$PATH:/usr/sbin:/sbin " + command).c_str()) == 0;
        };
        if (!change("add")) GTEST_SKIP() << "no ip(8)";
        start();
        const endpoint_id client =
            open_connection(address("10.8.0.5", 9), {.report_send_errors = true});
        ASSERT_TRUE(change("del"));
        EXPECT_TRUE(send(client, "nowhere to go"));
        port().flush();
        ASSERT_EQ(port().stats(client).sent.errors, 1U);
        EXPECT_EQ(read_all(client).size(), 1U);
    });
}

}  // namespace
}  // namespace quoit::test
