// SPDX-License-Identifier: MIT
#include <quoit/file_descriptor.hpp>

#include <gtest/gtest.h>

#include <cerrno>
#include <concepts>
#include <type_traits>
#include <utility>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace {

using quoit::file_descriptor;

static_assert(std::is_nothrow_move_constructible_v<file_descriptor>);
static_assert(std::is_nothrow_move_assignable_v<file_descriptor>);
static_assert(!std::copyable<file_descriptor>);
static_assert(!std::convertible_to<int, file_descriptor>);

int new_descriptor() { return ::eventfd(0, EFD_CLOEXEC); }
bool is_open_in_kernel(int fd) { return ::fcntl(fd, F_GETFD) != -1; }

TEST(file_descriptor, HoldsNothingByDefault) {
    const file_descriptor none;
    EXPECT_FALSE(none.is_open());
    EXPECT_EQ(none.get(), -1);
}

TEST(file_descriptor, ANegativeResultOfASystemCallIsNoDescriptor) {
    EXPECT_FALSE(file_descriptor(-1).is_open());
    EXPECT_EQ(file_descriptor(-22).get(), -1);
}

TEST(file_descriptor, ZeroIsADescriptor) {
    file_descriptor zero(0);
    EXPECT_TRUE(zero.is_open());
    EXPECT_EQ(zero.release(), 0);
}

TEST(file_descriptor, ClosesWhenDestroyed) {
    const int fd = new_descriptor();
    {
        const file_descriptor owner(fd);
        EXPECT_TRUE(is_open_in_kernel(fd));
    }
    EXPECT_FALSE(is_open_in_kernel(fd));
}

TEST(file_descriptor, ReleaseGivesUpWithoutClosing) {
    const int fd = new_descriptor();
    file_descriptor owner(fd);
    EXPECT_EQ(owner.release(), fd);
    EXPECT_FALSE(owner.is_open());
    EXPECT_TRUE(is_open_in_kernel(fd));
    ::close(fd);
}

TEST(file_descriptor, ResetClosesOnceAndMayBeRepeated) {
    const int fd = new_descriptor();
    file_descriptor owner(fd);
    owner.reset();
    EXPECT_FALSE(is_open_in_kernel(fd));
    EXPECT_FALSE(owner.is_open());
    owner.reset();
    EXPECT_FALSE(owner.is_open());
}

TEST(file_descriptor, ResetToAnotherClosesTheFirst) {
    const int first = new_descriptor();
    const int second = new_descriptor();
    file_descriptor owner(first);
    owner.reset(second);
    EXPECT_FALSE(is_open_in_kernel(first));
    EXPECT_TRUE(is_open_in_kernel(second));
    EXPECT_EQ(owner.get(), second);
}

TEST(file_descriptor, MovingHandsOverAndLeavesNothing) {
    const int fd = new_descriptor();
    file_descriptor from(fd);
    const file_descriptor to(std::move(from));
    EXPECT_EQ(to.get(), fd);
    EXPECT_FALSE(from.is_open());  // NOLINT(bugprone-use-after-move): what it promises
    EXPECT_TRUE(is_open_in_kernel(fd));
}

TEST(file_descriptor, MoveAssignmentClosesWhatWasHeld) {
    const int first = new_descriptor();
    const int second = new_descriptor();
    file_descriptor to(first);
    file_descriptor from(second);
    to = std::move(from);
    EXPECT_FALSE(is_open_in_kernel(first));
    EXPECT_EQ(to.get(), second);
    EXPECT_FALSE(from.is_open());  // NOLINT(bugprone-use-after-move): what it promises
}

TEST(file_descriptor, MovingToItselfChangesNothing) {
    const int fd = new_descriptor();
    file_descriptor owner(fd);
    file_descriptor& same = owner;
    owner = std::move(same);
    EXPECT_EQ(owner.get(), fd);
    EXPECT_TRUE(is_open_in_kernel(fd));
}

TEST(file_descriptor, ClosingKeepsErrno) {
    file_descriptor owner(new_descriptor());
    errno = ENOBUFS;
    owner.reset();
    EXPECT_EQ(errno, ENOBUFS);
}

#if defined(QUOIT_DEBUG_ASSERTIONS) && QUOIT_DEBUG_ASSERTIONS

TEST(file_descriptor_death, ADescriptorClosedBySomebodyElseIsReported) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    file_descriptor owner(new_descriptor());
    const int fd = owner.get();
    EXPECT_DEATH(
        {
            ::close(fd);
            owner.reset();
        },
        "quoit: assertion failed: .*somebody else closed a descriptor");
}

#else

TEST(file_descriptor, ClosingKeepsErrnoEvenWhenItFails) {
    file_descriptor owner(new_descriptor());
    ::close(owner.get());
    errno = ENOBUFS;
    owner.reset();
    EXPECT_EQ(errno, ENOBUFS);
}

#endif

}  // namespace
