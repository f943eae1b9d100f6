// SPDX-License-Identifier: MIT
#include "base/fork_watch.hpp"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

namespace {

using quoit::detail::fork_watch;

// What `body` says in a child.
template <class Body>
bool in_a_child(Body body) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(body() ? 0 : 1);
    int status = -1;
    return child > 0 && ::waitpid(child, &status, 0) == child && status == 0;
}

TEST(fork_watch, TheChildIsForkedAndTheParentIsNot) {
    const fork_watch watch;
    EXPECT_FALSE(watch.is_forked());
    EXPECT_TRUE(in_a_child([&] { return watch.is_forked(); }));
    EXPECT_FALSE(watch.is_forked());
}

TEST(fork_watch, AWatchThatIsMadeInAChildIsTheChilds) {
    EXPECT_TRUE(in_a_child([] {
        const fork_watch watch;
        return !watch.is_forked() && in_a_child([&] { return watch.is_forked(); });
    }));
}

}  // namespace
