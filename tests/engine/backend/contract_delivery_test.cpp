// SPDX-License-Identifier: MIT
//
// The contract of io_backend (backend/backend.hpp), on every implementation: rules 2, 3 and 5.
#include "engine/backend/contract_test.hpp"

namespace quoit::test {
namespace {

INSTANTIATE_TEST_SUITE_P(backend, contract, ::testing::ValuesIn(backends_built()), backend_name);

// --- rules 2 and 3: batches, and order within a source ---

TEST_P(contract, ADatagramIsDeliveredWithItsBytesAndItsSender) {
    start();
    const receiver server = open_receiver();
    const int client = open_socket();
    ASSERT_EQ(send(client, "hello", server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 1; }));
    EXPECT_EQ(datagrams(server)[0].payload, "hello");
    EXPECT_EQ(datagrams(server)[0].original_size, 5U);
    EXPECT_EQ(datagrams(server)[0].length, 16U + 16U + 5U);
    EXPECT_EQ(datagrams(server)[0].segment, 0U);
    EXPECT_EQ(datagrams(server)[0].peer, network().local(client));
}

TEST_P(contract, AnIpv6DatagramIsDeliveredWithItsBytesAndItsSender) {
    start();
    const int client = open_socket(family::ipv6);
    if (client == -EADDRNOTAVAIL || client == -EAFNOSUPPORT) GTEST_SKIP() << "no IPv6 loopback";
    ASSERT_GE(client, 0);
    const receiver server = open_receiver({.of = family::ipv6});
    ASSERT_EQ(send(client, "hello", server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 1; }));
    EXPECT_EQ(datagrams(server)[0].payload, "hello");
    EXPECT_EQ(datagrams(server)[0].length, 16U + 28U + 5U);
    EXPECT_EQ(datagrams(server)[0].peer, network().local(client));
}

TEST_P(contract, AConnectedSocketReceivesFromItsPeer) {
    start();
    const int client = open_socket();
    const receiver server = open_receiver({.connected_to = network().local(client)});
    ASSERT_EQ(send(client, "hello", server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 1; }));
    EXPECT_EQ(datagrams(server)[0].peer, network().local(client));
}

TEST_P(contract, DatagramsOfASourceComeInTheOrderInWhichTheyWereSent) {
    start();
    const receiver server = open_receiver();
    const int client = open_socket();
    // Rounds of every size around those that are read at once.
    std::size_t sent = 0;
    for (std::size_t round = 1; round <= 100; ++round) {
        send_numbers(client, server.local, sent, round);
        sent += round;
        ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == sent; }));
    }
    expect_numbers(server, sent);
}

TEST_P(contract, DatagramsThatWaitedBeforeAttachComeFirst) {
    start();
    receiver server = open_detached();
    const int client = open_socket();
    send_numbers(client, server.local, 0, 10);
    ASSERT_TRUE(network().wait_for_queue(server.fd, 10));
    attach(server);
    send_numbers(client, server.local, 10, 10);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 20; }));
    expect_numbers(server, 20);
}

TEST_P(contract, EverySourceGetsItsOwnDatagrams) {
    start();
    const int client = open_socket();
    std::vector<receiver> servers;
    for (std::size_t i = 0; i < 20; ++i)
        servers.push_back(open_receiver());
    for (std::size_t round = 0; round < 5; ++round) {
        for (std::size_t i = 0; i < servers.size(); ++i) {
            const std::string text = std::to_string(i) + "/" + std::to_string(round);
            ASSERT_EQ(send(client, text, servers[i].local), 0);
        }
    }
    ASSERT_TRUE(turn_until([&] { return datagrams_seen() == servers.size() * 5; }));
    for (std::size_t i = 0; i < servers.size(); ++i) {
        const std::string of = std::to_string(i);
        EXPECT_EQ(payloads(servers[i]),
                  (strings{of + "/0", of + "/1", of + "/2", of + "/3", of + "/4"}));
    }
}

TEST_P(contract, OneTurnDeliversAtLeastHalfOf64WaitingDatagrams) {
    start({.small_count = 128});
    receiver server = open_detached();
    const int client = open_socket();
    send_numbers(client, server.local, 0, 64);
    ASSERT_TRUE(network().wait_for_queue(server.fd, 64));
    attach(server);
    turn(at_once);
    EXPECT_GE(datagrams(server).size(), 32U);
    EXPECT_LE(deliveries(), 2U) << "datagrams are delivered in batches, not one by one";
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 64; }));
    expect_numbers(server, 64);
}

TEST_P(contract, OneTurnReadsSeveralSourcesInOneBatch) {
    start({.small_count = 256});
    const int client = open_socket();
    std::vector<receiver> servers;
    for (int i = 0; i < 8; ++i) {
        servers.push_back(open_detached());
        send_numbers(client, servers.back().local, 0, 20);
    }
    for (receiver& one : servers) {
        ASSERT_TRUE(network().wait_for_queue(one.fd, 20));
        attach(one);
    }
    turn(at_once);
    EXPECT_GE(datagrams_seen(), 80U);
    EXPECT_LE(deliveries(), 4U);
    ASSERT_TRUE(turn_until([&] { return datagrams_seen() == 160; }));
}

// --- rule 5: every datagram is an event, an empty one too ---

TEST_P(contract, AnEmptyDatagramIsDeliveredAndReceivingGoesOn) {
    start();
    const receiver server = open_receiver();
    const int client = open_socket();
    ASSERT_EQ(send(client, "", server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 1; }));
    ASSERT_EQ(send(client, "full", server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 2; }));
    EXPECT_EQ(payloads(server), (strings{"", "full"}));
    EXPECT_EQ(datagrams(server)[0].length, 32U) << "header and name, no payload";
    EXPECT_EQ(datagrams(server)[0].peer, network().local(client));
}

TEST_P(contract, AFullDatagramBehindAHundredEmptyOnesIsDelivered) {
    start();
    const receiver server = open_receiver();
    const int client = open_socket();
    for (int i = 0; i < 100; ++i)
        ASSERT_EQ(send(client, "", server.local), 0);
    ASSERT_EQ(send(client, "full", server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 101; }));
    strings expected(100);
    expected.emplace_back("full");
    EXPECT_EQ(payloads(server), expected);
}

TEST_P(contract, EmptyAndFullDatagramsKeepTheirOrder) {
    start();
    const receiver server = open_receiver();
    const int client = open_socket();
    strings expected;
    for (std::size_t i = 0; i < 120; ++i) {
        // Runs of empties of every length from 0 to 4.
        expected.push_back(i % 7 < i % 5 ? std::string() : std::to_string(i));
        ASSERT_EQ(send(client, expected.back(), server.local), 0);
        if (i % 40 == 39) {
            ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == i + 1; }));
        }
    }
    EXPECT_EQ(payloads(server), expected);
}

TEST_P(contract, ADatagramThatFillsItsBufferIsWhole) {
    start();
    const receiver server = open_receiver();
    const int client = open_socket();
    const std::string text = pattern(small_buffer_stride - 32);
    ASSERT_EQ(send(client, text, server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 1; }));
    EXPECT_EQ(datagrams(server)[0].payload, text);
    EXPECT_EQ(datagrams(server)[0].original_size, text.size());
    EXPECT_EQ(datagrams(server)[0].length, small_buffer_stride);
}

TEST_P(contract, ADatagramThatDoesNotFitIsCutAndSaysHowLongItWas) {
    start();
    const receiver server = open_receiver();
    const int client = open_socket();
    const std::size_t room = small_buffer_stride - 32;
    const std::vector<std::size_t> sizes{room + 1, 3000, 60'000, 5};
    for (const std::size_t size : sizes)
        ASSERT_EQ(send(client, pattern(size), server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == sizes.size(); }));
    for (std::size_t i = 0; i < sizes.size(); ++i) {
        EXPECT_EQ(datagrams(server)[i].original_size, sizes[i]);
        EXPECT_EQ(datagrams(server)[i].payload, pattern(std::min(sizes[i], room)));
        EXPECT_LE(datagrams(server)[i].length, small_buffer_stride);
    }
}

TEST_P(contract, ALargeBufferHoldsTheLargestDatagram) {
    start();
    const receiver server = open_receiver({.pool = buffer_class::large});
    const int client = open_socket();
    const std::string text = pattern(65'507);
    ASSERT_EQ(send(client, text, server.local), 0);
    ASSERT_EQ(send(client, "after", server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 2; }));
    EXPECT_EQ(payloads(server), (strings{text, "after"}));
}

TEST_P(contract, SourcesOfBothPoolsNameTheBuffersOfTheirOwn) {
    start();
    const receiver small = open_receiver();
    const receiver large = open_receiver({.pool = buffer_class::large});
    const int client = open_socket();
    for (std::size_t i = 0; i < 40; ++i) {
        ASSERT_EQ(send(client, std::to_string(i), small.local), 0);
        ASSERT_EQ(send(client, std::to_string(i), large.local), 0);
        ASSERT_TRUE(turn_until([&] { return datagrams_seen() == 2 * (i + 1); }));
    }
    expect_numbers(small, 40);
    expect_numbers(large, 40);
    for (const event& one : events()) {
        if (one.kind != event_kind::datagram) continue;
        EXPECT_EQ(one.pool, one.tag == large.tag ? buffer_class::large : buffer_class::small);
    }
}

TEST_P(contract, ATrainIsOneEventWithItsSegment) {
    start();
    const receiver server = open_receiver({.pool = buffer_class::large, .has_gro = true});
    const int client = open_socket();
    const std::string text = pattern(1050);
    const int error = network().send(client, text, &server.local, 100);
    if (error == -EINVAL || error == -EIO || error == -EOPNOTSUPP) {
        GTEST_SKIP() << "no UDP_SEGMENT here: " << std::strerror(-error);
    }
    ASSERT_EQ(error, 0);
    ASSERT_EQ(send(client, "plain", server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 2; }));
    EXPECT_EQ(payloads(server), (strings{text, "plain"}));
    EXPECT_EQ(datagrams(server)[0].segment, 100U);
    EXPECT_EQ(datagrams(server)[0].count, 11U);
    EXPECT_EQ(datagrams(server)[1].segment, 0U);
}

}  // namespace
}  // namespace quoit::test
