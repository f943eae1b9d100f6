// SPDX-License-Identifier: MIT
//
// Endpoints made of other people's sockets.
#include "engine/runtime/port_test.hpp"

#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/udp.h>

#ifndef UDP_GRO
#define UDP_GRO 104  // since Linux 5.0, <linux/udp.h>
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103  // since Linux 4.18, <linux/udp.h>
#endif

namespace quoit::test {
namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

int raw_socket(int domain, int type, int protocol = 0) {
    return ::socket(domain, type | SOCK_CLOEXEC, protocol);
}

// A foreign socket's descriptor of which this test can give away a copy.
int copy_of(const foreign_socket& one) { return ::fcntl(one.descriptor(), F_DUPFD_CLOEXEC, 0); }

int option(int fd, int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return ::getsockopt(fd, level, name, &value, &size) < 0 ? -errno : value;
}

class port_adopting : public port_test {
  protected:
    [[nodiscard]] endpoint_id adopt(int fd, ownership how, const udp_options& options = {}) {
        const auto adopted = port().adopt(fd, how, options);
        if (adopted) return *adopted;
        ADD_FAILURE() << adopted.error();
        return {};
    }
    void expect_echo(endpoint_id server) {
        const foreign_socket peer;
        address to = local(server);
        if (to.host() == ip("0.0.0.0")) to = address("127.0.0.1", to.port());
        ASSERT_EQ(peer.send("are you there?", to), 0);
        ASSERT_TRUE(turn_until_readable(server, 1));
        auto request = port().receive(server);
        ASSERT_TRUE(request);
        EXPECT_EQ(request->peer(), peer.local());
        EXPECT_TRUE(port().send(server, *std::move(request)));
        port().flush();
        EXPECT_EQ(peer.receive(), "are you there?");
    }
    // Refused, and closed if it was to be taken.
    template <class Expected>
    void expect_refused(int fd, Expected why, std::string_view words,
                        connectedness wanted = connectedness::any) {
        const auto shared = port().adopt(fd, ownership::duplicate, {}, wanted);
        ASSERT_FALSE(shared);
        EXPECT_EQ(shared.error(), why) << shared.error();
        EXPECT_NE(shared.error().message().find(words), std::string::npos) << shared.error();
        EXPECT_TRUE(is_open(fd));
        const auto taken = port().adopt(fd, ownership::take, {}, wanted);
        ASSERT_FALSE(taken);
        EXPECT_EQ(taken.error(), why) << taken.error();
        EXPECT_FALSE(is_open(fd));
    }
};

TEST_P(port_adopting, ABoundSocketIsAServerThatKeepsItsNameAndClosesIt) {
    start();
    const int fd = raw_socket(AF_INET, SOCK_DGRAM);
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&here), sizeof here), 0);
    const endpoint_id server = adopt(fd, ownership::take);
    EXPECT_EQ(port().descriptor(server), fd);
    EXPECT_EQ(local(server).host(), ip("127.0.0.1"));
    EXPECT_NE(local(server).port(), 0);
    EXPECT_FALSE(port().peer_address(server));
    expect_echo(server);
    port().close(server);
    ASSERT_TRUE(turn_until_closed(server));
    EXPECT_FALSE(is_open(fd));
}

TEST_P(port_adopting, AConnectedSocketIsAClientOfItsPeer) {
    start();
    const foreign_socket peer;
    const foreign_socket original;
    ASSERT_EQ(original.connect(peer.local()), 0);
    const endpoint_id client = adopt(copy_of(original), ownership::take);
    EXPECT_EQ(port().peer_address(client), peer.local());
    EXPECT_EQ(local(client), original.local());
    EXPECT_TRUE(send(client, "hello"));
    port().flush();
    EXPECT_EQ(peer.receive(), "hello");
    EXPECT_EQ(port().connect(client, peer.local()), errc::already_connected);
}

TEST_P(port_adopting, ASocketThatIsNotBoundIsBoundToAPort) {
    start();
    const endpoint_id v4 = adopt(raw_socket(AF_INET, SOCK_DGRAM), ownership::take);
    EXPECT_EQ(local(v4).host(), ip("0.0.0.0"));
    EXPECT_NE(local(v4).port(), 0);
    expect_echo(v4);
    if (!has_ipv6()) return;
    const endpoint_id v6 = adopt(raw_socket(AF_INET6, SOCK_DGRAM), ownership::take);
    EXPECT_EQ(local(v6).host(), ip("::"));
    EXPECT_NE(local(v6).port(), 0);
    const foreign_socket peer(address("::1", 0));
    ASSERT_EQ(peer.send("hello", {"::1", local(v6).port()}), 0);
    ASSERT_TRUE(turn_until_readable(v6, 1));
    EXPECT_EQ(port().receive(v6)->peer(), peer.local());
}

TEST_P(port_adopting, AnIpv6SocketMayTakeIpv4Too) {
    if (!has_ipv6()) GTEST_SKIP() << "no IPv6";
    start();
    const int fd = raw_socket(AF_INET6, SOCK_DGRAM);
    const int off = 0;
    ASSERT_EQ(::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off), 0);
    const endpoint_id server = adopt(fd, ownership::take);
    const foreign_socket peer;
    ASSERT_EQ(peer.send("hello", {"127.0.0.1", local(server).port()}), 0);
    ASSERT_TRUE(turn_until_readable(server, 1));
    auto request = port().receive(server);
    EXPECT_EQ(request->peer(), address("::ffff:127.0.0.1", peer.local().port()));
    EXPECT_TRUE(port().send(server, *std::move(request)));
    port().flush();
    EXPECT_EQ(peer.receive(), "hello");
}

TEST_P(port_adopting, TheCallerMayCloseTheOriginalOfADuplicateAtOnce) {
    start();
    foreign_socket original;
    const endpoint_id server = adopt(original.descriptor(), ownership::duplicate);
    EXPECT_NE(port().descriptor(server), original.descriptor());
    EXPECT_EQ(local(server), original.local());
    original.close();
    expect_echo(server);
}

TEST_P(port_adopting, ClosingADuplicateLeavesTheSocketAndWhatItHoldsToItsOwner) {
    start();
    const foreign_socket original;
    const foreign_socket peer;
    const endpoint_id server = adopt(original.descriptor(), ownership::duplicate);
    expect_echo(server);
    port().close(server);
    ASSERT_TRUE(turn_until_closed(server));
    ASSERT_EQ(peer.send("still here?", original.local()), 0);
    EXPECT_EQ(original.receive(), "still here?");
    port().release(server);

    // What is in the socket when it is closed is the owner's as well.
    const endpoint_id again = adopt(original.descriptor(), ownership::duplicate,
                                    {.queue_size_max = 1, .on_full = when_full::pause});
    ASSERT_EQ(peer.send("for the endpoint", original.local()), 0);
    ASSERT_TRUE(turn_until_readable(again, 1));
    settle();  // it is paused: the rest stays in the socket
    send_numbers(peer, original.local(), 3);
    ASSERT_TRUE(wait_for_queue(original.descriptor(), 3));
    expect_balanced(again);
    port().close(again);
    ASSERT_TRUE(turn_until_closed(again));
    for (const auto& text : numbers(3))
        EXPECT_EQ(original.receive(), text);
    EXPECT_EQ(peer.send("and after", original.local()), 0);
    EXPECT_EQ(original.receive(), "and after");
    EXPECT_EQ(read_all(again), strings{"for the endpoint"});
    EXPECT_EQ(port().stats(again).received.dropped.late, 0U);
    expect_balanced(again);
}

TEST_P(port_adopting, DestroyingThePortLeavesADuplicatedSocketAlone) {
    start();
    const foreign_socket original;
    const foreign_socket peer;
    const endpoint_id server = adopt(original.descriptor(), ownership::duplicate);
    expect_echo(server);
    destroy_port();
    ASSERT_EQ(peer.send("still here?", original.local()), 0);
    EXPECT_EQ(original.receive(), "still here?");
}

TEST_P(port_adopting, WhatTheSocketHoldsIsDelivered) {
    start();
    const foreign_socket original;
    const foreign_socket peer;
    send_numbers(peer, original.local(), 5);
    const endpoint_id server = adopt(copy_of(original), ownership::take);
    ASSERT_TRUE(turn_until_readable(server, 5));
    EXPECT_EQ(read_all(server), numbers(5));
    expect_balanced(server);
}

TEST_P(port_adopting, WhatStrangersSentBeforeItWasConnectedIsDeliveredToo) {
    start();
    const foreign_socket original;
    const foreign_socket peer;
    const foreign_socket stranger;
    ASSERT_EQ(stranger.send("before", original.local()), 0);
    ASSERT_EQ(original.connect(peer.local()), 0);
    const endpoint_id client = adopt(copy_of(original), ownership::take);
    ASSERT_TRUE(turn_until_readable(client, 1));
    EXPECT_EQ(port().receive(client)->peer(), stranger.local());
}

TEST_P(port_adopting, OldOptionsAreOverruled) {
    start();
    const foreign_socket original;
    const foreign_socket peer;
    for (const int name : {IP_RECVERR, IP_PKTINFO, IP_RECVTOS, IP_RECVTTL})
        ASSERT_EQ(original.set_option(IPPROTO_IP, name, 1), 0);
    ASSERT_EQ(original.set_option(SOL_SOCKET, SO_TIMESTAMPNS, 1), 0);
    ASSERT_EQ(original.set_option(SOL_SOCKET, SO_RXQ_OVFL, 1), 0);
    ASSERT_EQ(original.set_option(SOL_UDP, UDP_CORK, 1), 0);
    const bool has_segment = original.set_option(SOL_UDP, UDP_SEGMENT, 3) == 0;
    const bool has_gro = original.set_option(SOL_UDP, UDP_GRO, 1) == 0;
    // Small buffers have no room for control messages that nobody asked for.
    const endpoint_id server = adopt(copy_of(original), ownership::take,
                                     {.payload_size_max = 512, .offload = offload::off});
    EXPECT_EQ(option(original.descriptor(), IPPROTO_IP, IP_RECVERR), 0);
    if (has_gro) {
        EXPECT_EQ(option(original.descriptor(), SOL_UDP, UDP_GRO), 0);
    }
    if (has_segment) {
        EXPECT_EQ(option(original.descriptor(), SOL_UDP, UDP_SEGMENT), 0);
    }
    // An error of somebody dead is not in the way of the next send.
    EXPECT_TRUE(sendto(server, "to nobody", dead_address()));
    port().flush();
    EXPECT_TRUE(sendto(server, "one datagram", peer.local()));
    port().flush();
    EXPECT_EQ(peer.receive(), "one datagram");
    ASSERT_EQ(peer.send("and back", local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, 1));
    const auto got = port().receive(server);
    EXPECT_EQ(got->text(), "and back");
    EXPECT_FALSE(got->local() || got->tos() || got->ttl() || got->received_at());
    EXPECT_EQ(port().stats(server).sent.errors, 0U);
    EXPECT_EQ(port().stats(server).received.dropped.invalid, 0U);
}

TEST_P(port_adopting, MetadataIsHadOfAnAdoptedSocketToo) {
    start();
    const foreign_socket original;
    const foreign_socket peer;
    const endpoint_id server =
        adopt(copy_of(original), ownership::take,
              {.received_metadata = metadata::ttl | metadata::local_address});
    ASSERT_EQ(peer.send("hello", local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, 1));
    const auto got = port().receive(server);
    EXPECT_EQ(got->ttl(), 64);
    EXPECT_EQ(got->local(), original.local());
}

TEST_P(port_adopting, ADuplicateReceivesTrainsOnlyIfItWasAskedTo) {
    start();
    const foreign_socket probe;
    if (probe.set_option(SOL_UDP, UDP_GRO, 0) != 0) GTEST_SKIP() << "no UDP_GRO here";
    const auto gro_after = [&](ownership how, offload trains) {
        const foreign_socket original;
        const endpoint_id server =
            adopt(how == ownership::take ? copy_of(original) : original.descriptor(), how,
                  {.offload = trains});
        const int value = option(original.descriptor(), SOL_UDP, UDP_GRO);
        port().release(server);
        return value;
    };
    EXPECT_EQ(gro_after(ownership::take, offload::automatic), 1);
    EXPECT_EQ(gro_after(ownership::duplicate, offload::automatic), 0);
    EXPECT_EQ(gro_after(ownership::duplicate, offload::on), 1);
}

// A process that was forked before, or whom it was passed to.
TEST_P(port_adopting, WhoeverElseHasATakenSocketGoesOnReceiving) {
    start();
    const foreign_socket original;
    const endpoint_id server = adopt(copy_of(original), ownership::take);
    expect_echo(server);
    port().close(server);
    ASSERT_TRUE(turn_until_closed(server));
    const foreign_socket peer;
    ASSERT_EQ(peer.send("still here?", original.local()), 0);
    EXPECT_EQ(original.receive(), "still here?");
}

TEST_P(port_adopting, OldDropsAreNotCounted) {
    start();
    const foreign_socket original;
    const foreign_socket peer;
    ASSERT_EQ(original.set_option(SOL_SOCKET, SO_RCVBUF, 2304), 0);
    const std::string payload(1000, 'p');
    for (int i = 0; i < 20; ++i)
        ASSERT_EQ(peer.send(payload, original.local()), 0);
    std::size_t held = 0;
    while (original.has_datagram() && original.receive())
        ++held;
    ASSERT_LT(held, 20U) << "nothing was dropped";
    const endpoint_id server = adopt(copy_of(original), ownership::take);
    EXPECT_EQ(port().stats(server).received.dropped.kernel_packets, 0U);
    expect_echo(server);
    port().close(server);
    ASSERT_TRUE(turn_until_closed(server));
    EXPECT_EQ(port().stats(server).received.dropped.kernel_packets, 0U);
}

TEST_P(port_adopting, WhetherADescriptorBlocksIsNotChanged) {
    start();
    for (const int flag : {0, O_NONBLOCK}) {
        const int fd = raw_socket(AF_INET, SOCK_DGRAM);
        ASSERT_EQ(::fcntl(fd, F_SETFL, flag), 0);
        const endpoint_id server = adopt(fd, ownership::duplicate);
        EXPECT_EQ(::fcntl(fd, F_GETFL) & O_NONBLOCK, flag);
        expect_echo(server);
        turn_at_once();  // an empty socket that blocks blocks nobody here
        port().release(server);
        EXPECT_EQ(::fcntl(fd, F_GETFL) & O_NONBLOCK, flag);
        ::close(fd);
    }
}

TEST_P(port_adopting, BroadcastIsAsTheSocketHasItUnlessAskedFor) {
    start();
    const foreign_socket allowed;
    ASSERT_EQ(allowed.set_option(SOL_SOCKET, SO_BROADCAST, 1), 0);
    const foreign_socket not_allowed;
    const address everybody("255.255.255.255", 9);
    const endpoint_id may = adopt(copy_of(allowed), ownership::take);
    EXPECT_TRUE(port().broadcast(may));
    EXPECT_NE(sendto(may, "x", everybody), std::errc::permission_denied);
    const endpoint_id may_not = adopt(copy_of(not_allowed), ownership::take);
    EXPECT_EQ(sendto(may_not, "x", everybody), std::errc::permission_denied);
    const endpoint_id asked = adopt(copy_of(not_allowed), ownership::take, {.broadcast = true});
    EXPECT_TRUE(port().broadcast(asked));
}

TEST_P(port_adopting, WhatIsNoUdpSocketIsRefusedAndNamed) {
    start();
    using std::errc;
    expect_refused(raw_socket(AF_INET, SOCK_STREAM), errc::wrong_protocol_type, "no UDP socket");
    expect_refused(raw_socket(AF_UNIX, SOCK_DGRAM), quoit::errc::not_supported, "family 1");
    expect_refused(::open("/dev/null", O_RDONLY | O_CLOEXEC), errc::not_a_socket, "descriptor");
    // IPPROTO_UDPLITE, where there is such a thing.
    if (const int lite = raw_socket(AF_INET, SOCK_DGRAM, 136); lite >= 0) {
        expect_refused(lite, errc::wrong_protocol_type, "no UDP socket");
    }
    const int closed = raw_socket(AF_INET, SOCK_DGRAM);
    ::close(closed);
    for (const int fd : {closed, -1}) {
        for (const ownership how : {ownership::take, ownership::duplicate}) {
            const auto refused = port().adopt(fd, how);
            ASSERT_FALSE(refused);
            EXPECT_EQ(refused.error(), errc::bad_file_descriptor) << refused.error();
        }
    }
}

TEST_P(port_adopting, ASocketThatIsNotAsWantedIsRefused) {
    start();
    const foreign_socket peer;
    const foreign_socket unconnected;
    expect_refused(copy_of(unconnected), errc::not_connected, "no peer", connectedness::connected);
    ASSERT_EQ(unconnected.connect(peer.local()), 0);
    expect_refused(copy_of(unconnected), errc::already_connected, peer.local().to_string(),
                   connectedness::unconnected);
}

TEST_P(port_adopting, ATakenDescriptorIsClosedWhateverFails) {
    start({.socket_count_max = 1});
    const int with_bad_options = raw_socket(AF_INET, SOCK_DGRAM);
    const auto refused = port().adopt(with_bad_options, ownership::take, {.payload_size_max = 0});
    EXPECT_EQ(refused.error(), errc::invalid_option);
    EXPECT_FALSE(is_open(with_bad_options));
    static_cast<void>(open());
    const int one_too_many = raw_socket(AF_INET, SOCK_DGRAM);
    EXPECT_EQ(port().adopt(one_too_many, ownership::take).error(), std::errc::too_many_files_open);
    EXPECT_FALSE(is_open(one_too_many));
}

INSTANTIATE_TEST_SUITE_P(, port_adopting, ::testing::ValuesIn(port_parameters()),
                         port_parameter_name);

}  // namespace
}  // namespace quoit::test
