// SPDX-License-Identifier: MIT
#include "base/front_vector.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace {

using quoit::detail::front_vector;

template <class T>
void append(front_vector<T>& to, T entry) {
    to.make_room(1);
    to.push_back(std::move(entry));
}

std::vector<int> all_of(const front_vector<int>& of) { return {of.all().begin(), of.all().end()}; }

TEST(front_vector, IsTakenFromTheFrontInTheOrderOfAppending) {
    front_vector<int> waiting;
    EXPECT_TRUE(waiting.is_empty());
    for (int i = 0; i < 5; ++i)
        append(waiting, i);
    EXPECT_EQ(waiting.size(), 5U);
    EXPECT_EQ(waiting.front(), 0);
    EXPECT_EQ(waiting.back(), 4);
    waiting.pop_front();
    waiting.pop_front();
    EXPECT_EQ(all_of(waiting), (std::vector{2, 3, 4}));
    append(waiting, 5);
    EXPECT_EQ(all_of(waiting), (std::vector{2, 3, 4, 5}));
}

TEST(front_vector, RoomThatWasMadeIsEnough) {
    front_vector<int> waiting;
    for (const std::size_t count : {1U, 2U, 5U, 100U}) {
        waiting.make_room(count);
        const std::size_t capacity = waiting.capacity();
        for (std::size_t i = 0; i < count; ++i)
            waiting.push_back(1);
        EXPECT_EQ(waiting.capacity(), capacity);
    }
}

TEST(front_vector, MovesThroughTheSameMemory) {
    front_vector<int> waiting;
    for (int i = 0; i < 10; ++i)
        append(waiting, i);
    const std::size_t capacity_max = 2 * waiting.capacity();
    for (int i = 10; i < 10'000; ++i) {
        append(waiting, i);
        EXPECT_EQ(waiting.front(), i - 10);
        waiting.pop_front();
    }
    EXPECT_EQ(waiting.size(), 10U);
    EXPECT_LE(waiting.capacity(), capacity_max);
}

TEST(front_vector, WhatWasTakenIsGoneAtOnce) {
    front_vector<std::shared_ptr<int>> waiting;
    const auto entry = std::make_shared<int>(1);
    append(waiting, entry);
    append(waiting, entry);
    EXPECT_EQ(entry.use_count(), 3);
    waiting.pop_front();
    EXPECT_EQ(entry.use_count(), 2);
}

TEST(front_vector, ClearingKeepsAsMuchMemoryAsItIsTold) {
    front_vector<int> waiting;
    for (int i = 0; i < 100; ++i)
        append(waiting, i);
    waiting.pop_front();
    const std::size_t capacity = waiting.capacity();
    waiting.clear(capacity);
    EXPECT_TRUE(waiting.is_empty());
    EXPECT_EQ(waiting.capacity(), capacity);
    append(waiting, 1);
    EXPECT_EQ(all_of(waiting), std::vector{1});
    waiting.clear(capacity - 1);
    EXPECT_TRUE(waiting.is_empty());
    EXPECT_EQ(waiting.capacity(), 0U);
}

}  // namespace
