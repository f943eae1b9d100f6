// SPDX-License-Identifier: MIT
//
// What a program sees of socket activation; what the variables may be is in
// tests/integration/deployment_test.py. Each case is a child of this process: the variables are
// read once, and descriptors 3 and up are the child's to fill.
#include <quoit/socket_activation.hpp>

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace quoit {
namespace {

constexpr int first_descriptor = 3;

void pass_on(int count, const char* names) {
    for (int i = 0; i < count; ++i) {
        const int made = ::socket(AF_INET, SOCK_DGRAM, 0);
        if (made != first_descriptor + i) {
            ::dup2(made, first_descriptor + i);
            ::close(made);
        }
    }
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDS", std::to_string(count).c_str(), 1);
    ::setenv("LISTEN_FDNAMES", names, 1);
}

// Runs `body` in a child; it returns what is wrong, or nothing.
template <class Body>
void in_a_child(Body body) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        const std::string wrong = body();
        if (!wrong.empty()) std::fprintf(stderr, "%s\n", wrong.c_str());
        ::_exit(wrong.empty() ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
}

TEST(socket_activation, WithoutAnyThereIsNothingAndThatIsNoError) {
    in_a_child([]() -> std::string {
        const auto found = inherited_sockets();
        return found && found->empty() ? "" : "something was found";
    });
}

TEST(socket_activation, AllComeInTheirOrderOnceAndCloseOnExec) {
    in_a_child([]() -> std::string {
        pass_on(3, "one:two");
        const auto found = inherited_sockets();
        if (!found || found->size() != 3) return "not three";
        const char* const names[] = {"one", "two", "unknown"};
        for (int i = 0; i < 3; ++i) {
            const auto& one = (*found)[static_cast<std::size_t>(i)];
            if (one.descriptor.get() != first_descriptor + i) return "another descriptor";
            if (one.name != names[i]) return "the name is " + one.name;
            if ((::fcntl(one.descriptor.get(), F_GETFD) & FD_CLOEXEC) == 0) return "it leaks";
        }
        const auto again = inherited_sockets();
        if (!again || !again->empty()) return "handed out twice";
        return take_inherited_socket("one") ? "taken twice" : "";
    });
}

TEST(socket_activation, OfOneNameTheNextIsTakenByTheNextCall) {
    in_a_child([]() -> std::string {
        pass_on(3, "echo:dns:echo");
        for (const int expected : {first_descriptor, first_descriptor + 2}) {
            const auto taken = take_inherited_socket("echo");
            if (!taken) return taken.error().message();
            if (taken->get() != expected) return "another one";
        }
        const auto none = take_inherited_socket("echo");
        if (none || none.error() != std::errc::no_such_file_or_directory) return "a third one";
        const auto rest = inherited_sockets();
        return rest && rest->size() == 1 && rest->front().name == "dns" ? "" : "not the rest";
    });
}

TEST(socket_activation, AChildDoesNotTakeItsParentsSockets) {
    in_a_child([]() -> std::string {
        pass_on(2, "echo:dns");
        if (!take_inherited_socket("dns")) return "the parent has none";
        in_a_child([]() -> std::string {
            const auto found = inherited_sockets();
            if (!found || !found->empty()) return "the child has some";
            return ::fcntl(first_descriptor, F_GETFD) >= 0 ? "" : "its copy was closed";
        });
        return ::testing::Test::HasFailure() ? "see above" : "";
    });
}

TEST(socket_activation, ManyThreadsEachGetAnother) {
    in_a_child([]() -> std::string {
        constexpr int count = 16;
        pass_on(count, "");
        std::atomic<std::uint64_t> seen = 0;
        std::vector<std::thread> threads;
        for (int i = 0; i < count; ++i) {
            threads.emplace_back([&] {
                if (auto taken = take_inherited_socket("unknown"))
                    seen.fetch_or(std::uint64_t{1} << taken->release());
            });
        }
        for (std::thread& one : threads)
            one.join();
        return seen.load() == ((std::uint64_t{1} << count) - 1) << first_descriptor ? ""
                                                                                    : "not all";
    });
}

}  // namespace
}  // namespace quoit
