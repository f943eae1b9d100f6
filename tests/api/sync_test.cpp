// SPDX-License-Identifier: MIT
//
// Opening, addresses, sizes, refusals, options and the ledger of quoit::sync. What several threads
// do is in sync_threads_test.cpp.
#include <quoit/sync.hpp>

#include "api/blocking_support.hpp"

#include <array>
#include <limits>
#include <numeric>

namespace quoit::test {

namespace {

constexpr wait_options poll{.timeout = 0s};

class sync_udp : public blocking_case {
  protected:
    void TearDown() override {
        EXPECT_EQ(client.stats().unexplained(), 0U) << client.stats();
        EXPECT_EQ(server.stats().unexplained(), 0U) << server.stats();
    }
    sync::udp_server server = or_throw(sync::start_udp_server({"127.0.0.1", 0}));
    sync::udp_client client = or_throw(sync::open_udp_connection(server.local_address()));
};

TEST_F(sync_udp, ReadAndReplyGoBackAndForth) {
    ASSERT_TRUE(client.send("ping"));
    const auto request = server.read(patiently);
    expect_text(request, "ping");
    EXPECT_EQ(request->peer(), client.local_address());
    EXPECT_FALSE(request->is_lease());
    ASSERT_TRUE(server.reply(*request, "pong"));
    const auto answer = client.read(patiently);
    expect_text(answer, "pong");
    EXPECT_EQ(answer->peer(), server.local_address());
    ASSERT_TRUE(server.sendto("again", request->peer()));
    expect_text(client.read(patiently), "again");
}

TEST_F(sync_udp, AddressesAreWhatTheKernelSays) {
    EXPECT_EQ(server.local_address(), bound_address(server.descriptor()));
    EXPECT_EQ(client.local_address(), bound_address(client.descriptor()));
    EXPECT_EQ(client.peer_address(), server.local_address());
    EXPECT_FALSE(server.peer_address().has_value());
    EXPECT_EQ(server.local_addresses().size(), 1U);
}

TEST_F(sync_udp, EmptyDatagramsAreDatagrams) {
    ASSERT_TRUE(client.send(""));
    const auto request = server.read(patiently);
    expect_text(request, "");
    ASSERT_TRUE(server.reply(*request, ""));
    expect_text(client.read(patiently), "");
    EXPECT_EQ(client.stats().received.empty, 1U);
}

TEST_F(sync_udp, PiecesMakeOneDatagramHoweverManyThereAre) {
    ASSERT_TRUE(client.send_pieces({"a", "", "bc", "d"}));
    expect_text(server.read(patiently), "abcd");
    for (const std::size_t count : {64U, 65U, 1024U, 1025U, 5000U}) {
        const std::string letters = pattern(count);
        std::vector<byte_view> pieces;
        for (const char& letter : letters)
            pieces.emplace_back(&letter, 1);
        ASSERT_TRUE(client.send_pieces(pieces)) << count;
        expect_text(server.read(patiently), letters);
    }
    ASSERT_TRUE(server.sendto_pieces({"x", "y"}, client.local_address()));
    expect_text(client.read(patiently), "xy");
}

TEST_F(sync_udp, WhatCannotBeSentIsRefusedAtTheCall) {
    const std::string too_long(65'508, 'x');
    EXPECT_EQ(client.send(too_long), errc::message_too_long);
    EXPECT_EQ(server.send("x"), errc::not_connected);
    EXPECT_EQ(client.sendto("x", {"127.0.0.1", 9}), errc::already_connected);
    EXPECT_EQ(server.sendto("x", {"::1", 9}), errc::wrong_family);
    EXPECT_EQ(server.sendto("x", {"127.0.0.1", 0}), errc::invalid_address);
    EXPECT_EQ(server.sendto("x", address()), errc::wrong_family);
    EXPECT_EQ(server.stats().sent.accepted + client.stats().sent.accepted, 0U);
    ASSERT_TRUE(client.send(too_long.substr(1)));
    EXPECT_EQ(or_throw(server.read(patiently)).size(), 65'507U);
}

TEST_F(sync_udp, BroadcastIsOffUntilItIsAllowed) {
    constexpr address everybody("255.255.255.255", 9);
    EXPECT_FALSE(server.broadcast());
    EXPECT_EQ(server.sendto("x", everybody), std::errc::permission_denied);
    ASSERT_TRUE(server.set_broadcast(true));
    EXPECT_TRUE(server.broadcast());
    // Whether there is a route is the machine's affair.
    EXPECT_NE(server.sendto("x", everybody), std::errc::permission_denied);
}

TEST_F(sync_udp, ADatagramThatIsTooLongIsCutAndSaysSo) {
    auto small = or_throw(sync::start_udp_server({"127.0.0.1", 0}, {.payload_size_max = 10}));
    const foreign_socket peer;
    peer.sendto(pattern(25), small.local_address());
    peer.sendto(pattern(10), small.local_address());
    const auto cut = or_throw(small.read(patiently));
    EXPECT_EQ(cut.text(), pattern(10));
    EXPECT_TRUE(cut.truncated());
    EXPECT_EQ(cut.original_size(), 25U);
    EXPECT_FALSE(or_throw(small.read(patiently)).truncated());
    EXPECT_EQ(small.stats().received.truncated, 1U);
}

void expect_metadata(const address& where) {
    constexpr auto everything =
        metadata::local_address | metadata::timestamp | metadata::tos | metadata::ttl;
    auto server = or_throw(sync::start_udp_server(where, {.received_metadata = everything}));
    const foreign_socket peer(where);
    peer.sendto("look", server.local_address());
    const auto seen = or_throw(server.read(patiently));
    EXPECT_EQ(seen.text(), "look");
    EXPECT_EQ(seen.local(), server.local_address());
    EXPECT_TRUE(seen.received_at().has_value());
    EXPECT_EQ(seen.tos(), 0U);
    EXPECT_GT(seen.ttl().value_or(0), 0U);
}

TEST_F(sync_udp, MetadataComesWithTheDatagram) {
    expect_metadata({"127.0.0.1", 0});
    if (has_ipv6_loopback()) expect_metadata({"::1", 0});
}

TEST_F(sync_udp, AStrangerDoesNotReachAClient) {
    const foreign_socket stranger;
    stranger.sendto("let me in", client.local_address());
    ASSERT_TRUE(server.sendto("hello", client.local_address()));
    expect_text(client.read(patiently), "hello");
    expect_error(client.read(poll), errc::timed_out);
}

// --- several sockets ---

TEST_F(sync_udp, AServerOnEveryInterfaceAnswersBothFamilies) {
    auto everywhere = or_throw(sync::start_udp_server({"", 0}));
    const std::uint16_t port = everywhere.local_address().port();
    const foreign_socket v4;
    v4.sendto("four", {"127.0.0.1", port});
    const auto of_v4 = or_throw(everywhere.read(patiently));
    EXPECT_EQ(of_v4.text(), "four");
    ASSERT_TRUE(everywhere.reply(of_v4, "for four"));
    EXPECT_EQ(wait_for_datagram(v4)->payload, "for four");
    if (!has_ipv6_loopback()) return;
    EXPECT_EQ(everywhere.local_addresses().size(), 2U);
    const foreign_socket v6(address("::1", 0));
    v6.sendto("six", {"::1", port});
    const auto of_v6 = or_throw(everywhere.read(patiently));
    EXPECT_EQ(of_v6.text(), "six");
    ASSERT_TRUE(everywhere.reply(of_v6, "for six"));
    EXPECT_EQ(wait_for_datagram(v6)->payload, "for six");
}

TEST_F(sync_udp, OfSeveralAddressesAllAreServedAndAReplyLeavesByTheSocketThatReceived) {
    const std::array<host_port, 2> both{host_port("127.0.0.1", 0), host_port("127.0.0.1", 0)};
    auto double_server = or_throw(sync::start_udp_server(both));
    ASSERT_EQ(double_server.local_addresses().size(), 2U);
    const foreign_socket peer;
    for (const address& one : double_server.local_addresses()) {
        peer.sendto("who are you?", one);
        const auto request = or_throw(double_server.read(patiently));
        ASSERT_TRUE(double_server.reply(request, "it is me"));
        EXPECT_EQ(wait_for_datagram(peer)->from, one);
    }
}

TEST_F(sync_udp, ANameOfAnAddressThatIsGivenTooIsServedOnce) {
    const address where = dead_address();
    const std::array<host_port, 3> all{where, host_port("localhost", where.port()),
                                       host_port("localhost", where.port())};
    const auto once = sync::start_udp_server(all, {.family = family::ipv4});
    ASSERT_TRUE(once) << once.error();
    EXPECT_EQ(once->local_addresses().size(), 1U);
}

TEST_F(sync_udp, ABusySocketDoesNotStarveItsNeighbour) {
    const std::array<host_port, 2> both{host_port("127.0.0.1", 0), host_port("127.0.0.1", 0)};
    auto double_server = or_throw(sync::start_udp_server(both));
    const foreign_socket peer;
    for (const std::size_t busy : {0U, 1U}) {
        const address& busy_address = double_server.local_addresses()[busy];
        for (int i = 0; i < 10; ++i)
            peer.sendto("again", busy_address);
        expect_text(double_server.read(patiently), "again");
        peer.sendto("once", double_server.local_addresses()[1 - busy]);
        const std::string first = or_throw(double_server.read(patiently)).to_string();
        const std::string second = or_throw(double_server.read(patiently)).to_string();
        EXPECT_TRUE(first == "once" || second == "once");
        for (int i = 0; i < 8; ++i)
            expect_text(double_server.read(patiently), "again");
    }
    EXPECT_EQ(double_server.stats().received.delivered, 22U);
}

TEST_F(sync_udp, OpeningSaysWhatItCouldNotOpen) {
    const auto used = sync::start_udp_server(server.local_address());
    ASSERT_FALSE(used);
    EXPECT_EQ(used.error().message(),
              "listen " + server.local_address().to_string() + ": Address already in use");
    expect_error(sync::start_udp_server({"127.0.0.1", 70'000}), errc::invalid_option);
    expect_error(sync::start_udp_server({"", -1}), errc::invalid_option);
    expect_error(sync::start_udp_server({"127.0.0.256", 1}), errc::invalid_address);
    expect_error(sync::start_udp_server(std::span<const host_port>()), errc::invalid_option);
    expect_error(sync::open_udp_connection({"127.0.0.1", 0}), errc::invalid_address);
    const auto bad = sync::open_udp_connection({"127.0.0.1", 9}, {.payload_size_max = 0});
    expect_error(bad, errc::invalid_option);
    EXPECT_NE(bad.error().message().find("payload_size_max"), std::string::npos) << bad.error();

    const std::array<host_port, 2> one_used{host_port("127.0.0.1", 0),
                                            host_port(server.local_address())};
    const auto none = sync::start_udp_server(one_used);
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().causes().size(), 1U);
}

TEST_F(sync_udp, BuffersSayWhatWasAskedAndGranted) {
    auto sized = or_throw(
        sync::open_udp_connection(server.local_address(), {.receive_buffer_size = 20'000}));
    EXPECT_EQ(sized.buffers().receive.asked, 20'000U);
    EXPECT_EQ(sized.buffers().receive.granted, 40'000U);
    sized.close();
    EXPECT_EQ(sized.buffers().receive.granted, 0U);
}

// --- refusals ---

TEST_F(sync_udp, ARefusalComesOnceAndAfterWhatWasReceivedBeforeIt) {
    std::optional<foreign_socket> peer(std::in_place);
    const address where = peer->local();
    auto lonely = or_throw(sync::open_udp_connection(where));
    peer->sendto("one", lonely.local_address());
    peer->sendto("two", lonely.local_address());
    peer.reset();
    ASSERT_TRUE(lonely.send("anybody?"));
    expect_text(lonely.read(patiently), "one");
    EXPECT_EQ(lonely.stats().received.waiting, 1U);
    EXPECT_EQ(lonely.stats().unexplained(), 0U);
    expect_text(lonely.read(patiently), "two");
    expect_error(lonely.read(patiently), std::errc::connection_refused);
    expect_error(lonely.read(poll), errc::timed_out);
    EXPECT_EQ(lonely.stats().received.refused, 1U);

    peer.emplace(where);
    ASSERT_TRUE(lonely.send("now?"));
    EXPECT_EQ(wait_for_datagram(*peer)->payload, "now?");
    peer->sendto("now.", lonely.local_address());
    expect_text(lonely.read(patiently), "now.");
}

TEST_F(sync_udp, ASendThatMeetsAnEarlierRefusalIsRepeatedAndTheReaderIsTold) {
    auto lonely = or_throw(sync::open_udp_connection(dead_address()));
    ASSERT_TRUE(lonely.send("one"));  // on loopback refused before it returns
    ASSERT_TRUE(lonely.send("two"));
    const stats ledger = lonely.stats();
    EXPECT_EQ(ledger.sent.resent, 1U);
    EXPECT_EQ(ledger.sent.sent, 2U);
    expect_error(lonely.read(poll), std::errc::connection_refused);
    expect_error(lonely.read(poll), std::errc::connection_refused);
    expect_error(lonely.read(poll), errc::timed_out);
    EXPECT_EQ(lonely.stats().received.refused, 2U);
    EXPECT_EQ(lonely.stats().unexplained(), 0U);
}

// Every round a reader takes one thing and more is there: at the remote's choice, so for ever.
TEST_F(sync_udp, RefusalsThatNobodyReadsAreBounded) {
    constexpr std::size_t queue_size_max = 4;
    auto lonely =
        or_throw(sync::open_udp_connection(dead_address(), {.queue_size_max = queue_size_max}));
    std::size_t told = 0;
    for (int round = 0; round < 50; ++round) {
        for (int i = 0; i < 5; ++i)
            ASSERT_TRUE(lonely.send("anybody?"));  // all but the first hear of the one before
        expect_error(lonely.read(poll), std::errc::connection_refused);
        ++told;
    }
    const std::uint64_t counted = lonely.stats().received.refused;
    EXPECT_GE(counted, 50U * 4U);
    for (;;) {
        const auto next = lonely.read(poll);
        ASSERT_FALSE(next);
        if (next.error() == errc::timed_out) break;
        ASSERT_LE(++told, 50U + queue_size_max + 1U);
    }
    EXPECT_LE(lonely.stats().received.refused, counted + 1);  // the socket's own, of the last send
    EXPECT_EQ(lonely.stats().unexplained(), 0U);
}

TEST_F(sync_udp, WhatCameBeforeRefusalsIsBounded) {
    constexpr std::size_t queue_size_max = 4;
    std::optional<foreign_socket> peer(std::in_place);
    const address where = peer->local();
    auto lonely = or_throw(sync::open_udp_connection(where, {.queue_size_max = queue_size_max}));
    std::size_t sent = 0;
    std::size_t read = 0;
    for (int round = 0; round < 10; ++round) {
        if (!peer) peer.emplace(where);
        for (std::size_t i = 0; i < queue_size_max; ++i, ++sent)
            peer->sendto(std::to_string(sent), lonely.local_address());
        peer.reset();
        for (int i = 0; i < 2; ++i)
            ASSERT_TRUE(lonely.send("anybody?"));
        if (lonely.read(poll)) ++read;
        EXPECT_LE(lonely.stats().received.waiting, queue_size_max) << round;
    }
    // Nothing is lost by it: the rest waited in the kernel.
    for (;;) {
        const auto next = lonely.read(poll);
        if (!next && next.error() == errc::timed_out) break;
        if (next) ++read;
    }
    EXPECT_EQ(read, sent);
    EXPECT_EQ(lonely.stats().unexplained(), 0U);
}

TEST_F(sync_udp, ASendReportsARefusalItselfWhereThatIsAskedFor) {
    auto lonely =
        or_throw(sync::open_udp_connection(dead_address(), {.report_refused_on_send = true}));
    ASSERT_TRUE(lonely.send("one"));
    EXPECT_EQ(lonely.send("two"), std::errc::connection_refused);
    EXPECT_TRUE(lonely.send("three"));
    EXPECT_EQ(lonely.stats().sent.sent, 2U);
    EXPECT_EQ(lonely.stats().unexplained(), 0U);
}

TEST_F(sync_udp, AServerHearsNothingOfDeadPeers) {
    const address dead = dead_address();
    for (int i = 0; i < 3; ++i)
        ASSERT_TRUE(server.sendto("anybody?", dead));
    ASSERT_TRUE(client.send("me"));
    expect_text(server.read(patiently), "me");
}

// --- timeouts and budgets ---

TEST_F(sync_udp, ALimitThatIsNoTimeIsRefused) {
    const std::chrono::duration<double> nan(std::numeric_limits<double>::quiet_NaN());
    for (const time_limit limit : {time_limit(-1s), time_limit(nan)}) {
        const auto refused = client.read({.timeout = limit});
        expect_error(refused, errc::invalid_option);
        EXPECT_NE(refused.error().message().find("timeout"), std::string::npos);
        EXPECT_EQ(client.send("x", {.timeout = limit}), errc::invalid_option);
        auto incoming = client.received({.budget = limit});
        EXPECT_TRUE(incoming.begin() == incoming.end());
        EXPECT_EQ(incoming.ended(), errc::invalid_option);
    }
    EXPECT_EQ(client.stats().sent.accepted, 0U);
}

TEST_F(sync_udp, WithoutABudgetWhatIsThereIsTaken) {
    for (const char* const text : {"a", "b", "c"})
        ASSERT_TRUE(client.send(std::string_view(text)));
    std::string heard;
    for (const auto& one : server.received())
        heard += one.text();
    EXPECT_EQ(heard, "abc");
}

TEST_F(sync_udp, ABudgetIsOfWaitingOnly) {
    ASSERT_TRUE(client.send("a"));
    std::size_t count = 0;
    auto incoming = server.received({.budget = 20ms});
    for (datagram& one : incoming) {
        ++count;
        if (count > 2) continue;
        // Longer than the budget; it is not charged.
        const auto until = std::chrono::steady_clock::now() + 40ms;
        while (std::chrono::steady_clock::now() < until)
            std::this_thread::yield();
        ASSERT_TRUE(server.reply(one, "go on"));
        expect_text(client.read(patiently), "go on");
        ASSERT_TRUE(client.send("b"));
    }
    EXPECT_EQ(count, 3U);
    EXPECT_EQ(incoming.ended(), errc::timed_out);
}

TEST_F(sync_udp, AnIterationPassesOverRefusalsAndEndsAtClose) {
    auto lonely = or_throw(sync::open_udp_connection(dead_address()));
    ASSERT_TRUE(lonely.send("anybody?"));
    auto none = lonely.received({.budget = 1ms});
    EXPECT_TRUE(none.begin() == none.end());
    EXPECT_EQ(none.ended(), errc::timed_out);
    EXPECT_EQ(lonely.stats().received.refused, 1U);

    ASSERT_TRUE(client.send("a"));
    auto incoming = server.received({.budget = {}});
    for (const auto& one : incoming) {
        EXPECT_EQ(one.text(), "a");
        server.close();
    }
    EXPECT_EQ(incoming.ended(), errc::closed);
}

// --- the end ---

TEST_F(sync_udp, ClosingFreesThePortAndCountsWhatNobodyRead) {
    const address where = server.local_address();
    ASSERT_TRUE(client.send("too late"));
    server.close();
    server.close();
    EXPECT_TRUE(server.is_closing());
    expect_error(server.read(), errc::closed);
    EXPECT_EQ(server.sendto("x", client.local_address()), errc::closed);
    EXPECT_EQ(server.set_broadcast(true), errc::closed);
    EXPECT_EQ(server.descriptor(), -1);
    EXPECT_EQ(server.local_address(), where);
    EXPECT_EQ(server.stats().received.taken, 1U);
    EXPECT_EQ(server.stats().received.dropped.late, 1U);
    EXPECT_TRUE(sync::start_udp_server(where).has_value());
}

TEST_F(sync_udp, WhatCameBeforeARefusalStaysReadableAfterClose) {
    std::optional<foreign_socket> peer(std::in_place);
    auto lonely = or_throw(sync::open_udp_connection(peer->local()));
    peer->sendto("one", lonely.local_address());
    peer->sendto("two", lonely.local_address());
    peer.reset();
    ASSERT_TRUE(lonely.send("anybody?"));
    expect_text(lonely.read(patiently), "one");
    lonely.close();
    expect_text(lonely.read(patiently), "two");
    expect_error(lonely.read(), std::errc::connection_refused);
    expect_error(lonely.read(), errc::closed);
    EXPECT_EQ(lonely.stats().unexplained(), 0U);
}

TEST_F(sync_udp, LeavingScopeFreesThePort) {
    address where;
    {
        const auto brief = or_throw(sync::start_udp_server({"127.0.0.1", 0}));
        where = brief.local_address();
    }
    EXPECT_TRUE(sync::start_udp_server(where).has_value());
}

TEST_F(sync_udp, AHandleThatWasMovedFromIsClosed) {
    sync::udp_client moved = std::move(client);
    expect_error(client.read(), errc::closed);  // NOLINT(bugprone-use-after-move): the claim
    EXPECT_EQ(client.send("x"), errc::closed);
    EXPECT_TRUE(client.is_closing());
    EXPECT_TRUE(moved.send("x"));
    expect_text(server.read(patiently), "x");
    const address where = server.local_address();
    server = sync::udp_server();
    EXPECT_TRUE(sync::start_udp_server(where).has_value());
}

TEST_F(sync_udp, WhatTheKernelDropsIsCounted) {
    auto small = or_throw(sync::start_udp_server({"127.0.0.1", 0}, {.receive_buffer_size = 2304}));
    const foreign_socket peer;
    const std::string payload = pattern(500);
    constexpr std::uint64_t sent = 200;
    for (std::uint64_t i = 0; i < sent; ++i)
        peer.sendto(payload, small.local_address());
    std::uint64_t read = 0;
    for ([[maybe_unused]] const auto& one : small.received())
        ++read;
    const stats ledger = small.stats();
    EXPECT_GT(ledger.received.dropped.kernel_packets, 0U);
    EXPECT_EQ(ledger.received.delivered, read);
    EXPECT_EQ(ledger.received.taken + ledger.received.dropped.kernel_packets, sent);
    EXPECT_TRUE(ledger.is_exact);
}

}  // namespace

}  // namespace quoit::test
