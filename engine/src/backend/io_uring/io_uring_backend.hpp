// SPDX-License-Identifier: MIT
//
// io_backend on io_uring: one ring, multishot recvmsg into buffer rings. Linux 6.1 or later, where
// the self-test in backend/select.cpp passes.
#pragma once

#include "backend/backend.hpp"

namespace quoit::detail {

/// All buffers of both pools are given to the kernel at once.
/// Errors: the kernel's: EPERM (seccomp, kernel.io_uring_disabled), ENOSYS, ENOMEM
/// (RLIMIT_MEMLOCK), EINVAL (buffer rings not supported).
[[nodiscard]] result<std::unique_ptr<io_backend>> make_io_uring_backend(
    const backend_options& options);

}  // namespace quoit::detail
