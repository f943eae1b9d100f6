// SPDX-License-Identifier: MIT
//
// The acceptance cases of packets over TCP (docs/testing.md), those of peers that mean well: T01
// to T03, T05, T07, T10. The others are in acceptance_packet_peers_test.cpp and
// acceptance_packets_sync_test.cpp.
#include "integration/packets_support.hpp"

#include <map>
#include <random>

namespace quoit::test {

namespace {

using quoit::errc;

constexpr std::array framings{packet_framing::packetsocket, packet_framing::little_endian,
                              packet_framing::big_endian};

task<> echo_all(packet_server& server) {
    while (auto received = co_await server.read())
        EXPECT_TRUE(server.write(*received, received->peer()));
}

// --- T01: prompt server and echoing client ---

task<> echo_until_the_end(packet_client& client, std::string& heard) {
    for (;;) {
        const auto received = co_await client.read(patiently);
        if (!received) {
            expect_error(received, errc::end_of_stream);
            co_return;
        }
        heard += received->text();
        heard += ';';
        client.write("<echo> " + std::string(received->text()));
    }
}

task<> prompt_many() {
    constexpr std::size_t count = 20;
    auto server = co_await serve_packets();
    std::vector<packet_client> clients;
    std::vector<std::string> heard(count);
    task_group tasks;
    clients.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
        clients.push_back(co_await connect_packets(server.local_address()));
        tasks.spawn(echo_until_the_end(clients.back(), heard[i]));
    }
    foreign_stream foreign(server.local_address());
    std::vector<packet_peer> peers;
    for (std::size_t i = 0; i < count + 1; ++i)
        peers.push_back(co_await next_peer(server));
    EXPECT_EQ(server.peer_count(), count + 1);
    EXPECT_EQ(server.peers(), peers);

    EXPECT_TRUE(server.write("all"));
    EXPECT_TRUE(server.write("one", peers.front()));
    const packet_peer two[] = {peers[1], peers[2]};
    EXPECT_TRUE(server.write("two", two));
    EXPECT_EQ(co_await read_packet(foreign), "all");
    foreign.send(frame("<foreign>"));

    std::map<packet_peer, std::string> answers;
    for (std::size_t i = 0; i < count + 1 + 3; ++i) {
        auto answer = co_await server.read(patiently);
        const packet one = or_throw(std::move(answer));
        answers[one.peer()] += one.text();
    }
    for (const packet_peer& peer : peers) {
        const std::string& said = answers[peer];
        if (peer.remote() == foreign.local()) {
            EXPECT_EQ(said, "<foreign>");
        } else if (peer == peers[0]) {
            EXPECT_EQ(said, "<echo> all<echo> one");
        } else if (peer == peers[1] || peer == peers[2]) {
            EXPECT_EQ(said, "<echo> all<echo> two");
        } else {
            EXPECT_EQ(said, "<echo> all");
        }
    }
    server.close();
    co_await tasks.join();
    foreign.close();
    co_await server.wait_closed();
    EXPECT_EQ(heard[0], "all;one;");
    const packet_stats ledger = server.stats();
    EXPECT_EQ(ledger.connections.made, count + 1);
    EXPECT_EQ(ledger.sent.sent, count + 1 + 3);
    EXPECT_EQ(ledger.received.delivered, count + 1 + 3);
    EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
}

TEST_P(acceptance, T01ManyClientsAnswerWhatWasWrittenToAllToOneAndToSome) { run(prompt_many()); }

task<> tell_comings_and_goings() {
    auto server = co_await serve_packets();
    foreign_stream one(server.local_address());
    const address where = one.local();
    expect_connected(co_await server.next(patiently), where);
    one.send(frame("a") + frame("b"));
    expect_received(co_await server.next(patiently), where, "a");
    expect_received(co_await server.next(patiently), where, "b");
    foreign_stream other(server.local_address());
    expect_connected(co_await server.next(patiently), other.local());
    one.send(frame("the last"));
    one.close();
    expect_received(co_await server.next(patiently), where, "the last");
    EXPECT_EQ(server.peer_count(), 2U);
    expect_disconnected(co_await server.next(patiently), where, std::error_code());
    EXPECT_EQ(server.peer_count(), 1U);
    EXPECT_EQ(server.peers().front().remote(), other.local());
    expect_error(server.try_next(), errc::would_block);
    EXPECT_EQ(server.stats().connections.ended, 1U);
}

TEST_P(acceptance, T01ComingsPacketsAndGoingsOfEachPeerAreToldInThatOrder) {
    run(tell_comings_and_goings());
}

task<> close_one_peer() {
    auto server = co_await serve_packets();
    foreign_stream one(server.local_address());
    const auto peer = co_await next_peer(server);
    foreign_stream other(server.local_address());
    const auto remaining = co_await next_peer(server);
    EXPECT_NE(peer, remaining);
    EXPECT_LT(peer, remaining);
    EXPECT_TRUE(server.write("goodbye", peer));
    peer.close();
    EXPECT_EQ(co_await read_packet(one), "goodbye");
    EXPECT_EQ(co_await wait_for_end(one), stream_end::finished);
    one.close();
    expect_disconnected(co_await server.next(patiently), one.local(), errc::closed);
    EXPECT_EQ(server.write("too late", peer), errc::closed);
    other.send(frame("still here"));
    expect_received(co_await server.next(patiently), other.local(), "still here");
    EXPECT_EQ(server.stats().connections.closed, 1U);
}

TEST_P(acceptance, T01APeerThatIsClosedGetsWhatWasWrittenToItBefore) { run(close_one_peer()); }

// --- T02: byte-exact frames ---

task<> compare_bytes(packet_framing framing) {
    const std::string bodies[] = {"hello", "", std::string("\0\xff#!?&", 6), pattern(70'000)};
    auto server = co_await serve_packets({.framing = framing});
    foreign_stream peer(server.local_address());
    const auto known = co_await next_peer(server);
    std::string expected;
    for (const std::string& body : bodies) {
        peer.send(frame(body, framing));
        const auto received = co_await server.read(patiently);
        expect_text(received, body);
        EXPECT_TRUE(server.write(body, known));
        expected += frame(body, framing);
    }
    std::string heard;
    const give_up_time limit;
    while (heard.size() < expected.size()) {
        limit.check("the frames");
        heard += peer.try_receive().value_or("");
        or_throw(co_await next_turn());
    }
    EXPECT_TRUE(heard == expected);
}

task<> compare_bytes_of_a_client(packet_framing framing) {
    const foreign_listener listener;
    auto client = co_await connect_packets(listener.local(), {.framing = framing});
    auto server = co_await accept(listener);
    EXPECT_TRUE(client.write("hello"));
    EXPECT_TRUE(client.write(""));
    const std::string expected = frame("hello", framing) + frame("", framing);
    std::string heard;
    const give_up_time limit;
    while (heard.size() < expected.size()) {
        limit.check("the frames");
        heard += server.try_receive().value_or("");
        or_throw(co_await next_turn());
    }
    EXPECT_EQ(heard, expected);
    server.send(frame("", framing) + frame("answer", framing));
    expect_text(co_await client.read(patiently), "");
    expect_text(co_await client.read(patiently), "answer");
}

TEST_P(acceptance, T02EveryByteAServerSendsAndTakesIsAsTheFramingSays) {
    for (const packet_framing framing : framings)
        run(compare_bytes(framing));
}

TEST_P(acceptance, T02EveryByteAClientSendsAndTakesIsAsTheFramingSays) {
    for (const packet_framing framing : framings)
        run(compare_bytes_of_a_client(framing));
}

// --- T03: merged and cut ---

task<> merge_many() {
    constexpr int count = 1000;
    auto server = co_await serve_packets();
    const foreign_stream peer(server.local_address());
    std::string all;
    for (int i = 0; i < count; ++i)
        all += frame("packet " + std::to_string(i));
    peer.send(all);
    for (int i = 0; i < count; ++i)
        expect_text(co_await server.read(patiently), "packet " + std::to_string(i));
    expect_error(server.try_read(), errc::would_block);
}

TEST_P(acceptance, T03ManyPacketsInOneSegmentAreReadOneByOneInOrder) { run(merge_many()); }

task<> cut_into_bytes() {
    auto server = co_await serve_packets();
    const foreign_stream peer(server.local_address());
    const std::string bytes = frame("one") + frame("") + frame("#!?&two");
    for (const char& byte : bytes) {
        peer.send({&byte, 1});
        or_throw(co_await next_turn());
    }
    expect_text(co_await server.read(patiently), "one");
    expect_text(co_await server.read(patiently), "");
    expect_text(co_await server.read(patiently), "#!?&two");
    expect_error(server.try_read(), errc::would_block);
    EXPECT_EQ(server.stats().received.packets, 3U);
}

TEST_P(acceptance, T03PacketsThatComeAByteAtATimeArriveOnceAndWhole) { run(cut_into_bytes()); }

task<> cut_at_every_place(packet_framing framing) {
    auto server = co_await serve_packets({.framing = framing});
    const foreign_stream peer(server.local_address());
    const std::string bytes = frame("body", framing) + frame("next", framing);
    for (std::size_t place = 1; place < bytes.size(); ++place) {
        const std::uint64_t before = server.stats().received.packets;
        peer.send(std::string_view(bytes).substr(0, place));
        for (int turns = 0; turns < 4; ++turns)
            or_throw(co_await next_turn());
        EXPECT_LT(server.stats().received.packets, before + 2);
        peer.send(std::string_view(bytes).substr(place));
        expect_text(co_await server.read(patiently), "body");
        expect_text(co_await server.read(patiently), "next");
    }
}

TEST_P(acceptance, T03APacketCutAtAnyPlaceIsAPacket) {
    for (const packet_framing framing : framings)
        run(cut_at_every_place(framing));
}

// What is sent is known from the number of its connection: sizes from 0 to 200 000, most of them
// small, and bodies that tell one place from another.
class random_packets {
  public:
    explicit random_packets(unsigned connection) : sizes_(connection), connection_(connection) {}

    /// Valid until the program ends.
    [[nodiscard]] std::string_view next() {
        const std::size_t offset = (connection_ * 31 + number_++ * 7) % 251;
        return std::string_view(bytes()).substr(offset, next_size());
    }

  private:
    static constexpr std::size_t size_max = 200'000;

    static const std::string& bytes() {
        static const std::string all = pattern(size_max + 251);
        return all;
    }
    std::size_t next_size() {
        const auto kind = sizes_() % 1000;
        const std::size_t limit = kind < 700   ? 64
                                  : kind < 950 ? 1024
                                  : kind < 998 ? 8192
                                               : size_max;
        return sizes_() % (limit + 1);
    }

    std::mt19937 sizes_;
    std::size_t connection_;
    std::size_t number_ = 0;
};

constexpr unsigned connection_count = 8;
constexpr std::size_t packets_per_connection = 12'500;
static_assert(connection_count * packets_per_connection == 100'000);

// Sends the packets of one connection, cut and merged at random, and finishes.
void send_random_packets(const address& server, unsigned connection, std::string& error) try {
    foreign_stream stream(server);
    stream.send(frame(std::to_string(connection)));
    random_packets packets(connection);
    std::mt19937 cuts(connection + 1000);
    std::string pending;
    for (std::size_t i = 0; i < packets_per_connection; ++i) {
        pending += frame(packets.next());
        // One in ten cuts is within the first bytes, which are a header's as often as not.
        const std::size_t size = cuts() % 10 == 0 ? cuts() % 16 : cuts() % 65'536;
        if (size > pending.size()) continue;
        stream.send(std::string_view(pending).substr(0, size));
        pending.erase(0, size);
    }
    stream.send(pending);
    stream.finish();
    if (const std::string end = stream.receive(1); !end.empty()) error = "not the end";
} catch (const std::exception& e) {
    error = e.what();
}

task<> receive_random_packets(packet_server& server) {
    struct sender {
        std::optional<random_packets> expected;
        std::size_t count = 0;
        std::size_t wrong = 0;
    };
    std::map<packet_peer, sender> senders;
    std::size_t ended = 0;
    while (ended < connection_count) {
        const auto event = co_await server.next(patiently);
        if (!event) detail::throw_error(event.error());
        sender& from = senders[event->peer];
        if (event->what == packet_event::kind::received) {
            const std::string_view body = event->received->text();
            if (!from.expected) {
                from.expected.emplace(static_cast<unsigned>(std::stoi(std::string(body))));
            } else {
                ++from.count;
                if (from.expected->next() != body) ++from.wrong;
            }
        } else if (event->what == packet_event::kind::disconnected) {
            EXPECT_FALSE(event->reason) << event->reason.message();
            EXPECT_EQ(from.count, packets_per_connection);
            EXPECT_EQ(from.wrong, 0U);
            ++ended;
        }
    }
    EXPECT_EQ(senders.size(), connection_count);
}

task<> receive_a_hundred_thousand() {
    auto server = co_await serve_packets();
    const address where = server.local_address();
    std::array<std::string, connection_count> errors;
    {
        std::vector<std::jthread> threads;
        for (unsigned i = 0; i < connection_count; ++i) {
            threads.emplace_back(
                [where, i, &error = errors[i]] { send_random_packets(where, i, error); });
        }
        co_await receive_random_packets(server);
        // They wait for the end, which comes when the server has closed: that takes turns.
        server.close();
        co_await server.wait_closed();
    }
    for (const std::string& error : errors)
        EXPECT_EQ(error, "");
    const packet_stats ledger = server.stats();
    EXPECT_EQ(ledger.received.delivered, 100'000U + connection_count);
    EXPECT_EQ(ledger.received.bytes_discarded, 0U);
    EXPECT_EQ(ledger.connections.ended, connection_count);
    EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
}

TEST_P(acceptance, T03AHundredThousandPacketsCutAndMergedAtRandomArriveOnceWholeInOrder) {
    run(receive_a_hundred_thousand());
}

// Receives the packets of one connection, in pieces of random sizes.
void expect_random_packets(const address& server, unsigned connection, std::string& error) try {
    foreign_stream stream(server);
    stream.send(frame(std::to_string(connection)));
    random_packets packets(connection);
    std::mt19937 sizes(connection + 2000);
    std::size_t count = 0;
    while (count < packets_per_connection) {
        const std::string bytes = stream.receive(1 + sizes() % 65'536);
        if (bytes.empty()) throw std::runtime_error("ended after " + std::to_string(count));
        stream.packets.push(bytes);
        while (const auto body = stream.packets.next()) {
            ++count;
            if (*body != packets.next()) throw std::runtime_error(std::to_string(count));
        }
    }
    if (!stream.packets.is_between_packets()) error = "more than was sent";
} catch (const std::exception& e) {
    error = e.what();
}

task<> write_random_packets(packet_server& server, packet_peer to, unsigned connection) {
    random_packets packets(connection);
    for (std::size_t i = 0; i < packets_per_connection; ++i) {
        const std::string_view body = packets.next();
        status written = server.write(body, to);
        while (written == errc::would_block) {
            or_throw(co_await server.drain(to));
            written = server.write(body, to);
        }
        or_throw(written);
        // Not all at once: the others' turn.
        if (i % 64 == 0) or_throw(co_await next_turn());
    }
}

task<> send_a_hundred_thousand() {
    auto server = co_await serve_packets({.on_slow_peer = slow_peer::wait});
    const address where = server.local_address();
    std::array<std::string, connection_count> errors;
    {
        std::vector<std::jthread> threads;
        for (unsigned i = 0; i < connection_count; ++i) {
            threads.emplace_back(
                [where, i, &error = errors[i]] { expect_random_packets(where, i, error); });
        }
        task_group writers;
        for (unsigned i = 0; i < connection_count; ++i) {
            auto first = co_await server.read(patiently);
            const packet one = or_throw(std::move(first));
            const auto connection = static_cast<unsigned>(std::stoi(std::string(one.text())));
            writers.spawn(write_random_packets(server, one.peer(), connection));
        }
        co_await writers.join();
        server.close();
        co_await server.wait_closed();
    }
    for (const std::string& error : errors)
        EXPECT_EQ(error, "");
    const packet_stats ledger = server.stats();
    EXPECT_EQ(ledger.sent.sent, 100'000U);
    EXPECT_EQ(ledger.sent.dropped, 0U);
    EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
}

TEST_P(acceptance, T03AHundredThousandPacketsWrittenWithTheKernelFullArriveOnceWholeInOrder) {
    run(send_a_hundred_thousand());
}

// --- T05: empty and long packets ---

task<> send_empty_and_long() {
    auto server = co_await serve_packets();
    auto client = co_await connect_packets(server.local_address());
    const std::string sizes[] = {"", pattern(600'000), "", "", pattern(1), pattern(65'536)};
    for (const std::string& body : sizes) {
        EXPECT_TRUE(client.write(body));
        const auto received = co_await server.read(patiently);
        expect_text(received, body);
        EXPECT_TRUE(server.write(*received, received->peer()));
        expect_text(co_await client.read(patiently), body);
    }
    EXPECT_EQ(server.stats().received.packets, std::size(sizes));
}

TEST_P(acceptance, T05EmptyPacketsAndLongOnesGoThereAndBack) { run(send_empty_and_long()); }

task<> share_one_body() {
    auto server = co_await serve_packets();
    auto client = co_await connect_packets(server.local_address());
    const std::string body = pattern(100'000);
    EXPECT_TRUE(client.write(body));
    auto received = co_await server.read(patiently);
    packet kept = or_throw(std::move(received));
    server.close();
    co_await server.wait_closed();
    server = packet_server();
    client = packet_client();
    expect_body(kept.text(), body);
    const shared_bytes shared = std::move(kept).shared();
    expect_body(shared.text(), body);
}

TEST_P(acceptance, T05APacketOutlivesItsPeerAndItsServer) { run(share_one_body()); }

// --- T07: before the connection exists ---

task<> write_early() {
    auto server = co_await serve_packets();
    auto client = co_await connect_packets(server.local_address());
    EXPECT_TRUE(client.write("first"));
    EXPECT_TRUE(client.write("second"));
    EXPECT_EQ(client.stats().sent.accepted, 2U);
    expect_text(co_await server.read(patiently), "first");
    expect_text(co_await server.read(patiently), "second");
    EXPECT_TRUE(co_await client.wait_connected(patiently));
    EXPECT_TRUE(client.is_connected());
    EXPECT_EQ(client.peer_address(), server.local_address());
    EXPECT_EQ(client.local_address().host(), ip("127.0.0.1"));
    EXPECT_EQ(server.peers().front().remote(), client.local_address());
}

TEST_P(acceptance, T07WhatIsWrittenBeforeTheConnectionExistsIsDelivered) { run(write_early()); }

task<> bound_what_is_early() {
    auto server = co_await serve_packets();
    auto client = co_await connect_packets(server.local_address(), {.write_queue_size_max = 1000});
    const std::string body(92, 'x');  // 100 with its header
    std::size_t accepted = 0;
    while (client.write(body))
        ++accepted;
    EXPECT_EQ(accepted, 10U);
    EXPECT_EQ(client.write(body), errc::would_block);
    for (std::size_t i = 0; i < accepted; ++i)
        expect_text(co_await server.read(patiently), body);
    EXPECT_TRUE(co_await client.drain());
    EXPECT_TRUE(client.write("there is room again"));
    expect_text(co_await server.read(patiently), "there is room again");
}

TEST_P(acceptance, T07WhatIsWrittenBeforeTheConnectionExistsIsBounded) {
    run(bound_what_is_early());
}

task<> hear_of_a_refusal() {
    address nobody;
    {
        const foreign_listener gone;
        nobody = gone.local();
    }
    auto client = co_await connect_packets(nobody);
    EXPECT_TRUE(client.write("never"));
    EXPECT_TRUE(client.write("delivered"));
    for (int times = 0; times < 2; ++times) {
        expect_error(co_await client.read(patiently), std::errc::connection_refused);
        const status connected = co_await client.wait_connected(patiently);
        EXPECT_EQ(connected, std::errc::connection_refused);
        expect_error(client.try_read(), std::errc::connection_refused);
        EXPECT_FALSE(client.write("too late"));
    }
    EXPECT_FALSE(client.is_connected());
    const packet_stats ledger = client.stats();
    EXPECT_EQ(ledger.connections.failed, 1U);
    EXPECT_EQ(ledger.connections.made, 0U);
    EXPECT_EQ(ledger.sent.dropped, 2U);
    EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
}

TEST_P(acceptance, T07ARefusalIsAnErrorStateThatEveryCallTells) { run(hear_of_a_refusal()); }

task<> hear_of_the_end() {
    const foreign_listener listener;
    auto client = co_await connect_packets(listener.local());
    {
        const auto server = co_await accept(listener);
        server.send(frame("the last"));
    }
    expect_text(co_await client.read(patiently), "the last");
    expect_error(co_await client.read(patiently), errc::end_of_stream);
    expect_error(client.try_read(), errc::end_of_stream);
    EXPECT_FALSE(client.is_connected());
    EXPECT_EQ(client.stats().connections.ended, 1U);
}

TEST_P(acceptance, T07AClientReadsWhatCameBeforeTheEndAndThenTheEnd) { run(hear_of_the_end()); }

// --- half-closed connections ---

task<> answer_who_has_finished() {
    auto server = co_await serve_packets();
    task_group tasks;
    tasks.spawn(echo_all(server));
    foreign_stream peer(server.local_address());
    const std::string body = pattern(300'000);
    co_await send_all(peer, frame("one") + frame(body) + frame("three"));
    peer.finish();
    EXPECT_EQ(co_await read_packet(peer), "one");
    const std::string second = co_await read_packet(peer);
    expect_body(second, body);
    EXPECT_EQ(co_await read_packet(peer), "three");
    EXPECT_EQ(co_await wait_for_end(peer), stream_end::finished);
    EXPECT_EQ(server.stats().connections.ended, 1U);
}

TEST_P(acceptance, AClientThatHasFinishedStillGetsItsAnswers) { run(answer_who_has_finished()); }

// The peer reads little at a time and goes on talking, which nobody will read: a plain close(2)
// would answer that with a reset, which destroys what is on its way.
task<> close_politely() {
    auto server = co_await serve_packets({.send_buffer_size = 16U << 10U});
    foreign_stream peer(server.local_address(), 16 << 10);
    const auto known = co_await next_peer(server);
    const std::string body = pattern(900'000);
    peer.send(frame("unread"));
    EXPECT_TRUE(server.write(body, known));
    EXPECT_TRUE(server.write("the last", known));
    server.close();
    const give_up_time limit;
    for (bool has_ended = false; !has_ended;) {
        limit.check("the end");
        peer.send(frame("too late"));
        or_throw(co_await next_turn());
        const auto bytes = peer.try_receive();
        has_ended = bytes && bytes->empty();
        if (bytes) peer.packets.push(*bytes);
    }
    expect_body(peer.packets.next().value_or("nothing"), body);
    EXPECT_EQ(peer.packets.next(), "the last");
    EXPECT_TRUE(peer.packets.is_between_packets());
    peer.close();
    co_await server.wait_closed();
    const packet_stats ledger = server.stats();
    EXPECT_EQ(ledger.sent.sent, 2U);
    EXPECT_EQ(ledger.sent.dropped, 0U);
    EXPECT_EQ(ledger.connections.closed, 1U);
    EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
}

TEST_P(acceptance, ClosingSendsWhatIsQueuedAndDestroysNothingThatIsOnItsWay) {
    run(close_politely());
}

task<> abort_what_is_queued() {
    auto server = co_await serve_packets();
    foreign_stream peer(server.local_address(), 4096);
    const auto known = co_await next_peer(server);
    while (server.stats().sent.waiting < 2) {
        server.write(pattern(200'000), known);
        or_throw(co_await next_turn());
    }
    server.abort();
    co_await server.wait_closed();
    const packet_stats ledger = server.stats();
    EXPECT_GE(ledger.sent.dropped, 2U);
    EXPECT_EQ(ledger.sent.waiting, 0U);
    EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
}

TEST_P(acceptance, AbortingDropsAndCountsWhatIsQueued) { run(abort_what_is_queued()); }

// --- T10: after close, and again ---

task<> call_after_close() {
    auto server = co_await serve_packets();
    const address where = server.local_address();
    auto client = co_await connect_packets(where);
    EXPECT_TRUE(client.write("unread"));
    co_await wait_until_stats(
        server, [](const packet_stats& now) { return now.received.waiting == 1; }, "a packet");
    const packet_peer peer = server.peers().front();
    server.close();
    server.close();
    EXPECT_TRUE(server.is_closing());
    EXPECT_EQ(server.write("x"), errc::closed);
    EXPECT_EQ(server.write("x", peer), errc::closed);
    // What was received stays readable.
    expect_text(co_await server.read(patiently), "unread");
    expect_error(co_await server.read(patiently), errc::closed);
    expect_error(server.try_read(), errc::closed);
    expect_error(co_await client.read(patiently), errc::end_of_stream);
    client.close();
    EXPECT_EQ(client.write("x"), errc::closed);
    expect_error(co_await client.read(patiently), errc::closed);
    co_await client.wait_closed();
    co_await server.wait_closed();
    EXPECT_EQ(server.local_address(), where);
    EXPECT_FALSE(peer.is_connected());

    // Opening again, there.
    server = co_await serve_packets({}, where);
    EXPECT_EQ(server.local_address(), where);
    client = co_await connect_packets(where);
    EXPECT_TRUE(client.write("again"));
    expect_text(co_await server.read(patiently), "again");
}

TEST_P(acceptance, T10CallsAfterCloseSayClosedAndItCanBeOpenedAgain) { run(call_after_close()); }

task<> use_nothing() {
    packet_server server;
    packet_client client;
    EXPECT_EQ(server.write("x"), errc::closed);
    EXPECT_EQ(client.write("x"), errc::closed);
    expect_error(co_await server.read(), errc::closed);
    expect_error(co_await client.read(), errc::closed);
    EXPECT_EQ(co_await client.wait_connected(), errc::closed);
    EXPECT_TRUE(server.is_closing());
    EXPECT_EQ(server.peer_count(), 0U);
    co_await server.wait_closed();
    co_await client.wait_closed();
    auto opened = co_await serve_packets();
    const packet_server moved = std::move(opened);
    EXPECT_EQ(opened.write("x"), errc::closed);
    EXPECT_FALSE(moved.is_closing());
}

TEST_P(acceptance, T10AHandleOfNothingAnswersClosedToEverything) { run(use_nothing()); }

task<> close_a_waiting_reader(packet_server& server, int& woken) {
    expect_error(co_await server.read(), errc::closed);
    ++woken;
}

task<> close_under_readers() {
    auto server = co_await serve_packets();
    int woken = 0;
    task_group readers;
    for (int i = 0; i < 3; ++i)
        readers.spawn(close_a_waiting_reader(server, woken));
    or_throw(co_await next_turn());
    server.close();
    co_await readers.join();
    EXPECT_EQ(woken, 3);
    expect_error(co_await server.read({.timeout = 0ns}), errc::closed);
}

TEST_P(acceptance, T10CloseWakesEveryPendingReaderWithClosed) { run(close_under_readers()); }

task<> refuse_a_used_port() {
    auto server = co_await serve_packets();
    const address where = server.local_address();
    const auto second = co_await start_packet_server(where);
    expect_error(second, std::errc::address_in_use);
    if (!second) {
        EXPECT_NE(second.error().message().find(where.to_string()), std::string::npos);
    }
    auto client = co_await connect_packets(where);
    EXPECT_TRUE(client.write("unharmed"));
    expect_text(co_await server.read(patiently), "unharmed");
}

TEST_P(acceptance, T10AUsedPortIsAnErrorNamingItAndTheFirstServerIsUnharmed) {
    run(refuse_a_used_port());
}

task<foreign_stream> write_and_leave(address& where) {
    auto server = co_await serve_packets();
    where = server.local_address();
    foreign_stream peer(where);
    const auto known = co_await next_peer(server);
    EXPECT_TRUE(server.write("written and left", known));
    co_return peer;
}

task<> leave_scope() {
    address where;
    foreign_stream peer = co_await write_and_leave(where);
    EXPECT_EQ(co_await read_packet(peer), "written and left");
    EXPECT_EQ(co_await wait_for_end(peer), stream_end::finished);
    auto again = co_await serve_packets({}, where);
    EXPECT_EQ(again.local_address(), where);
}

TEST_P(acceptance, T10LeavingScopeSendsWhatIsQueuedAndFreesThePort) { run(leave_scope()); }

task<> open_both(packet_server& server, packet_client& client, packet_peer& peer) {
    server = co_await serve_packets();
    client = co_await connect_packets(server.local_address());
    client.write("unread");
    peer = co_await next_peer(server);
}

TEST_P(acceptance, T10HandlesThatOutliveTheirLoopAnswerClosed) {
    packet_server server;
    packet_client client;
    packet_peer peer;
    {
        auto made = make_loop();
        ASSERT_TRUE(made.has_value()) << made.error();
        made->run(open_both(server, client, peer));
    }
    EXPECT_EQ(server.write("x"), errc::closed);
    EXPECT_EQ(client.write("x"), errc::closed);
    expect_error(server.try_read(), errc::closed);
    peer.close();
    EXPECT_NE(peer.remote().port(), 0);
    EXPECT_EQ(server.stats().unexplained(), 0U) << server.stats();
    EXPECT_EQ(client.stats().unexplained(), 0U) << client.stats();
}

// --- callbacks ---

class recorder final : public packet_protocol {
  public:
    std::string said;
    int exceptions_left = 0;

  private:
    void started() override { said += "started;"; }
    void connected(const packet_peer&) override { said += "connected;"; }
    void packet_received(packet& received) override {
        said += received.text();
        said += ';';
        if (exceptions_left > 0) {
            --exceptions_left;
            throw std::runtime_error("a bug of the protocol");
        }
        transport().write(received, received.peer());
    }
    void disconnected(const packet_peer&, std::error_code reason) override {
        said += reason ? reason.message() : "ended";
        said += ';';
    }
    void stopped() override { said += "stopped;"; }
};

task<> wait_until_said(const recorder& of, std::string expected) {
    const give_up_time limit;
    while (of.said.size() < expected.size()) {
        limit.check("callbacks");
        or_throw(co_await next_turn());
    }
    EXPECT_EQ(of.said, expected);
}

task<> call_back(loop& on) {
    const auto protocol = std::make_shared<recorder>();
    auto listening = or_throw(on.listen_packets({"127.0.0.1", 0}, protocol));
    EXPECT_EQ(protocol->said, "started;");
    protocol->exceptions_left = 1;
    foreign_stream peer(listening.local_address());
    peer.send(frame("wrong") + frame("right"));
    EXPECT_EQ(co_await read_packet(peer), "right");
    EXPECT_EQ(listening.failure_count(), 1U);
    peer.close();
    std::string expected = "started;connected;wrong;right;ended;";
    co_await wait_until_said(*protocol, expected);
    foreign_stream other(listening.local_address());
    other.send("no packet at all");
    expected += "connected;" + make_error_code(errc::framing).message() + ';';
    co_await wait_until_said(*protocol, expected);
    foreign_stream last(listening.local_address());
    expected += "connected;";
    co_await wait_until_said(*protocol, expected);
    listening.close();
    EXPECT_EQ(co_await wait_for_end(last), stream_end::finished);
    last.close();
    expected += make_error_code(errc::closed).message() + ";stopped;";
    co_await wait_until_said(*protocol, expected);
    EXPECT_EQ(listening.stats().unexplained(), 0U) << listening.stats();
    // It listens again.
    auto again = or_throw(on.listen_packets({"127.0.0.1", 0}, protocol));
    expected += "started;";
    EXPECT_EQ(protocol->said, expected);
}

TEST_P(acceptance, CallbacksTellEachPeersLifeInOrderAndGoOnAfterAnException) {
    run(call_back(the_loop()));
}

}  // namespace

QUOIT_INSTANTIATE_ACCEPTANCE();

}  // namespace quoit::test
