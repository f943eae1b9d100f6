// SPDX-License-Identifier: MIT
#include "runtime/send_queue.hpp"

#include <algorithm>

namespace quoit::detail {

namespace {

// Handed to one net::send_messages, which makes as many system calls of it as it needs.
constexpr std::size_t batch_count_max = 256;

}  // namespace

void send_queue::push(std::span<const byte_view> pieces, const address* to) {
    entry made;
    made.offset = bytes_.size();
    for (const byte_view& piece : pieces) {
        bytes_.insert(bytes_.end(), piece.data(), piece.data() + piece.size());
    }
    made.size = static_cast<std::uint32_t>(bytes_.size() - made.offset);
    if (to != nullptr) {
        made.to = *to;
        made.has_to = true;
    }
    bytes_waiting_ += made.size;
    entries_.push_back(made);
}

void send_queue::push(datagram&& received, const address* to) {
    const datagram held(std::move(received));
    buffer_pool* const pool = lease_access::pool(held);
    if (pool == nullptr) {
        const byte_view payload(held);
        push(std::span(&payload, 1), to);
        return;
    }
    entry made;
    made.pool = pool;
    made.buffer = lease_access::buffer(held);
    made.data = held.payload().data();
    made.size = static_cast<std::uint32_t>(held.size());
    if (to != nullptr) {
        made.to = *to;
        made.has_to = true;
    }
    entries_.push_back(made);
    retain_buffer(*pool, made.buffer);
    bytes_waiting_ += made.size;
    ++leases_;
}

std::span<const outgoing> send_queue::gather() {
    batch_.clear();
    const std::size_t count = std::min(batch_count_max, entries_.size() - head_);
    for (const entry& one : std::span(entries_).subspan(head_, count)) {
        const std::byte* const data = one.pool == nullptr ? bytes_.data() + one.offset : one.data;
        batch_.push_back({.payload = {data, one.size}, .to = one.has_to ? &one.to : nullptr});
    }
    return batch_;
}

void send_queue::release_front() noexcept {
    const entry& gone = entries_[head_++];
    bytes_waiting_ -= gone.size;
    if (gone.pool == nullptr) {
        bytes_dead_ += gone.size;
        return;
    }
    --leases_;
    release_buffer(*gone.pool, gone.buffer);
}

void send_queue::account(std::uint32_t sent, send_stats& ledger) noexcept {
    ledger.sent += sent;
    for (std::uint32_t i = 0; i < sent; ++i) {
        ledger.bytes += entries_[head_].size;
        release_front();
    }
}

bool send_queue::is_news_of_an_earlier_one(int error) const noexcept {
    const entry& first = entries_[head_];
    if (first.has_to || first.is_resent) return false;
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

void send_queue::lose(int error, send_stats& ledger) noexcept {
    ++ledger.errors;
    for (auto& reason : ledger.reasons) {
        if (reason.count != 0 && reason.error != error) continue;
        reason.error = error;
        ++reason.count;
        break;
    }
    release_front();
}

// The kernel takes no more: what waits gives its leases up, and the memory of what is gone is used
// again once that is half of it, so that a long wait costs no more than one copy per datagram.
void send_queue::keep() {
    const bool is_lean = bytes_dead_ * 2 <= bytes_.size() && head_ * 2 <= entries_.size();
    if (leases_ == 0 && is_lean) return;
    std::vector<std::byte> kept;
    kept.reserve(bytes_waiting_);
    for (entry& one : std::span(entries_).subspan(head_)) {
        const std::byte* const data = one.pool == nullptr ? bytes_.data() + one.offset : one.data;
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

void send_queue::clear() noexcept {
    entries_.clear();
    bytes_.clear();
    head_ = bytes_dead_ = 0;
}

std::size_t send_queue::drop() noexcept {
    const std::size_t dropped = count();
    while (!is_empty())
        release_front();
    clear();
    return dropped;
}

}  // namespace quoit::detail
