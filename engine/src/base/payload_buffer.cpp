// SPDX-License-Identifier: MIT
#include <quoit/payload_buffer.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

namespace quoit {

void payload_buffer::append(byte_view bytes) {
    if (bytes.size() == 0 || refuses(bytes.size())) return;
    // Kept until the copy is made: `bytes` may lie in it.
    const auto outgrown = reserve(size_ + bytes.size());
    std::memcpy(writable() + size_, bytes.data(), bytes.size());
    size_ += bytes.size();
}

std::span<std::byte> payload_buffer::grow(std::size_t size) {
    if (refuses(size)) return {};
    reserve(size_ + size);
    const std::span<std::byte> room(writable() + size_, size);
    size_ += size;
    return room;
}

std::unique_ptr<std::byte[]> payload_buffer::reserve(std::size_t size) {
    if (size <= capacity_) return nullptr;
    const std::size_t capacity = std::min(std::max(size, 2 * capacity_), size_max);
    auto larger = std::make_unique_for_overwrite<std::byte[]>(capacity);
    std::memcpy(larger.get(), data(), size_);
    capacity_ = capacity;
    return std::exchange(heap_, std::move(larger));
}

void payload_buffer::take(payload_buffer& other) noexcept {
    heap_ = std::move(other.heap_);
    capacity_ = std::exchange(other.capacity_, inline_size);
    size_ = std::exchange(other.size_, 0);
    overflowed_ = std::exchange(other.overflowed_, false);
    if (!heap_) std::memcpy(inline_, other.inline_, size_);
}

}  // namespace quoit
