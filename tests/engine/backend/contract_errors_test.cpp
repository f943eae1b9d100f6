// SPDX-License-Identifier: MIT
//
// The contract of io_backend (backend/backend.hpp), on every implementation: rule 7, and
// writability.
#include "engine/backend/contract_test.hpp"

namespace quoit::test {
namespace {

// --- rule 7: errors of a socket ---

TEST_P(contract, ARefusalIsReportedOnceBehindTheDatagramsThatWaited) {
    start();
    const int peer = open_socket();
    const address peer_address = network().local(peer);
    receiver client = open_detached({.connected_to = peer_address});
    send_numbers(peer, client.local, 0, 3);
    ASSERT_TRUE(network().wait_for_queue(client.fd, 3));
    close_socket(peer);
    ASSERT_EQ(send(client.fd, "anybody?"), 0);
    ASSERT_TRUE(network().wait_for_error(client.fd));

    attach(client, {.connected_to = peer_address});
    ASSERT_TRUE(turn_until([&] { return count(client, event_kind::failed) == 1; }, "failed"));
    turn_at_once();
    expect_numbers(client, 3);
    EXPECT_EQ(count(client, event_kind::failed), 1U);
    std::vector<event_kind> kinds;
    for (const event& one : events())
        kinds.push_back(one.kind);
    EXPECT_EQ(kinds, (std::vector{event_kind::datagram, event_kind::datagram, event_kind::datagram,
                                  event_kind::failed}));
    EXPECT_EQ(events().back().value, static_cast<std::uint32_t>(ECONNREFUSED));
}

// More than one call reads, and more than there are buffers.
TEST_P(contract, ARefusalIsReportedBehindAHundredWaitingDatagrams) {
    start({.small_count = 16});
    const int peer = open_socket();
    const address peer_address = network().local(peer);
    receiver client = open_detached({.connected_to = peer_address});
    send_numbers(peer, client.local, 0, 100);
    ASSERT_TRUE(network().wait_for_queue(client.fd, 100));
    close_socket(peer);
    ASSERT_EQ(send(client.fd, "anybody?"), 0);
    ASSERT_TRUE(network().wait_for_error(client.fd));

    attach(client, {.connected_to = peer_address});
    ASSERT_TRUE(turn_until([&] { return count(client, event_kind::failed) == 1; }, "failed"));
    expect_numbers(client, 100);
    turn_at_once();
    EXPECT_EQ(count(client, event_kind::failed), 1U);
}

TEST_P(contract, ReceivingGoesOnAfterARefusal) {
    start();
    const address peer_address = dead_address();
    const receiver client = open_receiver({.connected_to = peer_address});
    turn_at_once();
    ASSERT_EQ(send(client.fd, "anybody?"), 0);
    ASSERT_TRUE(turn_until([&] { return count(client, event_kind::failed) == 1; }, "failed"));

    const int peer = open_socket(family::ipv4, peer_address.port());
    ASSERT_GE(peer, 0);
    send_numbers(peer, client.local, 0, 50);
    ASSERT_TRUE(turn_until([&] { return datagrams(client).size() == 50; }));
    expect_numbers(client, 50);
    turn_at_once();
    EXPECT_EQ(count(client, event_kind::failed), 1U);
}

TEST_P(contract, EveryRefusalIsReportedOnce) {
    start();
    const address peer_address = dead_address();
    const receiver client = open_receiver({.connected_to = peer_address});
    for (std::size_t i = 1; i <= 20; ++i) {
        ASSERT_EQ(send(client.fd, "anybody?"), 0) << i;
        ASSERT_TRUE(turn_until([&] { return count(client, event_kind::failed) >= i; }, "failed"));
        turn_at_once();
        ASSERT_EQ(count(client, event_kind::failed), i);
    }
    for (const event& one : events()) {
        EXPECT_EQ(one.value, static_cast<std::uint32_t>(ECONNREFUSED));
    }
}

// A client whose peer is down for long: nothing but refusals.
TEST_P(contract, ReceivingGoesOnAfterHundredsOfRefusalsInARow) {
    start();
    const address peer_address = dead_address();
    const receiver client = open_receiver({.connected_to = peer_address});
    for (std::size_t i = 1; i <= 600; ++i) {
        ASSERT_EQ(send(client.fd, "anybody?"), 0) << i;
        ASSERT_TRUE(turn_until([&] { return count(client, event_kind::failed) == i; }, "failed"));
    }
    const int peer = open_socket(family::ipv4, peer_address.port());
    ASSERT_GE(peer, 0);
    ASSERT_EQ(send(peer, "0", client.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(client).size() == 1; }));
}

TEST_P(contract, ARefusalOfAPausedSourceIsNotPolledAndComesWhenItReceivesAgain) {
    start();
    const address peer_address = dead_address();
    const receiver client = open_receiver({.connected_to = peer_address});
    turn_at_once();
    backend().set(client.id, interest::pause);
    turn_at_once();
    ASSERT_EQ(send(client.fd, "anybody?"), 0);
    ASSERT_TRUE(network().wait_for_error(client.fd));
    int turns = 0;
    for (const auto deadline = clock::now() + 50ms; clock::now() < deadline; ++turns) {
        turn(deadline);
    }
    EXPECT_LE(turns, 5) << "nothing happened, yet turn() came back again and again";
    backend().set(client.id, interest::receive);
    ASSERT_TRUE(turn_until([&] { return count(client, event_kind::failed) == 1; }, "failed"));
    turn_at_once();
    EXPECT_EQ(count(client, event_kind::failed), 1U);
}

TEST_P(contract, ARefusalOfAStarvedSourceComesBehindItsDatagrams) {
    start({.small_count = 8});
    const int client = open_socket();
    take_every_buffer(client);
    const int peer = open_socket();
    const address peer_address = network().local(peer);
    const receiver server = open_receiver({.connected_to = peer_address});
    send_numbers(peer, server.local, 0, 3);
    ASSERT_TRUE(turn_until([&] { return count(server, event_kind::starved) == 1; }));
    close_socket(peer);
    ASSERT_EQ(send(server.fd, "anybody?"), 0);
    ASSERT_TRUE(network().wait_for_error(server.fd));
    turn_at_once();
    release_held();
    ASSERT_TRUE(turn_until([&] { return count(server, event_kind::failed) == 1; }, "failed"));
    expect_numbers(server, 3);
    EXPECT_EQ(events().back().kind, event_kind::failed);
}

// One dead peer of one socket is no news for the others.
TEST_P(contract, ARefusalOfOneSourceDoesNotTouchAnother) {
    start();
    const receiver refused = open_receiver({.connected_to = dead_address()});
    const receiver other = open_receiver();
    const int client = open_socket();
    for (std::size_t i = 0; i < 10; ++i) {
        ASSERT_EQ(send(refused.fd, "anybody?"), 0);
        ASSERT_EQ(send(client, std::to_string(i), other.local), 0);
        ASSERT_TRUE(turn_until([&] {
            return count(refused, event_kind::failed) == i + 1 && datagrams(other).size() == i + 1;
        }));
    }
    EXPECT_EQ(count(other, event_kind::failed), 0U);
    expect_numbers(other, 10);
}

// --- writable, once per request ---

TEST_P(contract, WritableIsReportedOncePerRequest) {
    start();
    const receiver server = open_receiver();
    turn_at_once();
    EXPECT_EQ(count(server, event_kind::writable), 0U) << "nobody has asked";
    for (std::size_t i = 1; i <= 5; ++i) {
        backend().set(server.id, interest::writable);
        ASSERT_TRUE(turn_until([&] { return count(server, event_kind::writable) >= i; }));
        turn_at_once();
        ASSERT_EQ(count(server, event_kind::writable), i);
    }
}

TEST_P(contract, AskingForWritableDoesNotChangeReceiving) {
    start();
    const receiver server = open_receiver();
    const receiver paused = open_receiver();
    const int client = open_socket();
    backend().set(paused.id, interest::pause);
    turn_at_once();
    for (std::size_t i = 0; i < 10; ++i) {
        backend().set(server.id, interest::writable);
        backend().set(paused.id, interest::writable);
        ASSERT_EQ(send(client, std::to_string(i), server.local), 0);
        ASSERT_EQ(send(client, std::to_string(i), paused.local), 0);
        ASSERT_TRUE(turn_until([&] {
            return datagrams(server).size() == i + 1 &&
                   count(server, event_kind::writable) == i + 1 &&
                   count(paused, event_kind::writable) == i + 1;
        }));
    }
    EXPECT_EQ(datagrams(paused).size(), 0U);
    backend().set(paused.id, interest::receive);
    ASSERT_TRUE(turn_until([&] { return datagrams(paused).size() == 10; }));
    expect_numbers(server, 10);
    expect_numbers(paused, 10);
}

TEST_P(contract, ASourceWithAnErrorAndMoreThanATurnTakesDoesNotDeafenTheOthers) {
    start({.small_count = 512});
    const address where = dead_address();
    const receiver flooded = open_receiver({.connected_to = where});
    const receiver other = open_receiver();
    turn_at_once();
    ASSERT_EQ(send(flooded.fd, "anybody?"), 0);
    ASSERT_TRUE(network().wait_for_error(flooded.fd));
    const int peer = open_socket(family::ipv4, where.port());
    ASSERT_GE(peer, 0);
    const int third = open_socket();
    ASSERT_EQ(send(third, "me too", other.local), 0);
    constexpr int turns_max = 100;
    for (int turns = 0; turns < turns_max && datagrams(other).empty(); ++turns) {
        for (int i = 0; i < 80; ++i)
            ASSERT_EQ(send(peer, "flood", flooded.local), 0);
        turn_at_once(1);
    }
    EXPECT_EQ(payloads(other), (strings{"me too"}));
}

TEST_P(contract, WritableWaitsUntilThereIsRoom) {
    start();
    const test_network::narrow narrow = network().open_narrow();
    ASSERT_GE(narrow.fd, 0);
    receiver sender{.fd = narrow.fd};
    attach(sender);
    const std::string text = pattern(1000);
    messages one;
    one.add(text);
    std::size_t sent = 0;
    send_result result;
    while (sent < 100'000 && result.error == 0) {
        result = backend().send(sender.id, one.all());
        sent += result.sent;
    }
    ASSERT_EQ(result.error, EAGAIN);
    ASSERT_GT(sent, 0U);

    backend().set(sender.id, interest::writable);
    turn_at_once();
    EXPECT_EQ(count(sender, event_kind::writable), 0U);
    network().widen(narrow);
    ASSERT_TRUE(turn_until([&] { return count(sender, event_kind::writable) == 1; }, "writable"));
    turn_at_once();
    EXPECT_EQ(count(sender, event_kind::writable), 1U);
    EXPECT_EQ(backend().send(sender.id, one.all()).error, 0);

    backend().detach(sender.id);
    network().close(narrow.fd);
    network().close(narrow.other_end);
    ASSERT_TRUE(turn_until([&] { return count(sender, event_kind::detached) == 1; }));
}

}  // namespace
}  // namespace quoit::test
