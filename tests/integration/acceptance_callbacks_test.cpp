// SPDX-License-Identifier: MIT
//
// The acceptance cases of the callback protocol, P01-P05 (docs/testing.md; P08, timers, is with
// them).
#include "integration/acceptance_fixture.hpp"

#include <quoit/protocol.hpp>

#include <mutex>

namespace quoit::test {

namespace {

using quoit::errc;

// Writes down what it is called with; what else it does is for those derived from it.
class recorder : public datagram_protocol {
  public:
    std::vector<std::string> calls;

  protected:
    void started() override { calls.emplace_back("started"); }
    void datagram_received(datagram& received) override {
        calls.push_back("received " + received.to_string());
    }
    void connection_refused() override { calls.emplace_back("refused"); }
    void error_received(const error& why) override { calls.push_back("error " + why.message()); }
    void stopped() override { calls.emplace_back("stopped"); }
};

using lines = std::vector<std::string>;

// REQUIRES: the protocol outlives the task.
task<> wait_for_calls(const recorder& of, std::size_t count) {
    const give_up_time limit;
    while (of.calls.size() < count) {
        limit.check("callbacks");
        or_throw(co_await next_turn());
    }
}

// --- P01 ---

class greeter final : public recorder {
  public:
    explicit greeter(const address& whom) : whom_(whom) {}

  private:
    void started() override {
        recorder::started();
        // The transport works from here on.
        EXPECT_NE(transport().local_address().port(), 0);
        EXPECT_TRUE(transport().sendto("hello", whom_));
        EXPECT_TRUE(transport().sendto_pieces({"in ", "pieces"}, whom_));
    }
    void datagram_received(datagram& received) override {
        recorder::datagram_received(received);
        transport().reply(std::move(received));
    }
    address whom_;
};

task<> listen_and_stop(std::shared_ptr<greeter> protocol, const foreign_socket& peer) {
    for (int round = 0; round < 2; ++round) {
        protocol->calls.clear();
        auto port = or_throw(loop::current().listen_udp({"127.0.0.1", 0}, protocol));
        EXPECT_EQ(protocol->calls, lines{"started"});
        auto hello = co_await receive(peer);
        EXPECT_EQ(hello.payload, "hello");
        EXPECT_EQ(hello.from, port.local_address());
        auto pieces = co_await receive(peer);
        EXPECT_EQ(pieces.payload, "in pieces");
        const auto twice = loop::current().listen_udp({"127.0.0.1", 0}, protocol);
        expect_error(twice, errc::already_running);
        peer.sendto("first", port.local_address());
        auto echo = co_await receive(peer);
        EXPECT_EQ(echo.payload, "first");
        port.close();
        port.close();
        or_throw(co_await port.wait_closed());
        co_await wait_for_calls(*protocol, 3);
        EXPECT_EQ(protocol->calls, (lines{"started", "received first", "stopped"}));
        for (int i = 0; i < 3; ++i)
            or_throw(co_await next_turn());
        EXPECT_EQ(protocol->calls.size(), 3U);
        EXPECT_EQ(port.stats().unexplained(), 0U);
    }
}

TEST_P(acceptance,
       P01StartIsCalledOnceBeforeAnyDatagramAndStopOnceAfterAndAgainWhenListeningAgain) {
    const foreign_socket peer;
    run(listen_and_stop(std::make_shared<greeter>(peer.local()), peer));
}

TEST_P(acceptance, P01AProtocolListensBeforeTheLoopRunsAndIsStoppedWithItsLoop) {
    const foreign_socket peer;
    auto protocol = std::make_shared<greeter>(peer.local());
    {
        auto of_its_own = make_loop();
        ASSERT_TRUE(of_its_own.has_value());
        auto port = of_its_own->listen_udp({"127.0.0.1", 0}, protocol);
        ASSERT_TRUE(port.has_value());
        EXPECT_EQ(protocol->calls, lines{"started"});
        of_its_own->poll();
        EXPECT_EQ(protocol->calls, lines{"started"});
    }
    EXPECT_EQ(protocol->calls, (lines{"started", "stopped"}));
    EXPECT_TRUE(peer.try_receive().has_value());
}

TEST_P(acceptance, P01AProtocolWhoseLoopGoesBeforeItsFirstTurnIsStoppedToo) {
    const foreign_socket peer;
    auto protocol = std::make_shared<greeter>(peer.local());
    protocol_port port;
    {
        auto of_its_own = make_loop();
        ASSERT_TRUE(of_its_own.has_value());
        port = or_throw(of_its_own->listen_udp({"127.0.0.1", 0}, protocol));
    }
    EXPECT_EQ(protocol->calls, (lines{"started", "stopped"}));
    EXPECT_TRUE(port.is_closing());
    // It can be used again.
    EXPECT_TRUE(the_loop().listen_udp({"127.0.0.1", 0}, protocol).has_value());
}

TEST_P(acceptance, P01ListeningWhereItCannotBeDoneCallsNothing) {
    const foreign_socket taken;
    auto protocol = std::make_shared<recorder>();
    const auto used = the_loop().listen_udp(taken.local(), protocol);
    expect_error(used, std::errc::address_in_use);
    const auto nothing = the_loop().listen_udp({"127.0.0.1", 0}, nullptr);
    expect_error(nothing, errc::invalid_option);
    EXPECT_TRUE(protocol->calls.empty());
    const auto after_all = the_loop().listen_udp({"127.0.0.1", 0}, protocol);
    EXPECT_TRUE(after_all.has_value());
}

// --- P02 ---

class quitter final : public recorder {
    void started() override {
        recorder::started();
        transport().close();
        transport().close();
        calls.emplace_back("start ends");
    }
};

task<> close_inside_start() {
    auto protocol = std::make_shared<quitter>();
    auto port = or_throw(loop::current().listen_udp({"127.0.0.1", 0}, protocol));
    EXPECT_EQ(protocol->calls, (lines{"started", "start ends"}));
    co_await wait_for_calls(*protocol, 3);
    EXPECT_EQ(protocol->calls, (lines{"started", "start ends", "stopped"}));
}

TEST_P(acceptance, P02ClosingInsideStartStopsLaterAndNotInside) { run(close_inside_start()); }

class closes_when_told final : public recorder {
    void datagram_received(datagram& received) override {
        transport().close();
        recorder::datagram_received(received);
    }
};

task<> close_inside_a_datagram(const foreign_socket& peer) {
    auto protocol = std::make_shared<closes_when_told>();
    auto port = or_throw(loop::current().listen_udp({"127.0.0.1", 0}, protocol));
    peer.sendto("close", port.local_address());
    co_await wait_for_calls(*protocol, 3);
    EXPECT_EQ(protocol->calls, (lines{"started", "received close", "stopped"}));
}

TEST_P(acceptance, P02ClosingInsideADatagramStopsLaterAndNotInside) {
    const foreign_socket peer;
    run(close_inside_a_datagram(peer));
}

// --- P03 ---

std::mutex log_mutex;
lines logged;

void keep_log(log_level level, std::string_view line) noexcept {
    if (level < log_level::warning) return;
    const std::scoped_lock lock(log_mutex);
    logged.emplace_back(line);
}

class thrower final : public recorder {
    void datagram_received(datagram& received) override {
        if (received.text() != "third") throw std::runtime_error("not this one");
        recorder::datagram_received(received);
    }
};

task<> throw_twice(const foreign_socket& peer) {
    auto protocol = std::make_shared<thrower>();
    auto port = or_throw(loop::current().listen_udp({"127.0.0.1", 0}, protocol));
    for (const char* const text : {"first", "second", "third"})
        peer.sendto(text, port.local_address());
    co_await wait_for_calls(*protocol, 2);
    EXPECT_EQ(protocol->calls, (lines{"started", "received third"}));
    EXPECT_EQ(port.failure_count(), 2U);
}

TEST_P(acceptance, P03ACallbackThatThrowsTwiceIsLoggedTwiceAndTheThirdDatagramArrives) {
    const foreign_socket peer;
    {
        const std::scoped_lock lock(log_mutex);
        logged.clear();
    }
    auto logging = loop::create(
        {.backend = GetParam().backend, .worker_count = GetParam().worker_count, .log = keep_log});
    ASSERT_TRUE(logging.has_value());
    run_case(*logging, throw_twice(peer));
    const std::scoped_lock lock(log_mutex);
    ASSERT_EQ(logged.size(), 2U);
    for (const std::string& line : logged) {
        EXPECT_NE(line.find("not this one"), std::string::npos) << line;
        EXPECT_NE(line.find(peer.local().to_string()), std::string::npos) << line;
    }
}

// --- P05 ---

// Connected from started() on, as Twisted's example does it.
class caller final : public recorder {
  public:
    explicit caller(const address& whom) : whom_(whom) {}
    using recorder::transport;

  private:
    void started() override {
        recorder::started();
        EXPECT_TRUE(transport().connect(whom_));
        EXPECT_EQ(transport().connect(whom_), errc::already_connected);
        EXPECT_EQ(transport().peer_address(), whom_);
    }
    address whom_;
};

task<> be_refused_in_between() {
    auto peer = std::make_unique<foreign_socket>();
    const address there = peer->local();
    auto protocol = std::make_shared<caller>(there);
    auto port = or_throw(loop::current().listen_udp({"127.0.0.1", 0}, protocol));
    peer->sendto("one", port.local_address());
    peer->sendto("two", port.local_address());
    co_await wait_for_calls(*protocol, 3);
    peer.reset();
    protocol->transport().send("nobody hears this");
    co_await wait_for_calls(*protocol, 4);
    const foreign_socket again(there);
    again.sendto("three", port.local_address());
    co_await wait_for_calls(*protocol, 5);
    EXPECT_EQ(protocol->calls,
              (lines{"started", "received one", "received two", "refused", "received three"}));
    protocol->transport().send("heard");
    auto heard = co_await receive(again);
    EXPECT_EQ(heard.payload, "heard");
}

TEST_P(acceptance, P05TwoDatagramsARefusalAndAnotherDatagramAreToldInThatOrder) {
    run(be_refused_in_between());
}

// --- adopting ---

task<> adopt_a_descriptor() {
    const int descriptor = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socket_name name(address("127.0.0.1", 0));
    EXPECT_EQ(::bind(descriptor, name.get(), name.size), 0);
    const address bound = bound_address(descriptor);
    const foreign_socket peer;
    peer.sendto("sent before it was adopted", bound);
    auto protocol = std::make_shared<greeter>(peer.local());
    auto port = or_throw(loop::current().adopt_udp(descriptor, ownership::duplicate, protocol));
    ::close(descriptor);  // ours; the loop has its own
    EXPECT_EQ(port.local_address(), bound);
    auto hello = co_await receive(peer);
    EXPECT_EQ(hello.payload, "hello");
    auto pieces = co_await receive(peer);
    EXPECT_EQ(pieces.payload, "in pieces");
    auto echo = co_await receive(peer);
    EXPECT_EQ(echo.payload, "sent before it was adopted");
    const auto stale = loop::current().adopt_udp(-1, ownership::take, std::make_shared<recorder>());
    EXPECT_FALSE(stale.has_value());
}

TEST_P(acceptance, E20AProtocolListensOnAnAdoptedDescriptor) { run(adopt_a_descriptor()); }

}  // namespace

QUOIT_INSTANTIATE_ACCEPTANCE();

}  // namespace quoit::test
