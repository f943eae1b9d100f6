// SPDX-License-Identifier: MIT
#include <quoit/unix_datagram.hpp>

#include "net/ancillary.hpp"
#include "net/message.hpp"
#include "net/unix_name.hpp"
#include "runtime/send_queue.hpp"

namespace quoit {

namespace {

// What stands before the payload in the receive buffer; nothing where there is no such buffer.
// A datagram of a UDP endpoint has a peer with a family.
detail::unix_message message_of(const datagram& lease) noexcept {
    const detail::datagram_fields& fields = lease.view().fields();
    const bool is_unix = fields.peer.family() == family::unspecified;
    if (!is_unix || !lease.is_lease() || fields.control == nullptr) return {};
    return detail::unix_message_before(fields.control, fields.control_size);
}

}  // namespace

unix_address unix_datagram::peer() const noexcept {
    return detail::from_unix_name(message_of(lease_).name).value_or(unix_address());
}

std::vector<file_descriptor> unix_datagram::take_descriptors() {
    const detail::unix_message message = message_of(lease_);
    detail::buffer_pool* const pool = detail::lease_access::pool(lease_);
    if (message.control.empty() || pool == nullptr) return {};
    const std::uint32_t buffer = detail::lease_access::buffer(lease_);
    if (!pool->holds_descriptors(buffer)) return {};
    auto taken = detail::take_descriptors(message.control);
    pool->gave_descriptors_away(buffer);
    return taken;
}

std::optional<quoit::credentials> unix_datagram::credentials() const noexcept {
    return detail::find_credentials(message_of(lease_).control);
}

bool unix_datagram::ancillary_truncated() const noexcept {
    return message_of(lease_).is_control_cut;
}

}  // namespace quoit
