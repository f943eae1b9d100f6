// SPDX-License-Identifier: MIT
//
// A network of one's own for a test: a network namespace in which nothing but `lo` exists, shaped
// if asked, so that sends can be made to block (on plain loopback they never do: packets are
// orphaned at once).
//
//   const auto why_not = run_in_network_namespace(
//       {.loopback_shape = "tbf rate 8mbit burst 4kb limit 1mb"}, [&] { ...the test... });
//   if (why_not) GTEST_SKIP() << *why_not;
//
// The body runs on a thread of its own, which enters the namespace: sockets opened there, and by
// threads that are started there, belong to it, whoever uses them later. The namespace goes with
// the last of them (network_namespaces(7)).
//
// It takes CAP_SYS_ADMIN. QUOIT_REQUIRE_NETNS=1 in the environment makes the lack of it a failure
// instead of a reason to skip.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace quoit::test {

struct namespace_options {
    /// What tc-qdisc(8) puts on lo: "tbf rate 8mbit burst 4kb limit 1mb"; empty: nothing.
    std::string loopback_shape;
};

/// Runs `body` in a namespace, or says why that cannot be had: then `body` was not run. Failures of
/// GoogleTest's assertions in `body` count as the calling test's.
[[nodiscard]] std::optional<std::string> run_in_network_namespace(
    const namespace_options& wanted, const std::function<void()>& body);

/// Runs a command in the namespace the calling thread is in; what it prints is dropped. Whether it
/// worked.
[[nodiscard]] bool run_in_shell(const std::string& command);

/// In a fresh namespace: fd00::2 and fd00::3 for lo, beside ::1. False: no ip(8).
[[nodiscard]] bool add_loopback_addresses();

/// In a fresh namespace: a device "near" (one end of a veth, the other is here too) with the
/// addresses 10.9.0.1/24, whose broadcast address is 10.9.0.255, fd09::1, fd09::2, fe80::1 and
/// fe80::2. False: no ip(8) or no veth.
[[nodiscard]] bool add_interfaces();

}  // namespace quoit::test
