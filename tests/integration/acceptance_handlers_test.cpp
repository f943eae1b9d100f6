// SPDX-License-Identifier: MIT
//
// The acceptance cases of handlers, S01-S22 (docs/testing.md; S20, request servers, is with the
// blocking surface), and what the table of peers promises.
#include "integration/acceptance_fixture.hpp"

#include <quoit/acceptor.hpp>
#include <quoit/background_service.hpp>
#include <quoit/service.hpp>

#include <functional>
#include <mutex>
#include <unordered_set>

namespace quoit::test {

namespace {

using quoit::errc;

using text_client = conversation<raw_codec>;

std::string upper(std::string text) {
    for (char& c : text) {
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    }
    return text;
}

// Lines that a loop logs; of one test at a time.
std::mutex log_mutex;
std::vector<std::string> logged;

void keep_log(log_level level, std::string_view line) noexcept {
    if (level < log_level::warning) return;
    const std::scoped_lock lock(log_mutex);
    logged.emplace_back(line);
}

std::vector<std::string> told;

void keep_serving(log_level level, std::string_view line) noexcept {
    if (level != log_level::info || line.find("serving on") == std::string_view::npos) return;
    const std::scoped_lock lock(log_mutex);
    told.emplace_back(line);
}

std::vector<std::string> take_log() {
    const std::scoped_lock lock(log_mutex);
    return std::exchange(logged, {});
}

// Serves until `client` has ended, then shuts down; what the client throws is thrown here.
task<> while_serving(udp_service_base& service, task<> client) {
    task_group serving;
    result<void> served;
    serving.spawn([&]() -> task<> { served = co_await service.serve_forever(); });
    or_throw(co_await service.open());
    std::exception_ptr thrown;
    try {
        co_await std::move(client);
    } catch (...) {
        thrown = std::current_exception();
    }
    or_throw(co_await service.shutdown(patiently));
    co_await serving.join();
    if (thrown) std::rethrow_exception(thrown);
    EXPECT_TRUE(served.has_value());
    EXPECT_EQ(service.peers().unexplained(), 0U);
    EXPECT_EQ(service.peers().waiting, 0U);
    EXPECT_EQ(service.peers().known, 0U);
}

// Sends `text`, expects `answer`. REQUIRES: the socket outlives the task.
task<> ask(const foreign_socket& from, const udp_service_base& service, std::string text,
           std::string answer) {
    const address where = service.addresses().front();
    from.sendto(text, where);
    const auto reply = co_await receive(from);
    EXPECT_EQ(reply.payload, answer);
    EXPECT_EQ(reply.from, where);
}

// Until the table has that many datagrams behind it.
task<> wait_until_received(const udp_service_base& service, std::uint64_t count) {
    const give_up_time limit;
    while (service.peers().received < count) {
        limit.check("datagrams to reach the table");
        or_throw(co_await next_turn());
    }
}

// --- S01 ---

task<> answer_in_capitals(text_client client) {
    while (auto request = co_await client.next())
        client.send(upper(*request));
}

task<> ask_for_capitals(udp_service_base& service) {
    const foreign_socket first;
    const foreign_socket second;
    co_await ask(first, service, "hello", "HELLO");
    co_await ask(second, service, "from another", "FROM ANOTHER");
    co_await ask(first, service, "again", "AGAIN");
    co_await ask(first, service, "", "");
}

task<> ask_for_capitals_and_count(udp_service_base& service) {
    co_await ask_for_capitals(service);
    EXPECT_EQ(service.peers().known, 2U);
}

task<> serve_capitals() {
    udp_service service({"127.0.0.1", 0}, raw_codec{}, answer_in_capitals);
    co_await while_serving(service, ask_for_capitals_and_count(service));
}

TEST_P(acceptance, S01AHandlerAnswersInCapitals) { run(serve_capitals()); }

// --- S02, S03 ---

class pair_handler final : public datagram_handler<raw_codec> {
  public:
    task<> handle(text_client client) override {
        const int number = ++started;
        auto first = co_await client.next();
        if (!first) co_return;
        client.send(std::to_string(number) + " first " + *first);
        auto second = co_await client.next();
        if (second) client.send(std::to_string(number) + " second " + *second);
    }
    int started = 0;
};

task<> ask_for_pairs(udp_service_base& service) {
    const foreign_socket peer;
    co_await ask(peer, service, "a", "1 first a");
    co_await ask(peer, service, "b", "1 second b");
    co_await ask(peer, service, "c", "2 first c");
    co_await ask(peer, service, "d", "2 second d");
}

task<> serve_pairs() {
    udp_service service({"127.0.0.1", 0}, raw_codec{}, pair_handler{});
    co_await while_serving(service, ask_for_pairs(service));
    EXPECT_EQ(service.handler().started, 2);
}

TEST_P(acceptance, S02ASecondDatagramGoesToTheHandlerThatWaits) { run(serve_pairs()); }
TEST_P(acceptance, S03ADatagramAfterItsEndStartsANewHandler) { run(serve_pairs()); }

// --- S04, S05 ---

// Waits to be told before it answers whoever says "slow".
class gate {
  public:
    future<> opened;
};

task<> answer_when_opened(gate& at, text_client client) {
    auto request = co_await client.next();
    if (request && request->starts_with("slow")) {
        const auto opened = co_await at.opened.wait(patiently);
        if (!opened) co_return;
    }
    while (request) {
        client.send("re: " + *request);
        request = co_await client.next();
    }
}

task<> send_nine(udp_service_base& service, gate& at) {
    const foreign_socket slow;
    for (int i = 1; i <= 9; ++i)
        slow.sendto("slow " + std::to_string(i), service.addresses().front());
    co_await wait_until_received(service, 9);
    const foreign_socket other;
    co_await ask(other, service, "quick", "re: quick");
    EXPECT_FALSE(slow.try_receive().has_value());
    at.opened.set_value();
    for (int i = 1; i <= 9; ++i) {
        const auto reply = co_await receive(slow);
        EXPECT_EQ(reply.payload, "re: slow " + std::to_string(i));
    }
}

task<> serve_the_slow() {
    gate at;
    auto handler = [&at](text_client client) { return answer_when_opened(at, std::move(client)); };
    udp_service service({"127.0.0.1", 0}, raw_codec{}, handler);
    co_await while_serving(service, send_nine(service, at));
}

TEST_P(acceptance, S04NineDatagramsThatCameWhileAHandlerSleptAreAnsweredInOrder) {
    run(serve_the_slow());
}
TEST_P(acceptance, S05ASlowPeerDoesNotDelayAnother) { run(serve_the_slow()); }

task<> fill_more_queues_than_there_are_buffers(udp_service_base& service, gate& at) {
    // Ten peers whose handlers sleep keep 600 datagrams; the receive buffers are 256.
    std::vector<std::unique_ptr<foreign_socket>> slow;
    for (int i = 0; i < 10; ++i)
        slow.push_back(std::make_unique<foreign_socket>());
    std::uint64_t sent = 0;
    for (int round = 0; round < 60; ++round) {
        for (const auto& one : slow)
            one->sendto("slow", service.addresses().front());
        sent += slow.size();
        co_await wait_until_received(service, sent);
    }
    const foreign_socket other;
    co_await ask(other, service, "quick", "re: quick");
    EXPECT_EQ(service.peers().dropped.queue_full, 0U);
    at.opened.set_value();
    for (int i = 0; i < 60; ++i) {
        const auto reply = co_await receive(*slow.front());
        EXPECT_EQ(reply.payload, "re: slow");
    }
}

task<> serve_many_that_are_slow() {
    gate at;
    auto handler = [&at](text_client client) { return answer_when_opened(at, std::move(client)); };
    udp_service service({"127.0.0.1", 0}, raw_codec{}, handler);
    co_await while_serving(service, fill_more_queues_than_there_are_buffers(service, at));
}

TEST_P(acceptance, S05SlowPeersWithMoreQueuedThanThereAreBuffersDelayNobody) {
    run(serve_many_that_are_slow());
}

// --- S06 to S08 ---

struct watched_codec {
    int* decoded = nullptr;
    result<int> decode(std::span<const std::byte> bytes) const {
        ++*decoded;
        const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        if (text == "bug") throw std::logic_error("the codec has a bug");
        if (text.empty() || text.find_first_not_of("0123456789") != std::string::npos) {
            return failure(errc::bad_datagram, "not a number");
        }
        return std::stoi(text);
    }
    void encode(int number, payload_buffer& out) const { out.append(std::to_string(number)); }
    void encode(const std::string& words, payload_buffer& out) const { out.append(words); }
};

task<> refuse_some(address banned, conversation<watched_codec> client) {
    if (client.peer() == banned) co_return;
    auto number = co_await client.next();
    if (number) client.send(*number + 1);
}

task<> ask_and_be_refused(udp_service_base& service, const foreign_socket& banned, int& decoded) {
    banned.sendto("1", service.addresses().front());
    banned.sendto("2", service.addresses().front());
    co_await wait_until_received(service, 2);
    const foreign_socket welcome;
    co_await ask(welcome, service, "41", "42");
    EXPECT_EQ(decoded, 1);
    EXPECT_FALSE(banned.try_receive().has_value());
    EXPECT_EQ(service.peers().discarded, 2U);
}

task<> serve_with_access_control() {
    int decoded = 0;
    const foreign_socket banned;
    auto handler = [from = banned.local()](conversation<watched_codec> client) {
        return refuse_some(from, std::move(client));
    };
    udp_service service({"127.0.0.1", 0}, watched_codec{&decoded}, handler);
    co_await while_serving(service, ask_and_be_refused(service, banned, decoded));
}

TEST_P(acceptance, S06AHandlerThatEndsBeforeItsFirstNextDiscardsTheDatagramUndecoded) {
    run(serve_with_access_control());
}

task<> explain_errors(conversation<watched_codec> client) {
    for (;;) {
        auto number = co_await client.next();
        if (number) {
            client.send(*number);
        } else if (number.error() == errc::bad_datagram) {
            client.send("parse error: " + number.error().message());
        } else if (number.error() == errc::codec_failed) {
            client.send("codec failed: " + number.error().message());
        } else {
            co_return;
        }
    }
}

task<> send_nonsense(udp_service_base& service) {
    const foreign_socket peer;
    peer.sendto("seven", service.addresses().front());
    const auto parse_error = co_await receive(peer);
    EXPECT_TRUE(parse_error.payload.starts_with("parse error: ")) << parse_error.payload;
    EXPECT_NE(parse_error.payload.find("not a number"), std::string::npos) << parse_error.payload;
    peer.sendto("bug", service.addresses().front());
    const auto crash = co_await receive(peer);
    EXPECT_TRUE(crash.payload.starts_with("codec failed: ")) << crash.payload;
    EXPECT_NE(crash.payload.find("the codec has a bug"), std::string::npos) << crash.payload;
    co_await ask(peer, service, "7", "7");
    EXPECT_EQ(service.peers().came, 1U);
}

task<> serve_nonsense() {
    int decoded = 0;
    udp_service service({"127.0.0.1", 0}, watched_codec{&decoded}, explain_errors);
    co_await while_serving(service, send_nonsense(service));
    EXPECT_EQ(decoded, 3);
}

TEST_P(acceptance, S07AnUndecodableDatagramIsAParseErrorAtTheAwaitAndTheHandlerGoesOn) {
    run(serve_nonsense());
}
TEST_P(acceptance, S08ABugOfTheCodecIsAnotherErrorWithItsCause) { run(serve_nonsense()); }

// --- S09 ---

task<> throw_at_bad_words(text_client client) {
    auto request = co_await client.next();
    if (request && *request == "bad") throw std::runtime_error("I cannot bear that word");
    if (request) client.send(*request);
}

task<> say_bad_words(udp_service_base& service, const foreign_socket& peer) {
    peer.sendto("bad", service.addresses().front());
    co_await wait_until_received(service, 1);
    co_await ask(peer, service, "good", "good");
}

task<> serve_bad_words(const foreign_socket& peer) {
    udp_service service({"127.0.0.1", 0}, raw_codec{}, throw_at_bad_words);
    co_await while_serving(service, say_bad_words(service, peer));
    EXPECT_EQ(service.failed_handler_count(), 1U);
}

TEST_P(acceptance, S09AHandlerThatThrowsIsLoggedOnceWithItsPeerWhichIsServedAgain) {
    static_cast<void>(take_log());
    const foreign_socket peer;
    auto logging = loop::create(
        {.backend = GetParam().backend, .worker_count = GetParam().worker_count, .log = keep_log});
    ASSERT_TRUE(logging.has_value());
    run_case(*logging, serve_bad_words(peer));
    const auto lines = take_log();
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_NE(lines.front().find("I cannot bear that word"), std::string::npos) << lines.front();
    EXPECT_NE(lines.front().find(peer.local().to_string()), std::string::npos) << lines.front();
}

// --- S10, S11 ---

task<> wait_in_several_ways(std::vector<std::string>& seen, text_client client) {
    const auto note = [&seen](std::string_view what, const result<std::string>& outcome) {
        seen.push_back(std::string(what) + ": " +
                       (outcome ? *outcome : outcome.error().code().message()));
    };
    auto first = co_await client.next({.timeout = 0s});
    note("first, polled", first);
    auto none = co_await client.next({.timeout = 0s});
    note("polled", none);
    auto in_a_moment = co_await client.next({.timeout = 1ms});
    note("a moment", in_a_moment);
    auto never = co_await client.next({.timeout = -1s});
    note("negative", never);
    client.send("go on");
    auto in_time = co_await client.next({.timeout = patience});
    note("in time", in_time);
    client.send("done");
}

task<> wait_for_the_end(udp_service_base& service) {
    const foreign_socket peer;
    co_await ask(peer, service, "hello", "go on");
    co_await ask(peer, service, "second", "done");
}

task<> serve_with_timeouts() {
    std::vector<std::string> seen;
    auto handler = [&seen](text_client client) {
        return wait_in_several_ways(seen, std::move(client));
    };
    udp_service service({"127.0.0.1", 0}, raw_codec{}, handler);
    co_await while_serving(service, wait_for_the_end(service));
    const std::vector<std::string> expected{"first, polled: hello", "polled: Timed out",
                                            "a moment: Timed out", "negative: Invalid option",
                                            "in time: second"};
    EXPECT_EQ(seen, expected);
}

TEST_P(acceptance, S10NextMayPollOrWaitForALimitedTime) { run(serve_with_timeouts()); }
TEST_P(acceptance, S11ANegativeLimitIsRefusedAndConsumesNothing) { run(serve_with_timeouts()); }

task<> say_when_idle(text_client client) {
    auto first = co_await client.next();
    auto second = co_await client.next();
    client.send(!second && second.error() == errc::timed_out ? "idle" : "not idle");
}

task<> be_idle(udp_service_base& service) {
    const foreign_socket peer;
    co_await ask(peer, service, "x", "idle");
}

task<> serve_the_idle() {
    udp_service service({"127.0.0.1", 0}, raw_codec{}, say_when_idle,
                        {.peers = {.idle_time_max = 2ms}});
    co_await while_serving(service, be_idle(service));
}

TEST_P(acceptance, S10WithoutALimitNextWaitsForTheIdleTimeOfTheService) { run(serve_the_idle()); }

// --- S12 ---

task<> keep_clients(std::vector<text_client>& kept, text_client client) {
    kept.push_back(client);
    const auto request = co_await client.next();
    client.send(request.value_or(""));
}

task<> come_twice(udp_service_base& service) {
    const foreign_socket one;
    const foreign_socket other;
    co_await ask(one, service, "a", "a");
    co_await ask(other, service, "b", "b");
    co_await ask(one, service, "c", "c");
}

task<> serve_and_compare() {
    std::vector<text_client> kept;
    auto handler = [&kept](text_client client) { return keep_clients(kept, std::move(client)); };
    udp_service service({"127.0.0.1", 0}, raw_codec{}, handler);
    co_await while_serving(service, come_twice(service));
    EXPECT_EQ(kept.size(), 3U);
    if (kept.size() != 3) co_return;
    EXPECT_EQ(kept[0], kept[2]);
    EXPECT_NE(kept[0], kept[1]);
    const std::hash<text_client> hash;
    EXPECT_EQ(hash(kept[0]), hash(kept[2]));
    const std::unordered_set<text_client> distinct(kept.begin(), kept.end());
    EXPECT_EQ(distinct.size(), 2U);
}

TEST_P(acceptance, S12ClientsAreComparedAndHashedByPeer) { run(serve_and_compare()); }

// --- S15, S16, S22 ---

struct ending {
    std::vector<text_client> clients;
    std::vector<std::string> order;
};

class recording_handler final : public datagram_handler<raw_codec> {
  public:
    explicit recording_handler(ending& into) : into_(&into) {}
    task<> handle(text_client client) override {
        ending& into = *into_;
        into.clients.push_back(client);
        const auto first = co_await client.next();
        client.send(first.value_or(""));
        const auto never = co_await client.next();
        into.order.emplace_back(never ? "handler: a datagram" : "handler ended");
        EXPECT_FALSE(never.has_value());
    }
    task<> service_started(task_group& background) override {
        into_->order.emplace_back("started");
        background.spawn(stay_until_cancelled(*into_));
        co_return;
    }
    task<> service_stopped() override {
        into_->order.emplace_back("stopped");
        for (auto& client : into_->clients) {
            EXPECT_TRUE(client.is_closing());
            EXPECT_EQ(client.send("too late"), errc::closed);
        }
        co_return;
    }

  private:
    static task<> stay_until_cancelled(ending& into) {
        const status slept = co_await quoit::sleep(1h);
        into.order.emplace_back(slept == errc::canceled ? "background ended" : "background slept");
    }
    ending* into_;
};

task<> come_once(udp_service_base& service) {
    const foreign_socket one;
    const foreign_socket other;
    co_await ask(one, service, "a", "a");
    co_await ask(other, service, "b", "b");
}

task<> serve_and_shut_down() {
    ending seen;
    udp_service service({"127.0.0.1", 0}, raw_codec{}, recording_handler{seen});
    co_await while_serving(service, come_once(service));
    const std::vector<std::string> expected{"started", "handler ended", "handler ended",
                                            "background ended", "stopped"};
    EXPECT_EQ(seen.order, expected);
    EXPECT_EQ(seen.clients.size(), 2U);
    for (auto& client : seen.clients) {
        EXPECT_TRUE(client.is_closing());
        EXPECT_EQ(client.send("too late"), errc::closed);
    }
    EXPECT_FALSE(service.is_serving());
    EXPECT_TRUE(service.is_listening());
}

TEST_P(acceptance, S15AfterShutdownEveryClientIsClosingAndSendSaysClosed) {
    run(serve_and_shut_down());
}

task<> live_through_everything() {
    udp_service service({"127.0.0.1", 0}, raw_codec{}, answer_in_capitals);
    EXPECT_FALSE(service.is_listening());
    const auto nothing_to_stop = co_await service.shutdown(patiently);
    EXPECT_TRUE(nothing_to_stop.has_value());
    or_throw(co_await service.open());
    or_throw(co_await service.open());
    EXPECT_TRUE(service.is_listening());
    EXPECT_FALSE(service.is_serving());
    const address where = service.addresses().front();
    for (int round = 0; round < 3; ++round) {
        co_await while_serving(service, ask_for_capitals(service));
        EXPECT_EQ(service.addresses().front(), where);
    }
    task_group serving;
    result<void> served = failure(errc::not_supported);
    serving.spawn([&]() -> task<> { served = co_await service.serve_forever(); });
    or_throw(co_await next_turn());
    EXPECT_TRUE(service.is_serving());
    const auto twice = co_await service.serve_forever();
    expect_error(twice, errc::already_running);
    // Ten at once, and none is left waiting.
    int ended = 0;
    {
        task_group shutting;
        for (int i = 0; i < 10; ++i) {
            shutting.spawn([&]() -> task<> {
                const auto outcome = co_await service.shutdown(patiently);
                if (outcome) ++ended;
            });
        }
        co_await shutting.join();
    }
    EXPECT_EQ(ended, 10);
    co_await serving.join();
    EXPECT_TRUE(served.has_value());

    served = failure(errc::not_supported);
    serving.spawn([&]() -> task<> { served = co_await service.serve_forever(); });
    or_throw(co_await next_turn());
    service.close();
    service.close();
    co_await serving.join();
    EXPECT_TRUE(served.has_value());
    EXPECT_FALSE(service.is_listening());
    const auto again = co_await service.serve_forever();
    expect_error(again, errc::closed);
    const auto reopened = co_await service.open();
    expect_error(reopened, errc::closed);
    const foreign_socket same_port(where);
    EXPECT_EQ(same_port.local(), where);
}

TEST_P(acceptance, S16ALifeOfServingShuttingDownAndClosingAnswersItsErrors) {
    run(live_through_everything());
}

task<> serve_where_it_cannot() {
    const foreign_socket taken;
    udp_service used(host_port(taken.local()), raw_codec{}, answer_in_capitals);
    const auto served = co_await used.serve_forever();
    expect_error(served, std::errc::address_in_use);
    EXPECT_FALSE(used.is_serving());
    udp_service odd({"127.0.0.1", 0}, raw_codec{}, answer_in_capitals,
                    {.peers = {.queue_per_peer_max = 0}});
    const auto refused = co_await odd.open();
    expect_error(refused, errc::invalid_option);
    EXPECT_NE(refused.error().message().find("queue_per_peer_max"), std::string::npos);
}

TEST_P(acceptance, S16WhatCannotServeSaysWhyAndIsNotServing) { run(serve_where_it_cannot()); }

task<> sleep_for_an_hour(text_client client) {
    const auto request = co_await client.next();
    client.send(request.value_or(""));
    static_cast<void>(co_await quoit::sleep(1h));
}

task<> shut_down_the_sleeping() {
    udp_service service({"127.0.0.1", 0}, raw_codec{}, sleep_for_an_hour);
    task_group serving;
    serving.spawn([&]() -> task<> { static_cast<void>(co_await service.serve_forever()); });
    or_throw(co_await service.open());
    const foreign_socket peer;
    co_await ask(peer, service, "x", "x");
    int turns = 0;
    bool is_over = false;
    serving.spawn([&]() -> task<> {
        while (!is_over) {
            ++turns;
            static_cast<void>(co_await next_turn());
        }
    });
    const auto outcome = co_await service.shutdown(patiently);
    is_over = true;
    EXPECT_TRUE(outcome.has_value());
    EXPECT_LE(turns, 20);
    co_await serving.join();
}

TEST_P(acceptance, S22ShutdownTakesAFewTurnsAndWaitsForNoTimer) { run(shut_down_the_sleeping()); }

task<> shut_down_from_inside(std::function<udp_service_base&()> service, status& heard,
                             text_client client) {
    static_cast<void>(co_await client.next());
    const auto outcome = co_await service().shutdown(patiently);
    heard = outcome;
}

task<> serve_until_a_handler_ends_it() {
    udp_service_base* self = nullptr;
    status heard;
    auto handler = [&](text_client client) {
        return shut_down_from_inside([&]() -> udp_service_base& { return *self; }, heard,
                                     std::move(client));
    };
    udp_service service({"127.0.0.1", 0}, raw_codec{}, handler);
    self = &service;
    or_throw(co_await service.open());
    const foreign_socket peer;
    peer.sendto("end it", service.addresses().front());
    or_throw(co_await service.serve_forever());
    EXPECT_EQ(heard, errc::canceled);
}

TEST_P(acceptance, S16AHandlerMayShutItsServiceDownAndIsCancelledItself) {
    run(serve_until_a_handler_ends_it());
}

task<> serve_and_be_told(std::string& where) {
    udp_service service({"127.0.0.1", 0}, raw_codec{}, answer_in_capitals);
    or_throw(co_await service.open());
    where = service.addresses().front().to_string();
    co_await while_serving(service, ask_for_capitals(service));
}

TEST_P(acceptance, S16TheLogIsToldWhereAServiceServesAndThatItNoLongerDoes) {
    told.clear();
    auto logging = loop::create({.backend = GetParam().backend,
                                 .worker_count = GetParam().worker_count,
                                 .log = keep_serving});
    ASSERT_TRUE(logging.has_value());
    std::string where;
    run_case(*logging, serve_and_be_told(where));
    const std::scoped_lock lock(log_mutex);
    EXPECT_EQ(told,
              (std::vector<std::string>{"serving on " + where, "no longer serving on " + where}));
}

// --- S17 ---

TEST_P(acceptance, S17AServiceInAThreadOfItsOwnIsUpWhenStartReturnsAndServesAgain) {
    udp_service service({"127.0.0.1", 0}, raw_codec{}, answer_in_capitals);
    for (int round = 0; round < 2; ++round) {
        auto running = background_service::start(
            service, {.backend = GetParam().backend, .worker_count = GetParam().worker_count});
        ASSERT_TRUE(running.has_value()) << running.error();
        EXPECT_TRUE(service.is_serving());
        run(ask_for_capitals(service));
        EXPECT_TRUE(running->join({.timeout = patience}));
        EXPECT_TRUE(running->join());
        EXPECT_FALSE(service.is_serving());
    }
    service.close();
    const auto closed = background_service::start(service);
    ASSERT_FALSE(closed.has_value());
    EXPECT_EQ(closed.error(), errc::closed);
}

// The first run ends by itself; what still holds it must not stop the second.
task<> end_the_service(udp_service_base& service, text_client client) {
    const auto request = co_await client.next();
    client.send(request.value_or(""));
    if (request && *request == "end") static_cast<void>(co_await service.shutdown(patiently));
    const auto more = co_await client.next();
    if (more) client.send(*more);
}

TEST_P(acceptance, S17ARunThatEndedByItselfDoesNotStopTheNext) {
    udp_service_base* self = nullptr;
    auto handler = [&](text_client client) { return end_the_service(*self, std::move(client)); };
    udp_service service({"127.0.0.1", 0}, raw_codec{}, handler);
    self = &service;
    const loop_options options{.backend = GetParam().backend,
                               .worker_count = GetParam().worker_count};
    auto running = background_service::start(service, options);
    ASSERT_TRUE(running.has_value()) << running.error();
    const foreign_socket peer;
    run(ask(peer, service, "end", "end"));
    const auto give_up_at = std::chrono::steady_clock::now() + patience;
    while (service.is_serving() && std::chrono::steady_clock::now() < give_up_at)
        std::this_thread::yield();
    EXPECT_FALSE(service.is_serving());
    EXPECT_TRUE(running->join({.timeout = patience}));
    EXPECT_FALSE(service.is_listening());
    auto again = background_service::start(service, options);
    ASSERT_TRUE(again.has_value()) << again.error();
    EXPECT_TRUE(running->join());
    running = std::move(again);
    EXPECT_TRUE(service.is_serving());
    run(ask(peer, service, "still here", "still here"));
    EXPECT_TRUE(running->join({.timeout = patience}));
}

task<> close_while_opening() {
    udp_service service({"localhost", 0}, raw_codec{}, answer_in_capitals,
                        {.socket = {.family = family::ipv4}});
    result<void> opened;
    {
        task_group opening;
        opening.spawn([&]() -> task<> { opened = co_await service.open(); });
        or_throw(co_await next_turn());
        service.close();
        co_await opening.join();
    }
    expect_error(opened, errc::closed);
    EXPECT_FALSE(service.is_listening());
}

TEST_P(acceptance, S16ClosingWhileANameIsLookedUpLeavesNothingOpen) { run(close_while_opening()); }

task<> open_twice_at_once() {
    udp_service service({"localhost", 0}, raw_codec{}, answer_in_capitals,
                        {.socket = {.family = family::ipv4}});
    {
        task_group opening;
        for (int i = 0; i < 2; ++i)
            opening.spawn([&]() -> task<> { or_throw(co_await service.open()); });
        co_await opening.join();
    }
    co_await while_serving(service, ask_for_capitals(service));
    const auto nonsense = co_await service.shutdown({.timeout = -1s});
    expect_error(nonsense, errc::invalid_option);
}

TEST_P(acceptance, S16OpeningTwiceAtOnceOpensOnce) { run(open_twice_at_once()); }

class slow_starter final : public datagram_handler<raw_codec> {
  public:
    task<> handle(text_client) override { co_return; }
    task<> service_started(task_group&) override { heard = co_await quoit::sleep(1h); }
    status heard;
};

task<> shut_down_while_starting() {
    udp_service service({"127.0.0.1", 0}, raw_codec{}, slow_starter{});
    task_group serving;
    serving.spawn([&]() -> task<> { or_throw(co_await service.serve_forever()); });
    or_throw(co_await next_turn());
    or_throw(co_await service.shutdown(patiently));
    co_await serving.join();
    EXPECT_EQ(service.handler().heard, errc::canceled);
}

TEST_P(acceptance, S22ShutdownReachesAStartThatTakesItsTime) { run(shut_down_while_starting()); }

task<> throw_in_the_background() {
    class thrower final : public datagram_handler<raw_codec> {
      public:
        explicit thrower(bool& stopped) : stopped_(&stopped) {}
        task<> handle(text_client client) override { return answer_in_capitals(client); }
        task<> service_started(task_group& background) override {
            background.spawn(fail());
            co_return;
        }
        task<> service_stopped() override {
            *stopped_ = true;
            co_return;
        }

      private:
        static task<> fail() {
            throw std::runtime_error("in the background");
            co_return;
        }
        bool* stopped_;
    };
    bool is_stopped = false;
    std::string thrown;
    udp_service service({"127.0.0.1", 0}, raw_codec{}, thrower{is_stopped});
    task_group serving;
    serving.spawn([&]() -> task<> {
        try {
            static_cast<void>(co_await service.serve_forever());
        } catch (const std::exception& e) {
            thrown = e.what();
        }
    });
    or_throw(co_await service.open());
    co_await ask_for_capitals(service);
    service.close();
    co_await serving.join();
    EXPECT_EQ(thrown, "in the background");
    EXPECT_TRUE(is_stopped);
    EXPECT_FALSE(service.is_listening());
    EXPECT_TRUE(service.stats().received.taken > 0);
}

TEST_P(acceptance, S16ABackgroundTaskThatThrowsEndsNothingAndIsToldInTheEnd) {
    run(throw_in_the_background());
}

// --- S18 ---

task<> send_before_serving() {
    udp_service service({"127.0.0.1", 0}, raw_codec{}, answer_in_capitals);
    or_throw(co_await service.open());
    const foreign_socket peer;
    for (int i = 0; i < 20; ++i)
        peer.sendto("early " + std::to_string(i), service.addresses().front());
    for (int i = 0; i < 5; ++i)
        or_throw(co_await next_turn());
    task_group serving;
    serving.spawn([&]() -> task<> { static_cast<void>(co_await service.serve_forever()); });
    for (int i = 0; i < 20; ++i) {
        const auto reply = co_await receive(peer);
        EXPECT_EQ(reply.payload, "EARLY " + std::to_string(i));
    }
    or_throw(co_await service.shutdown(patiently));
    co_await serving.join();
}

TEST_P(acceptance, S18DatagramsThatCameBeforeServingAreHandledFirst) { run(send_before_serving()); }

// --- the table of peers ---

// From addresses of 127.0.0.0/8, all of which are this host's: forged ones would look the same.
task<> come_from_many_addresses(udp_service_base& service, std::uint32_t count,
                                std::uint64_t& known_max) {
    for (std::uint32_t i = 0; i < count; ++i) {
        const auto octet = [i](unsigned shift) { return static_cast<std::uint8_t>(i >> shift); };
        const foreign_socket one(address(ip::v4({127, 1, octet(8), octet(0)}), 0));
        one.sendto("x", service.addresses().front());
        if (i % 16 == 0) co_await wait_until_received(service, i);
        known_max = std::max(known_max, service.peers().known);
    }
    co_await wait_until_received(service, count);
}

task<> stay_for_good(int& running, text_client client) {
    class counted {
      public:
        explicit counted(int& of) : of_(of) { ++of_; }
        ~counted() { --of_; }

      private:
        int& of_;
    };
    const counted here(running);
    while (auto request = co_await client.next())
        client.send(*request);
}

task<> serve_more_than_there_is_room_for() {
    int running = 0;
    std::uint64_t known_max = 0;
    auto handler = [&](text_client client) { return stay_for_good(running, std::move(client)); };
    udp_service service({"127.0.0.1", 0}, raw_codec{}, handler, {.peers = {.peers_max = 50}});
    const foreign_socket latest;
    auto client = [&]() -> task<> {
        co_await come_from_many_addresses(service, 1000, known_max);
        co_await ask(latest, service, "still there?", "still there?");
        EXPECT_LE(running, 50);
    };
    co_await while_serving(service, client());
    EXPECT_EQ(known_max, 50U);
    EXPECT_EQ(service.peers().came, 1001U);
    EXPECT_EQ(service.peers().forgotten, 951U);
    EXPECT_EQ(running, 0);
}

TEST_P(acceptance, S32TheTableForgetsTheIdlestAndStaysAsSmallAsItIsTold) {
    run(serve_more_than_there_is_room_for());
}

task<> serve_those_who_came_first() {
    std::uint64_t known_max = 0;
    int running = 0;
    auto handler = [&](text_client client) { return stay_for_good(running, std::move(client)); };
    udp_service service({"127.0.0.1", 0}, raw_codec{}, handler,
                        {.peers = {.peers_max = 10, .on_crowded = when_crowded::drop_newcomer}});
    const foreign_socket first;
    auto client = [&]() -> task<> {
        co_await ask(first, service, "a", "a");
        co_await come_from_many_addresses(service, 100, known_max);
        co_await ask(first, service, "b", "b");
    };
    co_await while_serving(service, client());
    EXPECT_EQ(known_max, 10U);
    EXPECT_EQ(service.peers().came, 10U);
    EXPECT_EQ(service.peers().dropped.crowded, 91U);
    EXPECT_EQ(service.peers().forgotten, 0U);
}

TEST_P(acceptance, S32OrItDropsTheNewcomerAndKeepsWhomItKnows) {
    run(serve_those_who_came_first());
}

task<> overfill_one_queue(udp_service_base& service, gate& at) {
    const foreign_socket slow;
    for (int i = 0; i < 20; ++i) {
        slow.sendto("slow " + std::to_string(i), service.addresses().front());
        if (i == 0) co_await wait_until_received(service, 1);
        if (i == 0) or_throw(co_await next_turn());
    }
    co_await wait_until_received(service, 20);
    EXPECT_EQ(service.peers().dropped.queue_full, 20U - 1U - 4U);
    at.opened.set_value();
    for (int i = 0; i < 5; ++i) {
        const auto reply = co_await receive(slow);
        EXPECT_EQ(reply.payload, "re: slow " + std::to_string(i));
    }
}

task<> serve_an_overfull_queue() {
    gate at;
    auto handler = [&at](text_client client) { return answer_when_opened(at, std::move(client)); };
    udp_service service({"127.0.0.1", 0}, raw_codec{}, handler,
                        {.peers = {.queue_per_peer_max = 4}});
    co_await while_serving(service, overfill_one_queue(service, at));
}

TEST_P(acceptance, S32APeersQueueIsBoundedAndWhatItHasNoRoomForIsCounted) {
    run(serve_an_overfull_queue());
}

// --- accept() ---

task<> echo_on(udp_connection peer, int& ended) {
    for (;;) {
        auto request = co_await peer.read();
        if (!request) break;
        peer.send(request->payload());
        if (request->text() == "bye") break;
    }
    ++ended;
}

task<> accept_two() {
    auto server = co_await listen();
    udp_acceptor peers(std::move(server));
    const foreign_socket one;
    const foreign_socket other;
    one.sendto("one", peers.local_address());
    auto first = or_throw(co_await peers.accept(patiently));
    EXPECT_EQ(first.peer_address(), one.local());
    EXPECT_EQ(first.local_address(), peers.local_address());
    other.sendto("other", peers.local_address());
    auto second = or_throw(co_await peers.accept(patiently));
    EXPECT_EQ(second.peer_address(), other.local());

    // Each hears its own peer only, in order.
    other.sendto("other again", peers.local_address());
    one.sendto("one again", peers.local_address());
    auto a = co_await first.read(patiently);
    expect_text(a, "one");
    auto b = co_await first.read(patiently);
    expect_text(b, "one again");
    auto c = co_await second.read(patiently);
    expect_text(c, "other");
    auto d = co_await second.read(patiently);
    expect_text(d, "other again");
    const auto none = co_await first.read({.timeout = 0s});
    expect_error(none, errc::timed_out);
    EXPECT_TRUE(first.send("to one"));
    const auto reply = co_await receive(one);
    EXPECT_EQ(reply.payload, "to one");
    EXPECT_EQ(reply.from, peers.local_address());

    // A closed connection's peer comes anew.
    first.close();
    EXPECT_EQ(first.send("x"), errc::closed);
    const auto closed = co_await first.read();
    expect_error(closed, errc::closed);
    one.sendto("back again", peers.local_address());
    auto third = or_throw(co_await peers.accept(patiently));
    EXPECT_EQ(third.peer_address(), one.local());
    auto e = co_await third.read(patiently);
    expect_text(e, "back again");

    // Closing lets what was received be read, then everything ends.
    other.sendto("last words", peers.local_address());
    const give_up_time limit;
    while (peers.peers().waiting == 0) {
        limit.check("a datagram to reach its connection");
        or_throw(co_await next_turn());
    }
    peers.close();
    auto last = co_await second.read(patiently);
    expect_text(last, "last words");
    const auto end = co_await second.read(patiently);
    expect_error(end, errc::closed);
    const auto nobody = co_await peers.accept();
    expect_error(nobody, errc::closed);
    or_throw(co_await peers.wait_closed());
    EXPECT_EQ(peers.peers().unexplained(), 0U);
}

TEST_P(acceptance, S59AcceptGivesAnEndpointForEachPeer) { run(accept_two()); }

task<> accept_and_echo(udp_acceptor& peers, int& ended) {
    task_group talks;
    while (auto peer = co_await peers.accept())
        talks.spawn(echo_on(std::move(*peer), ended));
    co_await talks.join();
}

task<> accept_many() {
    auto server = co_await listen();
    udp_acceptor peers(std::move(server));
    int ended = 0;
    task_group accepting;
    accepting.spawn(accept_and_echo(peers, ended));
    std::vector<std::unique_ptr<foreign_socket>> clients;
    for (int i = 0; i < 50; ++i)
        clients.push_back(std::make_unique<foreign_socket>());
    for (int round = 0; round < 4; ++round) {
        for (std::size_t i = 0; i < clients.size(); ++i) {
            const std::string text = std::to_string(i) + " in " + std::to_string(round);
            clients[i]->sendto(text, peers.local_address());
            const auto reply = co_await receive(*clients[i]);
            EXPECT_EQ(reply.payload, text);
        }
    }
    EXPECT_EQ(peers.peers().known, 50U);
    clients.front()->sendto("bye", peers.local_address());
    const auto bye = co_await receive(*clients.front());
    EXPECT_EQ(bye.payload, "bye");
    EXPECT_EQ(peers.peers().known, 49U);
    peers.close();
    co_await accepting.join();
    EXPECT_EQ(ended, 50);
}

TEST_P(acceptance, S59ManyConnectionsShareOneSocket) { run(accept_many()); }

task<> accept_and_lose() {
    auto server = co_await listen();
    udp_connection kept;
    {
        udp_acceptor peers(std::move(server));
        const foreign_socket one;
        one.sendto("one", peers.local_address());
        kept = or_throw(co_await peers.accept(patiently));
    }
    EXPECT_TRUE(kept.is_closing());
    EXPECT_EQ(kept.send("x"), errc::closed);
    auto text = co_await kept.read();
    expect_text(text, "one");
    const auto end = co_await kept.read();
    expect_error(end, errc::closed);
}

TEST_P(acceptance, S59AnAcceptorEndsWithTheTaskItsLoopRan) {
    std::optional<udp_acceptor> peers;
    const auto open = [&]() -> task<> {
        auto server = co_await listen();
        peers.emplace(std::move(server));
        const auto nobody = co_await peers->accept({.timeout = 0s});
        expect_error(nobody, errc::timed_out);
    };
    run(open());
    EXPECT_TRUE(peers->is_closing());
    const auto accept = [&]() -> task<> {
        const auto closed = co_await peers->accept();
        expect_error(closed, errc::closed);
    };
    run(accept());
}

TEST_P(acceptance, S59AConnectionOutlivesItsAcceptorAndIsClosed) { run(accept_and_lose()); }

}  // namespace

QUOIT_INSTANTIATE_ACCEPTANCE();

}  // namespace quoit::test
