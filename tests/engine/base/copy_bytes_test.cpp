// SPDX-License-Identifier: MIT
#include "base/copy_bytes.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace {

using quoit::detail::copy_bytes;

TEST(copy_bytes, CopiesEachByteOnceAndNoneBesideWhereverTheyLie) {
    constexpr std::size_t page = 4096;
    constexpr std::byte untouched{0xEE};
    std::vector<std::byte> from(5 * page);
    for (std::size_t i = 0; i < from.size(); ++i)
        from[i] = static_cast<std::byte>(i * 31 % 251);
    std::vector<std::byte> to(5 * page);
    // Addresses modulo a page are tried through every distance that is treated apart, and others.
    const std::size_t aligned = page - reinterpret_cast<std::uintptr_t>(to.data()) % page;
    const std::size_t base = page - reinterpret_cast<std::uintptr_t>(from.data()) % page;
    for (const std::size_t above : {0U, 1U, 8U, 24U, 63U, 64U, 65U, 1000U, 4095U}) {
        for (const std::size_t size : {0U, 1U, 2047U, 2048U, 2049U, 4096U, 4097U, 10'000U}) {
            std::ranges::fill(to, untouched);
            copy_bytes(to.data() + aligned + above, from.data() + base, size);
            const std::span all(to);
            const auto copied = all.subspan(aligned + above, size);
            ASSERT_TRUE(std::ranges::equal(copied, std::span(from).subspan(base, size)))
                << above << ", " << size;
            const auto before = all.first(aligned + above);
            const auto behind = all.subspan(aligned + above + size);
            ASSERT_EQ(std::ranges::count(before, untouched), std::ssize(before));
            ASSERT_EQ(std::ranges::count(behind, untouched), std::ssize(behind));
        }
    }
}

}  // namespace
