// SPDX-License-Identifier: MIT
//
// port_fixture: one port and foreign peers, for claims about quoit/port.hpp that hold whatever the
// port runs on: the parameter is a backend and whether a thread of its own turns it.
//
//   class port_test : public port_fixture {};
//   TEST_P(port_test, ADatagramIsReceived) {
//       start();
//       const endpoint_id server = open();
//       foreign_socket client;
//       ASSERT_EQ(client.send("hello", local(server)), 0);
//       ASSERT_TRUE(turn_until([&] { return port().readable_count(server) == 1; }));
//   }
//
// Sockets are bound to loopback, port 0. Peers are plain sockets, which know nothing of the engine.
// Nothing waits without an end: a condition that does not come true in time fails the test, and so
// does one that only comes true when the time is up, because then a wake-up was lost.
//
// QUOIT_REQUIRE_IO_URING=1 in the environment makes the lack of io_uring a failure instead of a
// reason to skip.
#pragma once

#include "support/namespace.hpp"

#include <quoit/port.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace quoit::test {

struct port_parameter {
    quoit::backend backend = quoit::backend::epoll;
    std::uint32_t worker_count = 0;
};
void PrintTo(const port_parameter& parameter, std::ostream* out);
/// Those that this build has.
[[nodiscard]] std::vector<port_parameter> port_parameters();
/// "io_uring_inline", "epoll_threaded".
[[nodiscard]] std::string port_parameter_name(const ::testing::TestParamInfo<port_parameter>& info);

/// How long to wait for what should come at once: only a test that fails waits that long.
inline constexpr std::chrono::seconds patience{5};

/// A plain UDP socket; what fails when it is opened fails the test. Closed by its destructor.
class foreign_socket {
  public:
    explicit foreign_socket(const address& where = address("127.0.0.1", 0));
    foreign_socket(const foreign_socket&) = delete;
    foreign_socket& operator=(const foreign_socket&) = delete;
    ~foreign_socket() { close(); }
    void close() noexcept;

    [[nodiscard]] bool is_open() const noexcept { return fd_ >= 0; }
    [[nodiscard]] int descriptor() const noexcept { return fd_; }
    [[nodiscard]] address local() const;
    /// 0, or a negated errno. Does not wait. Any thread.
    [[nodiscard]] int send(byte_view payload, const address& to) const;
    /// Only what comes from there is received then.
    [[nodiscard]] int connect(const address& to) const;
    [[nodiscard]] int set_option(int level, int name, int value) const;
    /// Waits `patience` for one.
    [[nodiscard]] std::optional<std::string> receive() const;
    [[nodiscard]] bool has_datagram() const;

  private:
    int fd_ = -1;
};

/// An address that a socket could be bound to a moment ago: nobody is there now.
[[nodiscard]] address dead_address(const address& like = address("127.0.0.1", 0));
[[nodiscard]] bool has_ipv6();
/// Datagrams in a socket's receive queue; none is taken. All must have a payload.
[[nodiscard]] std::size_t count_queued(int fd);
/// Waits `patience` until that many are there.
[[nodiscard]] bool wait_for_queue(int fd, std::size_t count);

/// What the current thread allocates by operator new while one of these lives; they do not nest.
class allocation_meter {
  public:
    allocation_meter() noexcept;
    ~allocation_meter();
    allocation_meter(const allocation_meter&) = delete;
    allocation_meter& operator=(const allocation_meter&) = delete;
    [[nodiscard]] std::size_t count() const noexcept;
    /// Bytes of the largest single one.
    [[nodiscard]] std::size_t largest() const noexcept;
};

/// While one of these lives, the current thread's allocations by operator new throw std::bad_alloc
/// once `count` of them were made. They do not nest.
class allocation_limit {
  public:
    explicit allocation_limit(std::size_t count) noexcept;
    ~allocation_limit();
    allocation_limit(const allocation_limit&) = delete;
    allocation_limit& operator=(const allocation_limit&) = delete;
};

/// Counts what it hears, by endpoint, and passes it on to whoever wants to act on it.
class event_counter final : public port_events {
  public:
    struct counts {
        endpoint_id endpoint;
        std::size_t readable = 0;
        std::size_t drained = 0;
        std::size_t closed = 0;
    };
    void readable(endpoint_id endpoint) override;
    void drained(endpoint_id endpoint) override;
    void closed(endpoint_id endpoint) override;
    [[nodiscard]] counts of(endpoint_id endpoint) const;

    std::function<void(endpoint_id)> on_readable;
    std::function<void(endpoint_id)> on_drained;
    std::function<void(endpoint_id)> on_closed;

  private:
    counts& at(endpoint_id endpoint);
    std::vector<counts> counts_;
};

class port_fixture : public ::testing::TestWithParam<port_parameter> {
  protected:
    /// Skips where there is no io_uring.
    void SetUp() override;
    void TearDown() override;

    [[nodiscard]] bool is_inline() const { return GetParam().worker_count == 0; }
    [[nodiscard]] bool is_io_uring() const { return GetParam().backend == backend::io_uring; }
    /// Makes the port: `options` but for the backend, and the workers if they are 0.
    void start(loop_options options = {});
    [[nodiscard]] quoit::port& port() { return *port_; }
    void destroy_port();
    /// As run_in_network_namespace; the port made in `body` goes with it. Skips if need be.
    void in_namespace(const namespace_options& wanted, const std::function<void()>& body);

    // --- endpoints ---
    [[nodiscard]] endpoint_id open(const udp_options& options = {},
                                   const address& where = address("127.0.0.1", 0));
    [[nodiscard]] endpoint_id open_connection(const address& peer, const udp_options& options = {});
    [[nodiscard]] address local(endpoint_id endpoint) {
        const auto all = port().local_addresses(endpoint);
        return all.empty() ? address() : all.front();
    }
    status send(endpoint_id from, byte_view payload) {
        return port().send(from, std::span(&payload, 1));
    }
    status sendto(endpoint_id from, byte_view payload, const address& to) {
        return port().sendto(from, std::span(&payload, 1), to);
    }
    /// What receive() hands over now, as text; a refusal as "!" and its words.
    std::vector<std::string> read_all(endpoint_id from);

    // --- turning ---
    void turn(port::clock::time_point deadline = port::at_once);
    /// Whatever could be there is.
    void turn_at_once(int count = 8);
    using condition = std::function<bool()>;
    /// True when the condition holds; otherwise the test has failed.
    [[nodiscard]] bool turn_until(const condition& holds, std::string_view what = "a condition");
    [[nodiscard]] bool turn_until_readable(endpoint_id endpoint, std::size_t count);
    /// Orders given to a worker are carried out: of each worker, one datagram came through.
    void settle();

    event_counter events;

  private:
    std::optional<quoit::port> port_;
};

/// "0", "1" ... "COUNT - 1".
[[nodiscard]] std::vector<std::string> numbers(std::size_t count, std::size_t first = 0);

}  // namespace quoit::test
