// SPDX-License-Identifier: MIT
//
// inbox: what an endpoint has received and nobody has read, in order: datagrams and refusals. The
// bound counts datagrams, whether they came alone or in a train; refusals are not counted against
// it: alike ones that follow each other are one entry, and so are unlike ones once there are many,
// so they cost no memory. One lease is held per entry.
//
// Single-threaded: the port's thread.
#pragma once

#include "backend/buffer_pool.hpp"
#include "base/assert.hpp"
#include "net/message.hpp"

#include <quoit/datagram.hpp>
#include <quoit/options.hpp>

#include <cstdint>
#include <memory>

namespace quoit::detail {

class inbox {
  public:
    struct counts {
        std::uint64_t passed = 0;
        std::uint64_t delivered = 0;
        std::uint64_t dropped_full = 0;
        std::uint64_t abandoned = 0;
    };

    inbox(std::uint32_t size_max, when_full policy) noexcept
        : size_max_(size_max), policy_(policy) {}
    inbox(const inbox&) = delete;
    inbox& operator=(const inbox&) = delete;
    ~inbox() { abandon(); }

    /// Takes over one reference to the buffer. All its datagrams are passed; what does not fit is
    /// dropped as the policy says (`pause` keeps it: the owner stops the source).
    void push(buffer_pool& pool, std::uint32_t buffer, const parsed_message& message);
    /// So many refusals, in order with the datagrams.
    void push_error(int error, std::uint32_t count);
    /// As when_full::drop_oldest does; false: there is no datagram.
    bool drop_oldest() noexcept;

    /// Datagrams.
    [[nodiscard]] std::uint32_t datagram_count() const noexcept { return datagrams_; }
    /// Datagrams and refusals.
    [[nodiscard]] std::uint32_t readable_count() const noexcept { return datagrams_ + errors_; }
    [[nodiscard]] std::uint32_t size_max() const noexcept { return size_max_; }
    [[nodiscard]] bool is_full() const noexcept { return datagrams_ >= size_max_; }

    [[nodiscard]] bool has_datagram_in_front() const noexcept {
        return size_ > 0 && front().pool != nullptr;
    }
    /// The errno at the front; 0: a datagram is, or nothing.
    [[nodiscard]] int front_error() const noexcept {
        return size_ == 0 || front().pool != nullptr ? 0 : front().error;
    }
    /// REQUIRES: front_error() != 0.
    void pop_error() noexcept;
    /// What a datagram is made of. One is 88 bytes and each move of it shows, so it is made where
    /// it shall be, at once: `first` stays valid until the next push.
    struct popped {
        buffer_pool& pool;
        std::uint32_t buffer;
        const datagram_fields& first;
        std::uint32_t offset;
        std::uint32_t size;
        std::uint32_t original_size;
    };
    /// REQUIRES: a datagram is at the front. Whoever calls it owns the reference to the buffer.
    [[nodiscard]] popped take_front() noexcept;
    [[nodiscard]] datagram pop() noexcept {
        const popped one = take_front();
        return {one.pool, one.buffer, one.first, one.offset, one.size, one.original_size};
    }
    /// What is left of the front's train, at most `count_max` datagrams of it. REQUIRES: as pop().
    [[nodiscard]] train pop_train(std::uint32_t count_max) noexcept;

    /// Nobody will read what is left.
    void abandon() noexcept;
    [[nodiscard]] const counts& counted() const noexcept { return counts_; }

  private:
    // A datagram or train: its buffer and which of its datagrams are still here. Or an error.
    struct entry {
        datagram_fields first;        // of the buffer's first datagram
        buffer_pool* pool = nullptr;  // null: an error
        std::uint32_t buffer = 0;
        std::uint32_t segment = 0;     // bytes from one datagram to the next
        std::uint32_t size_total = 0;  // payload bytes of them all
        std::uint32_t next = 0;        // the first still here
        std::uint32_t end = 0;         // behind the last still here; of an error: how often
        int error = 0;

        [[nodiscard]] datagram_fields at(std::uint32_t index) const noexcept;
    };

    [[nodiscard]] entry& front() const noexcept { return slots_[head_ & (capacity_ - 1)]; }
    void append(const entry& one);
    void drop_front() noexcept;
    void remove_front() noexcept {
        ++head_;
        --size_;
    }
    void grow();

    // Unlike refusals, unread, that are told apart.
    static constexpr std::uint32_t error_entries_max = 64;

    // A ring of a power of two; grows, never shrinks. Full it holds size_max datagrams.
    std::unique_ptr<entry[]> slots_;
    std::uint32_t capacity_ = 0;
    std::uint32_t head_ = 0;
    std::uint32_t size_ = 0;  // entries

    std::uint32_t datagrams_ = 0;
    std::uint32_t errors_ = 0;
    std::uint32_t error_entries_ = 0;
    std::uint32_t size_max_;
    when_full policy_;
    counts counts_;
};

inline inbox::popped inbox::take_front() noexcept {
    entry& oldest = front();
    const std::uint32_t offset = oldest.next * oldest.segment;  // of a datagram that came alone: 0
    const std::uint32_t left = oldest.size_total - offset;
    const bool is_alone = oldest.segment == 0;
    const std::uint32_t original_size = is_alone                ? oldest.first.original_size
                                        : left < oldest.segment ? left
                                                                : oldest.segment;
    const popped taken{
        .pool = *oldest.pool,
        .buffer = oldest.buffer,
        .first = oldest.first,
        .offset = offset,
        .size = oldest.first.size < original_size ? oldest.first.size : original_size,
        .original_size = original_size};
    ++counts_.delivered;
    --datagrams_;
    if (++oldest.next < oldest.end) {
        taken.pool.retain(taken.buffer);
    } else {
        remove_front();  // its lease becomes the datagram's
    }
    return taken;
}

}  // namespace quoit::detail
