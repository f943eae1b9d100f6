// SPDX-License-Identifier: MIT
//
// The callback surface: derive, override, give it to loop::listen_udp.
//
//   class echo final : public quoit::datagram_protocol {
//       void datagram_received(quoit::datagram& received) override {
//           transport().reply(std::move(received));
//       }
//   };
//   auto port = or_throw(loop.listen_udp({"127.0.0.1", 9999}, std::make_shared<echo>()));
//   loop.run();
//
// started() is called once for each listening, before any datagram and before listen_udp() returns;
// stopped() once after it, when the port is free again, on a later turn. Between the two
// transport() can be used, from inside the callbacks too: to send, to connect, to close.
//
// Callbacks run on the loop's thread, never two at once and never inside each other. What they
// throw is caught, logged with the peer and counted; the endpoint goes on. Nothing is ever lost to
// a slow one but what udp_options::on_full says.
//
// Ownership: listening shares the protocol until stopped() has returned. The handle that
// listen_udp() gives closes when it is destroyed.
// Thread safety: none; the loop's thread, or before it runs.
#pragma once

#include <quoit/address.hpp>
#include <quoit/datagram.hpp>
#include <quoit/detail/counted.hpp>
#include <quoit/error.hpp>
#include <quoit/loop.hpp>
#include <quoit/options.hpp>
#include <quoit/stats.hpp>
#include <quoit/udp.hpp>

#include <cstdint>
#include <memory>
#include <utility>

namespace quoit {

namespace detail {
class protocol_session;
}

class datagram_protocol {
  public:
    datagram_protocol() = default;
    datagram_protocol(const datagram_protocol&) = delete;
    datagram_protocol& operator=(const datagram_protocol&) = delete;
    virtual ~datagram_protocol() = default;

    virtual void started() {}
    /// May be moved from.
    virtual void datagram_received(datagram& received) = 0;
    /// Nobody listens where an earlier datagram went: once per refusal, when connected.
    virtual void connection_refused() {}
    /// What else the kernel reported of an earlier datagram, when connected; with
    /// udp_options::report_send_errors what it refused to send, too. The errno it gave.
    virtual void error_received(const error& why) { static_cast<void>(why); }
    /// It can listen again once this has returned.
    virtual void stopped() {}

  protected:
    /// What it sends through, connects, asks for addresses and closes. Aborts before started() and
    /// after stopped().
    [[nodiscard]] udp_socket& transport() noexcept;

  private:
    friend class detail::protocol_session;
    udp_socket* transport_ = nullptr;
};

/// A protocol that listens. Move-only.
class [[nodiscard("it closes when it is dropped")]] protocol_port {
  public:
    /// Nothing; closed.
    protocol_port() noexcept;
    explicit protocol_port(detail::counted_ptr<detail::protocol_session> session) noexcept;
    protocol_port(protocol_port&& other) noexcept;
    protocol_port& operator=(protocol_port&& other) noexcept;
    ~protocol_port();

    [[nodiscard]] address local_address() const noexcept;
    [[nodiscard]] quoit::stats stats() const;
    /// Exceptions of its callbacks.
    [[nodiscard]] std::uint64_t failure_count() const noexcept;
    /// What was received is still delivered, what was sent is flushed; then stopped() is called.
    void close() noexcept;
    [[nodiscard]] bool is_closing() const noexcept;
    /// As udp_socket::wait_closed(); stopped() is called after that.
    [[nodiscard("co_await it")]] detail::closed_operation wait_closed() noexcept;
    /// The protocol's transport, for everything else.
    [[nodiscard]] udp_socket& transport() noexcept;

  private:
    detail::counted_ptr<detail::protocol_session> session_;
};

}  // namespace quoit
