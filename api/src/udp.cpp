// SPDX-License-Identifier: MIT
#include <quoit/udp.hpp>

#include "loop_core.hpp"
#include "udp_access.hpp"

#include <utility>

namespace quoit {

// --- endpoint_handle ---

void endpoint_handle::post_close(close_options how) const {
    if (!mailbox_) return;
    mailbox_->post([id = id_, how] {
        detail::loop_endpoint* const endpoint = detail::current_core().find_endpoint(id);
        if (endpoint == nullptr) return;
        if (how.drops_what_is_queued) {
            endpoint->abort();
        } else {
            endpoint->close();
        }
    });
}

// --- udp_socket ---

udp_socket& udp_socket::operator=(udp_socket&& other) noexcept {
    if (this != &other) {
        if (endpoint_) endpoint_->abandon();
        endpoint_ = std::move(other.endpoint_);
    }
    return *this;
}

udp_socket::~udp_socket() {
    if (endpoint_) endpoint_->abandon();
}

address udp_socket::local_address() const noexcept {
    const auto all = local_addresses();
    return all.empty() ? address() : all.front();
}

std::span<const address> udp_socket::local_addresses() const noexcept {
    return endpoint_ ? endpoint_->local_addresses() : std::span<const address>();
}

std::optional<address> udp_socket::peer_address() const noexcept {
    const port* const p = live_port();
    return p != nullptr ? p->peer_address(endpoint_->id()) : std::nullopt;
}

int udp_socket::descriptor() const noexcept {
    const port* const p = live_port();
    return p != nullptr ? p->descriptor(endpoint_->id()) : -1;
}

status udp_socket::connect(const address& peer) {
    port* const p = live_port();
    if (p == nullptr) return errc::closed;
    status changed = p->connect(endpoint_->id(), peer);
    endpoint_->look_at_local_addresses();
    return changed;
}

status udp_socket::reconnect(const address& peer) {
    port* const p = live_port();
    if (p == nullptr) return errc::closed;
    status changed = p->reconnect(endpoint_->id(), peer);
    endpoint_->look_at_local_addresses();
    return changed;
}

status udp_socket::disconnect() {
    port* const p = live_port();
    if (p == nullptr) return errc::closed;
    status changed = p->disconnect(endpoint_->id());
    endpoint_->look_at_local_addresses();
    return changed;
}

status udp_socket::sendto(byte_view payload, const address& to) {
    return sendto_pieces(std::span(&payload, 1), to);
}

status udp_socket::sendto(datagram&& received, address to) {
    port* const p = live_port();
    if (p == nullptr) return errc::closed;
    return p->sendto(endpoint_->id(), std::move(received), to);
}

status udp_socket::sendto_pieces(std::span<const byte_view> pieces, const address& to) {
    port* const p = live_port();
    if (p == nullptr) return errc::closed;
    return p->sendto(endpoint_->id(), pieces, to);
}

status udp_socket::sendto_pieces(std::initializer_list<byte_view> pieces, const address& to) {
    return sendto_pieces(std::span(pieces.begin(), pieces.size()), to);
}

status udp_socket::send(byte_view payload) { return send_pieces(std::span(&payload, 1)); }

status udp_socket::send(datagram&& received) {
    port* const p = live_port();
    if (p == nullptr) return errc::closed;
    // A datagram is answered by port::send(); on a client its sender is the peer, unless it came
    // from elsewhere, and then it still is to go to the peer.
    const std::optional<address> peer = p->peer_address(endpoint_->id());
    if (!peer) return p->is_closing(endpoint_->id()) ? errc::closed : errc::not_connected;
    return p->sendto(endpoint_->id(), std::move(received), *peer);
}

status udp_socket::send_pieces(std::span<const byte_view> pieces) {
    port* const p = live_port();
    if (p == nullptr) return errc::closed;
    return p->send(endpoint_->id(), pieces);
}

status udp_socket::send_pieces(std::initializer_list<byte_view> pieces) {
    return send_pieces(std::span(pieces.begin(), pieces.size()));
}

status udp_socket::reply(const datagram_view& to, byte_view payload) {
    port* const p = live_port();
    if (p == nullptr) return errc::closed;
    return p->reply(endpoint_->id(), to, payload);
}

status udp_socket::reply(const datagram& to, byte_view payload) {
    return reply(to.view(), payload);
}

status udp_socket::reply(datagram&& received) {
    port* const p = live_port();
    if (p == nullptr) return errc::closed;
    return p->send(endpoint_->id(), std::move(received));
}

status udp_socket::try_sendto(byte_view payload, const address& to) {
    port* const p = live_port();
    if (p == nullptr) return errc::closed;
    return p->try_sendto(endpoint_->id(), payload, to);
}

status udp_socket::try_send(byte_view payload) {
    port* const p = live_port();
    if (p == nullptr) return errc::closed;
    return p->try_send(endpoint_->id(), payload);
}

void udp_socket::flush() noexcept {
    if (port* const p = live_port()) p->flush(endpoint_->id());
}

void udp_socket::close() noexcept {
    if (endpoint_) endpoint_->close();
}

void udp_socket::abort() noexcept {
    if (endpoint_) endpoint_->abort();
}

bool udp_socket::is_closing() const noexcept { return !endpoint_ || endpoint_->is_closing(); }

endpoint_handle udp_socket::handle() const noexcept {
    if (live_port() == nullptr) return {};
    return endpoint_handle(endpoint_->core()->mailbox(), endpoint_->id());
}

buffer_sizes udp_socket::buffers() const {
    const port* const p = live_port();
    return p != nullptr ? p->buffers(endpoint_->id()) : buffer_sizes();
}

status udp_socket::join_group(const ip& group, const group_options& options) {
    port* const p = live_port();
    if (p == nullptr) return errc::closed;
    return p->join_group(endpoint_->id(), group, options);
}

status udp_socket::leave_group(const ip& group, const group_options& options) {
    port* const p = live_port();
    if (p == nullptr) return errc::closed;
    return p->leave_group(endpoint_->id(), group, options);
}

status udp_socket::set_multicast(const multicast_options& options) {
    port* const p = live_port();
    if (p == nullptr) return errc::closed;
    return p->set_multicast(endpoint_->id(), options);
}

multicast_options udp_socket::multicast() const noexcept {
    const port* const p = live_port();
    return p != nullptr ? p->multicast(endpoint_->id()) : multicast_options();
}

status udp_socket::set_broadcast(bool allowed) {
    port* const p = live_port();
    if (p == nullptr) return errc::closed;
    return p->set_broadcast(endpoint_->id(), allowed);
}

bool udp_socket::broadcast() const noexcept {
    const port* const p = live_port();
    return p != nullptr && p->broadcast(endpoint_->id());
}

quoit::stats udp_socket::stats() const { return endpoint_ ? endpoint_->stats() : quoit::stats(); }

// --- udp_reader ---

result<datagram> udp_reader::try_read() {
    detail::loop_endpoint* const from = endpoint();
    if (from == nullptr) return failure(errc::closed);
    if (!from->has_free()) from->look_again();
    if (from->has_free()) return from->take();
    return failure(from->is_at_end() ? errc::closed : errc::would_block);
}

result<datagram_batch> udp_reader::try_read_batch(std::uint32_t size_max) {
    if (size_max == 0 || size_max > detail::batch_size_limit) return failure(errc::invalid_option);
    detail::loop_endpoint* const from = endpoint();
    if (from == nullptr) return failure(errc::closed);
    if (!from->has_free()) from->look_again();
    if (from->has_free()) return from->take_batch(size_max);
    return failure(from->is_at_end() ? errc::closed : errc::would_block);
}

incoming udp_reader::iterate(incoming_options options) noexcept {
    return incoming(detail::counted_ptr<detail::loop_endpoint>(endpoint()), options);
}

// --- incoming ---

incoming::incoming(detail::counted_ptr<detail::loop_endpoint> endpoint,
                   incoming_options options) noexcept
    : endpoint_(std::move(endpoint)) {
    if (!options.budget.is_valid()) {
        ended_ = errc::invalid_option;
    } else if (!options.budget.is_none()) {
        const auto now = std::chrono::steady_clock::now();
        left_ = options.budget.deadline(now) - now;
        may_poll_ = left_->count() <= 0;
    }
}

task<std::optional<datagram>> incoming::next() {
    while (!has_ended()) {
        wait_options options;
        std::chrono::steady_clock::time_point started;
        const bool is_charged = is_budgeted() && endpoint_ && !endpoint_->has_free();
        if (is_charged) {
            // A budget of 0 is one poll, and a used-up one none: otherwise polls that each find
            // something would go on for ever.
            if (left_->count() <= 0 && !std::exchange(may_poll_, false)) {
                ended_ = errc::timed_out;
                break;
            }
            options.timeout = left_->count() > 0 ? *left_ : std::chrono::nanoseconds(0);
            started = std::chrono::steady_clock::now();
        }
        detail::read_operation one(endpoint_.get(), options);
        result<datagram> received = co_await one;
        if (is_charged) *left_ -= std::chrono::steady_clock::now() - started;
        if (received) co_return std::optional<datagram>(*std::move(received));
        const error& why = received.error();
        if (why.code().category() == category()) ended_ = why;  // what is not ours is a refusal
    }
    co_return std::nullopt;
}

// --- adopting ---

namespace {

template <class Handle>
result<Handle> adopt(detail::loop_core& core, int descriptor, ownership how,
                     const udp_options& options, connectedness wanted) {
    const result<endpoint_id> adopted = core.get_port().adopt(descriptor, how, options, wanted);
    if (!adopted) return std::unexpected(adopted.error());
    return detail::udp_access::make<Handle>(core, *adopted);
}

}  // namespace

result<udp_server> adopt_udp_server(int descriptor, ownership how, const udp_options& options) {
    return adopt<udp_server>(detail::current_core(), descriptor, how, options,
                             connectedness::unconnected);
}

result<udp_client> adopt_udp_client(int descriptor, ownership how, const udp_options& options) {
    return adopt<udp_client>(detail::current_core(), descriptor, how, options,
                             connectedness::connected);
}

}  // namespace quoit
