// SPDX-License-Identifier: MIT
#include <quoit/packet.hpp>

#include "packet_client_core.hpp"
#include "packet_server_core.hpp"

#include <utility>

namespace quoit {

// --- packet_server ---

packet_server::packet_server() noexcept = default;
packet_server::packet_server(detail::counted_ptr<detail::packet_server_core> core) noexcept
    : core_(std::move(core)) {}
packet_server::packet_server(packet_server&& other) noexcept = default;
packet_server& packet_server::operator=(packet_server&& other) noexcept {
    if (this != &other) {
        if (core_) core_->abandon();
        core_ = std::move(other.core_);
    }
    return *this;
}
packet_server::~packet_server() {
    if (core_) core_->abandon();
}

address packet_server::local_address() const noexcept {
    const auto all = local_addresses();
    return all.empty() ? address() : all.front();
}

std::span<const address> packet_server::local_addresses() const noexcept {
    return core_ ? core_->local_addresses() : std::span<const address>();
}

detail::packet_read_operation packet_server::read(wait_options options) noexcept {
    return {core_.get(), options};
}

detail::packet_next_operation packet_server::next(wait_options options) noexcept {
    return {core_.get(), options};
}

result<packet> packet_server::try_read() {
    if (!core_) return failure(errc::closed);
    result<detail::packet_item> taken = core_->try_take(detail::packet_interest::packets);
    if (!taken) return std::unexpected(std::move(taken).error());
    return std::move(*taken).as_packet();
}

result<packet_event> packet_server::try_next() {
    if (!core_) return failure(errc::closed);
    result<detail::packet_item> taken = core_->try_take(detail::packet_interest::everything);
    if (!taken) return std::unexpected(std::move(taken).error());
    return std::move(*taken).as_event();
}

status packet_server::write(byte_view body) { return core_ ? core_->write(body) : errc::closed; }
status packet_server::write(const shared_bytes& body) {
    return core_ ? core_->write(body) : errc::closed;
}
status packet_server::write(byte_view body, const packet_peer& to) {
    return core_ ? core_->write(body, to) : errc::closed;
}
status packet_server::write(const shared_bytes& body, const packet_peer& to) {
    return core_ ? core_->write(body, to) : errc::closed;
}
status packet_server::write(byte_view body, std::span<const packet_peer> to) {
    return core_ ? core_->write(body, to) : errc::closed;
}
status packet_server::write(const shared_bytes& body, std::span<const packet_peer> to) {
    return core_ ? core_->write(body, to) : errc::closed;
}

void packet_server::flush() noexcept {
    if (core_) core_->flush();
}

detail::packet_drain_operation packet_server::drain(packet_peer peer) noexcept {
    // A peer of nobody would mean everybody.
    const bool is_somebody = peer != packet_peer();
    return {is_somebody ? detail::counted_ptr<detail::packet_endpoint>(core_.get())
                        : detail::counted_ptr<detail::packet_endpoint>(),
            std::move(peer)};
}

detail::packet_drain_operation packet_server::drain() noexcept {
    return {detail::counted_ptr<detail::packet_endpoint>(core_.get()), packet_peer()};
}

std::vector<packet_peer> packet_server::peers() const {
    return core_ ? core_->peers() : std::vector<packet_peer>();
}

std::size_t packet_server::peer_count() const noexcept { return core_ ? core_->peer_count() : 0; }

void packet_server::close() noexcept {
    if (core_) core_->close();
}

void packet_server::abort() noexcept {
    if (core_) core_->abort();
}

bool packet_server::is_closing() const noexcept { return !core_ || core_->is_closing(); }

detail::packet_closed_operation packet_server::wait_closed() noexcept {
    return detail::packet_closed_operation(
        detail::counted_ptr<detail::packet_endpoint>(core_.get()));
}

packet_stats packet_server::stats() const { return core_ ? core_->stats() : packet_stats(); }

packet_stats packet_server::stats(const packet_peer& peer) const {
    return core_ ? core_->stats(peer) : packet_stats();
}

// --- packet_client ---

packet_client::packet_client() noexcept = default;
packet_client::packet_client(detail::counted_ptr<detail::packet_client_core> core) noexcept
    : core_(std::move(core)) {}
packet_client::packet_client(packet_client&& other) noexcept = default;
packet_client& packet_client::operator=(packet_client&& other) noexcept {
    if (this != &other) {
        if (core_) core_->abandon();
        core_ = std::move(other.core_);
    }
    return *this;
}
packet_client::~packet_client() {
    if (core_) core_->abandon();
}

detail::packet_connected_operation packet_client::wait_connected(wait_options options) noexcept {
    return {detail::counted_ptr<detail::packet_endpoint>(core_.get()), options};
}

bool packet_client::is_connected() const noexcept { return core_ && core_->is_connected(); }

address packet_client::local_address() const noexcept {
    return core_ ? core_->local_address() : address();
}

address packet_client::peer_address() const noexcept {
    return core_ ? core_->peer_address() : address();
}

detail::packet_read_operation packet_client::read(wait_options options) noexcept {
    return {core_.get(), options};
}

result<packet> packet_client::try_read() {
    if (!core_) return failure(errc::closed);
    result<detail::packet_item> taken = core_->try_take(detail::packet_interest::packets);
    if (!taken) return std::unexpected(std::move(taken).error());
    return std::move(*taken).as_packet();
}

status packet_client::write(byte_view body) { return core_ ? core_->write(body) : errc::closed; }
status packet_client::write(const shared_bytes& body) {
    return core_ ? core_->write(body) : errc::closed;
}

void packet_client::flush() noexcept {
    if (core_) core_->flush();
}

detail::packet_drain_operation packet_client::drain() noexcept {
    return {detail::counted_ptr<detail::packet_endpoint>(core_.get()), packet_peer()};
}

void packet_client::close() noexcept {
    if (core_) core_->close();
}

void packet_client::abort() noexcept {
    if (core_) core_->abort();
}

bool packet_client::is_closing() const noexcept { return !core_ || core_->is_closing(); }

detail::packet_closed_operation packet_client::wait_closed() noexcept {
    return detail::packet_closed_operation(
        detail::counted_ptr<detail::packet_endpoint>(core_.get()));
}

packet_stats packet_client::stats() const { return core_ ? core_->stats() : packet_stats(); }

}  // namespace quoit
