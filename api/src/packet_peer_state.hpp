// SPDX-License-Identifier: MIT
//
// packet_peer_state: what all handles of one peer share, and packet_handler: what a stream of the
// loop's port leads to.
//
// Thread safety: packet_peer_state: what is const, and is_connected, are for any thread; `endpoint`
// and `handler` are the loop's. packet_handler: the loop's thread.
#pragma once

#include <quoit/address.hpp>
#include <quoit/packet_peer.hpp>
#include <quoit/packet_port.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace quoit::detail {

class loop_mailbox;
class packet_endpoint;

/// Hears of one stream. See packet_events.
class packet_handler {
  public:
    packet_handler() = default;
    packet_handler(const packet_handler&) = delete;
    packet_handler& operator=(const packet_handler&) = delete;

    virtual void accepted(packet_stream_id stream) noexcept { static_cast<void>(stream); }
    virtual void connected() noexcept {}
    virtual void readable() noexcept {}
    virtual void drained() noexcept {}
    /// May destroy it.
    virtual void closed() noexcept = 0;
    /// The program closes the connection by its peer.
    virtual void close_peer() noexcept {}

  protected:
    ~packet_handler() = default;
};

class packet_peer_state {
  public:
    packet_peer_state(const address& remote_address, std::shared_ptr<loop_mailbox> loop,
                      const packet_endpoint& whose, packet_handler& connection) noexcept
        : remote(remote_address), mailbox(std::move(loop)), endpoint(&whose), handler(&connection) {
    }

    /// A new peer; its id is greater than that of any before.
    [[nodiscard]] static packet_peer make(const address& remote,
                                          std::shared_ptr<loop_mailbox> mailbox,
                                          const packet_endpoint& whose, packet_handler& connection);
    /// The connection is forgotten.
    void disconnect() noexcept {
        is_connected.store(false, std::memory_order_relaxed);
        endpoint = nullptr;
        handler = nullptr;
    }
    /// Null of nobody.
    [[nodiscard]] static packet_peer_state* of(const packet_peer& peer) noexcept {
        return peer.state_.get();
    }

    const address remote;
    const std::shared_ptr<loop_mailbox> mailbox;
    // Relaxed everywhere: nothing is published by it.
    std::atomic<bool> is_connected{true};
    // The loop's thread; null when the connection is forgotten.
    const packet_endpoint* endpoint;
    packet_handler* handler;
};

}  // namespace quoit::detail
