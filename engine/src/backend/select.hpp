// SPDX-License-Identifier: MIT
//
// Which backend runs. A backend that the user named is had or is an error; one that quoit chose
// falls back to epoll, and the reason stays in the capabilities.
//
// The choice is made by doing: a functional self-test of io_uring (ring, buffer ring, one datagram,
// an empty one, cancel) on an AF_UNIX socketpair, because loopback is down in a fresh network
// namespace (ENETUNREACH, measured on Linux 6.18). Once per process.
#pragma once

#include "backend/backend.hpp"

#include <optional>

namespace quoit::detail {

/// Why io_uring cannot be had in this process, with the sysctl, filter or limit behind it and what
/// would change that; nothing when it can. Any thread.
[[nodiscard]] const std::optional<error>& io_uring_obstacle();

/// Errors: for a named backend, why it cannot be had; otherwise what even epoll failed with. ENOMEM
/// may pass with fewer buffers.
[[nodiscard]] result<std::unique_ptr<io_backend>> make_backend(backend wanted,
                                                               const backend_options& options);

}  // namespace quoit::detail
