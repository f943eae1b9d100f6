// SPDX-License-Identifier: MIT
//
// acceptance_fixture: a loop on the backend and with the workers the parameter names, peers that
// are no quoit (foreign_socket), and what every acceptance case has to show at its end.
//
//   TEST_P(acceptance, E10FourPiecesAreOneDatagram) { run(send_four_pieces()); }
//
// A case is a named coroutine: GCC 12 miscompiles some lambdas at the call site
// (docs/coroutines.md). ASSERT_* cannot stand in a coroutine (it returns); or_throw() does the
// same.
//
// Nothing waits without an end: run() cancels the case after case_time_max and fails; what
// cancelling does not end, the watchdog does, with the test's name. Nothing sleeps either: what has
// to come about on the way is waited for by turning the loop, until `patience` is over.
//
// What every case checks without asking for it: the loop runs on the backend that was named; at
// rest the ledgers explain every datagram and every packet, no receive buffer is held, no
// connection is left open and no exception went unseen.
//
// QUOIT_REQUIRE_IO_URING=1 in the environment makes the lack of io_uring a failure instead of a
// reason to skip. Without QUOIT_HAS_IO_URING the parameters of io_uring do not exist.
//
// Each file that includes this is a program of its own: it instantiates the suite, with
// QUOIT_INSTANTIATE_ACCEPTANCE().
//
// Threads: foreign_socket by one thread at a time; the rest by the test's.
#pragma once

#include <quoit/quoit.hpp>

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace quoit::test {

using namespace std::chrono_literals;

/// For something that is on its way. Far beyond what it takes, under sanitizers and on a busy
/// machine too: it passes only when the test fails.
inline constexpr std::chrono::seconds patience{10};
/// For a whole case; and for one that cannot even be cancelled.
inline constexpr std::chrono::seconds case_time_max{40};
inline constexpr std::chrono::seconds watchdog_time{90};

// --- peers that are no quoit ---

/// An address as the kernel wants it. Written by hand, so that the library's own conversion is not
/// what it is tested with.
class socket_name {
  public:
    socket_name() noexcept = default;
    explicit socket_name(const address& from) noexcept {
        const auto& bytes = from.host().bytes();
        if (from.family() == family::ipv6) {
            auto& name = *reinterpret_cast<sockaddr_in6*>(&storage_);
            name.sin6_family = AF_INET6;
            name.sin6_port = htons(from.port());
            name.sin6_scope_id = from.host().scope();
            std::memcpy(&name.sin6_addr, bytes.data(), sizeof name.sin6_addr);
            size = sizeof name;
        } else {
            auto& name = *reinterpret_cast<sockaddr_in*>(&storage_);
            name.sin_family = AF_INET;
            name.sin_port = htons(from.port());
            std::memcpy(&name.sin_addr, bytes.data(), sizeof name.sin_addr);
            size = sizeof name;
        }
    }
    [[nodiscard]] sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(&storage_); }
    [[nodiscard]] const sockaddr* get() const noexcept {
        return reinterpret_cast<const sockaddr*>(&storage_);
    }
    [[nodiscard]] address to_address() const {
        if (storage_.ss_family == AF_INET6) {
            const auto& name = *reinterpret_cast<const sockaddr_in6*>(&storage_);
            std::array<std::uint8_t, 16> bytes{};
            std::memcpy(bytes.data(), &name.sin6_addr, bytes.size());
            return {ip::v6(bytes, name.sin6_scope_id), ntohs(name.sin6_port)};
        }
        const auto& name = *reinterpret_cast<const sockaddr_in*>(&storage_);
        std::array<std::uint8_t, 4> bytes{};
        std::memcpy(bytes.data(), &name.sin_addr, bytes.size());
        return {ip::v4(bytes), ntohs(name.sin_port)};
    }

    socklen_t size = sizeof(sockaddr_storage);

  private:
    sockaddr_storage storage_{};
};

[[noreturn]] inline void throw_errno(const char* what) {
    throw std::system_error(errno, std::system_category(), what);
}

/// What the kernel says a descriptor is bound to.
[[nodiscard]] inline address bound_address(int descriptor) {
    socket_name name;
    if (::getsockname(descriptor, name.get(), &name.size) != 0) throw_errno("getsockname");
    return name.to_address();
}

/// A datagram that a foreign socket received. No aggregate: see docs/coroutines.md.
class foreign_datagram {
  public:
    foreign_datagram(std::string bytes, const address& sender)
        : payload(std::move(bytes)), from(sender) {}
    std::string payload;
    address from;
};

/// An ordinary UDP socket, bound to a loopback address. Throws std::system_error.
class foreign_socket {
  public:
    foreign_socket() : foreign_socket(address("127.0.0.1", 0)) {}
    explicit foreign_socket(const address& where)
        : descriptor_(::socket(where.family() == family::ipv6 ? AF_INET6 : AF_INET,
                               SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
        if (descriptor_ < 0) throw_errno("socket");
        const socket_name name(where);
        if (::bind(descriptor_, name.get(), name.size) != 0) {
            const int error = errno;
            ::close(descriptor_);
            errno = error;
            throw_errno("bind");
        }
        local_ = bound_address(descriptor_);
    }
    foreign_socket(const foreign_socket&) = delete;
    foreign_socket& operator=(const foreign_socket&) = delete;
    ~foreign_socket() { ::close(descriptor_); }

    [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
    [[nodiscard]] const address& local() const noexcept { return local_; }

    /// Allocates nothing.
    void sendto(std::string_view payload, const address& to) const {
        const socket_name name(to);
        const auto sent = ::sendto(descriptor_, payload.data(), payload.size(), MSG_NOSIGNAL,
                                   name.get(), name.size);
        if (sent != static_cast<ssize_t>(payload.size())) throw_errno("sendto");
    }
    /// What is in the socket now, into the buffer. Allocates nothing.
    [[nodiscard]] std::optional<std::size_t> try_receive(std::vector<char>& into) const {
        const auto size = ::recv(descriptor_, into.data(), into.size(), MSG_DONTWAIT);
        if (size >= 0) return static_cast<std::size_t>(size);
        if (errno != EAGAIN && errno != EWOULDBLOCK) throw_errno("recv");
        return std::nullopt;
    }
    [[nodiscard]] std::optional<foreign_datagram> try_receive() const {
        std::string bytes(65'536, '\0');
        socket_name from;
        const auto size = ::recvfrom(descriptor_, bytes.data(), bytes.size(), MSG_DONTWAIT,
                                     from.get(), &from.size);
        if (size < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK) throw_errno("recvfrom");
            return std::nullopt;
        }
        bytes.resize(static_cast<std::size_t>(size));
        return foreign_datagram(std::move(bytes), from.to_address());
    }

  private:
    int descriptor_;
    address local_;
};

/// One that nobody is bound to any more.
[[nodiscard]] inline address dead_address() {
    const foreign_socket gone;
    return gone.local();
}

/// Whether this machine has ::1.
[[nodiscard]] inline bool has_ipv6_loopback() {
    try {
        const foreign_socket one(address("::1", 0));
        return true;
    } catch (const std::system_error&) {
        return false;
    }
}

// --- waiting for what is on its way, by turning the loop ---

/// One turn.
[[nodiscard]] inline detail::sleep_operation next_turn() noexcept { return quoit::sleep(0ns); }

class give_up_time {
  public:
    /// Throws when it has come: what is waited for did not.
    void check(const char* what) const {
        if (std::chrono::steady_clock::now() > at_) {
            throw std::runtime_error(std::string("waited in vain for ") + what);
        }
    }

  private:
    std::chrono::steady_clock::time_point at_ = std::chrono::steady_clock::now() + patience;
};

/// Throws when nothing comes. REQUIRES: the socket outlives the task.
inline task<foreign_datagram> receive(const foreign_socket& at) {
    const give_up_time limit;
    auto received = at.try_receive();
    while (!received) {
        limit.check("a datagram at a foreign socket");
        or_throw(co_await next_turn());
        received = at.try_receive();
    }
    co_return *std::move(received);
}

/// Until that many datagrams have reached the endpoint's queue, or were dropped at it.
/// REQUIRES: the endpoint outlives the task.
inline task<> wait_until_passed(const udp_socket& endpoint, std::uint64_t count) {
    const give_up_time limit;
    while (endpoint.stats().received.passed < count) {
        limit.check("datagrams to arrive");
        or_throw(co_await next_turn());
    }
}

/// Until the endpoint has nothing to send. REQUIRES: the endpoint outlives the task.
inline task<> wait_until_flushed(const udp_socket& endpoint) {
    const give_up_time limit;
    while (endpoint.stats().sent.waiting > 0) {
        limit.check("datagrams to be sent");
        or_throw(co_await next_turn());
    }
}

// --- what cases are written with ---

/// Waits no longer than it takes.
inline constexpr wait_options patiently{.timeout = patience};

/// A server on 127.0.0.1, or where it is told. Throws when there can be none.
inline task<udp_server> listen(udp_options options = {}, address where = {"127.0.0.1", 0}) {
    auto opened = co_await start_udp_server(where, options);
    co_return or_throw(std::move(opened));
}
/// A client. Throws when there can be none.
inline task<udp_client> connect(address to, udp_options options = {}) {
    auto opened = co_await open_udp_connection(to, options);
    co_return or_throw(std::move(opened));
}

template <class T, class Expected>
void expect_error(const result<T>& outcome, Expected expected) {
    EXPECT_FALSE(outcome.has_value());
    if (!outcome) {
        EXPECT_EQ(outcome.error(), expected) << outcome.error();
    }
}
inline void expect_text(const result<datagram>& outcome, std::string_view expected) {
    if (outcome) {
        EXPECT_EQ(outcome->text(), expected);
    } else {
        ADD_FAILURE() << "instead of \"" << expected << "\": " << outcome.error();
    }
}

/// `size` bytes that differ from place to place.
[[nodiscard]] inline std::string pattern(std::size_t size) {
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = static_cast<char>('a' + i * 7 % 23 + i / 251 % 3);
    }
    return bytes;
}

// --- the fixture ---

/// What a case is run on.
struct acceptance_setting {
    quoit::backend backend = quoit::backend::epoll;
    std::uint32_t worker_count = 0;
};
inline std::string to_string(const acceptance_setting& of) {
    return std::string(quoit::to_string(of.backend)) + "_workers_" +
           std::to_string(of.worker_count);
}
inline void PrintTo(const acceptance_setting& of, std::ostream* out) { *out << to_string(of); }

/// Those that this build has.
[[nodiscard]] inline std::vector<acceptance_setting> acceptance_settings() {
    std::vector<acceptance_setting> all;
#if QUOIT_HAS_IO_URING
    all.push_back({backend::io_uring, 0});
    all.push_back({backend::io_uring, 1});
#endif
    all.push_back({backend::epoll, 0});
    all.push_back({backend::epoll, 1});
    return all;
}

/// Ends the program when it is not destroyed in time.
class watchdog {
  public:
    explicit watchdog(std::string name)
        : thread_([this, name = std::move(name)] {
              std::unique_lock lock(mutex_);
              if (is_over_.wait_for(lock, watchdog_time, [this] { return is_finished_; })) return;
              std::fprintf(stderr, "%s does not end\n", name.c_str());
              std::abort();
          }) {}
    ~watchdog() {
        {
            const std::scoped_lock lock(mutex_);
            is_finished_ = true;
        }
        is_over_.notify_one();
        thread_.join();
    }
    watchdog(const watchdog&) = delete;
    watchdog& operator=(const watchdog&) = delete;

  private:
    std::mutex mutex_;
    std::condition_variable is_over_;
    bool is_finished_ = false;
    std::thread thread_;  // last: it uses what is above
};

/// Turns the loop until it is at rest, and says what is missing if that does not come about.
inline void expect_at_rest(loop& of) {
    const auto is_at_rest = [&] {
        const stats ledger = of.stats();
        return ledger.unexplained() == 0 && ledger.sent.waiting == 0 && ledger.leases_held == 0 &&
               of.engine_stats().buffers_held == 0 && of.packet_stats().unexplained() == 0 &&
               of.packet_stats().connections.open == 0;
    };
    const auto give_up_at = std::chrono::steady_clock::now() + patience;
    while (!is_at_rest() && std::chrono::steady_clock::now() < give_up_at)
        of.poll();
    EXPECT_EQ(of.stats().unexplained(), 0U) << of.stats();
    EXPECT_EQ(of.stats().sent.waiting, 0U) << of.stats();
    EXPECT_EQ(of.stats().leases_held, 0U);
    EXPECT_EQ(of.packet_stats().unexplained(), 0U) << of.packet_stats();
    EXPECT_EQ(of.packet_stats().connections.open, 0U) << of.packet_stats();
    EXPECT_EQ(of.engine_stats().buffers_held, 0U);
    EXPECT_EQ(of.unobserved_exception_count(), 0U);
}

/// Runs a case on a loop, within its time; then the loop must come to rest.
inline void run_case(loop& on, task<> body) {
    try {
        const result<void> outcome = on.run(with_timeout(std::move(body), case_time_max));
        if (!outcome) ADD_FAILURE() << "the case did not end by itself: " << outcome.error();
    } catch (const std::exception& e) {
        ADD_FAILURE() << "the case ended with: " << e.what();
    }
    expect_at_rest(on);
}

class acceptance : public ::testing::TestWithParam<acceptance_setting> {
  protected:
    void SetUp() override {
        const auto* const test = ::testing::UnitTest::GetInstance()->current_test_info();
        watchdog_.emplace(test->name());
        auto made = make_loop();
        if (!made && GetParam().backend == backend::io_uring) {
            const std::string why = "io_uring cannot be had here: " + made.error().message();
            const char* const required = std::getenv("QUOIT_REQUIRE_IO_URING");
            if (required != nullptr && std::string_view(required) == "1") FAIL() << why;
            GTEST_SKIP() << why;
        }
        ASSERT_TRUE(made.has_value()) << made.error();
        loop_.emplace(*std::move(made));
        ASSERT_EQ(loop_->capabilities().backend, GetParam().backend);
    }
    void TearDown() override {
        if (loop_) expect_at_rest(*loop_);
        loop_.reset();
        watchdog_.reset();
    }

    /// One more of the kind; for cases that run on a thread of their own.
    [[nodiscard]] static result<loop> make_loop() {
        return loop::create(
            {.backend = GetParam().backend, .worker_count = GetParam().worker_count});
    }
    [[nodiscard]] loop& the_loop() { return *loop_; }
    [[nodiscard]] static bool has_workers() { return GetParam().worker_count > 0; }

    void run(task<> body) { run_case(*loop_, std::move(body)); }

  private:
    std::optional<loop> loop_;
    std::optional<watchdog> watchdog_;
};

/// io_uring_workers_0 and so on.
#define QUOIT_INSTANTIATE_ACCEPTANCE()                                                     \
    INSTANTIATE_TEST_SUITE_P(, acceptance, ::testing::ValuesIn(acceptance_settings()),     \
                             [](const ::testing::TestParamInfo<acceptance_setting>& one) { \
                                 return to_string(one.param);                              \
                             })

}  // namespace quoit::test
