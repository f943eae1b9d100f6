// SPDX-License-Identifier: MIT
//
// send_queue: what one socket has yet to send, in order. Payloads are copied in, or stay where they
// are in a receive buffer whose lease is held, until the flush that sends them.
//
//     entries   [ sent | sent | head ... waiting ... ]      bytes   [ ...payloads... ]
//
// Datagrams of one size to one destination that follow each other, in memory too, are one entry, a
// run; so the echo of a train is one entry that lies where it was received. gather() makes
// messages of entries: runs with one destination and one size become one, with a piece for each
// (UDP_SEGMENT, net/segmentation.hpp). Nothing waits for company: what is queued at a flush goes.
//
// A lease never waits for the kernel: what a flush could not send is copied, so that receiving does
// not depend on sending.
//
// The error policy, when the kernel refuses a message:
//   EAGAIN                    it takes no more for now: stop, wait for writability
//   ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, EPROTO, ENOPROTOOPT on a connected socket:
//                             news about an EARLIER datagram; this one was not sent (measured on
//                             Linux 6.18). Report it, send this one once more
//   EMSGSIZE, EIO, EINVAL of a run
//                             the coalescing is refused, not the datagrams: they are sent once
//                             more, plain, and segmentation remembers
//   anything else             the message is lost: its datagrams are counted by errno; the next one
//                             goes on
//
// Single-threaded: the port's thread.
#pragma once

#include "backend/buffer_pool.hpp"
#include "net/segmentation.hpp"
#include "net/send.hpp"

#include <quoit/datagram.hpp>
#include <quoit/stats.hpp>

#include <cerrno>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace quoit::detail {

struct lease_access {
    [[nodiscard]] static buffer_pool* pool(const datagram& of) noexcept { return of.pool_; }
    [[nodiscard]] static std::uint32_t buffer(const datagram& of) noexcept { return of.buffer_; }
    /// The reference is the caller's now; the datagram is empty.
    static void take_over(datagram& from) noexcept {
        from.pool_ = nullptr;
        from.view_.clear();
    }
    /// Refers to what lies there and owns nothing: for to_owned().
    [[nodiscard]] static datagram borrowed(const datagram_fields& fields) noexcept {
        datagram made;
        made.view_ = datagram_view(fields);
        return made;
    }
};

/// `count` datagrams were lost for that reason.
void count_loss(send_stats& ledger, int error, std::uint32_t count) noexcept;

class send_queue {
  public:
    enum class outcome : std::uint8_t { empty, blocked };

    send_queue() = default;
    send_queue(const send_queue&) = delete;
    send_queue& operator=(const send_queue&) = delete;
    ~send_queue() { drop(); }

    /// Whether the socket has a peer, and so hears refusals, from now on. What waits for a former
    /// one keeps it as its destination.
    void connected() noexcept { is_connected_ = true; }
    void disconnected(const address& former);

    /// Before the first push: nothing is coalesced.
    void turn_segmentation_off() noexcept { segmentation_.turn_off(); }

    /// `to`: null on a connected socket. `from`: what it is sent from; null: what the route
    /// chooses.
    void push(std::span<const byte_view> pieces, const address* to, const ip* from = nullptr);
    /// Straight from its buffer; one with bytes of its own is copied. `to` may be a part of it.
    void push(datagram&& received, const address* to, const ip* from = nullptr);
    /// As push(), from what that one is sent from (whoever came in one buffer had one destination),
    /// but only if it lies right behind the datagram pushed last and goes to the same
    /// place: then all that could be said against it was looked at before. Otherwise nothing
    /// happens.
    [[nodiscard]] bool push_next(datagram&& received, const address* to) noexcept {
        const auto size = static_cast<std::uint32_t>(received.size());
        if (!takes(size, to)) return false;
        const entry& last = entries_.back();
        buffer_pool* const pool = lease_access::pool(received);
        const bool is_behind = pool != nullptr && last.pool == pool &&
                               last.buffer == lease_access::buffer(received) &&
                               last.data + last.size == received.view().payload().data();
        if (!is_behind) return false;
        extend(size);
        lease_access::take_over(received);
        pool->release(last.buffer);  // one lease is enough for both
        return true;
    }

    [[nodiscard]] bool is_empty() const noexcept { return head_ == entries_.size(); }
    /// Datagrams.
    [[nodiscard]] std::size_t count() const noexcept { return datagrams_; }
    /// Runs, about as many messages as they will be.
    [[nodiscard]] std::size_t run_count() const noexcept { return entries_.size() - head_; }
    /// Payload bytes that wait.
    [[nodiscard]] std::size_t byte_count() const noexcept { return bytes_waiting_; }
    /// What a queued datagram costs beside its payload, in bytes: an empty one is not free.
    static constexpr std::size_t entry_cost = 64;
    [[nodiscard]] std::size_t cost() const noexcept {
        return bytes_waiting_ + count() * entry_cost;
    }

    /// `send(std::span<const outgoing>) -> send_result`; `refused(int errno)` hears of refusals.
    template <class Send, class Refused>
    outcome flush(send_stats& ledger, Send&& send, Refused&& refused) {
        while (!is_empty()) {
            const std::span<const outgoing> messages = gather();
            const send_result result = send(messages);
            account(messages.first(result.sent), ledger);
            ledger.resent += result.refusals;
            refusals_unheard_ += result.refusals;
            if (result.error == 0) continue;
            const outgoing& refused_one = messages[result.sent];
            if (result.error == EAGAIN || result.error == EWOULDBLOCK) {
                ++ledger.blocked;
                keep();
                return outcome::blocked;
            }
            if (is_news_of_an_earlier_one(result.error)) {
                refused(result.error);
                entries_[head_].is_resent = true;
                ++ledger.resent;
            } else if (refused_one.segment != 0 && segmentation::is_refusal(result.error)) {
                send_plain(result.error, refused_one);
                ++ledger.trains_refused;
            } else if (refused_one.segment != 0 && is_news(result.error) &&
                       (is_connected_ || refused_one.to == nullptr)) {
                // News again, of several earlier ones: each datagram gets a chance of its own.
                refused(result.error);
                plain_left_ = refused_one.count;
                entries_[head_].is_resent = false;
                ++ledger.resent;
            } else {
                lose(result.error, refused_one, ledger);
            }
        }
        clear();
        return outcome::empty;
    }

    /// Refusals that sendmmsg(2) seems to have kept to itself (net/send.hpp), since the last call.
    [[nodiscard]] std::uint32_t take_refusals_unheard() noexcept {
        return std::exchange(refusals_unheard_, 0);
    }

    /// What a connected socket says of an earlier datagram when it is asked to send: the one at
    /// hand was not sent, and deserves a second try.
    [[nodiscard]] static bool is_news(int error) noexcept;

    /// Drops what waits; returns how many datagrams that was.
    std::size_t drop() noexcept;

  private:
    // A run: `count` datagrams of `segment` bytes each, the last perhaps shorter, one behind the
    // other in memory.
    struct entry {
        address to;
        bool has_to = false;
        bool is_resent = false;
        std::uint32_t from = 0;       // in sources_, counted from 1; 0: what the route chooses
        buffer_pool* pool = nullptr;  // null: the payload lies in bytes_
        const std::byte* data = nullptr;
        std::uint32_t buffer = 0;
        std::uint32_t count = 1;
        std::uint32_t segment = 0;
        std::uint32_t size = 0;  // bytes of them all
        std::size_t offset = 0;

        [[nodiscard]] const address* destination() const noexcept { return has_to ? &to : nullptr; }
        /// Ends in a shorter datagram, or consists of an empty one: nothing may follow.
        [[nodiscard]] bool is_closed() const noexcept {
            return segment == 0 || size < segment * count;
        }
        [[nodiscard]] bool goes_to(const address* other) const noexcept {
            return has_to ? other != nullptr && to == *other : other == nullptr;
        }
    };
    // Where gather() stands: so many datagrams of entries_[index] are in messages already.
    struct position {
        std::size_t index = 0;
        std::uint32_t taken = 0;
    };

    [[nodiscard]] entry& append(std::uint32_t size, const address* to, std::uint32_t from);
    [[nodiscard]] std::uint32_t find_source(const ip* from);
    // Whether the last run could have this datagram too, if it lies behind it.
    [[nodiscard]] bool takes(std::uint32_t size, const address* to) const noexcept {
        if (is_empty()) return false;
        const entry& last = entries_.back();
        return !last.is_closed() && size != 0 && size <= last.segment &&
               last.count < segmentation_.count_max() && last.goes_to(to);
    }
    void extend(std::uint32_t size) noexcept {
        entry& last = entries_.back();
        last.size += size;
        ++last.count;
        ++datagrams_;
        bytes_waiting_ += size;
    }
    [[nodiscard]] std::span<const outgoing> gather();
    [[nodiscard]] outgoing next_message(position& at);
    void take(position& at, std::uint32_t count);
    [[nodiscard]] const std::byte* data_of(const entry& one) const noexcept {
        return one.pool == nullptr ? bytes_.data() + one.offset : one.data;
    }
    void account(std::span<const outgoing> sent, send_stats& ledger) noexcept;
    [[nodiscard]] bool is_news_of_an_earlier_one(int error) const noexcept {
        const entry& first = entries_[head_];
        return (is_connected_ || !first.has_to) && !first.is_resent && is_news(error);
    }
    void send_plain(int error, const outgoing& refused) noexcept;
    void lose(int error, const outgoing& refused, send_stats& ledger) noexcept;
    void keep();
    void keep_sources();
    void clear() noexcept;
    std::size_t release_front(std::uint32_t count) noexcept;

    std::vector<entry> entries_;
    std::size_t head_ = 0;
    std::vector<std::byte> bytes_;
    std::size_t bytes_dead_ = 0;  // of bytes_, those of entries that are gone
    std::size_t bytes_waiting_ = 0;
    std::size_t datagrams_ = 0;
    std::size_t leases_ = 0;
    std::uint32_t refusals_unheard_ = 0;
    bool is_connected_ = false;
    segmentation segmentation_;
    std::uint32_t plain_left_ = 0;  // datagrams at the front that are sent plain
    std::vector<ip> sources_;       // few: addresses that this host has
    std::vector<outgoing> batch_;
    std::vector<iovec> pieces_;
};

}  // namespace quoit::detail
