// SPDX-License-Identifier: MIT
//
// What quoit/port.hpp promises, on real sockets, whatever the port runs on: receiving: order,
// bounds and policies, sizes, metadata.
#include "engine/runtime/port_test.hpp"

namespace quoit::test {
namespace {

// --- receiving ---

TEST_P(port_test, DatagramsAreReceivedInTheOrderInWhichTheyWereSent) {
    start();
    const endpoint_id server = open();
    const foreign_socket client;
    send_numbers(client, local(server), 100);
    ASSERT_TRUE(turn_until_readable(server, 100));
    const auto first = port().receive(server);
    ASSERT_TRUE(first);
    EXPECT_EQ(first->text(), "0");
    EXPECT_EQ(first->peer(), client.local());
    EXPECT_TRUE(first->is_lease());
    EXPECT_FALSE(first->truncated());
    EXPECT_EQ(read_all(server), numbers(99, 1));
    EXPECT_EQ(port().receive(server).error(), errc::would_block);
    expect_balanced(server);
    EXPECT_EQ(port().stats(server).received.delivered, 100U);
}

TEST_P(port_test, EmptyDatagramsAreDatagrams) {
    start();
    const endpoint_id server = open();
    const foreign_socket client;
    for (int i = 0; i < 100; ++i)
        ASSERT_EQ(client.send("", local(server)), 0);
    ASSERT_EQ(client.send("full", local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, 101));
    for (int i = 0; i < 100; ++i) {
        const auto empty = port().receive(server);
        ASSERT_TRUE(empty);
        EXPECT_TRUE(empty->is_empty());
        EXPECT_EQ(empty->peer(), client.local());
    }
    EXPECT_EQ(read_all(server), (strings{"full"}));
    EXPECT_EQ(port().stats(server).received.empty, 100U);
    expect_balanced(server);
}

TEST_P(port_test, ABatchHasAsManyAsAskedForAndIsAppendedTo) {
    start();
    const endpoint_id server = open();
    const foreign_socket client;
    send_numbers(client, local(server), 10);
    ASSERT_TRUE(turn_until_readable(server, 10));
    datagram_batch batch;
    EXPECT_TRUE(port().receive_batch(server, 4, batch));
    EXPECT_EQ(batch.size(), 4U);
    EXPECT_EQ(port().readable_count(server), 6U);
    EXPECT_TRUE(port().receive_batch(server, 5, batch));
    EXPECT_TRUE(port().receive_batch(server, 100, batch));
    EXPECT_EQ(batch.size(), 10U);
    strings got;
    for (const datagram_view& one : batch)
        got.emplace_back(one.text());
    EXPECT_EQ(got, numbers(10));
    EXPECT_EQ(port().receive_batch(server, 4, batch), errc::would_block);
    EXPECT_EQ(port().stats(server).leases_held, 10U);
    batch = {};
    EXPECT_EQ(port().stats(server).leases_held, 0U);
}

TEST_P(port_test, ATurnTellsOfReadabilityOnceForAllThatCame) {
    start();
    if (!is_inline()) GTEST_SKIP() << "a worker may bring it in several turns";
    const endpoint_id server = open();
    turn();
    const foreign_socket client;
    send_numbers(client, local(server), 10);
    ASSERT_TRUE(wait_for_queue(port().descriptor(server), 10));
    turn();
    EXPECT_EQ(port().readable_count(server), 10U);
    EXPECT_EQ(events.of(server).readable, 1U);
    turn();
    EXPECT_EQ(events.of(server).readable, 1U);
}

TEST_P(port_test, EndpointsMayBeReleasedAndOpenedWhileATurnTells) {
    start();
    const endpoint_id first = open();
    const foreign_socket client;
    endpoint_id second;
    events.on_readable = [&](endpoint_id which) {
        if (which != first) return;
        EXPECT_EQ(read_all(first), (strings{"0"}));
        port().release(first);
        second = open();
    };
    ASSERT_EQ(client.send("0", local(first)), 0);
    ASSERT_TRUE(turn_until([&] { return second != endpoint_id{}; }, "readable"));
    ASSERT_EQ(client.send("1", local(second)), 0);
    ASSERT_TRUE(turn_until_readable(second, 1));
    EXPECT_EQ(events.of(first).readable, 1U);
    EXPECT_EQ(events.of(first).closed, 0U);
}

// --- a full queue ---

TEST_P(port_test, DropNewestKeepsWhatCameFirst) {
    start();
    const endpoint_id server = open({.queue_size_max = 10, .on_full = when_full::drop_newest});
    const foreign_socket client;
    send_numbers(client, local(server), 13);
    ASSERT_TRUE(turn_until([&] { return port().stats(server).received.passed == 13; }, "passed"));
    EXPECT_EQ(port().stats(server).received.dropped.queue_full, 3U);
    EXPECT_EQ(read_all(server), numbers(10));
    ASSERT_EQ(client.send("later", local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, 1));
    EXPECT_EQ(read_all(server), (strings{"later"}));
    expect_balanced(server);
}

TEST_P(port_test, DropOldestKeepsWhatCameLast) {
    start();
    const endpoint_id server = open({.queue_size_max = 10, .on_full = when_full::drop_oldest});
    const foreign_socket client;
    send_numbers(client, local(server), 13);
    ASSERT_TRUE(turn_until([&] { return port().stats(server).received.passed == 13; }, "passed"));
    EXPECT_EQ(port().stats(server).received.dropped.queue_full, 3U);
    EXPECT_EQ(read_all(server), numbers(10, 3));
    ASSERT_EQ(client.send("later", local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, 1));
    EXPECT_EQ(read_all(server), (strings{"later"}));
    expect_balanced(server);
}

TEST_P(port_test, PauseLosesNothing) {
    start();
    const endpoint_id server =
        open({.queue_size_max = 10, .on_full = when_full::pause, .receive_buffer_size = roomy});
    const foreign_socket client;
    constexpr std::size_t count = 400;
    send_numbers(client, local(server), count);
    ASSERT_TRUE(turn_until([&] { return port().readable_count(server) >= 10; }, "a full queue"));
    strings got;
    ASSERT_TRUE(turn_until(
        [&] {
            std::ranges::move(read_all(server), std::back_inserter(got));
            return got.size() >= count;
        },
        "everything read"));
    EXPECT_EQ(got, numbers(count));
    const stats ledger = port().stats(server);
    EXPECT_EQ(ledger.received.dropped.queue_full, 0U);
    EXPECT_EQ(ledger.received.dropped.kernel_packets, 0U);
    EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
}

TEST_P(port_test, PauseLeavesTheRestInTheKernel) {
    start();
    if (!is_inline()) GTEST_SKIP() << "when a worker has paused is not to be seen from here";
    const endpoint_id server = open({.queue_size_max = 10, .on_full = when_full::pause});
    const foreign_socket client;
    send_numbers(client, local(server), 10);
    ASSERT_TRUE(turn_until_readable(server, 10));
    turn_at_once();
    send_numbers(client, local(server), 30, 10);
    turn_at_once();
    EXPECT_EQ(port().readable_count(server), 10U);
    EXPECT_EQ(count_queued(port().descriptor(server)), 30U);
    EXPECT_EQ(read_all(server), numbers(10));
    ASSERT_TRUE(turn_until_readable(server, 30));
    EXPECT_EQ(read_all(server), numbers(30, 10));
}

TEST_P(port_test, AGreedySocketIsPausedWhileOthersFlowAndThenGoesOn) {
    constexpr std::uint32_t buffers = 256;
    constexpr std::size_t round = 20;
    start({.small_buffer_count = buffers});
    const udp_options small{
        .queue_size_max = 10'000, .payload_size_max = 1200, .receive_buffer_size = roomy};
    const endpoint_id greedy = open(small);
    const endpoint_id other = open(small);
    const foreign_socket client;
    std::size_t sent = 0;
    while (port().stats(greedy).leases_held * 2 <= buffers) {
        send_numbers(client, local(greedy), round, sent);
        sent += round;
        ASSERT_TRUE(turn_until(
            [&] {
                return port().readable_count(greedy) == sent ||
                       port().stats(greedy).leases_held * 2 > buffers;
            },
            "taken, or paused"));
    }
    // It holds more than half; what comes now stays in the kernel, but for what is on its way.
    send_numbers(client, local(greedy), 400, sent);
    sent += 400;
    for (const auto& text : numbers(50)) {
        ASSERT_EQ(client.send(text, local(other)), 0);
        ASSERT_TRUE(turn_until_readable(other, 1));
        EXPECT_EQ(read_all(other), (strings{text}));
    }
    EXPECT_LT(port().stats(greedy).leases_held, buffers);
    EXPECT_LT(port().readable_count(greedy), sent);
    strings got;
    ASSERT_TRUE(turn_until(
        [&] {
            std::ranges::move(read_all(greedy), std::back_inserter(got));
            return got.size() >= sent;
        },
        "the greedy one went on"));
    EXPECT_EQ(got, numbers(sent));
    EXPECT_EQ(port().stats(greedy).received.dropped.kernel_packets, 0U);
}

TEST_P(port_test, ASocketAloneMayHoldEveryBufferAndLosesNothing) {
    start({.small_buffer_count = 64, .large_buffer_count = 8});
    const endpoint_id server = open({.receive_buffer_size = roomy});
    const foreign_socket client;
    send_numbers(client, local(server), 100);
    ASSERT_TRUE(turn_until_readable(server, 8));
    turn_at_once();
    EXPECT_EQ(port().readable_count(server), 8U);
    EXPECT_GT(port().engine_stats().starved, 0U);
    strings got;
    ASSERT_TRUE(turn_until(
        [&] {
            std::ranges::move(read_all(server), std::back_inserter(got));
            return got.size() >= 100;
        },
        "everything read"));
    EXPECT_EQ(got, numbers(100));
}

// --- sizes and buffer classes ---

TEST_P(port_test, EndpointsOfSmallPayloadsUseSmallBuffers) {
    start({.small_buffer_count = 64, .large_buffer_count = 8});
    const endpoint_id server = open({.payload_size_max = 1200});
    const foreign_socket client;
    send_numbers(client, local(server), 40);
    ASSERT_TRUE(turn_until_readable(server, 40));  // more than there are large ones
    EXPECT_EQ(port().stats(server).leases_held, 40U);
}

TEST_P(port_test, WhatIsLongerThanAskedForIsCutSaysSoAndIsCounted) {
    for (const std::uint32_t size_max : {100U, 1200U, 3000U}) {
        start();
        const endpoint_id server = open({.payload_size_max = size_max});
        const foreign_socket client;
        const std::vector<std::size_t> sizes{size_max - 1, size_max, size_max + 1, 5000, 65'507};
        for (const std::size_t size : sizes) {
            ASSERT_EQ(client.send(std::string(size, 'x'), local(server)), 0);
        }
        ASSERT_TRUE(turn_until_readable(server, sizes.size()));
        for (const std::size_t size : sizes) {
            const auto got = port().receive(server);
            ASSERT_TRUE(got);
            EXPECT_EQ(got->size(), std::min<std::size_t>(size, size_max));
            EXPECT_EQ(got->truncated(), size > size_max) << size;
            EXPECT_EQ(got->original_size(), size);
        }
        EXPECT_EQ(port().stats(server).received.truncated, 3U);
        EXPECT_EQ(port().stats(server).received.bytes, 5U * size_max - 1);
        destroy_port();
    }
}

TEST_P(port_test, TheLargestDatagramArrivesWhole) {
    start();
    const endpoint_id server = open();
    const foreign_socket client;
    std::string payload(65'507, '\0');
    for (std::size_t i = 0; i < payload.size(); ++i)
        payload[i] = static_cast<char>('a' + i % 23);
    ASSERT_EQ(client.send(payload, local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, 1));
    auto got = port().receive(server);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->text(), payload);
    EXPECT_FALSE(got->truncated());
    EXPECT_TRUE(port().send(server, std::move(*got)));
    port().flush();
    EXPECT_EQ(client.receive(), payload);
}

// --- metadata ---

TEST_P(port_test, MetadataIsThereWhenAskedFor) {
    start();
    for (const address& host : {address("127.0.0.1", 0), address("::1", 0)}) {
        const bool is_v6 = host.family() == family::ipv6;
        if (is_v6 && !has_ipv6()) continue;
        for (const std::uint32_t size_max : {1200U, payload_size_limit}) {
            const endpoint_id server =
                open({.payload_size_max = size_max,
                      .received_metadata = metadata::local_address | metadata::timestamp |
                                           metadata::tos | metadata::ttl},
                     host);
            const foreign_socket client(host);
            const int level = is_v6 ? IPPROTO_IPV6 : IPPROTO_IP;
            ASSERT_EQ(client.set_option(level, is_v6 ? IPV6_TCLASS : IP_TOS, 0x28), 0);
            ASSERT_EQ(client.set_option(level, is_v6 ? IPV6_UNICAST_HOPS : IP_TTL, 33), 0);
            const auto before = std::chrono::system_clock::now();
            ASSERT_EQ(client.send("x", local(server)), 0);
            ASSERT_TRUE(turn_until_readable(server, 1));
            const auto after = std::chrono::system_clock::now();
            const auto got = port().receive(server);
            ASSERT_TRUE(got);
            EXPECT_EQ(got->local(), local(server));
            EXPECT_EQ(got->tos(), 0x28);
            EXPECT_EQ(got->ttl(), 33);
            ASSERT_TRUE(got->received_at());
            // The kernel reads a coarser clock than we do.
            EXPECT_GE(*got->received_at(), before - std::chrono::seconds(1));
            EXPECT_LE(*got->received_at(), after + std::chrono::seconds(1));
        }
    }
}

TEST_P(port_test, MetadataIsAbsentWhenNotAskedFor) {
    start();
    const endpoint_id server = open();
    const foreign_socket client;
    ASSERT_EQ(client.send("x", local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, 1));
    const auto got = port().receive(server);
    ASSERT_TRUE(got);
    EXPECT_FALSE(got->local());
    EXPECT_FALSE(got->received_at());
    EXPECT_FALSE(got->tos());
    EXPECT_FALSE(got->ttl());
}

TEST_P(port_test, OnEveryInterfaceADatagramSaysWhereItWasSentTo) {
    start();
    const auto server =
        port().open_every_interface(0, {.received_metadata = metadata::local_address});
    ASSERT_TRUE(server) << server.error();
    const address second = address("127.0.0.2", local(*server).port());
    const foreign_socket client;
    ASSERT_EQ(client.send("x", second), 0);
    ASSERT_TRUE(turn_until_readable(*server, 1));
    const auto got = port().receive(*server);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->local(), second);
}

// The kernel would drop the newest; so the oldest give way where the buffers are the bound.
TEST_P(port_test, DropOldestKeepsTheNewestWhenTheBuffersAreFewerThanTheQueue) {
    start({.large_buffer_count = 16});
    const endpoint_id server =
        open({.on_full = when_full::drop_oldest, .receive_buffer_size = roomy});
    const foreign_socket client;
    send_numbers(client, local(server), 500);
    ASSERT_TRUE(turn_until([&] { return port().stats(server).received.passed == 500; }, "passed"));
    const strings got = read_all(server);
    ASSERT_FALSE(got.empty());
    EXPECT_EQ(got.back(), "499");
    expect_balanced(server);
}

TEST_P(port_test, AnOptionThatAUserSetsOnTheDescriptorLosesNoDatagram) {
    start();
    const endpoint_id server = open();
    const int on = 1;
    ASSERT_EQ(::setsockopt(port().descriptor(server), SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on), 0);
    const foreign_socket client;
    send_numbers(client, local(server), 3);
    ASSERT_TRUE(turn_until_readable(server, 3));
    EXPECT_EQ(read_all(server), (strings{"0", "1", "2"}));
    expect_balanced(server);
}

TEST_P(port_test, AnEndpointDoesNotPayForALeaseThatAnotherLeft) {
    start();
    const foreign_socket client;
    const endpoint_id first = open();
    send_numbers(client, local(first), 5);
    ASSERT_TRUE(turn_until_readable(first, 5));
    std::vector<datagram> kept;
    for (int i = 0; i < 5; ++i)
        kept.push_back(or_throw(port().receive(first)));
    port().release(first);
    turn_at_once();
    const endpoint_id second = open();
    EXPECT_EQ(port().stats(second).leases_held, 0U);
    EXPECT_EQ(port().stats().leases_held, 5U);
    kept.clear();
    EXPECT_EQ(port().stats().leases_held, 0U);
}

// With workers, a release waits for its worker and takes in what has come for others meanwhile.
TEST_P(port_test, AnEndpointThatFillsUpWhileAnotherIsReleasedIsReadAgain) {
    start({.large_buffer_count = 16});
    const foreign_socket client;
    const endpoint_id going = open();
    const endpoint_id staying =
        open({.queue_size_max = 4, .on_full = when_full::pause, .receive_buffer_size = roomy});
    send_numbers(client, local(staying), 100);
    port().release(going);
    strings got;
    ASSERT_TRUE(turn_until(
        [&] {
            for (auto& one : read_all(staying))
                got.push_back(std::move(one));
            return got.size() == 100;
        },
        "all of them"));
    expect_balanced(staying);
}

}  // namespace
}  // namespace quoit::test
