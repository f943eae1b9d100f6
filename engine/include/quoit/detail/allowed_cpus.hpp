// SPDX-License-Identifier: MIT
//
// The CPUs that the calling thread, and threads it starts, may run on. For the engine and the
// facade, which both place threads.
//
// Source: sched_getaffinity(2).
#pragma once

#include <vector>

namespace quoit::detail {

/// Their numbers, in order; empty when they cannot be known (more than 1024 CPUs).
[[nodiscard]] std::vector<int> allowed_cpus();

}  // namespace quoit::detail
