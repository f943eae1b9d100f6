// SPDX-License-Identifier: MIT
//
// Marks memory that the program must not touch, so that AddressSanitizer reports whoever does: a
// provided buffer while the kernel owns it, a buffer on a free list. Without AddressSanitizer both
// functions are empty and cost nothing.
//
// What it cannot see, and what gets in its way:
//   - What the kernel itself writes (an io_uring receive) is not checked.
//   - What the sanitizer's wrappers of libc calls touch is checked: buffers given to recvmmsg(2)
//     must be unpoisoned before the call.
//   - Poison is kept per 8 bytes: where a range ends inside such a group, the rest of the group
//     decides whether the tail can be poisoned. Whole buffers aligned to 8 have no such edge.
//   - Memory must be unpoisoned before it goes back to its allocator.
//
// Source: <sanitizer/asan_interface.h>.
//
// Thread safety: as for writing to the memory.
#pragma once

#include <cstddef>

// GCC defines a macro, clang answers a question; neither understands the other's.
#if defined(__SANITIZE_ADDRESS__)
#define QUOIT_DETAIL_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define QUOIT_DETAIL_POISON 1
#endif
#endif

#if defined(QUOIT_DETAIL_POISON)
#include <sanitizer/asan_interface.h>
#endif

namespace quoit::detail {

#if defined(QUOIT_DETAIL_POISON)

inline constexpr bool is_poisoning_available = true;

inline void poison_memory(const void* address, std::size_t size) noexcept {
    __asan_poison_memory_region(address, size);
}

inline void unpoison_memory(const void* address, std::size_t size) noexcept {
    __asan_unpoison_memory_region(address, size);
}

#else

inline constexpr bool is_poisoning_available = false;

inline void poison_memory(const void* /*address*/, std::size_t /*size*/) noexcept {}
inline void unpoison_memory(const void* /*address*/, std::size_t /*size*/) noexcept {}

#endif

}  // namespace quoit::detail

#undef QUOIT_DETAIL_POISON
