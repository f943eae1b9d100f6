// SPDX-License-Identifier: MIT
//
// Ports that spin instead of sleeping: everything works as when they sleep.
#include "engine/runtime/port_test.hpp"

#include <pthread.h>
#include <sched.h>

namespace quoit::test {
namespace {

using namespace std::chrono_literals;

#ifndef SO_BUSY_POLL
#define SO_BUSY_POLL 46  // since Linux 3.11, <asm-generic/socket.h>
#endif

class busy_port : public port_test {
  protected:
    void start_spinning(std::chrono::microseconds spin_time = 0us) {
        start({.waiting = waiting::busy_poll, .spin_time = spin_time});
    }
};

// What the log of a port under test said.
std::atomic<int> warnings{0};
void count_warnings(log_level level, std::string_view) noexcept {
    if (level >= log_level::warning) warnings.fetch_add(1, std::memory_order_relaxed);
}

// This thread, and those it starts, on its first allowed CPU while it lives.
class one_cpu {
  public:
    one_cpu() {
        EXPECT_EQ(sched_getaffinity(0, sizeof before_, &before_), 0);
        cpu_set_t one;
        CPU_ZERO(&one);
        for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
            if (!CPU_ISSET(cpu, &before_)) continue;
            CPU_SET(cpu, &one);
            break;
        }
        EXPECT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    }
    ~one_cpu() { sched_setaffinity(0, sizeof before_, &before_); }
    one_cpu(const one_cpu&) = delete;
    one_cpu& operator=(const one_cpu&) = delete;

  private:
    cpu_set_t before_{};
};

TEST_P(busy_port, ReceivesAndAnswers) {
    start_spinning();
    const endpoint_id server = open();
    const foreign_socket client;
    for (int round = 0; round < 100; ++round) {
        send_numbers(client, local(server), 5);
        ASSERT_TRUE(turn_until_readable(server, 5));
        while (auto received = port().receive(server))
            EXPECT_TRUE(port().send(server, std::move(*received)));
        port().flush();
        for (const auto& text : numbers(5))
            ASSERT_EQ(client.receive(), text);
    }
    expect_balanced(server);
}

TEST_P(busy_port, ATurnEndsAtItsDeadline) {
    start_spinning();
    const auto deadline = port::clock::now() + 5ms;
    turn(deadline);
    EXPECT_GE(port::clock::now(), deadline);
}

TEST_P(busy_port, AWakeFromAnotherThreadEndsATurn) {
    start_spinning();
    for (int round = 0; round < 20; ++round) {
        std::jthread waker([this] { port().wake(); });
        turn(port::clock::now() + 10s);
    }
}

TEST_P(busy_port, AWakeEndsATurnThatHasGoneToSleep) {
    start_spinning(1us);
    for (int round = 0; round < 20; ++round) {
        std::jthread waker([this] { port().wake(); });
        turn(port::clock::now() + 10s);
    }
}

TEST_P(busy_port, WhatSleepsAfterItsSpinTimeIsWokenByADatagram) {
    start_spinning(1us);
    const endpoint_id server = open();
    const foreign_socket client;
    for (int round = 0; round < 50; ++round) {
        // As often before the turn as in the middle of it.
        std::jthread sender([&] { EXPECT_EQ(client.send("wake", local(server)), 0); });
        if (round % 2 == 0) sender.join();
        ASSERT_TRUE(turn_until_readable(server, 1));
        EXPECT_EQ(read_all(server), (strings{"wake"}));
    }
}

TEST_P(busy_port, ManySocketsAreAllHeard) {
    start_spinning();
    std::vector<endpoint_id> servers;
    for (int i = 0; i < 10; ++i) {
        servers.push_back(open());
        const foreign_socket client;
        for (const endpoint_id server : servers)
            ASSERT_EQ(client.send("hello", local(server)), 0);
        for (const endpoint_id server : servers) {
            ASSERT_TRUE(turn_until_readable(server, 1));
            EXPECT_EQ(read_all(server), (strings{"hello"}));
        }
    }
    // And back to few.
    while (servers.size() > 1) {
        port().release(servers.back());
        servers.pop_back();
        const foreign_socket client;
        ASSERT_EQ(client.send("still there?", local(servers.front())), 0);
        ASSERT_TRUE(turn_until_readable(servers.front(), 1));
        EXPECT_EQ(read_all(servers.front()), (strings{"still there?"}));
    }
}

TEST_P(busy_port, ARefusalIsReported) {
    start_spinning();
    const endpoint_id client = open_connection(dead_address());
    for (int i = 0; i < 5; ++i) {
        EXPECT_TRUE(send(client, "anybody?"));
        ASSERT_TRUE(turn_until_readable(client, 1));
        EXPECT_EQ(port().receive(client).error(), std::errc::connection_refused);
    }
    EXPECT_EQ(port().stats(client).received.refused, 5U);
}

TEST_P(busy_port, BlockedSendsGoOn) {
    in_namespace({.loopback_shape = "tbf rate 8mbit burst 4kb limit 4mb"}, [&] {
        start_spinning();
        const foreign_socket peer;
        ASSERT_EQ(peer.set_option(SOL_SOCKET, SO_RCVBUF, roomy), 0);
        const endpoint_id server = open({.send_buffer_size = 4608, .offload = offload::off});
        const std::string text(800, 's');
        for (int i = 0; i < 50; ++i)
            EXPECT_TRUE(sendto(server, text, peer.local()));
        port().flush();
        EXPECT_GT(port().send_queue_size(server), 0U) << "nothing blocked";
        ASSERT_TRUE(turn_until([&] { return port().send_queue_size(server) == 0; }, "flushed"));
        for (int i = 0; i < 50; ++i)
            ASSERT_EQ(peer.receive(), text);
    });
}

TEST_P(busy_port, ClosingFreesThePortAtOnce) {
    start_spinning();
    const foreign_socket client;
    address where = any_port;
    for (int i = 0; i < 20; ++i) {
        const endpoint_id server = open({}, where);
        where = local(server);
        ASSERT_EQ(client.send("x", where), 0);
        ASSERT_TRUE(turn_until_readable(server, 1));
        port().release(server);
    }
}

TEST_P(busy_port, ThreadsThatHaveNoCpuOfTheirOwnSleepAndTheLogSaysSo) {
    const one_cpu narrow;
    warnings = 0;
    start({.waiting = waiting::busy_poll, .log = count_warnings});
    const bool may_spin = is_inline();  // one thread, one CPU
    EXPECT_EQ(port().capabilities().busy_poll, may_spin);
    EXPECT_EQ(port().options().waiting, may_spin ? waiting::busy_poll : waiting::block);
    EXPECT_EQ(warnings.load(), may_spin ? 0 : 1);
    const endpoint_id server = open();
    const foreign_socket client;
    ASSERT_EQ(client.send("hello", local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, 1));
}

TEST_P(busy_port, PollingTheCardIsInForceOnlyForThreadsThatWereAskedToAndSleep) {
    start();
    EXPECT_FALSE(port().capabilities().napi_busy_poll);
    destroy_port();
    start({.waiting = waiting::busy_poll, .napi_busy_poll = 50us});
    EXPECT_EQ(port().capabilities().napi_busy_poll && port().capabilities().busy_poll, false);
    destroy_port();
    start({.napi_busy_poll = 50us});
    // Loopback has no card to be polled; all else works as ever.
    const endpoint_id server = open();
    const foreign_socket client;
    for (int i = 0; i < 10; ++i) {
        ASSERT_EQ(client.send("hello", local(server)), 0);
        ASSERT_TRUE(turn_until_readable(server, 1));
        EXPECT_EQ(read_all(server), (strings{"hello"}));
    }
    RecordProperty("napi_busy_poll", port().capabilities().napi_busy_poll ? "had" : "not had");
}

TEST_P(busy_port, ASocketIsPolledAsLongAsItIsAskedTo) {
    start();
    const auto opened = port().open(std::span(&any_port, 1), {.socket_busy_poll = 25us});
    if (!opened && opened.error() == std::errc::operation_not_permitted) {
        GTEST_SKIP() << "needs CAP_NET_ADMIN";
    }
    ASSERT_TRUE(opened) << opened.error();
    int value = 0;
    socklen_t size = sizeof value;
    ASSERT_EQ(::getsockopt(port().descriptor(*opened), SOL_SOCKET, SO_BUSY_POLL, &value, &size), 0);
    EXPECT_EQ(value, 25);
}

INSTANTIATE_TEST_SUITE_P(, busy_port, ::testing::ValuesIn(port_parameters()), port_parameter_name);

TEST(busy_poll, TakesTheBackendThatIsFasterForItUnlessOneIsNamed) {
    warnings = 0;
    auto made = port::create({.waiting = waiting::busy_poll, .log = count_warnings});
    ASSERT_TRUE(made) << made.error();
    EXPECT_TRUE(made->capabilities().busy_poll);
    EXPECT_EQ(made->capabilities().backend, backend::epoll);
    EXPECT_NE(made->capabilities().reason.find("busy_poll"), std::string::npos);
    EXPECT_EQ(warnings.load(), 0) << "it is no fallback";
    auto sleeping = port::create({});
    ASSERT_TRUE(sleeping) << sleeping.error();
    EXPECT_FALSE(sleeping->capabilities().busy_poll);
}

}  // namespace
}  // namespace quoit::test
