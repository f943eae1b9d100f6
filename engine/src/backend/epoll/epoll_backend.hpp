// SPDX-License-Identifier: MIT
//
// io_backend on epoll(7) and recvmmsg(2): what runs where io_uring is not allowed, and the
// reference that the contract suite was written against.
#pragma once

#include "backend/backend.hpp"

#include <string>

namespace quoit::detail {

/// `reason`: why io_uring is not used, for about(). Errors: the kernel's, from epoll_create1 or
/// eventfd (EMFILE, ENFILE, ENOMEM).
[[nodiscard]] result<std::unique_ptr<io_backend>> make_epoll_backend(const backend_options& options,
                                                                     std::string reason = {});

}  // namespace quoit::detail
