// SPDX-License-Identifier: MIT
//
// lazy_udp_client: a client that is made now and connected when it is first used.
//
//   quoit::lazy_udp_client client({"localhost", 9999});
//   or_throw(co_await client.send("hello"));                    // resolves, connects, sends
//   auto reply = co_await client.read({.timeout = 2s});
//
// Whoever uses it first connects it, for all: several may wait, one lookup is made and one socket
// opened. An attempt that fails is told to everybody who waits for it; the next use tries again.
// Somebody who is cancelled, or whose limit has passed, harms nobody else.
//
// Ownership: owns its client. Its destruction closes that, and whoever waits answers errc::closed.
// Thread safety: none; the loop's thread.
#pragma once

#include <quoit/address.hpp>
#include <quoit/datagram.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>
#include <quoit/payload.hpp>
#include <quoit/task.hpp>
#include <quoit/udp.hpp>

#include <memory>
#include <vector>

namespace quoit {

class lazy_udp_client {
  public:
    /// `where` is copied. What is wrong with it or with the options is told when it is used.
    explicit lazy_udp_client(host_port where, udp_options options = {});
    lazy_udp_client(lazy_udp_client&&) noexcept;
    lazy_udp_client& operator=(lazy_udp_client&& other) noexcept;
    ~lazy_udp_client();

    /// Success, at once, when it is connected.
    /// Errors: as open_udp_connection(); errc::closed; errc::timed_out; errc::canceled.
    [[nodiscard]] task<result<void>> wait_connected(wait_options options = {});
    [[nodiscard]] bool is_connected() const noexcept;

    /// Connects if need be, then as udp_client. The payload is copied before this returns.
    [[nodiscard]] task<result<void>> send(byte_view payload);
    /// The limit counts for both. Several may read.
    [[nodiscard]] task<result<datagram>> read(wait_options options = {});

    /// The client it became. REQUIRES: is_connected().
    [[nodiscard]] udp_client& endpoint() noexcept;

    /// For good: before it was connected too. What was received stays readable.
    void close() noexcept;
    [[nodiscard]] bool is_closing() const noexcept;

  private:
    class attempt_guard;
    class core;
    [[nodiscard]] static task<result<void>> connect(std::shared_ptr<core> of, wait_options options);
    [[nodiscard]] static task<> connect_now(attempt_guard of);
    [[nodiscard]] static task<result<void>> send_copy(std::shared_ptr<core> of,
                                                      std::vector<std::byte> payload);
    [[nodiscard]] static task<result<datagram>> read_from(std::shared_ptr<core> of,
                                                          wait_options options);
    std::shared_ptr<core> core_;
};

}  // namespace quoit
