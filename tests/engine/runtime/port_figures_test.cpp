// SPDX-License-Identifier: MIT
//
// The figures that stand for speed: system calls, completions, leases and allocations. They do not
// depend on the machine, so they may fail a build; time may not (bench/compare measures that).
#include "engine/runtime/port_test.hpp"

#include <netinet/udp.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103  // since Linux 4.18, <linux/udp.h>
#endif

namespace quoit::test {
namespace {

constexpr int segment = 64;
constexpr std::size_t train_size = 64;
constexpr std::size_t rounds = 100;

class port_figures : public port_test {
  protected:
    // A peer whose every send of more than 64 bytes is a train.
    [[nodiscard]] bool make_trains(const foreign_socket& peer) {
        return peer.set_option(SOL_UDP, UDP_SEGMENT, segment) == 0;
    }
    void receive_answers(const foreign_socket& peer) {
        for (std::size_t i = 0; i < train_size; ++i)
            ASSERT_TRUE(peer.receive());
    }
    void answer_all(endpoint_id server) {
        while (auto received = port().receive(server))
            ASSERT_TRUE(port().send(server, std::move(*received)));
    }
    const std::string train_ = std::string(train_size * segment, 't');
};

TEST_P(port_figures, TheEchoOfATrainCostsOneCompletionAndTwoSystemCallsOrThreeOnEpoll) {
    start();
    if (!is_inline()) GTEST_SKIP() << "how often a worker turns depends on the scheduler";
    const endpoint_id server = open({.receive_buffer_size = roomy});
    const foreign_socket peer;
    if (!make_trains(peer)) GTEST_SKIP() << "no UDP_SEGMENT here";
    turn();
    const engine_stats before = port().engine_stats();
    for (std::size_t round = 0; round < rounds; ++round) {
        ASSERT_EQ(peer.send(train_, local(server)), 0);
        ASSERT_TRUE(wait_for_queue(port().descriptor(server), 1));
        turn(port::clock::now() + std::chrono::seconds(10));
        ASSERT_EQ(port().readable_count(server), train_size);
        answer_all(server);
        port().flush();
        receive_answers(peer);
    }
    const engine_stats after = port().engine_stats();
    const std::size_t calls_per_train = is_io_uring() ? 2 : 3;
    EXPECT_EQ(after.completions - before.completions, rounds);
    EXPECT_LE(after.system_calls - before.system_calls, rounds * calls_per_train);
    const stats ledger = port().stats(server);
    EXPECT_EQ(ledger.received.trains, rounds);
    EXPECT_EQ(ledger.received.coalesced, rounds * train_size);
    EXPECT_EQ(ledger.sent.trains, rounds);
    EXPECT_EQ(ledger.sent.coalesced, rounds * train_size);
}

TEST_P(port_figures, ATrainIsOneLeaseFromTheKernelToTheKernel) {
    start();
    const endpoint_id server = open({.receive_buffer_size = roomy});
    const foreign_socket peer;
    if (!make_trains(peer)) GTEST_SKIP() << "no UDP_SEGMENT here";
    ASSERT_EQ(peer.send(train_, local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, train_size));
    EXPECT_EQ(port().stats(server).leases_held, 1U);
    answer_all(server);
    EXPECT_EQ(port().stats(server).leases_held, 1U) << "sent from where it was received";
    EXPECT_EQ(port().stats(server).sent.waiting, train_size);
    port().flush();
    EXPECT_EQ(port().stats(server).leases_held, 0U);
    receive_answers(peer);
}

TEST_P(port_figures, DatagramsOfOnePeerThatCameAloneLeaveTogetherAndUncopied) {
    start();
    constexpr std::size_t few = 63;  // the 64th would flush them
    const endpoint_id server = open({.receive_buffer_size = roomy});
    const foreign_socket peer;
    for (std::size_t i = 0; i < few; ++i)
        ASSERT_EQ(peer.send("equal", local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, few));
    answer_all(server);
    EXPECT_EQ(port().stats(server).leases_held, few);
    port().flush();
    for (std::size_t i = 0; i < few; ++i)
        ASSERT_EQ(peer.receive(), "equal");
    EXPECT_EQ(port().stats(server).sent.trains, 1U);
    EXPECT_EQ(port().stats(server).sent.coalesced, few);
}

TEST_P(port_figures, EchoingTrainsAllocatesNothingOnceWarm) {
    start();
    const endpoint_id server = open({.receive_buffer_size = roomy});
    const foreign_socket peer;
    if (!make_trains(peer)) GTEST_SKIP() << "no UDP_SEGMENT here";
    std::size_t allocated = 0;
    for (std::size_t round = 0; round < rounds; ++round) {
        ASSERT_EQ(peer.send(train_, local(server)), 0);
        {
            const allocation_meter meter;
            while (port().readable_count(server) < train_size)
                turn(port::clock::now() + std::chrono::seconds(10));
            answer_all(server);
            port().flush();
            if (round >= rounds / 2) allocated += meter.count();
        }
        receive_answers(peer);
    }
    EXPECT_EQ(allocated, 0U);
}

TEST_P(port_figures, ReadingTrainsInBatchesAllocatesNothingOnceWarm) {
    start();
    const endpoint_id server = open({.receive_buffer_size = roomy});
    const foreign_socket peer;
    if (!make_trains(peer)) GTEST_SKIP() << "no UDP_SEGMENT here";
    std::size_t allocated = 0;
    std::size_t seen = 0;
    for (std::size_t round = 0; round < rounds; ++round) {
        ASSERT_EQ(peer.send(train_, local(server)), 0);
        const allocation_meter meter;
        while (port().readable_count(server) < train_size)
            turn(port::clock::now() + std::chrono::seconds(10));
        datagram_batch batch;
        ASSERT_TRUE(port().receive_batch(server, train_size, batch));
        for (const datagram_view& one : batch)
            seen += one.size() == segment ? 1 : 0;
        if (round >= rounds / 2) allocated += meter.count();
    }
    EXPECT_EQ(seen, rounds * train_size);
    EXPECT_EQ(allocated, 0U);
}

INSTANTIATE_TEST_SUITE_P(, port_figures, ::testing::ValuesIn(port_parameters()),
                         port_parameter_name);

}  // namespace
}  // namespace quoit::test
