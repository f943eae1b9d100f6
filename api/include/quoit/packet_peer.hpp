// SPDX-License-Identifier: MIT
//
// What reading packets over TCP hands out: packets, whom they are of, and who came and went.
//
//   std::map<quoit::packet_peer, std::string> names;
//   ...
//   names[packet.peer()] = packet.text();
//   if (!packet.peer().is_connected()) ...
//
// Ownership: values, cheap to copy. A peer keeps neither its connection open nor its server alive;
// a packet keeps its body, and copies of it share that (see quoit/shared_bytes.hpp).
// Thread safety: packet_peer: any thread may hold, copy, compare, ask and close it. packet: as of
// std::shared_ptr.
// Errors: packet_peer::close() posts to the loop when it is called on another thread, and then may
// throw std::bad_alloc; nothing else does.
#pragma once

#include <quoit/address.hpp>
#include <quoit/shared_bytes.hpp>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

namespace quoit {

namespace detail {
class packet_peer_state;
}  // namespace detail

/// The other end of one connection: of a server each of its clients, of a client its server. Two
/// are equal when they are of the same connection; who connects again is another peer.
class packet_peer {
  public:
    /// Nobody, who is not connected.
    packet_peer() noexcept = default;
    packet_peer(std::uint64_t id, std::shared_ptr<detail::packet_peer_state> state) noexcept
        : id_(id), state_(std::move(state)) {}

    /// Also when it has gone.
    [[nodiscard]] address remote() const noexcept;
    /// Until its end has been handed out: by next(), by a read() that has passed it, or by
    /// disconnected(). What is written to it before that may be refused nevertheless.
    [[nodiscard]] bool is_connected() const noexcept;
    /// Closes the connection: what was written before is flushed, and the reader is told of its end
    /// (errc::closed) behind what was received. In this call on the loop's thread, in the loop's
    /// next turn on any other; without effect once the connection or the loop is gone.
    void close() const;

    [[nodiscard]] friend bool operator==(const packet_peer& a, const packet_peer& b) noexcept {
        return a.id_ == b.id_;
    }
    /// In the order in which they connected.
    [[nodiscard]] friend std::strong_ordering operator<=>(const packet_peer& a,
                                                          const packet_peer& b) noexcept {
        return a.id_ <=> b.id_;
    }

  private:
    friend struct std::hash<packet_peer>;
    friend class detail::packet_peer_state;

    std::uint64_t id_ = 0;  // of the process; 0: nobody
    std::shared_ptr<detail::packet_peer_state> state_;
};

/// One packet that was received.
class packet {
  public:
    /// Of nobody, empty.
    packet() noexcept = default;
    packet(packet_peer from, shared_bytes body) noexcept
        : peer_(std::move(from)), body_(std::move(body)) {}

    [[nodiscard]] const packet_peer& peer() const& noexcept { return peer_; }
    [[nodiscard]] packet_peer peer() && noexcept { return std::move(peer_); }

    [[nodiscard]] std::span<const std::byte> body() const& noexcept { return body_.bytes(); }
    std::span<const std::byte> body() && = delete;
    [[nodiscard]] std::string_view text() const& noexcept { return body_.text(); }
    std::string_view text() && = delete;
    /// To keep, or to send on, without a copy.
    [[nodiscard]] const shared_bytes& shared() const& noexcept { return body_; }
    [[nodiscard]] shared_bytes shared() && noexcept { return std::move(body_); }

    [[nodiscard]] std::size_t size() const noexcept { return body_.size(); }
    [[nodiscard]] bool is_empty() const noexcept { return body_.is_empty(); }
    /// So that it is a range of bytes, and with that a byte_view.
    [[nodiscard]] const std::byte* begin() const noexcept { return body_.begin(); }
    [[nodiscard]] const std::byte* end() const noexcept { return body_.end(); }

  private:
    packet_peer peer_;
    shared_bytes body_;
};

/// What packet_server::next() answers: of each peer one `connected`, its packets in order, and one
/// `disconnected`.
struct packet_event {
    enum class kind : std::uint8_t { connected, received, disconnected };

    kind what = kind::received;
    packet_peer peer{};
    /// The packet, when that is what it is.
    std::optional<packet> received{};
    /// Of a disconnection: none when the peer has finished between two packets; errc::framing,
    /// errc::slow_peer, errc::timed_out, errc::closed (by this program), or the kernel's errno
    /// (ECONNRESET).
    std::error_code reason{};
};

}  // namespace quoit

template <>
struct std::hash<quoit::packet_peer> {
    [[nodiscard]] std::size_t operator()(const quoit::packet_peer& peer) const noexcept {
        return std::hash<std::uint64_t>()(peer.id_);
    }
};
