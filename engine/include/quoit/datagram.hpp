// SPDX-License-Identifier: MIT
//
// Datagrams as they are read.
//
//   datagram        one datagram, owned: a lease on the receive buffer it arrived in
//   datagram_view   one datagram, seen: what a batch is iterated as; it owns nothing
//   train           what came in one buffer: one datagram, or several equal ones that the kernel
//                   coalesced (UDP_GRO); one lease, iterated as views
//   datagram_batch  several trains, taken from the queue at once; iterated as views
//
// Ownership: dropping a datagram, train or batch gives its buffer back to the kernel. payload() and
// text() are valid while their owner lives and is not moved from, and refuse temporaries. Leases
// may outlive their endpoint, their loop and its port. Holding many starves the receiver: sockets
// then leave their datagrams in the kernel (stats::leases_held tells).
//
// Threads: a lease belongs to the thread of the loop (or port) it came from and dies there
// (asserted in debug builds), because its count is a plain integer. to_owned() makes a copy that
// may go anywhere.
#pragma once

#include <quoit/address.hpp>
#include <quoit/options.hpp>
#include <quoit/payload.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quoit {

class datagram;
class datagram_batch;
class train;

namespace detail {

class buffer_pool;

struct lease_access;

// Gives up one reference to one buffer of a pool; plain counts, the port's thread.
void release_buffer(buffer_pool& pool, std::uint32_t buffer) noexcept;

/// Where a datagram lies and what is known of it. Plain data, for the engine.
struct datagram_fields {
    const std::byte* data = nullptr;     // the payload
    const std::byte* control = nullptr;  // the kernel's control messages
    std::uint32_t size = 0;              // bytes of payload there are
    std::uint32_t original_size = 0;     // bytes there were before truncation
    std::uint16_t control_size = 0;
    std::uint16_t local_port = 0;  // of the socket that received it
    std::uint32_t socket = 0;      // which socket of its port received it
    address peer;
};

}  // namespace detail

/// One datagram, seen but not owned: valid while the batch, train or datagram it came from is.
class datagram_view {
  public:
    datagram_view() noexcept = default;
    explicit datagram_view(const detail::datagram_fields& fields) noexcept : fields_(fields) {}

    [[nodiscard]] std::span<const std::byte> payload() const noexcept {
        return {fields_.data, fields_.size};
    }
    [[nodiscard]] std::string_view text() const noexcept {
        return {reinterpret_cast<const char*>(fields_.data), fields_.size};
    }
    /// Bytes of payload; 0 is a datagram all the same.
    [[nodiscard]] std::size_t size() const noexcept { return fields_.size; }
    [[nodiscard]] bool is_empty() const noexcept { return fields_.size == 0; }
    /// It was longer than payload_size_max; original_size() says how long.
    [[nodiscard]] bool truncated() const noexcept { return fields_.original_size > fields_.size; }
    [[nodiscard]] std::size_t original_size() const noexcept { return fields_.original_size; }
    /// Who sent it.
    [[nodiscard]] address peer() const noexcept { return fields_.peer; }

    // What udp_options::received_metadata asked for; otherwise, or where the kernel did not say,
    // empty. local() is there whenever it is known (reply_source).
    [[nodiscard]] std::optional<address> local() const noexcept;
    [[nodiscard]] std::optional<std::chrono::sys_time<std::chrono::nanoseconds>> received_at()
        const noexcept;
    [[nodiscard]] std::optional<std::uint8_t> tos() const noexcept;
    [[nodiscard]] std::optional<std::uint8_t> ttl() const noexcept;

    [[nodiscard]] const detail::datagram_fields& fields() const noexcept { return fields_; }

  private:
    friend class datagram;
    friend class train;
    friend struct detail::lease_access;

    // What it was a view of is gone. Still says whom it came from.
    void clear() noexcept {
        fields_.data = nullptr;
        fields_.control = nullptr;
        fields_.size = fields_.original_size = 0;
        fields_.control_size = 0;
    }

    detail::datagram_fields fields_;
};

/// One datagram and the lease on its buffer; or, after to_owned(), on bytes of its own. Move-only.
class datagram {
  public:
    /// Empty, from nobody.
    datagram() noexcept = default;
    /// One of your own, for tests: a copy of the bytes.
    datagram(byte_view payload, const address& peer);
    /// Takes over one reference to the buffer.
    datagram(detail::buffer_pool& pool, std::uint32_t buffer,
             const detail::datagram_fields& fields) noexcept
        : view_(fields), pool_(&pool), buffer_(buffer) {}
    /// The same, of a train: `size` bytes of it, `offset` bytes behind its first datagram. Made in
    /// place: reading back in one piece what was written in several would wait for the stores.
    datagram(detail::buffer_pool& pool, std::uint32_t buffer, const detail::datagram_fields& first,
             std::uint32_t offset, std::uint32_t size, std::uint32_t original_size) noexcept
        : view_(first), pool_(&pool), buffer_(buffer) {
        view_.fields_.data = first.data + offset;
        view_.fields_.size = size;
        view_.fields_.original_size = original_size;
    }
    datagram(datagram&& other) noexcept
        : view_(other.view_), pool_(std::exchange(other.pool_, nullptr)),
          owned_(std::exchange(other.owned_, nullptr)), buffer_(other.buffer_) {
        other.view_.clear();
    }
    datagram& operator=(datagram&& other) noexcept {
        datagram(std::move(other)).swap(*this);
        return *this;
    }
    ~datagram() {
        if (pool_ != nullptr) {
            detail::release_buffer(*pool_, buffer_);
        } else {
            delete[] owned_;
        }
    }

    [[nodiscard]] std::span<const std::byte> payload() const& noexcept { return view_.payload(); }
    [[nodiscard]] std::span<const std::byte> payload() && = delete;
    [[nodiscard]] std::string_view text() const& noexcept { return view_.text(); }
    [[nodiscard]] std::string_view text() && = delete;
    /// Bytes of payload; 0 is a datagram all the same.
    [[nodiscard]] std::size_t size() const noexcept { return view_.size(); }
    [[nodiscard]] bool is_empty() const noexcept { return view_.is_empty(); }
    /// It was longer than payload_size_max; original_size() says how long.
    [[nodiscard]] bool truncated() const noexcept { return view_.truncated(); }
    [[nodiscard]] std::size_t original_size() const noexcept { return view_.original_size(); }
    /// Who sent it. By value: safe to name beside std::move(datagram) in one call.
    [[nodiscard]] address peer() const noexcept { return view_.peer(); }

    // What udp_options::received_metadata asked for; otherwise empty.
    [[nodiscard]] std::optional<address> local() const noexcept { return view_.local(); }
    [[nodiscard]] std::optional<std::chrono::sys_time<std::chrono::nanoseconds>> received_at()
        const noexcept {
        return view_.received_at();
    }
    [[nodiscard]] std::optional<std::uint8_t> tos() const noexcept { return view_.tos(); }
    [[nodiscard]] std::optional<std::uint8_t> ttl() const noexcept { return view_.ttl(); }

    [[nodiscard]] const datagram_view& view() const& noexcept { return view_; }
    [[nodiscard]] std::string to_string() const { return std::string(view_.text()); }
    /// A copy with bytes of its own, which any thread may keep and drop.
    [[nodiscard]] datagram to_owned() const;
    /// It holds a receive buffer, and so belongs to its loop's thread.
    [[nodiscard]] bool is_lease() const noexcept { return pool_ != nullptr; }

    void swap(datagram& other) noexcept {
        std::swap(view_, other.view_);
        std::swap(pool_, other.pool_);
        std::swap(owned_, other.owned_);
        std::swap(buffer_, other.buffer_);
    }

  private:
    friend struct detail::lease_access;
    datagram_view view_;
    detail::buffer_pool* pool_ = nullptr;
    std::byte* owned_ = nullptr;
    std::uint32_t buffer_ = 0;
};

inline byte_view::byte_view(const datagram& received) noexcept
    : byte_view(received.payload().data(), received.size()) {}

/// What came in one buffer: `size()` datagrams from one peer, all of the same length but a shorter
/// last. Without coalescing that is one. Move-only; one lease.
class train {
  public:
    class iterator;

    train() noexcept = default;
    /// Takes over one reference to the buffer. `first` is its first datagram, `segment` the
    /// distance from one to the next, `size_total` the bytes of them all.
    train(detail::buffer_pool& pool, std::uint32_t buffer, const detail::datagram_fields& first,
          std::uint32_t segment, std::uint32_t size_total, std::uint32_t count) noexcept
        : first_(first), pool_(&pool), buffer_(buffer), segment_(segment), size_total_(size_total),
          count_(count) {}
    train(train&& other) noexcept
        : first_(other.first_), pool_(std::exchange(other.pool_, nullptr)), buffer_(other.buffer_),
          segment_(other.segment_), size_total_(other.size_total_),
          count_(std::exchange(other.count_, 0)) {}
    train& operator=(train&& other) noexcept {
        train(std::move(other)).swap(*this);
        return *this;
    }
    ~train() {
        if (pool_ != nullptr) detail::release_buffer(*pool_, buffer_);
    }

    /// Datagrams.
    [[nodiscard]] std::size_t size() const noexcept { return count_; }
    [[nodiscard]] bool is_empty() const noexcept { return count_ == 0; }
    [[nodiscard]] address peer() const noexcept { return first_.peer; }
    /// REQUIRES: index < size().
    [[nodiscard]] datagram_view operator[](std::size_t index) const noexcept {
        datagram_view one(first_);
        if (count_ > 1) point(one, index);
        return one;
    }
    [[nodiscard]] iterator begin() const noexcept;
    [[nodiscard]] iterator end() const noexcept;

    void swap(train& other) noexcept {
        std::swap(first_, other.first_);
        std::swap(pool_, other.pool_);
        std::swap(buffer_, other.buffer_);
        std::swap(segment_, other.segment_);
        std::swap(size_total_, other.size_total_);
        std::swap(count_, other.count_);
    }

  private:
    friend class datagram_batch;

    // Makes a view of one of its datagrams a view of another; cheaper than a new one. REQUIRES:
    // size() > 1, index < size().
    void point(datagram_view& one, std::size_t index) const noexcept {
        const auto offset = static_cast<std::uint32_t>(index) * segment_;
        one.fields_.data = first_.data + offset;
        one.fields_.original_size = std::min(segment_, size_total_ - offset);
        one.fields_.size = std::min(first_.size, one.fields_.original_size);
    }

    detail::datagram_fields first_;
    detail::buffer_pool* pool_ = nullptr;
    std::uint32_t buffer_ = 0;
    std::uint32_t segment_ = 0;
    std::uint32_t size_total_ = 0;
    std::uint32_t count_ = 0;
};

class train::iterator {
  public:
    using value_type = datagram_view;
    using difference_type = std::ptrdiff_t;

    iterator() noexcept = default;
    iterator(const train& whole, std::size_t index) noexcept : train_(&whole), index_(index) {}
    [[nodiscard]] datagram_view operator*() const noexcept { return (*train_)[index_]; }
    iterator& operator++() noexcept {
        ++index_;
        return *this;
    }
    iterator operator++(int) noexcept {
        return std::exchange(*this, iterator(*train_, index_ + 1));
    }
    [[nodiscard]] bool operator==(const iterator&) const noexcept = default;

  private:
    const train* train_ = nullptr;
    std::size_t index_ = 0;
};
inline train::iterator train::begin() const noexcept { return {*this, 0}; }
inline train::iterator train::end() const noexcept { return {*this, count_}; }

/// Datagrams taken from the queue at once, in order. Move-only. Its storage is recycled on the
/// thread, so that reading batch after batch allocates nothing once warm.
class datagram_batch {
  public:
    class iterator;

    datagram_batch() noexcept = default;
    datagram_batch(datagram_batch&& other) noexcept { swap(other); }
    datagram_batch& operator=(datagram_batch&& other) noexcept {
        datagram_batch(std::move(other)).swap(*this);
        return *this;
    }
    ~datagram_batch();

    /// Datagrams.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool is_empty() const noexcept { return size_ == 0; }
    [[nodiscard]] std::span<const train> trains() const& noexcept { return trains_; }
    [[nodiscard]] std::span<const train> trains() && = delete;
    /// Single pass: what an iterator refers to changes when it is incremented.
    [[nodiscard]] iterator begin() const noexcept;
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

    /// For the engine: adds to the end.
    void append(train&& next);

    void swap(datagram_batch& other) noexcept {
        std::swap(trains_, other.trains_);
        std::swap(size_, other.size_);
    }

  private:
    std::vector<train> trains_;
    std::size_t size_ = 0;
};

class datagram_batch::iterator {
  public:
    using value_type = datagram_view;
    using difference_type = std::ptrdiff_t;

    iterator() noexcept = default;
    explicit iterator(std::span<const train> trains) noexcept : trains_(trains) { look(); }
    [[nodiscard]] const datagram_view& operator*() const noexcept { return current_; }
    [[nodiscard]] const datagram_view* operator->() const noexcept { return &current_; }
    iterator& operator++() noexcept {
        if (++index_ < trains_.front().size()) {
            trains_.front().point(current_, index_);
            return *this;
        }
        trains_ = trains_.subspan(1);
        index_ = 0;
        look();
        return *this;
    }
    void operator++(int) noexcept { ++*this; }
    [[nodiscard]] bool operator==(std::default_sentinel_t) const noexcept {
        return trains_.empty();
    }

  private:
    void look() noexcept {
        if (!trains_.empty()) current_ = trains_.front()[index_];
    }
    std::span<const train> trains_;
    std::size_t index_ = 0;
    datagram_view current_;
};
inline datagram_batch::iterator datagram_batch::begin() const noexcept { return iterator(trains_); }

}  // namespace quoit
