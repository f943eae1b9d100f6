// SPDX-License-Identifier: MIT
//
// What quoit/port.hpp promises, on real sockets, whatever the port runs on.
#include "support/port_fixture.hpp"

#include <gtest/gtest.h>

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace quoit::test {
namespace {

using strings = std::vector<std::string>;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr bool is_instrumented = true;
#elif defined(__has_feature)
constexpr bool is_instrumented =
    __has_feature(thread_sanitizer) || __has_feature(address_sanitizer);
#else
constexpr bool is_instrumented = false;
#endif

const address any_port("127.0.0.1", 0);

class port_test : public port_fixture {
  protected:
    // Sends "FIRST" ... "FIRST + COUNT - 1".
    static void send_numbers(const foreign_socket& from, const address& to, std::size_t count,
                             std::size_t first = 0) {
        for (const auto& text : numbers(count, first))
            ASSERT_EQ(from.send(text, to), 0);
    }
    // Room in the kernel for what a test sends before anybody reads.
    static constexpr std::uint32_t roomy = 2 * 1024 * 1024;

    void expect_balanced(endpoint_id endpoint) {
        const stats ledger = port().stats(endpoint);
        EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
    }
    [[nodiscard]] bool turn_until_closed(endpoint_id endpoint) {
        return turn_until([&] { return port().is_closed(endpoint); }, "closed");
    }
};

INSTANTIATE_TEST_SUITE_P(, port_test, ::testing::ValuesIn(port_parameters()), port_parameter_name);

// A thread that sends to one address for as long as it lives.
class flood {
  public:
    explicit flood(const address& to) : to_(to), thread_([this] { run(); }) {}
    ~flood() { stop(); }
    // Returns how many were sent.
    std::uint64_t stop() {
        is_stopping_.store(true, std::memory_order_relaxed);
        if (thread_.joinable()) thread_.join();
        return sent_;
    }

  private:
    void run() {
        const std::string payload(200, 'f');
        while (!is_stopping_.load(std::memory_order_relaxed)) {
            if (from_.send(payload, to_) == 0) ++sent_;
        }
    }
    foreign_socket from_;
    address to_;
    std::atomic<bool> is_stopping_{false};
    std::uint64_t sent_ = 0;  // the thread's until it is joined
    std::thread thread_;
};

// --- opening ---

TEST_P(port_test, ABackendThatIsNamedIsHad) {
    start();
    EXPECT_EQ(port().capabilities().backend, GetParam().backend);
    EXPECT_TRUE(port().capabilities().reason.empty());
}

TEST_P(port_test, OptionsOutOfRangeAreRefusedByName) {
    const auto made = port::create({.backend = GetParam().backend, .socket_count_max = 0});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error(), errc::invalid_option);
    start();
    const auto opened = port().open(std::span(&any_port, 1), {.payload_size_max = 0});
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error(), errc::invalid_option);
    EXPECT_TRUE(opened.error().context().starts_with("payload_size_max"));
}

TEST_P(port_test, PortZeroBecomesTheNumberThatTheKernelChose) {
    start();
    const endpoint_id server = open();
    ASSERT_EQ(port().local_addresses(server).size(), 1U);
    EXPECT_NE(local(server).port(), 0U);
    EXPECT_EQ(local(server).host(), any_port.host());
    EXPECT_FALSE(port().peer_address(server));
    EXPECT_GE(port().descriptor(server), 0);
}

TEST_P(port_test, OpeningNothingIsAnError) {
    start();
    const auto opened = port().open({});
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error(), errc::invalid_option);
    const address nothing;
    EXPECT_EQ(port().open(std::span(&nothing, 1)).error(), errc::invalid_address);
}

TEST_P(port_test, AUsedPortIsAnErrorThatNamesTheAddressAndHarmsNobody) {
    start();
    const endpoint_id first = open();
    const address taken = local(first);
    const auto second = port().open(std::span(&taken, 1));
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code(), std::error_code(EADDRINUSE, std::system_category()));
    EXPECT_NE(second.error().message().find(taken.to_string()), std::string::npos)
        << second.error();
    const foreign_socket client;
    ASSERT_EQ(client.send("still here", taken), 0);
    ASSERT_TRUE(turn_until_readable(first, 1));
    EXPECT_EQ(read_all(first), (strings{"still here"}));
}

TEST_P(port_test, SeveralAddressesAreOneEndpoint) {
    start();
    std::vector<address> where{any_port, address("127.0.0.2", 0)};
    if (has_ipv6()) where.emplace_back(address("::1", 0));
    const auto opened = port().open(where);
    ASSERT_TRUE(opened) << opened.error();
    const auto locals = port().local_addresses(*opened);
    ASSERT_EQ(locals.size(), where.size());
    for (std::size_t i = 0; i < where.size(); ++i) {
        EXPECT_EQ(locals[i].host(), where[i].host());
        const foreign_socket client(where[i]);
        // Hears only the socket it wrote to: the answer has to leave by that one.
        ASSERT_EQ(client.connect(locals[i]), 0);
        ASSERT_EQ(client.send("question", locals[i]), 0);
        ASSERT_TRUE(turn_until_readable(*opened, 1));
        auto question = port().receive(*opened);
        ASSERT_TRUE(question);
        EXPECT_EQ(question->peer(), client.local());
        EXPECT_TRUE(port().reply(*opened, question->view(), "copied"));
        EXPECT_TRUE(port().send(*opened, std::move(*question)));
        port().flush();
        EXPECT_EQ(client.receive(), "copied");
        EXPECT_EQ(client.receive(), "question");
    }
}

TEST_P(port_test, SeveralAddressesAreAllBoundOrNoneWithOneErrorForEach) {
    start();
    const foreign_socket first_taken;
    const foreign_socket second_taken;
    const address unused = dead_address();
    const std::array where{first_taken.local(), unused, second_taken.local()};
    const auto opened = port().open(where);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error(), std::errc::address_in_use);
    ASSERT_EQ(opened.error().causes().size(), 2U);
    EXPECT_NE(opened.error().causes()[0].message().find(where[0].to_string()), std::string::npos);
    EXPECT_NE(opened.error().causes()[1].message().find(where[2].to_string()), std::string::npos);
    const foreign_socket next(unused);
    EXPECT_TRUE(next.is_open());
}

TEST_P(port_test, EveryInterfaceIsOnePortNumberInBothFamilies) {
    start();
    const auto opened = port().open_every_interface(0);
    ASSERT_TRUE(opened) << opened.error();
    const auto locals = port().local_addresses(*opened);
    ASSERT_EQ(locals.size(), has_ipv6() ? 2U : 1U);
    EXPECT_EQ(locals[0].host(), ip("0.0.0.0"));
    const std::uint16_t number = locals[0].port();
    std::vector<address> ways_in{address("127.0.0.1", number)};
    if (has_ipv6()) {
        EXPECT_EQ(locals[1].host(), ip("::"));
        EXPECT_EQ(locals[1].port(), number);
        ways_in.emplace_back(address("::1", number));
    }
    for (const address& way : ways_in) {
        const foreign_socket client(way.with_port(0));
        ASSERT_EQ(client.send("in", way), 0);
        ASSERT_TRUE(turn_until_readable(*opened, 1));
        auto received = port().receive(*opened);
        ASSERT_TRUE(received);
        EXPECT_EQ(received->peer(), client.local());
        EXPECT_TRUE(port().send(*opened, std::move(*received)));
        port().flush();
        EXPECT_EQ(client.receive(), "in");
    }
}

TEST_P(port_test, EveryInterfaceOnAUsedPortIsAnErrorThatBindsNothing) {
    start();
    const foreign_socket taken(address("0.0.0.0", 0));
    const auto opened = port().open_every_interface(taken.local().port());
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error(), std::errc::address_in_use);
    if (!has_ipv6()) return;
    const foreign_socket v6(address("::1", taken.local().port()));
    EXPECT_TRUE(v6.is_open());
}

TEST_P(port_test, AConnectedEndpointKnowsBothEndsAndHearsNobodyElse) {
    start();
    const foreign_socket peer;
    const foreign_socket stranger;
    const endpoint_id client = open_connection(peer.local());
    EXPECT_EQ(port().peer_address(client), peer.local());
    EXPECT_NE(local(client).port(), 0U);
    ASSERT_EQ(stranger.send("stranger", local(client)), 0);
    ASSERT_EQ(peer.send("peer", local(client)), 0);
    ASSERT_TRUE(turn_until_readable(client, 1));
    EXPECT_EQ(read_all(client), (strings{"peer"}));
    EXPECT_TRUE(send(client, "hello"));
    port().flush();
    EXPECT_EQ(peer.receive(), "hello");
}

TEST_P(port_test, AConnectionMayChooseWhereItIsBound) {
    start();
    const foreign_socket peer;
    const address here = dead_address(address("127.0.0.3", 0));
    const endpoint_id client = open_connection(peer.local(), {.local = here});
    EXPECT_EQ(local(client), here);
    const auto crossed = port().open_connection(peer.local(), {.local = address("::1", 0)});
    ASSERT_FALSE(crossed);
    EXPECT_EQ(crossed.error(), errc::wrong_family);
    EXPECT_EQ(port().open_connection(any_port).error(), errc::invalid_address);
}

TEST_P(port_test, MoreSocketsThanAskedForAreRefused) {
    start({.socket_count_max = 2});
    EXPECT_GE(port().descriptor(open()), 0);
    const std::array two{any_port, any_port};
    EXPECT_EQ(port().open(two).error(), std::errc::too_many_files_open);
    EXPECT_GE(port().descriptor(open()), 0);
    EXPECT_EQ(port().open(std::span(&any_port, 1)).error(), std::errc::too_many_files_open);
    EXPECT_EQ(port().open_connection(address("127.0.0.1", 9)).error(),
              std::errc::too_many_files_open);
}

TEST_P(port_test, ReusePortLetsTwoEndpointsShareANumber) {
    start();
    const endpoint_id first = open({.reuse_port = true});
    const address shared = local(first);
    EXPECT_TRUE(port().open(std::span(&shared, 1), {.reuse_port = true}));
}

TEST_P(port_test, BufferSizesTellWhatWasAskedAndGranted) {
    start();
    const endpoint_id server = open({.receive_buffer_size = 65'536, .send_buffer_size = 32'768});
    const buffer_sizes sizes = port().buffers(server);
    EXPECT_EQ(sizes.receive.asked, 65'536U);
    EXPECT_EQ(sizes.receive.granted, 2 * 65'536U);
    EXPECT_GE(sizes.receive.granted_max, sizes.receive.granted);
    EXPECT_EQ(sizes.send.asked, 32'768U);
    EXPECT_EQ(sizes.send.granted, 2 * 32'768U);
    // More than there is: granted is what there is, and no error.
    const buffer_sizes most = port().buffers(open({.receive_buffer_size = 1U << 31U}));
    EXPECT_EQ(most.receive.granted, most.receive.granted_max);
}

// --- ids ---

TEST_P(port_test, AStaleIdIsAnsweredWithClosed) {
    start();
    const endpoint_id old = open();
    const address was = local(old);
    port().release(old);
    ASSERT_TRUE(turn_until([&] { return port().is_closed(old); }, "closed"));
    turn_at_once();
    const endpoint_id next = open();
    EXPECT_NE(next, old);
    for (const endpoint_id stale :
         {old, endpoint_id{}, endpoint_id{.index = 999, .generation = 1}}) {
        datagram_batch batch;
        EXPECT_EQ(port().receive(stale).error(), errc::closed);
        EXPECT_EQ(port().receive_batch(stale, 64, batch), errc::closed);
        EXPECT_EQ(port().readable_count(stale), 0U);
        EXPECT_EQ(sendto(stale, "x", was), errc::closed);
        EXPECT_EQ(send(stale, "x"), errc::closed);
        EXPECT_EQ(port().try_sendto(stale, "x", was), errc::closed);
        EXPECT_EQ(port().try_send(stale, "x"), errc::closed);
        EXPECT_EQ(port().send(stale, datagram("x", was)), errc::closed);
        EXPECT_EQ(port().reply(stale, datagram("x", was).view(), "x"), errc::closed);
        EXPECT_EQ(port().set_broadcast(stale, true), errc::closed);
        EXPECT_TRUE(port().is_closing(stale));
        EXPECT_TRUE(port().is_closed(stale));
        EXPECT_TRUE(port().local_addresses(stale).empty());
        EXPECT_FALSE(port().peer_address(stale));
        EXPECT_EQ(port().descriptor(stale), -1);
        EXPECT_EQ(port().send_queue_size(stale), 0U);
        EXPECT_EQ(port().stats(stale).received.taken, 0U);
        port().close(stale);
        port().abort(stale);
        port().release(stale);
        port().flush(stale);
    }
    EXPECT_FALSE(port().is_closing(next));
}

TEST_P(port_test, ReleasedSlotsAreUsedAgain) {
    start({.socket_count_max = 4});
    constexpr std::uint32_t rounds = is_instrumented ? 1000 : 10'000;
    const auto open_descriptors = [] {
        return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
    };
    const auto before = open_descriptors();
    for (std::uint32_t i = 0; i < rounds; ++i) {
        const endpoint_id one = open();
        ASSERT_LT(one.index, 4U);
        port().close(one);
        ASSERT_TRUE(turn_until_closed(one));
        port().release(one);
    }
    turn_at_once();
    EXPECT_EQ(open_descriptors(), before);
    EXPECT_EQ(port().stats().unexplained(), 0U);
}

// --- receiving ---

TEST_P(port_test, DatagramsAreReceivedInTheOrderInWhichTheyWereSent) {
    start();
    const endpoint_id server = open();
    const foreign_socket client;
    send_numbers(client, local(server), 100);
    ASSERT_TRUE(turn_until_readable(server, 100));
    const auto first = port().receive(server);
    ASSERT_TRUE(first);
    EXPECT_EQ(first->text(), "0");
    EXPECT_EQ(first->peer(), client.local());
    EXPECT_TRUE(first->is_lease());
    EXPECT_FALSE(first->truncated());
    EXPECT_EQ(read_all(server), numbers(99, 1));
    EXPECT_EQ(port().receive(server).error(), errc::would_block);
    expect_balanced(server);
    EXPECT_EQ(port().stats(server).received.delivered, 100U);
}

TEST_P(port_test, EmptyDatagramsAreDatagrams) {
    start();
    const endpoint_id server = open();
    const foreign_socket client;
    for (int i = 0; i < 100; ++i)
        ASSERT_EQ(client.send("", local(server)), 0);
    ASSERT_EQ(client.send("full", local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, 101));
    for (int i = 0; i < 100; ++i) {
        const auto empty = port().receive(server);
        ASSERT_TRUE(empty);
        EXPECT_TRUE(empty->is_empty());
        EXPECT_EQ(empty->peer(), client.local());
    }
    EXPECT_EQ(read_all(server), (strings{"full"}));
    EXPECT_EQ(port().stats(server).received.empty, 100U);
    expect_balanced(server);
}

TEST_P(port_test, ABatchHasAsManyAsAskedForAndIsAppendedTo) {
    start();
    const endpoint_id server = open();
    const foreign_socket client;
    send_numbers(client, local(server), 10);
    ASSERT_TRUE(turn_until_readable(server, 10));
    datagram_batch batch;
    EXPECT_TRUE(port().receive_batch(server, 4, batch));
    EXPECT_EQ(batch.size(), 4U);
    EXPECT_EQ(port().readable_count(server), 6U);
    EXPECT_TRUE(port().receive_batch(server, 5, batch));
    EXPECT_TRUE(port().receive_batch(server, 100, batch));
    EXPECT_EQ(batch.size(), 10U);
    strings got;
    for (const datagram_view& one : batch)
        got.emplace_back(one.text());
    EXPECT_EQ(got, numbers(10));
    EXPECT_EQ(port().receive_batch(server, 4, batch), errc::would_block);
    EXPECT_EQ(port().stats(server).leases_held, 10U);
    batch = {};
    EXPECT_EQ(port().stats(server).leases_held, 0U);
}

TEST_P(port_test, ATurnTellsOfReadabilityOnceForAllThatCame) {
    start();
    if (!is_inline()) GTEST_SKIP() << "a worker may bring it in several turns";
    const endpoint_id server = open();
    turn();
    const foreign_socket client;
    send_numbers(client, local(server), 10);
    ASSERT_TRUE(wait_for_queue(port().descriptor(server), 10));
    turn();
    EXPECT_EQ(port().readable_count(server), 10U);
    EXPECT_EQ(events.of(server).readable, 1U);
    turn();
    EXPECT_EQ(events.of(server).readable, 1U);
}

TEST_P(port_test, EndpointsMayBeReleasedAndOpenedWhileATurnTells) {
    start();
    const endpoint_id first = open();
    const foreign_socket client;
    endpoint_id second;
    events.on_readable = [&](endpoint_id which) {
        if (which != first) return;
        EXPECT_EQ(read_all(first), (strings{"0"}));
        port().release(first);
        second = open();
    };
    ASSERT_EQ(client.send("0", local(first)), 0);
    ASSERT_TRUE(turn_until([&] { return second != endpoint_id{}; }, "readable"));
    ASSERT_EQ(client.send("1", local(second)), 0);
    ASSERT_TRUE(turn_until_readable(second, 1));
    EXPECT_EQ(events.of(first).readable, 1U);
    EXPECT_EQ(events.of(first).closed, 0U);
}

// --- a full queue ---

TEST_P(port_test, DropNewestKeepsWhatCameFirst) {
    start();
    const endpoint_id server = open({.queue_size_max = 10, .on_full = when_full::drop_newest});
    const foreign_socket client;
    send_numbers(client, local(server), 13);
    ASSERT_TRUE(turn_until([&] { return port().stats(server).received.passed == 13; }, "passed"));
    EXPECT_EQ(port().stats(server).received.dropped.queue_full, 3U);
    EXPECT_EQ(read_all(server), numbers(10));
    ASSERT_EQ(client.send("later", local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, 1));
    EXPECT_EQ(read_all(server), (strings{"later"}));
    expect_balanced(server);
}

TEST_P(port_test, DropOldestKeepsWhatCameLast) {
    start();
    const endpoint_id server = open({.queue_size_max = 10, .on_full = when_full::drop_oldest});
    const foreign_socket client;
    send_numbers(client, local(server), 13);
    ASSERT_TRUE(turn_until([&] { return port().stats(server).received.passed == 13; }, "passed"));
    EXPECT_EQ(port().stats(server).received.dropped.queue_full, 3U);
    EXPECT_EQ(read_all(server), numbers(10, 3));
    ASSERT_EQ(client.send("later", local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, 1));
    EXPECT_EQ(read_all(server), (strings{"later"}));
    expect_balanced(server);
}

TEST_P(port_test, PauseLosesNothing) {
    start();
    const endpoint_id server =
        open({.queue_size_max = 10, .on_full = when_full::pause, .receive_buffer_size = roomy});
    const foreign_socket client;
    constexpr std::size_t count = 400;
    send_numbers(client, local(server), count);
    ASSERT_TRUE(turn_until([&] { return port().readable_count(server) >= 10; }, "a full queue"));
    strings got;
    ASSERT_TRUE(turn_until(
        [&] {
            std::ranges::move(read_all(server), std::back_inserter(got));
            return got.size() >= count;
        },
        "everything read"));
    EXPECT_EQ(got, numbers(count));
    const stats ledger = port().stats(server);
    EXPECT_EQ(ledger.received.dropped.queue_full, 0U);
    EXPECT_EQ(ledger.received.dropped.kernel_packets, 0U);
    EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
}

TEST_P(port_test, PauseLeavesTheRestInTheKernel) {
    start();
    if (!is_inline()) GTEST_SKIP() << "when a worker has paused is not to be seen from here";
    const endpoint_id server = open({.queue_size_max = 10, .on_full = when_full::pause});
    const foreign_socket client;
    send_numbers(client, local(server), 10);
    ASSERT_TRUE(turn_until_readable(server, 10));
    turn_at_once();
    send_numbers(client, local(server), 30, 10);
    turn_at_once();
    EXPECT_EQ(port().readable_count(server), 10U);
    EXPECT_EQ(count_queued(port().descriptor(server)), 30U);
    EXPECT_EQ(read_all(server), numbers(10));
    ASSERT_TRUE(turn_until_readable(server, 30));
    EXPECT_EQ(read_all(server), numbers(30, 10));
}

TEST_P(port_test, AGreedySocketIsPausedWhileOthersFlowAndThenGoesOn) {
    constexpr std::uint32_t buffers = 256;
    constexpr std::size_t round = 20;
    start({.small_buffer_count = buffers});
    const udp_options small{
        .queue_size_max = 10'000, .payload_size_max = 1200, .receive_buffer_size = roomy};
    const endpoint_id greedy = open(small);
    const endpoint_id other = open(small);
    const foreign_socket client;
    std::size_t sent = 0;
    while (port().stats(greedy).leases_held * 2 <= buffers) {
        send_numbers(client, local(greedy), round, sent);
        sent += round;
        ASSERT_TRUE(turn_until(
            [&] {
                return port().readable_count(greedy) == sent ||
                       port().stats(greedy).leases_held * 2 > buffers;
            },
            "taken, or paused"));
    }
    // It holds more than half; what comes now stays in the kernel, but for what is on its way.
    send_numbers(client, local(greedy), 400, sent);
    sent += 400;
    for (const auto& text : numbers(50)) {
        ASSERT_EQ(client.send(text, local(other)), 0);
        ASSERT_TRUE(turn_until_readable(other, 1));
        EXPECT_EQ(read_all(other), (strings{text}));
    }
    EXPECT_LT(port().stats(greedy).leases_held, buffers);
    EXPECT_LT(port().readable_count(greedy), sent);
    strings got;
    ASSERT_TRUE(turn_until(
        [&] {
            std::ranges::move(read_all(greedy), std::back_inserter(got));
            return got.size() >= sent;
        },
        "the greedy one went on"));
    EXPECT_EQ(got, numbers(sent));
    EXPECT_EQ(port().stats(greedy).received.dropped.kernel_packets, 0U);
}

TEST_P(port_test, ASocketAloneMayHoldEveryBufferAndLosesNothing) {
    start({.small_buffer_count = 64, .large_buffer_count = 8});
    const endpoint_id server = open({.receive_buffer_size = roomy});
    const foreign_socket client;
    send_numbers(client, local(server), 100);
    ASSERT_TRUE(turn_until_readable(server, 8));
    turn_at_once();
    EXPECT_EQ(port().readable_count(server), 8U);
    EXPECT_GT(port().engine_stats().starved, 0U);
    strings got;
    ASSERT_TRUE(turn_until(
        [&] {
            std::ranges::move(read_all(server), std::back_inserter(got));
            return got.size() >= 100;
        },
        "everything read"));
    EXPECT_EQ(got, numbers(100));
}

// --- sizes and buffer classes ---

TEST_P(port_test, EndpointsOfSmallPayloadsUseSmallBuffers) {
    start({.small_buffer_count = 64, .large_buffer_count = 8});
    const endpoint_id server = open({.payload_size_max = 1200});
    const foreign_socket client;
    send_numbers(client, local(server), 40);
    ASSERT_TRUE(turn_until_readable(server, 40));  // more than there are large ones
    EXPECT_EQ(port().stats(server).leases_held, 40U);
}

TEST_P(port_test, WhatIsLongerThanAskedForIsCutSaysSoAndIsCounted) {
    for (const std::uint32_t size_max : {100U, 1200U, 3000U}) {
        start();
        const endpoint_id server = open({.payload_size_max = size_max});
        const foreign_socket client;
        const std::vector<std::size_t> sizes{size_max - 1, size_max, size_max + 1, 5000, 65'507};
        for (const std::size_t size : sizes) {
            ASSERT_EQ(client.send(std::string(size, 'x'), local(server)), 0);
        }
        ASSERT_TRUE(turn_until_readable(server, sizes.size()));
        for (const std::size_t size : sizes) {
            const auto got = port().receive(server);
            ASSERT_TRUE(got);
            EXPECT_EQ(got->size(), std::min<std::size_t>(size, size_max));
            EXPECT_EQ(got->truncated(), size > size_max) << size;
            EXPECT_EQ(got->original_size(), size);
        }
        EXPECT_EQ(port().stats(server).received.truncated, 3U);
        EXPECT_EQ(port().stats(server).received.bytes, 5U * size_max - 1);
        destroy_port();
    }
}

TEST_P(port_test, TheLargestDatagramArrivesWhole) {
    start();
    const endpoint_id server = open();
    const foreign_socket client;
    std::string payload(65'507, '\0');
    for (std::size_t i = 0; i < payload.size(); ++i)
        payload[i] = static_cast<char>('a' + i % 23);
    ASSERT_EQ(client.send(payload, local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, 1));
    auto got = port().receive(server);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->text(), payload);
    EXPECT_FALSE(got->truncated());
    EXPECT_TRUE(port().send(server, std::move(*got)));
    port().flush();
    EXPECT_EQ(client.receive(), payload);
}

// --- metadata ---

TEST_P(port_test, MetadataIsThereWhenAskedFor) {
    start();
    for (const address& host : {address("127.0.0.1", 0), address("::1", 0)}) {
        const bool is_v6 = host.family() == family::ipv6;
        if (is_v6 && !has_ipv6()) continue;
        for (const std::uint32_t size_max : {1200U, payload_size_limit}) {
            const endpoint_id server =
                open({.payload_size_max = size_max,
                      .received_metadata = metadata::local_address | metadata::timestamp |
                                           metadata::tos | metadata::ttl},
                     host);
            const foreign_socket client(host);
            const int level = is_v6 ? IPPROTO_IPV6 : IPPROTO_IP;
            ASSERT_EQ(client.set_option(level, is_v6 ? IPV6_TCLASS : IP_TOS, 0x28), 0);
            ASSERT_EQ(client.set_option(level, is_v6 ? IPV6_UNICAST_HOPS : IP_TTL, 33), 0);
            const auto before = std::chrono::system_clock::now();
            ASSERT_EQ(client.send("x", local(server)), 0);
            ASSERT_TRUE(turn_until_readable(server, 1));
            const auto after = std::chrono::system_clock::now();
            const auto got = port().receive(server);
            ASSERT_TRUE(got);
            EXPECT_EQ(got->local(), local(server));
            EXPECT_EQ(got->tos(), 0x28);
            EXPECT_EQ(got->ttl(), 33);
            ASSERT_TRUE(got->received_at());
            // The kernel reads a coarser clock than we do.
            EXPECT_GE(*got->received_at(), before - std::chrono::seconds(1));
            EXPECT_LE(*got->received_at(), after + std::chrono::seconds(1));
        }
    }
}

TEST_P(port_test, MetadataIsAbsentWhenNotAskedFor) {
    start();
    const endpoint_id server = open();
    const foreign_socket client;
    ASSERT_EQ(client.send("x", local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, 1));
    const auto got = port().receive(server);
    ASSERT_TRUE(got);
    EXPECT_FALSE(got->local());
    EXPECT_FALSE(got->received_at());
    EXPECT_FALSE(got->tos());
    EXPECT_FALSE(got->ttl());
}

TEST_P(port_test, OnEveryInterfaceADatagramSaysWhereItWasSentTo) {
    start();
    const auto server =
        port().open_every_interface(0, {.received_metadata = metadata::local_address});
    ASSERT_TRUE(server) << server.error();
    const address second = address("127.0.0.2", local(*server).port());
    const foreign_socket client;
    ASSERT_EQ(client.send("x", second), 0);
    ASSERT_TRUE(turn_until_readable(*server, 1));
    const auto got = port().receive(*server);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->local(), second);
}

// --- refusals ---

TEST_P(port_test, EveryRefusalIsReportedOnceAndTrafficFlowsWhenThePeerStarts) {
    start();
    const address peer = dead_address();
    const endpoint_id client = open_connection(peer);
    for (std::uint64_t i = 1; i <= 5; ++i) {
        EXPECT_TRUE(send(client, "anybody?"));
        ASSERT_TRUE(turn_until_readable(client, 1));
        const auto refused = port().receive(client);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error(), std::errc::connection_refused);
        EXPECT_EQ(port().receive(client).error(), errc::would_block);
        EXPECT_EQ(port().stats(client).received.refused, i);
    }
    turn_at_once();
    EXPECT_EQ(port().readable_count(client), 0U);
    const foreign_socket late(peer);
    EXPECT_TRUE(send(client, "now?"));
    port().flush();
    EXPECT_EQ(late.receive(), "now?");
    ASSERT_EQ(late.send("yes", local(client)), 0);
    ASSERT_TRUE(turn_until_readable(client, 1));
    EXPECT_EQ(read_all(client), (strings{"yes"}));
    EXPECT_EQ(port().stats(client).sent.errors, 0U);
    expect_balanced(client);
}

TEST_P(port_test, ARefusalKeepsItsPlaceAmongDatagrams) {
    start();
    foreign_socket peer;
    const address where = peer.local();
    const endpoint_id client = open_connection(where);
    ASSERT_EQ(peer.send("a", local(client)), 0);
    ASSERT_EQ(peer.send("b", local(client)), 0);
    peer.close();
    EXPECT_TRUE(send(client, "anybody?"));
    ASSERT_TRUE(turn_until_readable(client, 3));
    const foreign_socket next(where);
    ASSERT_EQ(next.send("c", local(client)), 0);
    ASSERT_TRUE(turn_until_readable(client, 4));

    datagram_batch batch;
    EXPECT_TRUE(port().receive_batch(client, 64, batch));
    EXPECT_EQ(batch.size(), 2U);
    EXPECT_EQ(port().receive_batch(client, 64, batch), std::errc::connection_refused);
    EXPECT_EQ(batch.size(), 2U);
    EXPECT_TRUE(port().receive_batch(client, 64, batch));
    EXPECT_EQ(batch.size(), 3U);
    EXPECT_EQ(port().receive_batch(client, 64, batch), errc::would_block);
}

TEST_P(port_test, ASendThatMeetsSomebodyElsesRefusalIsSentAgain) {
    start();
    foreign_socket peer;
    const address where = peer.local();
    peer.close();
    const endpoint_id client = open_connection(where);
    settle();
    EXPECT_TRUE(send(client, "refused"));
    port().flush();
    const foreign_socket late(where);
    for (const auto& text : numbers(20))
        EXPECT_TRUE(send(client, text));
    port().flush();
    for (const auto& text : numbers(20))
        EXPECT_EQ(late.receive(), text);
    ASSERT_TRUE(turn_until_readable(client, 1));
    EXPECT_EQ(port().receive(client).error(), std::errc::connection_refused);
    const stats ledger = port().stats(client);
    EXPECT_EQ(ledger.sent.sent, 21U);
    EXPECT_EQ(ledger.sent.errors, 0U);
    EXPECT_EQ(ledger.received.refused, 1U);
}

TEST_P(port_test, NoDatagramIsLostToRefusalsInTheMiddleOfABatch) {
    start();
    const endpoint_id client = open_connection(dead_address());
    for (const auto& text : numbers(200))
        EXPECT_TRUE(send(client, text));
    port().flush();
    turn_at_once();
    const stats ledger = port().stats(client);
    EXPECT_EQ(ledger.sent.sent, 200U) << ledger;
    EXPECT_EQ(ledger.sent.errors, 0U) << ledger;
    EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
    // Refusals that no call took in between have become one.
    EXPECT_GE(ledger.received.refused, 1U);
    EXPECT_EQ(port().readable_count(client), ledger.received.refused);
}

TEST_P(port_test, DeadPortsAreNoErrorOfAnUnconnectedEndpoint) {
    start();
    const endpoint_id server = open();
    for (int i = 0; i < 20; ++i)
        EXPECT_TRUE(sendto(server, "anybody?", dead_address()));
    port().flush();
    turn_at_once();
    EXPECT_EQ(port().readable_count(server), 0U);
    const foreign_socket client;
    ASSERT_EQ(client.send("alive", local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, 1));
    EXPECT_EQ(read_all(server), (strings{"alive"}));
    const stats ledger = port().stats(server);
    EXPECT_EQ(ledger.sent.sent, 20U);
    EXPECT_EQ(ledger.sent.errors, 0U);
    EXPECT_EQ(ledger.received.refused, 0U);
}

TEST_P(port_test, AskedToASendReportsARefusalItself) {
    start();
    if (!is_inline()) GTEST_SKIP() << "a worker may hear of it first";
    const address peer = dead_address();
    const endpoint_id client = open_connection(peer, {.report_refused_on_send = true});
    turn();
    EXPECT_TRUE(send(client, "anybody?"));
    pollfd refusal{.fd = port().descriptor(client), .events = 0, .revents = 0};
    ASSERT_EQ(::poll(&refusal, 1, 5000), 1);
    EXPECT_EQ(send(client, "not sent"), std::errc::connection_refused);
    const foreign_socket late(peer);
    EXPECT_TRUE(send(client, "sent"));
    EXPECT_EQ(late.receive(), "sent");
    turn_at_once();
    EXPECT_EQ(port().readable_count(client), 0U);
    expect_balanced(client);
}

// --- sending: what is known at the call ---

TEST_P(port_test, SendsAreCheckedBeforeTheyAreQueued) {
    start();
    const foreign_socket peer;
    const endpoint_id server = open();
    const endpoint_id client = open_connection(peer.local());
    const std::string largest(65'507, 'x');
    const std::string too_large(65'508, 'x');
    const address to = peer.local();
    const auto expect = [&](endpoint_id from, byte_view payload, const address& where, errc what) {
        EXPECT_EQ(sendto(from, payload, where), what);
        EXPECT_EQ(port().try_sendto(from, payload, where), what);
    };
    expect(server, too_large, to, errc::message_too_long);
    expect(server, "x", address("::1", 9), errc::wrong_family);
    expect(server, "x", to.with_port(0), errc::invalid_address);
    expect(server, "x", address(), errc::wrong_family);
    EXPECT_EQ(send(server, "x"), errc::not_connected);
    EXPECT_EQ(port().try_send(server, "x"), errc::not_connected);
    expect(client, "x", address("127.0.0.1", 9), errc::already_connected);
    expect(client, too_large, to, errc::message_too_long);
    EXPECT_EQ(send(client, too_large), errc::message_too_long);
    EXPECT_EQ(sendto(server, "x", address("255.255.255.255", 9)), std::errc::permission_denied);

    const std::array pieces{byte_view(largest), byte_view("x")};
    EXPECT_EQ(port().sendto(server, pieces, to), errc::message_too_long);
    EXPECT_EQ(port().stats().sent.accepted, 0U);
    EXPECT_EQ(port().send_queue_size(server), 0U);

    // None of which did any harm.
    EXPECT_TRUE(sendto(server, largest, to));
    EXPECT_TRUE(sendto(client, "with its peer's address", to));
    port().flush();
    strings got{peer.receive().value_or(""), peer.receive().value_or("")};
    std::ranges::sort(got);
    EXPECT_EQ(got, (strings{"with its peer's address", largest}));
}

TEST_P(port_test, AnIpv6PayloadMayBeTwentyBytesLonger) {
    if (!has_ipv6()) GTEST_SKIP() << "no IPv6 loopback";
    start();
    const foreign_socket peer(address("::1", 0));
    const endpoint_id server = open({}, address("::1", 0));
    EXPECT_EQ(sendto(server, std::string(65'528, 'x'), peer.local()), errc::message_too_long);
    EXPECT_TRUE(sendto(server, std::string(65'527, 'x'), peer.local()));
    EXPECT_EQ(sendto(server, "x", address("127.0.0.1", 9)), errc::wrong_family);
    port().flush();
    EXPECT_EQ(peer.receive().value_or("").size(), 65'527U);
}

TEST_P(port_test, BroadcastIsRefusedUntilAllowed) {
    start();
    const endpoint_id server = open();
    const address everybody("255.255.255.255", 9);
    EXPECT_FALSE(port().broadcast(server));
    EXPECT_EQ(sendto(server, "x", everybody), std::errc::permission_denied);
    EXPECT_TRUE(port().set_broadcast(server, true));
    EXPECT_TRUE(port().broadcast(server));
    EXPECT_TRUE(port().set_broadcast(server, false));
    EXPECT_FALSE(port().broadcast(server));
    EXPECT_EQ(sendto(server, "x", everybody), std::errc::permission_denied);
    EXPECT_TRUE(port().broadcast(open({.broadcast = true})));
}

TEST_P(port_test, WhatTheKernelRefusesForGoodIsCountedByErrnoAndTheNextGoesOn) {
    in_namespace({}, [&] {
        start();
        const foreign_socket peer;
        const endpoint_id server = open();
        EXPECT_TRUE(sendto(server, "0", peer.local()));
        EXPECT_TRUE(sendto(server, "no way there", address("192.0.2.1", 9)));
        EXPECT_TRUE(sendto(server, "nor there", address("198.51.100.1", 9)));
        EXPECT_TRUE(sendto(server, "1", peer.local()));
        port().flush();
        EXPECT_EQ(peer.receive(), "0");
        EXPECT_EQ(peer.receive(), "1");
        const stats ledger = port().stats(server);
        EXPECT_EQ(ledger.sent.errors, 2U) << ledger;
        EXPECT_EQ(ledger.sent.reasons[0].error, ENETUNREACH);
        EXPECT_EQ(ledger.sent.reasons[0].count, 2U);
        EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
    });
}

TEST_P(port_test, PiecesMakeOneDatagram) {
    start();
    const foreign_socket peer;
    const endpoint_id server = open();
    const std::array<byte_view, 4> pieces{"one ", "", "data", "gram"};
    EXPECT_TRUE(port().sendto(server, pieces, peer.local()));
    EXPECT_TRUE(port().sendto(server, std::span<const byte_view>(), peer.local()));
    port().flush();
    EXPECT_EQ(peer.receive(), "one datagram");
    EXPECT_EQ(peer.receive(), "");
}

// --- sending: flushing ---

TEST_P(port_test, QueuedSendsGoOutInOrder) {
    start();
    const foreign_socket peer;
    ASSERT_EQ(peer.set_option(SOL_SOCKET, SO_RCVBUF, roomy), 0);
    const endpoint_id server = open();
    for (const auto& text : numbers(500))
        EXPECT_TRUE(sendto(server, text, peer.local()));
    port().flush();
    for (const auto& text : numbers(500))
        ASSERT_EQ(peer.receive(), text);
    EXPECT_EQ(port().send_queue_size(server), 0U);
    EXPECT_EQ(port().stats(server).sent.sent, 500U);
}

TEST_P(port_test, SendsWaitForAFlushATurnOrSixtyFourOfThem) {
    start();
    const foreign_socket peer;
    const endpoint_id server = open();
    for (const auto& text : numbers(63))
        EXPECT_TRUE(sendto(server, text, peer.local()));
    EXPECT_EQ(port().stats(server).sent.waiting, 63U);
    EXPECT_GT(port().send_queue_size(server), 0U);
    EXPECT_FALSE(peer.has_datagram());
    EXPECT_TRUE(sendto(server, "63", peer.local()));
    EXPECT_EQ(port().stats(server).sent.waiting, 0U);
    EXPECT_TRUE(sendto(server, "64", peer.local()));
    turn();
    for (const auto& text : numbers(65))
        EXPECT_EQ(peer.receive(), text);
}

TEST_P(port_test, TrySendGoesOutAtOnceAndOvertakesNothing) {
    start();
    const foreign_socket peer;
    const endpoint_id client = open_connection(peer.local());
    EXPECT_TRUE(send(client, "queued"));
    EXPECT_TRUE(port().try_send(client, "at once"));
    EXPECT_EQ(peer.receive(), "queued");
    EXPECT_EQ(peer.receive(), "at once");
    EXPECT_EQ(port().stats(client).sent.sent, 2U);
    expect_balanced(client);
}

TEST_P(port_test, AFullSendQueueIsWouldBlock) {
    start();
    const foreign_socket peer;
    const endpoint_id server = open({.send_queue_size_max = 1000});
    EXPECT_EQ(sendto(server, std::string(2000, 'x'), peer.local()), errc::would_block);
    EXPECT_TRUE(sendto(server, std::string(500, 'x'), peer.local()));
    // Room is made where the kernel lets us.
    EXPECT_TRUE(sendto(server, std::string(501, 'x'), peer.local()));
    EXPECT_TRUE(sendto(server, "x", peer.local()));
    port().flush();
    EXPECT_EQ(peer.receive().value_or("").size(), 500U);
    EXPECT_EQ(peer.receive().value_or("").size(), 501U);
    EXPECT_EQ(peer.receive(), "x");
    EXPECT_EQ(port().stats(server).sent.accepted, 3U);
}

// --- sends that block ---

// 8 Mbit/s and room for about five datagrams in the socket.
const namespace_options slow_network{.loopback_shape = "tbf rate 8mbit burst 4kb limit 4mb"};
constexpr std::uint32_t narrow = 4608;

std::string padded(std::string text) {
    text.resize(500, '.');
    return text;
}

void expect_padded_numbers(const foreign_socket& at, std::size_t count) {
    for (const auto& text : numbers(count))
        ASSERT_EQ(at.receive(), padded(text));
}

TEST_P(port_test, WhatTheKernelDoesNotTakeIsQueuedAndFlushedInOrder) {
    in_namespace(slow_network, [&] {
        start();
        const foreign_socket peer;
        ASSERT_EQ(peer.set_option(SOL_SOCKET, SO_RCVBUF, roomy), 0);
        const endpoint_id server =
            open({.send_buffer_size = narrow, .send_high_water = 16'000, .send_low_water = 4000});
        events.on_drained = [&](endpoint_id) { EXPECT_LE(port().send_queue_size(server), 4000U); };
        for (const auto& text : numbers(200)) {
            EXPECT_TRUE(sendto(server, padded(text), peer.local()));
        }
        port().flush();
        EXPECT_GT(port().send_queue_size(server), 16'000U);
        EXPECT_GT(port().stats(server).sent.blocked, 0U);
        EXPECT_EQ(port().try_sendto(server, "overtakes", peer.local()), errc::would_block);
        expect_balanced(server);
        ASSERT_TRUE(turn_until([&] { return port().send_queue_size(server) == 0; }, "flushed"));
        EXPECT_EQ(events.of(server).drained, 1U);
        expect_padded_numbers(peer, 200);
        EXPECT_EQ(port().stats(server).sent.sent, 200U);
        expect_balanced(server);
    });
}

TEST_P(port_test, ABlockedQueueIsBoundedAndTakesMoreWhenItHasRoom) {
    in_namespace(slow_network, [&] {
        start();
        const foreign_socket peer;
        ASSERT_EQ(peer.set_option(SOL_SOCKET, SO_RCVBUF, roomy), 0);
        const endpoint_id server =
            open({.send_buffer_size = narrow, .send_queue_size_max = 20'000});
        std::size_t accepted = 0;
        while (accepted < 1000 && sendto(server, padded(std::to_string(accepted)), peer.local())) {
            ++accepted;
        }
        ASSERT_LT(accepted, 1000U) << "never full";
        EXPECT_LE(port().send_queue_size(server), 20'000U);
        EXPECT_EQ(sendto(server, padded("full"), peer.local()), errc::would_block);
        ASSERT_TRUE(turn_until([&] { return port().send_queue_size(server) < 10'000; }, "room"));
        EXPECT_TRUE(sendto(server, padded(std::to_string(accepted++)), peer.local()));
        ASSERT_TRUE(turn_until([&] { return port().send_queue_size(server) == 0; }, "flushed"));
        expect_padded_numbers(peer, accepted);
        EXPECT_EQ(port().stats(server).sent.accepted, accepted);
    });
}

TEST_P(port_test, ALeaseDoesNotWaitForTheKernel) {
    in_namespace(slow_network, [&] {
        start();
        const foreign_socket peer;
        ASSERT_EQ(peer.set_option(SOL_SOCKET, SO_RCVBUF, roomy), 0);
        const endpoint_id server = open({.send_buffer_size = narrow});
        for (const auto& text : numbers(50))
            ASSERT_EQ(peer.send(padded(text), local(server)), 0);
        ASSERT_TRUE(turn_until_readable(server, 50));
        while (auto received = port().receive(server)) {
            EXPECT_TRUE(port().send(server, std::move(*received)));
        }
        EXPECT_EQ(port().stats(server).leases_held, 50U);
        port().flush();
        EXPECT_GT(port().send_queue_size(server), 0U) << "nothing blocked";
        EXPECT_EQ(port().stats(server).leases_held, 0U);
        ASSERT_TRUE(turn_until([&] { return port().send_queue_size(server) == 0; }, "flushed"));
        expect_padded_numbers(peer, 50);
    });
}

TEST_P(port_test, CloseFlushesWhatIsBlocked) {
    in_namespace(slow_network, [&] {
        start();
        const foreign_socket peer;
        ASSERT_EQ(peer.set_option(SOL_SOCKET, SO_RCVBUF, roomy), 0);
        const endpoint_id server = open({.send_buffer_size = narrow});
        for (const auto& text : numbers(100)) {
            EXPECT_TRUE(sendto(server, padded(text), peer.local()));
        }
        port().close(server);
        EXPECT_TRUE(port().is_closing(server));
        EXPECT_FALSE(port().is_closed(server));
        EXPECT_GT(port().send_queue_size(server), 0U) << "nothing blocked";
        EXPECT_EQ(sendto(server, "x", peer.local()), errc::closed);
        ASSERT_TRUE(turn_until_closed(server));
        EXPECT_EQ(events.of(server).closed, 1U);
        expect_padded_numbers(peer, 100);
        EXPECT_EQ(port().stats(server).sent.sent, 100U);
        EXPECT_EQ(port().stats(server).sent.dropped, 0U);
        expect_balanced(server);
    });
}

TEST_P(port_test, AbortDropsWhatIsBlockedAndCountsIt) {
    in_namespace(slow_network, [&] {
        start();
        const foreign_socket peer;
        const endpoint_id server = open({.send_buffer_size = narrow});
        for (const auto& text : numbers(100)) {
            EXPECT_TRUE(sendto(server, padded(text), peer.local()));
        }
        port().close(server);
        ASSERT_GT(port().send_queue_size(server), 0U) << "nothing blocked";
        port().abort(server);
        EXPECT_EQ(port().send_queue_size(server), 0U);
        ASSERT_TRUE(turn_until_closed(server));
        EXPECT_EQ(events.of(server).closed, 1U);
        const stats ledger = port().stats(server);
        EXPECT_GT(ledger.sent.dropped, 0U) << ledger;
        EXPECT_EQ(ledger.sent.accepted, ledger.sent.sent + ledger.sent.dropped) << ledger;
        EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
    });
}

// --- closing ---

TEST_P(port_test, WhatWasReceivedStaysReadableAfterClose) {
    start();
    const endpoint_id server = open();
    const foreign_socket client;
    send_numbers(client, local(server), 5);
    ASSERT_TRUE(turn_until_readable(server, 5));
    port().close(server);
    port().close(server);
    EXPECT_TRUE(port().is_closing(server));
    EXPECT_EQ(sendto(server, "x", client.local()), errc::closed);
    ASSERT_TRUE(turn_until([&] { return events.of(server).closed == 1; }, "closed"));
    EXPECT_TRUE(port().is_closed(server));
    EXPECT_EQ(port().descriptor(server), -1);
    turn_at_once();
    EXPECT_EQ(events.of(server).closed, 1U);
    EXPECT_EQ(read_all(server), numbers(5));
    EXPECT_EQ(port().receive(server).error(), errc::closed);
    datagram_batch batch;
    EXPECT_EQ(port().receive_batch(server, 1, batch), errc::closed);
    expect_balanced(server);
}

TEST_P(port_test, CloseTellsThatThereIsAnEndToRead) {
    start();
    const endpoint_id server = open();
    turn();
    port().close(server);
    ASSERT_TRUE(turn_until([&] { return events.of(server).readable == 1; }, "readable"));
    EXPECT_EQ(port().receive(server).error(), errc::closed);
}

TEST_P(port_test, CloseAndReleaseFlushOnce) {
    start();
    const foreign_socket peer;
    const endpoint_id closed = open();
    EXPECT_TRUE(sendto(closed, "closed", peer.local()));
    port().close(closed);
    EXPECT_EQ(peer.receive(), "closed");
    const endpoint_id released = open();
    EXPECT_TRUE(sendto(released, "released", peer.local()));
    port().release(released);
    EXPECT_EQ(peer.receive(), "released");
    const endpoint_id destroyed = open();
    EXPECT_TRUE(sendto(destroyed, "destroyed", peer.local()));
    destroy_port();
    EXPECT_EQ(peer.receive(), "destroyed");
}

TEST_P(port_test, AbortDropsWhatIsQueued) {
    start();
    const foreign_socket peer;
    const endpoint_id server = open();
    EXPECT_TRUE(sendto(server, "x", peer.local()));
    port().abort(server);
    ASSERT_TRUE(turn_until_closed(server));
    EXPECT_FALSE(peer.has_datagram());
    EXPECT_EQ(port().stats(server).sent.dropped, 1U);
    expect_balanced(server);
}

TEST_P(port_test, WhatIsReleasedUnreadIsCountedAsAbandoned) {
    start();
    const endpoint_id server = open();
    const foreign_socket client;
    send_numbers(client, local(server), 5);
    ASSERT_TRUE(turn_until_readable(server, 5));
    port().release(server);
    ASSERT_TRUE(turn_until_closed(server));
    turn_at_once();
    const stats sum = port().stats();
    EXPECT_EQ(sum.received.dropped.abandoned, 5U) << sum;
    EXPECT_EQ(sum.unexplained(), 0U) << sum;
    EXPECT_EQ(port().engine_stats().buffers_held, 0U);
}

TEST_P(port_test, APortNumberIsFreeAgainWhenItsEndpointIsClosed) {
    start();
    for (int round = 0; round < 20; ++round) {
        const endpoint_id server = open();
        const address where = local(server);
        turn();
        port().close(server);
        // An inline worker has let go already; a thread says when.
        if (!is_inline()) {
            ASSERT_TRUE(turn_until_closed(server));
        }
        EXPECT_TRUE(foreign_socket(where).is_open());
    }
}

TEST_P(port_test, TheNextOpenOfAReleasedPortNumberSucceeds) {
    start();
    const endpoint_id first = open();
    const address where = local(first);
    turn();
    port().release(first);
    const auto second = port().open(std::span(&where, 1));
    EXPECT_TRUE(second) << second.error();
}

TEST_P(port_test, APortNumberIsFreeAgainWhenThePortIsDestroyed) {
    for (int round = 0; round < 20; ++round) {
        start();
        const address where = local(open());
        if (round % 2 == 0) settle();
        destroy_port();
        EXPECT_TRUE(foreign_socket(where).is_open());
    }
}

TEST_P(port_test, CloseUnderAFloodFreesTheNumberAndTheLedgerHolds) {
    start();
    for (int round = 0; round < 10; ++round) {
        const endpoint_id server = open({.queue_size_max = 100, .payload_size_max = 1200});
        const address where = local(server);
        flood sender(where);
        datagram_batch held;
        ASSERT_TRUE(turn_until(
            [&] {
                datagram_batch batch;
                port().receive_batch(server, 50, held.is_empty() ? held : batch);
                return port().stats(server).received.delivered > 200;
            },
            "the flood arrives"));
        port().close(server);
        if (!is_inline()) {
            ASSERT_TRUE(turn_until_closed(server));
        }
        {
            const foreign_socket next(where);
            EXPECT_TRUE(next.is_open());
        }
        ASSERT_TRUE(turn_until_closed(server));
        sender.stop();
        read_all(server);
        const stats ledger = port().stats(server);
        EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
        EXPECT_EQ(ledger.leases_held, held.size());
        for (const datagram_view& one : held)
            EXPECT_EQ(one.size(), 200U);
        port().release(server);
    }
}

// --- the ledger under load ---

TEST_P(port_test, EveryDatagramOfAnOverrunIsAccountedFor) {
    start({.small_buffer_count = 8});
    const endpoint_id server = open({.queue_size_max = 64,
                                     .on_full = when_full::drop_newest,
                                     .payload_size_max = 1200,
                                     .receive_buffer_size = 20'000});
    settle();
    const foreign_socket client;
    const std::string payload(300, 'x');
    std::uint64_t sent = 0;
    for (int round = 0; round < 20; ++round) {
        for (int i = 0; i < 500; ++i) {
            ASSERT_EQ(client.send(payload, local(server)), 0);
            ++sent;
        }
        turn_at_once(round % 3);
        if (round % 4 == 0) read_all(server);
        if (is_inline()) {
            // Nobody but us takes anything out: exact at every moment.
            const stats now = port().stats(server);
            EXPECT_EQ(sent, now.received.taken + now.received.dropped.kernel_packets +
                                count_queued(port().descriptor(server)))
                << now;
        }
    }
    ASSERT_TRUE(turn_until(
        [&] {
            read_all(server);
            const auto now = port().stats(server).received;
            return now.taken + now.dropped.kernel_packets == sent && now.taken == now.passed;
        },
        "every datagram found"));
    read_all(server);
    const stats ledger = port().stats(server);
    EXPECT_GT(ledger.received.dropped.kernel_packets, 0U) << "no overrun";
    EXPECT_TRUE(ledger.is_exact);
    EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
    // And at the end of it.
    port().close(server);
    ASSERT_TRUE(turn_until_closed(server));
    const stats end = port().stats(server);
    EXPECT_EQ(sent, end.received.taken + end.received.dropped.kernel_packets) << end;
    EXPECT_EQ(end.unexplained(), 0U) << end;
}

TEST_P(port_test, WhatIsInTheSocketAtCloseIsCountedAsLate) {
    start();
    if (!is_inline()) GTEST_SKIP() << "a worker empties the socket by itself";
    const endpoint_id server = open();
    turn();
    const foreign_socket client;
    send_numbers(client, local(server), 50);
    ASSERT_TRUE(wait_for_queue(port().descriptor(server), 50));
    port().close(server);
    ASSERT_TRUE(turn_until_closed(server));
    const stats ledger = port().stats(server);
    EXPECT_EQ(ledger.received.taken, 50U) << ledger;
    EXPECT_EQ(ledger.received.dropped.late, 50U) << ledger;
    EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
}

TEST_P(port_test, ThePortsLedgerIsTheSumOfItsEndpointsReleasedOnesIncluded) {
    start();
    const foreign_socket client;
    for (int i = 0; i < 3; ++i) {
        const endpoint_id server = open();
        send_numbers(client, local(server), 10);
        ASSERT_TRUE(turn_until_readable(server, 10));
        read_all(server);
        EXPECT_TRUE(sendto(server, "x", client.local()));
        if (i == 2) break;
        port().release(server);
        ASSERT_TRUE(turn_until_closed(server));
    }
    turn_at_once();
    const stats sum = port().stats();
    EXPECT_EQ(sum.received.taken, 30U);
    EXPECT_EQ(sum.received.delivered, 30U);
    EXPECT_EQ(sum.sent.sent, 3U);
    EXPECT_EQ(sum.unexplained(), 0U) << sum;
}

// --- leases ---

TEST_P(port_test, LeasesOutliveTheirEndpointAndTheirPort) {
    std::vector<datagram> held;
    {
        start();
        const endpoint_id server = open();
        const endpoint_id small = open({.payload_size_max = 1200});
        const foreign_socket client;
        send_numbers(client, local(server), 10);
        send_numbers(client, local(small), 10, 10);
        ASSERT_TRUE(turn_until_readable(server, 10));
        ASSERT_TRUE(turn_until_readable(small, 10));
        for (const endpoint_id from : {server, small}) {
            while (auto received = port().receive(from))
                held.push_back(*std::move(received));
        }
        port().release(server);
        ASSERT_TRUE(turn_until_closed(server));
        turn_at_once();
        EXPECT_EQ(port().engine_stats().buffers_held, 20U);
        destroy_port();
    }
    for (std::size_t i = 0; i < held.size(); ++i)
        EXPECT_EQ(held[i].text(), std::to_string(i));
    std::vector<datagram> copies;
    for (const datagram& one : held)
        copies.push_back(one.to_owned());
    held.clear();
    std::thread([copies = std::move(copies)] {
        for (std::size_t i = 0; i < copies.size(); ++i) {
            EXPECT_EQ(copies[i].text(), std::to_string(i));
        }
    }).join();
}

TEST_P(port_test, AnswersMayLeaveFromTheBuffersTheyCameIn) {
    start({.small_buffer_count = 8, .large_buffer_count = 8});
    const endpoint_id server = open({.payload_size_max = 1200});
    const foreign_socket client;
    const foreign_socket third;
    for (const auto& text : numbers(200)) {
        ASSERT_EQ(client.send(text, local(server)), 0);
        ASSERT_TRUE(turn_until_readable(server, 1));
        auto received = port().receive(server);
        ASSERT_TRUE(received);
        EXPECT_TRUE(port().sendto(server, *std::move(received), third.local()));
        EXPECT_EQ(port().stats(server).leases_held, 1U);
        port().flush();
        EXPECT_EQ(port().stats(server).leases_held, 0U);
        ASSERT_EQ(third.receive(), text);
    }
}

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
