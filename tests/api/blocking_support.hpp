// SPDX-License-Identifier: MIT
//
// What the tests of the blocking surface share: a fixture with a watchdog, threads that can be seen
// to sleep, and a foreign socket's answer waited for without a loop.
#pragma once

#include "integration/acceptance_fixture.hpp"

#include <unistd.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <future>
#include <string>
#include <thread>

namespace quoit::test {

/// Its watchdog ends the program when a test does not end.
class blocking_case : public ::testing::Test {
  private:
    watchdog watchdog_{::testing::UnitTest::GetInstance()->current_test_info()->name()};
};

/// Turns until it is so; false when it does not come about.
template <class Condition>
[[nodiscard]] bool eventually(Condition is_so) {
    const auto give_up_at = std::chrono::steady_clock::now() + patience;
    while (!is_so()) {
        if (std::chrono::steady_clock::now() > give_up_at) return false;
        std::this_thread::yield();
    }
    return true;
}

/// A thread whose sleep can be waited for. Joins when it is destroyed.
class observed_thread {
  public:
    explicit observed_thread(std::function<void()> body)
        : thread_([this, body = std::move(body)] {
              id_.store(::gettid());
              body();
              is_done_.store(true);
          }) {}
    /// Until the kernel says that it sleeps, or it has ended. In a test of waiting it does nothing
    /// else that sleeps.
    [[nodiscard]] bool is_asleep_soon() const {
        return eventually([this] { return is_done_.load() || state() == 'S'; });
    }
    [[nodiscard]] bool is_done() const noexcept { return is_done_.load(); }
    [[nodiscard]] pthread_t handle() noexcept { return thread_.native_handle(); }
    void join() { thread_.join(); }

  private:
    // The letter behind the name, which is in parentheses (proc(5), /proc/pid/stat).
    [[nodiscard]] char state() const {
        if (id_.load() == 0) return '?';
        std::ifstream file("/proc/self/task/" + std::to_string(id_.load()) + "/stat");
        const std::string line((std::istreambuf_iterator<char>(file)), {});
        const auto name_end = line.rfind(')');
        return name_end == line.npos || name_end + 2 >= line.size() ? '?' : line[name_end + 2];
    }

    std::atomic<pid_t> id_{0};
    std::atomic<bool> is_done_{false};
    std::jthread thread_;  // last: it uses what is above
};

/// Nothing when nothing comes.
[[nodiscard]] inline std::optional<foreign_datagram> wait_for_datagram(const foreign_socket& at) {
    std::optional<foreign_datagram> received;
    if (!eventually([&] { return (received = at.try_receive()).has_value(); })) return std::nullopt;
    return received;
}

}  // namespace quoit::test
