// SPDX-License-Identifier: MIT
//
// quoit in a loop that is not quoit's: loop::descriptor() in an epoll set, and loop::poll() when,
// and only when, that is readable. Whatever did not make it readable would hang, and whatever kept
// it readable would show as a loop that is never idle.
#include "integration/packets_support.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include <atomic>
#include <csignal>
#include <deque>
#include <functional>

namespace quoit::test {

namespace {

// How long nothing may happen before nothing is going on. It passes once in each test.
constexpr int quiet_ms = 20;

/// Somebody else's loop: waits in epoll_wait(2) and nowhere else.
class somebody_elses_loop {
  public:
    somebody_elses_loop() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
        if (epoll_ < 0) throw_errno("epoll_create1");
    }
    ~somebody_elses_loop() { ::close(epoll_); }
    somebody_elses_loop(const somebody_elses_loop&) = delete;
    somebody_elses_loop& operator=(const somebody_elses_loop&) = delete;

    /// REQUIRES: the loop outlives this, or is taken out before.
    void add(loop& one) {
        // Level-triggered, as the header asks for.
        epoll_event watch{};
        watch.events = EPOLLIN;
        watch.data.ptr = &one;
        if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, one.descriptor(), &watch) != 0) {
            throw_errno("epoll_ctl");
        }
    }
    void remove(loop& one) {
        if (::epoll_ctl(epoll_, EPOLL_CTL_DEL, one.descriptor(), nullptr) != 0) {
            throw_errno("epoll_ctl");
        }
    }

    /// Polls the loops whose descriptors are readable; false: none was within that time.
    bool turn(int timeout_ms) {
        std::array<epoll_event, 4> ready{};
        const int count =
            ::epoll_wait(epoll_, ready.data(), static_cast<int>(ready.size()), timeout_ms);
        if (count < 0 && errno != EINTR) throw_errno("epoll_wait");
        for (int i = 0; i < count; ++i)
            static_cast<loop*>(ready[static_cast<std::size_t>(i)].data.ptr)->poll();
        polls_ += static_cast<std::size_t>(std::max(count, 0));
        return count != 0;
    }
    template <class Condition>
    [[nodiscard]] bool turn_until(Condition holds) {
        const auto give_up_at = std::chrono::steady_clock::now() + patience;
        while (!holds()) {
            const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
                give_up_at - std::chrono::steady_clock::now());
            if (left <= 0ms) return false;
            turn(static_cast<int>(left.count()) + 1);
        }
        return true;
    }
    /// Turns until no loop has anything to do; false: that does not come.
    [[nodiscard]] bool comes_to_rest() {
        const auto give_up_at = std::chrono::steady_clock::now() + patience;
        while (turn(quiet_ms)) {
            if (std::chrono::steady_clock::now() > give_up_at) return false;
        }
        return true;
    }
    [[nodiscard]] std::size_t polls() const noexcept { return polls_; }

  private:
    int epoll_;
    std::size_t polls_ = 0;
};

class foreign : public acceptance {
  protected:
    void SetUp() override {
        acceptance::SetUp();
        if (!IsSkipped() && !HasFatalFailure()) outer_.add(the_loop());
    }
    [[nodiscard]] somebody_elses_loop& outer() { return outer_; }

    /// As run(), but that the loop is turned from outside.
    void run_outside(task<> body) {
        auto running = the_loop().spawn(with_timeout(std::move(body), case_time_max));
        the_loop().poll();  // it was spawned between two turns
        EXPECT_TRUE(outer_.turn_until([&] { return running.is_done(); })) << "the case hangs";
        EXPECT_EQ(the_loop().unobserved_exception_count(), 0U);
    }
    void expect_idle() {
        EXPECT_TRUE(outer_.comes_to_rest()) << "the descriptor stays readable";
        pollfd one{.fd = the_loop().descriptor(), .events = POLLIN, .revents = 0};
        EXPECT_EQ(::poll(&one, 1, 0), 0);
    }

  private:
    somebody_elses_loop outer_;
};

INSTANTIATE_TEST_SUITE_P(, foreign, ::testing::ValuesIn(acceptance_settings()),
                         [](const ::testing::TestParamInfo<acceptance_setting>& one) {
                             return to_string(one.param);
                         });

// --- datagrams ---

class echo final : public datagram_protocol {
    void datagram_received(datagram& received) override { transport().reply(std::move(received)); }
};

TEST_P(foreign, CallbacksEcho) {
    auto port = or_throw(the_loop().listen_udp({"127.0.0.1", 0}, std::make_shared<echo>()));
    the_loop().poll();  // what was opened between two turns is seen by the next
    const foreign_socket peer;
    for (int i = 0; i < 200; ++i) {
        const std::string text = std::to_string(i);
        peer.sendto(text, port.local_address());
        std::optional<foreign_datagram> answer;
        ASSERT_TRUE(outer().turn_until([&] {
            answer = peer.try_receive();
            return answer.has_value();
        })) << i;
        EXPECT_EQ(answer->payload, text);
    }
    expect_idle();
    port.transport().abort();
}

// An empty datagram ends a multishot receive, which only the next submission arms again.
TEST_P(foreign, EmptyDatagramsDeafenNobody) {
    auto port = or_throw(the_loop().listen_udp({"127.0.0.1", 0}, std::make_shared<echo>()));
    the_loop().poll();
    const foreign_socket peer;
    for (int i = 0; i < 50; ++i) {
        peer.sendto("", port.local_address());
        ASSERT_TRUE(outer().turn_until([&] { return peer.try_receive().has_value(); })) << i;
    }
    expect_idle();
    port.transport().abort();
}

task<> echo_all(udp_server& server) {
    while (auto received = co_await server.read())
        server.reply(std::move(*received));
}

task<> converse() {
    auto server = co_await listen();
    task_group tasks;
    tasks.spawn(echo_all(server));
    auto client = co_await connect(server.local_address());
    for (int i = 0; i < 300; ++i) {
        const std::string text = std::to_string(i);
        EXPECT_TRUE(client.send(text));
        expect_text(co_await client.read(patiently), text);
    }
    server.close();
    co_await tasks.join();
    co_await server.wait_closed();
}

TEST_P(foreign, CoroutinesConverse) {
    run_outside(converse());
    expect_idle();
}

task<> be_refused() {
    auto client = co_await connect(dead_address());
    for (int i = 0; i < 20; ++i) {
        EXPECT_TRUE(client.send("anybody?"));
        expect_error(co_await client.read(patiently), std::errc::connection_refused);
    }
}

TEST_P(foreign, RefusalsAreHeardOf) {
    run_outside(be_refused());
    expect_idle();
}

// Reading makes room in the inbox, and so lets a paused socket go on: behind the turn.
task<> read_slowly(const foreign_socket& sender) {
    constexpr std::size_t count = 200;
    auto server = co_await listen({.queue_size_max = 8, .on_full = when_full::pause});
    for (std::size_t i = 0; i < count; ++i)
        sender.sendto(std::to_string(i), server.local_address());
    for (std::size_t i = 0; i < count; ++i) {
        expect_text(co_await server.read(patiently), std::to_string(i));
        if (i % 16 == 0) or_throw(co_await quoit::sleep(1ms));
    }
}

TEST_P(foreign, APausedSocketGoesOnWhenItIsRead) {
    const foreign_socket sender;
    run_outside(read_slowly(sender));
    expect_idle();
}

// Every buffer is held; given back from outside the loop, by a post(), they let it go on.
TEST_P(foreign, AStarvedSocketGoesOnWhenBuffersComeBack) {
    auto made = loop::create({.backend = GetParam().backend,
                              .worker_count = GetParam().worker_count,
                              .small_buffer_count = 64,
                              .large_buffer_count = 64});
    loop on = or_throw(std::move(made));
    somebody_elses_loop outside;
    outside.add(on);
    class hoarder final : public datagram_protocol {
      public:
        std::deque<datagram> held;

      private:
        void datagram_received(datagram& received) override { held.push_back(std::move(received)); }
    };
    const auto keeping = std::make_shared<hoarder>();
    auto port = or_throw(on.listen_udp({"127.0.0.1", 0}, keeping,
                                       {.queue_size_max = 1000, .payload_size_max = 100}));
    const foreign_socket sender;
    for (std::size_t i = 0; i < 200; ++i)
        sender.sendto(std::to_string(i), port.local_address());
    ASSERT_TRUE(outside.turn_until([&] { return keeping->held.size() == 64; }));
    EXPECT_TRUE(outside.comes_to_rest()) << "it asks for buffers that there are not";
    std::size_t seen = 0;
    const auto give_back = [&] {
        for (const datagram& one : keeping->held)
            EXPECT_EQ(one.text(), std::to_string(seen++));
        keeping->held.clear();
    };
    while (seen < 200) {
        on.post(give_back);
        const std::size_t before = seen;
        ASSERT_TRUE(outside.turn_until([&] { return seen > before && !keeping->held.empty(); }) ||
                    seen == 200)
            << seen;
        if (seen + keeping->held.size() == 200) give_back();
    }
    EXPECT_EQ(seen, 200U);
    port.transport().abort();
    expect_at_rest(on);
}

// A UNIX destination that takes no more is tried again when a time has passed.
task<> send_to_a_full_destination() {
    auto receiver = or_throw(start_unix_server(unix_address{}, {.queue_size_max = 1}));
    auto sender = or_throw(start_unix_server(unix_address{}));
    constexpr std::size_t count = 600;
    for (std::size_t i = 0; i < count; ++i)
        EXPECT_TRUE(sender.sendto(std::to_string(i), receiver.local_address()));
    std::size_t received = 0;
    while (received < 1) {
        const auto one = co_await receiver.read(patiently);
        if (!one) detail::throw_error(one.error());
        ++received;
    }
    const give_up_time limit;
    while (sender.stats().sent.waiting > 0) {
        limit.check("the rest to be sent");
        const auto one = co_await receiver.read({.timeout = 50ms});
        received += one.has_value() ? 1U : 0U;
    }
}

TEST_P(foreign, AUnixDestinationThatWasFullIsTriedAgain) {
    run_outside(send_to_a_full_destination());
    expect_idle();
}

// --- what else wakes a loop ---

TEST_P(foreign, TimersFireInTheirOrder) {
    std::vector<int> fired;
    the_loop().call_later(15ms, [&] { fired.push_back(3); });
    the_loop().call_later(5ms, [&] { fired.push_back(1); });
    the_loop().call_later(10ms, [&] { fired.push_back(2); });
    auto cancelled = the_loop().call_later(1ms, [&] { fired.push_back(0); });
    cancelled.cancel();
    the_loop().poll();
    EXPECT_TRUE(outer().turn_until([&] { return fired.size() == 3; }));
    EXPECT_EQ(fired, (std::vector{1, 2, 3}));
    expect_idle();
}

TEST_P(foreign, ATimerOfAPeriodFiresAgainAndAgainAndNoMoreOnceCancelled) {
    int fired = 0;
    auto ticking = the_loop().call_every(1ms, [&] { ++fired; });
    the_loop().poll();
    EXPECT_TRUE(outer().turn_until([&] { return fired == 10; }));
    ticking.cancel();
    the_loop().poll();
    expect_idle();
    EXPECT_EQ(fired, 10);
}

TEST_P(foreign, ATimerThatIsFarAwayWakesNobody) {
    int fired = 0;
    auto distant = the_loop().call_later(1h, [&] { ++fired; });
    the_loop().poll();
    expect_idle();
    distant.cancel();
    EXPECT_EQ(fired, 0);
}

task<> take_turns(int& turns) {
    for (; turns < 1000; ++turns)
        or_throw(co_await next_turn());
}

TEST_P(foreign, ATaskThatIsReadyRunsOn) {
    int turns = 0;
    run_outside(take_turns(turns));
    EXPECT_EQ(turns, 1000);
    expect_idle();
}

TEST_P(foreign, APostOfAnotherThreadIsHeard) {
    constexpr int rounds = 500;
    std::atomic<int> ran = 0;
    std::thread other([&] {
        for (int i = 0; i < rounds; ++i) {
            the_loop().post([&] { ran.fetch_add(1, std::memory_order_release); });
            // One at a time, so that each has to wake the loop by itself.
            while (ran.load(std::memory_order_acquire) <= i)
                std::this_thread::yield();
        }
    });
    EXPECT_TRUE(outer().turn_until([&] { return ran.load() == rounds; }));
    if (ran.load() < rounds) std::abort();  // the other thread would wait for ever
    other.join();
    expect_idle();
}

// A letter that is posted by a letter is for the next turn.
TEST_P(foreign, APostOfItsOwnThreadIsHeard) {
    int ran = 0;
    std::function<void()> again = [&] {
        if (++ran < 100) the_loop().post([&] { again(); });
    };
    the_loop().post([&] { again(); });
    EXPECT_TRUE(outer().turn_until([&] { return ran == 100; }));
    expect_idle();
}

TEST_P(foreign, ASignalIsHeard) {
    int heard = 0;
    const auto subscribed = or_throw(on_signal(the_loop(), SIGUSR1, [&](int) { ++heard; }));
    for (int i = 1; i <= 20; ++i) {
        ASSERT_EQ(::kill(::getpid(), SIGUSR1), 0);
        ASSERT_TRUE(outer().turn_until([&] { return heard == i; })) << i;
    }
    expect_idle();
}

TEST_P(foreign, AStopWakesAndIsLeftForRun) {
    expect_idle();
    const std::size_t before = outer().polls();
    the_loop().stop();
    EXPECT_TRUE(outer().turn(10'000));
    EXPECT_GT(outer().polls(), before);
    expect_idle();
    the_loop().run();  // it came before, and counts
}

task<> look_up(std::size_t& found) { found = or_throw(co_await resolve("localhost", 1)).size(); }

TEST_P(foreign, ALookedUpNameArrives) {
    std::size_t found = 0;
    run_outside(look_up(found));
    EXPECT_GT(found, 0U);
    expect_idle();
}

// --- packets over TCP ---

task<> exchange_packets() {
    auto server = co_await serve_packets();
    auto client = co_await connect_packets(server.local_address());
    const std::string large = pattern(300'000);
    for (int i = 0; i < 100; ++i) {
        const std::string text = i % 10 == 9 ? large : std::to_string(i);
        EXPECT_TRUE(client.write(text));
        const auto asked = co_await server.read(patiently);
        if (!asked) detail::throw_error(asked.error());
        EXPECT_TRUE(server.write(*asked, asked->peer()));
        const auto answer = co_await client.read(patiently);
        if (!answer) detail::throw_error(answer.error());
        EXPECT_TRUE(answer->text() == text) << i;
    }
    // Both, or each would wait a second for the other's end.
    client.close();
    server.close();
    co_await client.wait_closed();
    co_await server.wait_closed();
}

TEST_P(foreign, PacketsAreExchanged) {
    run_outside(exchange_packets());
    expect_idle();
}

// --- nothing to do ---

task<> open_and_wait(bool& is_waiting) {
    auto server = co_await listen();
    auto client = co_await connect(server.local_address());
    auto packets = co_await serve_packets();
    auto connection = co_await connect_packets(packets.local_address());
    EXPECT_TRUE(client.send("hello"));
    expect_text(co_await server.read(patiently), "hello");
    static_cast<void>(co_await next_peer(packets));
    is_waiting = true;
    const auto never = co_await server.read();
    expect_error(never, quoit::errc::canceled);
}

TEST_P(foreign, ALoopThatWaitsIsIdle) {
    bool is_waiting = false;
    auto running = the_loop().spawn(open_and_wait(is_waiting));
    EXPECT_TRUE(outer().turn_until([&] { return is_waiting; }));
    expect_idle();
    running.cancel();
    the_loop().poll();
    EXPECT_TRUE(outer().turn_until([&] { return running.is_done(); }));
}

// --- together with others ---

TEST_P(foreign, TwoLoopsInOneSetTalkToEachOther) {
    loop second = or_throw(make_loop());
    outer().add(second);
    auto port = or_throw(second.listen_udp({"127.0.0.1", 0}, std::make_shared<echo>()));
    second.poll();
    class asker final : public datagram_protocol {
      public:
        int answers = 0;

      private:
        void started() override { transport().send("0"); }
        void datagram_received(datagram& received) override {
            EXPECT_EQ(received.text(), std::to_string(answers));
            if (++answers < 300) transport().send(std::to_string(answers));
        }
    };
    const auto asking = std::make_shared<asker>();
    const foreign_socket unused;
    auto to_second = or_throw(the_loop().listen_udp({"127.0.0.1", 0}, asking));
    EXPECT_TRUE(to_second.transport().connect(port.local_address()));
    to_second.transport().send("0");
    the_loop().poll();
    EXPECT_TRUE(outer().turn_until([&] { return asking->answers == 300; }));
    EXPECT_TRUE(outer().comes_to_rest());
    to_second.transport().abort();
    port.transport().abort();
    outer().remove(second);
    expect_at_rest(second);
}

TEST_P(foreign, ManyDatagramsOfAnotherThreadAllArrive) {
    constexpr std::size_t count = 5000;
    constexpr std::size_t in_flight_max = 64;
    class counter final : public datagram_protocol {
      public:
        std::atomic<std::size_t> seen = 0;

      private:
        void datagram_received(datagram&) override { seen.fetch_add(1); }
    };
    const auto counting = std::make_shared<counter>();
    auto port = or_throw(the_loop().listen_udp({"127.0.0.1", 0}, counting));
    const address where = port.local_address();
    the_loop().poll();
    std::thread other([&] {
        const foreign_socket sender;
        const auto give_up_at = std::chrono::steady_clock::now() + patience;
        for (std::size_t i = 0; i < count; ++i) {
            // So few that the socket holds them: each that is missing was not heard of.
            while (counting->seen.load() + in_flight_max <= i) {
                if (std::chrono::steady_clock::now() > give_up_at) return;
                std::this_thread::yield();
            }
            sender.sendto("x", where);
        }
    });
    EXPECT_TRUE(outer().turn_until([&] { return counting->seen.load() == count; }))
        << counting->seen.load();
    other.join();
    expect_idle();
    port.transport().abort();
}

// --- the loop's own turns, spinning, forks ---

TEST_P(foreign, ALoopMayBeRunByItselfInBetween) {
    run_outside(converse());
    run(converse());
    run_outside(converse());
    expect_idle();
}

// run() ends with a turn of its own: what is left is for whoever waits for the descriptor.
TEST_P(foreign, WhatIsLeftWhenTheLoopHasRunByItselfIsHeardOf) {
    bool is_due = false;
    const auto later = the_loop().call_later(20ms, [&] { is_due = true; });
    run([]() -> task<> { co_await sleep(1ms); }());
    EXPECT_TRUE(outer().turn_until([&] { return is_due; }));
    auto port = or_throw(the_loop().listen_udp({"127.0.0.1", 0}, std::make_shared<echo>()));
    the_loop().post([] { loop::current().stop(); });
    the_loop().run();
    const foreign_socket peer;
    peer.sendto("hello", port.local_address());
    EXPECT_TRUE(outer().turn_until([&] { return peer.try_receive().has_value(); }));
    port.transport().abort();
    expect_idle();
}

task<> listen_on_four(std::optional<udp_server>& into) {
    const std::array<host_port, 4> where{
        {{"127.0.0.1", 0}, {"127.0.0.2", 0}, {"127.0.0.3", 0}, {"127.0.0.4", 0}}};
    into = or_throw(co_await start_udp_server(std::span<const host_port>(where)));
}

// With workers it waits for them, and may hear what was meant for the descriptor: of 13 to 75
// times once.
TEST_P(foreign, WhatIsDestroyedBetweenTwoPollsDeafensNobody) {
    loop one = or_throw(loop::create({.backend = GetParam().backend,
                                      .worker_count = GetParam().worker_count * 4,
                                      .log = [](log_level, std::string_view) noexcept {}}));
    somebody_elses_loop outside;
    outside.add(one);
    const int rounds = GetParam().worker_count == 0 ? 1 : 60;
    for (int i = 0; i < rounds; ++i) {
        std::optional<udp_server> server;
        const auto opening = one.spawn(listen_on_four(server));
        one.poll();
        ASSERT_TRUE(outside.turn_until([&] { return opening.is_done(); }));
        ASSERT_TRUE(outside.comes_to_rest());
        bool is_posted = false;
        std::jthread([&] { one.post([&] { is_posted = true; }); }).join();
        server.reset();
        ASSERT_TRUE(outside.turn_until([&] { return is_posted; })) << i;
    }
}

TEST_P(foreign, ALoopThatWouldSpinSleepsInSomebodyElsesLoop) {
    auto made = loop::create({.backend = GetParam().backend,
                              .worker_count = GetParam().worker_count,
                              .waiting = waiting::busy_poll,
                              .log = [](log_level, std::string_view) noexcept {}});
    loop spinning = or_throw(std::move(made));
    somebody_elses_loop outside;
    outside.add(spinning);
    auto port = or_throw(spinning.listen_udp({"127.0.0.1", 0}, std::make_shared<echo>()));
    const foreign_socket peer;
    for (int i = 0; i < 20; ++i) {
        peer.sendto("hello", port.local_address());
        ASSERT_TRUE(outside.turn_until([&] { return peer.try_receive().has_value(); })) << i;
    }
    EXPECT_TRUE(outside.comes_to_rest());
    port.transport().abort();
    expect_at_rest(spinning);
}

TEST_P(foreign, TheDescriptorIsOneAndReadableFromTheStart) {
    loop fresh = or_throw(make_loop());
    const int descriptor = fresh.descriptor();
    EXPECT_EQ(fresh.descriptor(), descriptor);
    pollfd one{.fd = descriptor, .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&one, 1, 10'000), 1);
    fresh.poll();
    EXPECT_EQ(fresh.descriptor(), descriptor);
}

// A child of a process with threads: nothing but what must not hang.
TEST_P(foreign, AForkedChildIsRefused) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        try {
            static_cast<void>(the_loop().descriptor());
        } catch (const std::system_error& e) {
            ::_exit(e.code() == quoit::errc::forked ? 0 : 2);
        }
        ::_exit(1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
}

}  // namespace

}  // namespace quoit::test
