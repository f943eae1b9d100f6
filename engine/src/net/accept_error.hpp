// SPDX-License-Identifier: MIT
#pragma once

#include <cerrno>

namespace quoit::detail {

/// What accept(2) failed with is news of a connection that is gone already, and no reason to stop
/// accepting (accept(2), "Error handling"; EPERM is a firewall's).
[[nodiscard]] constexpr bool is_of_one_connection(int error) noexcept {
    switch (error) {
        case ECONNABORTED:
        case EPROTO:
        case ENETDOWN:
        case ENOPROTOOPT:
        case EHOSTDOWN:
        case ENONET:
        case EHOSTUNREACH:
        case ENETUNREACH:
        case EPERM:
        case EINTR: return true;
        default: return false;
    }
}

}  // namespace quoit::detail
