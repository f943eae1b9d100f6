// SPDX-License-Identifier: MIT
#include "runtime/inbox.hpp"

#include <algorithm>

namespace quoit::detail {

datagram_fields inbox::entry::at(std::uint32_t index) const noexcept {
    datagram_fields one = first;
    if (segment != 0) {
        const std::uint32_t offset = index * segment;
        one.data += offset;
        one.original_size = std::min(segment, size_total - offset);
        one.size = std::min(first.size, one.original_size);
    }
    return one;
}

void inbox::push(buffer_pool& pool, std::uint32_t buffer, const parsed_message& message) {
    const std::uint32_t count = message.count();
    counts_.passed += count;
    entry made{.first = message.first,
               .pool = &pool,
               .buffer = buffer,
               .segment = message.segment,
               .size_total = message.size_total,
               .next = 0,
               .end = count,
               .error = 0};
    if (policy_ == when_full::drop_newest) {
        const std::uint32_t room = size_max_ - std::min(size_max_, datagrams_);
        made.end = std::min(count, room);
        counts_.dropped_full += count - made.end;
        if (made.end == 0) {
            pool.release(buffer);
            return;
        }
    }
    append(made);
    datagrams_ += made.end;
    if (policy_ == when_full::drop_oldest) {
        while (datagrams_ > size_max_)
            drop_front();
    }
}

void inbox::push_error(int error, std::uint32_t count) {
    errors_ += count;
    if (size_ > 0) {
        entry& last = slots_[(head_ + size_ - 1) & (capacity_ - 1)];
        const bool is_alike = last.error == error || error_entries_ >= error_entries_max;
        if (last.pool == nullptr && is_alike) {
            last.end += count;
            return;
        }
    }
    ++error_entries_;
    entry made{};
    made.end = count;
    made.error = error;
    append(made);
}

// The oldest datagram; errors in front of it go with it, since they were news of before it.
void inbox::drop_front() noexcept {
    if (front_error() != 0) {
        pop_error();
        return;
    }
    entry& oldest = front();
    ++counts_.dropped_full;
    --datagrams_;
    if (++oldest.next < oldest.end) return;
    oldest.pool->release(oldest.buffer);
    remove_front();
}

void inbox::pop_error() noexcept {
    --errors_;
    if (++front().next < front().end) return;
    --error_entries_;
    remove_front();
}

bool inbox::drop_oldest() noexcept {
    if (datagrams_ == 0) return false;
    for (const std::uint32_t before = datagrams_; datagrams_ == before;)
        drop_front();
    return true;
}

train inbox::pop_train(std::uint32_t count_max) noexcept {
    entry& oldest = front();
    buffer_pool& pool = *oldest.pool;
    const std::uint32_t buffer = oldest.buffer;
    const std::uint32_t count = std::min(oldest.end - oldest.next, count_max);
    const datagram_fields first = oldest.at(oldest.next);
    const std::uint32_t size_total =
        oldest.segment == 0 ? first.size : oldest.size_total - oldest.next * oldest.segment;
    const std::uint32_t segment = oldest.segment == 0 ? first.size : oldest.segment;
    counts_.delivered += count;
    datagrams_ -= count;
    oldest.next += count;
    if (oldest.next < oldest.end) {
        pool.retain(buffer);
    } else {
        remove_front();
    }
    return {pool, buffer, first, segment, size_total, count};
}

void inbox::abandon() noexcept {
    counts_.abandoned += datagrams_;
    while (size_ > 0) {
        if (front().pool != nullptr) front().pool->release(front().buffer);
        remove_front();
    }
    datagrams_ = errors_ = error_entries_ = 0;
}

void inbox::append(const entry& one) {
    if (size_ == capacity_) grow();
    slots_[(head_ + size_) & (capacity_ - 1)] = one;
    ++size_;
}

void inbox::grow() {
    const std::uint32_t capacity = std::max(capacity_ * 2, 64U);
    auto slots = std::make_unique<entry[]>(capacity);
    for (std::uint32_t i = 0; i < size_; ++i)
        slots[i] = slots_[(head_ + i) & (capacity_ - 1)];
    slots_ = std::move(slots);
    capacity_ = capacity;
    head_ = 0;
}

}  // namespace quoit::detail
