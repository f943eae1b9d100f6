// SPDX-License-Identifier: MIT
//
// What answers are sent from. A client that is connected is the judge: it hears nothing that comes
// from another address than the one it wrote to.
#include "engine/runtime/port_test.hpp"

#include <netinet/udp.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103  // since Linux 4.18, <linux/udp.h>
#endif

namespace quoit::test {
namespace {

class port_reply_source : public port_test {
  protected:
    void in_namespace_with_interfaces(const std::function<void()>& body) {
        in_namespace({}, [&] {
            if (!add_interfaces()) GTEST_SKIP() << "no ip(8) or no veth";
            body();
        });
    }
    // Answers what comes, in each of the ways there are.
    enum class answering : std::uint8_t { by_view, by_lease, by_copy, by_own_bytes, to_its_peer };
    static constexpr std::array every_way{answering::by_view, answering::by_lease,
                                          answering::by_copy, answering::by_own_bytes,
                                          answering::to_its_peer};
    status answer(endpoint_id server, datagram request, answering how) {
        switch (how) {
            case answering::by_view:
                return port().reply(server, request.view(), byte_view(request));
            case answering::by_lease: return port().send(server, std::move(request));
            case answering::by_copy: {
                const datagram kept = request.to_owned();
                return port().reply(server, kept.view(), byte_view(kept));
            }
            case answering::by_own_bytes: return port().send(server, request.to_owned());
            case answering::to_its_peer: {
                const address peer = request.peer();
                return port().sendto(server, std::move(request), peer);
            }
        }
        return errc::invalid_option;
    }
    void expect_answers(endpoint_id server, const address& written_to,
                        const address& client_at = any_port) {
        for (const answering how : every_way) {
            SCOPED_TRACE(static_cast<int>(how));
            const foreign_socket client(client_at);
            ASSERT_EQ(client.connect(written_to), 0);
            ASSERT_EQ(client.send("request", written_to), 0);
            ASSERT_TRUE(turn_until_readable(server, 1));
            auto request = port().receive(server);
            ASSERT_TRUE(request);
            EXPECT_EQ(request->local(), written_to);
            EXPECT_TRUE(answer(server, *std::move(request), how));
            port().flush();
            EXPECT_EQ(client.receive(), "request");
        }
        EXPECT_EQ(port().stats(server).sent.errors, 0U);
    }
};

TEST_P(port_reply_source, AnAnswerComesFromTheAddressTheRequestWasSentTo) {
    start();
    const endpoint_id server = open({}, address("0.0.0.0", 0));
    for (const ip host : {ip("127.0.0.1"), ip("127.0.0.2"), ip("127.0.0.3")}) {
        expect_answers(server, {host, local(server).port()});
    }
}

TEST_P(port_reply_source, AnAnswerComesFromThereInSmallBuffersToo) {
    start();
    const endpoint_id server = open({.payload_size_max = 512}, address("0.0.0.0", 0));
    expect_answers(server, {"127.0.0.2", local(server).port()});
}

TEST_P(port_reply_source, AnAnswerOfAnAdoptedSocketComesFromThere) {
    start();
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const auto server = port().adopt(fd, ownership::take);
    ASSERT_TRUE(server) << server.error();
    expect_answers(*server, {"127.0.0.2", local(*server).port()});
}

TEST_P(port_reply_source, OnIpv6AnAnswerComesFromThereToo) {
    in_namespace({}, [&] {
        if (!add_loopback_addresses()) GTEST_SKIP() << "no ip(8)";
        start();
        const auto server = port().open_every_interface(0);
        ASSERT_TRUE(server) << server.error();
        const std::uint16_t number = local(*server).port();
        for (const ip host : {ip("::1"), ip("fd00::2"), ip("fd00::3")}) {
            expect_answers(*server, {host, number}, address("::1", 0));
        }
        expect_answers(*server, {"127.0.0.2", number});
    });
}

TEST_P(port_reply_source, ALinkLocalAnswerComesFromThereOnTheSameInterface) {
    in_namespace_with_interfaces([&] {
        start();
        const endpoint_id server = open({}, address("::", 0));
        const auto here = ip::parse("fe80::1%near");
        const auto there = ip::parse("fe80::2%near");
        ASSERT_TRUE(here && there);
        ASSERT_NE(here->scope(), 0U);
        expect_answers(server, address(*there, local(server).port()), address(*here, 0));
        expect_answers(server, address(*here, local(server).port()), address(*there, 0));
    });
}

TEST_P(port_reply_source, ByRouteItMayComeFromElsewhereAndCostsNothing) {
    start();
    const endpoint_id server =
        open({.reply_source = reply_source::by_route}, address("0.0.0.0", 0));
    const foreign_socket client;
    ASSERT_EQ(client.send("request", {"127.0.0.2", local(server).port()}), 0);
    ASSERT_TRUE(turn_until_readable(server, 1));
    auto request = port().receive(server);
    EXPECT_FALSE(request->local());
    EXPECT_TRUE(port().send(server, *std::move(request)));
    port().flush();
    sockaddr_in from{};
    socklen_t size = sizeof from;
    ASSERT_TRUE(client.has_datagram());
    char byte = 0;
    EXPECT_EQ(
        ::recvfrom(client.descriptor(), &byte, 1, 0, reinterpret_cast<sockaddr*>(&from), &size), 1);
    EXPECT_EQ(ntohl(from.sin_addr.s_addr), 0x7f000001U);
}

TEST_P(port_reply_source, WhatIsSentOnToSomebodyElseLeavesByTheRoute) {
    start();
    const endpoint_id server = open({}, address("0.0.0.0", 0));
    const std::uint16_t number = local(server).port();
    const foreign_socket client;
    const foreign_socket third;
    ASSERT_EQ(third.connect({"127.0.0.1", number}), 0);
    ASSERT_EQ(client.send("pass it on", {"127.0.0.2", number}), 0);
    ASSERT_TRUE(turn_until_readable(server, 1));
    EXPECT_TRUE(port().sendto(server, *port().receive(server), third.local()));
    port().flush();
    EXPECT_EQ(third.receive(), "pass it on");
}

TEST_P(port_reply_source, TheEchoOfATrainIsOneMessageFromThere) {
    start();
    constexpr int segment = 64;
    constexpr std::size_t count = 64;
    const endpoint_id server = open({.receive_buffer_size = roomy}, address("0.0.0.0", 0));
    const address written_to("127.0.0.2", local(server).port());
    const foreign_socket client;
    if (client.set_option(SOL_UDP, UDP_SEGMENT, segment) != 0) GTEST_SKIP() << "no UDP_SEGMENT";
    ASSERT_EQ(client.connect(written_to), 0);
    ASSERT_EQ(client.send(std::string(segment * count, 't'), written_to), 0);
    ASSERT_TRUE(turn_until_readable(server, count));
    while (auto received = port().receive(server))
        ASSERT_TRUE(port().send(server, *std::move(received)));
    EXPECT_EQ(port().stats(server).leases_held, 1U);
    port().flush();
    for (std::size_t i = 0; i < count; ++i)
        ASSERT_EQ(client.receive(), std::string(segment, 't'));
    EXPECT_EQ(port().stats(server).sent.trains, 1U);
    EXPECT_EQ(port().stats(server).sent.coalesced, count);
}

TEST_P(port_reply_source, AnswersFromTwoAddressesToOnePeerAreNotMixed) {
    start();
    const endpoint_id server = open({}, address("0.0.0.0", 0));
    const std::uint16_t number = local(server).port();
    const foreign_socket client;
    constexpr std::size_t count = 20;
    const std::array<ip, 2> hosts{ip("127.0.0.2"), ip("127.0.0.3")};
    for (std::size_t i = 0; i < count; ++i) {
        const std::string last_part = i % 2 == 0 ? "2" : "3";
        ASSERT_EQ(client.send(last_part, {hosts[i % 2], number}), 0);
    }
    ASSERT_TRUE(turn_until_readable(server, count));
    while (auto received = port().receive(server)) {
        ASSERT_TRUE(port().reply(server, received->view(), byte_view(*received)));
        ASSERT_TRUE(port().send(server, *std::move(received)));
    }
    port().flush();
    for (std::size_t i = 0; i < 2 * count; ++i) {
        ASSERT_TRUE(client.has_datagram());
        sockaddr_in from{};
        socklen_t size = sizeof from;
        char byte = 0;
        ASSERT_EQ(
            ::recvfrom(client.descriptor(), &byte, 1, 0, reinterpret_cast<sockaddr*>(&from), &size),
            1);
        EXPECT_EQ(byte - '0', static_cast<int>(ntohl(from.sin_addr.s_addr) & 0xffU));
    }
}

TEST_P(port_reply_source, AnswersThatWaitedForTheKernelComeFromThereToo) {
    in_namespace({.loopback_shape = "tbf rate 8mbit burst 4kb limit 1mb"}, [&] {
        start();
        const endpoint_id server =
            open({.receive_buffer_size = roomy, .send_buffer_size = 4608, .offload = offload::off},
                 address("0.0.0.0", 0));
        const foreign_socket client;
        const address written_to("127.0.0.2", local(server).port());
        ASSERT_EQ(client.connect(written_to), 0);
        ASSERT_EQ(client.send(std::string(1000, 'p'), written_to), 0);
        ASSERT_TRUE(turn_until_readable(server, 1));
        const auto request = port().receive(server);
        constexpr std::size_t count = 40;
        for (std::size_t i = 0; i < count; ++i)
            ASSERT_TRUE(port().reply(server, request->view(), byte_view(*request)));
        port().flush();
        ASSERT_GT(port().stats(server).sent.waiting, 0U) << "the kernel took all";
        ASSERT_TRUE(turn_until([&] { return port().stats(server).sent.waiting == 0; }, "flushed"));
        for (std::size_t i = 0; i < count; ++i)
            ASSERT_EQ(client.receive(), std::string(1000, 'p'));
    });
}

TEST_P(port_reply_source, WhatIsAnsweredWhileConnectedGoesToThePeerAlone) {
    start();
    const endpoint_id server = open({}, address("0.0.0.0", 0));
    const foreign_socket client;
    ASSERT_EQ(client.send("request", {"127.0.0.2", local(server).port()}), 0);
    ASSERT_TRUE(turn_until_readable(server, 1));
    auto request = port().receive(server);
    ASSERT_TRUE(port().connect(server, client.local()));
    EXPECT_TRUE(port().send(server, *std::move(request)));
    port().flush();
    EXPECT_EQ(client.receive(), "request");
    EXPECT_EQ(port().stats(server).sent.errors, 0U);
}

// --- broadcast ---

TEST_P(port_reply_source, ABroadcastIsHeardAndAnsweredFromTheInterfacesAddress) {
    in_namespace_with_interfaces([&] {
        start();
        const endpoint_id server = open({}, address("0.0.0.0", 0));
        const address everybody("10.9.0.255", local(server).port());
        const endpoint_id client = open({.broadcast = true}, address("10.9.0.1", 0));
        EXPECT_TRUE(sendto(client, "anybody?", everybody));
        port().flush();
        ASSERT_TRUE(turn_until_readable(server, 1));
        auto request = port().receive(server);
        EXPECT_EQ(request->text(), "anybody?");
        EXPECT_EQ(request->peer(), local(client));
        EXPECT_EQ(request->local(), everybody);
        EXPECT_TRUE(port().send(server, *std::move(request)));
        port().flush();
        ASSERT_TRUE(turn_until_readable(client, 1));
        EXPECT_EQ(port().receive(client)->peer(), address("10.9.0.1", everybody.port()));
        EXPECT_EQ(port().stats(server).sent.errors, 0U);
    });
}

TEST_P(port_reply_source, ASubnetsBroadcastAddressNeedsTheOptionToo) {
    in_namespace_with_interfaces([&] {
        start();
        const endpoint_id client = open({}, address("10.9.0.1", 0));
        const address everybody("10.9.0.255", 9);
        // Which addresses are everybody's in some network only the kernel knows.
        EXPECT_EQ(port().try_sendto(client, "x", everybody), std::errc::permission_denied);
        EXPECT_TRUE(sendto(client, "x", everybody));
        port().flush();
        EXPECT_EQ(port().stats(client).sent.errors, 1U);
        EXPECT_EQ(port().stats(client).sent.reasons.front().error, EACCES);
        ASSERT_TRUE(port().set_broadcast(client, true));
        EXPECT_TRUE(port().try_sendto(client, "x", everybody));
        ASSERT_TRUE(port().set_broadcast(client, false));
        EXPECT_EQ(port().try_sendto(client, "x", everybody), std::errc::permission_denied);
    });
}

INSTANTIATE_TEST_SUITE_P(, port_reply_source, ::testing::ValuesIn(port_parameters()),
                         port_parameter_name);

}  // namespace
}  // namespace quoit::test
