// SPDX-License-Identifier: MIT
//
// The self-test of io_uring: a small ring, its buffer rings, an entry, a cancel, then a backend
// that receives an empty datagram and another one behind it, and lets go of the socket. On an
// AF_UNIX socketpair, because loopback is down in a fresh network namespace (ENETUNREACH, measured
// on Linux 6.18).
//
// Each step is tried when those before it worked. No step leaves a descriptor or a mapping behind,
// whatever became of it.
#pragma once

#include <quoit/features.hpp>

namespace quoit::detail {

/// Tries it, each time it is called. Any thread.
[[nodiscard]] io_uring_features try_io_uring();

}  // namespace quoit::detail
