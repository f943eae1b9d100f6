// SPDX-License-Identifier: MIT
//
// resolver_threads: where getaddrinfo(3) may block. A few threads for the whole process, made when
// there is something to do and gone when there has been nothing for a while.
//
//   submit(job) --> [ waiting jobs ] --> a thread runs job()
//
// Lives until the process ends: a lookup may take longer than everybody who wanted it, and nobody
// waits for it at exit. The child of a fork starts anew, because the threads stay behind.
//
// Threads: any.
#pragma once

#include <quoit/error.hpp>

#include <functional>

namespace quoit::detail::resolver_threads {

/// Runs `job`, which must not throw, on a thread of the resolver.
/// Errors: errc::would_block when too many wait; what std::thread could not have.
[[nodiscard]] status submit(std::move_only_function<void()> job);

}  // namespace quoit::detail::resolver_threads
