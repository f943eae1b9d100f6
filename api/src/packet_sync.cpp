// SPDX-License-Identifier: MIT
#include <quoit/packet_sync.hpp>

#include "polled_packets.hpp"

#include <utility>

namespace quoit::sync {

// --- packet_server ---

packet_server::packet_server() noexcept = default;
packet_server::packet_server(std::shared_ptr<detail::polled_packet_server> state) noexcept
    : state_(std::move(state)) {}
packet_server::packet_server(packet_server&& other) noexcept = default;
packet_server& packet_server::operator=(packet_server&& other) noexcept = default;
packet_server::~packet_server() = default;

result<packet_server> packet_server::open(host_port where, const packet_options& options) {
    return open(std::span(&where, 1), options);
}

result<packet_server> packet_server::open(std::span<const host_port> where,
                                          const packet_options& options) {
    auto made = std::make_shared<detail::polled_packet_server>(options);
    if (status opened = made->open(where); !opened) return std::unexpected(opened.error());
    return packet_server(std::move(made));
}

status packet_server::update(time_limit wait) {
    return state_ ? state_->update(wait) : errc::closed;
}

std::vector<packets_of_peer> packet_server::read() {
    return state_ ? state_->read() : std::vector<packets_of_peer>();
}

std::vector<departure> packet_server::departed() {
    return state_ ? state_->departed() : std::vector<departure>();
}

status packet_server::write(byte_view body) {
    if (!state_) return errc::closed;
    if (status allowed = state_->check(body.size()); !allowed) return allowed;
    return state_->write(shared_bytes::copy_of(body));
}
status packet_server::write(const shared_bytes& body) {
    return state_ ? state_->write(body) : errc::closed;
}
status packet_server::write(byte_view body, const packet_peer& to) {
    return write(body, std::span(&to, 1));
}
status packet_server::write(const shared_bytes& body, const packet_peer& to) {
    return write(body, std::span(&to, 1));
}
status packet_server::write(byte_view body, std::span<const packet_peer> to) {
    if (!state_) return errc::closed;
    if (status allowed = state_->check(body.size()); !allowed) return allowed;
    return state_->write(shared_bytes::copy_of(body), to);
}
status packet_server::write(const shared_bytes& body, std::span<const packet_peer> to) {
    return state_ ? state_->write(body, to) : errc::closed;
}

std::vector<packet_peer> packet_server::clients() const {
    return state_ ? state_->clients() : std::vector<packet_peer>();
}
std::size_t packet_server::client_count() const noexcept {
    return state_ ? state_->client_count() : 0;
}

address packet_server::local_address() const noexcept {
    const auto all = local_addresses();
    return all.empty() ? address() : all.front();
}
std::span<const address> packet_server::local_addresses() const noexcept {
    return state_ ? state_->local_addresses() : std::span<const address>();
}

void packet_server::close() noexcept {
    if (state_) state_->close();
}
bool packet_server::is_open() const noexcept { return state_ && state_->is_open(); }
packet_stats packet_server::stats() const { return state_ ? state_->stats() : packet_stats(); }

// --- packet_client ---

packet_client::packet_client() noexcept = default;
packet_client::packet_client(std::shared_ptr<detail::polled_packet_client> state) noexcept
    : state_(std::move(state)) {}
packet_client::packet_client(packet_client&& other) noexcept = default;
packet_client& packet_client::operator=(packet_client&& other) noexcept = default;
packet_client::~packet_client() = default;

result<packet_client> packet_client::open(host_port where, const packet_options& options) {
    auto made = std::make_shared<detail::polled_packet_client>(options);
    if (status opened = made->open(where); !opened) return std::unexpected(opened.error());
    return packet_client(std::move(made));
}

status packet_client::update(time_limit wait) {
    return state_ ? state_->update(wait) : errc::closed;
}

std::vector<packet> packet_client::read() {
    return state_ ? state_->read() : std::vector<packet>();
}

status packet_client::write(byte_view body) {
    if (!state_) return errc::closed;
    if (status allowed = state_->check(body.size()); !allowed) return allowed;
    return state_->write(shared_bytes::copy_of(body));
}
status packet_client::write(const shared_bytes& body) {
    return state_ ? state_->write(body) : errc::closed;
}

bool packet_client::is_connected() const noexcept { return state_ && state_->is_connected(); }
status packet_client::state() const { return state_ ? state_->state() : errc::closed; }
address packet_client::local_address() const noexcept {
    return state_ ? state_->local_address() : address();
}
address packet_client::peer_address() const noexcept {
    return state_ ? state_->peer_address() : address();
}

void packet_client::close() noexcept {
    if (state_) state_->close();
}
bool packet_client::is_open() const noexcept { return state_ && state_->is_open(); }
packet_stats packet_client::stats() const { return state_ ? state_->stats() : packet_stats(); }

}  // namespace quoit::sync
