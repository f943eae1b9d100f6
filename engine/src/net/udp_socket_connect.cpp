// SPDX-License-Identifier: MIT
//
// udp_socket: its peer.
#include "net/peer_filter.hpp"
#include "net/sockaddr.hpp"
#include "net/socket_option.hpp"
#include "net/udp_socket.hpp"

#include <cerrno>

namespace quoit::detail {

// As the kernel sees it: 0.0.0.0 means this host.
void udp_socket::read_peer_name() noexcept {
    socket_address name;
    socklen_t size = socket_address::size_max;
    peer_.reset();
    if (system::peer_name(descriptor(), name.get(), &size) < 0) return;
    peer_ = from_sockaddr({reinterpret_cast<const std::byte*>(name.get()), size});
}

int udp_socket::connect_once(const address& peer) noexcept {
    const socket_address name(peer);
    int error = system::connect(descriptor(), name.get(), name.size());
    if (error == 0) error = read_local_name();
    if (error < 0) return error;
    read_peer_name();
    if (!peer_) peer_ = peer;
    return 0;
}

bool udp_socket::has_peer_filter() const noexcept {
    return peer_ && !is_shared_ && peer_filter(*peer_).is_on(descriptor());
}

void udp_socket::remove_filter() noexcept {
    [[maybe_unused]] const int error = set_int(descriptor(), SOL_SOCKET, SO_DETACH_FILTER, 0);
}

status udp_socket::connect_to(const address& peer) {
    const bool is_bound =
        bound_.family() != family::unspecified && !is_every_interface(bound_.host());
    const bool has_ours = has_peer_filter();
    if (!peer_ || is_bound) {
        if (has_ours) remove_filter();
        return change_peer(peer, after::nothing);
    }
    // Between two peers the socket has none, and would take anybody's.
    const bool may_filter = !is_shared_ && (has_ours || !has_filter(descriptor()));
    const bool is_deaf = may_filter && drop_what_arrives() == 0;
    status changed = change_peer(peer, after::disconnecting);
    const bool hears_peer = is_deaf && peer_ && peer_filter(*peer_).attach_to(descriptor()) == 0;
    if (is_deaf && !hears_peer) remove_filter();
    return changed;
}

status udp_socket::change_peer(const address& peer, after what) {
    const std::optional<address> former = peer_;
    if (what == after::disconnecting) {
        if (status freed = remove_peer(); !freed) {
            if (!peer_) [[maybe_unused]]
                const int error_again = connect_once(*former);
            return freed;
        }
    }
    const int error = connect_once(peer);
    if (error == 0) return {};
    // A route that was there a moment ago: if it is not now, there is no peer.
    if (former && !peer_) [[maybe_unused]]
        const int error_again = connect_once(*former);
    return system_failure(error, "connect", peer);
}

int udp_socket::bind_to(const address& where) noexcept {
    const socket_address name(where);
    const int error = system::bind(descriptor(), name.get(), name.size());
    return error < 0 ? error : read_local_name();
}

status udp_socket::disconnect() {
    if (has_peer_filter()) remove_filter();
    return remove_peer();
}

status udp_socket::remove_peer() {
    const address former_local = local_;
    sockaddr nobody{};
    nobody.sa_family = AF_UNSPEC;
    int error = system::connect(descriptor(), &nobody, sizeof nobody);
    if (error == 0) error = read_local_name();
    if (error < 0) return system_failure(error, "disconnect from", peer_.value_or(address()));
    peer_.reset();
    if (bound_.family() == family::unspecified) bound_ = local_;
    bound_ = bound_.with_port(former_local.port());
    if (local_.port() == 0) {
        error = bind_to(bound_);
        if (error < 0) {
            // Somebody has the port on another interface: on this one it is still to be had.
            const address wanted = bound_;
            bound_ = bind_to(former_local) == 0 ? local_ : address();
            return system_failure(error, "disconnect: bind again", wanted);
        }
    }
    local_ = bound_;
    return {};
}

int udp_socket::take_error() noexcept { return get_int(descriptor(), SOL_SOCKET, SO_ERROR); }

}  // namespace quoit::detail
