// SPDX-License-Identifier: MIT
//
// The ledger of packets over TCP: where every packet went and how every connection ended. Of one
// connection, of a listener with all that it accepted, or of a port.
//
// Counters only grow and are written and read on the loop's (or port's) thread. At any time:
//
//   (1) received.packets == delivered + waiting + abandoned
//   (2) sent.accepted    == sent + waiting + dropped
//   (3) connections.made == open + ended + reset + framing + slow + timed_out + closed
//
// unexplained() is the sum of what is missing, and it is 0.
#pragma once

#include <quoit/detail/archive_version.hpp>

#include <cstdint>
#include <iosfwd>
#include <string>

namespace quoit {

struct packet_stats {
    struct receives {
        std::uint64_t packets = 0;    ///< that arrived whole
        std::uint64_t bytes = 0;      ///< of their bodies
        std::uint64_t delivered = 0;  ///< that were read
        std::uint64_t waiting = 0;    ///< for a reader, now (a gauge)
        std::uint64_t abandoned = 0;  ///< still unread when their connection was given up
        /// Bytes of the stream that became no packet: behind a framing error, of a packet that was
        /// cut off, or received after close().
        std::uint64_t bytes_discarded = 0;
    };
    struct sends {
        std::uint64_t accepted = 0;  ///< writes that answered "accepted", counted per peer
        std::uint64_t sent = 0;      ///< packets the kernel took whole
        std::uint64_t bytes = 0;     ///< of the stream that it took, headers included
        std::uint64_t waiting = 0;   ///< queued now (a gauge)
        /// Accepted, but not taken whole by the kernel before the connection was gone.
        std::uint64_t dropped = 0;
        std::uint64_t dropped_slow = 0;  ///< refused: the peer's queue was full (slow_peer)
        std::uint64_t blocked = 0;       ///< times the kernel took no more for now
    };
    struct ends {
        std::uint64_t made = 0;       ///< connections accepted, or made to a server
        std::uint64_t open = 0;       ///< now (a gauge)
        std::uint64_t ended = 0;      ///< the peer finished between two packets
        std::uint64_t reset = 0;      ///< by an error, or the peer went in mid-packet
        std::uint64_t framing = 0;    ///< what came was no packet, or announced too long a one
        std::uint64_t slow = 0;       ///< slow_peer::close
        std::uint64_t timed_out = 0;  ///< packet_options::idle_timeout
        std::uint64_t closed = 0;     ///< by this program
        std::uint64_t failed = 0;     ///< attempts to connect that came to nothing; not in `made`
        /// Errors of accept(2): no descriptors left, for example. It is tried again.
        std::uint64_t accept_errors = 0;
    };
    receives received{};
    sends sent{};
    ends connections{};

    /// What the identities cannot account for: 0.
    [[nodiscard]] std::uint64_t unexplained() const noexcept;
    /// Several lines, each fact on one, without a final newline.
    [[nodiscard]] std::string to_string() const;
    packet_stats& operator+=(const packet_stats& other) noexcept;
    friend std::ostream& operator<<(std::ostream& out, const packet_stats& ledger);
};

}  // namespace quoit
