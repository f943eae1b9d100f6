// SPDX-License-Identifier: MIT
//
// What the parts of the contract suite share; see support/backend_fixture.hpp for how they run.
#pragma once

#include "support/backend_fixture.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace quoit::test {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
using strings = std::vector<std::string>;

class contract : public backend_fixture {
  protected:
    // Sends "FIRST" .. "FIRST + COUNT - 1", each padded so that none is empty or alike.
    void send_numbers(int from, const address& to, std::size_t first, std::size_t count) {
        for (std::size_t i = first; i < first + count; ++i) {
            ASSERT_EQ(send(from, std::to_string(i), to), 0);
        }
    }
    void expect_numbers(const receiver& from, std::size_t count) {
        const strings got = payloads(from);
        ASSERT_EQ(got.size(), count);
        for (std::size_t i = 0; i < count; ++i)
            ASSERT_EQ(got[i], std::to_string(i));
    }
    // So that there is something to be quiet about.
    void attach_idle_receiver() { EXPECT_GE(open_receiver().fd, 0); }
    // A receiver that holds every small buffer and wants no more: whoever receives next starves.
    receiver take_every_buffer(int from) {
        set_leases(leases::keep);
        const receiver taker = open_receiver();
        for (std::uint32_t i = 0; i < pool().count(); ++i) {
            EXPECT_EQ(send(from, "x", taker.local), 0);
            if (!turn_until([&] { return held() == i + 1; }, "a buffer taken")) break;
        }
        backend().set(taker.id, interest::pause);
        turn_at_once();
        return taker;
    }
};

// ThreadSanitizer keeps a signal back until the thread next calls into its runtime, which a thread
// that is about to sleep in a raw system call does not.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool are_signals_kept_back = true;
#elif defined(__has_feature)
inline constexpr bool are_signals_kept_back = __has_feature(thread_sanitizer);
#else
inline constexpr bool are_signals_kept_back = false;
#endif

// Sockets that this process may have open at once; tests that want more skip.
inline std::size_t raise_socket_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    ::getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

inline std::string pattern(std::size_t size) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i)
        text[i] = static_cast<char>('a' + i % 23);
    return text;
}

}  // namespace quoit::test
