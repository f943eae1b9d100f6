// SPDX-License-Identifier: MIT
//
// Offloading changes nothing but speed: datagrams that left as trains, were received as trains, or
// neither, arrive whole, once, in their flow's order and with their own length. Over loopback,
// which carries trains as they are, and over a wire with an MTU of 1500.
#include "integration/offload_fixture.hpp"

#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace quoit::test {
namespace {

using sizes = std::vector<std::uint32_t>;

INSTANTIATE_TEST_SUITE_P(, offload_test, ::testing::ValuesIn(port_parameters()),
                         port_parameter_name);

sizes repeated(std::size_t count, std::uint32_t size) { return sizes(count, size); }
sizes operator+(sizes a, const sizes& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

// --- sixty-four flows over loopback ---

TEST_P(offload_test, FlowsArriveWholeWhenNeitherSideOffloads) {
    start();
    for (const reading how : {reading::one_by_one, reading::in_batches})
        run_traffic({.sender = offload::off, .receiver = offload::off, .how = how});
}

TEST_P(offload_test, FlowsArriveWholeWhenOnlyTheSenderOffloads) {
    start();
    for (const reading how : {reading::one_by_one, reading::in_batches})
        run_traffic({.sender = offload::on, .receiver = offload::off, .how = how});
}

TEST_P(offload_test, FlowsArriveWholeWhenOnlyTheReceiverOffloads) {
    start();
    for (const reading how : {reading::one_by_one, reading::in_batches})
        run_traffic({.sender = offload::off, .receiver = offload::on, .how = how});
}

TEST_P(offload_test, FlowsArriveWholeWhenBothSidesOffload) {
    start();
    for (const reading how : {reading::one_by_one, reading::in_batches})
        run_traffic({.sender = offload::on, .receiver = offload::on, .how = how});
}

TEST_P(offload_test, FlowsArriveWholeOverIpv6WhenBothSidesOffload) {
    if (!has_ipv6()) GTEST_SKIP() << "no ::1";
    start();
    for (const reading how : {reading::one_by_one, reading::in_batches})
        run_traffic({.how = how, .where = address("::1", 0), .seed = 2});
}

TEST_P(offload_test, FlowsArriveWholeWithFewReceiveBuffers) {
    start({.large_buffer_count = 8});
    for (const reading how : {reading::one_by_one, reading::in_batches})
        run_traffic({.how = how, .seed = 3});
}

// --- over a wire ---

TEST_P(offload_test, FlowsArriveWholeOverAWireWhicheverSideOffloads) {
    over_a_wire([this](const wire& between) {
        start();
        std::uint32_t seed = 10;
        for (const offload sender : {offload::off, offload::on}) {
            for (const offload receiver : {offload::off, offload::on}) {
                SCOPED_TRACE("sender " + std::string(to_string(sender)) + ", receiver " +
                             std::string(to_string(receiver)));
                const bool is_odd = ++seed % 2 != 0;
                const outcome end = run_traffic(
                    {.sender = sender,
                     .receiver = receiver,
                     .how = is_odd == is_inline() ? reading::one_by_one : reading::in_batches,
                     .where = wire::near_v4,
                     .go_to_clients = [&] { between.enter_far(); },
                     .seed = seed});
                between.enter_near();
                // Segments of 9000 bytes do not fit.
                EXPECT_EQ(end.clients.sent.trains_refused > 0, sender == offload::on);
                EXPECT_EQ(end.server.sent.trains_refused > 0, receiver == offload::on);
            }
        }
    });
}

TEST_P(offload_test, FlowsArriveWholeOverAWireWithIpv6) {
    over_a_wire([this](const wire& between) {
        start();
        for (const reading how : {reading::one_by_one, reading::in_batches}) {
            const outcome end = run_traffic({.how = how,
                                             .where = wire::near_v6,
                                             .go_to_clients = [&] { between.enter_far(); },
                                             .seed = 20});
            between.enter_near();
            EXPECT_GT(end.clients.sent.trains_refused, 0U);
            EXPECT_GT(end.server.sent.trains_refused, 0U);
        }
    });
}

TEST_P(offload_test, SegmentsLongerThanTheWiresMtuGoPlainAndShorterOnesAsTrains) {
    over_a_wire([this](const wire& between) {
        start();
        const endpoint_id server =
            open({.receive_buffer_size = roomy, .offload = offload::on}, wire::near_v4);
        between.enter_far();
        const endpoint_id client =
            open_connection(local(server), {.receive_buffer_size = roomy, .offload = offload::on});
        between.enter_near();
        const auto there_and_back = [&](const sizes& sent) {
            send_sizes(client, sent);
            ASSERT_TRUE(turn_until_readable(server, sent.size()));
            for (std::uint32_t i = 0; i < sent.size(); ++i) {
                auto got = port().receive(server);
                ASSERT_TRUE(got) << got.error();
                expect_content(got->view(), i, sent[i]);
                ASSERT_TRUE(port().send(server, std::move(*got)));
            }
            ASSERT_TRUE(turn_until_readable(client, sent.size()));
            for (std::uint32_t i = 0; i < sent.size(); ++i) {
                const auto got = port().receive(client);
                ASSERT_TRUE(got) << got.error();
                expect_content(got->view(), i, sent[i]);
            }
        };

        there_and_back(repeated(20, 9000));
        for (const endpoint_id one : {client, server}) {
            const stats ledger = port().stats(one);
            EXPECT_EQ(ledger.sent.trains_refused, 1U) << "it learns\n" << ledger;
            EXPECT_EQ(ledger.sent.trains, 0U) << ledger;
            EXPECT_EQ(ledger.received.trains, 0U) << ledger;
        }
        there_and_back(repeated(100, 1200));
        there_and_back(repeated(10, 1472));  // the longest that is one packet
        there_and_back(repeated(10, 1473));
        for (const endpoint_id one : {client, server}) {
            const stats ledger = port().stats(one);
            EXPECT_EQ(ledger.sent.trains_refused, 2U) << ledger;
            EXPECT_EQ(ledger.sent.trains, 3U) << "54 and 46, and 10\n" << ledger;
            EXPECT_EQ(ledger.sent.coalesced, 110U) << ledger;
            EXPECT_EQ(ledger.received.trains, 3U) << ledger;
            EXPECT_EQ(ledger.received.coalesced, 110U) << ledger;
            expect_explained(ledger, one == client ? "client" : "server");
        }
        there_and_back(repeated(10, 9000) + repeated(10, 1200) + repeated(3, 1473) +
                       repeated(5, 64) + sizes{9000, 1});
        for (const endpoint_id one : {client, server}) {
            const stats ledger = port().stats(one);
            EXPECT_EQ(ledger.sent.trains_refused, 2U) << "it remembers\n" << ledger;
            EXPECT_EQ(ledger.sent.trains, 5U) << ledger;
            expect_explained(ledger, one == client ? "client" : "server");
        }
    });
}

TEST_P(offload_test, FlowsArriveWholeFromAPathThatMergesWhatWasSentOneByOne) {
    over_a_wire([this](const wire& between) {
        if (const auto why_not = between.start_merging()) {
            skip_or_fail(*why_not);
            return;
        }
        start();
        std::uint32_t seed = 30;
        for (const offload sender : {offload::off, offload::on}) {
            for (const offload receiver : {offload::off, offload::on}) {
                SCOPED_TRACE("sender " + std::string(to_string(sender)) + ", receiver " +
                             std::string(to_string(receiver)));
                run_traffic({.sender = sender,
                             .receiver = receiver,
                             .how = ++seed % 2 == 0 ? reading::one_by_one : reading::in_batches,
                             .where = seed < 33 ? wire::near_v4 : wire::near_v6,
                             .go_to_clients = [&] { between.enter_far(); },
                             .expected = trains::merged,
                             .size_min = 1,
                             .size_max = 1452,
                             .seed = seed});
                between.enter_near();
            }
        }
    });
}

TEST_P(offload_test, FlowsArriveWholeFromDevicesThatComputeNoChecksums) {
    over_a_wire([this](const wire& between) {
        if (const auto why_not = between.stop_checksums()) {
            skip_or_fail(*why_not);
            return;
        }
        start();
        // Before Linux 6.11 such a device refuses trains with EIO; since then the kernel cuts them.
        run_traffic({.where = wire::near_v4,
                     .go_to_clients = [&] { between.enter_far(); },
                     .expected = trains::unknown,
                     .seed = 40});
        between.enter_near();
    });
}

// --- metadata ---

TEST_P(offload_test, EveryDatagramOfATrainHasItsMetadataAndItsOwnLength) {
    constexpr int tos = 0x28;
    constexpr int ttl = 33;
    start();
    const sizes sent = repeated(20, 1200) + repeated(5, 63) + sizes{7, 9000};
    std::vector<address> families{address("127.0.0.1", 0)};
    if (has_ipv6()) families.emplace_back(address("::1", 0));
    for (const address& where : families) {
        const bool is_v6 = where.family() == family::ipv6;
        const endpoint_id server =
            open({.receive_buffer_size = roomy,
                  .received_metadata =
                      metadata::local_address | metadata::timestamp | metadata::tos | metadata::ttl,
                  .offload = offload::on},
                 where);
        const endpoint_id client = open_connection(local(server), {.offload = offload::on});
        const int level = is_v6 ? IPPROTO_IPV6 : IPPROTO_IP;
        const int fd = port().descriptor(client);
        ASSERT_EQ(::setsockopt(fd, level, is_v6 ? IPV6_TCLASS : IP_TOS, &tos, sizeof tos), 0);
        ASSERT_EQ(::setsockopt(fd, level, is_v6 ? IPV6_UNICAST_HOPS : IP_TTL, &ttl, sizeof ttl), 0);
        const auto expect_all = [&](const datagram_view& got, std::uint32_t number) {
            expect_content(got, number, sent[number]);
            EXPECT_EQ(got.peer(), local(client));
            EXPECT_EQ(got.local(), local(server));
            EXPECT_EQ(got.tos(), std::uint8_t{tos});
            EXPECT_EQ(got.ttl(), std::uint8_t{ttl});
            EXPECT_TRUE(got.received_at());
        };

        send_sizes(client, sent);
        ASSERT_TRUE(turn_until_readable(server, sent.size()));
        for (std::uint32_t i = 0; i < sent.size(); ++i) {
            const auto got = port().receive(server);
            ASSERT_TRUE(got) << got.error();
            expect_all(got->view(), i);
        }
        send_sizes(client, sent);
        ASSERT_TRUE(turn_until_readable(server, sent.size()));
        datagram_batch batch;
        ASSERT_TRUE(port().receive_batch(server, sent.size(), batch));
        ASSERT_EQ(batch.size(), sent.size());
        std::uint32_t number = 0;
        for (const datagram_view& got : batch)
            expect_all(got, number++);
        const stats ledger = port().stats(server);
        EXPECT_EQ(ledger.received.trains, 4U) << ledger;
        EXPECT_EQ(ledger.received.coalesced, 52U) << "21 and 5, twice\n" << ledger;
        expect_explained(ledger, "server");
    }
}

TEST_P(offload_test, TheLongestTrainFitsItsBufferWithAllMetadata) {
    start();
    std::vector<address> families{address("127.0.0.1", 0)};
    if (has_ipv6()) families.emplace_back(address("::1", 0));
    for (const address& where : families) {
        const endpoint_id server =
            open({.receive_buffer_size = roomy,
                  .received_metadata =
                      metadata::local_address | metadata::timestamp | metadata::tos | metadata::ttl,
                  .offload = offload::on},
                 where);
        const endpoint_id client = open_connection(local(server), {.offload = offload::on});
        // Each longer than the one before, so that none is a tail. All arrive whole: loopback cuts
        // what is longer than its gso_max_size, 65 536 bytes with all headers.
        const sizes sent = repeated(127, 511) + sizes{510} + repeated(11, 5952) +
                           repeated(2, 32'736) +
                           sizes{where.family() == family::ipv6 ? payload_size_limit : 65'507U};
        send_sizes(client, sent);
        ASSERT_TRUE(turn_until_readable(server, sent.size()));
        for (std::uint32_t i = 0; i < sent.size(); ++i) {
            const auto got = port().receive(server);
            ASSERT_TRUE(got) << got.error();
            expect_content(got->view(), i, sent[i]);
        }
        const stats ledger = port().stats(server);
        EXPECT_EQ(port().stats(client).sent.trains, 3U) << port().stats(client);
        EXPECT_EQ(ledger.received.trains, 3U) << ledger;
        EXPECT_EQ(ledger.received.coalesced, 128U + 11U + 2U) << ledger;
        expect_explained(ledger, "server");
    }
}

// --- cutting ---

class cut_trains : public offload_test {
  protected:
    static constexpr std::uint32_t size_max = 100;
    // Trains of 1200 that end in a tail: not cut, cut, as long as may be; and one that is not cut.
    const sizes sent = repeated(20, 1200) + sizes{50} + repeated(3, 1200) + sizes{150} +
                       repeated(2, 1200) + sizes{100} + repeated(9, 63) + sizes{101};
    static constexpr std::uint64_t cut_count = 20 + 3 + 1 + 2 + 1;

    void open_both() {
        start();
        server = open(
            {.payload_size_max = size_max, .receive_buffer_size = roomy, .offload = offload::on});
        client = open_connection(local(server), {.offload = offload::on});
        send_sizes(client, sent);
        ASSERT_TRUE(turn_until_readable(server, sent.size()));
        EXPECT_EQ(port().stats(server).received.trains, 4U);
    }
    endpoint_id server;
    endpoint_id client;
};
INSTANTIATE_TEST_SUITE_P(, cut_trains, ::testing::ValuesIn(port_parameters()), port_parameter_name);

TEST_P(cut_trains, EveryDatagramIsCutForItselfAndSaysSo) {
    open_both();
    for (std::uint32_t i = 0; i < sent.size(); ++i) {
        const auto got = port().receive(server);
        ASSERT_TRUE(got) << got.error();
        expect_content(got->view(), i, sent[i], size_max);
    }
    expect_explained(port().stats(server), "server");
}

TEST_P(cut_trains, EveryDatagramIsCutForItselfInBatchesToo) {
    open_both();
    std::uint32_t number = 0;
    while (number < sent.size()) {
        datagram_batch batch;
        ASSERT_TRUE(port().receive_batch(server, 7, batch));
        for (const datagram_view& got : batch) {
            expect_content(got, number, sent[number], size_max);
            ++number;
        }
    }
    expect_explained(port().stats(server), "server");
}

TEST_P(cut_trains, WhatIsCutIsSentBackAsItWasRead) {
    open_both();
    for (std::size_t i = 0; i < sent.size(); ++i) {
        auto got = port().receive(server);
        ASSERT_TRUE(got) << got.error();
        ASSERT_TRUE(port().send(server, std::move(*got)));
    }
    ASSERT_TRUE(turn_until_readable(client, sent.size()));
    for (std::uint32_t i = 0; i < sent.size(); ++i) {
        const auto got = port().receive(client);
        ASSERT_TRUE(got) << got.error();
        EXPECT_EQ(got->size(), std::min(sent[i], size_max)) << i;
        EXPECT_TRUE(contents_.matches(0, i, got->text(), sent[i])) << i;
    }
    expect_explained(port().stats(server), "server");
}

TEST_P(cut_trains, TheLedgerCountsWhatWasCutAndTheBytesThatAreLeft) {
    open_both();
    std::uint64_t bytes = 0;
    for (const std::uint32_t size : sent)
        bytes += std::min(size, size_max);
    const stats ledger = port().stats(server);
    EXPECT_EQ(ledger.received.truncated, cut_count) << ledger;
    EXPECT_EQ(ledger.received.bytes, bytes) << ledger;
}

// --- closing ---

TEST_P(offload_test, TrainsUnreadInAClosingSocketAreCountedAsTheDatagramsTheyHold) {
    start();
    const endpoint_id server = open({.receive_buffer_size = roomy, .offload = offload::on});
    const endpoint_id client = open_connection(local(server), {.offload = offload::on});
    settle();
    // Short tails and short segments too.
    const sizes sent = repeated(54, 1200) + sizes{7} + repeated(128, 64) + repeated(3, 9000) +
                       sizes{0, 1} + repeated(10, 1199) + sizes{7} + repeated(2, 8) +
                       repeated(64, 9) + sizes{1};
    send_sizes(client, sent);
    const stats of_client = port().stats(client);
    EXPECT_EQ(of_client.sent.sent, sent.size());
    EXPECT_GE(of_client.sent.trains, 4U) << of_client;
    port().close(server);
    ASSERT_TRUE(turn_until([&] { return port().is_closed(server); }, "closed"));
    const stats ledger = port().stats(server);
    EXPECT_EQ(ledger.received.taken, sent.size()) << ledger;
    EXPECT_EQ(ledger.received.dropped.late, sent.size()) << ledger;
    expect_explained(ledger, "server");
    ASSERT_TRUE(turn_until_nothing_is_held());
}

TEST_P(offload_test, TrainsInAPausedSocketAreCountedWhenItIsClosed) {
    start();
    const endpoint_id server = open({.queue_size_max = 16,
                                     .on_full = when_full::pause,
                                     .receive_buffer_size = roomy,
                                     .offload = offload::on});
    const endpoint_id client = open_connection(local(server), {.offload = offload::on});
    settle();
    send_sizes(client, repeated(40, 1200));
    ASSERT_TRUE(turn_until_readable(server, 40));
    settle();  // by now it is paused
    for (std::uint32_t round = 0; round < 20; ++round)
        send_sizes(client, repeated(40, 1200), 40 + round * 40);
    turn_at_once();
    for (std::uint32_t i = 0; i < 10; ++i) {
        const auto got = port().receive(server);
        ASSERT_TRUE(got) << got.error();
        expect_content(got->view(), i, 1200);
    }
    port().close(server);
    ASSERT_TRUE(turn_until([&] { return port().is_closed(server); }, "closed"));
    const stats ledger = port().stats(server);
    EXPECT_EQ(ledger.received.taken, 21U * 40U) << ledger;
    EXPECT_EQ(ledger.received.taken, ledger.received.passed + ledger.received.dropped.late);
    EXPECT_GT(ledger.received.dropped.late, 0U) << ledger;
    EXPECT_EQ(ledger.received.delivered, 10U) << ledger;
    expect_explained(ledger, "server");
    port().release(server);
    turn_at_once();
    EXPECT_EQ(port().stats().unexplained(), 0U) << port().stats();
    ASSERT_TRUE(turn_until_nothing_is_held());
}

TEST_P(offload_test, APausedEndpointReceivesEveryTrainOnceItIsReadAgain) {
    start();
    const endpoint_id server = open({.queue_size_max = 16,
                                     .on_full = when_full::pause,
                                     .receive_buffer_size = roomy,
                                     .offload = offload::on});
    const endpoint_id client = open_connection(local(server), {.offload = offload::on});
    const std::uint32_t count = 20 * 54;
    send_sizes(client, repeated(count, 1200));
    for (std::uint32_t number = 0; number < count; ++number) {
        ASSERT_TRUE(turn_until([&] { return port().readable_count(server) > 0; }, "the next"));
        const auto got = port().receive(server);
        ASSERT_TRUE(got) << got.error();
        expect_content(got->view(), number, 1200);
    }
    const stats ledger = port().stats(server);
    EXPECT_EQ(ledger.received.trains, port().stats(client).sent.trains) << ledger;
    EXPECT_EQ(ledger.received.coalesced, count) << ledger;
    expect_explained(ledger, "server");
}

// --- what users set on descriptor() ---

struct user_option {
    const char* name;
    int level;
    int option;
    int value;
};

// The kernel adds a control message of each to every message; those of the socket's level in front
// of UDP_GRO (Linux net/ipv4/udp.c, udp_recvmsg).
constexpr int software_timestamps = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
constexpr std::array v4_options{
    user_option{"SO_TIMESTAMP", SOL_SOCKET, SO_TIMESTAMP, 1},
    user_option{"SO_TIMESTAMPNS", SOL_SOCKET, SO_TIMESTAMPNS, 1},
    user_option{"SO_TIMESTAMPING", SOL_SOCKET, SO_TIMESTAMPING, software_timestamps},
    user_option{"SO_RXQ_OVFL", SOL_SOCKET, SO_RXQ_OVFL, 1},
    user_option{"IP_RECVTTL", IPPROTO_IP, IP_RECVTTL, 1},
    user_option{"IP_RECVTOS", IPPROTO_IP, IP_RECVTOS, 1},
    user_option{"IP_PKTINFO", IPPROTO_IP, IP_PKTINFO, 1},
    user_option{"IP_RECVORIGDSTADDR", IPPROTO_IP, IP_RECVORIGDSTADDR, 1},
};
constexpr std::array v6_options{
    user_option{"SO_TIMESTAMPING", SOL_SOCKET, SO_TIMESTAMPING, software_timestamps},
    user_option{"IPV6_RECVHOPLIMIT", IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1},
    user_option{"IPV6_RECVTCLASS", IPPROTO_IPV6, IPV6_RECVTCLASS, 1},
    user_option{"IPV6_RECVPKTINFO", IPPROTO_IPV6, IPV6_RECVPKTINFO, 1},
};

class user_options : public offload_test {
  protected:
    const sizes sent = repeated(20, 1200) + sizes{7} + repeated(5, 64) + sizes{9000};

    void open_both(const address& where, metadata wanted) {
        server = open(
            {.receive_buffer_size = roomy, .received_metadata = wanted, .offload = offload::on},
            where);
        client = open_connection(local(server), {.offload = offload::on});
    }
    void set(const user_option& one) {
        ASSERT_EQ(::setsockopt(port().descriptor(server), one.level, one.option, &one.value,
                               sizeof one.value),
                  0)
            << one.name;
    }
    void expect_all_arrive() {
        send_sizes(client, sent);
        const auto is_there = [&] {
            const auto now = port().stats(server).received;
            return now.passed + now.dropped.invalid >= sent.size();
        };
        ASSERT_TRUE(turn_until(is_there, "everything")) << port().stats(server);
        ASSERT_EQ(port().readable_count(server), sent.size()) << port().stats(server);
        for (std::uint32_t i = 0; i < sent.size(); ++i) {
            const auto got = port().receive(server);
            ASSERT_TRUE(got) << got.error();
            expect_content(got->view(), i, sent[i]);
        }
        const stats ledger = port().stats(server);
        EXPECT_EQ(ledger.received.trains, 2U) << ledger;
        expect_explained(ledger, "server");
    }
    endpoint_id server;
    endpoint_id client;
};
INSTANTIATE_TEST_SUITE_P(, user_options, ::testing::ValuesIn(port_parameters()),
                         port_parameter_name);

TEST_P(user_options, OneThatAddsAControlMessageNeitherMergesNorLosesATrain) {
    start();
    for (const user_option& one : v4_options) {
        SCOPED_TRACE(one.name);
        open_both(address("127.0.0.1", 0), metadata::none);
        set(one);
        expect_all_arrive();
    }
    if (!has_ipv6()) return;
    for (const user_option& one : v6_options) {
        SCOPED_TRACE(one.name);
        open_both(address("::1", 0), metadata::none);
        set(one);
        expect_all_arrive();
    }
}

TEST_P(user_options, TimestampingBesideAllMetadataNeitherMergesNorLosesATrain) {
    start();
    std::vector<address> families{address("127.0.0.1", 0)};
    if (has_ipv6()) families.emplace_back(address("::1", 0));
    for (const address& where : families) {
        open_both(where,
                  metadata::local_address | metadata::timestamp | metadata::tos | metadata::ttl);
        set({"SO_TIMESTAMPING", SOL_SOCKET, SO_TIMESTAMPING, software_timestamps});
        expect_all_arrive();
    }
}

// What a program that keeps time by itself sets.
TEST_P(user_options, TimestampingAndTheIpOptionsTogetherNeitherMergeNorLoseADatagram) {
    start();
    open_both(address("127.0.0.1", 0), metadata::none);
    set({"SO_TIMESTAMPING", SOL_SOCKET, SO_TIMESTAMPING, software_timestamps});
    set({"IP_PKTINFO", IPPROTO_IP, IP_PKTINFO, 1});
    set({"IP_RECVTTL", IPPROTO_IP, IP_RECVTTL, 1});
    expect_all_arrive();
}

TEST_P(user_options, MoreThanThereIsRoomForNeverMakesOneDatagramOfATrain) {
    start();
    open_both(address("127.0.0.1", 0), metadata::none);
    set({"SO_TIMESTAMPNS", SOL_SOCKET, SO_TIMESTAMPNS, 1});
    set({"SO_TIMESTAMPING", SOL_SOCKET, SO_TIMESTAMPING, software_timestamps});
    set({"SO_RXQ_OVFL", SOL_SOCKET, SO_RXQ_OVFL, 1});
    for (const user_option& one : v4_options) {
        if (one.level == IPPROTO_IP) set(one);
    }
    send_sizes(client, sent);
    const endpoint_id last = open_connection(local(server), {.offload = offload::off});
    send_sizes(last, {3});
    // What had no room for UDP_GRO is dropped as invalid; each message is counted at least once.
    constexpr std::uint64_t messages = 4;
    ASSERT_TRUE(turn_until(
        [&] {
            const auto now = port().stats(server).received;
            return now.taken >= messages && now.taken == now.passed + now.dropped.invalid;
        },
        "every message taken"));
    while (const auto got = port().receive(server)) {
        const std::size_t size = got->size();
        EXPECT_TRUE(size == 1200 || size == 7 || size == 64 || size == 9000 || size == 3) << size;
    }
    const stats ledger = port().stats(server);
    EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
    EXPECT_EQ(ledger.received.dropped.kernel_packets, 0U) << ledger;
}

// --- what is had without asking ---

TEST_P(offload_test, ByDefaultTrainsAreSentAndReceived) {
    start();
    const endpoint_id server = open({.receive_buffer_size = roomy});
    const endpoint_id client = open_connection(local(server));
    send_sizes(client, repeated(54, 1200));
    ASSERT_TRUE(turn_until_readable(server, 54));
    EXPECT_EQ(port().stats(client).sent.trains, 1U);
    EXPECT_EQ(port().stats(server).received.trains, 1U);
}

TEST_P(offload_test, ByDefaultSmallBuffersReceiveOneByOneWhatLeftAsATrain) {
    start();
    const endpoint_id server = open({.payload_size_max = 1200, .receive_buffer_size = roomy});
    const endpoint_id client = open_connection(local(server));
    const sizes sent = repeated(54, 1200) + sizes{1201, 3};
    send_sizes(client, sent);
    ASSERT_TRUE(turn_until_readable(server, sent.size()));
    for (std::uint32_t i = 0; i < sent.size(); ++i) {
        const auto got = port().receive(server);
        ASSERT_TRUE(got) << got.error();
        expect_content(got->view(), i, sent[i], 1200);
    }
    EXPECT_EQ(port().stats(client).sent.trains, 2U);
    const stats ledger = port().stats(server);
    EXPECT_EQ(ledger.received.trains, 0U) << ledger;
    EXPECT_TRUE(ledger.is_exact);
    expect_explained(ledger, "server");
}

}  // namespace
}  // namespace quoit::test
