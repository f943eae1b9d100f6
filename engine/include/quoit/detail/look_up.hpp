// SPDX-License-Identifier: MIT
//
// look_up: getaddrinfo(3), as results. It blocks, for as long as the system's resolver is patient
// (5 s for each server and attempt, resolv.conf(5)), and so runs where that is allowed: on the
// resolver's threads (quoit/resolve.hpp) and in calls that block anyway.
//
// Threads: any. Errors: errc::host_not_found; std::errc for what getaddrinfo calls EAI_SYSTEM; the
// rest in resolver_category(). The context is "resolve NAME".
#pragma once

#include <quoit/address.hpp>
#include <quoit/error.hpp>

#include <string>
#include <system_error>
#include <vector>

namespace quoit {

/// The category of what getaddrinfo(3) calls EAI_..., named "resolver".
[[nodiscard]] const std::error_category& resolver_category() noexcept;

namespace detail {

/// The addresses of a host, in the order in which they are to be tried (RFC 6724), each once, with
/// port 0. Never empty.
[[nodiscard]] result<std::vector<ip>> look_up(const std::string& name, family wanted);

/// What a host_port stands for: a literal is itself, a name is looked up. Never empty.
/// Errors: as above; errc::invalid_option for a port out of range; errc::invalid_address for every
/// interface, and for text that is neither; errc::wrong_family for a literal of another family.
[[nodiscard]] result<std::vector<address>> resolve_now(const host_port& where, family wanted);

}  // namespace detail

}  // namespace quoit
