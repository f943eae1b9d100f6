// SPDX-License-Identifier: MIT
//
// io_backend on io_uring: one ring, multishot recvmsg into buffer rings. Linux 6.1 or later, where
// the self-test (self_test.hpp) passes.
#pragma once

#include "backend/backend.hpp"
#include "backend/io_uring/refusal.hpp"

#include <expected>

namespace quoit::detail {

/// All buffers of all pools are given to the kernel at once.
/// Errors: the kernel's: EPERM (seccomp, kernel.io_uring_disabled), ENOSYS, ENOMEM
/// (RLIMIT_MEMLOCK), EINVAL (buffer rings not supported), EMFILE.
[[nodiscard]] std::expected<std::unique_ptr<io_backend>, io_uring_refusal> make_io_uring_backend(
    const backend_options& options);

}  // namespace quoit::detail
