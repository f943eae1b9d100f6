// SPDX-License-Identifier: MIT
//
// features: what this kernel does for this process, found by trying it, never from a version
// number. What does not work comes with the errno, the cause in words (the sysctl, filter or limit
// behind it) and the remedy.
//
//   for (const quoit::feature& one : quoit::probe_io_uring().features)
//       std::cout << one.name << ": " << to_string(one.state) << ' ' << one.cause << '\n';
//
// backend::automatic is decided by probe_io_uring(): it is io_uring when there is no obstacle. So
// what `quoit doctor` prints is what a loop runs on.
//
// Threads: any, at once; also the child of a fork(), whatever its parent's threads were doing.
// Errors: std::bad_alloc. What cannot be tried is `untried`, with the reason as its cause.
#pragma once

#include <quoit/error.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace quoit {

enum class feature_state : std::uint8_t {
    untried,  ///< something it needs is missing, or there was no way to try it
    works,
    missing,
};
[[nodiscard]] std::string_view to_string(feature_state state) noexcept;

struct feature {
    /// For programs, the same in every version: "io_uring.buffer_ring".
    std::string_view id;
    /// For people: "buffer ring".
    std::string_view name;
    /// The Linux that brought it: "5.19". Distributions' kernels may differ.
    std::string_view since;
    /// Without it quoit does without io_uring.
    bool is_required = true;
    feature_state state = feature_state::untried;
    /// What the kernel answered; 0 when it works, or when no errno says it.
    std::error_code code{};
    /// "kernel.io_uring_disabled is 2, which refuses it to everybody"; empty when it works.
    std::string cause{};
    /// "`sysctl -w kernel.io_uring_disabled=0` allows it"; may be empty.
    std::string remedy{};
};

struct io_uring_features {
    /// In the order in which they were tried. Empty when quoit was built without io_uring.
    std::vector<feature> features{};
    /// Why io_uring is not used: the first required feature that is missing, its cause, then its
    /// remedy, on one line. Nothing when it can be used.
    std::optional<error> obstacle{};
};

/// Sets up a small ring and receives with it from a UNIX socket pair (loopback may be down). The
/// answer is kept for the life of the process, unless it is a shortage that may pass (EMFILE,
/// ENFILE, ENOMEM). Takes about a millisecond the first time, about a second where a kernel
/// neither delivers nor refuses.
[[nodiscard]] io_uring_features probe_io_uring();

struct offload_features {
    /// Equal datagrams leave as one message (UDP_SEGMENT) ...
    feature segmentation{
        .id = "offload.segmentation", .name = "UDP_SEGMENT", .since = "4.18", .is_required = false};
    /// ... so many at most: 64, 128 since Linux 6.9; 0: unknown.
    std::uint32_t segments_max = 0;
    /// They arrive as one (UDP_GRO).
    feature coalescing{
        .id = "offload.coalescing", .name = "UDP_GRO", .since = "5.0", .is_required = false};
    /// Neither 127.0.0.1 nor ::1 can be used, so that nothing could be sent to find out.
    bool is_loopback_down = false;
};

/// Sends trains to a socket of its own on loopback. Nothing is kept.
[[nodiscard]] offload_features probe_offload();

}  // namespace quoit
