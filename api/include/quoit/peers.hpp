// SPDX-License-Identifier: MIT
//
// What is said of the peers of one server: how many may be known at once, how much may wait for
// each, and what became of their datagrams. Services (service.hpp) and acceptors (acceptor.hpp)
// keep the same table.
//
// A source address costs its sender nothing, so every bound here is one on memory: a million
// forged sources take no more of it than peers_max real ones.
#pragma once

#include <quoit/options.hpp>

#include <cstdint>

namespace quoit {

/// What happens when a new peer comes and as many as peers_max are known.
enum class when_crowded : std::uint8_t {
    forget_idlest,  ///< who has been silent for the longest goes: its reads answer errc::closed,
                    ///< its handler is cancelled
    drop_newcomer,  ///< the new peer's datagram is dropped and counted
};

struct peer_options {
    /// Peers known at once, 1..1 048 576.
    std::uint32_t peers_max = 65'536;
    when_crowded on_crowded = when_crowded::forget_idlest;
    /// Datagrams that wait for one peer's reader, 1..65 536. Further ones are dropped and counted.
    std::uint32_t queue_per_peer_max = 64;
    /// Datagrams that wait for the readers of all peers together, 1..1 048 576.
    std::uint32_t queue_size_max = 4096;
    /// How long a read of a peer waits that was given no limit of its own: then errc::timed_out.
    /// {}: as long as it takes.
    time_limit idle_time_max{};
};
static_assert(await_safe<peer_options>);

/// At rest: received == taken + dropped.queue_full + dropped.crowded + discarded + waiting.
struct peer_stats {
    struct drops {
        /// queue_per_peer_max or queue_size_max was reached, or there was no memory.
        std::uint64_t queue_full = 0;
        std::uint64_t crowded = 0;  ///< of new peers, by when_crowded::drop_newcomer
    };
    std::uint64_t received = 0;   ///< datagrams that came in
    std::uint64_t taken = 0;      ///< that a handler or a connection read
    std::uint64_t discarded = 0;  ///< that a peer left unread: its handler ended, it was closed
    std::uint64_t waiting = 0;    ///< queued now (a gauge)
    std::uint64_t known = 0;      ///< peers now (a gauge)
    std::uint64_t came = 0;       ///< peers so far, one that comes again counted again
    std::uint64_t forgotten = 0;  ///< by when_crowded::forget_idlest
    drops dropped{};

    [[nodiscard]] std::uint64_t unexplained() const noexcept {
        const std::uint64_t explained =
            taken + dropped.queue_full + dropped.crowded + discarded + waiting;
        return received > explained ? received - explained : explained - received;
    }
};

}  // namespace quoit
