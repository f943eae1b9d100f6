// SPDX-License-Identifier: MIT
//
// copy_bytes: std::memcpy for the bodies of packets, whose copies often lie a few bytes further
// into a page than they do: headers stand before both, a packet's and an allocation's.
//
// From some 2 KiB on glibc's memcpy uses `rep movsb`, which AMD processors run 16 times slower when
// the destination is 1..63 bytes above the source modulo a page (glibc bug 30994; measured on an
// EPYC with glibc 2.36: 64 KiB take 23 us instead of 1.4). Shorter copies use vector registers.
// Where GCC 12 knows that a size is at most 8 KiB it writes a `rep movsq` of its own instead of the
// call: for the 64 bytes of a short packet that takes three times as long. So it is not told.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace quoit::detail {

inline void call_memcpy(std::byte* to, const std::byte* from, std::size_t size) noexcept {
    asm("" : "+r"(size));  // any size, as far as the compiler knows
    std::memcpy(to, from, size);
}

/// Neither is used when `size` is 0. They must not overlap.
inline void copy_bytes(std::byte* to, const std::byte* from, std::size_t size) noexcept {
    constexpr std::uintptr_t page = 4096;
    constexpr std::size_t vector_size_max = 2048;
    const auto above =
        (reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(from)) % page;
    if (above != 0 && above < 64) {
        for (; size > vector_size_max; size -= vector_size_max) {
            call_memcpy(to, from, vector_size_max);
            to += vector_size_max;
            from += vector_size_max;
        }
    }
    if (size > 0) call_memcpy(to, from, size);
}

}  // namespace quoit::detail
