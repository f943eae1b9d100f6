// SPDX-License-Identifier: MIT
//
// The contract of io_backend (backend/backend.hpp), on every implementation: rule 6, and pausing.
#include "engine/backend/contract_test.hpp"

namespace quoit::test {
namespace {

// --- rule 6: without buffers a source waits, in line ---

TEST_P(contract, ASourceWithoutBuffersSaysStarvedOnceAndGoesOnWhenTheyComeBack) {
    start({.small_count = 8});
    const int client = open_socket();
    take_every_buffer(client);
    const receiver server = open_receiver();
    send_numbers(client, server.local, 0, 20);
    ASSERT_TRUE(turn_until([&] { return count(server, event_kind::starved) == 1; }, "starved"));
    turn_at_once();
    EXPECT_EQ(count(server, event_kind::starved), 1U);
    EXPECT_EQ(datagrams(server).size(), 0U);

    set_leases(leases::give_back);
    release_held();
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 20; }));
    expect_numbers(server, 20);
}

TEST_P(contract, AStarvedSourceReportsEveryWaitAnew) {
    start({.small_count = 8});
    const int client = open_socket();
    take_every_buffer(client);
    const receiver server = open_receiver();
    send_numbers(client, server.local, 0, 6);
    for (std::size_t wait = 1; wait <= 6; ++wait) {
        ASSERT_TRUE(turn_until([&] { return count(server, event_kind::starved) == wait; }));
        release_held(1);
        ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == wait; }));
        if (wait == 6) break;
    }
    expect_numbers(server, 6);
}

TEST_P(contract, AStarvedSourceIsNotPolled) {
    start({.small_count = 8});
    const int client = open_socket();
    take_every_buffer(client);
    const receiver server = open_receiver();
    send_numbers(client, server.local, 0, 4);
    ASSERT_TRUE(turn_until([&] { return count(server, event_kind::starved) == 1; }));
    turn_at_once();

    const auto calls_before = ledger().system_calls.get();
    int turns = 0;
    for (const auto deadline = clock::now() + 50ms; clock::now() < deadline; ++turns) {
        turn(deadline);
    }
    EXPECT_LE(turns, 5) << "nothing happened, yet turn() came back again and again";
    EXPECT_LE(ledger().system_calls.get() - calls_before, 25U);
}

// After k buffers have come back, at most k sources are armed again, and they are the k that have
// waited longest.
TEST_P(contract, StarvedSourcesGoOnFirstInFirstOut) {
    start({.small_count = 8});
    const int client = open_socket();
    take_every_buffer(client);
    std::vector<receiver> line;
    for (std::size_t i = 0; i < 20; ++i) {
        line.push_back(open_receiver());
        ASSERT_EQ(send(client, "x", line.back().local), 0);
        ASSERT_TRUE(turn_until([&] { return count(line[i], event_kind::starved) == 1; }));
    }
    std::size_t first = 0;
    for (const std::size_t k : {1U, 3U, 4U}) {
        const auto rearmed_before = ledger().rearmed_starved.get();
        release_held(k);
        ASSERT_TRUE(turn_until([&] { return datagrams_seen() == 8 + first + k; }));
        turn_at_once();
        EXPECT_LE(ledger().rearmed_starved.get() - rearmed_before, k);
        for (std::size_t i = 0; i < line.size(); ++i) {
            EXPECT_EQ(datagrams(line[i]).size(), i < first + k ? 1U : 0U) << i << ", " << k;
        }
        first += k;
    }
}

TEST_P(contract, OfAThousandStarvedSourcesNoneIsForgotten) {
    constexpr std::size_t source_count = 1000;
    if (raise_socket_limit() < source_count + 100) GTEST_SKIP() << "RLIMIT_NOFILE is too low";
    start({.small_count = 16, .source_count_max = source_count + 1});
    const int client = open_socket();
    take_every_buffer(client);
    std::vector<receiver> line;
    for (std::size_t i = 0; i < source_count; ++i) {
        line.push_back(open_receiver());
        ASSERT_EQ(send(client, std::to_string(i), line.back().local), 0);
    }
    turn_at_once(64);
    EXPECT_EQ(datagrams_seen(), 16U);

    const auto rearmed_before = ledger().rearmed_starved.get();
    while (datagrams_seen() < 16 + source_count) {
        const std::size_t seen_before = datagrams_seen();
        release_held();
        ASSERT_TRUE(turn_until([&] { return datagrams_seen() > seen_before; }));
    }
    for (std::size_t i = 0; i < source_count; ++i) {
        EXPECT_EQ(payloads(line[i]), strings{std::to_string(i)});
    }
    // One that has received may find itself without a buffer again, with nothing to receive. Arming
    // them all whenever buffers come back would be 60 times a thousand.
    EXPECT_LE(ledger().rearmed_starved.get() - rearmed_before, 2 * source_count);
}

// Every buffer comes back at once, and never again: those ahead in line have nothing to receive.
TEST_P(contract, ADatagramBehindManyIdleStarvedSourcesIsDelivered) {
    start({.small_count = 8, .source_count_max = 101});
    const int client = open_socket();
    take_every_buffer(client);
    std::vector<receiver> line;
    for (int i = 0; i < 100; ++i)
        line.push_back(open_receiver());
    turn_at_once();
    ASSERT_EQ(send(client, "at the end of the line", line.back().local), 0);
    turn_at_once();
    release_held();
    ASSERT_TRUE(turn_until([&] { return datagrams(line.back()).size() == 1; }));
}

TEST_P(contract, ASourceAttachedWhileNoBufferIsFreeReceivesLater) {
    start({.small_count = 8});
    const int client = open_socket();
    take_every_buffer(client);
    const receiver server = open_receiver();
    turn_at_once();
    set_leases(leases::give_back);
    release_held();
    turn_at_once();
    ASSERT_EQ(send(client, "hello", server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 1; }));
}

TEST_P(contract, StarvingOnePoolDoesNotStopTheOther) {
    start({.small_count = 8});
    const int client = open_socket();
    take_every_buffer(client);
    const receiver starving = open_receiver();
    ASSERT_EQ(send(client, "x", starving.local), 0);
    ASSERT_TRUE(turn_until([&] { return count(starving, event_kind::starved) == 1; }));
    const receiver other = open_receiver({.pool = buffer_class::large});
    ASSERT_EQ(send(client, "y", other.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(other).size() == 1; }));
    EXPECT_EQ(datagrams(starving).size(), 0U);
}

// A flood of one socket and a trickle of another through few buffers: both flow.
TEST_P(contract, AFewBuffersServeMoreDatagramsThanThereAre) {
    start({.small_count = 8});
    const receiver flooded = open_receiver();
    const receiver quiet = open_receiver();
    const int client = open_socket();
    std::size_t sent = 0;
    for (std::size_t round = 0; round < 20; ++round) {
        send_numbers(client, flooded.local, sent, 50);
        sent += 50;
        ASSERT_EQ(send(client, std::to_string(round), quiet.local), 0);
        ASSERT_TRUE(turn_until([&] {
            return datagrams(flooded).size() == sent && datagrams(quiet).size() == round + 1;
        }));
    }
    expect_numbers(flooded, sent);
    expect_numbers(quiet, 20);
}

// --- interest: pause, receive ---

TEST_P(contract, APausedSourceLeavesItsDatagramsInTheKernelWhileOthersFlow) {
    start();
    const receiver greedy = open_receiver();
    const receiver other = open_receiver();
    const int client = open_socket();
    send_numbers(client, greedy.local, 0, 10);
    ASSERT_TRUE(turn_until([&] { return datagrams(greedy).size() == 10; }));
    backend().set(greedy.id, interest::pause);
    turn_at_once();

    send_numbers(client, greedy.local, 10, 100);
    send_numbers(client, other.local, 0, 100);
    ASSERT_TRUE(turn_until([&] { return datagrams(other).size() == 100; }));
    turn_at_once();
    EXPECT_EQ(datagrams(greedy).size(), 10U);
    expect_numbers(other, 100);

    backend().set(greedy.id, interest::receive);
    ASSERT_TRUE(turn_until([&] { return datagrams(greedy).size() == 110; }));
    expect_numbers(greedy, 110);
}

TEST_P(contract, APausedSourceWithDatagramsIsNotPolled) {
    start();
    const receiver server = open_receiver();
    const int client = open_socket();
    turn_at_once();
    backend().set(server.id, interest::pause);
    turn_at_once();
    send_numbers(client, server.local, 0, 10);
    int turns = 0;
    for (const auto deadline = clock::now() + 50ms; clock::now() < deadline; ++turns) {
        turn(deadline);
    }
    EXPECT_LE(turns, 5) << "nothing happened, yet turn() came back again and again";
    EXPECT_EQ(datagrams(server).size(), 0U);
}

TEST_P(contract, PausingAndResumingUnderTrafficLosesNothingAndKeepsTheOrder) {
    start({.small_count = 32});
    const receiver server = open_receiver();
    const int client = open_socket();
    std::size_t sent = 0;
    std::uint32_t random = 12345;  // a fixed sequence: the same test each time
    const auto chance = [&random](std::uint32_t of) {
        random = random * 1'664'525 + 1'013'904'223;
        return (random >> 16) % of;
    };
    for (int step = 0; step < 2000; ++step) {
        switch (chance(5)) {
            case 0: backend().set(server.id, interest::pause); break;
            case 1: backend().set(server.id, interest::receive); break;
            case 2:
            case 3:
                // No more than the socket's own buffer holds.
                if (sent - datagrams(server).size() < 100) {
                    const std::size_t burst = 1 + chance(10);
                    send_numbers(client, server.local, sent, burst);
                    sent += burst;
                }
                break;
            default: turn(at_once); break;
        }
    }
    backend().set(server.id, interest::receive);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() >= sent; }));
    turn_at_once();
    expect_numbers(server, sent);
    detach_and_close(server);
    expect_every_buffer_works();
}

TEST_P(contract, PausingTwiceAndResumingTwiceIsAsOnce) {
    start();
    const receiver server = open_receiver();
    const int client = open_socket();
    backend().set(server.id, interest::pause);
    backend().set(server.id, interest::pause);
    backend().set(server.id, interest::receive);
    backend().set(server.id, interest::receive);
    send_numbers(client, server.local, 0, 40);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 40; }));
    turn_at_once();
    expect_numbers(server, 40);
}

TEST_P(contract, AStarvedSourceThatIsPausedGivesItsPlaceInLineToTheNext) {
    start({.small_count = 8});
    const int client = open_socket();
    take_every_buffer(client);
    const receiver first = open_receiver();
    ASSERT_EQ(send(client, "x", first.local), 0);
    ASSERT_TRUE(turn_until([&] { return count(first, event_kind::starved) == 1; }));
    const receiver second = open_receiver();
    ASSERT_EQ(send(client, "y", second.local), 0);
    ASSERT_TRUE(turn_until([&] { return count(second, event_kind::starved) == 1; }));
    backend().set(first.id, interest::pause);
    turn_at_once();
    release_held(1);
    ASSERT_TRUE(turn_until([&] { return datagrams(second).size() == 1; }));
    EXPECT_EQ(datagrams(first).size(), 0U);
    release_held();
    backend().set(first.id, interest::receive);
    ASSERT_TRUE(turn_until([&] { return datagrams(first).size() == 1; }));
}

}  // namespace
}  // namespace quoit::test
