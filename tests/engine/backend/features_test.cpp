// SPDX-License-Identifier: MIT
//
// What is found on this machine, whatever it is: each answer is whole, and a loop agrees with it.
// What is said where things are refused: refusal_test.cpp, tests/integration/fallback_test.py.
#include <quoit/features.hpp>
#include <quoit/port.hpp>

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace quoit {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr bool is_instrumented = true;
#elif defined(__has_feature)
constexpr bool is_instrumented =
    __has_feature(thread_sanitizer) || __has_feature(address_sanitizer);
#else
constexpr bool is_instrumented = false;
#endif

void expect_whole(const feature& one) {
    EXPECT_FALSE(one.id.empty());
    EXPECT_FALSE(one.name.empty());
    EXPECT_FALSE(one.since.empty());
    if (one.state == feature_state::works) {
        EXPECT_EQ(one.cause + one.remedy, "") << one.id;
        EXPECT_FALSE(one.code) << one.id;
    }
    if (one.state == feature_state::missing) {
        EXPECT_FALSE(one.cause.empty()) << one.id;
    }
}

std::string described(const io_uring_features& found) {
    std::string text = found.obstacle ? found.obstacle->message() : "no obstacle";
    for (const feature& one : found.features) {
        text += "\n" + std::string(one.id) + " " + std::string(to_string(one.state)) + one.cause;
    }
    return text;
}

TEST(features, ThereIsAnObstacleIfAndOnlyIfSomethingRequiredDoesNotWork) {
    const io_uring_features found = probe_io_uring();
    std::set<std::string_view> ids;
    bool all_work = !found.features.empty();
    for (const feature& one : found.features) {
        expect_whole(one);
        ids.insert(one.id);
        if (one.is_required && one.state != feature_state::works) all_work = false;
    }
    EXPECT_EQ(ids.size(), found.features.size());
    EXPECT_EQ(all_work, !found.obstacle) << described(found);
}

TEST(features, APortRunsOnWhatWasFound) {
    const io_uring_features found = probe_io_uring();
    auto made = port::create({});
    ASSERT_TRUE(made) << made.error();
    EXPECT_EQ(made->capabilities().backend, found.obstacle ? backend::epoll : backend::io_uring);
    EXPECT_EQ(made->capabilities().reason, found.obstacle ? found.obstacle->message() : "");
    for (const feature& one : found.features) {
        if (one.id != "io_uring.defer_taskrun") continue;
        EXPECT_EQ(made->capabilities().defer_taskrun, one.state == feature_state::works);
    }
}

TEST(features, ThreadsThatAskAtOnceGetOneAnswer) {
    constexpr std::size_t thread_count = 4;
    std::vector<std::string> answers(thread_count);
    {
        std::vector<std::jthread> threads;
        for (std::string& answer : answers)
            threads.emplace_back([&answer] { answer = described(probe_io_uring()); });
    }
    for (const std::string& answer : answers)
        EXPECT_EQ(answer, answers.front());
}

// Forks again and again while a thread is at the first answer: the children are without that
// thread, and must not wait for it. Ends with 1 if one of them failed.
[[noreturn]] void fork_during_the_first_answer() {
    constexpr unsigned deadline_s = 20;
    constexpr std::size_t child_count_max = 200;
    std::atomic<bool> is_known = false;
    std::vector<pid_t> children;
    {
        const std::jthread asking([&] {
            (void)probe_io_uring();
            is_known = true;
        });
        do {
            const pid_t child = fork();
            if (child == 0) {
                alarm(deadline_s);
                (void)probe_io_uring();
                _exit(0);
            }
            if (child > 0) children.push_back(child);
        } while (!is_known && children.size() < child_count_max);
    }
    for (const pid_t child : children) {
        int status = -1;
        if (waitpid(child, &status, 0) != child || status != 0) _exit(1);
    }
    _exit(0);
}

TEST(features, AForkedChildGetsAnAnswerWhateverItsParentsThreadsWereDoing) {
    if constexpr (is_instrumented) {
        GTEST_SKIP() << "a sanitizer's own locks may be held by the thread that the child lacks";
    }
    // A program of its own, where nothing is known yet.
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    constexpr int rounds = 5;  // one may fork too early or too late to notice
    for (int round = 0; round < rounds; ++round)
        EXPECT_EXIT(fork_during_the_first_answer(), testing::ExitedWithCode(0), "");
}

TEST(features, OffloadIsWhatAPortSaysAndHasALimit) {
    const offload_features found = probe_offload();
    expect_whole(found.segmentation);
    expect_whole(found.coalescing);
    auto made = port::create({});
    ASSERT_TRUE(made) << made.error();
    const bool has_segments = found.segmentation.state == feature_state::works;
    if (!found.is_loopback_down) {
        EXPECT_EQ(has_segments, made->capabilities().segmentation_offload)
            << found.segmentation.cause;
        EXPECT_EQ(found.coalescing.state == feature_state::works,
                  made->capabilities().receive_offload)
            << found.coalescing.cause;
    }
    // Known limits; a kernel that takes more is welcome.
    EXPECT_EQ(has_segments, found.segments_max >= 64) << found.segments_max;
    RecordProperty("segments_max", static_cast<int>(found.segments_max));
}

}  // namespace
}  // namespace quoit
