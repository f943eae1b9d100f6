// SPDX-License-Identifier: MIT
//
// request_server: its hooks, its life cycle, its threads.
#include <quoit/request_server.hpp>
#include <quoit/sync.hpp>

#include "api/blocking_support.hpp"

#include <map>
#include <set>

namespace quoit::test {

namespace {

// What the handlers and hooks of the running test have done, in order.
class journal {
  public:
    void add(std::string what) {
        const std::scoped_lock lock(mutex_);
        lines_.push_back(std::move(what));
    }
    [[nodiscard]] std::vector<std::string> take() {
        const std::scoped_lock lock(mutex_);
        return std::exchange(lines_, {});
    }

  private:
    std::mutex mutex_;
    std::vector<std::string> lines_;
};
journal did;

using lines = std::vector<std::string>;

[[nodiscard]] std::string what_of(const std::exception_ptr& thrown) {
    try {
        std::rethrow_exception(thrown);
    } catch (const std::exception& e) {
        return e.what();
    } catch (...) {
        return "no std::exception";
    }
}

// Throws in the step that the text names, and replies unless told to be silent.
class telling final : public request_handler {
  public:
    void setup(request& one) override { step("setup", one); }
    void handle(request& one) override {
        step("handle", one);
        if (one.text() == "throw an int") throw 1;
        if (one.text() != "silent") one.reply("re: " + std::string(one.text()));
    }
    void finish(request& one) override { step("finish", one); }

  private:
    static void step(const char* name, const request& one) {
        did.add(name);
        if (one.text() == std::string("throw in ") + name) {
            throw std::runtime_error(std::string(name) + " failed");
        }
    }
};

class telling_server final : public request_server<telling> {
  public:
    explicit telling_server(const request_server_options& options = {},
                            host_port where = {"127.0.0.1", 0})
        : request_server(where, options) {}
    ~telling_server() override { close(); }

  protected:
    bool verify(const request& one) override {
        if (one.text() == "throw in verify") throw std::runtime_error("verify failed");
        return !one.text().starts_with("!");
    }
    void on_error(const request& one, std::exception_ptr thrown) override {
        did.add("error: " + what_of(thrown));
        if (one.text() == "throw in finish") throw std::runtime_error("on_error failed");
    }
    void on_timeout() override { did.add("timeout"); }
    void service_actions() override { did.add("service"); }
};

std::vector<std::string> logged;
std::mutex logged_mutex;
void keep_line(log_level /*level*/, std::string_view line) noexcept {
    const std::scoped_lock lock(logged_mutex);
    logged.emplace_back(line);
}

class request_server_case : public blocking_case {
  protected:
    void SetUp() override {
        (void)did.take();
        logged.clear();
    }
    // Opened, with a client.
    template <class Server>
    [[nodiscard]] static sync::udp_client client_of(Server& server) {
        or_throw(server.open());
        return or_throw(sync::open_udp_connection(server.local_address()));
    }
};

// --- one request ---

TEST_F(request_server_case, AHandlerIsSetUpHandlesAndFinishes) {
    telling_server server;
    auto client = client_of(server);
    ASSERT_TRUE(client.send("hello"));
    ASSERT_TRUE(server.handle_request());
    expect_text(client.read(patiently), "re: hello");
    EXPECT_EQ(did.take(), (lines{"setup", "handle", "finish"}));
    EXPECT_EQ(server.counts().handled, 1U);
    EXPECT_EQ(server.stats().unexplained(), 0U);
}

TEST_F(request_server_case, NothingIsSentUnlessTheHandlerReplies) {
    telling_server server;
    auto client = client_of(server);
    ASSERT_TRUE(client.send("silent"));
    ASSERT_TRUE(server.handle_request());
    expect_error(client.read({.timeout = 0s}), errc::timed_out);
    EXPECT_EQ(server.stats().sent.accepted, 0U);
}

TEST_F(request_server_case, WhatIsNotVerifiedSeesNoHandler) {
    telling_server server;
    auto client = client_of(server);
    ASSERT_TRUE(client.send("!no"));
    ASSERT_TRUE(server.handle_request());
    EXPECT_EQ(did.take(), lines{});
    EXPECT_EQ(server.counts().rejected, 1U);
    EXPECT_EQ(server.counts().handled, 0U);
}

TEST_F(request_server_case, FinishRunsAfterAnExceptionAndTheErrorIsReported) {
    telling_server server;
    auto client = client_of(server);
    ASSERT_TRUE(client.send("throw in handle"));
    ASSERT_TRUE(server.handle_request());
    EXPECT_EQ(did.take(), (lines{"setup", "handle", "error: handle failed", "finish"}));
    ASSERT_TRUE(client.send("throw in setup"));
    ASSERT_TRUE(server.handle_request());
    EXPECT_EQ(did.take(), (lines{"setup", "error: setup failed"}));
    ASSERT_TRUE(client.send("throw in verify"));
    ASSERT_TRUE(server.handle_request());
    EXPECT_EQ(did.take(), (lines{"error: verify failed"}));
    ASSERT_TRUE(client.send("throw an int"));
    ASSERT_TRUE(server.handle_request());
    EXPECT_EQ(did.take(), (lines{"setup", "handle", "error: no std::exception", "finish"}));
    EXPECT_EQ(server.counts().failed, 4U);
    EXPECT_EQ(server.counts().handled, 3U);
}

TEST_F(request_server_case, AnErrorInOnErrorIsLogged) {
    telling_server server({.log = keep_line});
    auto client = client_of(server);
    ASSERT_TRUE(client.send("throw in finish"));
    ASSERT_TRUE(server.handle_request());
    EXPECT_EQ(logged, lines{"on_error of a request server: on_error failed"});
    expect_text(client.read(patiently), "re: throw in finish");
}

TEST_F(request_server_case, ByDefaultAnErrorIsLoggedWithThePeer) {
    request_server<telling> server({"127.0.0.1", 0}, {.log = keep_line});
    auto client = client_of(server);
    ASSERT_TRUE(client.send("throw in handle"));
    ASSERT_TRUE(server.handle_request());
    EXPECT_EQ(logged,
              lines{"request from " + client.local_address().to_string() + ": handle failed"});
}

class never_made final : public request_handler {
  public:
    never_made() { throw std::runtime_error("cannot be made"); }
    void handle(request& /*one*/) override {}
};

TEST_F(request_server_case, AHandlerThatCannotBeMadeIsAnErrorToo) {
    request_server<never_made> server({"127.0.0.1", 0}, {.log = keep_line});
    auto client = client_of(server);
    ASSERT_TRUE(client.send("x"));
    ASSERT_TRUE(server.handle_request());
    ASSERT_EQ(logged.size(), 1U);
    EXPECT_TRUE(logged.front().ends_with("cannot be made")) << logged.front();
    EXPECT_EQ(server.counts().failed, 1U);
}

TEST_F(request_server_case, AFirstRequestThatDoesNotComeIsATimeout) {
    telling_server server({.timeout = 1ms});
    expect_error(server.handle_request(), errc::timed_out);
    EXPECT_EQ(did.take(), lines{"timeout"});
    telling_server polling({.timeout = 0s});
    expect_error(polling.handle_request(), errc::timed_out);
    auto client = client_of(polling);
    ASSERT_TRUE(client.send("now"));
    EXPECT_TRUE(polling.handle_request());
}

TEST_F(request_server_case, DatagramsThatCameBeforeServingAreHandled) {
    telling_server server;
    auto client = client_of(server);
    for (const char* const text : {"a", "b", "c"})
        ASSERT_TRUE(client.send(std::string_view(text)));
    observed_thread serving([&] { or_throw(server.serve_forever()); });
    for (const char* const text : {"re: a", "re: b", "re: c"})
        expect_text(client.read(patiently), text);
    ASSERT_TRUE(server.shutdown(patiently));
}

// --- life ---

TEST_F(request_server_case, BadOptionsAreNamed) {
    const auto refused = [](const request_server_options& options) {
        telling_server server(options);
        const auto opened = server.open();
        EXPECT_TRUE(!opened && opened.error() == errc::invalid_option);
        return opened ? std::string() : opened.error().message();
    };
    EXPECT_NE(refused({.threads = 1025}).find("threads"), std::string::npos);
    EXPECT_NE(refused({.queue_size_max = 65'537}).find("queue_size_max"), std::string::npos);
    EXPECT_NE(refused({.timeout = -1s}).find("timeout"), std::string::npos);
    EXPECT_NE(refused({.log = nullptr}).find("log"), std::string::npos);
    EXPECT_NE(refused({.socket = {.payload_size_max = 0}}).find("payload_size_max"),
              std::string::npos);
    telling_server nowhere({}, host_port("no port"));
    expect_error(nowhere.open(), errc::invalid_address);
    telling_server server;
    expect_error(server.shutdown({.timeout = -1s}), errc::invalid_option);
}

TEST_F(request_server_case, AUsedPortIsAnErrorThatNamesTheAddress) {
    telling_server first;
    or_throw(first.open());
    EXPECT_TRUE(first.open());
    telling_server second({}, first.local_address());
    const auto refused = second.serve_forever();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message(),
              "listen " + first.local_address().to_string() + ": Address already in use");
}

TEST_F(request_server_case, ItServesAgainAfterShutdown) {
    telling_server server;
    auto client = client_of(server);
    for (int i = 0; i < 3; ++i) {
        observed_thread serving([&] { or_throw(server.serve_forever()); });
        ASSERT_TRUE(client.send("hello"));
        expect_text(client.read(patiently), "re: hello");
        EXPECT_TRUE(server.is_serving());
        ASSERT_TRUE(server.shutdown(patiently));
        EXPECT_FALSE(server.is_serving());
    }
    EXPECT_TRUE(server.shutdown());  // nobody serves
}

TEST_F(request_server_case, OneThreadServesAtATime) {
    telling_server server;
    observed_thread serving([&] { or_throw(server.serve_forever()); });
    ASSERT_TRUE(eventually([&] { return server.is_serving(); }));
    expect_error(server.serve_forever(), errc::already_running);
    expect_error(server.handle_request(), errc::already_running);
    EXPECT_TRUE(server.shutdown(patiently));
}

TEST_F(request_server_case, TenShutdownsAtOnceAllSucceed) {
    telling_server server;
    observed_thread serving([&] { or_throw(server.serve_forever()); });
    ASSERT_TRUE(eventually([&] { return server.is_serving(); }));
    ASSERT_TRUE(serving.is_asleep_soon());
    std::atomic<int> succeeded{0};
    {
        std::vector<std::unique_ptr<observed_thread>> threads;
        for (int i = 0; i < 10; ++i) {
            threads.push_back(std::make_unique<observed_thread>([&] {
                if (server.shutdown(patiently)) succeeded.fetch_add(1);
            }));
        }
    }
    EXPECT_EQ(succeeded.load(), 10);
}

TEST_F(request_server_case, CloseEndsServingForGood) {
    telling_server server;
    or_throw(server.open());
    const address where = server.local_address();
    observed_thread serving([&] { or_throw(server.serve_forever()); });
    ASSERT_TRUE(serving.is_asleep_soon());
    server.close();
    server.close();
    EXPECT_FALSE(server.is_serving());
    EXPECT_TRUE(sync::start_udp_server(where).has_value());
    expect_error(server.serve_forever(), errc::closed);
    expect_error(server.handle_request(), errc::closed);
    expect_error(server.open(), errc::closed);
}

TEST_F(request_server_case, ShutdownEndsAHandleRequestThatWaits) {
    telling_server server;
    or_throw(server.open());
    observed_thread serving([&] { expect_error(server.handle_request(), errc::canceled); });
    ASSERT_TRUE(serving.is_asleep_soon());
    EXPECT_TRUE(server.shutdown(patiently));
    serving.join();
    // What is left of being woken does not disturb the next one.
    auto client = client_of(server);
    ASSERT_TRUE(client.send("hello"));
    EXPECT_TRUE(server.handle_request());
}

TEST_F(request_server_case, AStopTokenStopsEvenWhatHasNotBegun) {
    telling_server server;
    std::stop_source stop;
    stop.request_stop();
    EXPECT_TRUE(server.serve_forever(stop.get_token()));
    std::jthread serving(
        [&](const std::stop_token& asked) { or_throw(server.serve_forever(asked)); });
    auto client = client_of(server);
    ASSERT_TRUE(client.send("hello"));
    expect_text(client.read(patiently), "re: hello");
}

// Asks for the shutdown of the server that runs it.
request_server_base* to_shut_down = nullptr;
class shutting_down final : public request_handler {
  public:
    void handle(request& one) override {
        or_throw(to_shut_down->shutdown());
        one.reply("asked");
    }
};

void shut_down_from_a_handler(std::uint32_t threads) {
    request_server<shutting_down> server({"127.0.0.1", 0}, {.threads = threads});
    or_throw(server.open());
    to_shut_down = &server;
    auto client = or_throw(sync::open_udp_connection(server.local_address()));
    ASSERT_TRUE(client.send("enough"));
    ASSERT_TRUE(server.serve_forever());
    expect_text(client.read(patiently), "asked");
}

TEST_F(request_server_case, AHandlerMayAskForTheShutdownOfItsServer) {
    shut_down_from_a_handler(0);
    shut_down_from_a_handler(2);
}

TEST_F(request_server_case, ServiceActionsRunAfterEachDatagramAndEachTimeout) {
    telling_server server({.timeout = 1ms});
    auto client = client_of(server);
    ASSERT_TRUE(client.send("!no"));
    observed_thread serving([&] { or_throw(server.serve_forever()); });
    lines seen;
    EXPECT_TRUE(eventually([&] {
        for (std::string& one : did.take())
            seen.push_back(std::move(one));
        return seen.size() >= 3;
    }));
    ASSERT_TRUE(server.shutdown(patiently));
    seen.resize(3);
    EXPECT_EQ(seen, (lines{"service", "timeout", "service"}));
}

// --- threads ---

// Handled at the same time, by peer.
std::mutex peers_mutex;
std::map<address, std::string> heard_by_peer;
std::set<address> in_hand;
std::atomic<int> overlaps{0};

class careful final : public request_handler {
  public:
    void setup(request& one) override {
        const std::scoped_lock lock(peers_mutex);
        if (!in_hand.insert(one.peer()).second) overlaps.fetch_add(1);
    }
    void handle(request& one) override {
        std::this_thread::yield();
        const std::scoped_lock lock(peers_mutex);
        heard_by_peer[one.peer()] += one.text();
    }
    void finish(request& one) override {
        const std::scoped_lock lock(peers_mutex);
        in_hand.erase(one.peer());
    }
};

TEST_F(request_server_case, ThePoolKeepsEachPeersOrder) {
    heard_by_peer.clear();
    // Queues of one, so that the server has to wait for room.
    request_server<careful> server({"127.0.0.1", 0}, {.threads = 3, .queue_size_max = 1});
    or_throw(server.open());
    std::vector<sync::udp_client> clients;
    for (int i = 0; i < 8; ++i)
        clients.push_back(or_throw(sync::open_udp_connection(server.local_address())));
    observed_thread serving([&] { or_throw(server.serve_forever()); });
    const std::string letters = "abcdefghijklmnopqrstuvwxyz";
    for (const char& letter : letters) {
        for (auto& client : clients)
            ASSERT_TRUE(client.send(byte_view(&letter, 1)));
    }
    EXPECT_TRUE(eventually([&] { return server.counts().handled == 8 * letters.size(); }));
    ASSERT_TRUE(server.shutdown(patiently));
    EXPECT_EQ(heard_by_peer.size(), 8U);
    for (const auto& [peer, heard] : heard_by_peer)
        EXPECT_EQ(heard, letters) << peer;
    EXPECT_EQ(overlaps.load(), 0);
}

std::promise<void>* slow_may_go_on = nullptr;
std::atomic<bool> slow_is_in{false};
class slow_or_quick final : public request_handler {
  public:
    void handle(request& one) override {
        if (one.text() == "slow") {
            slow_is_in.store(true);
            slow_may_go_on->get_future().wait();
        }
        one.reply(one.payload());
    }
};

TEST_F(request_server_case, ASlowHandlerDoesNotDelayAPeerOfAnotherThread) {
    std::promise<void> go_on;
    slow_may_go_on = &go_on;
    slow_is_in.store(false);
    constexpr std::uint32_t threads = 2;
    request_server<slow_or_quick> server({"127.0.0.1", 0}, {.threads = threads});
    auto slow = client_of(server);
    observed_thread serving([&] { or_throw(server.serve_forever()); });
    ASSERT_TRUE(slow.send("slow"));
    ASSERT_TRUE(eventually([] { return slow_is_in.load(); }));
    // Which thread a peer has is its address's affair: of many, some have the other one.
    std::vector<sync::udp_client> quick;
    for (int i = 0; i < 32; ++i) {
        quick.push_back(or_throw(sync::open_udp_connection(server.local_address())));
        ASSERT_TRUE(quick.back().send("quick"));
    }
    EXPECT_TRUE(eventually([&] { return server.counts().handled > 0; }));
    // Who leaves waits for what was taken.
    expect_error(server.shutdown({.timeout = 1ms}), errc::timed_out);
    go_on.set_value();
    EXPECT_TRUE(server.shutdown(patiently));
    expect_text(slow.read(patiently), "slow");
}

}  // namespace

}  // namespace quoit::test
