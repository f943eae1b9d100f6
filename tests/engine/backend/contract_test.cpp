// SPDX-License-Identifier: MIT
//
// The contract of io_backend (backend/backend.hpp), on every implementation. The sections carry the
// numbers of its rules.
#include "support/backend_fixture.hpp"

#include "base/poison.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace quoit::test {
namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
using strings = std::vector<std::string>;

class contract : public backend_fixture {
  protected:
    // Sends "FIRST" .. "FIRST + COUNT - 1", each padded so that none is empty or alike.
    void send_numbers(int from, const address& to, std::size_t first, std::size_t count) {
        for (std::size_t i = first; i < first + count; ++i) {
            ASSERT_EQ(send(from, std::to_string(i), to), 0);
        }
    }
    void expect_numbers(const receiver& from, std::size_t count) {
        const strings got = payloads(from);
        ASSERT_EQ(got.size(), count);
        for (std::size_t i = 0; i < count; ++i)
            ASSERT_EQ(got[i], std::to_string(i));
    }
    // So that there is something to be quiet about.
    void attach_idle_receiver() { EXPECT_GE(open_receiver().fd, 0); }
    // A receiver that holds every small buffer and wants no more: whoever receives next starves.
    receiver take_every_buffer(int from) {
        set_leases(leases::keep);
        const receiver taker = open_receiver();
        for (std::uint32_t i = 0; i < pool().count(); ++i) {
            EXPECT_EQ(send(from, "x", taker.local), 0);
            if (!turn_until([&] { return held() == i + 1; }, "a buffer taken")) break;
        }
        backend().set(taker.id, interest::pause);
        turn_at_once();
        return taker;
    }
};

// ThreadSanitizer keeps a signal back until the thread next calls into its runtime, which a thread
// that is about to sleep in a raw system call does not.
#if defined(__SANITIZE_THREAD__)
constexpr bool are_signals_kept_back = true;
#elif defined(__has_feature)
constexpr bool are_signals_kept_back = __has_feature(thread_sanitizer);
#else
constexpr bool are_signals_kept_back = false;
#endif

// Sockets that this process may have open at once; tests that want more skip.
std::size_t raise_socket_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    ::getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

std::string pattern(std::size_t size) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i)
        text[i] = static_cast<char>('a' + i % 23);
    return text;
}

// --- rules 2 and 3: batches, and order within a source ---

TEST_P(contract, ADatagramIsDeliveredWithItsBytesAndItsSender) {
    start();
    const receiver server = open_receiver();
    const int client = open_socket();
    ASSERT_EQ(send(client, "hello", server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 1; }));
    EXPECT_EQ(datagrams(server)[0].payload, "hello");
    EXPECT_EQ(datagrams(server)[0].original_size, 5U);
    EXPECT_EQ(datagrams(server)[0].length, 16U + 16U + 5U);
    EXPECT_EQ(datagrams(server)[0].segment, 0U);
    EXPECT_EQ(datagrams(server)[0].peer, network().local(client));
}

TEST_P(contract, AnIpv6DatagramIsDeliveredWithItsBytesAndItsSender) {
    start();
    const int client = open_socket(family::ipv6);
    if (client == -EADDRNOTAVAIL || client == -EAFNOSUPPORT) GTEST_SKIP() << "no IPv6 loopback";
    ASSERT_GE(client, 0);
    const receiver server = open_receiver({.of = family::ipv6});
    ASSERT_EQ(send(client, "hello", server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 1; }));
    EXPECT_EQ(datagrams(server)[0].payload, "hello");
    EXPECT_EQ(datagrams(server)[0].length, 16U + 28U + 5U);
    EXPECT_EQ(datagrams(server)[0].peer, network().local(client));
}

TEST_P(contract, AConnectedSocketReceivesFromItsPeer) {
    start();
    const int client = open_socket();
    const receiver server = open_receiver({.connected_to = network().local(client)});
    ASSERT_EQ(send(client, "hello", server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 1; }));
    EXPECT_EQ(datagrams(server)[0].peer, network().local(client));
}

TEST_P(contract, DatagramsOfASourceComeInTheOrderInWhichTheyWereSent) {
    start();
    const receiver server = open_receiver();
    const int client = open_socket();
    // Rounds of every size around those that are read at once.
    std::size_t sent = 0;
    for (std::size_t round = 1; round <= 100; ++round) {
        send_numbers(client, server.local, sent, round);
        sent += round;
        ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == sent; }));
    }
    expect_numbers(server, sent);
}

TEST_P(contract, DatagramsThatWaitedBeforeAttachComeFirst) {
    start();
    receiver server = open_detached();
    const int client = open_socket();
    send_numbers(client, server.local, 0, 10);
    ASSERT_TRUE(network().wait_for_queue(server.fd, 10));
    attach(server);
    send_numbers(client, server.local, 10, 10);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 20; }));
    expect_numbers(server, 20);
}

TEST_P(contract, EverySourceGetsItsOwnDatagrams) {
    start();
    const int client = open_socket();
    std::vector<receiver> servers;
    for (std::size_t i = 0; i < 20; ++i)
        servers.push_back(open_receiver());
    for (std::size_t round = 0; round < 5; ++round) {
        for (std::size_t i = 0; i < servers.size(); ++i) {
            const std::string text = std::to_string(i) + "/" + std::to_string(round);
            ASSERT_EQ(send(client, text, servers[i].local), 0);
        }
    }
    ASSERT_TRUE(turn_until([&] { return datagrams_seen() == servers.size() * 5; }));
    for (std::size_t i = 0; i < servers.size(); ++i) {
        const std::string of = std::to_string(i);
        EXPECT_EQ(payloads(servers[i]),
                  (strings{of + "/0", of + "/1", of + "/2", of + "/3", of + "/4"}));
    }
}

TEST_P(contract, OneTurnDeliversAtLeastHalfOf64WaitingDatagrams) {
    start({.small_count = 128});
    receiver server = open_detached();
    const int client = open_socket();
    send_numbers(client, server.local, 0, 64);
    ASSERT_TRUE(network().wait_for_queue(server.fd, 64));
    attach(server);
    turn(at_once);
    EXPECT_GE(datagrams(server).size(), 32U);
    EXPECT_LE(deliveries(), 2U) << "datagrams are delivered in batches, not one by one";
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 64; }));
    expect_numbers(server, 64);
}

TEST_P(contract, OneTurnReadsSeveralSourcesInOneBatch) {
    start({.small_count = 256});
    const int client = open_socket();
    std::vector<receiver> servers;
    for (int i = 0; i < 8; ++i) {
        servers.push_back(open_detached());
        send_numbers(client, servers.back().local, 0, 20);
    }
    for (receiver& one : servers) {
        ASSERT_TRUE(network().wait_for_queue(one.fd, 20));
        attach(one);
    }
    turn(at_once);
    EXPECT_GE(datagrams_seen(), 80U);
    EXPECT_LE(deliveries(), 4U);
    ASSERT_TRUE(turn_until([&] { return datagrams_seen() == 160; }));
}

// --- rule 5: every datagram is an event, an empty one too ---

TEST_P(contract, AnEmptyDatagramIsDeliveredAndReceivingGoesOn) {
    start();
    const receiver server = open_receiver();
    const int client = open_socket();
    ASSERT_EQ(send(client, "", server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 1; }));
    ASSERT_EQ(send(client, "full", server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 2; }));
    EXPECT_EQ(payloads(server), (strings{"", "full"}));
    EXPECT_EQ(datagrams(server)[0].length, 32U) << "header and name, no payload";
    EXPECT_EQ(datagrams(server)[0].peer, network().local(client));
}

TEST_P(contract, AFullDatagramBehindAHundredEmptyOnesIsDelivered) {
    start();
    const receiver server = open_receiver();
    const int client = open_socket();
    for (int i = 0; i < 100; ++i)
        ASSERT_EQ(send(client, "", server.local), 0);
    ASSERT_EQ(send(client, "full", server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 101; }));
    strings expected(100);
    expected.emplace_back("full");
    EXPECT_EQ(payloads(server), expected);
}

TEST_P(contract, EmptyAndFullDatagramsKeepTheirOrder) {
    start();
    const receiver server = open_receiver();
    const int client = open_socket();
    strings expected;
    for (std::size_t i = 0; i < 120; ++i) {
        // Runs of empties of every length from 0 to 4.
        expected.push_back(i % 7 < i % 5 ? std::string() : std::to_string(i));
        ASSERT_EQ(send(client, expected.back(), server.local), 0);
        if (i % 40 == 39) {
            ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == i + 1; }));
        }
    }
    EXPECT_EQ(payloads(server), expected);
}

TEST_P(contract, ADatagramThatFillsItsBufferIsWhole) {
    start();
    const receiver server = open_receiver();
    const int client = open_socket();
    const std::string text = pattern(small_buffer_stride - 32);
    ASSERT_EQ(send(client, text, server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 1; }));
    EXPECT_EQ(datagrams(server)[0].payload, text);
    EXPECT_EQ(datagrams(server)[0].original_size, text.size());
    EXPECT_EQ(datagrams(server)[0].length, small_buffer_stride);
}

TEST_P(contract, ADatagramThatDoesNotFitIsCutAndSaysHowLongItWas) {
    start();
    const receiver server = open_receiver();
    const int client = open_socket();
    const std::size_t room = small_buffer_stride - 32;
    const std::vector<std::size_t> sizes{room + 1, 3000, 60'000, 5};
    for (const std::size_t size : sizes)
        ASSERT_EQ(send(client, pattern(size), server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == sizes.size(); }));
    for (std::size_t i = 0; i < sizes.size(); ++i) {
        EXPECT_EQ(datagrams(server)[i].original_size, sizes[i]);
        EXPECT_EQ(datagrams(server)[i].payload, pattern(std::min(sizes[i], room)));
        EXPECT_LE(datagrams(server)[i].length, small_buffer_stride);
    }
}

TEST_P(contract, ALargeBufferHoldsTheLargestDatagram) {
    start();
    const receiver server = open_receiver({.pool = buffer_class::large});
    const int client = open_socket();
    const std::string text = pattern(65'507);
    ASSERT_EQ(send(client, text, server.local), 0);
    ASSERT_EQ(send(client, "after", server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 2; }));
    EXPECT_EQ(payloads(server), (strings{text, "after"}));
}

TEST_P(contract, SourcesOfBothPoolsNameTheBuffersOfTheirOwn) {
    start();
    const receiver small = open_receiver();
    const receiver large = open_receiver({.pool = buffer_class::large});
    const int client = open_socket();
    for (std::size_t i = 0; i < 40; ++i) {
        ASSERT_EQ(send(client, std::to_string(i), small.local), 0);
        ASSERT_EQ(send(client, std::to_string(i), large.local), 0);
        ASSERT_TRUE(turn_until([&] { return datagrams_seen() == 2 * (i + 1); }));
    }
    expect_numbers(small, 40);
    expect_numbers(large, 40);
    for (const event& one : events()) {
        if (one.kind != event_kind::datagram) continue;
        EXPECT_EQ(one.pool, one.tag == large.tag ? buffer_class::large : buffer_class::small);
    }
}

TEST_P(contract, ATrainIsOneEventWithItsSegment) {
    start();
    const receiver server = open_receiver({.pool = buffer_class::large, .has_gro = true});
    const int client = open_socket();
    const std::string text = pattern(1050);
    const int error = network().send(client, text, &server.local, 100);
    if (error == -EINVAL || error == -EIO || error == -EOPNOTSUPP) {
        GTEST_SKIP() << "no UDP_SEGMENT here: " << std::strerror(-error);
    }
    ASSERT_EQ(error, 0);
    ASSERT_EQ(send(client, "plain", server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 2; }));
    EXPECT_EQ(payloads(server), (strings{text, "plain"}));
    EXPECT_EQ(datagrams(server)[0].segment, 100U);
    EXPECT_EQ(datagrams(server)[0].count, 11U);
    EXPECT_EQ(datagrams(server)[1].segment, 0U);
}

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

TEST_P(contract, WritableWaitsUntilThereIsRoom) {
    start();
    const test_network::narrow narrow = network().open_narrow();
    ASSERT_GE(narrow.fd, 0);
    receiver sender{.fd = narrow.fd};
    attach(sender);
    const std::string text = pattern(1000);
    const outgoing message{.payload = std::as_bytes(std::span(text))};
    std::size_t sent = 0;
    send_result result;
    while (sent < 100'000 && result.error == 0) {
        result = backend().send(sender.id, {&message, 1});
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
    EXPECT_EQ(backend().send(sender.id, {&message, 1}).error, 0);

    backend().detach(sender.id);
    network().close(narrow.fd);
    network().close(narrow.other_end);
    ASSERT_TRUE(turn_until([&] { return count(sender, event_kind::detached) == 1; }));
}

// --- rule 8: detach ---

// What detach() finds the source doing.
enum class occupation { armed, idle_before_any_turn, starved, paused, writable, unread };
constexpr std::array occupations{occupation::armed,    occupation::idle_before_any_turn,
                                 occupation::starved,  occupation::paused,
                                 occupation::writable, occupation::unread};

TEST_P(contract, DetachEndsInOneDetachedEventWhateverTheSourceWasDoing) {
    start({.small_count = 8});
    const int client = open_socket();
    for (const occupation what : occupations) {
        SCOPED_TRACE(static_cast<int>(what));
        set_leases(leases::give_back);
        receiver server;
        if (what == occupation::starved) {
            const receiver taker = take_every_buffer(client);
            server = open_receiver();
            ASSERT_EQ(send(client, "x", server.local), 0);
            ASSERT_TRUE(turn_until([&] { return count(server, event_kind::starved) == 1; }));
            detach_and_close(taker);
        } else {
            server = open_receiver();
            if (what != occupation::idle_before_any_turn) turn_at_once();
        }
        if (what == occupation::paused) {
            backend().set(server.id, interest::pause);
        } else if (what == occupation::writable) {
            backend().set(server.id, interest::writable);
        } else if (what == occupation::unread) {
            send_numbers(client, server.local, 0, 20);
        }
        const address where = server.local;
        backend().detach(server.id);
        close_socket(server.fd);
        const int again = open_socket(family::ipv4, where.port());
        ASSERT_GE(again, 0) << "the port is not free: " << std::strerror(-again);
        ASSERT_TRUE(turn_until([&] { return count(server, event_kind::detached) == 1; }));
        ASSERT_EQ(send(client, "for the next owner of the port", where), 0);
        turn_at_once();
        EXPECT_EQ(count(server, event_kind::detached), 1U);
        EXPECT_EQ(receive(again), "for the next owner of the port");
        close_socket(again);
        set_leases(leases::give_back);
        release_held();
    }
    expect_every_buffer_works();
}

TEST_P(contract, AfterDetachTheNextOwnerOfTheDescriptorGetsItsOwnEvents) {
    start();
    const int client = open_socket();
    for (std::size_t i = 0; i < 20; ++i) {
        const receiver old = open_receiver();
        send_numbers(client, old.local, 0, 5);
        if (i % 2 == 0) turn(at_once);
        backend().detach(old.id);
        close_socket(old.fd);
        // The number of the descriptor is used again before `detached` has been delivered.
        const receiver next = open_receiver();
        ASSERT_EQ(next.fd, old.fd);
        ASSERT_EQ(send(client, "next", next.local), 0);
        ASSERT_TRUE(turn_until(
            [&] { return count(old, event_kind::detached) == 1 && datagrams(next).size() == 1; }));
        EXPECT_EQ(payloads(next), strings{"next"});
        detach_and_close(next);
    }
}

TEST_P(contract, APlaceIsFreeAgainOnceDetachedWasDelivered) {
    start({.source_count_max = 2});
    const int client = open_socket();
    for (int i = 0; i < 50; ++i) {
        const receiver a = open_receiver();
        const receiver b = open_receiver();
        ASSERT_EQ(send(client, "a", a.local), 0);
        ASSERT_EQ(send(client, "b", b.local), 0);
        ASSERT_TRUE(
            turn_until([&] { return datagrams(a).size() == 1 && datagrams(b).size() == 1; }));
        EXPECT_EQ(payloads(a), strings{"a"});
        EXPECT_EQ(payloads(b), strings{"b"});
        detach_and_close(a);
        detach_and_close(b);
    }
}

TEST_P(contract, DetachLosesNoBuffer) {
    start({.small_count = 16});
    const int client = open_socket();
    for (std::size_t round = 0; round < 100; ++round) {
        const receiver server = open_receiver();
        if (round % 3 != 0) turn(at_once);
        send_numbers(client, server.local, 0, 1 + round % 7);
        if (round % 5 == 0) backend().set(server.id, interest::pause);
        if (round % 10 == 0) backend().set(server.id, interest::receive);
        detach_and_close(server);
    }
    expect_every_buffer_works();
}

TEST_P(contract, ADetachedSourceLeavesTheLineOfTheStarved) {
    start({.small_count = 8});
    const int client = open_socket();
    take_every_buffer(client);
    std::vector<receiver> line;
    for (std::size_t i = 0; i < 10; ++i) {
        line.push_back(open_receiver());
        ASSERT_EQ(send(client, "x", line.back().local), 0);
        ASSERT_TRUE(turn_until([&] { return count(line[i], event_kind::starved) == 1; }));
    }
    for (std::size_t i = 0; i + 1 < line.size(); ++i)
        detach_and_close(line[i]);
    release_held(1);
    ASSERT_TRUE(turn_until([&] { return datagrams(line.back()).size() == 1; }));
}

TEST_P(contract, APortCanBeBoundAtOnceAfterDetachAndCloseUnderAFlood) {
    start({.small_count = 32});
    receiver server = open_receiver();
    const address where = server.local;
    const int client = open_socket();
    std::atomic<bool> is_over = false;
    std::thread flood([&] {
        // Refusals are for the socket that sends; an unconnected one is not told.
        while (!is_over.load(std::memory_order_relaxed)) {
            for (int i = 0; i < 16; ++i) {
                [[maybe_unused]] const int error = send(client, "flood", where);
            }
            std::this_thread::yield();
        }
    });
    for (int i = 0; i < 50; ++i) {
        if (!turn_until([&] { return !datagrams(server).empty(); })) break;
        backend().detach(server.id);
        close_socket(server.fd);
        const int again = open_socket(family::ipv4, where.port());
        EXPECT_GE(again, 0) << i << ": " << std::strerror(-again);
        if (again < 0) break;
        const receiver old = server;
        server = receiver{.fd = again, .local = where};
        attach(server);
        if (!turn_until([&] { return count(old, event_kind::detached) == 1; })) break;
    }
    is_over = true;
    flood.join();
    detach_and_close(server);
    expect_every_buffer_works();
}

// --- rules 4 and 10: whose buffers are whose ---

TEST_P(contract, BuffersHeldOverDetachCloseAndTheEndOfTheBackendStayReadable) {
    start();
    set_leases(leases::keep);
    const receiver server = open_receiver();
    const int client = open_socket();
    const strings texts{pattern(1), pattern(100), pattern(2000)};
    for (const std::string& text : texts)
        ASSERT_EQ(send(client, text, server.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 3; }));
    const auto expect_readable = [&] {
        for (std::size_t i = 0; i < texts.size(); ++i) {
            const seen_datagram& one = datagrams(server)[i];
            const auto bytes = pool().used(one.buffer, one.length).subspan(32);
            EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
                      texts[i]);
        }
    };
    detach_and_close(server);
    expect_readable();
    const receiver next = open_receiver();
    send_numbers(client, next.local, 0, 30);
    ASSERT_TRUE(turn_until([&] { return datagrams(next).size() == 30; }));
    expect_readable();
    destroy_backend();
    expect_readable();
    EXPECT_EQ(pool().leased(), 33U);
}

TEST_P(contract, ADestroyedBackendHasTakenBackEveryBuffer) {
    start({.small_count = 16});
    const int client = open_socket();
    for (int round = 0; round < 5; ++round) {
        std::vector<receiver> servers;
        for (int i = 0; i < 4; ++i)
            servers.push_back(open_receiver());
        turn_at_once();
        // Some arrive in buffers that nobody will hear of.
        for (const receiver& one : servers)
            send_numbers(client, one.local, 0, 3);
        if (round % 2 == 1) turn(at_once);
        destroy_backend();
        EXPECT_EQ(pool().leased(), 0U);
        for (const receiver& one : servers)
            close_socket(one.fd);
        make_backend();
        expect_every_buffer_works();
        expect_every_buffer_works(buffer_class::large);
    }
}

TEST_P(contract, NothingIsWrittenToABufferAfterTheBackendIsDestroyed) {
    start({.small_count = 8});
    const int client = open_socket();
    const receiver server = open_receiver();
    turn_at_once();
    destroy_backend();
    for (std::uint32_t i = 0; i < pool().count(); ++i) {
        unpoison_memory(pool().data(i), pool().stride());
        std::memset(pool().data(i), 0xa5, pool().stride());
    }
    send_numbers(client, server.local, 0, 8);
    EXPECT_TRUE(network().wait_for_queue(server.fd, 8)) << "they stay in the socket";
    for (std::uint32_t i = 0; i < pool().count(); ++i) {
        EXPECT_TRUE(std::ranges::all_of(pool().used(i, pool().stride()),
                                        [](std::byte b) { return b == std::byte{0xa5}; }));
        pool().poison(i);
    }
}

TEST_P(contract, ThePortIsFreeWhenTheBackendWasDestroyedAndTheSocketClosed) {
    start();
    const int client = open_socket();
    for (int i = 0; i < 20; ++i) {
        const receiver server = open_receiver();
        turn_at_once(2);
        ASSERT_EQ(send(client, "x", server.local), 0);
        destroy_backend();
        close_socket(server.fd);
        const int again = open_socket(family::ipv4, server.local.port());
        ASSERT_GE(again, 0) << i << ": " << std::strerror(-again);
        close_socket(again);
        make_backend();
    }
}

TEST_P(contract, ABackendThatNeverTurnedCanBeDestroyed) {
    start();
    const receiver server = open_receiver();
    const receiver other = open_receiver();
    backend().set(other.id, interest::pause);
    backend().set(other.id, interest::writable);
    const int client = open_socket();
    ASSERT_EQ(send(client, "x", server.local), 0);
    destroy_backend();
}

// io_uring: each source has several completions of its own due (armed, starved, writable), far more
// than the completion queue is sized for, and none is reaped before all are there.
TEST_P(contract, MoreCompletionsThanTheQueueHoldsLoseNothing) {
    constexpr std::size_t source_count = 600;
    if (raise_socket_limit() < source_count + 100) GTEST_SKIP() << "RLIMIT_NOFILE is too low";
    start({.small_count = 8, .large_count = 8, .source_count_max = source_count});
    const int client = open_socket();
    std::vector<receiver> servers;
    for (std::size_t i = 0; i < source_count; ++i)
        servers.push_back(open_receiver());
    turn_at_once();
    for (std::size_t round = 0; round < 4; ++round) {
        for (const receiver& one : servers) {
            send_numbers(client, one.local, 3 * round, 3);
            backend().set(one.id, interest::writable);
        }
        ASSERT_TRUE(turn_until([&] { return datagrams_seen() == source_count * 3 * (round + 1); },
                               "every datagram"));
    }
    for (const receiver& one : servers)
        expect_numbers(one, 12);
    ASSERT_TRUE(turn_until([&] {
        return std::ranges::all_of(
            servers, [&](const receiver& one) { return count(one, event_kind::writable) > 0; });
    }));
    for (const receiver& one : servers) {
        backend().detach(one.id);
        close_socket(one.fd);
    }
    ASSERT_TRUE(turn_until([&] {
        return std::ranges::all_of(
            servers, [&](const receiver& one) { return count(one, event_kind::detached) == 1; });
    }));
}

// Requests fill the completion queue before the datagrams get to it: the kernel then ends each
// receive with the datagram as its last completion. Deliver it and arm again.
TEST_P(contract, DatagramsThatFindTheCompletionQueueFullAreDeliveredAndReceivingGoesOn) {
    constexpr std::size_t source_count = 600;
    constexpr std::size_t flowing = 40;  // the others are busy with requests
    if (raise_socket_limit() < source_count + 100) GTEST_SKIP() << "RLIMIT_NOFILE is too low";
    start({.small_count = 64, .large_count = 8, .source_count_max = source_count});
    const int client = open_socket();
    std::vector<receiver> servers;
    for (std::size_t i = 0; i < source_count; ++i)
        servers.push_back(open_receiver());
    turn_at_once();
    for (std::size_t round = 0; round < 5; ++round) {
        for (std::size_t i = 0; i < flowing; ++i) {
            ASSERT_EQ(send(client, std::to_string(round), servers[i].local), 0);
        }
        for (std::size_t i = flowing; i < source_count; ++i) {
            backend().set(servers[i].id, interest::writable);
            backend().set(servers[i].id, interest::pause);
        }
        ASSERT_TRUE(turn_until([&] { return datagrams_seen() == flowing * (round + 1); }));
        for (std::size_t i = flowing; i < source_count; ++i) {
            ASSERT_TRUE(
                turn_until([&] { return count(servers[i], event_kind::writable) == round + 1; }));
            backend().set(servers[i].id, interest::receive);
        }
        turn_at_once();
    }
    for (std::size_t i = 0; i < flowing; ++i)
        expect_numbers(servers[i], 5);
    if (GetParam() == backend_kind::io_uring) {
        EXPECT_GT(ledger().rearmed_overflow.get(), 0U) << "the queue was not full: a weak test";
    }
    for (const receiver& one : servers)
        ASSERT_EQ(send(client, "5", one.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams_seen() == 5 * flowing + source_count; }));
}

// A backlog of every kind at once, then all sources go while it is there.
TEST_P(contract, DetachingEverythingUnderABacklogLosesNoBuffer) {
    start({.small_count = 32, .source_count_max = 200});
    const int client = open_socket();
    for (int round = 0; round < 3; ++round) {
        std::vector<receiver> servers;
        for (int i = 0; i < 150; ++i)
            servers.push_back(open_receiver());
        turn(at_once);
        for (const receiver& one : servers) {
            send_numbers(client, one.local, 0, 2);
            backend().set(one.id, interest::writable);
        }
        for (const receiver& one : servers) {
            backend().detach(one.id);
            close_socket(one.fd);
        }
        ASSERT_TRUE(turn_until([&] {
            return std::ranges::all_of(servers, [&](const receiver& one) {
                return count(one, event_kind::detached) == 1;
            });
        }));
    }
    expect_every_buffer_works();
}

// --- rule 9: when turn() returns ---

TEST_P(contract, ATurnWithADeadlineInThePastDoesNotWait) {
    start();
    attach_idle_receiver();
    for (int i = 0; i < 10; ++i) {
        turn(at_once);
        turn(clock::now() - 1h);
        turn(clock::time_point{});
    }
    EXPECT_EQ(datagrams_seen(), 0U);
}

TEST_P(contract, ATurnEndsWhenItsDeadlinePasses) {
    start();
    attach_idle_receiver();
    turn_at_once();
    int turns = 0;
    for (const auto deadline = clock::now() + 30ms; clock::now() < deadline; ++turns) {
        turn(deadline);
    }
    EXPECT_LE(turns, 5) << "it does not come back before";
}

TEST_P(contract, ATurnWithoutADeadlineEndsWhenSomethingIsDelivered) {
    start();
    const receiver server = open_receiver();
    const int client = open_socket();
    for (std::size_t i = 0; i < 20; ++i) {
        ASSERT_EQ(send(client, std::to_string(i), server.local), 0);
        while (datagrams(server).size() <= i)
            turn(no_deadline);  // the watchdog ends it
    }
    expect_numbers(server, 20);
}

TEST_P(contract, AWakeBeforeATurnCounts) {
    start();
    attach_idle_receiver();
    turn_at_once();
    for (int i = 0; i < 10; ++i) {
        backend().wake();
        turn(no_deadline);  // the watchdog ends it
    }
}

TEST_P(contract, WakesBeforeTheFirstTurnCount) {
    start();
    for (int i = 0; i < 1000; ++i)
        backend().wake();
    turn(no_deadline);  // the watchdog ends it
}

TEST_P(contract, ManyWakesDoNotMakeItSpin) {
    start();
    attach_idle_receiver();
    turn_at_once();
    for (int i = 0; i < 100; ++i)
        backend().wake();
    int turns = 0;
    for (const auto deadline = clock::now() + 30ms; clock::now() < deadline; ++turns) {
        turn(deadline);
    }
    EXPECT_LE(turns, 7);
}

TEST_P(contract, AWakeFromAnotherThreadEndsATurn) {
    start();
    attach_idle_receiver();
    std::atomic<int> asked = 0;
    std::atomic<int> woken = 0;
    constexpr int rounds = 200;
    std::thread waker([&] {
        for (int i = 0; i < rounds; ++i) {
            while (asked.load(std::memory_order_acquire) <= i)
                std::this_thread::yield();
            // Sometimes before the turn waits, sometimes while it does.
            for (int n = 0; n < i % 8; ++n)
                std::this_thread::yield();
            woken.store(i + 1, std::memory_order_release);
            backend().wake();
        }
    });
    for (int i = 0; i < rounds; ++i) {
        asked.store(i + 1, std::memory_order_release);
        // A wake of its own for each: were one lost, this would not end (but for the watchdog).
        while (woken.load(std::memory_order_acquire) <= i)
            turn(no_deadline);
    }
    waker.join();
}

TEST_P(contract, WakesAndDatagramsComeThroughTogether) {
    start();
    const receiver server = open_receiver();
    const int client = open_socket();
    std::atomic<bool> is_over = false;
    std::thread waker([&] {
        while (!is_over.load(std::memory_order_relaxed)) {
            backend().wake();
            std::this_thread::yield();
        }
    });
    for (std::size_t i = 0; i < 20; ++i) {
        for (std::size_t n = 0; n < 50; ++n) {
            if (send(client, std::to_string(50 * i + n), server.local) != 0) break;
        }
        if (!turn_until([&] { return datagrams(server).size() == 50 * (i + 1); })) break;
    }
    is_over = true;
    waker.join();
    expect_numbers(server, 1000);
}

std::atomic<io_backend*> backend_to_wake = nullptr;
static_assert(std::atomic<io_backend*>::is_always_lock_free);

TEST_P(contract, ASignalHandlerCanWake) {
    start();
    struct sigaction action{};
    struct sigaction before{};
    action.sa_handler = [](int) {
        const int errno_before = errno;
        errno = ENOENT;
        backend_to_wake.load()->wake();
        if (errno != ENOENT)
            std::abort();  // the interrupted code's errno is not wake()'s to change
        errno = errno_before;
    };
    action.sa_flags = SA_RESTART;
    ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
    backend_to_wake = &backend();
    attach_idle_receiver();
    for (int i = 0; i < 10; ++i) {
        ASSERT_EQ(std::raise(SIGUSR1), 0);
        turn(no_deadline);  // the watchdog ends it
    }
    // And while it waits, or about to.
    const pthread_t self = ::pthread_self();
    for (int i = 0; i < 10 && !are_signals_kept_back; ++i) {
        std::thread other([self] { ::pthread_kill(self, SIGUSR1); });
        turn(no_deadline);
        other.join();
        turn(at_once);
    }
    ASSERT_EQ(::sigaction(SIGUSR1, &before, nullptr), 0);
    backend_to_wake = nullptr;
}

// --- send ---

TEST_P(contract, SendGoesOutInOrder) {
    start();
    const receiver sender = open_receiver();
    const int peer = open_socket();
    const address to = network().local(peer);
    strings texts;
    std::vector<outgoing> messages;
    for (int i = 0; i < 150; ++i)
        texts.push_back(i % 10 == 9 ? std::string() : std::to_string(i));
    for (const std::string& text : texts) {
        messages.push_back({.payload = std::as_bytes(std::span(text)), .to = &to});
    }
    const send_result result = backend().send(sender.id, messages);
    EXPECT_EQ(result.sent, 150U);
    EXPECT_EQ(result.error, 0);
    for (const std::string& text : texts)
        ASSERT_EQ(receive(peer), text);
}

TEST_P(contract, SendUsesThePeerOfAConnectedSocket) {
    start();
    const int peer = open_socket();
    const receiver sender = open_receiver({.connected_to = network().local(peer)});
    const std::string text = "hello";
    const outgoing message{.payload = std::as_bytes(std::span(text))};
    EXPECT_EQ(backend().send(sender.id, {&message, 1}).sent, 1U);
    EXPECT_EQ(receive(peer), "hello");
}

TEST_P(contract, SendOfNothingSendsNothing) {
    start();
    const receiver sender = open_receiver();
    const send_result result = backend().send(sender.id, {});
    EXPECT_EQ(result.sent, 0U);
    EXPECT_EQ(result.error, 0);
}

TEST_P(contract, SendStopsAtTheFirstRefusalAndSaysHowManyWent) {
    start();
    const receiver sender = open_receiver();
    const int peer = open_socket();
    const address to = network().local(peer);
    const std::string too_long = pattern(66'000);
    // At the front, in the middle, at the end, and beyond what one system call takes.
    for (const std::size_t bad : {0U, 2U, 4U, 70U}) {
        SCOPED_TRACE(bad);
        strings texts;
        for (std::size_t i = 0; i < bad + 3; ++i)
            texts.push_back(std::to_string(i));
        texts[bad] = too_long;
        std::vector<outgoing> messages;
        for (const std::string& text : texts) {
            messages.push_back({.payload = std::as_bytes(std::span(text)), .to = &to});
        }
        const send_result result = backend().send(sender.id, messages);
        EXPECT_EQ(result.sent, bad);
        EXPECT_EQ(result.error, EMSGSIZE);
        for (std::size_t i = 0; i < bad; ++i)
            ASSERT_EQ(receive(peer), std::to_string(i));
        const std::string last = "last";
        const outgoing message{.payload = std::as_bytes(std::span(last)), .to = &to};
        ASSERT_EQ(backend().send(sender.id, {&message, 1}).sent, 1U);
        EXPECT_EQ(receive(peer), "last") << "one behind the refused one went out";
    }
}

TEST_P(contract, ARefusalTakenByASendIsNotLostAndNothingIsSentTwice) {
    start();
    const address peer_address = dead_address();
    const receiver client = open_receiver({.connected_to = peer_address});
    turn_at_once();
    ASSERT_EQ(send(client.fd, "anybody?"), 0);
    ASSERT_TRUE(network().wait_for_error(client.fd));
    const int peer = open_socket(family::ipv4, peer_address.port());
    ASSERT_GE(peer, 0);
    const strings texts{"0", "1", "2"};
    std::vector<outgoing> messages;
    for (const std::string& text : texts) {
        messages.push_back({.payload = std::as_bytes(std::span(text))});
    }
    send_result result = backend().send(client.id, messages);
    if (result.error == ECONNREFUSED) {
        // News of the earlier one; the first of these was not sent.
        EXPECT_EQ(result.sent, 0U);
        result = backend().send(client.id, messages);
    } else {
        ASSERT_TRUE(turn_until([&] { return count(client, event_kind::failed) == 1; }, "failed"));
    }
    EXPECT_EQ(result.sent, 3U);
    for (const std::string& text : texts)
        EXPECT_EQ(receive(peer), text);
    turn_at_once();
    EXPECT_LE(count(client, event_kind::failed), 1U);
    ASSERT_EQ(send(peer, "0", client.local), 0);
    ASSERT_TRUE(turn_until([&] { return datagrams(client).size() == 1; }));
}

// --- about() and the ledger ---

TEST_P(contract, AboutSaysWhichBackendItIs) {
    start();
    // The fixture compares it with what was asked for whenever it makes one.
    EXPECT_EQ(backend().about().reason.empty(), !is_fake());
}

TEST_P(contract, TheLedgerCountsTurnsAndCompletions) {
    start();
    const receiver server = open_receiver();
    const int client = open_socket();
    const auto turns_before = ledger().turns.get();
    turn(at_once);
    turn(at_once);
    EXPECT_EQ(ledger().turns.get() - turns_before, 2U);
    send_numbers(client, server.local, 0, 30);
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 30; }));
    EXPECT_GE(ledger().completions.get(), 30U);
}

TEST_P(contract, ABatchCostsFewerSystemCallsThanItHasDatagrams) {
    if (is_fake()) GTEST_SKIP() << "the fake makes none";
    start();
    receiver server = open_detached();
    const int client = open_socket();
    send_numbers(client, server.local, 0, 64);
    ASSERT_TRUE(network().wait_for_queue(server.fd, 64));
    attach(server);
    const auto before = ledger().system_calls.get();
    ASSERT_TRUE(turn_until([&] { return datagrams(server).size() == 64; }));
    EXPECT_LE(ledger().system_calls.get() - before, 16U);
}

INSTANTIATE_TEST_SUITE_P(backend, contract, ::testing::ValuesIn(backends_built()), backend_name);

}  // namespace
}  // namespace quoit::test
