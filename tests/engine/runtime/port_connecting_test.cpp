// SPDX-License-Identifier: MIT
//
// The peer of an open endpoint: connect, reconnect, disconnect.
#include "engine/runtime/port_test.hpp"

#include <linux/filter.h>

namespace quoit::test {
namespace {

class port_connecting : public port_test {
  protected:
    // What the next datagram says, and whether it is from there.
    void expect_received(endpoint_id at, std::string_view text, const address& from) {
        ASSERT_TRUE(turn_until([&] { return port().readable_count(at) > 0; }, "something to read"));
        const auto got = port().receive(at);
        ASSERT_TRUE(got) << got.error();
        EXPECT_EQ(got->text(), text);
        EXPECT_EQ(got->peer(), from);
    }
    void expect_refusal(endpoint_id at) {
        ASSERT_TRUE(turn_until([&] { return port().readable_count(at) > 0; }, "something to read"));
        const auto got = port().receive(at);
        ASSERT_FALSE(got);
        EXPECT_EQ(got.error(), std::errc::connection_refused) << got.error();
    }
};

TEST_P(port_connecting, AConnectedServerSendsToItsPeerAndHearsNobodyElse) {
    start();
    const endpoint_id server = open();
    const foreign_socket peer;
    const foreign_socket stranger;
    ASSERT_TRUE(port().connect(server, peer.local()));
    EXPECT_EQ(port().peer_address(server), peer.local());
    EXPECT_TRUE(send(server, "to the peer"));
    EXPECT_EQ(sendto(server, "to a stranger", stranger.local()), errc::already_connected);
    port().flush();
    EXPECT_EQ(peer.receive(), "to the peer");
    EXPECT_EQ(stranger.send("psst", local(server)), 0);  // nobody hears it
    EXPECT_EQ(peer.send("from the peer", local(server)), 0);
    expect_received(server, "from the peer", peer.local());
    EXPECT_EQ(port().stats(server).received.taken, 1U);
    EXPECT_FALSE(stranger.has_datagram());
    expect_balanced(server);
}

TEST_P(port_connecting, ConnectingAgainIsAnErrorThatNamesBothAndChangesNothing) {
    start();
    const endpoint_id server = open();
    const foreign_socket first;
    const foreign_socket second;
    ASSERT_TRUE(port().connect(server, first.local()));
    const status again = port().connect(server, second.local());
    EXPECT_EQ(again, errc::already_connected);
    EXPECT_NE(again.error().message().find(first.local().to_string()), std::string::npos);
    EXPECT_NE(again.error().message().find(second.local().to_string()), std::string::npos);
    EXPECT_EQ(port().peer_address(server), first.local());
    const endpoint_id client = open_connection(first.local());
    EXPECT_EQ(port().connect(client, second.local()), errc::already_connected);
    EXPECT_TRUE(send(client, "still there"));
    port().flush();
    EXPECT_EQ(first.receive(), "still there");
}

TEST_P(port_connecting, WhatIsNoPeerIsRefused) {
    start();
    const endpoint_id server = open();
    EXPECT_EQ(port().connect(server, address()), errc::invalid_address);
    EXPECT_EQ(port().connect(server, address("127.0.0.1", 0)), errc::invalid_address);
    EXPECT_EQ(port().connect(server, address("::1", 9)), errc::wrong_family);
    EXPECT_EQ(port().disconnect(server), errc::not_connected);
    EXPECT_FALSE(port().peer_address(server));
    const std::array where{address("127.0.0.1", 0), address("127.0.0.1", 0)};
    const auto both = port().open(where);
    ASSERT_TRUE(both);
    const status several = port().connect(*both, address("127.0.0.1", 9));
    EXPECT_EQ(several, errc::not_supported);
    EXPECT_NE(several.error().message().find("2 sockets"), std::string::npos);
    EXPECT_EQ(port().disconnect(*both), errc::not_supported);
    port().close(server);
    EXPECT_EQ(port().connect(server, address("127.0.0.1", 9)), errc::closed);
    EXPECT_EQ(port().reconnect(server, address("127.0.0.1", 9)), errc::closed);
    EXPECT_EQ(port().disconnect(server), errc::closed);
}

TEST_P(port_connecting, WhatCameBeforeStaysReadableWhoeverSentIt) {
    start();
    const endpoint_id server = open({.receive_buffer_size = roomy});
    const foreign_socket peer;
    const foreign_socket stranger;
    ASSERT_EQ(stranger.send("queued here", local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, 1));
    ASSERT_EQ(stranger.send("in the socket", local(server)), 0);
    ASSERT_EQ(peer.send("in the socket", local(server)), 0);
    ASSERT_TRUE(port().connect(server, peer.local()));
    ASSERT_EQ(stranger.send("too late", local(server)), 0);
    ASSERT_EQ(peer.send("after", local(server)), 0);
    expect_received(server, "queued here", stranger.local());
    expect_received(server, "in the socket", stranger.local());
    expect_received(server, "in the socket", peer.local());
    expect_received(server, "after", peer.local());
    turn_at_once();
    EXPECT_EQ(port().readable_count(server), 0U);
    EXPECT_EQ(port().stats(server).received.dropped.invalid, 0U);
    expect_balanced(server);
}

TEST_P(port_connecting, WhatTheFormerPeerSentIsReadableAfterReconnecting) {
    start();
    const foreign_socket first;
    const foreign_socket second;
    const endpoint_id client = open_connection(first.local());
    settle();
    ASSERT_EQ(first.send("from the first", local(client)), 0);
    ASSERT_TRUE(port().reconnect(client, second.local()));
    EXPECT_EQ(port().peer_address(client), second.local());
    ASSERT_EQ(first.send("too late", local(client)), 0);
    ASSERT_EQ(second.send("from the second", local(client)), 0);
    expect_received(client, "from the first", first.local());
    expect_received(client, "from the second", second.local());
    EXPECT_TRUE(send(client, "to the second"));
    port().flush();
    EXPECT_EQ(second.receive(), "to the second");
    EXPECT_FALSE(first.has_datagram());
    EXPECT_EQ(port().stats(client).received.dropped.invalid, 0U);
}

TEST_P(port_connecting, WhatAnyOfSeveralFormerPeersSentIsReadable) {
    start();
    // More of them than are remembered one by one.
    const std::array<foreign_socket, 12> peers;
    for (const std::size_t count : {std::size_t{3}, peers.size()}) {
        SCOPED_TRACE(count);
        const endpoint_id client = open_connection(peers[0].local());
        settle();
        for (std::size_t i = 0; i < count; ++i) {
            if (i > 0) {
                ASSERT_TRUE(port().reconnect(client, peers[i].local()));
            }
            ASSERT_EQ(peers[i].send("hello", local(client)), 0);
        }
        for (std::size_t i = 0; i < count; ++i)
            expect_received(client, "hello", peers[i].local());
        EXPECT_EQ(port().stats(client).received.dropped.invalid, 0U);
    }
}

TEST_P(port_connecting, WhatIsQueuedGoesWhereItWasSent) {
    start();
    const endpoint_id server = open();
    const foreign_socket first;
    const foreign_socket second;
    EXPECT_TRUE(sendto(server, "1", first.local()));
    EXPECT_TRUE(sendto(server, "2", second.local()));
    ASSERT_TRUE(port().connect(server, first.local()));
    EXPECT_TRUE(send(server, "3"));
    ASSERT_TRUE(port().reconnect(server, second.local()));
    EXPECT_TRUE(send(server, "4"));
    ASSERT_TRUE(port().disconnect(server));
    EXPECT_EQ(send(server, "to nobody"), errc::not_connected);
    EXPECT_TRUE(sendto(server, "5", first.local()));
    port().flush();
    for (const char* const expected : {"1", "3", "5"})
        EXPECT_EQ(first.receive(), expected);
    for (const char* const expected : {"2", "4"})
        EXPECT_EQ(second.receive(), expected);
    EXPECT_EQ(port().stats(server).sent.errors, 0U);
}

TEST_P(port_connecting, WhatTheKernelDidNotTakeKeepsItsDestination) {
    in_namespace({.loopback_shape = "tbf rate 8mbit burst 4kb limit 1mb"}, [&] {
        start();
        const foreign_socket first;
        const foreign_socket second;
        const endpoint_id client =
            open_connection(first.local(), {.send_buffer_size = 4608, .offload = offload::off});
        const std::string payload(1000, 'p');
        constexpr std::size_t each = 40;
        for (std::size_t i = 0; i < each; ++i)
            ASSERT_TRUE(send(client, payload));
        port().flush();
        ASSERT_GT(port().stats(client).sent.waiting, 0U) << "the kernel took all";
        ASSERT_TRUE(port().reconnect(client, second.local()));
        for (std::size_t i = 0; i < each; ++i)
            ASSERT_TRUE(send(client, payload));
        ASSERT_TRUE(turn_until([&] { return port().stats(client).sent.waiting == 0; }, "flushed"));
        for (std::size_t i = 0; i < each; ++i) {
            ASSERT_EQ(first.receive(), payload);
            ASSERT_EQ(second.receive(), payload);
        }
        EXPECT_EQ(port().stats(client).sent.sent, 2 * each);
    });
}

TEST_P(port_connecting, ARefusalByTheFormerPeerIsReportedAndHarmsNothingSentToTheNext) {
    start();
    const foreign_socket alive;
    const endpoint_id client = open_connection(dead_address());
    settle();
    EXPECT_TRUE(send(client, "to nobody"));
    ASSERT_TRUE(port().reconnect(client, alive.local()));
    EXPECT_TRUE(send(client, "to somebody"));
    port().flush();
    EXPECT_EQ(alive.receive(), "to somebody");
    expect_refusal(client);
    turn_at_once();
    EXPECT_EQ(port().readable_count(client), 0U);
    EXPECT_EQ(port().stats(client).received.refused, 1U);
    EXPECT_EQ(port().stats(client).sent.errors, 0U);
}

TEST_P(port_connecting, ARefusalIsReportedToAServerOnlyWhileItIsConnected) {
    start();
    const endpoint_id server = open();
    const address nobody = dead_address();
    EXPECT_TRUE(sendto(server, "unheard", nobody));
    ASSERT_TRUE(port().connect(server, nobody));
    EXPECT_TRUE(send(server, "refused"));
    port().flush();
    expect_refusal(server);
    ASSERT_TRUE(port().disconnect(server));
    EXPECT_TRUE(sendto(server, "unheard", nobody));
    port().flush();
    turn_at_once();
    EXPECT_EQ(port().readable_count(server), 0U);
    EXPECT_EQ(port().stats(server).received.refused, 1U);
}

TEST_P(port_connecting, TheLocalAddressFollowsAndThePortStays) {
    start();
    const foreign_socket peer;
    // Where it is bound, and what it is while it is connected.
    struct row {
        address where;
        address connected;
    };
    const std::uint16_t chosen = dead_address().port();
    for (const row& one :
         {row{{"0.0.0.0", 0}, {"127.0.0.1", 0}}, row{{"127.0.0.1", 0}, {"127.0.0.1", 0}},
          row{{"127.0.0.2", 0}, {"127.0.0.2", 0}},
          row{{"0.0.0.0", chosen}, {"127.0.0.1", chosen}}}) {
        SCOPED_TRACE(one.where);
        const endpoint_id server = open({}, one.where);
        const address before = local(server);
        ASSERT_TRUE(port().connect(server, peer.local()));
        EXPECT_EQ(local(server), one.connected.with_port(before.port()));
        EXPECT_TRUE(send(server, "hello"));
        port().flush();
        EXPECT_EQ(peer.receive(), "hello");
        ASSERT_TRUE(port().disconnect(server));
        EXPECT_EQ(local(server), before);
        EXPECT_FALSE(port().peer_address(server));
        // On every interface again, if it was.
        const bool is_everywhere = before.host() == ip("0.0.0.0");
        const foreign_socket stranger;
        const address there(is_everywhere ? ip("127.0.0.2") : before.host(), before.port());
        ASSERT_EQ(stranger.send("from anybody", there), 0);
        expect_received(server, "from anybody", stranger.local());
        port().release(server);
    }
}

TEST_P(port_connecting, AClientThatIsDisconnectedIsAServerOnEveryInterface) {
    start();
    const foreign_socket peer;
    const endpoint_id client = open_connection(peer.local());
    const std::uint16_t number = local(client).port();
    ASSERT_TRUE(port().disconnect(client));
    EXPECT_EQ(local(client), address("0.0.0.0", number));
    const foreign_socket stranger(address("127.0.0.2", 0));
    ASSERT_EQ(stranger.send("hello", {"127.0.0.2", number}), 0);
    expect_received(client, "hello", stranger.local());
    ASSERT_TRUE(port().connect(client, stranger.local()));
    EXPECT_TRUE(send(client, "hello yourself"));
    port().flush();
    EXPECT_EQ(stranger.receive(), "hello yourself");
}

TEST_P(port_connecting, ReconnectingTakesTheSourceAddressOfTheNewRoute) {
    in_namespace({}, [&] {
        if (std::system("PATH=$PATH:/usr/sbin:/sbin ip address add 10.8.0.1/24 dev lo") != 0) {
            GTEST_SKIP() << "no ip(8)";
        }
        start();
        const foreign_socket near;
        const foreign_socket far(address("10.8.0.1", 0));
        const endpoint_id client = open_connection(near.local());
        EXPECT_EQ(local(client).host(), ip("127.0.0.1"));
        ASSERT_TRUE(port().reconnect(client, far.local()));
        EXPECT_EQ(local(client).host(), ip("10.8.0.1"));
        EXPECT_TRUE(send(client, "hello"));
        port().flush();
        EXPECT_EQ(far.receive(), "hello");
    });
}

TEST_P(port_connecting, AFailedReconnectLeavesTheFormerPeer) {
    in_namespace({}, [&] {
        start();
        const foreign_socket peer;
        const endpoint_id client = open_connection(peer.local());
        const status refused = port().reconnect(client, address("192.0.2.1", 9));
        EXPECT_EQ(refused, std::errc::network_unreachable) << refused.error();
        EXPECT_EQ(port().peer_address(client), peer.local());
        EXPECT_TRUE(send(client, "still there"));
        port().flush();
        EXPECT_EQ(peer.receive(), "still there");
        ASSERT_EQ(peer.send("indeed", local(client)), 0);
        expect_received(client, "indeed", peer.local());
    });
}

TEST_P(port_connecting, AReconnectedSocketHearsItsPeerAgainAndKeepsAForeignFilter) {
    start();
    const foreign_socket first;
    const foreign_socket second;
    const endpoint_id server = open({}, address("0.0.0.0", 0));
    ASSERT_TRUE(port().connect(server, first.local()));
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(port().reconnect(server, second.local()));
        ASSERT_EQ(second.send("hello", local(server)), 0);
        expect_received(server, "hello", second.local());
        ASSERT_TRUE(port().reconnect(server, first.local()));
    }
    // Takes all; it is not ours to remove.
    sock_filter take_all{.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = 0xffff};
    const sock_fprog program{.len = 1, .filter = &take_all};
    const int fd = port().descriptor(server);
    ASSERT_EQ(::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
    ASSERT_TRUE(port().reconnect(server, second.local()));
    EXPECT_EQ(::setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &program, sizeof program), 0);
}

TEST_P(port_connecting, StrangersAreNotHeardBetweenTwoPeers) {
    start();
    const std::array<foreign_socket, 2> peers;
    const endpoint_id server = open({}, address("0.0.0.0", 0));
    ASSERT_TRUE(port().connect(server, peers[0].local()));
    const address where = local(server);
    std::atomic<bool> is_over = false;
    std::thread stranger([&] {
        const foreign_socket from;
        while (!is_over)
            static_cast<void>(from.send("stranger", where));
    });
    std::size_t heard = 0;
    for (std::size_t i = 1; i <= 3000; ++i) {
        EXPECT_TRUE(port().reconnect(server, peers[i % 2].local()));
        turn_at_once(1);
        while (port().readable_count(server) > 0) {
            const auto got = port().receive(server);
            heard += got && got->text() == "stranger" ? 1U : 0U;
        }
    }
    is_over = true;
    stranger.join();
    EXPECT_EQ(heard, 0U);
}

TEST_P(port_connecting, AReconnectWhosePortIsTakenElsewhereLeavesTheFormerPeer) {
    start();
    const foreign_socket peer;
    const foreign_socket next;
    const endpoint_id client = open_connection(peer.local());
    const address before = local(client);
    // The port is ours on one interface only, while we are connected.
    std::optional<foreign_socket> other;
    other.emplace(address("127.0.0.2", before.port()));
    EXPECT_EQ(port().reconnect(client, next.local()), std::errc::address_in_use);
    EXPECT_EQ(port().peer_address(client), peer.local());
    EXPECT_EQ(local(client), before);
    EXPECT_TRUE(send(client, "still there"));
    port().flush();
    EXPECT_EQ(peer.receive(), "still there");
    ASSERT_EQ(peer.send("indeed", local(client)), 0);
    expect_received(client, "indeed", peer.local());
    other.reset();
    EXPECT_TRUE(port().reconnect(client, next.local()));
    EXPECT_EQ(local(client), before);
    EXPECT_EQ(next.send("hello", local(client)), 0);
    expect_received(client, "hello", next.local());
}

TEST_P(port_connecting, ADisconnectWhosePortIsTakenElsewhereKeepsItsAddress) {
    start();
    const foreign_socket peer;
    const endpoint_id client = open_connection(peer.local());
    const address before = local(client);
    const foreign_socket other(address("127.0.0.2", before.port()));
    EXPECT_EQ(port().disconnect(client), std::errc::address_in_use);
    EXPECT_EQ(local(client), before);
    EXPECT_FALSE(port().peer_address(client));
    ASSERT_EQ(other.send("hello", before), 0);
    expect_received(client, "hello", other.local());
}

INSTANTIATE_TEST_SUITE_P(, port_connecting, ::testing::ValuesIn(port_parameters()),
                         port_parameter_name);

}  // namespace
}  // namespace quoit::test
