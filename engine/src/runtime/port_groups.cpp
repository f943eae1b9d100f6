// SPDX-License-Identifier: MIT
//
// Multicast groups of endpoints.
#include "net/multicast.hpp"
#include "net/sockaddr.hpp"
#include "runtime/port_implementation.hpp"

#include <string>

namespace quoit {

namespace {

using detail::endpoint_state;
using detail::socket_state;

}  // namespace

// The socket that hears a group: of its family, and not bound to another address.
socket_state* port::implementation::listener_for(endpoint_state& endpoint,
                                                 const ip& group) noexcept {
    socket_state* found = nullptr;
    for (const std::uint32_t tag : endpoint.sockets) {
        socket_state& one = socket(tag);
        const ip& bound = one.local.host();
        if (bound.family() != group.family()) continue;
        if (detail::is_every_interface(bound) || bound == group) return &one;
        if (found == nullptr) found = &one;
    }
    return found;
}

status port::implementation::change_group(endpoint_state& endpoint, const ip& group,
                                          const group_options& options, detail::membership what) {
    if (endpoint.is_closing) return errc::closed;
    if (is_forked()) return errc::forked;
    if (status is_group = detail::check_group(what, group); !is_group) return is_group;
    const socket_state* const one = listener_for(endpoint, group);
    if (one == nullptr) {
        return failure(errc::wrong_family,
                       "group " + group.to_string() + ": the endpoint has no such socket");
    }
    return detail::change_membership(one->socket.descriptor(), what, group, options);
}

status port::implementation::set_multicast(endpoint_state& endpoint,
                                           const multicast_options& options) {
    if (endpoint.is_closing) return errc::closed;
    if (is_forked()) return errc::forked;
    const auto wanted = detail::look_up(options);
    if (!wanted) return wanted.error();
    for (const std::uint32_t tag : endpoint.sockets) {
        socket_state& one = socket(tag);
        const int error =
            detail::set_multicast(one.socket.descriptor(), one.local.family(), *wanted);
        if (error < 0) {
            return failure(std::error_code(-error, std::system_category()),
                           "set multicast on " + one.local.to_string());
        }
        if (options.interface) one.multicast_index = wanted->index;
    }
    return {};
}

multicast_options port::implementation::multicast(const endpoint_state& endpoint) const noexcept {
    const socket_state* const one = first_socket(endpoint);
    if (one == nullptr || !one->socket.is_open() || one->as_unix) return {};
    multicast_options found = detail::get_multicast(one->socket.descriptor(), one->local.family());
    if (found.interface->is_kernels_choice() && one->multicast_index != 0) {
        found.interface = interface::index(one->multicast_index);
    }
    return found;
}

// --- quoit/port.hpp ---

status port::join_group(endpoint_id endpoint, const ip& group, const group_options& options) {
    auto* const found = implementation_->find(endpoint);
    if (found == nullptr) return errc::closed;
    return implementation_->change_group(*found, group, options, detail::membership::join);
}

status port::leave_group(endpoint_id endpoint, const ip& group, const group_options& options) {
    auto* const found = implementation_->find(endpoint);
    if (found == nullptr) return errc::closed;
    return implementation_->change_group(*found, group, options, detail::membership::leave);
}

status port::set_multicast(endpoint_id endpoint, const multicast_options& options) {
    auto* const found = implementation_->find(endpoint);
    return found == nullptr ? errc::closed : implementation_->set_multicast(*found, options);
}

multicast_options port::multicast(endpoint_id endpoint) const noexcept {
    const auto* const found = implementation_->find(endpoint);
    return found == nullptr ? multicast_options{} : implementation_->multicast(*found);
}

}  // namespace quoit
