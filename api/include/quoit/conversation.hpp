// SPDX-License-Identifier: MIT
//
// conversation: a peer being talked to, by a handler of a service (service.hpp).
//
//   quoit::task<> echo(quoit::conversation<quoit::raw_codec> client) {
//       while (auto request = co_await client.next()) client.send(*request);
//   }
//
// A value: cheap to copy, compared and hashed by listener and peer. It may outlive its handler and
// its service; then it is closing. Several may wait in next(): they are served in order.
//
// Thread safety: none; the loop's thread.
#pragma once

#include <quoit/address.hpp>
#include <quoit/codec.hpp>
#include <quoit/datagram.hpp>
#include <quoit/detail/counted.hpp>
#include <quoit/detail/peer_table.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>

#include <cstddef>
#include <functional>
#include <utility>

namespace quoit {

namespace detail {

template <codec Codec>
class [[nodiscard("co_await it")]] next_operation final : public peer::reader {
  public:
    next_operation(counted_ptr<peer> of, wait_options options) noexcept
        : reader(std::move(of), options.timeout) {}
    result<decoded_t<Codec>> await_resume() {
        const result<datagram> received = take();
        if (!received) return std::unexpected(received.error());
        auto& codec = *static_cast<Codec*>(kept()->table().codec());
        return decode_with(codec, received->payload());
    }
};

}  // namespace detail

template <codec Codec>
class conversation {
  public:
    explicit conversation(detail::counted_ptr<detail::peer> peer) noexcept
        : peer_(std::move(peer)) {}

    /// Its next packet; the first one is there already when a handler starts. A datagram that is no
    /// packet is errc::bad_datagram, and a codec that throws errc::codec_failed; either way the
    /// datagram is consumed and the conversation goes on.
    /// Errors: those; errc::timed_out; errc::closed, once the peer has been forgotten or the
    /// service is closing and everything has been read; errc::canceled, in a handler that is to
    /// end; errc::invalid_option. Without a limit: peer_options::idle_time_max.
    [[nodiscard("co_await it")]] detail::next_operation<Codec> next(
        wait_options options = {}) noexcept {
        return detail::next_operation<Codec>(peer_, options);
    }

    /// From the socket and the address it wrote to.
    /// Errors: errc::codec_failed, errc::message_too_long, or what encode() returned; otherwise as
    /// udp_socket::reply(). errc::closed from the moment the service shuts down.
    template <class Packet>
        requires encodes<Codec, Packet>
    status send(const Packet& packet) {
        if (is_closing()) return errc::closed;
        payload_buffer& out = peer_->table().scratch();
        auto& codec = *static_cast<Codec*>(peer_->table().codec());
        if (status encoded = detail::encode_with(codec, packet, out); !encoded) return encoded;
        return peer_->send(out);
    }

    /// Of one that was moved from: unspecified.
    [[nodiscard]] address peer() const noexcept { return peer_ ? peer_->remote() : address(); }
    /// The address it wrote to, or that of the socket where that is not known.
    [[nodiscard]] address local() const noexcept { return peer_ ? peer_->local() : address(); }
    [[nodiscard]] bool is_closing() const noexcept { return !peer_ || peer_->is_closing(); }

    [[nodiscard]] friend bool operator==(const conversation& a, const conversation& b) noexcept {
        return a.peer_.get() == b.peer_.get();
    }

  private:
    friend struct std::hash<conversation>;
    detail::counted_ptr<detail::peer> peer_;
};

}  // namespace quoit

template <class Codec>
struct std::hash<quoit::conversation<Codec>> {
    [[nodiscard]] std::size_t operator()(const quoit::conversation<Codec>& one) const noexcept {
        return std::hash<const void*>()(one.peer_.get());
    }
};
