// SPDX-License-Identifier: MIT
#include "base/mapped_region.hpp"

#include "base/poison.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cerrno>
#include <concepts>
#include <cstdint>
#include <limits>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

namespace {

using quoit::detail::is_poisoning_available;
using quoit::detail::mapped_region;
using quoit::detail::poison_memory;
using quoit::detail::unpoison_memory;

static_assert(std::is_nothrow_move_constructible_v<mapped_region>);
static_assert(std::is_nothrow_move_assignable_v<mapped_region>);
static_assert(!std::copyable<mapped_region>);

std::size_t page_size() { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

mapped_region new_region(std::size_t size) {
    auto region = mapped_region::create(size);
    EXPECT_TRUE(region.has_value());
    return region ? std::move(*region) : mapped_region();
}

// mincore(2) refuses a range with unmapped pages in it.
bool is_mapped(void* address) {
    unsigned char residency = 0;
    return ::mincore(address, page_size(), &residency) == 0;
}

TEST(mapped_region, HoldsNothingByDefault) { EXPECT_TRUE(mapped_region().bytes().empty()); }

RC_GTEST_PROP(mapped_region, IsZeroedPageAlignedAndRoundedUpToWholePages, ()) {
    const auto size = *rc::gen::inRange<std::size_t>(1, 100'000);
    auto region = mapped_region::create(size);
    RC_ASSERT(region.has_value());
    const auto bytes = region->bytes();
    RC_ASSERT(bytes.size() >= size);
    RC_ASSERT(bytes.size() - size < page_size());
    RC_ASSERT(bytes.size() % page_size() == 0U);
    RC_ASSERT(reinterpret_cast<std::uintptr_t>(bytes.data()) % page_size() == 0U);
    RC_ASSERT(std::ranges::all_of(bytes, [](std::byte each) { return each == std::byte{0}; }));
}

TEST(mapped_region, IsWritableToTheLastByte) {
    const mapped_region region = new_region(3 * page_size() + 1);
    EXPECT_EQ(region.bytes().size(), 4 * page_size());
    std::ranges::fill(region.bytes(), std::byte{0xa5});
    EXPECT_EQ(region.bytes().front(), std::byte{0xa5});
    EXPECT_EQ(region.bytes().back(), std::byte{0xa5});
}

TEST(mapped_region, UnmapsWhenDestroyed) {
    void* address = nullptr;
    {
        const mapped_region region = new_region(1);
        address = region.bytes().data();
        EXPECT_TRUE(is_mapped(address));
    }
    EXPECT_FALSE(is_mapped(address));
}

TEST(mapped_region, MovingKeepsTheAddressAndLeavesNothing) {
    mapped_region from = new_region(1);
    std::byte* const address = from.bytes().data();
    const mapped_region to(std::move(from));
    EXPECT_EQ(to.bytes().data(), address);
    EXPECT_TRUE(from.bytes().empty());  // NOLINT(bugprone-use-after-move): what it promises
    EXPECT_TRUE(is_mapped(address));
}

TEST(mapped_region, MoveAssignmentUnmapsWhatWasHeld) {
    mapped_region to = new_region(1);
    mapped_region from = new_region(1);
    std::byte* const first = to.bytes().data();
    std::byte* const second = from.bytes().data();
    to = std::move(from);
    EXPECT_FALSE(is_mapped(first));
    EXPECT_EQ(to.bytes().data(), second);
}

TEST(mapped_region, NoBytesAreAnError) {
    const auto region = mapped_region::create(0);
    ASSERT_FALSE(region.has_value());
    EXPECT_EQ(region.error(), EINVAL);
}

TEST(mapped_region, MoreThanTheAddressSpaceIsAnError) {
    for (const std::size_t less : {std::size_t{0}, page_size(), 2 * page_size()}) {
        const auto region = mapped_region::create(std::numeric_limits<std::size_t>::max() - less);
        ASSERT_FALSE(region.has_value());
        EXPECT_EQ(region.error(), ENOMEM);
    }
}

void write_to(std::byte* address) { *const_cast<volatile std::byte*>(address) = std::byte{1}; }

TEST(poison_death, TouchingPoisonedMemoryIsReported) {
    if (!is_poisoning_available) GTEST_SKIP() << "built without AddressSanitizer";
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    const mapped_region region = new_region(64);
    std::byte* const address = region.bytes().data();
    poison_memory(address, 64);
    EXPECT_DEATH(write_to(address), "use-after-poison");
}

TEST(poison, UnpoisonedMemoryMayBeTouchedAgain) {
    const mapped_region region = new_region(64);
    poison_memory(region.bytes().data(), 64);
    unpoison_memory(region.bytes().data(), 64);
    write_to(region.bytes().data());
    EXPECT_EQ(region.bytes().front(), std::byte{1});
}

TEST(mapped_region, LeavesNoPoisonBehindForTheNextMapping) {
    void* address = nullptr;
    const std::size_t size = page_size();
    {
        const mapped_region region = new_region(size);
        address = region.bytes().data();
        poison_memory(address, size);
    }
    void* const again = ::mmap(address, size, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (again == MAP_FAILED) GTEST_SKIP() << "the address was given to somebody else meanwhile";
    write_to(static_cast<std::byte*>(again));
    EXPECT_EQ(::munmap(again, size), 0);
}

}  // namespace
