// SPDX-License-Identifier: MIT
//
// The size of a cache line, in bytes, and a wrapper that gives a value lines of its own: two
// threads that write to different variables on one line slow each other down as if they
// shared a variable.
//
// Why not std::hardware_destructive_interference_size: its value follows -mtune, so two translation
// units may disagree about the layout of one type. GCC 12 warns about it for that reason
// (-Winterference-size). 64 is right for x86-64 and nearly every ARMv8; where lines are longer (128
// bytes on some ARM server parts) the padding costs speed, never correctness.
#pragma once

#include <cstddef>

namespace quoit::detail {

inline constexpr std::size_t cache_line_size = 64;

// A value that shares no cache line with anything else: it starts on a line, and sizeof is a whole
// number of lines. An aggregate: cache_line_padded<int>{.value = 1}.
template <class T>
struct alignas(cache_line_size) cache_line_padded {
    T value;
};

static_assert(sizeof(cache_line_padded<char>) == cache_line_size);

}  // namespace quoit::detail
