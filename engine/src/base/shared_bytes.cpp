// SPDX-License-Identifier: MIT
#include <quoit/shared_bytes.hpp>

#include "base/copy_bytes.hpp"

#include <limits>
#include <new>

namespace quoit {

namespace detail {

byte_block* byte_block::make(std::size_t capacity) {
    if (capacity > std::numeric_limits<std::size_t>::max() - sizeof(byte_block))
        throw std::bad_alloc();
    auto* const block = ::new (::operator new(sizeof(byte_block) + capacity)) byte_block;
    block->capacity = capacity;
    return block;
}

void byte_block::destroy(byte_block* block) noexcept {
    block->~byte_block();
    ::operator delete(block);
}

}  // namespace detail

shared_bytes shared_bytes::copy_of(byte_view bytes) {
    if (bytes.size() == 0) return {};
    auto* const block = detail::byte_block::make(bytes.size());
    detail::copy_bytes(block->data(), bytes.data(), bytes.size());
    return {block, block->data(), bytes.size()};
}

}  // namespace quoit
