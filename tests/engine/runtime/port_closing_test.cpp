// SPDX-License-Identifier: MIT
//
// What quoit/port.hpp promises, on real sockets, whatever the port runs on: closing, the ledger
// under load, leases.
#include "engine/runtime/port_test.hpp"

namespace quoit::test {
namespace {

// --- closing ---

TEST_P(port_test, WhatWasReceivedStaysReadableAfterClose) {
    start();
    const endpoint_id server = open();
    const foreign_socket client;
    send_numbers(client, local(server), 5);
    ASSERT_TRUE(turn_until_readable(server, 5));
    port().close(server);
    port().close(server);
    EXPECT_TRUE(port().is_closing(server));
    EXPECT_EQ(sendto(server, "x", client.local()), errc::closed);
    ASSERT_TRUE(turn_until([&] { return events.of(server).closed == 1; }, "closed"));
    EXPECT_TRUE(port().is_closed(server));
    EXPECT_EQ(port().descriptor(server), -1);
    turn_at_once();
    EXPECT_EQ(events.of(server).closed, 1U);
    EXPECT_EQ(read_all(server), numbers(5));
    EXPECT_EQ(port().receive(server).error(), errc::closed);
    datagram_batch batch;
    EXPECT_EQ(port().receive_batch(server, 1, batch), errc::closed);
    expect_balanced(server);
}

TEST_P(port_test, CloseTellsThatThereIsAnEndToRead) {
    start();
    const endpoint_id server = open();
    turn();
    port().close(server);
    ASSERT_TRUE(turn_until([&] { return events.of(server).readable == 1; }, "readable"));
    EXPECT_EQ(port().receive(server).error(), errc::closed);
}

TEST_P(port_test, CloseAndReleaseFlushOnce) {
    start();
    const foreign_socket peer;
    const endpoint_id closed = open();
    EXPECT_TRUE(sendto(closed, "closed", peer.local()));
    port().close(closed);
    EXPECT_EQ(peer.receive(), "closed");
    const endpoint_id released = open();
    EXPECT_TRUE(sendto(released, "released", peer.local()));
    port().release(released);
    EXPECT_EQ(peer.receive(), "released");
    const endpoint_id destroyed = open();
    EXPECT_TRUE(sendto(destroyed, "destroyed", peer.local()));
    destroy_port();
    EXPECT_EQ(peer.receive(), "destroyed");
}

TEST_P(port_test, AbortDropsWhatIsQueued) {
    start();
    const foreign_socket peer;
    const endpoint_id server = open();
    EXPECT_TRUE(sendto(server, "x", peer.local()));
    port().abort(server);
    ASSERT_TRUE(turn_until_closed(server));
    EXPECT_FALSE(peer.has_datagram());
    EXPECT_EQ(port().stats(server).sent.dropped, 1U);
    expect_balanced(server);
}

TEST_P(port_test, WhatIsReleasedUnreadIsCountedAsAbandoned) {
    start();
    const endpoint_id server = open();
    const foreign_socket client;
    send_numbers(client, local(server), 5);
    ASSERT_TRUE(turn_until_readable(server, 5));
    port().release(server);
    ASSERT_TRUE(turn_until_closed(server));
    turn_at_once();
    const stats sum = port().stats();
    EXPECT_EQ(sum.received.dropped.abandoned, 5U) << sum;
    EXPECT_EQ(sum.unexplained(), 0U) << sum;
    EXPECT_EQ(port().engine_stats().buffers_held, 0U);
}

TEST_P(port_test, APortNumberIsFreeAgainWhenItsEndpointIsClosed) {
    start();
    for (int round = 0; round < 20; ++round) {
        const endpoint_id server = open();
        const address where = local(server);
        turn();
        port().close(server);
        // An inline worker has let go already; a thread says when.
        if (!is_inline()) {
            ASSERT_TRUE(turn_until_closed(server));
        }
        EXPECT_TRUE(foreign_socket(where).is_open());
    }
}

TEST_P(port_test, TheNextOpenOfAReleasedPortNumberSucceeds) {
    start();
    const endpoint_id first = open();
    const address where = local(first);
    turn();
    port().release(first);
    const auto second = port().open(std::span(&where, 1));
    EXPECT_TRUE(second) << second.error();
}

TEST_P(port_test, APortNumberIsFreeAgainWhenThePortIsDestroyed) {
    for (int round = 0; round < 20; ++round) {
        start();
        const address where = local(open());
        if (round % 2 == 0) settle();
        destroy_port();
        EXPECT_TRUE(foreign_socket(where).is_open());
    }
}

TEST_P(port_test, CloseUnderAFloodFreesTheNumberAndTheLedgerHolds) {
    start();
    for (int round = 0; round < 10; ++round) {
        const endpoint_id server = open({.queue_size_max = 100, .payload_size_max = 1200});
        const address where = local(server);
        flood sender(where);
        datagram_batch held;
        ASSERT_TRUE(turn_until(
            [&] {
                datagram_batch batch;
                port().receive_batch(server, 50, held.is_empty() ? held : batch);
                return port().stats(server).received.delivered > 200;
            },
            "the flood arrives"));
        port().close(server);
        if (!is_inline()) {
            ASSERT_TRUE(turn_until_closed(server));
        }
        {
            const foreign_socket next(where);
            EXPECT_TRUE(next.is_open());
        }
        ASSERT_TRUE(turn_until_closed(server));
        sender.stop();
        read_all(server);
        const stats ledger = port().stats(server);
        EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
        EXPECT_EQ(ledger.leases_held, held.size());
        for (const datagram_view& one : held)
            EXPECT_EQ(one.size(), 200U);
        port().release(server);
    }
}

// --- the ledger under load ---

TEST_P(port_test, EveryDatagramOfAnOverrunIsAccountedFor) {
    start({.small_buffer_count = 8});
    const endpoint_id server = open({.queue_size_max = 64,
                                     .on_full = when_full::drop_newest,
                                     .payload_size_max = 1200,
                                     .receive_buffer_size = 20'000});
    settle();
    const foreign_socket client;
    const std::string payload(300, 'x');
    std::uint64_t sent = 0;
    for (int round = 0; round < 20; ++round) {
        for (int i = 0; i < 500; ++i) {
            ASSERT_EQ(client.send(payload, local(server)), 0);
            ++sent;
        }
        turn_at_once(round % 3);
        if (round % 4 == 0) read_all(server);
        if (is_inline()) {
            // Nobody but us takes anything out: exact at every moment.
            const stats now = port().stats(server);
            EXPECT_EQ(sent, now.received.taken + now.received.dropped.kernel_packets +
                                count_queued(port().descriptor(server)))
                << now;
        }
    }
    ASSERT_TRUE(turn_until(
        [&] {
            read_all(server);
            const auto now = port().stats(server).received;
            return now.taken + now.dropped.kernel_packets == sent && now.taken == now.passed;
        },
        "every datagram found"));
    read_all(server);
    const stats ledger = port().stats(server);
    EXPECT_GT(ledger.received.dropped.kernel_packets, 0U) << "no overrun";
    EXPECT_TRUE(ledger.is_exact);
    EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
    // And at the end of it.
    port().close(server);
    ASSERT_TRUE(turn_until_closed(server));
    const stats end = port().stats(server);
    EXPECT_EQ(sent, end.received.taken + end.received.dropped.kernel_packets) << end;
    EXPECT_EQ(end.unexplained(), 0U) << end;
}

TEST_P(port_test, WhatIsInTheSocketAtCloseIsCountedAsLate) {
    start();
    if (!is_inline()) GTEST_SKIP() << "a worker empties the socket by itself";
    const endpoint_id server = open();
    turn();
    const foreign_socket client;
    send_numbers(client, local(server), 50);
    ASSERT_TRUE(wait_for_queue(port().descriptor(server), 50));
    port().close(server);
    ASSERT_TRUE(turn_until_closed(server));
    const stats ledger = port().stats(server);
    EXPECT_EQ(ledger.received.taken, 50U) << ledger;
    EXPECT_EQ(ledger.received.dropped.late, 50U) << ledger;
    EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
}

TEST_P(port_test, ThePortsLedgerIsTheSumOfItsEndpointsReleasedOnesIncluded) {
    start();
    const foreign_socket client;
    for (int i = 0; i < 3; ++i) {
        const endpoint_id server = open();
        send_numbers(client, local(server), 10);
        ASSERT_TRUE(turn_until_readable(server, 10));
        read_all(server);
        EXPECT_TRUE(sendto(server, "x", client.local()));
        if (i == 2) break;
        port().release(server);
        ASSERT_TRUE(turn_until_closed(server));
    }
    turn_at_once();
    const stats sum = port().stats();
    EXPECT_EQ(sum.received.taken, 30U);
    EXPECT_EQ(sum.received.delivered, 30U);
    EXPECT_EQ(sum.sent.sent, 3U);
    EXPECT_EQ(sum.unexplained(), 0U) << sum;
}

// --- leases ---

TEST_P(port_test, LeasesOutliveTheirEndpointAndTheirPort) {
    std::vector<datagram> held;
    {
        start();
        const endpoint_id server = open();
        const endpoint_id small = open({.payload_size_max = 1200});
        const foreign_socket client;
        send_numbers(client, local(server), 10);
        send_numbers(client, local(small), 10, 10);
        ASSERT_TRUE(turn_until_readable(server, 10));
        ASSERT_TRUE(turn_until_readable(small, 10));
        for (const endpoint_id from : {server, small}) {
            while (auto received = port().receive(from))
                held.push_back(*std::move(received));
        }
        port().release(server);
        ASSERT_TRUE(turn_until_closed(server));
        turn_at_once();
        EXPECT_EQ(port().engine_stats().buffers_held, 20U);
        destroy_port();
    }
    for (std::size_t i = 0; i < held.size(); ++i)
        EXPECT_EQ(held[i].text(), std::to_string(i));
    std::vector<datagram> copies;
    for (const datagram& one : held)
        copies.push_back(one.to_owned());
    held.clear();
    std::thread([copies = std::move(copies)] {
        for (std::size_t i = 0; i < copies.size(); ++i) {
            EXPECT_EQ(copies[i].text(), std::to_string(i));
        }
    }).join();
}

TEST_P(port_test, AnswersMayLeaveFromTheBuffersTheyCameIn) {
    start({.small_buffer_count = 8, .large_buffer_count = 8});
    const endpoint_id server = open({.payload_size_max = 1200});
    const foreign_socket client;
    const foreign_socket third;
    for (const auto& text : numbers(200)) {
        ASSERT_EQ(client.send(text, local(server)), 0);
        ASSERT_TRUE(turn_until_readable(server, 1));
        auto received = port().receive(server);
        ASSERT_TRUE(received);
        EXPECT_TRUE(port().sendto(server, *std::move(received), third.local()));
        EXPECT_EQ(port().stats(server).leases_held, 1U);
        port().flush();
        EXPECT_EQ(port().stats(server).leases_held, 0U);
        ASSERT_EQ(third.receive(), text);
    }
}

}  // namespace
}  // namespace quoit::test
