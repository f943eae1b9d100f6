// SPDX-License-Identifier: MIT
//
// Peers of open endpoints, and endpoints made of other people's sockets.
#include "runtime/check_options.hpp"
#include "runtime/port_implementation.hpp"
#include "runtime/socket_options.hpp"

#include <algorithm>
#include <string>

namespace quoit {

namespace {

using detail::endpoint_state;
using detail::socket_state;

void remember(endpoint_state& endpoint, const address& former) {
    auto& all = endpoint.former_peers;
    if (std::ranges::find(all, former) != all.end()) return;
    if (all.size() < endpoint_state::former_peers_max) {
        all.push_back(former);
    } else {
        endpoint.was_unconnected = true;
    }
}

std::string adopting(int descriptor) { return "adopt descriptor " + std::to_string(descriptor); }

}  // namespace

// --- adopting ---

result<endpoint_id> port::implementation::adopt(int descriptor, ownership how,
                                                const udp_options& options, connectedness wanted) {
    // First: whatever fails from here on, what was taken is closed.
    auto taken = detail::take_descriptor(descriptor, how);
    if (!taken) return std::unexpected(taken.error());
    if (is_forked()) return failure(errc::forked);
    if (auto checked = detail::check(options); !checked) return std::unexpected(checked.error());
    if (sockets_free() < 1) return detail::no_socket_left(options_);
    auto made = detail::udp_socket::adopt(*std::move(taken), how);
    if (!made) return std::unexpected(made.error());
    const std::optional<address> peer = made->peer();
    if (peer && wanted == connectedness::unconnected) {
        return failure(errc::already_connected,
                       adopting(descriptor) + ": it has the peer " + peer->to_string());
    }
    if (!peer && wanted == connectedness::connected) {
        return failure(errc::not_connected, adopting(descriptor) + ": it has no peer");
    }
    udp_options of_socket = peer ? detail::for_socket(made->local().family(), options)
                                 : detail::for_server_socket(made->local(), options);
    // Whoever shares it reads datagrams, unless it was said that all are prepared for trains.
    const bool is_shared = how == ownership::duplicate;
    if (is_shared && options.offload == offload::automatic) of_socket.offload = offload::off;
    if (status applied = made->apply(of_socket); !applied) return std::unexpected(applied.error());
    const bool allows_broadcast = made->broadcast();
    std::vector<detail::udp_socket> opened;
    opened.push_back(*std::move(made));
    const endpoint_id id = add_endpoint(std::move(opened), peer, options);
    endpoint_state& endpoint = *find(id);
    endpoint.allows_broadcast = allows_broadcast;
    endpoint.was_unconnected = true;  // for all that is known of what it holds
    return id;
}

// --- peers ---

status port::implementation::may_change_peer(const endpoint_state& endpoint,
                                             std::string_view doing) const {
    if (endpoint.is_closing) return errc::closed;
    if (is_forked()) return errc::forked;
    if (endpoint.sockets.size() == 1) return {};
    return failure(errc::not_supported, std::string(doing) + ": the endpoint has " +
                                            std::to_string(endpoint.sockets.size()) + " sockets");
}

status port::implementation::connect(endpoint_state& endpoint, const address& peer) {
    if (endpoint.peer && !endpoint.is_closing) {
        return failure(errc::already_connected, "connect " + peer.to_string() + ": the peer is " +
                                                    endpoint.peer->to_string());
    }
    return reconnect(endpoint, peer);
}

status port::implementation::reconnect(endpoint_state& endpoint, const address& peer) {
    const std::string doing = "connect " + peer.to_string();
    if (status may = may_change_peer(endpoint, doing); !may) return may;
    if (peer.family() == family::unspecified || peer.port() == 0) {
        return failure(errc::invalid_address, doing);
    }
    if (peer.family() != first_socket(endpoint)->local.family()) {
        return failure(errc::wrong_family,
                       doing + " from " + first_socket(endpoint)->local.to_string());
    }
    return change_peer(endpoint, &peer);
}

status port::implementation::disconnect(endpoint_state& endpoint) {
    if (status may = may_change_peer(endpoint, "disconnect"); !may) return may;
    if (!endpoint.peer) return errc::not_connected;
    return change_peer(endpoint, nullptr);
}

// Null: none.
status port::implementation::change_peer(endpoint_state& endpoint, const address* peer) {
    belong_to_this_thread();
    socket_state& one = *first_socket(endpoint);
    flush(one);
    // What the socket has to say is about the peer it had: connect(2) would leave it there for the
    // next one (measured on Linux 6.18).
    if (const int refusal = one.socket.take_error(); refusal != 0) on_refusal(one, refusal, 1);
    one.refusals_unconfirmed = 0;
    const std::optional<address> former = endpoint.peer;
    const status changed = peer != nullptr ? one.socket.connect_to(*peer) : one.socket.disconnect();
    // It may have failed half way: what counts is what the socket has now.
    endpoint.peer = one.socket.peer();
    endpoint.locals.front() = one.local = one.socket.local();
    if (former) one.queue.disconnected(*former);
    if (endpoint.peer) one.queue.connected();
    if (former) remember(endpoint, *former);
    if (!endpoint.peer) endpoint.was_unconnected = true;
    return changed;
}

// --- quoit/port.hpp ---

result<endpoint_id> port::adopt(int descriptor, ownership how, const udp_options& options,
                                connectedness wanted) {
    return implementation_->adopt(descriptor, how, options, wanted);
}

status port::connect(endpoint_id endpoint, const address& peer) {
    auto* const found = implementation_->find(endpoint);
    return found == nullptr ? errc::closed : implementation_->connect(*found, peer);
}

status port::reconnect(endpoint_id endpoint, const address& peer) {
    auto* const found = implementation_->find(endpoint);
    return found == nullptr ? errc::closed : implementation_->reconnect(*found, peer);
}

status port::disconnect(endpoint_id endpoint) {
    auto* const found = implementation_->find(endpoint);
    return found == nullptr ? errc::closed : implementation_->disconnect(*found);
}

}  // namespace quoit
