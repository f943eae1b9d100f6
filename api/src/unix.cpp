// SPDX-License-Identifier: MIT
#include <quoit/unix.hpp>

#include "loop_core.hpp"

#include <utility>

namespace quoit {

unix_endpoint& unix_endpoint::operator=(unix_endpoint&& other) noexcept {
    if (this != &other) {
        if (endpoint_) endpoint_->abandon();
        endpoint_ = std::move(other.endpoint_);
        local_ = std::exchange(other.local_, {});
        peer_ = std::exchange(other.peer_, {});
    }
    return *this;
}

unix_endpoint::~unix_endpoint() {
    if (endpoint_) endpoint_->abandon();
}

int unix_endpoint::descriptor() const noexcept {
    const port* const p = live_port();
    return p != nullptr ? p->descriptor(endpoint_->id()) : -1;
}

status unix_endpoint::sendto(byte_view payload, const unix_address& to, const ancillary& with) {
    return sendto_pieces({payload}, to, with);
}

status unix_endpoint::sendto_pieces(std::initializer_list<byte_view> pieces, const unix_address& to,
                                    const ancillary& with) {
    port* const p = live_port();
    if (p == nullptr) return errc::closed;
    return p->sendto(endpoint_->id(), std::span(pieces.begin(), pieces.size()), to, with);
}

status unix_endpoint::send(byte_view payload, const ancillary& with) {
    return send_pieces({payload}, with);
}

status unix_endpoint::send_pieces(std::initializer_list<byte_view> pieces, const ancillary& with) {
    port* const p = live_port();
    if (p == nullptr) return errc::closed;
    return p->send(endpoint_->id(), std::span(pieces.begin(), pieces.size()), with);
}

status unix_endpoint::reply(const unix_datagram& to, byte_view payload, const ancillary& with) {
    // A client's peer may call itself by another name than it was connected to by.
    return peer_ ? send(payload, with) : sendto(payload, to.peer(), with);
}

void unix_endpoint::flush() noexcept {
    if (port* const p = live_port()) p->flush(endpoint_->id());
}

result<unix_datagram> unix_endpoint::try_read() {
    detail::loop_endpoint* const from = endpoint_.get();
    if (from == nullptr) return failure(errc::closed);
    if (!from->has_free()) from->look_again();
    if (!from->has_free()) return failure(from->is_at_end() ? errc::closed : errc::would_block);
    result<datagram> taken = from->take();
    if (!taken) return std::unexpected(std::move(taken).error());
    return unix_datagram(*std::move(taken));
}

void unix_endpoint::close() noexcept {
    if (endpoint_) endpoint_->close();
}

void unix_endpoint::abort() noexcept {
    if (endpoint_) endpoint_->abort();
}

bool unix_endpoint::is_closing() const noexcept { return !endpoint_ || endpoint_->is_closing(); }

endpoint_handle unix_endpoint::handle() const noexcept {
    if (live_port() == nullptr) return {};
    return endpoint_handle(endpoint_->core()->mailbox(), endpoint_->id());
}

buffer_sizes unix_endpoint::buffers() const {
    const port* const p = live_port();
    return p != nullptr ? p->buffers(endpoint_->id()) : buffer_sizes();
}

quoit::stats unix_endpoint::stats() const {
    return endpoint_ ? endpoint_->stats() : quoit::stats();
}

// --- opening ---

namespace detail {

struct unix_access {
    template <class Handle>
    static result<Handle> make(const result<endpoint_id>& opened) {
        if (!opened) return std::unexpected(opened.error());
        loop_core& core = current_core();
        const counted_ptr<loop_endpoint> endpoint(new loop_endpoint(core, *opened));
        core.register_endpoint(*endpoint);
        const port& on = core.get_port();
        return Handle(endpoint, on.unix_local_address(*opened), on.unix_peer_address(*opened));
    }
};

}  // namespace detail

result<unix_server> start_unix_server(const unix_address& where, const unix_options& options) {
    port& on = detail::current_core().get_port();
    return detail::unix_access::make<unix_server>(on.open_unix(where, options));
}

result<unix_client> open_unix_connection(const unix_address& where, const unix_options& options) {
    port& on = detail::current_core().get_port();
    return detail::unix_access::make<unix_client>(on.open_unix_connection(where, options));
}

}  // namespace quoit
