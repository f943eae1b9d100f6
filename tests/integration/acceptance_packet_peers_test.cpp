// SPDX-License-Identifier: MIT
//
// The acceptance cases of packets over TCP (docs/testing.md) whose peers send what is no packet, go
// in the middle of one, do not read, say nothing, or are many: T06, T08, T12. What one of them does
// is that one's end, and the ledger says which; everybody else goes on.
#include "integration/packets_support.hpp"

#include <sys/resource.h>

namespace quoit::test {

namespace {

using quoit::errc;

task<> echo_all(packet_server& server) {
    while (auto received = co_await server.read())
        server.write(*received, received->peer());
}

/// A packet there and back.
task<> ping(foreign_stream& peer, std::string_view body) {
    co_await send_all(peer, frame(body));
    const std::string answer = co_await read_packet(peer);
    expect_body(answer, body);
}

task<> ping_from_server(packet_server& server, foreign_stream& peer, packet_peer known) {
    EXPECT_TRUE(server.write("ping", known));
    EXPECT_EQ(co_await read_packet(peer), "ping");
}

// --- T06: what is no packet ---

task<> offend(std::string bytes, std::string_view right_before) {
    auto server = co_await serve_packets({.packet_size_max = 1000});
    foreign_stream good(server.local_address());
    const auto known = co_await next_peer(server);
    foreign_stream bad(server.local_address());
    const address where = bad.local();
    expect_connected(co_await server.next(patiently), where);
    bad.send(frame(right_before) + bytes);
    // What came before the offence is a packet.
    expect_received(co_await server.next(patiently), where, right_before);
    expect_disconnected(co_await server.next(patiently), where, errc::framing);
    co_await wait_for_end(bad);
    good.send(frame(pattern(1000)));
    expect_received(co_await server.next(patiently), good.local(), pattern(1000));
    EXPECT_TRUE(server.write("unharmed", known));
    EXPECT_EQ(co_await read_packet(good), "unharmed");
    const packet_stats ledger = server.stats();
    EXPECT_EQ(ledger.connections.framing, 1U);
    EXPECT_EQ(ledger.connections.made, 2U);
    EXPECT_EQ(ledger.received.packets, 2U);
    EXPECT_GE(ledger.received.bytes_discarded, 1U);
}

TEST_P(acceptance, T06WhoSendsWhatIsNoPacketIsClosedAndNobodyElse) {
    run(offend("GET / HTTP/1.1\r\n\r\n", "right"));
    run(offend("!", "right"));  // the first byte of a header, and wrong already
    run(offend("#!?%", "right"));
    run(offend(std::string(100'000, '\0'), ""));
}

TEST_P(acceptance, T06WhoAnnouncesTooLongAPacketIsClosedAndNobodyElse) {
    run(offend(frame_header(1001), "right"));
    run(offend(frame_header(0xffffffffU) + "some of it", "right"));
}

task<> offend_without_magic(packet_framing framing) {
    auto server = co_await serve_packets({.framing = framing, .packet_size_max = 1000});
    foreign_stream bad(server.local_address());
    expect_connected(co_await server.next(patiently), bad.local());
    bad.send(frame("right", framing) + frame_header(1001, framing));
    expect_received(co_await server.next(patiently), bad.local(), "right");
    expect_disconnected(co_await server.next(patiently), bad.local(), errc::framing);
    bad.close();
}

TEST_P(acceptance, T06WithoutAMagicALengthOverTheLimitIsTheOffence) {
    run(offend_without_magic(packet_framing::little_endian));
    run(offend_without_magic(packet_framing::big_endian));
}

task<> answer_garbage() {
    const foreign_listener listener;
    auto client = co_await connect_packets(listener.local());
    const foreign_stream server = co_await accept(listener);
    server.send(frame("right") + "HTTP/1.1 400 Bad Request\r\n");
    expect_text(co_await client.read(patiently), "right");
    for (int times = 0; times < 2; ++times)
        expect_error(co_await client.read(patiently), errc::framing);
    EXPECT_FALSE(client.write("x"));
    EXPECT_EQ(client.stats().connections.framing, 1U);
}

TEST_P(acceptance, T06AClientTellsThatItsServerSentWhatIsNoPacket) { run(answer_garbage()); }

task<> write_too_long() {
    auto server = co_await serve_packets({.packet_size_max = 1000});
    auto client = co_await connect_packets(server.local_address(), {.packet_size_max = 1000});
    EXPECT_EQ(client.write(pattern(1001)), errc::message_too_long);
    EXPECT_TRUE(client.write(pattern(1000)));
    const auto received = co_await server.read(patiently);
    expect_text(received, pattern(1000));
    EXPECT_EQ(server.write(pattern(1001)), errc::message_too_long);
    EXPECT_EQ(server.write(pattern(1001), received->peer()), errc::message_too_long);
    EXPECT_TRUE(server.write("the connection goes on"));
    expect_text(co_await client.read(patiently), "the connection goes on");
    EXPECT_EQ(client.stats().sent.accepted, 1U);
    EXPECT_EQ(server.stats().sent.accepted, 1U);
}

TEST_P(acceptance, T06TooLongAPacketIsRefusedByThatWriteAndNothingIsSent) { run(write_too_long()); }

// Each announces 64 MiB, and one byte of it comes: it must not be had for the asking.
task<> announce_and_go() {
    constexpr int count = 20;
    constexpr std::uint32_t announced = 64U << 20U;
    auto server = co_await serve_packets({.packet_size_max = announced});
    std::vector<foreign_stream> liars;
    liars.reserve(count);
    for (int i = 0; i < count; ++i) {
        liars.emplace_back(server.local_address());
        liars.back().send(frame_header(announced) + "x");
        const auto peer = co_await next_peer(server);
        EXPECT_TRUE(peer.is_connected());
    }
    foreign_stream good(server.local_address());
    good.send(frame("right"));
    expect_text(co_await server.read(patiently), "right");
    struct rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    EXPECT_LT(usage.ru_maxrss, 1 << 20);  // KiB; all of it would be more
    liars.clear();
    co_await wait_until_stats(
        server, [](const packet_stats& now) { return now.connections.reset == count; },
        "their ends");
}

TEST_P(acceptance, T06AnAnnouncedLengthTakesNoMemoryBeforeItsBytesCome) { run(announce_and_go()); }

// --- T08: who goes in the middle of a packet ---

enum class manner : std::uint8_t { reset, finish };

task<> leave_in_mid_packet(manner how) {
    auto server = co_await serve_packets();
    foreign_stream good(server.local_address());
    expect_connected(co_await server.next(patiently), good.local());
    foreign_stream bad(server.local_address());
    const address where = bad.local();
    expect_connected(co_await server.next(patiently), where);
    bad.send(frame("whole") + frame("never whole").substr(0, 12));
    expect_received(co_await server.next(patiently), where, "whole");
    if (how == manner::reset) {
        bad.reset();
    } else {
        bad.finish();
    }
    const auto gone = co_await server.next(patiently);
    const packet_event event = or_throw(gone);
    EXPECT_EQ(event.what, packet_event::kind::disconnected);
    EXPECT_EQ(event.peer.remote(), where);
    EXPECT_TRUE(event.reason);
    if (how == manner::reset) {
        EXPECT_EQ(quoit::error(event.reason), std::errc::connection_reset);
    }
    good.send(frame("unharmed"));
    expect_received(co_await server.next(patiently), good.local(), "unharmed");
    const packet_stats ledger = server.stats();
    EXPECT_EQ(ledger.connections.reset, 1U);
    EXPECT_EQ(ledger.received.packets, 2U);
    EXPECT_EQ(ledger.received.bytes_discarded, 12U);
    EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
}

TEST_P(acceptance, T08AResetInMidPacketIsThatPeersEndAndCounted) {
    run(leave_in_mid_packet(manner::reset));
}
TEST_P(acceptance, T08AnEndInMidPacketIsNoOrderlyOne) { run(leave_in_mid_packet(manner::finish)); }

task<> reset_behind_packets() {
    auto server = co_await serve_packets();
    foreign_stream peer(server.local_address());
    const auto known = co_await next_peer(server);
    peer.send(frame("one") + frame("two"));
    co_await wait_until_stats(
        server, [](const packet_stats& now) { return now.received.packets == 2; }, "packets");
    peer.reset();
    co_await wait_until_stats(
        server, [](const packet_stats& now) { return now.connections.open == 0; }, "the reset");
    expect_text(co_await server.read(patiently), "one");
    EXPECT_EQ(server.write("for nobody", known), errc::closed);
    expect_text(co_await server.read(patiently), "two");
    const auto gone = co_await server.next(patiently);
    EXPECT_TRUE(gone.has_value());
    EXPECT_EQ(gone->what, packet_event::kind::disconnected);
    EXPECT_EQ(quoit::error(gone->reason), std::errc::connection_reset);
}

TEST_P(acceptance, T08WhatArrivedBeforeAResetIsStillRead) { run(reset_behind_packets()); }

task<> reset_a_client() {
    const foreign_listener listener;
    auto client = co_await connect_packets(listener.local());
    auto server = co_await accept(listener);
    server.send(frame("whole") + "#!?");
    expect_text(co_await client.read(patiently), "whole");
    server.reset();
    expect_error(co_await client.read(patiently), std::errc::connection_reset);
    EXPECT_FALSE(client.is_connected());
    EXPECT_FALSE(client.write("x"));
    EXPECT_EQ(client.stats().connections.reset, 1U);
}

TEST_P(acceptance, T08AClientTellsThatItsServerResetTheConnection) { run(reset_a_client()); }

// --- T12: who does not read ---

constexpr std::uint32_t queue_size_max = 256U << 10U;
constexpr std::size_t body_size = 1000;
constexpr int small_buffer = 8192;

/// What waits for a slow peer, as the ledger has it.
void expect_bounded(const packet_stats& ledger) {
    EXPECT_LE(ledger.sent.waiting * (body_size + 8), queue_size_max + body_size + 8);
    EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
}

task<> drop_for_a_slow_peer() {
    auto server = co_await serve_packets({.write_queue_size_max = queue_size_max});
    foreign_stream slow(server.local_address(), small_buffer);
    const auto slow_known = co_await next_peer(server);
    foreign_stream quick(server.local_address());
    const auto quick_known = co_await next_peer(server);
    const std::string body = pattern(body_size);
    std::vector<std::size_t> accepted;
    std::uint64_t refused = 0;
    std::size_t quick_heard = 0;
    for (std::size_t i = 0; refused < 2000; ++i) {
        const std::string one = std::to_string(1'000'000 + i) + body.substr(7);
        const status written = server.write(one, slow_known);
        if (written) {
            accepted.push_back(i);
        } else {
            EXPECT_EQ(written, errc::would_block);
            ++refused;
        }
        EXPECT_TRUE(server.write("quick", quick_known));
        if (i % 16 != 0) continue;
        while (quick_heard <= i) {
            EXPECT_EQ(co_await read_packet(quick), "quick");
            ++quick_heard;
        }
        expect_bounded(server.stats(slow_known));
    }
    const packet_stats ledger = server.stats(slow_known);
    EXPECT_EQ(ledger.sent.dropped_slow, refused);
    EXPECT_EQ(ledger.sent.accepted, accepted.size());
    EXPECT_GT(ledger.sent.waiting, 0U);
    EXPECT_GT(ledger.sent.blocked, 0U);
    EXPECT_EQ(server.stats(quick_known).sent.dropped_slow, 0U);
    // It comes round, and gets whole and in order what was not refused.
    EXPECT_TRUE(slow_known.is_connected());
    std::size_t wrong = 0;
    for (const std::size_t i : accepted) {
        const std::string heard = co_await read_packet(slow);
        if (heard != std::to_string(1'000'000 + i) + body.substr(7)) ++wrong;
    }
    EXPECT_EQ(wrong, 0U);
    EXPECT_TRUE(co_await server.drain(slow_known));
    EXPECT_TRUE(server.write("there is room", slow_known));
    EXPECT_EQ(co_await read_packet(slow), "there is room");
}

TEST_P(acceptance, T12PacketsForASlowPeerAreDroppedAndCountedBeyondABoundAndNobodyElseStalls) {
    run(drop_for_a_slow_peer());
}

task<> close_a_slow_peer() {
    auto server = co_await serve_packets(
        {.write_queue_size_max = queue_size_max, .on_slow_peer = slow_peer::close});
    foreign_stream slow(server.local_address(), small_buffer);
    const auto slow_known = co_await next_peer(server);
    foreign_stream quick(server.local_address());
    const auto quick_known = co_await next_peer(server);
    const std::string body = pattern(body_size);
    status written;
    const give_up_time limit;
    while (written) {
        limit.check("the peer to be too slow");
        written = server.write(body, slow_known);
        EXPECT_TRUE(server.write("quick", quick_known));
        EXPECT_EQ(co_await read_packet(quick), "quick");
    }
    EXPECT_EQ(written, errc::slow_peer);
    expect_disconnected(co_await server.next(patiently), slow.local(), errc::slow_peer);
    EXPECT_EQ(server.write(body, slow_known), errc::closed);
    co_await wait_for_end(slow);
    co_await ping_from_server(server, quick, quick_known);
    const packet_stats ledger = server.stats();
    EXPECT_EQ(ledger.connections.slow, 1U);
    EXPECT_GT(ledger.sent.dropped, 0U);
    EXPECT_EQ(ledger.sent.dropped_slow, 1U);
    EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
}

TEST_P(acceptance, T12OrTheSlowPeerIsClosedAndNobodyElse) { run(close_a_slow_peer()); }

task<> write_and_wait(packet_server& server, packet_peer to, std::size_t count,
                      std::size_t& waits) {
    const std::string body = pattern(body_size);
    for (std::size_t i = 0; i < count; ++i) {
        const std::string one = std::to_string(1'000'000 + i) + body.substr(7);
        status written = server.write(one, to);
        while (written == errc::would_block) {
            ++waits;
            or_throw(co_await server.drain(to));
            written = server.write(one, to);
        }
        or_throw(written);
        if (i % 64 == 0) or_throw(co_await next_turn());
    }
}

task<> wait_for_a_slow_peer() {
    constexpr std::size_t count = 10'000;
    auto server = co_await serve_packets(
        {.write_queue_size_max = queue_size_max, .on_slow_peer = slow_peer::wait});
    foreign_stream slow(server.local_address(), small_buffer);
    const auto slow_known = co_await next_peer(server);
    foreign_stream quick(server.local_address());
    const auto quick_known = co_await next_peer(server);
    std::size_t waits = 0;
    task_group writer;
    writer.spawn(write_and_wait(server, slow_known, count, waits));
    const give_up_time limit;
    while (waits == 0) {
        limit.check("the writer to wait");
        co_await ping_from_server(server, quick, quick_known);
        expect_bounded(server.stats(slow_known));
    }
    // Until here it has read nothing.
    const std::string rest = pattern(body_size).substr(7);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const std::string heard = co_await read_packet(slow);
        if (heard != std::to_string(1'000'000 + i) + rest) ++wrong;
    }
    EXPECT_EQ(wrong, 0U);
    co_await writer.join();
    EXPECT_EQ(server.stats(slow_known).sent.sent, count);
}

TEST_P(acceptance, T12OrTheWriterWaitsAndNothingIsDropped) { run(wait_for_a_slow_peer()); }

task<> leave_a_waiting_writer() {
    auto server = co_await serve_packets(
        {.write_queue_size_max = queue_size_max, .on_slow_peer = slow_peer::wait});
    foreign_stream slow(server.local_address(), small_buffer);
    const auto known = co_await next_peer(server);
    while (server.write(pattern(body_size), known)) {
        if (server.stats().sent.waiting > 64) or_throw(co_await next_turn());
    }
    slow.reset();
    const status drained = co_await server.drain(known);
    EXPECT_EQ(drained, errc::closed);
}

TEST_P(acceptance, T12AWriterThatWaitsIsWokenWhenThePeerGoes) { run(leave_a_waiting_writer()); }

task<> write_one_that_is_longer_than_the_queue() {
    auto server = co_await serve_packets({.write_queue_size_max = 1000});
    foreign_stream peer(server.local_address());
    const auto known = co_await next_peer(server);
    const std::string body = pattern(100'000);
    EXPECT_TRUE(server.write(body, known));
    const std::string heard = co_await read_packet(peer);
    expect_body(heard, body);
}

TEST_P(acceptance, T12APacketThatIsLongerThanTheQueueIsTakenWhenNothingElseWaits) {
    run(write_one_that_is_longer_than_the_queue());
}

task<> stop_reading() {
    constexpr std::uint32_t read_queue = 64U << 10U;
    auto server = co_await serve_packets(
        {.read_queue_size_max = read_queue, .receive_buffer_size = 64U << 10U});
    foreign_stream eager(server.local_address());
    const auto known = co_await next_peer(server);
    foreign_stream modest(server.local_address());
    expect_connected(co_await server.next(patiently), modest.local());
    // Nobody reads: what it sends must stay with it.
    const std::string packets = frame(pattern(body_size));
    std::size_t sent = 0;
    std::string unfinished;
    constexpr std::size_t far_too_much = 64UZ << 20U;
    int turns_without_progress = 0;
    while (turns_without_progress < 200) {
        if (unfinished.empty()) unfinished = packets;
        const std::size_t taken = eager.try_send(unfinished);
        unfinished.erase(0, taken);
        sent += taken;
        turns_without_progress = taken > 0 ? 0 : turns_without_progress + 1;
        EXPECT_LT(sent, far_too_much);
        if (sent >= far_too_much) co_return;
        or_throw(co_await next_turn());
    }
    const packet_stats full = server.stats(known);
    EXPECT_GT(full.received.waiting * (body_size + 64), read_queue / 2);
    // The bound, and what the engine had on its way: its receive buffers, at most 64 KiB each.
    const std::size_t buffers_size = loop::current().engine_stats().buffers * (64UZ << 10U);
    EXPECT_LT(full.received.waiting * body_size, read_queue + buffers_size);
    // One that is modest is heard all the same, in turn, and not behind what the other has sent.
    modest.send(frame("modest"));
    co_await wait_until_stats(
        server,
        [&](const packet_stats& now) { return now.received.waiting > full.received.waiting; },
        "what the modest one has sent");
    std::size_t read = 0;
    bool is_modest_heard = false;
    const give_up_time limit;
    while (!is_modest_heard || read * packets.size() < sent - packets.size()) {
        limit.check("what was sent");
        if (!unfinished.empty()) unfinished.erase(0, eager.try_send(unfinished));
        auto received = co_await server.read(patiently);
        const packet one = or_throw(std::move(received));
        if (one.peer() == known) {
            ++read;
            EXPECT_EQ(one.size(), body_size);
        } else {
            EXPECT_EQ(one.text(), "modest");
            is_modest_heard = true;
            EXPECT_LE(read, 2U);
        }
    }
}

TEST_P(acceptance, T12WhatNobodyReadsIsBoundedAndTheRestWaitsWithItsSender) { run(stop_reading()); }

// --- a slow sender beside a fast one ---

task<> be_slow_beside_a_fast_one() {
    auto server = co_await serve_packets();
    task_group tasks;
    tasks.spawn(echo_all(server));
    foreign_stream slow(server.local_address());
    foreign_stream quick(server.local_address());
    const std::string body = pattern(500);
    const std::string bytes = frame(body);
    // After each byte of the one the other is answered.
    for (const char& byte : bytes) {
        slow.send({&byte, 1});
        co_await ping(quick, "quick");
    }
    const std::string heard = co_await read_packet(slow);
    expect_body(heard, body);
    server.close();
    slow.close();
    quick.close();
    co_await tasks.join();
}

TEST_P(acceptance, AClientThatSendsAByteAtATimeDoesNotDelayAFastOne) {
    run(be_slow_beside_a_fast_one());
}

task<> flood_beside_a_modest_one() {
    auto server = co_await serve_packets();
    foreign_stream loud(server.local_address());
    const auto known = co_await next_peer(server);
    std::string many;
    for (int i = 0; i < 1000; ++i)
        many += frame("loud");
    co_await send_all(loud, many);
    co_await wait_until_stats(
        server, [](const packet_stats& now) { return now.received.packets == 1000; }, "a flood");
    foreign_stream modest(server.local_address());
    modest.send(frame("modest"));
    co_await wait_until_stats(
        server, [](const packet_stats& now) { return now.received.packets == 1001; }, "one more");
    for (int before = 0;; ++before) {
        auto received = co_await server.read(patiently);
        const packet one = or_throw(std::move(received));
        if (one.peer() != known) {
            EXPECT_LE(before, 2);
            break;
        }
    }
}

TEST_P(acceptance, PeersAreReadInTurn) { run(flood_beside_a_modest_one()); }

// One packet each in every turn, and one is read in every turn.
task<> two_that_write_in_every_turn() {
    auto server = co_await serve_packets();
    foreign_stream a(server.local_address());
    foreign_stream b(server.local_address());
    std::array<std::size_t, 2> heard{};
    for (int i = 0; i < 200; ++i) {
        a.send(frame("a"));
        b.send(frame("b"));
        const packet one = or_throw(co_await server.read(patiently));
        ++heard[one.text() == "a" ? 0 : 1];
        co_await sleep(0s);
    }
    EXPECT_GE(heard[0], 50U);
    EXPECT_GE(heard[1], 50U);
    server.abort();
    co_await server.wait_closed();
}
TEST_P(acceptance, NobodyLosesItsPlaceByWhatItSends) { run(two_that_write_in_every_turn()); }

// --- many ---

constexpr std::size_t many = 1000;

[[nodiscard]] bool may_open(std::size_t descriptors) {
    struct rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur >= descriptors;
}

task<> serve_many() {
    auto server = co_await serve_packets();
    std::vector<foreign_stream> clients;
    clients.reserve(many);
    for (std::size_t i = 0; i < many; ++i) {
        clients.emplace_back(server.local_address());
        clients.back().send(frame("from " + std::to_string(i)));
    }
    std::vector<packet_peer> heard;
    for (std::size_t i = 0; i < many; ++i) {
        auto received = co_await server.read(patiently);
        const packet one = or_throw(std::move(received));
        EXPECT_TRUE(server.write("to " + std::string(one.text().substr(5)), one.peer()));
        heard.push_back(one.peer());
    }
    std::ranges::sort(heard);
    EXPECT_EQ(std::ranges::adjacent_find(heard), heard.end());
    EXPECT_EQ(server.peer_count(), many);
    EXPECT_TRUE(server.write("to all"));
    for (std::size_t i = 0; i < many; ++i) {
        EXPECT_EQ(co_await read_packet(clients[i]), "to " + std::to_string(i));
        EXPECT_EQ(co_await read_packet(clients[i]), "to all");
    }
    for (std::size_t i = 0; i < many; i += 2)
        clients[i].close();
    co_await wait_until_stats(
        server, [](const packet_stats& now) { return now.connections.ended == many / 2; },
        "half of them to go");
    // Comings come before goings, and those of all must be passed before the count is.
    const auto poll = co_await server.read({.timeout = 0ns});
    expect_error(poll, errc::timed_out);
    EXPECT_EQ(server.peer_count(), many / 2);
    EXPECT_TRUE(server.write("to the rest"));
    for (std::size_t i = 1; i < many; i += 2)
        EXPECT_EQ(co_await read_packet(clients[i]), "to the rest");
    const packet_stats ledger = server.stats();
    EXPECT_EQ(ledger.connections.made, many);
    EXPECT_EQ(ledger.sent.sent, 2 * many + many / 2);
    EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
}

TEST_P(acceptance, AThousandClientsAtOnceAreEachAnswered) {
    ASSERT_TRUE(may_open(2 * many + 100)) << "RLIMIT_NOFILE is too small here";
    run(serve_many());
}

task<> come_one_too_many() {
    auto server = co_await serve_packets({.peers_max = 2});
    foreign_stream first(server.local_address());
    const auto first_known = co_await next_peer(server);
    foreign_stream second(server.local_address());
    const auto second_known = co_await next_peer(server);
    foreign_stream third(server.local_address());
    third.send(frame("patient"));
    for (int turns = 0; turns < 20; ++turns)
        or_throw(co_await next_turn());
    expect_error(server.try_next(), errc::would_block);
    EXPECT_EQ(server.peer_count(), 2U);
    first.close();
    expect_disconnected(co_await server.next(patiently), first_known.remote(), std::error_code());
    expect_connected(co_await server.next(patiently), third.local());
    expect_received(co_await server.next(patiently), third.local(), "patient");
    EXPECT_TRUE(second_known.is_connected());
}

TEST_P(acceptance, WhoComesWhenAllPlacesAreTakenWaitsUntilOneGoes) { run(come_one_too_many()); }

// --- who says nothing ---

task<> keep_alive(foreign_stream& peer, const bool& is_over) {
    while (!is_over) {
        peer.send(frame("here"));
        or_throw(co_await next_turn());
    }
}

task<> be_silent() {
    auto server = co_await serve_packets({.idle_timeout = 200ms});
    foreign_stream lively(server.local_address());
    const auto lively_known = co_await next_peer(server);
    foreign_stream silent(server.local_address());
    expect_connected(co_await server.next(patiently), silent.local());
    bool is_over = false;
    task_group tasks;
    tasks.spawn(keep_alive(lively, is_over));
    for (;;) {
        const auto event = co_await server.next(patiently);
        if (!event) detail::throw_error(event.error());
        if (event->what == packet_event::kind::received) continue;
        expect_disconnected(event, silent.local(), errc::timed_out);
        break;
    }
    is_over = true;
    co_await wait_for_end(silent);
    EXPECT_TRUE(lively_known.is_connected());
    EXPECT_EQ(server.stats().connections.timed_out, 1U);
    co_await tasks.join();
}

TEST_P(acceptance, WhoSaysNothingForTheIdleTimeIsClosedAndNobodyElse) { run(be_silent()); }

task<> wait_for_a_silent_server() {
    const foreign_listener listener;
    auto client = co_await connect_packets(listener.local(), {.idle_timeout = 50ms});
    const foreign_stream server = co_await accept(listener);
    server.send(frame("the last"));
    expect_text(co_await client.read(patiently), "the last");
    expect_error(co_await client.read(patiently), errc::timed_out);
    expect_error(client.try_read(), errc::timed_out);
    EXPECT_FALSE(client.is_connected());
    EXPECT_EQ(client.stats().connections.timed_out, 1U);
}

TEST_P(acceptance, AClientWhoseServerSaysNothingForTheIdleTimeIsTold) {
    run(wait_for_a_silent_server());
}

task<> connect_where_nobody_accepts() {
    // A listen queue of one that is full: the kernel drops what else knocks.
    const foreign_listener listener(0);
    std::vector<packet_client> clients;
    for (int i = 0; i < 4; ++i) {
        clients.push_back(co_await connect_packets(
            listener.local(), {.connect_timeout = std::chrono::milliseconds(300)}));
        clients.back().write("early");
    }
    packet_client& last = clients.back();
    const auto read = co_await last.read(patiently);
    expect_error(read, errc::timed_out);
    EXPECT_EQ(co_await last.wait_connected(patiently), errc::timed_out);
    EXPECT_FALSE(last.is_connected());
    const packet_stats ledger = last.stats();
    EXPECT_EQ(ledger.connections.failed, 1U);
    EXPECT_EQ(ledger.connections.made, 0U);
    EXPECT_EQ(ledger.sent.dropped, 1U);
    EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
    // A read that gives up before is another thing, and changes nothing.
    packet_client& first = clients.front();
    EXPECT_TRUE(co_await first.wait_connected(patiently));
    expect_error(co_await first.read({.timeout = 1ms}), errc::timed_out);
    EXPECT_TRUE(first.is_connected());
}

TEST_P(acceptance, AnAttemptToConnectEndsAtItsTimeLimitAndSaysSo) {
    run(connect_where_nobody_accepts());
}

task<> refuse_options() {
    const packet_options wrong[] = {
        {.packet_size_max = 0},
        {.packet_size_max = packet_size_limit + 1},
        {.write_queue_size_max = 0},
        {.read_queue_size_max = 0},
        {.peers_max = 0},
        {.peers_max = 32'769},
        {.backlog = 0},
        {.connect_timeout = std::chrono::milliseconds(-1)},
        {.idle_timeout = 25h},
        {.keep_alive_s = 32'768},
    };
    for (const packet_options& options : wrong) {
        const auto opened = co_await start_packet_server(host_port("127.0.0.1", 0), options);
        expect_error(opened, errc::invalid_option);
    }
}

TEST_P(acceptance, AnOptionOutOfRangeIsRefusedAndNotClamped) { run(refuse_options()); }

}  // namespace

QUOIT_INSTANTIATE_ACCEPTANCE();

}  // namespace quoit::test
