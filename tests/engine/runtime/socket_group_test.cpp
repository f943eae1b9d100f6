// SPDX-License-Identifier: MIT
#include <quoit/port.hpp>
#include <quoit/socket_group.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <utility>

namespace quoit {
namespace {

constexpr std::array anywhere_here{address(ip::v4({127, 0, 0, 1}), 0),
                                   address(ip::v4({127, 0, 0, 2}), 0)};

TEST(socket_group, TakesEachMemberOnceAndClosesTheRest) {
    auto opened = socket_group::open(anywhere_here, {}, {.size = 3});
    ASSERT_TRUE(opened.has_value()) << opened.error();
    socket_group group = *std::move(opened);
    EXPECT_EQ(group.size(), 3U);
    ASSERT_EQ(group.local_addresses().size(), 2U);

    auto made = port::create({.backend = backend::epoll});
    ASSERT_TRUE(made.has_value()) << made.error();
    const auto endpoint = made->open(group, 1);
    ASSERT_TRUE(endpoint.has_value()) << endpoint.error();
    EXPECT_TRUE(std::ranges::equal(made->local_addresses(*endpoint), group.local_addresses()));
    EXPECT_TRUE(group.is_taken(1));
    for (const std::size_t gone : {1U, 3U}) {
        const auto again = made->open(group, gone);
        ASSERT_FALSE(again.has_value());
        EXPECT_EQ(again.error(), errc::closed);
    }
    EXPECT_FALSE(group.is_taken(0));
    EXPECT_EQ(group.close(0), 0U);
    EXPECT_TRUE(group.is_taken(0));
    EXPECT_EQ(group.close(0), 0U);
}

TEST(socket_group, WhatAPortHasNoRoomForStays) {
    auto group = socket_group::open(anywhere_here, {}, {.size = 1});
    ASSERT_TRUE(group.has_value()) << group.error();
    auto made = port::create({.backend = backend::epoll, .socket_count_max = 1});
    ASSERT_TRUE(made.has_value()) << made.error();
    EXPECT_FALSE(made->open(*group, 0).has_value());
    EXPECT_FALSE(group->is_taken(0));
}

TEST(socket_group, IsOpenAsLongAsAPortHasOneOfItsSockets) {
    auto group = socket_group::open(anywhere_here, {}, {.size = 2});
    ASSERT_TRUE(group.has_value()) << group.error();
    auto made = port::create({.backend = backend::epoll});
    ASSERT_TRUE(made.has_value()) << made.error();
    const auto endpoint = made->open(*group, 1);
    ASSERT_TRUE(endpoint.has_value()) << endpoint.error();
    EXPECT_EQ(group->close(0), 0U);
    EXPECT_TRUE(group->is_open());
    made->release(*endpoint);
    EXPECT_FALSE(group->is_open());
}

TEST(socket_group, WhatSteersThoseWhoShareThePortIsDetached) {
    const auto where = std::span(anywhere_here).first(1);
    const auto others =
        socket_group::open(where, {.reuse_port = true}, {.size = 2, .steering = steering::random});
    ASSERT_TRUE(others.has_value()) << others.error();
    ASSERT_EQ(others->steering(), steering::random) << others->steering_reason();
    auto group = socket_group::open(others->local_addresses(), {.reuse_port = true}, {.size = 2});
    ASSERT_TRUE(group.has_value()) << group.error();
    EXPECT_TRUE(group->is_shared_with_others());
    EXPECT_EQ(group->steering(), steering::hash);
    EXPECT_EQ(group->steering_reason(), "");
    // Steered by the others' program all would go to the others' two.
    auto sender = port::create({.backend = backend::epoll});
    ASSERT_TRUE(sender.has_value()) << sender.error();
    constexpr int flows = 64;
    const std::array payload{std::byte{1}};
    for (int i = 0; i < flows; ++i) {
        const auto from = sender->open_connection(group->local_addresses().front());
        ASSERT_TRUE(from.has_value()) << from.error();
        ASSERT_TRUE(sender->try_send(*from, payload));
    }
    sender->flush();
    const std::uint64_t got = group->close(0) + group->close(1);
    EXPECT_GT(got, 0U);
    EXPECT_LT(got, static_cast<std::uint64_t>(flows));
}

TEST(socket_group, OneThatReusesAddressesKnowsWhoHasThePort) {
    auto holder = port::create({.backend = backend::epoll});
    ASSERT_TRUE(holder.has_value()) << holder.error();
    const auto held = holder->open(std::span(anywhere_here).first(1), {.reuse_address = true});
    ASSERT_TRUE(held.has_value()) << held.error();
    const address taken = holder->local_addresses(*held).front();
    const auto alone =
        socket_group::open(std::span(&taken, 1), {.reuse_address = true}, {.size = 2});
    ASSERT_FALSE(alone.has_value());
    EXPECT_EQ(alone.error(), std::errc::address_in_use);
    const auto shared = socket_group::open(
        std::span(&taken, 1), {.reuse_port = true, .reuse_address = true}, {.size = 2});
    ASSERT_TRUE(shared.has_value()) << shared.error();
    EXPECT_TRUE(shared->is_shared_with_others());
}

TEST(socket_group, RefusesInWordsWhatItCannotBe) {
    const auto refusal_of = [](const socket_group_options& how) {
        const auto made = socket_group::open(anywhere_here, {}, how);
        EXPECT_FALSE(made.has_value());
        if (made) return std::string();
        EXPECT_EQ(made.error(), errc::invalid_option);
        return made.error().message();
    };
    const auto everything =
        socket_group::open(anywhere_here, {.listen_multiple = true}, {.size = 2});
    ASSERT_FALSE(everything.has_value());
    EXPECT_EQ(everything.error(), errc::invalid_option);
    EXPECT_TRUE(refusal_of({.size = 0}).contains("size of 0"));
    EXPECT_TRUE(refusal_of({.size = socket_group::size_max + 1}).contains("size of 1025"));
    const std::array one_cpu{0};
    EXPECT_TRUE(
        refusal_of({.size = 2, .steering = steering::by_cpu, .cpus = one_cpu}).contains("cpus"));
}

TEST(socket_group, APortThatIsInUseIsAnErrorWithItsAddress) {
    auto holder = port::create({.backend = backend::epoll});
    ASSERT_TRUE(holder.has_value()) << holder.error();
    const auto held = holder->open(std::span(anywhere_here).first(1));
    ASSERT_TRUE(held.has_value()) << held.error();
    const address taken = holder->local_addresses(*held).front();
    for (const bool shares : {false, true}) {
        const auto made =
            socket_group::open(std::span(&taken, 1), {.reuse_port = shares}, {.size = 2});
        ASSERT_FALSE(made.has_value());
        EXPECT_EQ(made.error(), std::errc::address_in_use);
        EXPECT_TRUE(made.error().message().contains(taken.to_string())) << made.error();
    }
}

TEST(socket_group, ALargeOneIsSteeredByCpu) {
    std::array<int, 256> cpus{};
    for (std::size_t i = 0; i < cpus.size(); ++i)
        cpus[i] = static_cast<int>(i * 3);
    const auto made =
        socket_group::open(std::span(anywhere_here).first(1), {},
                           {.size = cpus.size(), .steering = steering::by_cpu, .cpus = cpus});
    ASSERT_TRUE(made.has_value()) << made.error();
    EXPECT_EQ(made->steering(), steering::by_cpu) << made->steering_reason();
}

}  // namespace
}  // namespace quoit
