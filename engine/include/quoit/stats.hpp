// SPDX-License-Identifier: MIT
//
// The ledger: where every datagram went.
//
// Counters only grow, each is written by one thread, and reading them stops no worker and resets
// nothing. They are read on the thread of the loop (or port) they belong to. At rest (no datagram
// between a worker and its port) these hold, with both sides counted by different code:
//
//   (1) taken    == passed + dropped.invalid + dropped.late + dropped.unnamed
//   (2) passed   == delivered + dropped.queue_full + dropped.abandoned + waiting
//   (3) accepted == sent + waiting + errors + dropped                        (sending)
//
// unexplained() is the sum of what is missing, and it is 0. What the kernel dropped for want of
// socket buffer is counted beside them: the sender's count == taken + dropped.kernel_packets + what
// is still in the socket. What never reached the socket (firewall, checksums, backlog) is the
// host's and is not claimed here.
#pragma once

#include <quoit/detail/archive_version.hpp>

#include <array>
#include <cstdint>
#include <iosfwd>
#include <string>

namespace quoit {

struct receive_stats {
    struct drops {
        /// By the kernel at this socket (SO_MEMINFO): its buffer was full, a checksum was wrong, or
        /// it was closing. A coalesced train that is dropped counts once, however long it was.
        std::uint64_t kernel_packets = 0;
        std::uint64_t queue_full = 0;  ///< by when_full::drop_newest or drop_oldest
        std::uint64_t invalid = 0;     ///< the kernel's control data did not make sense
        std::uint64_t late = 0;        ///< taken, or found in the socket, after close()
        std::uint64_t abandoned = 0;   ///< still unread when the endpoint was destroyed
        std::uint64_t unnamed = 0;     ///< UNIX: from a peer without a name (unnamed_peers)
    };
    std::uint64_t taken = 0;      ///< datagrams taken from the kernel
    std::uint64_t passed = 0;     ///< that reached the endpoint's queue
    std::uint64_t delivered = 0;  ///< that were read
    std::uint64_t waiting = 0;    ///< in the queue now (a gauge)
    std::uint64_t bytes = 0;      ///< payload bytes passed, after truncation
    std::uint64_t empty = 0;      ///< of those passed, with no payload
    std::uint64_t truncated = 0;  ///< of those passed, longer than payload_size_max
    std::uint64_t trains = 0;     ///< coalesced trains (UDP_GRO) among what was passed ...
    std::uint64_t coalesced = 0;  ///< ... and how many datagrams came in them
    std::uint64_t refused = 0;    ///< ICMP refusals heard of; UNIX: sends to a peer that is gone
    /// UNIX: of those passed, whose descriptors or credentials did not all fit.
    std::uint64_t ancillary_truncated = 0;
    drops dropped{};
};

struct send_stats {
    /// One reason a datagram was not sent: an errno and how often.
    struct reason {
        int error = 0;
        std::uint64_t count = 0;
    };
    std::uint64_t accepted = 0;   ///< sends that answered "accepted"
    std::uint64_t sent = 0;       ///< datagrams the kernel took
    std::uint64_t waiting = 0;    ///< queued now (a gauge)
    std::uint64_t bytes = 0;      ///< payload bytes the kernel took
    std::uint64_t errors = 0;     ///< refused by the kernel for good; by errno in `reasons`
    std::uint64_t dropped = 0;    ///< by abort(), or by a destructor that could not flush
    std::uint64_t trains = 0;     ///< runs of datagrams that left as one message (UDP_SEGMENT) ...
    std::uint64_t coalesced = 0;  ///< ... and how many datagrams left in them
    /// Trains that the kernel refused as such; their datagrams were sent once more, plain.
    std::uint64_t trains_refused = 0;
    std::uint64_t resent = 0;   ///< sends that met somebody else's refusal and were repeated
    std::uint64_t blocked = 0;  ///< times the kernel took no more for now
    /// The first eight different errnos; further ones are in `errors` alone.
    std::array<reason, 8> reasons{};
};

/// Of one endpoint, or the sum over several.
struct stats {
    receive_stats received{};
    send_stats sent{};
    /// Receive buffers held by the queue and by live datagrams (a gauge).
    std::uint64_t leases_held = 0;
    /// False once a coalesced train was seen: the kernel's drops may then be more datagrams.
    bool is_exact = true;

    /// Datagrams the identities cannot account for: 0 at rest.
    [[nodiscard]] std::uint64_t unexplained() const noexcept;
    /// Several lines, each fact on one, without a final newline.
    [[nodiscard]] std::string to_string() const;
    stats& operator+=(const stats& other) noexcept;
    friend std::ostream& operator<<(std::ostream& out, const stats& ledger);
};

/// Of the machinery below the endpoints: one worker, or the sum over a port's workers. Counters,
/// but for the two gauges.
struct engine_stats {
    std::uint64_t turns = 0;         ///< times a ring or an epoll set was turned
    std::uint64_t system_calls = 0;  ///< entries into the kernel to receive, wait, send and control
    std::uint64_t completions = 0;   ///< ring completions, or messages recvmmsg returned
    std::uint64_t wakeups = 0;       ///< eventfd writes between threads
    std::uint64_t starved = 0;       ///< times a socket had to wait for a receive buffer
    /// Why a receive was armed again (io_uring; docs/architecture.md).
    struct rearms {
        std::uint64_t empty = 0;     ///< an empty datagram ended it
        std::uint64_t starved = 0;   ///< there were no buffers, now there are
        std::uint64_t overflow = 0;  ///< it ended with a datagram: the completion queue was full
        std::uint64_t error = 0;     ///< a refusal or another error
        std::uint64_t resumed = 0;   ///< reading was paused and resumed
    };
    rearms rearmed{};
    std::uint64_t buffers = 0;       ///< receive buffers there are (a gauge)
    std::uint64_t buffers_held = 0;  ///< by queues and live datagrams (a gauge)

    engine_stats& operator+=(const engine_stats& other) noexcept;
};

}  // namespace quoit
