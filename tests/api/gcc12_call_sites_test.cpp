// SPDX-License-Identifier: MIT
//
// The ways of writing an await that GCC 12 is known to break, or to come close to breaking, with
// the types of this library. What stands here is supported; the test is of most use under
// AddressSanitizer, which sees what is destroyed twice. What is not supported, on GCC 12:
//
//   - a temporary of an aggregate with a destructor in an expression with co_await;
//   - a capturing lambda written inside such an expression (give it a name, or spawn() it in a
//     statement of its own);
//   - co_await in a braced initialiser or in a lambda's capture;
//   - a condition with co_await in a coroutine whose body has no local variable at all
//     (https://gcc.gnu.org/PR106713). A variable declared in the condition is one.
#include <quoit/quoit.hpp>

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace {

using namespace std::chrono_literals;
using quoit::task;

static_assert(quoit::await_safe<quoit::loop_options>);
static_assert(quoit::await_safe<quoit::udp_options>);
static_assert(quoit::await_safe<quoit::wait_options>);
static_assert(quoit::await_safe<quoit::batch_options>);
static_assert(quoit::await_safe<quoit::incoming_options>);
static_assert(quoit::await_safe<quoit::time_limit>);
static_assert(quoit::await_safe<quoit::host_port>);
static_assert(quoit::await_safe<quoit::address>);
static_assert(quoit::await_safe<quoit::byte_view>);

// What owns something is no aggregate: GCC 12 destroys those twice.
static_assert(!std::is_aggregate_v<quoit::datagram> && !std::is_aggregate_v<quoit::udp_server> &&
              !std::is_aggregate_v<quoit::task<>> && !std::is_aggregate_v<quoit::result<int>> &&
              !std::is_aggregate_v<quoit::status> && !std::is_aggregate_v<quoit::error> &&
              !std::is_aggregate_v<quoit::task_handle<>> && !std::is_aggregate_v<quoit::incoming>);
static_assert(!std::is_aggregate_v<quoit::detail::read_operation> &&
              !std::is_aggregate_v<quoit::detail::read_batch_operation> &&
              !std::is_aggregate_v<quoit::detail::sleep_operation> &&
              !std::is_aggregate_v<quoit::detail::join_operation<int>> &&
              !std::is_aggregate_v<quoit::future<int>::wait_operation>);

task<std::string> make_string(std::string text) {
    co_await quoit::sleep(0ns);
    co_return text + " which is too long for the small string optimisation";
}

TEST(gcc12_call_sites, OptionLiteralsAndNamesAreTemporariesOfAnAwait) {
    const auto main = []() -> task<> {
        auto server = or_throw(co_await quoit::start_udp_server(
            {std::string("127.0.0.1"), 0},
            {.queue_size_max = 16, .received_metadata = quoit::metadata::timestamp}));
        auto client = or_throw(co_await quoit::open_udp_connection(
            server.local_address(), {.local = {"127.0.0.1", 0}, .payload_size_max = 1500}));
        client.send("x" + std::to_string(1));
        auto one = or_throw(co_await server.read({.timeout = 2s}));
        EXPECT_EQ(one.text(), "x1");
        const auto late = co_await server.read({.timeout = std::chrono::duration<double>(0.0)});
        EXPECT_FALSE(late.has_value());
        const auto batch = co_await server.read_batch({.size_max = 2, .timeout = 0s});
        EXPECT_FALSE(batch.has_value());
    };
    quoit::run(main(), {.small_buffer_count = 64, .large_buffer_count = 16});
}

TEST(gcc12_call_sites, SeveralHostsAreANamedSpan) {
    const auto main = []() -> task<> {
        const std::array<quoit::host_port, 2> where{quoit::host_port("127.0.0.1", 0),
                                                    quoit::host_port("127.0.0.1", 0)};
        const auto server = co_await quoit::start_udp_server(where, {.reuse_port = true});
        EXPECT_TRUE(server.has_value());
    };
    quoit::run(main());
}

TEST(gcc12_call_sites, StringsPassThroughAwaitsAsTemporaries) {
    const auto main = []() -> task<std::size_t> {
        std::size_t size = 0;
        for (int i = 0; i < 3; ++i)
            size += (co_await make_string(std::to_string(i))).size();
        const std::string both = co_await make_string("a") + co_await make_string("b");
        co_return size + both.size();
    };
    const std::size_t one =
        std::string(" which is too long for the small string optimisation").size() + 1;
    EXPECT_EQ(quoit::run(main()), 5 * one);
}

TEST(gcc12_call_sites, OrThrowAroundAnAwaitInADeclaration) {
    const auto give = []() -> task<quoit::result<std::unique_ptr<int>>> {
        co_await quoit::sleep(0ns);
        co_return std::make_unique<int>(4);
    };
    const auto refuse = []() -> task<quoit::result<std::unique_ptr<int>>> {
        co_return quoit::failure(quoit::errc::not_supported, "what was asked of the impossible");
    };
    const auto main = [&]() -> task<> {
        const auto value = or_throw(co_await give());
        EXPECT_EQ(*value, 4);
        std::string words;
        try {
            const auto never = or_throw(co_await refuse());
            static_cast<void>(never);
        } catch (const std::system_error& e) {
            words = e.what();
        }
        EXPECT_NE(words.find("the impossible"), std::string::npos);
    };
    quoit::run(main());
}

TEST(gcc12_call_sites, CapturingLambdasAreSpawnedInStatementsOfTheirOwn) {
    int sum = 0;
    const auto main = [&]() -> task<> {
        auto text = std::make_shared<std::string>("owned by the lambda, and by nobody else");
        quoit::task_group group;
        group.spawn([text, &sum]() -> task<> {
            co_await quoit::sleep(0ns);
            sum += static_cast<int>(text->size());
        });
        auto handle = quoit::spawn([text = std::move(text)]() -> task<int> {
            co_await quoit::sleep(0ns);
            co_return static_cast<int>(text->size());
        });
        const auto joined = co_await handle.join();
        sum += joined.value_or(0);
        co_await group.join();
    };
    quoit::run(main());
    EXPECT_EQ(sum, 2 * 39);
}

// The condition's variable is the body's only one.
task<> echo_all(quoit::udp_server& server) {
    while (auto datagram = co_await server.read())
        server.reply(std::move(*datagram));
}

task<int> count_in_conditions(quoit::udp_server& server) {
    int count = 0;
    if (co_await quoit::sleep(0ns)) ++count;
    if (!co_await server.read({.timeout = 0s})) ++count;
    if (auto slept = co_await quoit::sleep(-1s); !slept) ++count;
    switch (const auto value = co_await server.read({.timeout = -1s}); int{value.has_value()}) {
        case 0: ++count; break;
        default: break;
    }
    while (co_await quoit::sleep(0ns)) {
        if (++count >= 10) break;
    }
    co_return count;
}

TEST(gcc12_call_sites, AwaitsInConditions) {
    const auto main = []() -> task<> {
        auto server = or_throw(co_await quoit::start_udp_server({"127.0.0.1", 0}));
        const int count = co_await count_in_conditions(server);
        EXPECT_EQ(count, 10);
        auto client = or_throw(co_await quoit::open_udp_connection(server.local_address()));
        quoit::task_group group;
        group.spawn(echo_all(server));
        for (int i = 0; i < 3; ++i) {
            client.send("ping");
            const auto reply = co_await client.read({.timeout = 2s});
            EXPECT_TRUE(reply.has_value());
        }
        server.close();
        co_await group.join();
    };
    quoit::run(main());
}

TEST(gcc12_call_sites, OwningArgumentsAreMovedOnceThroughALazyTask) {
    const auto take = [](quoit::datagram one, std::unique_ptr<int> other) -> task<std::size_t> {
        co_await quoit::sleep(0ns);
        co_return one.size() + static_cast<std::size_t>(*other);
    };
    const auto main = [&]() -> task<std::size_t> {
        co_return co_await take(quoit::datagram("bytes", {"127.0.0.1", 1}),
                                std::make_unique<int>(1));
    };
    EXPECT_EQ(quoit::run(main()), 6U);
}

TEST(gcc12_call_sites, TimeoutsAroundTemporaryTasks) {
    const auto main = []() -> task<> {
        quoit::task_group group;
        group.spawn([]() -> task<> { co_await quoit::sleep(0ns); });
        const auto in_time = co_await quoit::with_timeout(group.join(), 5s);
        EXPECT_TRUE(in_time.has_value());
        const auto text = co_await quoit::with_timeout(make_string("a string"), 5s);
        EXPECT_TRUE(text.has_value());
        const auto late = co_await quoit::with_timeout(make_string("another"), 0s);
        static_cast<void>(late);
    };
    quoit::run(main());
}

}  // namespace
