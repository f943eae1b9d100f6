// SPDX-License-Identifier: MIT
#include "backend/io_uring/refusal.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <string>

namespace quoit::detail {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::error_code system_code(int error) { return {error, std::system_category()}; }
explanation explained(io_uring_step step, int error, const process_facts& facts = {}) {
    return explain(step, system_code(error), facts);
}

TEST(refusal, ASysctlOf2IsTheCauseWhoeverAsks) {
    for (const bool is_root : {false, true}) {
        const auto said =
            explained(io_uring_step::ring, EPERM,
                      {.io_uring_disabled = 2, .has_filter = true, .may_administrate = is_root});
        EXPECT_THAT(said.cause, HasSubstr("kernel.io_uring_disabled is 2"));
        EXPECT_THAT(said.remedy, HasSubstr("sysctl -w kernel.io_uring_disabled=0"));
    }
}

TEST(refusal, ASysctlOf1NamesTheGroupThatWouldLetThisProcessIn) {
    const auto said = explained(
        io_uring_step::ring, EPERM,
        {.io_uring_disabled = 1, .has_filter = false, .may_administrate = false, .group = 1001});
    EXPECT_THAT(said.cause, HasSubstr("kernel.io_uring_disabled is 1"));
    EXPECT_THAT(said.remedy, HasSubstr("sysctl -w kernel.io_uring_group=1001"));
}

TEST(refusal, ASysctlOf1IsNotTheCauseForTheAdministratorBehindAFilter) {
    const auto said =
        explained(io_uring_step::ring, EPERM,
                  {.io_uring_disabled = 1, .has_filter = true, .may_administrate = true});
    EXPECT_THAT(said.cause, HasSubstr("seccomp"));
}

TEST(refusal, ASysctlSaysNothingAboutLaterSteps) {
    const auto said =
        explained(io_uring_step::buffer_ring, EPERM, {.io_uring_disabled = 2, .has_filter = true});
    EXPECT_THAT(said.cause, HasSubstr("seccomp filter refuses io_uring_register"));
}

TEST(refusal, WithoutAFilterPermissionIsASecurityModules) {
    for (const int error : {EPERM, EACCES}) {
        const auto said =
            explained(io_uring_step::ring, error, {.io_uring_disabled = 0, .has_filter = false});
        EXPECT_THAT(said.cause, HasSubstr("security module"));
    }
}

TEST(refusal, WhereNothingCanBeReadAFilterIsTheLikeliestCause) {
    EXPECT_THAT(explained(io_uring_step::ring, EPERM).cause, HasSubstr("seccomp"));
    const std::string no_call = explained(io_uring_step::ring, ENOSYS).cause;
    EXPECT_THAT(no_call, HasSubstr("without io_uring"));
    EXPECT_THAT(no_call, HasSubstr("seccomp"));
}

TEST(refusal, ACallThatIsMissingIsHiddenByAFilterIfItsSysctlIsThere) {
    EXPECT_THAT(explained(io_uring_step::ring, ENOSYS, {.io_uring_disabled = 0}).cause,
                HasSubstr("a seccomp filter hides io_uring_setup"));
    EXPECT_EQ(explained(io_uring_step::ring, ENOSYS, {.has_filter = false}).cause,
              "this kernel is built without io_uring");
}

TEST(refusal, MemoryIsTheLimitsFaultOnlyIfItCounts) {
    const auto limited =
        explained(io_uring_step::ring, ENOMEM, {.may_lock = false, .memlock = 65'536});
    EXPECT_THAT(limited.cause, HasSubstr("RLIMIT_MEMLOCK is 64 KiB"));
    EXPECT_THAT(limited.remedy, HasSubstr("LimitMEMLOCK="));
    const auto exempt =
        explained(io_uring_step::ring, ENOMEM, {.may_lock = true, .memlock = 65'536});
    EXPECT_EQ(exempt.cause, "the kernel has no memory for it");
    EXPECT_EQ(explained(io_uring_step::ring, ENOMEM, {.may_lock = false}).cause, exempt.cause);
    // Pools, sockets and the eventfd lock nothing.
    const auto beside =
        explained(io_uring_step::resources, ENOMEM, {.may_lock = false, .memlock = 65'536});
    EXPECT_EQ(beside.cause, exempt.cause);
    EXPECT_EQ(beside.remedy, "");
}

TEST(refusal, DescriptorsThatRanOutAreTheProcesssOrTheMachines) {
    EXPECT_THAT(explained(io_uring_step::resources, EMFILE, {.nofile = 4}).cause,
                HasSubstr("RLIMIT_NOFILE is 4"));
    EXPECT_THAT(explained(io_uring_step::ring, ENFILE).remedy, HasSubstr("fs.file-max"));
}

TEST(refusal, WhatIsRefusedBesideIoUringIsNotBlamedOnIt) {
    for (const int error : {EPERM, EACCES, ENOSYS, EINVAL}) {
        const auto said = explained(io_uring_step::resources, error,
                                    {.io_uring_disabled = 2, .has_filter = true});
        EXPECT_THAT(said.cause, HasSubstr("socket pair")) << error;
        EXPECT_THAT(said.cause, Not(HasSubstr("io_uring"))) << error;
    }
}

TEST(refusal, WhatTheKernelDoesNotKnowIsNamedWithTheLinuxThatDoes) {
    const auto said = [](io_uring_step step) { return explained(step, EINVAL); };
    EXPECT_THAT(said(io_uring_step::buffer_ring).cause, HasSubstr("buffer rings"));
    EXPECT_THAT(said(io_uring_step::buffer_ring).remedy, HasSubstr("5.19"));
    EXPECT_THAT(said(io_uring_step::cancelling).cause, HasSubstr("synchronous cancels"));
    EXPECT_THAT(said(io_uring_step::receiving).cause, HasSubstr("multishot"));
    EXPECT_THAT(said(io_uring_step::buffer_ring).cause, Not(HasSubstr("seccomp")));
    EXPECT_THAT(explained(io_uring_step::buffer_ring, EINVAL, {.has_filter = true}).cause,
                HasSubstr("or a seccomp filter"));
}

TEST(refusal, TheCauseComesFirstThenTheRemedyThenTheErrno) {
    EXPECT_EQ(obstacle_of(system_code(EPERM), {"the cause", "the remedy"}).message(),
              "io_uring (the cause; the remedy): Operation not permitted");
    EXPECT_EQ(obstacle_of(errc::timed_out, {"the cause", ""}).context(), "io_uring (the cause)");
}

TEST(refusal, TheStatusOfAThreadIsRead) {
    process_facts facts;
    read_status("Name:\tSeccomp:\t1\nCapEff:\t0000000000204000\nSeccomp:\t2\nSeccomp_filters:\t1\n",
                facts);
    EXPECT_EQ(facts.has_filter, true);
    EXPECT_EQ(facts.may_lock, true);
    EXPECT_EQ(facts.may_administrate, true);
    read_status("CapEff:\t0000000000000400\nSeccomp:\t0", facts);
    EXPECT_EQ(facts.has_filter, false);
    EXPECT_EQ(facts.may_lock, false);
    EXPECT_EQ(facts.may_administrate, false);
}

TEST(refusal, ABrokenStatusIsNoFact) {
    for (const char* const text : {"", "\n", "Seccomp", "Seccomp:\t", "Seccomp:\tx\nCapEff:\t-",
                                   "CapEff:\tfffffffffffffffff", "Seccomp_filters:\t1\n"}) {
        process_facts facts;
        read_status(text, facts);
        EXPECT_EQ(facts.has_filter, std::nullopt) << text;
        EXPECT_EQ(facts.may_lock, std::nullopt) << text;
    }
}

}  // namespace
}  // namespace quoit::detail
