// SPDX-License-Identifier: MIT
#include <quoit/detail/chain.hpp>

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

using quoit::detail::chain;
using quoit::detail::chain_link;

struct element : chain_link<> {
    explicit element(int initial) : value(initial) {}
    int value;
};

static_assert(!std::is_copy_constructible_v<element> && !std::is_move_constructible_v<element>);
static_assert(!std::is_move_constructible_v<chain<element>>);

std::vector<int> pop_all(chain<element>& list) {
    std::vector<int> values;
    while (const element* first = list.pop_front())
        values.push_back(first->value);
    return values;
}

TEST(chain, IsEmptyAtFirst) {
    chain<element> list;
    EXPECT_TRUE(list.is_empty());
    EXPECT_EQ(list.front(), nullptr);
    EXPECT_EQ(list.pop_front(), nullptr);
}

TEST(chain, PushBackIsFirstInFirstOut) {
    element a(1), b(2), c(3);
    chain<element> list;
    list.push_back(a);
    list.push_back(b);
    list.push_back(c);
    EXPECT_EQ(pop_all(list), (std::vector{1, 2, 3}));
    EXPECT_TRUE(list.is_empty());
}

TEST(chain, PushAllOfAppendsInOrderAndEmptiesTheOther) {
    element a(1), b(2), c(3);
    chain<element> list;
    chain<element> other;
    list.push_back(a);
    other.push_back(b);
    other.push_back(c);
    list.push_all_of(other);
    EXPECT_TRUE(other.is_empty());
    list.push_all_of(other);
    EXPECT_EQ(pop_all(list), (std::vector{1, 2, 3}));
}

TEST(chain, PushBackTakesAnElementOutOfWhereItWas) {
    element a(1), b(2);
    chain<element> list;
    list.push_back(a);
    list.push_back(b);
    list.push_back(a);
    EXPECT_EQ(pop_all(list), (std::vector{2, 1}));
}

TEST(chain, FrontLeavesTheElementLinkedAndPopFrontDoesNot) {
    element a(1);
    chain<element> list;
    list.push_back(a);
    EXPECT_EQ(list.front(), &a);
    EXPECT_TRUE(a.is_linked());
    EXPECT_EQ(list.pop_front(), &a);
    EXPECT_FALSE(a.is_linked());
}

TEST(chain, AnElementUnlinksItselfWhenDestroyed) {
    element a(1), c(3);
    chain<element> list;
    {
        element b(2);
        list.push_back(a);
        list.push_back(b);
        list.push_back(c);
    }
    EXPECT_EQ(pop_all(list), (std::vector{1, 3}));
}

TEST(chain, UnlinkMayBeRepeated) {
    element a(1);
    a.unlink();
    chain<element> list;
    list.push_back(a);
    a.unlink();
    a.unlink();
    EXPECT_TRUE(list.is_empty());
}

TEST(chain, AnElementMayBePushedAgainOnceUnlinked) {
    element a(1), b(2);
    chain<element> list;
    chain<element> other;
    list.push_back(a);
    list.push_back(b);
    a.unlink();
    other.push_back(a);
    EXPECT_EQ(pop_all(list), std::vector{2});
    EXPECT_EQ(pop_all(other), std::vector{1});
}

TEST(chain, ElementsOutliveTheirChain) {
    element a(1), b(2);
    {
        chain<element> list;
        list.push_back(a);
        list.push_back(b);
    }
    EXPECT_FALSE(a.is_linked());
    EXPECT_FALSE(b.is_linked());
}

TEST(chain, APoppedElementMayDestroyTheNextOne) {
    auto next = std::make_unique<element>(2);
    element first(1), last(3);
    chain<element> list;
    list.push_back(first);
    list.push_back(*next);
    list.push_back(last);
    EXPECT_EQ(list.pop_front(), &first);
    next.reset();
    EXPECT_EQ(list.pop_front(), &last);
}

struct by_age;
struct by_name;
struct two_chains : chain_link<by_age>, chain_link<by_name> {};

TEST(chain, AnElementCanBeInOneChainPerTag) {
    two_chains a;
    two_chains b;
    chain<two_chains, by_age> ages;
    chain<two_chains, by_name> names;
    ages.push_back(a);
    ages.push_back(b);
    names.push_back(b);
    names.push_back(a);
    EXPECT_EQ(ages.pop_front(), &a);
    EXPECT_FALSE(a.chain_link<by_age>::is_linked());
    EXPECT_TRUE(a.chain_link<by_name>::is_linked());
    EXPECT_EQ(names.pop_front(), &b);
    EXPECT_EQ(names.pop_front(), &a);
}

RC_GTEST_PROP(chain, BehavesAsADequeFromWhichElementsVanish, ()) {
    chain<element> list;
    std::vector<std::unique_ptr<element>> alive;
    std::deque<element*> model;
    int next = 0;

    const auto operations = *rc::gen::container<std::vector<std::pair<int, std::size_t>>>(
        rc::gen::pair(rc::gen::inRange(0, 5), rc::gen::arbitrary<std::size_t>()));
    for (const auto& [operation, choice] : operations) {
        if (operation == 0 || (operation == 1 && alive.empty())) {
            element& added = *alive.emplace_back(std::make_unique<element>(next++));
            list.push_back(added);
            model.push_back(&added);
        } else if (operation == 1) {
            element& again = *alive[choice % alive.size()];
            std::erase(model, &again);
            list.push_back(again);
            model.push_back(&again);
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
