// SPDX-License-Identifier: MIT
//
// Which backend runs. A backend that the user named is had or is an error; one that quoit chose
// falls back to epoll, and the reason stays in the capabilities.
//
// The choice is made by doing: probe_io_uring() (quoit/features.hpp), a functional self-test whose
// answer is kept for the process.
#pragma once

#include "backend/backend.hpp"

namespace quoit::detail {

/// Errors: for a named backend, why it cannot be had, with the sysctl, filter or limit behind it
/// and what would change that; otherwise what even epoll failed with. ENOMEM may pass with fewer
/// buffers.
[[nodiscard]] result<std::unique_ptr<io_backend>> make_backend(backend wanted,
                                                               const backend_options& options);

}  // namespace quoit::detail
