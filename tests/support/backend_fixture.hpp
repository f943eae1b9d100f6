// SPDX-License-Identifier: MIT
//
// backend_fixture: one backend, its pools and a network to try it on, for the suite that every
// io_backend has to pass. The parameter says which backend; a test sees the same functions on all.
//
//   class contract : public backend_fixture {};
//   TEST_P(contract, ADatagramIsDelivered) {
//       start();
//       const receiver server = open_receiver();
//       const int client = open_socket();
//       ASSERT_EQ(send(client, "hello", server.local), 0);
//       turn_until([&] { return payloads(server).size() == 1; });
//   }
//
// A descriptor is the kernel's on real backends and the fake network's on the fake one. Sockets are
// bound to loopback, port 0. Nothing waits without an end: a condition that does not come true
// fails the test with what was seen, and a turn that never returns ends the program with the test's
// name.
//
// What every test checks without asking for it, while events come in: a buffer is named by one
// event at a time; every datagram is one that the parser takes; nothing follows a source's
// `detached`; no empty batch, and none outside turn(). And at its end: no lease is left.
//
// QUOIT_REQUIRE_IO_URING=1 in the environment makes the lack of io_uring a failure instead of a
// reason to skip.
//
// Threads: send() and wake() by any, the rest by the test's.
#pragma once

#include "backend/backend.hpp"
#include "support/fake_backend.hpp"
#include "support/messages.hpp"

#include <quoit/address.hpp>

#include <gtest/gtest.h>

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace quoit::test {

using namespace quoit::detail;  // what is tested

enum class backend_kind : std::uint8_t {
    io_uring,
    epoll,
    spinning_epoll,  // as a port that does not sleep has it
    fake,
    // Waited for in a waiting_set, as somebody else's loop does (rule 14).
    watched_io_uring,
    watched_epoll,  // made to spin, which joining ends
    watched_fake,
};
[[nodiscard]] std::string_view to_string(backend_kind kind);
void PrintTo(backend_kind kind, std::ostream* out);
/// Those that this build has.
[[nodiscard]] std::vector<backend_kind> backends_built();
[[nodiscard]] std::string backend_name(const ::testing::TestParamInfo<backend_kind>& info);

/// The sockets a backend is tried on. Functions that return an int return 0 (or a descriptor), or a
/// negated errno.
class test_network {
  public:
    virtual ~test_network() = default;
    [[nodiscard]] virtual int open(family of, std::uint16_t port) = 0;
    [[nodiscard]] virtual int connect(int fd, const address& to) = 0;
    virtual void close(int fd) = 0;
    [[nodiscard]] virtual address local(int fd) = 0;
    /// Any thread.
    [[nodiscard]] virtual int send(int fd, std::string_view bytes, const address* to,
                                   std::uint16_t segment) = 0;
    /// Waits a bounded time for one.
    [[nodiscard]] virtual std::optional<std::string> receive(int fd) = 0;
    /// Waits a bounded time until that many datagrams, none of them empty, are in the socket.
    [[nodiscard]] virtual bool wait_for_queue(int fd, std::size_t datagrams) = 0;
    /// Waits a bounded time until the socket has an error to report.
    [[nodiscard]] virtual bool wait_for_error(int fd) = 0;
    [[nodiscard]] virtual int set_gro(int fd) = 0;

    /// A connected socket whose sends end in EAGAIN when nobody reads at the other end.
    struct narrow {
        int fd = -1;
        int other_end = -1;  // -1: there is none to be read from
    };
    [[nodiscard]] virtual narrow open_narrow() = 0;
    /// Makes room again.
    virtual void widen(const narrow& one) = 0;
};

/// A datagram that was delivered, copied out of its buffer.
struct seen_datagram {
    std::string payload;
    std::uint32_t original_size = 0;
    std::uint32_t length = 0;   // event::value
    std::uint16_t segment = 0;  // event::segment
    std::uint32_t count = 0;    // datagrams in the train
    std::uint32_t buffer = 0;
    address peer;
};

/// A socket and its source.
struct receiver {
    int fd = -1;
    source_id id{};
    std::uint32_t tag = 0;
    address local{};
};

/// Of a fixture's pools and backend.
struct pool_sizes {
    std::uint32_t small_count = 64;
    std::uint32_t large_count = 8;
    std::uint32_t source_count_max = 32;
};

struct receiver_options {
    family of = family::ipv4;
    std::uint16_t port = 0;
    std::optional<address> connected_to{};
    buffer_class pool = buffer_class::small;
    bool has_gro = false;
};

/// Whether leases are given back when a turn is over, or kept until release_held().
enum class leases : std::uint8_t { give_back, keep };

class backend_fixture : public ::testing::TestWithParam<backend_kind> {
  protected:
    backend_fixture();
    ~backend_fixture() override;
    void SetUp() override;
    void TearDown() override;

    /// Makes pools and backend.
    void start(const pool_sizes& wanted = {});
    /// The backend goes; pools, leases and sockets stay.
    void destroy_backend();
    /// Another backend on the same pools.
    void make_backend();
    [[nodiscard]] bool is_fake() const {
        return GetParam() == backend_kind::fake || GetParam() == backend_kind::watched_fake;
    }
    [[nodiscard]] bool is_io_uring() const {
        return GetParam() == backend_kind::io_uring || GetParam() == backend_kind::watched_io_uring;
    }
    [[nodiscard]] bool is_watched() const { return GetParam() >= backend_kind::watched_io_uring; }
    [[nodiscard]] io_backend& backend() { return *backend_; }
    [[nodiscard]] const backend_ledger& ledger() const { return ledger_; }
    [[nodiscard]] buffer_pool& pool(buffer_class which = buffer_class::small) {
        return *pools_[static_cast<std::size_t>(which)];
    }
    [[nodiscard]] test_network& network() { return *network_; }

    // --- sockets; all are closed at the end ---
    [[nodiscard]] int open_socket(family of = family::ipv4, std::uint16_t port = 0);
    void close_socket(int fd);
    /// Opens and attaches.
    [[nodiscard]] receiver open_receiver(const receiver_options& wanted = {});
    /// Opens only, so that datagrams can wait in the socket.
    [[nodiscard]] receiver open_detached(const receiver_options& wanted = {});
    void attach(receiver& one, const receiver_options& wanted = {});
    /// A stream or a listener, whose descriptor is the caller's.
    [[nodiscard]] receiver attach_stream(int fd, source_kind kind, bool is_paused = false);
    /// An address that nobody is bound to now.
    [[nodiscard]] address dead_address(family of = family::ipv4);
    /// 0 or a negated errno.
    [[nodiscard]] int send(int fd, std::string_view bytes, const address& to) {
        return network_->send(fd, bytes, &to, 0);
    }
    [[nodiscard]] int send(int fd, std::string_view bytes) {
        return network_->send(fd, bytes, nullptr, 0);
    }
    [[nodiscard]] std::optional<std::string> receive(int fd) { return network_->receive(fd); }

    // --- turning ---
    /// Of a backend that is watched: what the loop that watches it does, once.
    void turn(steady_time deadline);
    /// Turns `count` times without waiting: whatever could be there is.
    void turn_at_once(int count = 8);
    using condition = std::function<bool()>;
    /// True when the condition holds; otherwise the test has failed, with what was seen.
    bool turn_until(const condition& holds, std::string_view what = "a condition");

    // --- leases ---
    void set_leases(leases mode) { mode_ = mode; }
    [[nodiscard]] std::size_t held() const { return held_.size(); }
    [[nodiscard]] const std::vector<std::pair<buffer_class, std::uint32_t>>& held_buffers() const {
        return held_;
    }
    /// Gives the oldest `count` back to the backend, if there is one.
    void release_held(std::size_t count);
    void release_held() { release_held(held_.size()); }

    // --- what was seen ---
    [[nodiscard]] const std::vector<event>& events() const { return events_; }
    [[nodiscard]] const std::vector<seen_datagram>& datagrams(const receiver& from) {
        return seen_[from.tag].datagrams;
    }
    [[nodiscard]] std::vector<std::string> payloads(const receiver& from);
    /// Everything a stream has brought.
    [[nodiscard]] const std::string& bytes(const receiver& from) { return seen_[from.tag].bytes; }
    /// Connections of a listener, the latest last; the caller's to close.
    [[nodiscard]] std::vector<int>& accepted(const receiver& by) { return seen_[by.tag].accepted; }
    [[nodiscard]] std::size_t count(const receiver& from, event_kind kind);
    [[nodiscard]] std::size_t datagrams_seen() const { return datagrams_seen_; }
    [[nodiscard]] std::size_t deliveries() const { return deliveries_; }

    /// Detaches, closes, and turns until `detached`.
    void detach_and_close(const receiver& one);
    /// A source can receive into every buffer of the pool at once: none has been lost.
    void expect_every_buffer_works(buffer_class which = buffer_class::small);

  private:
    class sink;
    struct seen_source {
        std::vector<seen_datagram> datagrams;
        std::string bytes;
        std::vector<int> accepted;
        std::map<event_kind, std::size_t> counts;
        message_layout layout;
        bool is_detached = false;
    };
    void wait_in_set(steady_time deadline);
    void take(std::span<const event> batch);
    void take_datagram(const event& one, seen_source& from);
    void take_bytes(const event& one, seen_source& from);
    [[nodiscard]] bool take_buffer(const event& one);
    [[nodiscard]] std::string describe() const;

    std::unique_ptr<fake_network> fake_;
    std::unique_ptr<test_network> network_;
    pool_sizes sizes_;
    std::array<buffer_pool::owner, buffer_class_count> pools_;
    backend_ledger ledger_;
    std::unique_ptr<io_backend> backend_;
    std::optional<waiting_set> set_;  // of a backend that is watched
    std::vector<int> sockets_;
    std::uint32_t next_tag_ = 1000;

    leases mode_ = leases::give_back;
    std::vector<std::pair<buffer_class, std::uint32_t>> held_;
    std::array<std::vector<bool>, buffer_class_count> is_out_;
    std::vector<event> events_;
    std::map<std::uint32_t, seen_source> seen_;
    std::size_t datagrams_seen_ = 0;
    std::size_t deliveries_ = 0;
    bool is_turning_ = false;

    // Ends the program when a test does not end.
    std::mutex mutex_;
    std::condition_variable is_over_;
    bool is_finished_ = false;
    std::thread watchdog_;
};

}  // namespace quoit::test
