// SPDX-License-Identifier: MIT
//
// segmentation: how many datagrams of one socket may leave as one message (UDP_SEGMENT), and what
// the kernel's refusals have taught about that.
//
// A run has one destination and one size; its last datagram may be shorter. It holds at most 64
// datagrams, or 128 since Linux 6.9 (UDP_MAX_SEGMENTS; found by trying), and at most 65 472 bytes.
// A single datagram is sent without the control message: some drivers answer EIO or EINVAL when
// the segment is not shorter than the payload.
//
// A run that is refused is sent again, once, as plain datagrams. What each refusal teaches
// (net/ipv4/udp.c, udp_send_skb; measured on Linux 6.18):
//   EMSGSIZE  datagrams of this size do not fit the path's MTU: the kernel cuts no segment into
//             fragments, though it fragments the same datagram when it is sent plain. So: none that
//             long to this host is coalesced for a while
//   EIO       the route's device computes no checksums: nothing to this host is, for a while
//   EINVAL    when the plain datagrams went through, and only then (a blackhole route says EINVAL
//             to anything): above 64 datagrams, that this kernel takes no more; otherwise the same
//             as EMSGSIZE, for which kernels before 6.14 or so say EINVAL
// Nothing is remembered of the socket or the process because of one peer. "A while" is a number of
// datagrams, after which one more run is tried: routes change.
//
// Single-threaded: the port's thread.
#pragma once

#include <quoit/address.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace quoit::detail {

/// Bytes of a run. The kernel takes what one datagram could carry, 65 507; but beyond 65 473, with
/// the headers, the device's gso_max_size (65 536) is passed and the run is cut apart in software
/// before it leaves (measured on loopback, Linux 6.18, IPv4 and IPv6). In whole cache lines.
inline constexpr std::uint32_t run_bytes_max = 65'472;

class segmentation {
  public:
    /// Datagrams to one host that are sent plain before a run is tried again.
    static constexpr std::uint32_t plain_count = 4096;

    segmentation() noexcept = default;
    /// Off: nothing is coalesced, for good.
    void turn_off() noexcept { count_max_ = 1; }
    /// Datagrams of a run, at most, whatever their size and destination.
    [[nodiscard]] std::uint32_t count_max() const noexcept { return count_max_; }

    /// How many datagrams of `size` bytes may go to this host as one. `to` is null on a connected
    /// socket. 1: none together.
    [[nodiscard]] std::uint32_t count_max(const address* to, std::uint32_t size) const noexcept {
        if (count_max_ == 1 || size == 0) return 1;
        if (used_ != 0 && is_refused(to, size)) return 1;
        const std::uint32_t by_bytes = run_bytes_max / size;
        if (by_bytes < 2) return 1;
        return by_bytes < count_max_ ? by_bytes : count_max_;
    }
    /// So many datagrams to this host were sent plain, because count_max() said so.
    void sent_plain(const address* to, std::uint32_t size, std::uint32_t count) noexcept {
        if (used_ != 0 || has_doubt_) note_plain(to, size, count);
    }
    /// A datagram of the refused run was refused plain as well.
    void lost_plain() noexcept { has_doubt_ = false; }

    /// Whether `error` is an answer to coalescing, rather than to the datagrams.
    [[nodiscard]] static bool is_refusal(int error) noexcept;
    /// The kernel refused a run of `count` datagrams of `size` bytes like that.
    void refused(int error, const address* to, std::uint32_t size, std::uint32_t count) noexcept;

  private:
    struct lesson {
        ip host;
        std::uint32_t size_min = 0;  // no shorter datagram is meant
        std::uint32_t left = 0;      // plain datagrams until a run is tried again; 0: unused
    };
    static constexpr std::size_t lesson_count = 16;
    static constexpr std::uint32_t count_max_first = 128;
    static constexpr std::uint32_t count_max_before_6_9 = 64;

    [[nodiscard]] bool is_refused(const address* to, std::uint32_t size) const noexcept;
    void note_plain(const address* to, std::uint32_t size, std::uint32_t count) noexcept;
    void remember(ip host, std::uint32_t size_min) noexcept;

    std::uint32_t count_max_ = count_max_first;
    std::uint32_t used_ = 0;  // lessons
    std::uint32_t next_ = 0;  // where the next is written: the oldest gives way
    std::array<lesson, lesson_count> lessons_{};
    // A run that EINVAL refused, of which no plain datagram has gone or failed yet.
    bool has_doubt_ = false;
    std::uint32_t doubted_size_ = 0;
    std::uint32_t doubted_count_ = 0;
};

/// Whether this kernel knows UDP_SEGMENT and UDP_GRO: found by trying, once per process. A kernel
/// that does not know UDP_SEGMENT would send a run as one long datagram.
struct offload_support {
    bool has_segment = false;
    bool has_gro = false;
};
[[nodiscard]] offload_support find_offload_support() noexcept;
/// Asks a UDP socket, each time. It has UDP_GRO on afterwards, if there is one.
[[nodiscard]] offload_support offload_support_of(int fd) noexcept;

}  // namespace quoit::detail
