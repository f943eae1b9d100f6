// SPDX-License-Identifier: MIT
//
// unix_send_queue: what one UNIX socket has yet to send.
//
//     ready       [ a | b | a | c ... ]     in order, sent by the next flush
//     held   b    [ b | b ]                 a destination that took no more: retried by time
//            d    [ d ]
//
// A UDP socket that takes no more says when it does again. An unconnected UNIX socket does not: it
// is a DESTINATION's queue that is full (net.unix.max_dgram_qlen datagrams, 10 by default), and
// POLLOUT is always set (57 000 reports in 50 ms, measured on Linux 6.18). So what is for that
// destination is held, in order, and tried again after 1, 2, 4, 8, 16, 16 ... ms; other
// destinations are not held up. A datagram for a destination that has taken nothing for a second is
// counted as an error (EAGAIN). One destination may hold half of what may be queued, so that it
// does not shut out the others.
//
// The kernel charges what was sent and not read to the SENDER, too (SO_SNDBUF), and says EAGAIN as
// well when that is used up: then it is nobody's fault in particular, nobody can be sent anything,
// and the queue stands still as a whole. It is tried again by the same delays, nobody is held, and
// the second of those that are held already does not run. When nobody has taken anything for ten
// seconds, all that waits is counted as errors (EAGAIN).
//
// A connected socket waits for writability, as UDP sockets do.
//
// The error policy, when the kernel refuses a message:
//   EAGAIN, EWOULDBLOCK   as above
//   ECONNREFUSED, ENOTCONN, ECONNRESET, EPIPE on a connected socket
//                         the peer is gone and the socket disconnected with it: connect by name
//                         once more, and if there is somebody, send this one once more. Otherwise
//                         it is lost, and the refusal is news for whoever reads
//   anything else         the datagram is lost and counted by errno, the next one goes on: a dead
//                         destination harms nobody else
//
// Ownership: payloads are copied in; descriptors are the entry's own and closed with it.
// Single-threaded: the port's thread.
#pragma once

#include "net/ancillary.hpp"
#include "net/send.hpp"
#include "net/unix_name.hpp"

#include <quoit/payload.hpp>
#include <quoit/stats.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

namespace quoit::detail {

class unix_send_queue {
  public:
    using steady_time = std::chrono::steady_clock::time_point;
    enum class outcome : std::uint8_t { sent, blocked };

    static constexpr std::chrono::milliseconds retry_first{1};
    static constexpr std::chrono::milliseconds retry_longest{16};
    static constexpr std::chrono::seconds patience{1};
    static constexpr std::chrono::seconds stall_patience{10};
    /// What a queued datagram costs beside its payload, in bytes: an empty one is not free.
    static constexpr std::size_t entry_cost = 64;

    /// The socket, as the queue sees it.
    class outlet {
      public:
        [[nodiscard]] virtual send_result send(std::span<const outgoing> messages) = 0;
        /// Asked after EAGAIN: its own send buffer is used up, whoever the destination is.
        [[nodiscard]] virtual bool is_full() = 0;
        /// Connects to its peer again; the negated errno.
        [[nodiscard]] virtual int reconnect() = 0;
        /// The peer is gone.
        virtual void refused() = 0;
        [[nodiscard]] virtual steady_time now() = 0;

      protected:
        ~outlet() = default;
    };

    unix_send_queue() = default;
    unix_send_queue(const unix_send_queue&) = delete;
    unix_send_queue& operator=(const unix_send_queue&) = delete;

    /// `to`: null on a connected socket. `with` may be null.
    void push(std::span<const byte_view> pieces, const unix_address* to,
              std::unique_ptr<outgoing_ancillary> with);

    /// Sends what is ready, and what is held and due. `blocked`: a connected socket, until it is
    /// writable.
    outcome flush(send_stats& ledger, outlet& through);

    /// Datagrams.
    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    [[nodiscard]] bool is_empty() const noexcept { return count_ == 0; }
    /// Bytes that wait, with entry_cost for each datagram.
    [[nodiscard]] std::size_t cost() const noexcept { return bytes_ + count_ * entry_cost; }
    /// Of what is held for one destination; 0 when it is not held up.
    [[nodiscard]] std::size_t cost_held(const unix_address& to) const noexcept;
    /// Datagrams for the next flush.
    [[nodiscard]] std::size_t ready_count() const noexcept { return ready_.size() - head_; }
    /// Something is tried again by time.
    [[nodiscard]] bool is_holding() const noexcept { return !held_.empty() || is_stalled_; }
    /// When the first of it is due; time_point::max() when there is none.
    [[nodiscard]] steady_time next_retry() const noexcept;

    /// Counts all that waits as errors (EAGAIN).
    void give_up(send_stats& ledger) noexcept;
    /// Drops what waits; returns how many datagrams that was.
    std::size_t drop() noexcept;

  private:
    struct entry {
        unix_address to;
        std::unique_ptr<outgoing_ancillary> with;
        std::size_t offset = 0;  // in bytes_ready_
        std::uint32_t size = 0;
        bool has_to = false;
        bool is_resent = false;
    };
    // Has its bytes with it.
    struct held_entry {
        std::unique_ptr<outgoing_ancillary> with;
        std::vector<std::byte> payload;
        steady_time since;  // of patient_time(), as last_progress
    };
    struct destination {
        std::deque<held_entry> waiting;
        std::size_t cost = 0;
        steady_time retry_at;
        steady_time last_progress;
        std::chrono::milliseconds delay = retry_first;
    };
    using destinations = std::unordered_map<unix_address, destination>;

    class batch;

    outcome flush_ready(send_stats& ledger, outlet& through);
    void flush_held(send_stats& ledger, outlet& through);
    // True when nothing waits for it any more.
    bool flush_destination(const unix_address& to, destination& of, send_stats& ledger,
                           outlet& through);
    void give_up_on_old_ones(destination& of, steady_time now, send_stats& ledger) noexcept;
    [[nodiscard]] std::span<const std::byte> payload_of(const entry& one) const noexcept {
        return {bytes_ready_.data() + one.offset, one.size};
    }
    [[nodiscard]] bool is_held(const entry& one) const {
        return !held_.empty() && held_.contains(one.to);
    }
    void hold_front(steady_time now);
    [[nodiscard]] bool recovers(entry& one, int error, send_stats& ledger, outlet& through);
    void keep_rest();
    void stall(steady_time now) noexcept;
    void end_stall(steady_time now) noexcept;
    // A clock that stands still while nobody can be sent anything.
    [[nodiscard]] steady_time patient_time(steady_time now) const noexcept {
        return (is_stalled_ ? stalled_since_ : now) - stood_still_;
    }
    void gone(std::size_t size) noexcept {
        --count_;
        bytes_ -= size;
    }
    void count_sent(std::size_t size, send_stats& ledger) noexcept {
        ++ledger.sent;
        ledger.bytes += size;
        gone(size);
    }
    void count_lost(std::size_t size, int error, send_stats& ledger) noexcept;

    std::vector<entry> ready_;
    std::size_t head_ = 0;
    std::vector<std::byte> bytes_ready_;
    destinations held_;
    std::size_t count_ = 0;
    std::size_t bytes_ = 0;
    // The socket's own buffer is used up, and since when nothing has gone.
    bool is_stalled_ = false;
    steady_time stalled_since_;
    steady_time stall_retry_at_;
    std::chrono::milliseconds stall_delay_ = retry_first;
    steady_time::duration stood_still_{};
    // Of the flush that runs.
    bool has_sent_ = false;
    bool has_stalled_ = false;
};

}  // namespace quoit::detail
