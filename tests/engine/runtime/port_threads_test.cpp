// SPDX-License-Identifier: MIT
//
// What quoit/port.hpp promises, on real sockets, whatever the port runs on: what it costs; threads
// and processes.
#include "engine/runtime/port_test.hpp"

namespace quoit::test {
namespace {

// --- what it costs ---

TEST_P(port_test, NothingIsAllocatedPerDatagramOnceWarm) {
    start();
    const endpoint_id server = open({.payload_size_max = 1200});
    const foreign_socket client;
    const address where = local(server);
    constexpr std::size_t round_size = 50;
    constexpr std::size_t total = is_instrumented ? 10'000 : 100'000;
    std::array<char, 2048> bytes;
    std::size_t answered = 0;
    const auto run = [&](std::size_t count) {
        for (std::size_t done = 0; done < count; done += round_size) {
            for (std::size_t i = 0; i < round_size; ++i) {
                ASSERT_EQ(client.send("a datagram of no great length", where), 0);
            }
            std::size_t received = 0;
            const auto deadline = port::clock::now() + patience;
            while (received < round_size && port::clock::now() < deadline) {
                ASSERT_TRUE(port().turn(deadline, events));
                // One way to read and answer, and the other.
                while (auto one = port().receive(server)) {
                    ++received;
                    port().send(server, *std::move(one));
                    datagram_batch batch;
                    if (!port().receive_batch(server, 8, batch)) continue;
                    for (const datagram_view& each : batch) {
                        ++received;
                        port().reply(server, each, each.payload());
                    }
                }
                port().flush();
            }
            ASSERT_EQ(received, round_size);
            while (::recv(client.descriptor(), bytes.data(), bytes.size(), MSG_DONTWAIT) >= 0) {
                ++answered;
            }
        }
    };
    run(total / 10);
    std::size_t allocated = 0;
    {
        const allocation_meter meter;
        run(total);
        allocated = meter.count();
    }
    EXPECT_EQ(allocated, 0U);
    EXPECT_EQ(answered, total / 10 + total);
}

TEST_P(port_test, ATurnTakesWhatIsThereAndItsAnswersLeaveInOneSystemCall) {
    start();
    if (!is_inline()) GTEST_SKIP() << "a worker takes what is there by itself";
    const endpoint_id server = open({.payload_size_max = 1200});
    turn();
    const foreign_socket client;
    send_numbers(client, local(server), 64);
    ASSERT_TRUE(wait_for_queue(port().descriptor(server), 64));
    turn();
    // io_uring: a wake is capped at 32 datagrams.
    EXPECT_GE(port().readable_count(server), is_io_uring() ? 32U : 64U);
    ASSERT_TRUE(turn_until_readable(server, 64));
    while (auto received = port().receive(server))
        port().send(server, *std::move(received));
    port().flush();
    EXPECT_EQ(port().stats(server).sent.sent, 64U);
    for (const auto& text : numbers(64))
        EXPECT_EQ(client.receive(), text);
}

TEST_P(port_test, SixtyFourSendsAreOneSystemCall) {
    start();
    const endpoint_id server = open();
    settle();
    const foreign_socket peer;
    turn_at_once();
    const std::uint64_t calls_before = port().engine_stats().system_calls;
    const std::uint64_t turns_before = port().engine_stats().turns;
    for (const auto& text : numbers(64))
        EXPECT_TRUE(sendto(server, text, peer.local()));
    port().flush();
    // A worker that was woken meanwhile counts too.
    const std::uint64_t turns = port().engine_stats().turns - turns_before;
    EXPECT_LE(port().engine_stats().system_calls - calls_before, 1 + 8 * turns);
    for (const auto& text : numbers(64))
        EXPECT_EQ(peer.receive(), text);
}

// --- threads and processes ---

TEST_P(port_test, WakeEndsATurnThatWaits) {
    start();
    const endpoint_id quiet = open();
    settle();
    for (int round = 0; round < 100; ++round) {
        const auto deadline = port::clock::now() + patience;
        std::thread waker([&] { port().wake(); });
        turn(deadline);
        waker.join();
        ASSERT_LT(port::clock::now(), deadline) << "only the deadline ended the turn";
        // A wake-up that came too late for that turn ends the next one: used up here.
        turn();
    }
    EXPECT_EQ(port().readable_count(quiet), 0U);
}

TEST_P(port_test, AWakeBeforeATurnCounts) {
    start();
    turn_at_once();
    const auto deadline = port::clock::now() + patience;
    port().wake();
    turn(deadline);
    EXPECT_LT(port::clock::now(), deadline);
}

TEST_P(port_test, ATurnEndsAtItsDeadline) {
    start();
    const endpoint_id quiet = open();
    settle();
    turn(port::clock::now() - std::chrono::seconds(1));
    turn(port::clock::now() + std::chrono::milliseconds(5));
    EXPECT_EQ(port().readable_count(quiet), 0U);
}

TEST_P(port_test, APortBelongsToTheThreadThatFirstTurnsIt) {
    start();
    EXPECT_TRUE(port().is_called_from_its_thread());
    turn();
    EXPECT_TRUE(port().is_called_from_its_thread());
    std::thread([&] { EXPECT_FALSE(port().is_called_from_its_thread()); }).join();
}

TEST_P(port_test, APortMadeOnOneThreadMayBeTurnedByAnother) {
    start();
    std::thread([&] {
        const endpoint_id server = open();
        const foreign_socket client;
        ASSERT_EQ(client.send("x", local(server)), 0);
        EXPECT_TRUE(turn_until_readable(server, 1));
        destroy_port();
    }).join();
}

TEST_P(port_test, APortMayBeDestroyedBeforeItWasEverTurned) {
    const foreign_socket client;
    for (int round = 0; round < 100; ++round) {
        start();
        const endpoint_id server = open();
        ASSERT_EQ(client.send("x", local(server)), 0);
        destroy_port();
    }
}

TEST_P(port_test, APortMayBeDestroyedWithTrafficInFlight) {
    for (int round = 0; round < 20; ++round) {
        start({.worker_count = 2});
        std::vector<address> where;
        std::vector<endpoint_id> servers;
        for (int i = 0; i < 4; ++i) {
            servers.push_back(open({.payload_size_max = i % 2 == 0 ? 1200 : payload_size_limit}));
            where.push_back(local(servers.back()));
        }
        flood first(where[0]);
        flood second(where[1]);
        ASSERT_TRUE(turn_until(
            [&] {
                return port().stats(servers[0]).received.taken > 0 &&
                       port().stats(servers[1]).received.taken > 0;
            },
            "traffic"));
        auto held = port().receive(servers[0]);
        destroy_port();
        for (const address& one : where)
            EXPECT_TRUE(foreign_socket(one).is_open());
        EXPECT_EQ(held ? held->size() : 200U, 200U);
    }
}

// Runs `body` in a forked child; returns what it returns.
template <class Body>
int in_child(Body&& body) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(body());
    int outcome = 0;
    if (child < 0 || ::waitpid(child, &outcome, 0) != child) return -1;
    return WIFEXITED(outcome) ? WEXITSTATUS(outcome) : 128 + WTERMSIG(outcome);
}

TEST_P(port_test, AChildIsToldThatThePortIsItsParents) {
    start();
    const endpoint_id server = open();
    const foreign_socket client;
    settle();
    const int failed = in_child([&] {
        if (const auto turned = port().turn(port::at_once, events);
            turned || turned.error() != errc::forked) {
            return 1;
        }
        if (const auto opened = port().open(std::span(&any_port, 1));
            opened || opened.error() != errc::forked) {
            return 2;
        }
        if (sendto(server, "x", client.local()) != errc::forked) return 3;
        if (port().try_sendto(server, "x", client.local()) != errc::forked) return 4;
        return 0;
    });
    EXPECT_EQ(failed, 0);
    EXPECT_FALSE(client.has_datagram());
    ASSERT_EQ(client.send("to the parent", local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, 1));
}

TEST_P(port_test, AChildThatDestroysItsCopyDoesNotHarmItsParent) {
    start();
    const endpoint_id server = open();
    const foreign_socket client;
    settle();
    EXPECT_TRUE(sendto(server, "once", client.local()));
    EXPECT_EQ(in_child([&] {
                  destroy_port();
                  return 0;
              }),
              0);
    port().flush();
    EXPECT_EQ(client.receive(), "once");
    EXPECT_FALSE(client.has_datagram());
    ASSERT_EQ(client.send("to the parent", local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, 1));
}

TEST_P(port_test, AChildThatReleasesItsCopiesOfEndpointsDoesNotHarmItsParent) {
    start();
    const endpoint_id server = open();
    const foreign_socket client;
    settle();
    EXPECT_TRUE(sendto(server, "once", client.local()));
    ASSERT_EQ(client.send("waiting", local(server)), 0);
    EXPECT_EQ(in_child([&] {
                  port().flush();
                  port().close(server);
                  port().release(server);
                  return 0;
              }),
              0);
    port().flush();
    EXPECT_EQ(client.receive(), "once");
    EXPECT_FALSE(client.has_datagram());
    ASSERT_EQ(client.send("to the parent", local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, 2));
}

}  // namespace
}  // namespace quoit::test
