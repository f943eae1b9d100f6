// SPDX-License-Identifier: MIT
#include "base/intrusive_list.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using quoit::detail::intrusive_list;
using quoit::detail::list_node;

struct element : list_node<> {
    explicit element(int initial) : value(initial) {}
    int value;
};

static_assert(!std::is_copy_constructible_v<element> && !std::is_move_constructible_v<element>);
static_assert(!std::is_move_constructible_v<intrusive_list<element>>);

std::vector<int> pop_all(intrusive_list<element>& list) {
    std::vector<int> values;
    while (const element* first = list.pop_front())
        values.push_back(first->value);
    return values;
}

TEST(intrusive_list, IsEmptyAtFirst) {
    intrusive_list<element> list;
    EXPECT_TRUE(list.is_empty());
    EXPECT_EQ(list.front(), nullptr);
    EXPECT_EQ(list.pop_front(), nullptr);
}

TEST(intrusive_list, PushBackIsFirstInFirstOut) {
    element a(1), b(2), c(3);
    intrusive_list<element> list;
    list.push_back(a);
    list.push_back(b);
    list.push_back(c);
    EXPECT_EQ(pop_all(list), (std::vector{1, 2, 3}));
    EXPECT_TRUE(list.is_empty());
}

TEST(intrusive_list, PushFrontGoesBeforeAllOthers) {
    element a(1), b(2);
    intrusive_list<element> list;
    list.push_back(a);
    list.push_front(b);
    EXPECT_EQ(list.front(), &b);
    EXPECT_EQ(pop_all(list), (std::vector{2, 1}));
}

TEST(intrusive_list, FrontLeavesTheElementLinkedAndPopFrontDoesNot) {
    element a(1);
    intrusive_list<element> list;
    list.push_back(a);
    EXPECT_EQ(list.front(), &a);
    EXPECT_TRUE(a.is_linked());
    EXPECT_EQ(list.pop_front(), &a);
    EXPECT_FALSE(a.is_linked());
}

TEST(intrusive_list, AnElementUnlinksItselfWhenDestroyed) {
    element a(1), c(3);
    intrusive_list<element> list;
    {
        element b(2);
        list.push_back(a);
        list.push_back(b);
        list.push_back(c);
    }
    EXPECT_EQ(pop_all(list), (std::vector{1, 3}));
}

TEST(intrusive_list, UnlinkMayBeRepeated) {
    element a(1);
    a.unlink();
    intrusive_list<element> list;
    list.push_back(a);
    a.unlink();
    a.unlink();
    EXPECT_TRUE(list.is_empty());
}

TEST(intrusive_list, AnElementMayBePushedAgainOnceUnlinked) {
    element a(1), b(2);
    intrusive_list<element> list;
    intrusive_list<element> other;
    list.push_back(a);
    list.push_back(b);
    a.unlink();
    other.push_back(a);
    EXPECT_EQ(pop_all(list), std::vector{2});
    EXPECT_EQ(pop_all(other), std::vector{1});
}

TEST(intrusive_list, ElementsOutliveTheirList) {
    element a(1), b(2);
    {
        intrusive_list<element> list;
        list.push_back(a);
        list.push_back(b);
    }
    EXPECT_FALSE(a.is_linked());
    EXPECT_FALSE(b.is_linked());
}

TEST(intrusive_list, APoppedElementMayDestroyTheNextOne) {
    auto next = std::make_unique<element>(2);
    element first(1), last(3);
    intrusive_list<element> list;
    list.push_back(first);
    list.push_back(*next);
    list.push_back(last);
    EXPECT_EQ(list.pop_front(), &first);
    next.reset();
    EXPECT_EQ(list.pop_front(), &last);
}

struct by_age;
struct by_name;
struct two_lists : list_node<by_age>, list_node<by_name> {};

TEST(intrusive_list, AnElementCanBeInOneListPerTag) {
    two_lists a;
    two_lists b;
    intrusive_list<two_lists, by_age> ages;
    intrusive_list<two_lists, by_name> names;
    ages.push_back(a);
    ages.push_back(b);
    names.push_back(b);
    names.push_back(a);
    EXPECT_EQ(ages.pop_front(), &a);
    EXPECT_FALSE(a.list_node<by_age>::is_linked());
    EXPECT_TRUE(a.list_node<by_name>::is_linked());
    EXPECT_EQ(names.pop_front(), &b);
    EXPECT_EQ(names.pop_front(), &a);
}

RC_GTEST_PROP(intrusive_list, BehavesAsADequeFromWhichElementsVanish, ()) {
    intrusive_list<element> list;
    std::vector<std::unique_ptr<element>> alive;
    std::deque<element*> model;
    int next = 0;

    const auto operations = *rc::gen::container<std::vector<std::pair<int, std::size_t>>>(
        rc::gen::pair(rc::gen::inRange(0, 5), rc::gen::arbitrary<std::size_t>()));
    for (const auto& [operation, choice] : operations) {
        if (operation == 0 || operation == 1) {
            element& added = *alive.emplace_back(std::make_unique<element>(next++));
            if (operation == 0) {
                list.push_back(added);
                model.push_back(&added);
            } else {
                list.push_front(added);
                model.push_front(&added);
            }
        } else if (operation == 2) {
            element* const popped = list.pop_front();
            RC_ASSERT(popped == (model.empty() ? nullptr : model.front()));
            if (popped != nullptr) model.pop_front();
        } else if (!alive.empty()) {
            const auto chosen = alive.begin() + static_cast<std::ptrdiff_t>(choice % alive.size());
            std::erase(model, chosen->get());
            if (operation == 3)
                (*chosen)->unlink();
            else
                alive.erase(chosen);
        }
        RC_ASSERT(list.is_empty() == model.empty());
        RC_ASSERT(list.front() == (model.empty() ? nullptr : model.front()));
    }
    for (const auto& each : alive) {
        RC_ASSERT(each->is_linked() == (std::ranges::count(model, each.get()) == 1));
    }
    while (!model.empty()) {
        RC_ASSERT(list.pop_front() == model.front());
        model.pop_front();
    }
    RC_ASSERT(list.is_empty());
}

}  // namespace
