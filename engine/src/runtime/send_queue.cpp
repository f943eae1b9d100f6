// SPDX-License-Identifier: MIT
#include "runtime/send_queue.hpp"

#include <algorithm>

namespace quoit::detail {

namespace {

// Handed to one net::send_messages, which makes as many system calls of it as it needs.
constexpr std::size_t batch_count_max = 256;
constexpr std::size_t batch_pieces_max = 1024;
constexpr std::size_t sources_looked_at_max = 8;

}  // namespace

// --- queueing ---

void send_queue::push(std::span<const byte_view> pieces, const address* to, const ip* from) {
    const std::size_t offset = bytes_.size();
    for (const byte_view& piece : pieces) {
        bytes_.insert(bytes_.end(), piece.data(), piece.data() + piece.size());
    }
    const auto size = static_cast<std::uint32_t>(bytes_.size() - offset);
    const std::uint32_t source = find_source(from);
    if (takes(size, to)) {
        const entry& last = entries_.back();
        const bool is_behind = last.pool == nullptr && last.offset + last.size == offset;
        if (is_behind && last.from == source) return extend(size);
    }
    append(size, to, source).offset = offset;
}

void send_queue::push(datagram&& received, const address* to, const ip* from) {
    if (push_next(std::move(received), to)) return;
    buffer_pool* const pool = lease_access::pool(received);
    if (pool == nullptr) {
        const byte_view payload(received);
        push(std::span(&payload, 1), to, from);
        received = datagram();
        return;
    }
    entry& made = append(static_cast<std::uint32_t>(received.size()), to, find_source(from));
    made.pool = pool;
    made.buffer = lease_access::buffer(received);
    made.data = received.payload().data();
    lease_access::take_over(received);
    ++leases_;
}

// Where it stands in sources_, from 1. Few are looked at: one that stands there twice only keeps
// two runs apart.
std::uint32_t send_queue::find_source(const ip* from) {
    if (from == nullptr) return 0;
    const std::size_t end = sources_.size();
    for (std::size_t i = end; i > 0 && end - i < sources_looked_at_max; --i) {
        if (sources_[i - 1] == *from) return static_cast<std::uint32_t>(i);
    }
    sources_.push_back(*from);
    return static_cast<std::uint32_t>(end + 1);
}

void send_queue::disconnected(const address& former) {
    is_connected_ = false;
    for (entry& one : std::span(entries_).subspan(head_)) {
        if (one.has_to) continue;
        one.to = former;
        one.has_to = true;
    }
}

send_queue::entry& send_queue::append(std::uint32_t size, const address* to, std::uint32_t from) {
    entry& made = entries_.emplace_back();
    made.size = made.segment = size;
    made.from = from;
    if (to != nullptr) {
        made.to = *to;
        made.has_to = true;
    }
    ++datagrams_;
    bytes_waiting_ += size;
    return made;
}

// --- making messages ---

std::span<const outgoing> send_queue::gather() {
    batch_.clear();
    pieces_.clear();
    pieces_.reserve(batch_pieces_max);  // messages point into it
    position at{.index = head_, .taken = 0};
    while (at.index < entries_.size() && batch_.size() < batch_count_max &&
           pieces_.size() + segmentation_.count_max() <= batch_pieces_max) {
        batch_.push_back(next_message(at));
    }
    return batch_;
}

outgoing send_queue::next_message(position& at) {
    const entry& first = entries_[at.index];
    const address* const to = first.destination();
    const std::uint32_t source = first.from;
    const bool is_plain = plain_left_ > batch_.size();  // those before are one datagram each
    const std::size_t first_piece = pieces_.size();
    const std::uint32_t remaining = first.size - at.taken * first.segment;
    const std::uint32_t segment = std::min(first.segment, remaining);
    const std::uint32_t count_max = is_plain ? 1 : segmentation_.count_max(to, segment);

    std::uint32_t count = 0;
    bool is_closed = false;
    while (count < count_max && at.index < entries_.size() && !is_closed) {
        const entry& next = entries_[at.index];
        const bool is_tail = count > 0 && next.segment != segment;
        if (count > 0) {
            if (!next.goes_to(to) || next.from != source || next.size == 0 ||
                next.segment > segment)
                break;
            if (is_tail && next.count > 1) break;
        }
        const std::uint32_t taken = std::min(count_max - count, next.count - at.taken);
        is_closed = is_tail || (next.is_closed() && at.taken + taken == next.count);
        take(at, taken);
        count += taken;
    }
    return {.pieces = std::span(pieces_).subspan(first_piece),
            .to = to,
            .from = source == 0 ? nullptr : &sources_[source - 1],
            .segment = count > 1 ? static_cast<std::uint16_t>(segment) : std::uint16_t{0},
            .count = static_cast<std::uint16_t>(count)};
}

// The next `count` datagrams of an entry are a piece of the message that is being made.
void send_queue::take(position& at, std::uint32_t count) {
    const entry& one = entries_[at.index];
    const std::uint32_t begin = at.taken * one.segment;
    const std::uint32_t end = std::min(begin + count * one.segment, one.size);
    pieces_.push_back(piece_of({data_of(one) + begin, end - begin}));
    at.taken += count;
    if (at.taken < one.count) return;
    ++at.index;
    at.taken = 0;
}

// --- what became of them ---

// Takes datagrams from the front; returns their bytes.
std::size_t send_queue::release_front(std::uint32_t count) noexcept {
    std::size_t bytes = 0;
    datagrams_ -= count;
    plain_left_ -= std::min(plain_left_, count);
    while (count > 0) {
        entry& gone = entries_[head_];
        const std::uint32_t taken = std::min(count, gone.count);
        const std::uint32_t size = std::min(taken * gone.segment, gone.size);
        count -= taken;
        bytes += size;
        if (gone.pool == nullptr) bytes_dead_ += size;
        if (taken < gone.count) {
            gone.data += gone.pool == nullptr ? 0 : size;
            gone.offset += size;
            gone.size -= size;
            gone.count -= taken;
            gone.is_resent = false;
            break;
        }
        ++head_;
        if (gone.pool == nullptr) continue;
        --leases_;
        release_buffer(*gone.pool, gone.buffer);
    }
    bytes_waiting_ -= bytes;
    return bytes;
}

void send_queue::account(std::span<const outgoing> sent, send_stats& ledger) noexcept {
    for (const outgoing& one : sent) {
        const address* const to = one.to;
        if (one.segment != 0) {
            ++ledger.trains;
            ledger.coalesced += one.count;
        } else {
            segmentation_.sent_plain(to, static_cast<std::uint32_t>(one.pieces.front().iov_len), 1);
        }
        ledger.sent += one.count;
        ledger.bytes += release_front(one.count);
    }
}

bool send_queue::is_news(int error) noexcept {
    switch (error) {
        case ECONNREFUSED:
        case EHOSTUNREACH:
        case ENETUNREACH:
        case EHOSTDOWN:
        case EPROTO:
        case ENOPROTOOPT: return true;
        default: return false;
    }
}

void send_queue::send_plain(int error, const outgoing& refused) noexcept {
    segmentation_.refused(error, refused.to, refused.segment, refused.count);
    plain_left_ = refused.count;
}

void count_loss(send_stats& ledger, int error, std::uint32_t count) noexcept {
    ledger.errors += count;
    for (auto& reason : ledger.reasons) {
        if (reason.count != 0 && reason.error != error) continue;
        reason.error = error;
        reason.count += count;
        break;
    }
}

void send_queue::lose(int error, const outgoing& refused, send_stats& ledger) noexcept {
    count_loss(ledger, error, refused.count);
    segmentation_.lost_plain();
    release_front(refused.count);
}

// The kernel takes no more: what waits gives its leases up, and the memory of what is gone is used
// again once that is half of it, so that a long wait costs no more than one copy per datagram.
void send_queue::keep() {
    keep_sources();
    const bool is_lean = bytes_dead_ * 2 <= bytes_.size() && head_ * 2 <= entries_.size();
    if (leases_ == 0 && is_lean) return;
    std::vector<std::byte> kept;
    kept.reserve(bytes_waiting_);
    for (entry& one : std::span(entries_).subspan(head_)) {
        const std::byte* const data = data_of(one);
        one.offset = kept.size();
        kept.insert(kept.end(), data, data + one.size);
        if (one.pool != nullptr) release_buffer(*std::exchange(one.pool, nullptr), one.buffer);
    }
    leases_ = 0;
    bytes_dead_ = 0;
    bytes_ = std::move(kept);
    entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
}

// Only what waits may still name one: a queue that is never empty would keep all there ever were.
void send_queue::keep_sources() {
    if (sources_.size() <= sources_looked_at_max + 2 * run_count()) return;
    const std::vector<ip> former = std::exchange(sources_, {});
    for (entry& one : std::span(entries_).subspan(head_)) {
        if (one.from != 0) one.from = find_source(&former[one.from - 1]);
    }
}

void send_queue::clear() noexcept {
    entries_.clear();
    bytes_.clear();
    sources_.clear();
    head_ = bytes_dead_ = 0;
}

std::size_t send_queue::drop() noexcept {
    const std::size_t dropped = count();
    while (!is_empty())
        release_front(entries_[head_].count);
    clear();
    return dropped;
}

}  // namespace quoit::detail
