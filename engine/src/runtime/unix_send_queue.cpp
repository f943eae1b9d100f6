// SPDX-License-Identifier: MIT
#include "runtime/unix_send_queue.hpp"

#include "base/assert.hpp"
#include "runtime/send_queue.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace quoit::detail {

namespace {

bool is_full(int error) noexcept { return error == EAGAIN || error == EWOULDBLOCK; }

// Of a connected socket: there is nobody at the other end any more.
bool is_disconnection(int error) noexcept {
    return error == ECONNREFUSED || error == ENOTCONN || error == ECONNRESET || error == EPIPE;
}

}  // namespace

// Messages for one system call and what they point to, but for the payloads.
class unix_send_queue::batch {
  public:
    [[nodiscard]] bool is_full() const noexcept { return size_ == count_max; }
    void add(std::span<const std::byte> payload, const unix_address* to,
             const outgoing_ancillary* with) noexcept {
        if (to != nullptr) names_[size_] = unix_name(*to);
        parts_[size_] = {
            .to = to != nullptr ? &names_[size_] : nullptr,
            .control = with != nullptr ? with->control() : std::span<const std::byte>()};
        pieces_[size_] = piece_of(payload);
        messages_[size_] = {.pieces = std::span(pieces_).subspan(size_, 1),
                            .to = nullptr,
                            .segment = 0,
                            .count = 1,
                            .as_unix = &parts_[size_]};
        ++size_;
    }
    [[nodiscard]] std::span<const outgoing> messages() const noexcept {
        return std::span(messages_).first(size_);
    }

  private:
    static constexpr std::size_t count_max = 64;
    std::array<unix_name, count_max> names_;
    std::array<unix_outgoing, count_max> parts_;
    std::array<iovec, count_max> pieces_;
    std::array<outgoing, count_max> messages_;
    std::size_t size_ = 0;
};

void unix_send_queue::push(std::span<const byte_view> pieces, const unix_address* to,
                           std::unique_ptr<outgoing_ancillary> with) {
    const std::size_t offset = bytes_ready_.size();
    for (const byte_view& piece : pieces) {
        bytes_ready_.insert(bytes_ready_.end(), piece.data(), piece.data() + piece.size());
    }
    entry& made = ready_.emplace_back();
    if (to != nullptr) {
        made.to = *to;
        made.has_to = true;
    }
    made.with = std::move(with);
    made.offset = offset;
    made.size = static_cast<std::uint32_t>(bytes_ready_.size() - offset);
    ++count_;
    bytes_ += made.size;
}

unix_send_queue::outcome unix_send_queue::flush(send_stats& ledger, outlet& through) {
    if (is_stalled_ && through.now() < stall_retry_at_) return outcome::sent;
    has_sent_ = has_stalled_ = false;
    // What is held is older than what is ready.
    if (!held_.empty()) flush_held(ledger, through);
    const outcome ready = has_stalled_ ? outcome::sent : flush_ready(ledger, through);
    if (!is_stalled_) return ready;
    const steady_time now = through.now();
    if (!has_stalled_) {
        end_stall(now);
    } else if (now - stalled_since_ >= stall_patience) {
        give_up(ledger);
    }
    return ready;
}

void unix_send_queue::stall(steady_time now) noexcept {
    if (has_sent_) end_stall(now);
    if (!is_stalled_) {
        is_stalled_ = true;
        stalled_since_ = now;
        stall_delay_ = retry_first;
    }
    stall_retry_at_ = now + stall_delay_;
    stall_delay_ = std::min(stall_delay_ * 2, retry_longest);
    has_stalled_ = true;
}

void unix_send_queue::end_stall(steady_time now) noexcept {
    if (std::exchange(is_stalled_, false)) stood_still_ += now - stalled_since_;
}

unix_send_queue::outcome unix_send_queue::flush_ready(send_stats& ledger, outlet& through) {
    while (head_ < ready_.size()) {
        if (is_held(ready_[head_])) {
            hold_front(through.now());
            continue;
        }
        batch next;
        for (std::size_t i = head_; i < ready_.size() && !next.is_full(); ++i) {
            const entry& one = ready_[i];
            if (is_held(one)) break;
            next.add(payload_of(one), one.has_to ? &one.to : nullptr, one.with.get());
        }
        const send_result result = through.send(next.messages());
        for (std::uint32_t i = 0; i < result.sent; ++i) {
            entry& one = ready_[head_++];
            one.with.reset();
            count_sent(one.size, ledger);
        }
        has_sent_ = has_sent_ || result.sent > 0;
        if (result.error == 0) continue;
        entry& refused = ready_[head_];
        if (is_full(result.error)) {
            ++ledger.blocked;
            if (!refused.has_to) {
                keep_rest();
                return outcome::blocked;
            }
            if (through.is_full()) {
                stall(through.now());
                keep_rest();
                return outcome::sent;
            }
            hold_front(through.now());
        } else if (refused.has_to || !recovers(refused, result.error, ledger, through)) {
            refused.with.reset();
            count_lost(refused.size, result.error, ledger);
            ++head_;
        }
    }
    ready_.clear();
    bytes_ready_.clear();
    head_ = 0;
    return outcome::sent;
}

// A peer that was started again is found by its name.
bool unix_send_queue::recovers(entry& one, int error, send_stats& ledger, outlet& through) {
    if (!is_disconnection(error)) return false;
    if (!one.is_resent && through.reconnect() == 0) {
        one.is_resent = true;
        ++ledger.resent;
        return true;
    }
    through.refused();
    return false;
}

// The first of the ready ones waits for its destination from here on.
void unix_send_queue::hold_front(steady_time now) {
    entry& one = ready_[head_++];
    const auto [found, is_new] = held_.try_emplace(one.to);
    destination& of = found->second;
    if (is_new) {
        of.last_progress = patient_time(now);
        of.retry_at = now + retry_first;
        of.delay = retry_first * 2;
    }
    const auto payload = payload_of(one);
    of.waiting.push_back({.with = std::move(one.with),
                          .payload = std::vector<std::byte>(payload.begin(), payload.end()),
                          .since = patient_time(now)});
    of.cost += one.size + entry_cost;
}

void unix_send_queue::flush_held(send_stats& ledger, outlet& through) {
    const steady_time now = through.now();
    for (auto at = held_.begin(); at != held_.end() && !has_stalled_;) {
        const bool is_due = at->second.retry_at <= now;
        const bool is_done = is_due && flush_destination(at->first, at->second, ledger, through);
        at = is_done ? held_.erase(at) : std::next(at);
    }
}

bool unix_send_queue::flush_destination(const unix_address& to, destination& of, send_stats& ledger,
                                        outlet& through) {
    const auto pop_front = [&of] {
        of.cost -= of.waiting.front().payload.size() + entry_cost;
        of.waiting.pop_front();
    };
    while (!of.waiting.empty()) {
        batch next;
        for (std::size_t i = 0; i < of.waiting.size() && !next.is_full(); ++i)
            next.add(of.waiting[i].payload, &to, of.waiting[i].with.get());
        const send_result result = through.send(next.messages());
        for (std::uint32_t i = 0; i < result.sent; ++i) {
            count_sent(of.waiting.front().payload.size(), ledger);
            pop_front();
        }
        const steady_time now = through.now();
        if (result.sent > 0) {
            has_sent_ = true;
            end_stall(now);
            of.last_progress = patient_time(now);
            of.delay = retry_first;
        }
        if (result.error == 0) continue;
        if (is_full(result.error)) {
            ++ledger.blocked;
            if (through.is_full()) {
                stall(now);
                return false;
            }
            give_up_on_old_ones(of, now, ledger);
            of.retry_at = now + of.delay;
            of.delay = std::min(of.delay * 2, retry_longest);
            return of.waiting.empty();
        }
        count_lost(of.waiting.front().payload.size(), result.error, ledger);
        pop_front();
    }
    return true;
}

void unix_send_queue::give_up_on_old_ones(destination& of, steady_time now,
                                          send_stats& ledger) noexcept {
    while (!of.waiting.empty()) {
        const held_entry& oldest = of.waiting.front();
        if (patient_time(now) - std::max(oldest.since, of.last_progress) < patience) return;
        of.cost -= oldest.payload.size() + entry_cost;
        count_lost(oldest.payload.size(), EAGAIN, ledger);
        of.waiting.pop_front();
    }
}

void unix_send_queue::count_lost(std::size_t size, int error, send_stats& ledger) noexcept {
    count_loss(ledger, error, 1);
    gone(size);
}

// Blocked: the memory of what has gone is used again once that is half of it.
void unix_send_queue::keep_rest() {
    if (head_ * 2 < ready_.size()) return;
    const std::size_t begin = ready_[head_].offset;
    ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(head_));
    bytes_ready_.erase(bytes_ready_.begin(),
                       bytes_ready_.begin() + static_cast<std::ptrdiff_t>(begin));
    for (entry& one : ready_)
        one.offset -= begin;
    head_ = 0;
}

std::size_t unix_send_queue::cost_held(const unix_address& to) const noexcept {
    if (held_.empty()) return 0;
    const auto found = held_.find(to);
    return found == held_.end() ? 0 : found->second.cost;
}

unix_send_queue::steady_time unix_send_queue::next_retry() const noexcept {
    if (is_stalled_) return stall_retry_at_;
    steady_time first = steady_time::max();
    for (const auto& [to, of] : held_)
        first = std::min(first, of.retry_at);
    return first;
}

void unix_send_queue::give_up(send_stats& ledger) noexcept {
    for (std::size_t i = head_; i < ready_.size(); ++i)
        count_lost(ready_[i].size, EAGAIN, ledger);
    for (const auto& [to, of] : held_) {
        for (const held_entry& one : of.waiting)
            count_lost(one.payload.size(), EAGAIN, ledger);
    }
    drop();
}

std::size_t unix_send_queue::drop() noexcept {
    const std::size_t dropped = count_;
    ready_.clear();
    bytes_ready_.clear();
    held_.clear();
    head_ = count_ = bytes_ = 0;
    is_stalled_ = false;
    return dropped;
}

}  // namespace quoit::detail
