// SPDX-License-Identifier: MIT
//
// The contract of io_backend (backend/backend.hpp), on every implementation: rule 9, sending, and
// what is counted.
#include "engine/backend/contract_test.hpp"

namespace quoit::test {
namespace {

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

// While it works off a line of starved sources a backend may see the wake-up before it waits.
TEST_P(contract, AWakeCountsWhileManyWaitForFewBuffers) {
    start({.small_count = 8, .source_count_max = 401});
    const int client = open_socket();
    take_every_buffer(client);
    for (int i = 0; i < 400; ++i)
        EXPECT_GE(open_receiver().fd, 0);
    turn_at_once();
    release_held();
    backend().wake();
    // Without a deadline: a wake-up that is lost hangs, and the watchdog tells.
    turn(no_deadline);
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
    messages sending;
    for (int i = 0; i < 150; ++i)
        texts.push_back(i % 10 == 9 ? std::string() : std::to_string(i));
    for (const std::string& text : texts)
        sending.add(text, &to);
    const send_result result = backend().send(sender.id, sending.all());
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
    messages one;
    one.add(text);
    EXPECT_EQ(backend().send(sender.id, one.all()).sent, 1U);
    EXPECT_EQ(receive(peer), "hello");
}

TEST_P(contract, ATrainIsSentInOneMessageAndArrivesAsItsDatagrams) {
    start();
    const receiver sender = open_receiver();
    const int peer = open_socket();
    const address to = network().local(peer);
    const std::string text = pattern(1050);
    const std::string_view all(text);
    messages sending;
    sending.add("before", &to);
    // In pieces that are not cut where the datagrams are.
    sending.add_train({all.substr(0, 250), all.substr(250, 1), all.substr(251)}, 100, &to);
    sending.add("behind", &to);
    const send_result result = backend().send(sender.id, sending.all());
    if (result.error == EINVAL || result.error == EIO) {
        GTEST_SKIP() << "no UDP_SEGMENT here: " << std::strerror(result.error);
    }
    EXPECT_EQ(result.sent, 3U);
    EXPECT_EQ(receive(peer), "before");
    for (std::size_t at = 0; at < all.size(); at += 100)
        ASSERT_EQ(receive(peer), all.substr(at, 100)) << at;
    EXPECT_EQ(receive(peer), "behind");
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
        messages sending;
        for (const std::string& text : texts)
            sending.add(text, &to);
        const send_result result = backend().send(sender.id, sending.all());
        EXPECT_EQ(result.sent, bad);
        EXPECT_EQ(result.error, EMSGSIZE);
        for (std::size_t i = 0; i < bad; ++i)
            ASSERT_EQ(receive(peer), std::to_string(i));
        const std::string last = "last";
        messages next;
        next.add(last, &to);
        ASSERT_EQ(backend().send(sender.id, next.all()).sent, 1U);
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
    messages sending;
    for (const std::string& text : texts)
        sending.add(text);
    send_result result = backend().send(client.id, sending.all());
    if (result.error == ECONNREFUSED) {
        // News of the earlier one; the first of these was not sent.
        EXPECT_EQ(result.sent, 0U);
        result = backend().send(client.id, sending.all());
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

}  // namespace
}  // namespace quoit::test
