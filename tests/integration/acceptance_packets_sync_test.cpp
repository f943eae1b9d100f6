// SPDX-License-Identifier: MIT
//
// The acceptance cases of packets over TCP in packetsocket's polling style (docs/testing.md): T09,
// and T01, T07, T10, T12 as far as they are about it. It has a backend of its own; one case talks
// to a server on the loop, on each setting, the others to foreign streams, once.
#include "api/blocking_support.hpp"
#include "integration/packets_support.hpp"

#include <map>

namespace quoit::test {

namespace {

using quoit::errc;

class packets_polled : public blocking_case {
  protected:
    sync::packet_server server = or_throw(sync::packet_server::open({"127.0.0.1", 0}));

    /// Updates until it is so.
    template <class Condition>
    [[nodiscard]] bool update_until(Condition is_so) {
        return eventually([&] {
            EXPECT_TRUE(server.update(0s));
            return is_so();
        });
    }
    [[nodiscard]] bool has_clients(std::size_t count) {
        return update_until([&] { return server.client_count() == count; });
    }
    [[nodiscard]] bool has_heard(std::uint64_t packets) {
        return update_until([&] { return server.stats().received.packets >= packets; });
    }
};

/// The next packet at a foreign stream while a server, or a client, is updated.
template <class Polled>
std::string read_packet_while_updating(foreign_stream& at, Polled& updated) {
    std::optional<std::string> body;
    EXPECT_TRUE(eventually([&] {
        updated.update(0s);
        if (const auto bytes = at.try_receive(); bytes && !bytes->empty()) at.packets.push(*bytes);
        body = at.packets.next();
        return body.has_value();
    }));
    return body.value_or("nothing");
}

std::vector<std::string> texts_of(const std::vector<packet>& packets) {
    std::vector<std::string> texts;
    for (const packet& one : packets)
        texts.emplace_back(one.text());
    return texts;
}

using texts = std::vector<std::string>;

TEST_F(packets_polled, T09ReadGroupsByPeerInOrder) {
    std::vector<foreign_stream> peers;
    for (std::size_t i = 0; i < 3; ++i) {
        peers.emplace_back(server.local_address());
        ASSERT_TRUE(has_clients(i + 1));
    }
    EXPECT_TRUE(server.read().empty());
    std::uint64_t count = 0;
    for (const char* const text : {"a", "b", "", "d"}) {
        for (const std::size_t i : {2U, 0U}) {
            peers[i].send(frame(std::string(text) + std::to_string(i)));
            ASSERT_TRUE(has_heard(++count));
        }
    }
    const auto groups = server.read();
    ASSERT_EQ(groups.size(), 2U);
    EXPECT_EQ(groups[0].first.remote(), peers[2].local());
    EXPECT_EQ(texts_of(groups[0].second), (texts{"a2", "b2", "2", "d2"}));
    EXPECT_EQ(groups[1].first.remote(), peers[0].local());
    EXPECT_EQ(texts_of(groups[1].second), (texts{"a0", "b0", "0", "d0"}));
    EXPECT_TRUE(server.read().empty());
}

TEST_F(packets_polled, T09WhoHasGoneIsListedBehindWhatItSent) {
    foreign_stream good(server.local_address());
    foreign_stream bad(server.local_address());
    ASSERT_TRUE(has_clients(2));
    good.send(frame("the last"));
    good.close();
    bad.send("no packet");
    ASSERT_TRUE(has_clients(0));
    // Of the one there is something to read first.
    std::vector<sync::departure> gone = server.departed();
    ASSERT_EQ(gone.size(), 1U);
    EXPECT_EQ(gone.front().peer.remote(), bad.local());
    const auto groups = server.read();
    ASSERT_EQ(groups.size(), 1U);
    EXPECT_EQ(groups[0].first.remote(), good.local());
    EXPECT_EQ(texts_of(groups[0].second), (texts{"the last"}));
    for (sync::departure& one : server.departed())
        gone.push_back(std::move(one));
    ASSERT_EQ(gone.size(), 2U);
    for (const sync::departure& one : gone) {
        if (one.peer.remote() == good.local()) {
            EXPECT_FALSE(one.reason) << one.reason.message();
        } else {
            EXPECT_EQ(one.peer.remote(), bad.local());
            EXPECT_EQ(one.reason, make_error_code(errc::framing));
        }
        EXPECT_EQ(server.write("x", one.peer), errc::closed);
    }
    EXPECT_TRUE(server.departed().empty());
}

// Nothing but what the engine has already would end the wait.
TEST_F(packets_polled, T12AnUpdateWithoutALimitTellsWhatABoundKeptBack) {
    server = or_throw(sync::packet_server::open({"127.0.0.1", 0}, {.read_queue_size_max = 1000}));
    foreign_stream peer(server.local_address());
    ASSERT_TRUE(has_clients(1));
    constexpr std::size_t count = 20;
    for (std::size_t i = 0; i < count; ++i)
        peer.send(frame(std::string(200, 'x')));
    std::size_t heard = 0;
    while (heard < count) {
        ASSERT_TRUE(server.update({}));
        for (const auto& [from, packets] : server.read())
            heard += packets.size();
    }
    EXPECT_EQ(heard, count);
}

TEST_F(packets_polled, T10ClosingEndsAnUpdateWithoutALimit) {
    for (int i = 0; i < 200; ++i) {
        server = or_throw(sync::packet_server::open({"127.0.0.1", 0}));
        std::thread updating([&] {
            while (server.is_open())
                static_cast<void>(server.update({}));
        });
        server.close();
        updating.join();
    }
}

TEST_F(packets_polled, T10ClosingLetsAPeerReadWhatWasWrittenThoughItSaidSomethingUnread) {
    foreign_stream peer(server.local_address());
    ASSERT_TRUE(has_clients(1));
    const std::string body(300'000, 'b');
    EXPECT_TRUE(server.write(body));
    EXPECT_TRUE(server.update(0s));
    peer.send(frame("nobody asks for this"));
    std::thread closing([&] { server.close(); });
    std::optional<std::string> got;
    EXPECT_TRUE(eventually([&] {
        if (const auto bytes = peer.try_receive(); bytes && !bytes->empty())
            peer.packets.push(*bytes);
        got = peer.packets.next();
        return got.has_value();
    }));
    EXPECT_TRUE(got == body);
    peer.close();
    closing.join();
}

TEST_F(packets_polled, T10WhatWasReceivedStaysReadableBeyondTheBound) {
    server = or_throw(sync::packet_server::open({"127.0.0.1", 0}, {.read_queue_size_max = 1000}));
    foreign_stream peer(server.local_address());
    ASSERT_TRUE(has_clients(1));
    constexpr std::size_t count =
        7;  // more than the bound; no more than the engine takes beside it
    for (std::size_t i = 0; i < count; ++i)
        peer.send(frame(std::string(200, 'x')));
    ASSERT_TRUE(has_heard(count));
    peer.close();
    server.close();
    const auto groups = server.read();
    ASSERT_EQ(groups.size(), 1U);
    EXPECT_EQ(groups[0].second.size(), count);
    EXPECT_EQ(server.stats().unexplained(), 0U) << server.stats();
}

TEST_F(packets_polled, T01WritingToAllAndToOne) {
    foreign_stream one(server.local_address());
    ASSERT_TRUE(has_clients(1));
    foreign_stream other(server.local_address());
    ASSERT_TRUE(has_clients(2));
    const auto clients = server.clients();
    ASSERT_EQ(clients.size(), 2U);
    EXPECT_EQ(clients[0].remote(), one.local());
    EXPECT_TRUE(server.write("all"));
    EXPECT_TRUE(server.write("other", clients[1]));
    EXPECT_TRUE(server.write("both", clients));
    EXPECT_EQ(read_packet_while_updating(one, server), "all");
    EXPECT_EQ(read_packet_while_updating(one, server), "both");
    EXPECT_EQ(read_packet_while_updating(other, server), "all");
    EXPECT_EQ(read_packet_while_updating(other, server), "other");
    EXPECT_EQ(read_packet_while_updating(other, server), "both");
}

TEST_F(packets_polled, T07AClientWritesBeforeItIsConnected) {
    auto client = or_throw(sync::packet_client::open(server.local_address()));
    EXPECT_TRUE(client.is_open());
    EXPECT_TRUE(client.write("early"));
    ASSERT_TRUE(update_until([&] {
        EXPECT_TRUE(client.update(0s));
        return client.is_connected() && server.stats().received.packets == 1;
    }));
    const auto groups = server.read();
    ASSERT_EQ(groups.size(), 1U);
    EXPECT_EQ(texts_of(groups[0].second), (texts{"early"}));
    EXPECT_EQ(groups[0].first.remote(), client.local_address());
    EXPECT_TRUE(server.write("answer"));
    std::vector<packet> heard;
    ASSERT_TRUE(update_until([&] {
        EXPECT_TRUE(client.update(0s));
        heard = client.read();
        return !heard.empty();
    }));
    EXPECT_EQ(texts_of(heard), (texts{"answer"}));
    // The server's end is an error of update(), behind what was received.
    EXPECT_TRUE(server.write("the last"));
    server.close();
    ASSERT_TRUE(eventually([&] { return !client.update(0s); }));
    EXPECT_EQ(client.update(0s), errc::end_of_stream);
    EXPECT_EQ(client.state(), errc::end_of_stream);
    EXPECT_EQ(client.write("x"), errc::closed);
    EXPECT_TRUE(client.is_open());
    EXPECT_EQ(texts_of(client.read()), (texts{"the last"}));
    client.close();
    EXPECT_FALSE(client.is_open());
    EXPECT_EQ(client.update(0s), errc::closed);
    EXPECT_EQ(client.stats().unexplained(), 0U) << client.stats();
}

TEST_F(packets_polled, T07ARefusalIsAnErrorOfEveryUpdateAndNoException) {
    address nobody;
    {
        const foreign_listener gone;
        nobody = gone.local();
    }
    auto client = or_throw(sync::packet_client::open(nobody));
    EXPECT_TRUE(client.write("never delivered"));
    ASSERT_TRUE(eventually([&] { return !client.update(0s); }));
    for (int times = 0; times < 2; ++times) {
        EXPECT_EQ(client.update(0s), std::errc::connection_refused);
        EXPECT_EQ(client.state(), std::errc::connection_refused);
    }
    EXPECT_EQ(client.write("x"), errc::closed);
    EXPECT_FALSE(client.is_connected());
    EXPECT_TRUE(client.is_open());
    EXPECT_TRUE(client.read().empty());
}

TEST_F(packets_polled, T10CallsAfterCloseSayClosedAndItCanBeOpenedAgain) {
    const address where = server.local_address();
    const foreign_stream peer(where);
    ASSERT_TRUE(has_clients(1));
    peer.send(frame("unread"));
    ASSERT_TRUE(has_heard(1));
    const auto known = server.clients().front();
    server.close();
    server.close();
    EXPECT_FALSE(server.is_open());
    EXPECT_EQ(server.update(0s), errc::closed);
    EXPECT_EQ(server.write("x"), errc::closed);
    EXPECT_EQ(server.write("x", known), errc::closed);
    EXPECT_EQ(server.client_count(), 0U);
    const auto groups = server.read();
    ASSERT_EQ(groups.size(), 1U);
    EXPECT_EQ(texts_of(groups[0].second), (texts{"unread"}));
    EXPECT_EQ(server.stats().unexplained(), 0U) << server.stats();
    EXPECT_EQ(server.local_address(), where);

    server = or_throw(sync::packet_server::open(where));
    EXPECT_TRUE(server.is_open());
    foreign_stream again(where);
    ASSERT_TRUE(has_clients(1));
    EXPECT_TRUE(server.write("again"));
    EXPECT_EQ(read_packet_while_updating(again, server), "again");
    sync::packet_server moved = std::move(server);
    EXPECT_EQ(server.update(0s), errc::closed);
    EXPECT_TRUE(moved.is_open());
    const auto second = sync::packet_server::open(where);
    expect_error(second, std::errc::address_in_use);
}

TEST_F(packets_polled, T12WhatIsWrittenAndNeverUpdatedIsBounded) {
    server =
        or_throw(sync::packet_server::open({"127.0.0.1", 0}, {.write_queue_size_max = 100'000}));
    foreign_stream peer(server.local_address());
    ASSERT_TRUE(has_clients(1));
    const std::string body = pattern(992);
    std::size_t accepted = 0;
    status written = server.write(body);
    while (written && accepted < 1000) {
        ++accepted;
        written = server.write(body);
    }
    EXPECT_EQ(written, errc::would_block);
    EXPECT_GE(accepted, 90U);
    EXPECT_LE(accepted, 110U);
    for (std::size_t i = 0; i < accepted; ++i)
        EXPECT_EQ(read_packet_while_updating(peer, server), body);
    EXPECT_TRUE(server.write("there is room again"));
    EXPECT_EQ(read_packet_while_updating(peer, server), "there is room again");
}

TEST_F(packets_polled, T12WhatIsNeverReadIsBoundedAndTheRestWaitsWithItsSender) {
    server = or_throw(sync::packet_server::open(
        {"127.0.0.1", 0}, {.read_queue_size_max = 100'000, .receive_buffer_size = 65'536}));
    foreign_stream eager(server.local_address());
    ASSERT_TRUE(has_clients(1));
    const std::string packet = frame(pattern(992));
    std::string unfinished;
    std::size_t sent = 0;
    int turns_without_progress = 0;
    while (turns_without_progress < 200 && sent < 64U << 20U) {
        if (unfinished.empty()) unfinished = packet;
        const std::size_t taken = eager.try_send(unfinished);
        unfinished.erase(0, taken);
        sent += taken;
        turns_without_progress = taken > 0 ? 0 : turns_without_progress + 1;
        if (taken == 0) {
            ASSERT_TRUE(server.update(0s));
        }
    }
    EXPECT_LT(sent, 64U << 20U);
    std::size_t heard = 0;
    ASSERT_TRUE(update_until([&] {
        if (!unfinished.empty()) unfinished.erase(0, eager.try_send(unfinished));
        for (const auto& [peer, packets] : server.read())
            heard += packets.size();
        return heard == (sent + packet.size() - 1) / packet.size();
    }));
}

// --- threads ---

TEST_F(packets_polled, WritingWakesAnUpdateThatWaits) {
    foreign_stream peer(server.local_address());
    ASSERT_TRUE(has_clients(1));
    std::atomic<bool> is_over = false;
    observed_thread updating([&] {
        while (!is_over.load())
            EXPECT_TRUE(server.update({}));
    });
    ASSERT_TRUE(updating.is_asleep_soon());
    EXPECT_TRUE(server.write("one"));
    peer.packets.push(peer.receive(100));
    EXPECT_EQ(peer.packets.next(), "one");
    ASSERT_TRUE(updating.is_asleep_soon());
    is_over.store(true);
    EXPECT_TRUE(server.write("wake up"));
    updating.join();
}

TEST_F(packets_polled, ClosingWakesAnUpdateThatWaits) {
    status ended;
    observed_thread updating([&] {
        do {
            ended = server.update({});
        } while (ended);
    });
    ASSERT_TRUE(updating.is_asleep_soon());
    server.close();
    updating.join();
    EXPECT_EQ(ended, errc::closed);
}

// Every client sends its numbers, every thread that reads sends them back, threads of their own
// write to all, and two threads update: nothing is lost, doubled or out of order.
TEST_F(packets_polled, NothingIsLostAmongSeveralThreads) {
    constexpr int client_count = 4;
    constexpr int numbers = 1000;
    constexpr int writers = 2;
    constexpr int announcements = 300;
    const address where = server.local_address();
    std::atomic<bool> is_over = false;
    std::atomic<int> failures = 0;
    std::array<std::string, client_count> errors;

    const auto talk = [&](int client) {
        try {
            foreign_stream stream(where);
            // Its answers, in order, and the announcements of each writer, in order.
            for (int i = 0; i < numbers; ++i)
                stream.send(frame("n" + std::to_string(i)));
            int next_number = 0;
            std::array<int, writers> next_announcement{};
            while (next_number < numbers ||
                   next_announcement != std::array{announcements, announcements}) {
                const std::string bytes = stream.receive(65'536);
                if (bytes.empty()) throw std::runtime_error("the stream ended");
                stream.packets.push(bytes);
                while (const auto body = stream.packets.next()) {
                    int& expected =
                        body->front() == 'n'
                            ? next_number
                            : next_announcement.at(static_cast<std::size_t>(body->front() - '0'));
                    if (std::stoi(body->substr(1)) != expected++) {
                        throw std::runtime_error("out of order: " + *body);
                    }
                }
            }
        } catch (const std::exception& e) {
            errors.at(static_cast<std::size_t>(client)) = e.what();
        }
    };
    const auto update = [&] {
        while (!is_over.load()) {
            if (!server.update(1ms)) failures.fetch_add(1);
        }
    };
    const auto write = [&](const auto&... arguments) {
        status written = server.write(arguments...);
        while (written == errc::would_block && !is_over.load()) {
            std::this_thread::yield();
            written = server.write(arguments...);
        }
        if (!written) failures.fetch_add(1);
    };
    // Two may read at once; a peer's answers must keep their order, so one reads and answers.
    std::mutex answering;
    const auto answer = [&] {
        while (!is_over.load()) {
            const std::scoped_lock lock(answering);
            for (const auto& [peer, packets] : server.read()) {
                for (const packet& one : packets)
                    write(one, peer);
            }
        }
    };
    const auto announce = [&](int writer) {
        for (int i = 0; i < announcements; ++i)
            write(std::to_string(writer) + std::to_string(i));
    };

    std::vector<std::unique_ptr<observed_thread>> threads;
    const auto start = [&](std::function<void()> body) {
        threads.push_back(std::make_unique<observed_thread>(std::move(body)));
    };
    start(update);
    start(update);
    std::vector<std::unique_ptr<observed_thread>> clients;
    for (int i = 0; i < client_count; ++i)
        clients.push_back(std::make_unique<observed_thread>([&talk, i] { talk(i); }));
    EXPECT_TRUE(eventually([&] { return server.client_count() == client_count; }));
    start(answer);
    start(answer);
    for (int i = 0; i < writers; ++i)
        start([&announce, i] { announce(i); });
    clients.clear();
    is_over.store(true);
    threads.clear();
    for (const std::string& error : errors)
        EXPECT_EQ(error, "");
    EXPECT_EQ(failures.load(), 0);
    server.close();
    const packet_stats ledger = server.stats();
    EXPECT_EQ(ledger.received.packets, 0U + client_count * numbers);
    EXPECT_EQ(ledger.sent.sent, 0U + client_count * (numbers + writers * announcements));
    EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
}

// --- beside a loop ---

task<> echo_until(packet_server& server, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        auto received = co_await server.read(patiently);
        const packet one = or_throw(std::move(received));
        EXPECT_TRUE(server.write(one, one.peer()));
    }
}

void ask(const address& where, std::size_t count, std::string& error) try {
    auto client = or_throw(sync::packet_client::open(where));
    for (std::size_t i = 0; i < count; ++i)
        or_throw(client.write(pattern(i * 100)));
    std::size_t heard = 0;
    const bool is_complete = eventually([&] {
        or_throw(client.update());
        for (const packet& one : client.read()) {
            if (one.text() != pattern(heard * 100)) throw std::runtime_error("another packet");
            ++heard;
        }
        return heard == count;
    });
    if (!is_complete) error = std::to_string(heard) + " answers";
} catch (const std::exception& e) {
    error = e.what();
}

task<> serve_a_polling_client() {
    constexpr std::size_t count = 100;
    auto server = co_await serve_packets();
    const address where = server.local_address();
    std::string error;
    {
        const std::jthread client([&error, where] { ask(where, count, error); });
        co_await echo_until(server, count);
        server.close();
        co_await server.wait_closed();
    }
    EXPECT_EQ(error, "");
}

TEST_P(acceptance, T01APollingClientIsAnsweredByALoop) { run(serve_a_polling_client()); }

}  // namespace

QUOIT_INSTANTIATE_ACCEPTANCE();

}  // namespace quoit::test
