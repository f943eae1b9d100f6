// SPDX-License-Identifier: MIT
//
// process_time: what this process has cost so far.
#pragma once

#include <chrono>

namespace quoit::program {

/// User and system time of all threads.
[[nodiscard]] std::chrono::microseconds process_time() noexcept;

}  // namespace quoit::program
