// SPDX-License-Identifier: MIT
#include <quoit/detail/blocking_socket.hpp>
#include <quoit/sync.hpp>

#include "open_blocking.hpp"

#include <algorithm>
#include <utility>

namespace quoit::sync {

// --- udp_endpoint ---

udp_endpoint::udp_endpoint(std::shared_ptr<detail::blocking_socket> socket) noexcept
    : socket_(std::move(socket)) {}

udp_endpoint& udp_endpoint::operator=(udp_endpoint&& other) noexcept {
    if (this != &other) {
        close();
        socket_ = std::move(other.socket_);
    }
    return *this;
}

udp_endpoint::~udp_endpoint() { close(); }

address udp_endpoint::local_address() const noexcept {
    return socket_ ? socket_->local_addresses().front() : address();
}

std::span<const address> udp_endpoint::local_addresses() const noexcept {
    return socket_ ? socket_->local_addresses() : std::span<const address>();
}

std::optional<address> udp_endpoint::peer_address() const noexcept {
    return socket_ ? socket_->peer() : std::nullopt;
}

int udp_endpoint::descriptor() const noexcept { return socket_ ? socket_->descriptor() : -1; }

result<datagram> udp_endpoint::read(wait_options options) {
    if (!socket_) return failure(errc::closed);
    return socket_->receive(options.timeout);
}

incoming_range udp_endpoint::received(incoming_options options) {
    return incoming_range(socket_, options);
}

status udp_endpoint::send(byte_view payload, wait_options options) {
    return send_pieces(std::span(&payload, 1), options);
}

status udp_endpoint::send_pieces(std::span<const byte_view> pieces, wait_options options) {
    if (!socket_) return errc::closed;
    return socket_->send(pieces, {}, options.timeout);
}

status udp_endpoint::send_pieces(std::initializer_list<byte_view> pieces, wait_options options) {
    return send_pieces(std::span(pieces.begin(), pieces.size()), options);
}

status udp_endpoint::sendto(byte_view payload, const address& to, wait_options options) {
    return sendto_pieces(std::span(&payload, 1), to, options);
}

status udp_endpoint::sendto_pieces(std::span<const byte_view> pieces, const address& to,
                                   wait_options options) {
    if (!socket_) return errc::closed;
    return socket_->send(pieces, {.to = &to}, options.timeout);
}

status udp_endpoint::sendto_pieces(std::initializer_list<byte_view> pieces, const address& to,
                                   wait_options options) {
    return sendto_pieces(std::span(pieces.begin(), pieces.size()), to, options);
}

status udp_endpoint::reply(const datagram& to, byte_view payload, wait_options options) {
    if (!socket_) return errc::closed;
    const address peer = to.peer();
    return socket_->send(std::span(&payload, 1), {.to = &peer, .request = &to.view().fields()},
                         options.timeout);
}

void udp_endpoint::close() noexcept {
    if (socket_) socket_->close();
}

bool udp_endpoint::is_closing() const noexcept { return !socket_ || socket_->is_closing(); }

buffer_sizes udp_endpoint::buffers() const { return socket_ ? socket_->buffers() : buffer_sizes(); }

status udp_endpoint::set_broadcast(bool allowed) noexcept {
    if (!socket_) return errc::closed;
    return socket_->set_broadcast(allowed);
}

bool udp_endpoint::broadcast() const noexcept { return socket_ && socket_->broadcast(); }

quoit::stats udp_endpoint::stats() const { return socket_ ? socket_->stats() : quoit::stats(); }

// --- incoming_range ---

incoming_range::incoming_range(std::shared_ptr<detail::blocking_socket> socket,
                               incoming_options options) noexcept
    : socket_(std::move(socket)) {
    if (!options.budget.is_valid()) {
        ended_ = errc::invalid_option;
    } else if (!socket_) {
        ended_ = errc::closed;
    } else if (!options.budget.is_none()) {
        const auto now = std::chrono::steady_clock::now();
        left_ = options.budget.deadline(now) - now;
    }
}

incoming_range::iterator incoming_range::begin() {
    advance();
    return iterator(*this);
}

void incoming_range::advance() {
    while (ended_) {
        const auto started = std::chrono::steady_clock::now();
        time_limit limit;
        if (left_) limit = std::max(*left_, std::chrono::nanoseconds(0));
        result<datagram> next = socket_->receive(limit);
        if (left_) *left_ -= std::chrono::steady_clock::now() - started;
        if (next) {
            current_ = *std::move(next);
            return;
        }
        const error& why = next.error();
        if (why.code().category() == category()) ended_ = why;  // what is not ours is a refusal
    }
}

// --- opening ---

namespace {

template <class Handle>
result<Handle> handle_of(detail::blocking_socket::opened made) {
    if (!made) return std::unexpected(made.error());
    return Handle(*std::move(made));
}

}  // namespace

result<udp_client> open_udp_connection(host_port where, const udp_options& options) {
    return handle_of<udp_client>(detail::open_blocking_client(where, options));
}

result<udp_server> start_udp_server(host_port where, const udp_options& options) {
    return handle_of<udp_server>(detail::open_blocking_server(std::span(&where, 1), options));
}

result<udp_server> start_udp_server(std::span<const host_port> where, const udp_options& options) {
    return handle_of<udp_server>(detail::open_blocking_server(where, options));
}

}  // namespace quoit::sync
