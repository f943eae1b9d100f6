// SPDX-License-Identifier: MIT
//
// The acceptance cases of the blocking surface (docs/testing.md): E17, E18, Q03, Q08, Q10, Q12,
// S16, S20, S22. It has no backend of its own; what it talks to has: a blocking client to an echo
// server on the loop, and a client on the loop to a request server. Cases without a counterpart are
// run once.
#include "api/blocking_support.hpp"
#include "integration/acceptance_fixture.hpp"
#include "support/namespace.hpp"

#include <cctype>
#include <limits>
#include <ranges>

namespace quoit::test {

namespace {

using quoit::errc;

// --- a blocking client and an echo server on the loop ---

constexpr std::string_view enough = "that is all";
constexpr std::string_view be_silent = "do not answer";

task<> echo_until_enough(udp_server& server) {
    for (;;) {
        auto received = co_await server.read(patiently);
        auto request = or_throw(std::move(received));
        if (request.text() == enough) break;
        if (request.text() != be_silent) server.reply(std::move(request));
    }
}

using client_code = void (*)(sync::udp_client& client);

void run_client(client_code body, const address& server) {
    try {
        auto client = or_throw(sync::open_udp_connection(server));
        body(client);
        EXPECT_EQ(client.stats().unexplained(), 0U) << client.stats();
    } catch (const std::exception& e) {
        ADD_FAILURE() << "the blocking client ended with: " << e.what();
    }
    const foreign_socket at_the_end;
    at_the_end.sendto(enough, server);
}

task<> serve_a_blocking_client(client_code body) {
    auto server = co_await listen();
    const address where = server.local_address();
    const std::jthread client([body, where] { run_client(body, where); });
    co_await echo_until_enough(server);
}

void wait_in_every_way(sync::udp_client& client) {
    // None: as long as it takes.
    ASSERT_TRUE(client.send("none", {}));
    expect_text(client.read(), "none");
    // 0: a poll, which takes what is there.
    expect_error(client.read({.timeout = 0s}), errc::timed_out);
    ASSERT_TRUE(client.send("poll", {.timeout = 0s}));
    EXPECT_TRUE(eventually([&] {
        const auto polled = client.read({.timeout = 0s});
        return polled && polled->text() == "poll";
    }));
    // Expired; and what comes later is the next read's.
    ASSERT_TRUE(client.send(be_silent));
    expect_error(client.read({.timeout = 10ms}), errc::timed_out);
    expect_error(client.read({.timeout = std::chrono::steady_clock::now() - 1s}), errc::timed_out);
    ASSERT_TRUE(client.send("late", {.timeout = 5s}));
    expect_text(client.read({.timeout = std::chrono::steady_clock::now() + patience}), "late");
    // Negative, and none at all.
    for (const double seconds : {-1.0, std::numeric_limits<double>::quiet_NaN()}) {
        const wait_options never{.timeout = std::chrono::duration<double>(seconds)};
        expect_error(client.read(never), errc::invalid_option);
        EXPECT_EQ(client.send("x", never), errc::invalid_option);
    }
    EXPECT_EQ(client.stats().sent.accepted, 4U);
}

TEST_P(acceptance, E17ABlockingCallWaitsForeverNotAtAllForAWhileOrRefusesTo) {
    run(serve_a_blocking_client(wait_in_every_way));
}

void say_where_it_is(sync::udp_client& client) {
    EXPECT_EQ(client.local_address(), bound_address(client.descriptor()));
    EXPECT_EQ(client.local_address().host(), ip("127.0.0.1"));
    EXPECT_NE(client.local_address().port(), 0);
    ASSERT_TRUE(client.send("x"));
    expect_text(client.read(patiently), "x");
}

TEST_P(acceptance, E18ABlockingClientKnowsItsLocalAddress) {
    run(serve_a_blocking_client(say_where_it_is));
}

void share_between_threads(sync::udp_client& client) {
    constexpr int count = 200;
    std::atomic<int> answered{0};
    const std::jthread sender([&] {
        for (int i = 0; i < count; ++i) {
            or_throw(client.send("message " + std::to_string(i), patiently));
            if (!eventually([&] { return answered.load() + 32 > i; })) return;
        }
    });
    for (int i = 0; i < count; ++i) {
        const auto answer = or_throw(client.read(patiently));
        EXPECT_EQ(answer.text(), "message " + std::to_string(i));
        answered.fetch_add(1);
    }
}

TEST_P(acceptance, E17TwoThreadsShareOneBlockingClient) {
    run(serve_a_blocking_client(share_between_threads));
}

void iterate_with_a_budget(sync::udp_client& client) {
    for (const char* const text : {"a", "b", "c"})
        ASSERT_TRUE(client.send(std::string_view(text)));
    std::string heard;
    for (const auto& one : client.received({.budget = patience})) {
        heard += one.text();
        if (heard.size() == 3) break;
    }
    EXPECT_EQ(heard, "abc");
    auto incoming = client.received({.budget = 20ms});
    EXPECT_TRUE(incoming.begin() == incoming.end());
    EXPECT_EQ(incoming.ended(), errc::timed_out);
}

TEST_P(acceptance, Q12ABlockingIterationWithABudgetEndsByItself) {
    run(serve_a_blocking_client(iterate_with_a_budget));
}

void close_under_readers(sync::udp_client& client) {
    std::atomic<int> woken{0};
    std::vector<std::unique_ptr<observed_thread>> readers;
    for (int i = 0; i < 3; ++i) {
        readers.push_back(std::make_unique<observed_thread>([&] {
            const auto heard = client.read();
            if (!heard && heard.error() == errc::closed) woken.fetch_add(1);
        }));
        ASSERT_TRUE(readers.back()->is_asleep_soon());
    }
    client.close();
    readers.clear();
    EXPECT_EQ(woken.load(), 3);
}

TEST_P(acceptance, Q03CloseWakesEveryBlockedReader) {
    run(serve_a_blocking_client(close_under_readers));
}

// --- Q08: the peer is dead, then it is not ---

task<> revive(const address& where) {
    auto client = or_throw(sync::open_udp_connection(where));
    or_throw(client.send("anybody?"));
    expect_error(client.read(patiently), std::errc::connection_refused);
    expect_error(client.read({.timeout = 0s}), errc::timed_out);
    auto server = co_await listen({}, where);
    EXPECT_TRUE(client.send("now?"));
    auto heard = co_await server.read(patiently);
    auto request = or_throw(std::move(heard));
    EXPECT_EQ(request.text(), "now?");
    server.reply(std::move(request));
    server.flush();
    expect_text(client.read(patiently), "now?");
}

TEST_P(acceptance, Q08ABlockingClientHearsOfARefusalOnceAndGoesOn) { run(revive(dead_address())); }

// --- a request server and a client on the loop ---

std::mutex events_mutex;
std::vector<std::string> events;
void note(std::string what) {
    const std::scoped_lock lock(events_mutex);
    events.push_back(std::move(what));
}
[[nodiscard]] std::vector<std::string> take_events() {
    const std::scoped_lock lock(events_mutex);
    return std::exchange(events, {});
}

class upper final : public request_handler {
  public:
    void setup(request& /*one*/) override { note("setup"); }
    void handle(request& one) override {
        note("handle");
        if (one.text() == "crash") throw std::runtime_error("crashed");
        if (one.text() == "hush") return;
        std::string text(one.text());
        std::ranges::transform(text, text.begin(), [](unsigned char letter) {
            return static_cast<char>(std::toupper(letter));
        });
        one.reply(text);
    }
    void finish(request& /*one*/) override { note("finish"); }
};

class upper_server final : public request_server<upper> {
  public:
    explicit upper_server(const request_server_options& options = {})
        : request_server({"127.0.0.1", 0}, options) {
        or_throw(open());
    }
    ~upper_server() override { close(); }

  protected:
    bool verify(const request& one) override {
        if (!one.text().starts_with("!")) return true;
        note("rejected");
        return false;
    }
    void on_error(const request& one, std::exception_ptr /*thrown*/) override {
        note("error for " + one.peer().to_string());
    }
    void on_timeout() override { note("timeout"); }
};

task<> expect_answer(udp_client& client, std::string request, std::string expected) {
    or_throw(client.send(request));
    const auto answer = co_await client.read(patiently);
    expect_text(answer, expected);
}

task<> use_every_hook(std::uint32_t threads) {
    using lines = std::vector<std::string>;
    (void)take_events();
    upper_server server({.threads = threads});
    auto client = co_await connect(server.local_address());
    const std::jthread serving([&server] { or_throw(server.serve_forever()); });

    co_await expect_answer(client, "hello", "HELLO");
    // One peer's requests are handled in order: an answer says that those before it are over.
    client.send("!not me");
    client.send("hush");
    client.send("crash");
    co_await expect_answer(client, "again", "AGAIN");
    EXPECT_TRUE(server.shutdown(patiently));
    const std::string peer = client.local_address().to_string();
    lines seen = take_events();
    // verify() runs on another thread than handlers, if they have their own.
    EXPECT_EQ(std::erase(seen, "rejected"), 1U);
    EXPECT_EQ(seen, (lines{"setup", "handle", "finish",                       //
                           "setup", "handle", "finish",                       //
                           "setup", "handle", "error for " + peer, "finish",  //
                           "setup", "handle", "finish"}));
    EXPECT_EQ(client.stats().received.taken, 2U);
    const request_counts counts = server.counts();
    EXPECT_EQ(counts.handled, 4U);
    EXPECT_EQ(counts.rejected, 1U);
    EXPECT_EQ(counts.failed, 1U);
    EXPECT_EQ(server.stats().unexplained(), 0U);
}

TEST_P(acceptance, S20ARequestServerCallsAllItsHooks) { run(use_every_hook(0)); }

TEST_P(acceptance, S20ARequestServerCallsAllItsHooksOnAPoolToo) { run(use_every_hook(2)); }

task<> handle_one_request() {
    upper_server server({.timeout = 5ms});
    (void)take_events();
    expect_error(server.handle_request(), errc::timed_out);
    EXPECT_EQ(take_events(), std::vector<std::string>{"timeout"});
    auto client = co_await connect(server.local_address());
    client.send("one");
    client.send("two");
    client.flush();
    EXPECT_TRUE(server.handle_request());
    const auto answer = co_await client.read(patiently);
    expect_text(answer, "ONE");
    EXPECT_EQ(server.counts().handled, 1U);
    EXPECT_TRUE(server.handle_request());
    const auto next = co_await client.read(patiently);
    expect_text(next, "TWO");
}

TEST_P(acceptance, S20HandleRequestHandlesOneOrSaysThatNoneCame) { run(handle_one_request()); }

task<> live_and_die() {
    upper_server server;
    auto client = co_await connect(server.local_address());
    {
        const std::jthread serving([&server] { or_throw(server.serve_forever()); });
        co_await expect_answer(client, "first", "FIRST");
        expect_error(server.serve_forever(), errc::already_running);
        EXPECT_TRUE(server.shutdown(patiently));
    }
    client.send("meanwhile");  // waits in the kernel
    client.flush();
    {
        const std::jthread serving([&server] { or_throw(server.serve_forever()); });
        const auto answer = co_await client.read(patiently);
        expect_text(answer, "MEANWHILE");
        server.close();
    }
    expect_error(server.serve_forever(), errc::closed);
    const auto after = co_await start_udp_server(server.local_address());
    EXPECT_TRUE(after.has_value());
}

TEST_P(acceptance, S16ARequestServerServesAgainAfterShutdownAndNotAfterClose) {
    run(live_and_die());
}

// --- without a counterpart ---

class blocking : public blocking_case {};

// It sleeps without a limit, and there is no interval at which it would look by itself.
TEST_F(blocking, S22ShutdownWakesAServerThatSleeps) {
    upper_server server;
    for (int i = 0; i < 20; ++i) {
        observed_thread serving([&server] { or_throw(server.serve_forever()); });
        ASSERT_TRUE(eventually([&] { return server.is_serving(); }));
        ASSERT_TRUE(serving.is_asleep_soon());
        EXPECT_TRUE(server.shutdown(patiently));
    }
}

constexpr const char* slow_loopback = "tbf rate 8mbit burst 10kb limit 1mb";
constexpr std::size_t slow_payload_size = 1000;
constexpr udp_options narrow{.send_buffer_size = 4096};

void block_a_sender() {
    auto server = or_throw(sync::start_udp_server({"127.0.0.1", 0}));
    auto client = or_throw(sync::open_udp_connection(server.local_address(), narrow));
    const std::string payload = pattern(slow_payload_size);
    // Until the kernel takes no more: a poll says so and sends nothing.
    std::uint64_t sent = 0;
    status last;
    while ((last = client.send(payload, {.timeout = 0s}))) {
        ASSERT_LT(++sent, 10'000U) << "nothing ever blocks here";
    }
    EXPECT_EQ(last, errc::timed_out);
    EXPECT_EQ(client.stats().sent.sent, sent);
    EXPECT_GE(client.stats().sent.blocked, 1U);
    // With time it goes on, in order.
    for (int i = 0; i < 50; ++i, ++sent)
        ASSERT_TRUE(client.send(std::to_string(i) + payload, patiently));
    for (std::uint64_t i = 0; i < sent; ++i) {
        const auto received = or_throw(server.read(patiently));
        if (i + 50 < sent) continue;
        EXPECT_EQ(received.text(), std::to_string(i + 50 - sent) + payload);
    }
    EXPECT_EQ(client.stats().unexplained(), 0U);
}

TEST_F(blocking, Q10ABlockedSendWaitsForTheKernelAsLongAsItIsTold) {
    const auto why_not =
        run_in_network_namespace({.loopback_shape = slow_loopback}, block_a_sender);
    if (why_not) GTEST_SKIP() << *why_not;
}

// So slow that nothing but close() ends a wait in time: each datagram takes eight seconds.
constexpr const char* crawling_loopback = "tbf rate 1kbit burst 2kb limit 1mb";

void close_under_blocked_senders() {
    auto server = or_throw(sync::start_udp_server({"127.0.0.1", 0}));
    auto client = or_throw(sync::open_udp_connection(server.local_address(), narrow));
    const std::string payload = pattern(slow_payload_size);
    std::atomic<int> woken{0};
    {
        std::vector<std::unique_ptr<observed_thread>> senders;
        for (int i = 0; i < 3; ++i) {
            senders.push_back(std::make_unique<observed_thread>([&] {
                for (;;) {
                    const status sent = client.send(payload);
                    if (sent) continue;
                    if (sent == errc::closed) woken.fetch_add(1);
                    break;
                }
            }));
        }
        ASSERT_TRUE(eventually([&] { return client.stats().sent.blocked > 0; }));
        for (const auto& one : senders)
            ASSERT_TRUE(one->is_asleep_soon());
        client.close();
        EXPECT_TRUE(eventually([&] { return woken.load() == 3; })) << woken.load();
    }
    EXPECT_EQ(client.stats().unexplained(), 0U);
}

TEST_F(blocking, Q10CloseWakesBlockedSenders) {
    const auto why_not = run_in_network_namespace({.loopback_shape = crawling_loopback},
                                                  close_under_blocked_senders);
    if (why_not) GTEST_SKIP() << *why_not;
}

}  // namespace

QUOIT_INSTANTIATE_ACCEPTANCE();

}  // namespace quoit::test
