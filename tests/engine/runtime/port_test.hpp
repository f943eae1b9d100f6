// SPDX-License-Identifier: MIT
//
// What the tests of ports share; see support/port_fixture.hpp for how they run.
#pragma once

#include "support/port_fixture.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace quoit::test {

using strings = std::vector<std::string>;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr bool is_instrumented = true;
#elif defined(__has_feature)
inline constexpr bool is_instrumented =
    __has_feature(thread_sanitizer) || __has_feature(address_sanitizer);
#else
inline constexpr bool is_instrumented = false;
#endif

inline const address any_port("127.0.0.1", 0);

class port_test : public port_fixture {
  protected:
    // Sends "FIRST" ... "FIRST + COUNT - 1".
    static void send_numbers(const foreign_socket& from, const address& to, std::size_t count,
                             std::size_t first = 0) {
        for (const auto& text : numbers(count, first))
            ASSERT_EQ(from.send(text, to), 0);
    }
    // Room in the kernel for what a test sends before anybody reads.
    static constexpr std::uint32_t roomy = 2 * 1024 * 1024;

    void expect_balanced(endpoint_id endpoint) {
        const stats ledger = port().stats(endpoint);
        EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
    }
    [[nodiscard]] bool turn_until_closed(endpoint_id endpoint) {
        return turn_until([&] { return port().is_closed(endpoint); }, "closed");
    }
};

// A thread that sends to one address for as long as it lives.
class flood {
  public:
    explicit flood(const address& to) : to_(to), thread_([this] { run(); }) {}
    ~flood() { stop(); }
    // Returns how many were sent.
    std::uint64_t stop() {
        is_stopping_.store(true, std::memory_order_relaxed);
        if (thread_.joinable()) thread_.join();
        return sent_;
    }

  private:
    void run() {
        const std::string payload(200, 'f');
        while (!is_stopping_.load(std::memory_order_relaxed)) {
            if (from_.send(payload, to_) == 0) ++sent_;
        }
    }
    foreign_socket from_;
    address to_;
    std::atomic<bool> is_stopping_{false};
    std::uint64_t sent_ = 0;  // the thread's until it is joined
    std::thread thread_;
};

}  // namespace quoit::test
