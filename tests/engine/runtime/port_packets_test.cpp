// SPDX-License-Identifier: MIT
//
// Packets over TCP on a bare port (quoit/packet_port.hpp), with plain blocking sockets as peers.
#include "engine/runtime/port_test.hpp"

#include <quoit/packet_port.hpp>

#include <sys/resource.h>

#include <cstring>
#include <deque>
#include <map>

namespace quoit::test {
namespace {

using ids = std::vector<packet_stream_id>;

// A blocking TCP client that speaks packetsocket's framing, written without quoit.
class framer {
  public:
    explicit framer(const address& server) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        const sockaddr_in name = name_of(server);
        EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
        const timeval limit{.tv_sec = patience.count(), .tv_usec = 0};
        EXPECT_EQ(::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    }
    framer(framer&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    framer& operator=(framer&&) = delete;
    ~framer() { close(); }
    void close() {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }
    // With a reset.
    void close_rudely() {
        const linger rude{.l_onoff = 1, .l_linger = 0};
        EXPECT_EQ(::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &rude, sizeof rude), 0);
        close();
    }
    void finish() const { EXPECT_EQ(::shutdown(fd_, SHUT_WR), 0); }

    [[nodiscard]] static std::string frame(std::string_view body) {
        std::string made = "#!?&";
        for (int shift = 0; shift < 32; shift += 8)
            made.push_back(static_cast<char>(body.size() >> shift));
        return made.append(body);
    }
    void send_bytes(std::string_view bytes) const {
        EXPECT_EQ(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(bytes.size()));
    }
    void send(std::string_view body) const { send_bytes(frame(body)); }
    // Nothing when the connection ends first.
    [[nodiscard]] std::optional<std::string> receive() const {
        std::array<unsigned char, 8> header{};
        if (::recv(fd_, header.data(), 8, MSG_WAITALL) != 8) return std::nullopt;
        EXPECT_EQ(std::memcmp(header.data(), "#!?&", 4), 0);
        const std::size_t size =
            header[4] + header[5] * 256U + header[6] * 65'536U + header[7] * 16'777'216U;
        std::string body(size, '\0');
        if (size > 0 && ::recv(fd_, body.data(), size, MSG_WAITALL) != static_cast<ssize_t>(size)) {
            return std::nullopt;
        }
        return body;
    }
    // 0: the end. A negated errno.
    [[nodiscard]] int receive_end() const {
        char unused = 0;
        const auto got = ::recv(fd_, &unused, 1, 0);
        const int outcome = got < 0 ? -errno : static_cast<int>(got);
        EXPECT_NE(outcome, -EAGAIN) << "neither an end nor a reset came";
        return outcome;
    }
    [[nodiscard]] int fd() const { return fd_; }

  private:
    static sockaddr_in name_of(const address& from) {
        sockaddr_in name{};
        name.sin_family = AF_INET;
        name.sin_port = htons(from.port());
        std::memcpy(&name.sin_addr, from.host().bytes().data(), 4);
        return name;
    }
    int fd_;
};

// Descriptors that this process may have open at once.
std::size_t raise_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

class port_packets : public port_fixture, private packet_events {
  protected:
    packet_port& packets() { return port().packets(); }
    void start_packets(const loop_options& options = {}) {
        start(options);
        packets().set_events(this);
    }
    packet_stream_id listen(const packet_options& options = {}) {
        const auto made = packets().listen(any_port, options);
        EXPECT_TRUE(made) << made.error();
        return made.value_or(packet_stream_id());
    }
    // The next peer that was accepted, once there is one.
    packet_stream_id accept() {
        if (!turn_until([&] { return !arrived_.empty(); }, "a connection")) return {};
        const packet_stream_id next = arrived_.front();
        arrived_.pop_front();
        return next;
    }
    std::optional<std::string> read(packet_stream_id from) {
        if (!turn_until([&] { return packets().readable_count(from) > 0; }, "a packet")) return {};
        return std::string(packets().receive(from).value().text());
    }
    // What receive() says once there is nothing to read and the stream is over.
    error read_end(packet_stream_id from) {
        const auto is_over = [&] {
            last_ = packets().receive(from);
            return !last_ && last_.error() != errc::would_block;
        };
        EXPECT_TRUE(turn_until(is_over, "the end"));
        return last_ ? error(errc::would_block) : last_.error();
    }
    // How the connection ends for a peer that has nothing to read before that.
    int end_of(const framer& peer) {
        const auto has_something = [&] {
            pollfd one{.fd = peer.fd(), .events = POLLIN, .revents = 0};
            return ::poll(&one, 1, 0) > 0;
        };
        return turn_until(has_something, "an end") ? peer.receive_end() : 1;
    }
    // Until the kernel takes no more of what is written to `to`.
    std::size_t fill(packet_stream_id to, std::string_view body) {
        std::size_t taken = 0;
        while (packets().write(to, body))
            ++taken;
        return taken;
    }
    [[nodiscard]] bool turn_until_closed(packet_stream_id one) {
        return turn_until([&] { return packets().is_closed(one); }, "closed");
    }
    void expect_explained() {
        const packet_stats ledger = packets().stats();
        EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
    }

    [[nodiscard]] bool has_arrived() const { return !arrived_.empty(); }
    [[nodiscard]] static std::size_t descriptors_open() {
        const std::filesystem::directory_iterator all("/proc/self/fd");
        return static_cast<std::size_t>(std::distance(begin(all), end(all)));
    }

    std::map<std::uint32_t, int> connected_, drained_, closed_;  // by index
    std::function<void(packet_stream_id)> on_readable;

  private:
    void accepted(packet_stream_id, packet_stream_id stream) override {
        arrived_.push_back(stream);
    }
    void connected(packet_stream_id stream) override { ++connected_[stream.index]; }
    void readable(packet_stream_id stream) override {
        if (on_readable) on_readable(stream);
    }
    void drained(packet_stream_id stream) override { ++drained_[stream.index]; }
    void closed(packet_stream_id stream) override { ++closed_[stream.index]; }

    std::deque<packet_stream_id> arrived_;
    result<shared_bytes> last_;
};

INSTANTIATE_TEST_SUITE_P(, port_packets, ::testing::ValuesIn(port_parameters()),
                         port_parameter_name);

TEST_P(port_packets, PacketsArriveWholeAndInOrderHoweverTheyAreCut) {
    start_packets();
    const packet_stream_id server = listen();
    const framer peer(packets().local_address(server));
    const packet_stream_id stream = accept();
    const std::string bytes = framer::frame("one") + framer::frame("") + framer::frame("three");
    for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
        peer.send_bytes(bytes.substr(0, cut));
        turn();
        peer.send_bytes(bytes.substr(cut));
        EXPECT_EQ(read(stream), "one");
        EXPECT_EQ(read(stream), "");
        EXPECT_EQ(read(stream), "three");
    }
    const packet_stats ledger = packets().stats(server);
    EXPECT_EQ(ledger.received.packets, 3 * (bytes.size() - 1));
    EXPECT_EQ(ledger.received.delivered, ledger.received.packets);
    EXPECT_EQ(ledger.connections.made, 1U);
    EXPECT_EQ(ledger.connections.open, 1U);
    expect_explained();
}

TEST_P(port_packets, WhatIsWrittenArrivesInOrderShortAndLong) {
    start_packets();
    const packet_stream_id server = listen({.write_queue_size_max = 64U << 20});
    const framer peer(packets().local_address(server));
    const packet_stream_id stream = accept();
    std::vector<std::string> bodies;
    for (const std::size_t size : {0UL, 1UL, 5000UL, 200'000UL, 3UL, 16'384UL, 600'000UL, 7UL})
        bodies.emplace_back(size, static_cast<char>('a' + bodies.size()));
    for (const std::string& body : bodies) {
        ASSERT_TRUE(packets().write(stream, body));
        ASSERT_TRUE(packets().write(stream, shared_bytes::copy_of(body)));
    }
    std::thread reader([&] {
        for (const std::string& body : bodies) {
            EXPECT_TRUE(peer.receive() == body);
            EXPECT_TRUE(peer.receive() == body);
        }
    });
    port().flush();
    EXPECT_TRUE(turn_until([&] { return packets().write_queue_size(stream) == 0; }, "all sent"));
    reader.join();
    const packet_stats ledger = packets().stats(stream);
    EXPECT_EQ(ledger.sent.accepted, 2 * bodies.size());
    EXPECT_EQ(ledger.sent.sent, ledger.sent.accepted);
    expect_explained();
}

TEST_P(port_packets, WrittenBeforeTheConnectionExistsIsDeliveredAfter) {
    start_packets();
    const packet_stream_id server = listen();
    const auto client = packets().connect(packets().local_address(server));
    ASSERT_TRUE(client) << client.error();
    EXPECT_FALSE(packets().is_connected(*client));
    EXPECT_TRUE(packets().write(*client, "early"));
    const packet_stream_id stream = accept();
    EXPECT_EQ(read(stream), "early");
    ASSERT_TRUE(turn_until([&] { return connected_[client->index] == 1; }, "connected"));
    EXPECT_TRUE(packets().is_connected(*client));
    EXPECT_EQ(packets().peer_address(stream), packets().local_address(*client));
    EXPECT_TRUE(packets().write(stream, "an answer"));
    EXPECT_EQ(read(*client), "an answer");
    EXPECT_EQ(connected_[client->index], 1);
}

TEST_P(port_packets, ARefusedConnectionIsAnEndThatNamesTheServer) {
    start_packets();
    const packet_stream_id server = listen();
    const address where = packets().local_address(server);
    packets().close(server);
    ASSERT_TRUE(turn_until_closed(server));
    const auto client = packets().connect(where);
    ASSERT_TRUE(client);
    EXPECT_TRUE(packets().write(*client, "anybody?"));
    const error why = read_end(*client);
    EXPECT_EQ(why, std::errc::connection_refused) << why;
    EXPECT_EQ(why.context(), "connect " + where.to_string());
    EXPECT_EQ(read_end(*client), std::errc::connection_refused);  // and again
    EXPECT_EQ(packets().write(*client, "anybody?"), errc::closed);
    const packet_stats ledger = packets().stats(*client);
    EXPECT_EQ(ledger.connections.failed, 1U);
    EXPECT_EQ(ledger.connections.made, 0U);
    EXPECT_EQ(ledger.sent.dropped, 1U);
    packets().close(*client);
    EXPECT_TRUE(turn_until_closed(*client));
    EXPECT_EQ(connected_[client->index], 0);
    expect_explained();
}

TEST_P(port_packets, GarbageEndsThatPeerOnlyBehindItsPackets) {
    start_packets();
    const packet_stream_id server = listen();
    const framer bad(packets().local_address(server));
    const packet_stream_id bad_stream = accept();
    const framer good(packets().local_address(server));
    const packet_stream_id good_stream = accept();
    bad.send_bytes(framer::frame("fine") + "GET / HTTP/1.1\r\n\r\n");
    EXPECT_EQ(read(bad_stream), "fine");
    EXPECT_EQ(read_end(bad_stream), errc::framing);
    EXPECT_EQ(packets().write(bad_stream, "hello?"), errc::closed);
    EXPECT_LE(end_of(bad), 0);
    good.send("still here");
    EXPECT_EQ(read(good_stream), "still here");
    const packet_stats ledger = packets().stats(server);
    EXPECT_EQ(ledger.connections.framing, 1U);
    EXPECT_EQ(ledger.connections.open, 1U);
    EXPECT_EQ(ledger.received.bytes_discarded, 18U);
    packets().release(bad_stream);
    turn_at_once();
    EXPECT_EQ(packets().stats(server).connections.framing, 1U);
    expect_explained();
}

TEST_P(port_packets, ALengthAboveTheLimitIsAnOffence) {
    start_packets();
    const packet_stream_id server = listen({.packet_size_max = 100});
    const framer peer(packets().local_address(server));
    const packet_stream_id stream = accept();
    peer.send(std::string(100, 'x'));
    EXPECT_EQ(read(stream), std::string(100, 'x'));
    EXPECT_EQ(packets().write(stream, std::string(101, 'x')), errc::message_too_long);
    peer.send_bytes(framer::frame(std::string(101, 'x')).substr(0, 8));
    EXPECT_EQ(read_end(stream), errc::framing);
}

TEST_P(port_packets, APeerThatGoesInMidPacketIsReset) {
    start_packets();
    const packet_stream_id server = listen();
    for (const bool is_rude : {false, true}) {
        framer peer(packets().local_address(server));
        const packet_stream_id stream = accept();
        peer.send("whole");
        peer.send_bytes(framer::frame("cut short").substr(0, 11));
        EXPECT_EQ(read(stream), "whole");
        is_rude ? peer.close_rudely() : peer.close();
        EXPECT_EQ(read_end(stream), std::errc::connection_reset);
        EXPECT_EQ(packets().stats(stream).connections.reset, 1U);
        EXPECT_EQ(packets().stats(stream).received.bytes_discarded, 11U);
    }
    expect_explained();
}

TEST_P(port_packets, AHalfClosedPeerStillGetsItsAnswers) {
    start_packets();
    const packet_stream_id server = listen();
    const framer peer(packets().local_address(server));
    const packet_stream_id stream = accept();
    peer.send("a question");
    peer.finish();
    EXPECT_EQ(read(stream), "a question");
    EXPECT_EQ(read_end(stream), errc::end_of_stream);
    EXPECT_TRUE(packets().is_connected(stream));
    EXPECT_TRUE(packets().write(stream, "an answer"));
    packets().close(stream);
    EXPECT_TRUE(turn_until_closed(stream));
    EXPECT_EQ(peer.receive(), "an answer");
    EXPECT_EQ(peer.receive_end(), 0);
    EXPECT_EQ(packets().stats(stream).connections.ended, 1U);
    EXPECT_EQ(closed_[stream.index], 1);
    expect_explained();
}

// Closing with unread bytes in the socket would reset what is on its way to the peer.
TEST_P(port_packets, ClosingLetsThePeerReadEverything) {
    start_packets();
    const packet_stream_id server = listen({.write_queue_size_max = 64U << 20});
    const framer peer(packets().local_address(server));
    const packet_stream_id stream = accept();
    const std::string body(3'000'000, 'b');
    ASSERT_TRUE(packets().write(stream, body));
    ASSERT_TRUE(packets().write(stream, "the last"));
    peer.send("nobody will read this");
    packets().close(stream);
    EXPECT_EQ(packets().write(stream, "too late"), errc::closed);
    std::thread reader([&] {
        EXPECT_TRUE(peer.receive() == body);
        peer.send("nor this");
        EXPECT_EQ(peer.receive(), "the last");
        EXPECT_EQ(peer.receive_end(), 0);
        peer.finish();
    });
    EXPECT_TRUE(turn_until_closed(stream));
    reader.join();
    EXPECT_EQ(packets().stats(stream).sent.dropped, 0U);
    EXPECT_EQ(packets().stats(stream).connections.closed, 1U);
    expect_explained();
}

TEST_P(port_packets, APeerThatNeverEndsDoesNotKeepAClosingStreamForEver) {
    start_packets();
    const packet_stream_id server = listen({.packet_size_max = 64U << 20});
    const framer peer(packets().local_address(server));
    const packet_stream_id stream = accept();
    ASSERT_TRUE(packets().write(stream, std::string(30'000'000, 'b')));  // never read
    packets().close(stream);
    EXPECT_TRUE(turn_until_closed(stream));
    EXPECT_EQ(packets().stats(stream).sent.dropped, 1U);
    expect_explained();
}

TEST_P(port_packets, ASlowPeersPacketsAreDroppedAndCounted) {
    start_packets();
    const packet_stream_id server = listen({.write_queue_size_max = 100'000});
    const framer slow(packets().local_address(server));
    const packet_stream_id stream = accept();
    const std::string body(10'000, 's');
    const std::size_t taken = fill(stream, body);
    EXPECT_EQ(packets().write(stream, body), errc::would_block);
    EXPECT_LE(packets().write_queue_size(stream), 100'000U);
    EXPECT_EQ(packets().stats(stream).sent.dropped_slow, 2U);
    EXPECT_EQ(drained_[stream.index], 0);
    std::thread reader([&] {
        for (std::size_t i = 0; i < taken; ++i)
            EXPECT_TRUE(slow.receive() == body);
    });
    EXPECT_TRUE(turn_until([&] { return drained_[stream.index] == 1; }, "drained"));
    EXPECT_TRUE(turn_until([&] { return packets().write_queue_size(stream) == 0; }, "all sent"));
    reader.join();
    EXPECT_EQ(packets().stats(stream).sent.sent, taken);
    EXPECT_EQ(drained_[stream.index], 1);
    expect_explained();
}

TEST_P(port_packets, ASlowPeerIsClosedWhenThatIsThePolicy) {
    start_packets();
    const packet_stream_id server =
        listen({.write_queue_size_max = 100'000, .on_slow_peer = slow_peer::close});
    const framer slow(packets().local_address(server));
    const packet_stream_id stream = accept();
    const std::string body(10'000, 's');
    fill(stream, body);
    EXPECT_EQ(read_end(stream), errc::slow_peer);
    const packet_stats ledger = packets().stats(stream);
    EXPECT_EQ(ledger.connections.slow, 1U);
    EXPECT_EQ(ledger.sent.dropped_slow, 1U);
    EXPECT_GT(ledger.sent.dropped, 0U);
    EXPECT_EQ(packets().write(stream, "x"), errc::closed);
    expect_explained();
}

TEST_P(port_packets, APacketLongerThanTheQueueIsTakenWhenNothingElseWaits) {
    start_packets();
    const packet_stream_id server = listen({.packet_size_max = 64U << 20,
                                            .write_queue_size_max = 1000,
                                            .on_slow_peer = slow_peer::wait});
    const framer peer(packets().local_address(server));
    const packet_stream_id stream = accept();
    const std::string body(20'000'000, 'l');
    ASSERT_TRUE(packets().write(stream, body));
    EXPECT_EQ(packets().write(stream, "no room"), errc::would_block);
    EXPECT_EQ(packets().stats(stream).sent.dropped_slow, 0U);
    std::thread reader([&] { EXPECT_TRUE(peer.receive() == body); });
    EXPECT_TRUE(turn_until([&] { return drained_[stream.index] == 1; }, "drained"));
    reader.join();
    EXPECT_TRUE(packets().write(stream, "room"));
    port().flush();
    EXPECT_EQ(peer.receive(), "room");
}

TEST_P(port_packets, WhatIsNotReadWaitsWithThePeer) {
    start_packets();
    const packet_stream_id server = listen({.read_queue_size_max = 100'000});
    framer peer(packets().local_address(server));
    const packet_stream_id stream = accept();
    constexpr std::size_t count = 3000;
    const std::string body(10'000, 'r');
    std::thread sender([&] {
        for (std::size_t i = 0; i < count; ++i)
            peer.send(body);
        peer.finish();
    });
    const framer other(packets().local_address(server));
    const packet_stream_id other_stream = accept();
    ASSERT_TRUE(
        turn_until([&] { return packets().stats(stream).received.waiting >= 10; }, "a full queue"));
    turn_at_once(50);
    // What was on its way: as many buffers as there are; and what a worker received meanwhile.
    const std::size_t rounds = is_inline() ? 1 : 8;
    EXPECT_LE(packets().stats(stream).received.waiting, 10U + rounds * 8 * 65'856 / 10'000 + 1);
    other.send("not held up");
    EXPECT_EQ(read(other_stream), "not held up");
    for (std::size_t i = 0; i < count; ++i)
        ASSERT_TRUE(read(stream) == body);
    EXPECT_EQ(read_end(stream), errc::end_of_stream);
    sender.join();
    expect_explained();
}

TEST_P(port_packets, NoMorePeersAreAcceptedThanThereIsRoomFor) {
    start_packets();
    const packet_stream_id server = listen({.peers_max = 2});
    const framer first(packets().local_address(server));
    const framer second(packets().local_address(server));
    framer third(packets().local_address(server));
    third.send("me too");
    const packet_stream_id stream = accept();
    accept();
    turn_at_once(20);
    EXPECT_EQ(packets().stats(server).connections.open, 2U);
    packets().release(stream);
    EXPECT_EQ(read(accept()), "me too");
    EXPECT_EQ(packets().stats(server).connections.made, 3U);
    expect_explained();
}

TEST_P(port_packets, NoMoreDescriptorsAreTakenThanThereIsRoomForPeers) {
    start_packets();
    const packet_stream_id server = listen({.peers_max = 2});
    std::vector<framer> peers;
    for (int i = 0; i < 50; ++i)
        peers.emplace_back(packets().local_address(server));
    accept();
    accept();
    const std::size_t before = descriptors_open();
    turn_at_once(50);
    EXPECT_EQ(descriptors_open(), before);
}

TEST_P(port_packets, AConnectionThatNobodyWasToldOfGoesWithItsListener) {
    start_packets();
    const packet_stream_id server = listen();
    const framer first(packets().local_address(server));
    const packet_stream_id stream = accept();
    on_readable = [&](packet_stream_id) { packets().release(server); };
    const framer second(packets().local_address(server));
    first.send("go");
    EXPECT_EQ(read(stream), "go");
    turn_at_once();
    if (has_arrived()) {
        packets().release(accept());
        turn_at_once();
    }
    EXPECT_LE(end_of(second), 0);
    EXPECT_EQ(packets().stats().connections.open, 1U);
    expect_explained();
}

// What a worker is told later must not overtake what it was told before.
TEST_P(port_packets, AStreamThatFilledUpWhileAnEndpointWasReleasedGoesOn) {
    start_packets();
    const packet_stream_id server = listen({.read_queue_size_max = 100});
    const framer peer(packets().local_address(server));
    const packet_stream_id stream = accept();
    for (int i = 0; i < 50; ++i) {
        const endpoint_id endpoint = open();
        peer.send(std::string(500, 'x'));
        port().release(endpoint);
        while (packets().receive(stream)) {
        }
        turn_at_once(2);
    }
    while (packets().receive(stream)) {
    }
    peer.send("still heard");
    std::optional<std::string> last;
    while (last != "still heard") {
        last = read(stream);
        ASSERT_TRUE(last);
    }
}

TEST_P(port_packets, AThousandPeersAreServed) {
    if (raise_limit() < 2200) GTEST_SKIP() << "needs 2200 descriptors";
    start_packets();
    const packet_stream_id server = listen();
    std::vector<framer> peers;
    ids streams;
    for (int i = 0; i < 1000; ++i) {
        peers.emplace_back(packets().local_address(server));
        streams.push_back(accept());
    }
    for (std::size_t i = 0; i < peers.size(); ++i)
        peers[i].send(std::to_string(i));
    for (std::size_t i = 0; i < peers.size(); ++i) {
        const auto got = read(streams[i]);
        ASSERT_EQ(got, std::to_string(i));
        EXPECT_TRUE(packets().write(streams[i], *got));
    }
    port().flush();
    for (std::size_t i = 0; i < peers.size(); ++i)
        ASSERT_EQ(peers[i].receive(), std::to_string(i));
    EXPECT_EQ(packets().stats(server).connections.open, 1000U);
    expect_explained();
}

TEST_P(port_packets, ClosedAndReleasedStreamsAnswerClosed) {
    start_packets();
    const packet_stream_id server = listen();
    const address where = packets().local_address(server);
    const framer peer(where);
    const packet_stream_id stream = accept();
    packets().release(stream);
    EXPECT_EQ(packets().write(stream, "x"), errc::closed);
    EXPECT_EQ(packets().receive(stream).error(), errc::closed);
    EXPECT_TRUE(packets().is_closed(stream));
    EXPECT_FALSE(packets().is_connected(stream));
    EXPECT_EQ(packets().descriptor(stream), -1);
    EXPECT_EQ(packets().stats(stream).connections.made, 0U);
    packets().close(server);
    EXPECT_TRUE(turn_until_closed(server));
    EXPECT_EQ(packets().receive(server).error(), errc::closed);
    const auto again = packets().listen(where);
    ASSERT_TRUE(again) << again.error();
    const auto twice = packets().listen(where);
    ASSERT_FALSE(twice);
    EXPECT_EQ(twice.error(), std::errc::address_in_use);
    EXPECT_EQ(twice.error().context(), "listen " + where.to_string());
    expect_explained();
}

TEST_P(port_packets, ADestroyedPortClosesWhatItHasAccepted) {
    start_packets();
    const packet_stream_id server = listen();
    const framer first(packets().local_address(server));
    const packet_stream_id stream = accept();
    EXPECT_TRUE(packets().write(stream, "goodbye"));
    const framer second(packets().local_address(server));
    destroy_port();
    EXPECT_EQ(first.receive(), "goodbye");
    EXPECT_EQ(first.receive_end(), 0);
    EXPECT_LE(second.receive_end(), 0);
}

TEST_P(port_packets, OptionsOutOfRangeAreRefusedByName) {
    start_packets();
    const auto refused = [&](const packet_options& options, std::string_view field) {
        const auto made = packets().listen(any_port, options);
        ASSERT_FALSE(made) << field;
        EXPECT_EQ(made.error(), errc::invalid_option);
        EXPECT_TRUE(made.error().message().find(field) != std::string::npos) << made.error();
    };
    refused({.packet_size_max = 0}, "packet_size_max");
    refused({.packet_size_max = packet_size_limit + 1}, "packet_size_max");
    refused({.write_queue_size_max = 0}, "write_queue_size_max");
    refused({.read_queue_size_max = 0}, "read_queue_size_max");
    refused({.peers_max = 0}, "peers_max");
    refused({.backlog = 0}, "backlog");
    refused({.connect_timeout = std::chrono::milliseconds(-1)}, "connect_timeout");
    refused({.idle_timeout = std::chrono::hours(25)}, "idle_timeout");
    refused({.keep_alive_s = 40'000}, "keep_alive_s");
    EXPECT_EQ(packets().connect(address("127.0.0.1", 0)).error(), errc::invalid_address);
}

TEST_P(port_packets, WithoutASocketLeftOpeningSaysSoAndPeersWait) {
    start_packets({.socket_count_max = 2});
    const packet_stream_id server = listen();
    const framer first(packets().local_address(server));
    const packet_stream_id stream = accept();
    const auto none = packets().connect(packets().local_address(server));
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error(), std::errc::too_many_files_open);
    const framer second(packets().local_address(server));
    second.send("at last");
    turn_at_once(20);
    packets().release(stream);
    EXPECT_EQ(read(accept()), "at last");
}

// --- figures ---

TEST_P(port_packets, EchoingSmallPacketsCostsOneSendPerTurnAndOneBlockPerStretch) {
    if (!is_inline() || is_instrumented) GTEST_SKIP() << "counts are of this thread";
    start_packets();
    const packet_stream_id server = listen();
    const framer peer(packets().local_address(server));
    const packet_stream_id stream = accept();
    std::string burst;
    for (int i = 0; i < 64; ++i)
        burst += framer::frame(std::string(64, 'p'));
    const auto echo_a_burst = [&] {
        peer.send_bytes(burst);
        std::size_t echoed = 0;
        while (echoed < 64) {
            turn(port::no_deadline);
            while (auto body = packets().receive(stream)) {
                EXPECT_TRUE(packets().write(stream, *body));
                ++echoed;
            }
        }
        port().flush();
        std::string answer(burst.size(), '\0');
        EXPECT_EQ(::recv(peer.fd(), answer.data(), answer.size(), MSG_WAITALL),
                  static_cast<ssize_t>(answer.size()));
        EXPECT_EQ(answer, burst);
    };
    for (int i = 0; i < 20; ++i)
        echo_a_burst();
    const auto before = port().engine_stats();
    const allocation_meter meter;
    constexpr int bursts = 50;
    for (int i = 0; i < bursts; ++i)
        echo_a_burst();
    const std::size_t allocations = meter.count() - bursts;  // the test's own answer
    const auto after = port().engine_stats();
    EXPECT_LE(allocations, static_cast<std::size_t>(bursts) + 2);
    // A turn to receive and a send; epoll receives in one call more.
    const std::uint64_t calls = after.system_calls - before.system_calls;
    EXPECT_LE(calls, static_cast<std::uint64_t>(bursts) * (is_io_uring() ? 2 : 3) + 4);
}

}  // namespace
}  // namespace quoit::test
