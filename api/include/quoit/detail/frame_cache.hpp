// SPDX-License-Identifier: MIT
//
// Where coroutine frames come from: lists of free blocks, one for each size and thread, so that
// awaiting or spawning a task allocates nothing once warm.
//
// Thread safety: any thread may free what any thread allocated; the block then serves the thread
// that freed it. Errors: std::bad_alloc. Under AddressSanitizer the lists are off: every frame
// comes from the heap and goes back to it, so that use after free stays visible.
#pragma once

#include <cstddef>

namespace quoit::detail {

[[nodiscard]] void* allocate_frame(std::size_t size);
void free_frame(void* frame, std::size_t size) noexcept;

}  // namespace quoit::detail
