// SPDX-License-Identifier: MIT
//
// What is found on this machine, whatever it is: each answer is whole, and a loop agrees with it.
// What is said where things are refused: refusal_test.cpp, tests/integration/fallback_test.py.
#include <quoit/features.hpp>
#include <quoit/port.hpp>

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <set>
#include <string>
#include <thread>
#include <vector>

namespace quoit {
namespace {

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

TEST(features, AForkedChildGetsAnAnswer) {
    const bool has_obstacle = probe_io_uring().obstacle.has_value();
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) _exit(probe_io_uring().obstacle.has_value() == has_obstacle ? 0 : 1);
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
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
