// SPDX-License-Identifier: MIT
//
// What several threads may do with one handle of quoit::sync, and what wakes whom.
#include <quoit/sync.hpp>

#include "api/blocking_support.hpp"

#include <sys/wait.h>

#include <csignal>
#include <map>

namespace quoit::test {

namespace {

class sync_threads : public blocking_case {
  protected:
    sync::udp_server server = or_throw(sync::start_udp_server({"127.0.0.1", 0}));
    sync::udp_client client = or_throw(sync::open_udp_connection(server.local_address()));
};

TEST_F(sync_threads, OneThreadWaitsInReadWhileAnotherSends) {
    std::string heard;
    observed_thread reader([&] {
        for (int i = 0; i < 100; ++i)
            heard += or_throw(client.read(patiently)).to_string();
    });
    ASSERT_TRUE(reader.is_asleep_soon());
    for (int i = 0; i < 100; ++i) {
        ASSERT_TRUE(client.send("x"));
        const auto request = or_throw(server.read(patiently));
        ASSERT_TRUE(server.reply(request, "y"));
    }
    reader.join();
    EXPECT_EQ(heard, std::string(100, 'y'));
    EXPECT_EQ(client.stats().unexplained(), 0U);
}

TEST_F(sync_threads, CloseWakesEveryWaiter) {
    constexpr int waiters = 4;
    std::vector<std::error_code> ends(waiters);
    std::vector<std::unique_ptr<observed_thread>> threads;
    for (std::error_code& end : ends) {
        threads.push_back(std::make_unique<observed_thread>([&] {
            const auto heard = server.read();
            if (!heard) end = heard.error().code();
        }));
    }
    for (const auto& one : threads)
        ASSERT_TRUE(one->is_asleep_soon());
    const address where = server.local_address();
    observed_thread([&] { server.close(); }).join();
    threads.clear();
    for (const std::error_code& end : ends)
        EXPECT_EQ(end, make_error_code(errc::closed));
    // Whoever left last closed the descriptor.
    EXPECT_TRUE(sync::start_udp_server(where).has_value());
}

TEST_F(sync_threads, EachDatagramIsReadByOneOfManyReaders) {
    constexpr int readers = 4;
    constexpr int datagrams = 400;
    std::array<std::vector<int>, readers> heard;
    std::atomic<int> count{0};
    std::vector<std::unique_ptr<observed_thread>> threads;
    for (auto& mine : heard) {
        threads.push_back(std::make_unique<observed_thread>([&] {
            while (auto one = server.read(patiently)) {
                mine.push_back(std::stoi(one->to_string()));
                count.fetch_add(1);
            }
        }));
    }
    for (int i = 0; i < datagrams; ++i) {
        ASSERT_TRUE(client.send(std::to_string(i)));
        // In flight there are few, so that the kernel drops none.
        ASSERT_TRUE(eventually([&] { return count.load() + 16 > i; }));
    }
    EXPECT_TRUE(eventually([&] { return count.load() == datagrams; }));
    server.close();
    threads.clear();
    std::map<int, int> times;
    for (const auto& mine : heard) {
        for (const int one : mine)
            ++times[one];
    }
    EXPECT_EQ(times.size(), static_cast<std::size_t>(datagrams));
    EXPECT_EQ(server.stats().received.delivered, static_cast<std::uint64_t>(datagrams));
    EXPECT_EQ(server.stats().unexplained(), 0U);
}

TEST_F(sync_threads, ManySendersAndOneLedger) {
    constexpr int senders = 4;
    constexpr int each = 200;
    {
        std::vector<std::unique_ptr<observed_thread>> threads;
        for (int i = 0; i < senders; ++i) {
            threads.push_back(std::make_unique<observed_thread>([&] {
                for (int one = 0; one < each; ++one)
                    or_throw(client.send("x", patiently));
            }));
        }
        while (client.stats().sent.sent < senders * each)
            ASSERT_EQ(client.stats().unexplained(), 0U);
    }
    EXPECT_EQ(client.stats().sent.sent, 0U + senders * each);
    EXPECT_EQ(client.stats().sent.bytes, 0U + senders * each);
}

TEST_F(sync_threads, WaitingForTheTurnCountsAndNoWakeUpIsLost) {
    std::string first;
    std::string second;
    observed_thread reader([&] { first = or_throw(server.read()).to_string(); });
    ASSERT_TRUE(reader.is_asleep_soon());
    expect_error(server.read({.timeout = 0s}), errc::timed_out);
    expect_error(server.read({.timeout = 5ms}), errc::timed_out);
    observed_thread next([&] { second = or_throw(server.read()).to_string(); });
    ASSERT_TRUE(next.is_asleep_soon());
    ASSERT_TRUE(client.send("one"));
    reader.join();
    // The other one's turn has come.
    ASSERT_TRUE(client.send("two"));
    next.join();
    EXPECT_EQ(first + second, "onetwo");
}

TEST_F(sync_threads, AWaitingReaderHearsOfARefusalThatASenderMet) {
    auto lonely = or_throw(sync::open_udp_connection(dead_address()));
    std::atomic<int> refusals{0};
    observed_thread reader([&] {
        for (;;) {
            const auto heard = lonely.read();
            if (heard || heard.error() != std::errc::connection_refused) break;
            refusals.fetch_add(1);
        }
    });
    ASSERT_TRUE(reader.is_asleep_soon());
    // On loopback a send is refused before it returns: the reader or the next send finds out.
    constexpr int count = 500;
    for (int i = 0; i < count; ++i)
        ASSERT_TRUE(lonely.send("anybody?"));
    EXPECT_TRUE(eventually([&] { return refusals.load() == count; })) << refusals.load();
    lonely.close();
    reader.join();
    EXPECT_EQ(lonely.stats().received.refused, 0U + count);
}

TEST_F(sync_threads, ASignalDoesNotDisturbAReader) {
    struct sigaction on_signal{};
    on_signal.sa_handler = [](int) {};
    struct sigaction before{};
    ASSERT_EQ(::sigaction(SIGUSR1, &on_signal, &before), 0);  // no SA_RESTART: EINTR
    std::string heard;
    observed_thread reader([&] { heard = or_throw(server.read()).to_string(); });
    for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(reader.is_asleep_soon());
        ASSERT_EQ(::pthread_kill(reader.handle(), SIGUSR1), 0);
    }
    ASSERT_TRUE(client.send("still there?"));
    reader.join();
    ASSERT_EQ(::sigaction(SIGUSR1, &before, nullptr), 0);
    EXPECT_EQ(heard, "still there?");
}

TEST_F(sync_threads, ClosingInTheMiddleOfEverythingIsSafe) {
    for (int i = 0; i < 50; ++i) {
        auto busy = or_throw(sync::start_udp_server({"127.0.0.1", 0}));
        const address where = busy.local_address();
        const auto until_closed = [](auto call) {
            return [call] {
                for (;;) {
                    const std::error_code why = call();
                    if (why == make_error_code(errc::closed)) break;
                }
            };
        };
        observed_thread reader(until_closed([&] {
            const auto one = busy.read();
            return one ? std::error_code() : one.error().code();
        }));
        observed_thread poller(until_closed([&] {
            const auto one = busy.read({.timeout = 0s});
            return one ? std::error_code() : one.error().code();
        }));
        observed_thread sender(until_closed([&] { return busy.sendto("x", where).code(); }));
        observed_thread looker([&] {
            while (!busy.is_closing())
                EXPECT_EQ(busy.stats().unexplained(), 0U);
        });
        ASSERT_TRUE(eventually([&] { return busy.stats().received.delivered > 3; }));
        observed_thread closer([&] { busy.close(); });
        busy.close();
        for (observed_thread* const one : {&reader, &poller, &sender, &looker, &closer})
            one->join();
        EXPECT_EQ(busy.stats().unexplained(), 0U);
        ASSERT_TRUE(sync::start_udp_server(where).has_value());
    }
}

TEST_F(sync_threads, ADatagramMayGoToAnotherThreadAndOutliveItsSocket) {
    std::optional<datagram> kept;
    observed_thread([&] {
        auto brief = or_throw(sync::start_udp_server({"127.0.0.1", 0}));
        const foreign_socket peer;
        peer.sendto("keep me", brief.local_address());
        kept = or_throw(brief.read(patiently));
    }).join();
    EXPECT_EQ(kept->text(), "keep me");
}

TEST_F(sync_threads, AChildOfAForkDoesNotHarmItsParent) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        const bool is_refused = client.send("x") == errc::forked && !server.read({.timeout = 0s});
        client.close();
        server = sync::udp_server();
        ::_exit(is_refused ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    ASSERT_TRUE(client.send("still there?"));
    expect_text(server.read(patiently), "still there?");
}

}  // namespace

}  // namespace quoit::test
