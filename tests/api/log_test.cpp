// SPDX-License-Identifier: MIT
//
// What a loop writes to its log, and what it keeps from it.
#include <quoit/quoit.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using quoit::log_level;
using quoit::loop;
using time_point = quoit::timer::time_point;

// A sink has no data of its own. Everything here happens on one thread.
std::vector<std::pair<log_level, std::string>> lines;
loop* stopped_by_remainder = nullptr;

void keep_line(log_level level, std::string_view line) noexcept {
    lines.emplace_back(level, line);
    if (stopped_by_remainder != nullptr && line.find(": and ") != line.npos) {
        stopped_by_remainder->stop();
    }
}
std::size_t count_of(log_level level) {
    std::size_t count = 0;
    for (const auto& one : lines)
        count += one.first == level ? 1 : 0;
    return count;
}
std::string only_line(log_level level) {
    EXPECT_EQ(count_of(level), 1U);
    for (const auto& one : lines) {
        if (one.first == level) return one.second;
    }
    return {};
}

loop make_loop() {
    lines.clear();
    return or_throw(loop::create({.backend = quoit::backend::epoll, .log = keep_line}));
}
// A loop under test that hangs ends with this.
constexpr auto patience = 10s;

TEST(log, SaysTenFailuresOfAKindAndThenHowManyMoreThereWere) {
    {
        loop on = make_loop();
        for (int i = 0; i < 100; ++i)
            on.post([] { throw std::runtime_error("oops"); });
        on.call_at(time_point(), [] { throw 42; });
        on.poll();
        EXPECT_EQ(count_of(log_level::error), 11U) << "each kind has a limit of its own";
        EXPECT_EQ(on.unobserved_exception_count(), 101U) << "all are counted";
    }
    ASSERT_EQ(count_of(log_level::error), 12U);
    EXPECT_EQ(lines.back().second, "a posted function: and 90 more");
}

TEST(log, SaysHowManyMoreThereWereWhenTheLoopGoesOnToo) {
    loop on = make_loop();
    for (int i = 0; i < 11; ++i)
        on.post([] { throw std::runtime_error("oops"); });
    on.call_later(patience, [&] { on.stop(); });
    stopped_by_remainder = &on;
    on.run();
    stopped_by_remainder = nullptr;
    ASSERT_EQ(count_of(log_level::error), 11U);
    EXPECT_EQ(lines.back().second, "a posted function: and 1 more");
}

quoit::task<> open_and_exchange() {
    auto server = or_throw(co_await quoit::start_udp_server({"127.0.0.1", 0}));
    auto client = or_throw(co_await quoit::open_udp_connection(server.local_address()));
    EXPECT_EQ(lines.size(), 2U);
    EXPECT_EQ(lines[0].first, log_level::info);
    EXPECT_EQ(lines[0].second.find("listening on " + server.local_address().to_string() +
                                   " (epoll, receive buffer "),
              0U)
        << lines[0].second;
    EXPECT_EQ(lines[1].second.find("connected from " + client.local_address().to_string() + " to " +
                                   server.local_address().to_string()),
              0U)
        << lines[1].second;
    client.send("one");
    client.send("two");
    const auto one = co_await server.read({.timeout = patience});
    EXPECT_TRUE(one.has_value());
    const auto two = co_await server.read({.timeout = patience});
    EXPECT_TRUE(two.has_value());
    const std::string name = server.local_address().to_string();
    server.close();
    co_await server.wait_closed();
    EXPECT_EQ(lines.back().second,
              "closed " + name +
                  ": received 2 (0 dropped), delivered 2 (0 unread), sent 0 (0 "
                  "failed)");
    EXPECT_EQ(lines.size(), 3U);
}

TEST(log, SaysWhichEndpointsOpenAndWhatBecameOfTheirDatagrams) {
    loop on = make_loop();
    on.run(open_and_exchange());
    ASSERT_EQ(lines.size(), 4U) << "each once";
    EXPECT_EQ(lines.back().first, log_level::info);
    EXPECT_NE(lines.back().second.find("sent 2 (0 failed)"), std::string::npos)
        << "closed by its destructor, with what was flushed: " << lines.back().second;
}

quoit::task<> ask_for_buffers(std::uint32_t size) {
    const auto server =
        or_throw(co_await quoit::start_udp_server({"127.0.0.1", 0}, {.receive_buffer_size = size}));
    const auto receive = server.buffers().receive;
    EXPECT_EQ(count_of(log_level::warning), receive.granted / 2 < size ? 1U : 0U);
    if (size == 4096) {
        EXPECT_EQ(count_of(log_level::warning), 0U);
    }
}

TEST(log, WarnsOfAReceiveBufferThatTheKernelDidNotGrant) {
    loop on = make_loop();
    on.run(ask_for_buffers(4096));
    on.run(ask_for_buffers(1'000'000'000));
    const std::string line = only_line(log_level::warning);
    EXPECT_EQ(line.find("the receive buffer of 127.0.0.1:"), 0U) << line;
    EXPECT_NE(line.find(" instead of the 1000000000 asked for: net.core.rmem_max allows no more"),
              std::string::npos)
        << line;
}

}  // namespace
