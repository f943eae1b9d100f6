// SPDX-License-Identifier: MIT
//
// refusal: at which step io_uring could not be had, with what errno, and what that means on this
// machine in words: first the cause, then the remedy.
//
//   kernel.io_uring_disabled is 2, which refuses it to everybody
//   `sysctl -w kernel.io_uring_disabled=0` allows it
//
// The words follow from facts about the process, which read_process_facts() gathers; so each can be
// tested without a machine that refuses.
//
// Threads: any.
#pragma once

#include <quoit/error.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace quoit::detail {

/// In the order in which they are tried.
enum class io_uring_step : std::uint8_t {
    ring,           // io_uring_setup(2)
    defer_taskrun,  // ... with IORING_SETUP_DEFER_TASKRUN; not needed
    buffer_ring,    // IORING_REGISTER_PBUF_RING
    entering,       // io_uring_enter(2)
    cancelling,     // IORING_REGISTER_SYNC_CANCEL
    receiving,      // a multishot recvmsg
    rearming,       // ... again, after an empty datagram has ended it
    letting_go,     // ... and its end, by a cancel
    resources,      // what is not io_uring's: memory, descriptors
};

struct io_uring_refusal {
    io_uring_step step = io_uring_step::resources;
    error why;
};

/// What decides about io_uring in this process. Nothing, where it cannot be read (no /proc).
struct process_facts {
    std::optional<int> io_uring_disabled{};  // the sysctl, since Linux 6.6
    std::optional<bool> has_filter{};        // of seccomp
    std::optional<bool> may_administrate{};  // CAP_SYS_ADMIN; says nothing in a user namespace
    std::optional<bool> may_lock{};          // CAP_IPC_LOCK: RLIMIT_MEMLOCK does not count
    std::optional<std::uint64_t> memlock{};  // bytes; nothing: unlimited
    std::optional<std::uint64_t> nofile{};   // descriptors; nothing: unlimited
    std::uint32_t group = 0;                 // effective
};
[[nodiscard]] process_facts read_process_facts();
/// The part that is read from /proc/thread-self/status: filters and capabilities are a thread's.
void read_status(std::string_view text, process_facts& into);

struct explanation {
    std::string cause;
    std::string remedy;  // may be empty
};
[[nodiscard]] explanation explain(io_uring_step step, std::error_code code,
                                  const process_facts& facts);

/// "io_uring (CAUSE; REMEDY): WORDS OF THE CODE".
[[nodiscard]] error obstacle_of(std::error_code code, const explanation& said);

}  // namespace quoit::detail
