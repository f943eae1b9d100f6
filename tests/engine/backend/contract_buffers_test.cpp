// SPDX-License-Identifier: MIT
//
// The contract of io_backend (backend/backend.hpp), on every implementation: rules 4, 8 and 10.
#include "engine/backend/contract_test.hpp"

#include "base/poison.hpp"

namespace quoit::test {
namespace {

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

}  // namespace
}  // namespace quoit::test
