// SPDX-License-Identifier: MIT
//
// Packets over TCP by callbacks: derive, override, give it to loop::listen_packets.
//
//   class echo final : public quoit::packet_protocol {
//       void packet_received(quoit::packet& received) override {
//           transport().write(received, received.peer());
//       }
//   };
//   auto port = or_throw(loop.listen_packets({"127.0.0.1", 4200}, std::make_shared<echo>()));
//   loop.run();
//
// started() is called once for each listening, before anything else and before listen_packets()
// returns; then of each peer connected(), packet_received() for each packet in order, and
// disconnected(), once, those included that closing disconnects; at the end stopped(), when the
// port is free again, on a later turn. Between started() and stopped() transport() can be used,
// from inside the callbacks too: to write to one, several or all, to ask who is there, to close.
//
// Callbacks run on the loop's thread, never two at once and never inside each other. What they
// throw is caught, logged with the peer and counted; the connection goes on.
//
// Ownership: listening shares the protocol until stopped() has returned. The handle that
// listen_packets() gives closes when it is destroyed.
// Thread safety: none; the loop's thread, or before it runs.
#pragma once

#include <quoit/address.hpp>
#include <quoit/detail/counted.hpp>
#include <quoit/loop.hpp>
#include <quoit/packet.hpp>
#include <quoit/packet_peer.hpp>
#include <quoit/packet_stats.hpp>

#include <cstdint>
#include <memory>
#include <system_error>

namespace quoit {

namespace detail {
class packet_session;
}

class packet_protocol {
  public:
    packet_protocol() = default;
    packet_protocol(const packet_protocol&) = delete;
    packet_protocol& operator=(const packet_protocol&) = delete;
    virtual ~packet_protocol() = default;

    virtual void started() {}
    virtual void connected(const packet_peer& peer) { static_cast<void>(peer); }
    /// May be moved from.
    virtual void packet_received(packet& received) = 0;
    /// `reason` as packet_event::reason.
    virtual void disconnected(const packet_peer& peer, std::error_code reason) {
        static_cast<void>(peer);
        static_cast<void>(reason);
    }
    /// It can listen again once this has returned.
    virtual void stopped() {}

  protected:
    /// What it writes through, asks and closes; reading from it would take packets away from
    /// packet_received(). Aborts before started() and after stopped().
    [[nodiscard]] packet_server& transport() noexcept;

  private:
    friend class detail::packet_session;
    packet_server* transport_ = nullptr;
};

/// A packet protocol that listens. Move-only.
class [[nodiscard("it closes when it is dropped")]] packet_protocol_port {
  public:
    /// Nothing; closed.
    packet_protocol_port() noexcept;
    explicit packet_protocol_port(detail::counted_ptr<detail::packet_session> session) noexcept;
    packet_protocol_port(packet_protocol_port&& other) noexcept;
    packet_protocol_port& operator=(packet_protocol_port&& other) noexcept;
    ~packet_protocol_port();

    [[nodiscard]] address local_address() const noexcept;
    [[nodiscard]] packet_stats stats() const;
    /// Exceptions of its callbacks.
    [[nodiscard]] std::uint64_t failure_count() const noexcept;
    /// What was received is still delivered, what was written is flushed; then stopped() is called.
    void close() noexcept;
    [[nodiscard]] bool is_closing() const noexcept;
    /// As packet_server::wait_closed(); stopped() is called after that.
    [[nodiscard("co_await it")]] detail::packet_closed_operation wait_closed() noexcept;
    /// The protocol's transport, for everything else.
    [[nodiscard]] packet_server& transport() noexcept;

  private:
    detail::counted_ptr<detail::packet_session> session_;
};

}  // namespace quoit
