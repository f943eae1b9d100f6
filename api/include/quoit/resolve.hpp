// SPDX-License-Identifier: MIT
//
// resolve: the addresses of a host, without holding up the loop.
//
//   auto found = co_await quoit::resolve("example.com", 53);
//   if (found) server.sendto("?", found->front());
//
// Names are resolved here and when something is opened by name, and nowhere else: sending takes
// addresses, so that no send ever waits for a name server.
//
// Threads: the lookup is getaddrinfo(3), which blocks, so it runs on a thread of the process's own
// resolver: up to four of them, started when there is something to look up, gone after ten idle
// seconds, with all signals blocked. A lookup whose task was cancelled goes on there, for nobody.
#pragma once

#include <quoit/address.hpp>
#include <quoit/detail/look_up.hpp>
#include <quoit/error.hpp>
#include <quoit/task.hpp>

#include <cstdint>
#include <string_view>
#include <vector>

namespace quoit {

/// In the order in which they should be tried (RFC 6724), each once; never empty. A literal is
/// itself, at once. `where` is copied before the function returns.
/// Errors: errc::host_not_found; what else the resolver said, in resolver_category() or as an
/// errno; errc::wrong_family for a literal of another family than `wanted`; errc::invalid_address
/// for every interface; errc::invalid_option for a port out of range; errc::canceled;
/// errc::would_block when 1024 lookups wait already.
[[nodiscard]] task<result<std::vector<address>>> resolve(host_port where,
                                                         family wanted = family::unspecified);
[[nodiscard]] task<result<std::vector<address>>> resolve(std::string_view name, std::uint16_t port,
                                                         family wanted = family::unspecified);

}  // namespace quoit
