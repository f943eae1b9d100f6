// SPDX-License-Identifier: MIT
//
// Multicast groups of ports. IPv4 on lo; IPv6 on a veth in a network namespace, because lo has no
// route to groups there.
#include "engine/runtime/port_test.hpp"

#include <net/if.h>

namespace quoit::test {
namespace {

constexpr ip group("228.0.0.5");
constexpr ip group_v6("ff15::7");

class port_groups : public port_test {
  protected:
    void in_namespace_with_interfaces(const std::function<void()>& body) {
        in_namespace({}, [&] {
            if (!add_interfaces()) GTEST_SKIP() << "no ip(8) or no veth";
            body();
        });
    }
    // Sends to the group, then to the listener itself: whether the first came before the second.
    bool hears(endpoint_id listener, endpoint_id from, const address& to, const address& itself) {
        EXPECT_TRUE(sendto(from, "to the group", to));
        EXPECT_TRUE(sendto(from, "to you", itself));
        port().flush();
        bool has_heard = false;
        const bool has_come = turn_until(
            [&] {
                while (const auto got = port().receive(listener)) {
                    if (got->text() == "to you") return true;
                    has_heard = true;
                }
                return false;
            },
            "a datagram to the listener");
        EXPECT_EQ(port().stats(from).sent.errors, 0U);
        return has_come && has_heard;
    }
    bool hears(endpoint_id listener, endpoint_id from, const ip& to = group) {
        const std::uint16_t number = local(listener).port();
        return hears(listener, from, {to, number}, {"127.0.0.1", number});
    }
    // One that sends to groups on lo.
    endpoint_id open_sender() {
        const endpoint_id made = open({}, address("0.0.0.0", 0));
        EXPECT_TRUE(port().set_multicast(made, {.interface = "lo"}));
        return made;
    }
};

TEST_P(port_groups, AMemberHearsTheGroupUntilItLeaves) {
    start();
    const endpoint_id listener = open({}, address("0.0.0.0", 0));
    const endpoint_id sender = open_sender();
    const std::uint32_t loopback = ::if_nametoindex("lo");
    // However the interface is named; and left by another of its names.
    const std::array<interface, 3> names{"lo", interface::index(loopback), ip("127.0.0.1")};
    for (std::size_t i = 0; i < names.size(); ++i) {
        SCOPED_TRACE(names[i].to_string());
        EXPECT_FALSE(hears(listener, sender));
        const status joined = port().join_group(listener, group, {.interface = names[i]});
        ASSERT_TRUE(joined) << joined.error();
        EXPECT_TRUE(hears(listener, sender));
        const status left =
            port().leave_group(listener, group, {.interface = names[(i + 1) % names.size()]});
        EXPECT_TRUE(left) << left.error();
    }
    EXPECT_FALSE(hears(listener, sender));
}

TEST_P(port_groups, AGroupThatSomebodyElseJoinedIsNotHeard) {
    start();
    const endpoint_id listener = open({.listen_multiple = true}, address("0.0.0.0", 0));
    const endpoint_id other = open({.listen_multiple = true}, address("0.0.0.0", 0));
    ASSERT_TRUE(port().join_group(other, group, {.interface = "lo"}));
    EXPECT_FALSE(hears(listener, open_sender()));
}

TEST_P(port_groups, EachOfSeveralListenersOnAPortHearsTheGroup) {
    start();
    const endpoint_id first = open({.listen_multiple = true}, address("0.0.0.0", 0));
    const address where = local(first);
    const endpoint_id second = open({.listen_multiple = true}, where);
    const endpoint_id sender = open_sender();
    for (const endpoint_id one : {first, second})
        ASSERT_TRUE(port().join_group(one, group, {.interface = "lo"}));
    for (int i = 0; i < 3; ++i)
        ASSERT_TRUE(sendto(sender, "to the group", {group, where.port()}));
    port().flush();
    for (const endpoint_id one : {first, second}) {
        ASSERT_TRUE(turn_until_readable(one, 3));
        for (int i = 0; i < 3; ++i)
            EXPECT_EQ(port().receive(one)->text(), "to the group");
    }
    const std::array again{where};
    EXPECT_EQ(port().open(again).error(), std::errc::address_in_use);
}

TEST_P(port_groups, AMemberOfAWholeGroupKeepsAllItsSources) {
    start();
    const endpoint_id listener = open({}, address("0.0.0.0", 0));
    const endpoint_id sender = open_sender();
    ASSERT_TRUE(port().join_group(listener, group, {.interface = "lo"}));
    const group_options of_one{.interface = "lo", .source = "127.0.0.9"};
    EXPECT_EQ(port().join_group(listener, group, of_one), std::errc::address_in_use);
    EXPECT_TRUE(hears(listener, sender));
    EXPECT_EQ(port().leave_group(listener, group, of_one), std::errc::address_not_available);
    EXPECT_TRUE(hears(listener, sender));
    // Neither does it stand in the way of others.
    ASSERT_TRUE(port().leave_group(listener, group, {.interface = "lo"}));
    EXPECT_TRUE(port().join_group(listener, group, of_one));
    EXPECT_FALSE(hears(listener, sender));
}

TEST_P(port_groups, AMemberOfAWholeGroupKeepsItsSourcesOnTheKernelsChoiceOfInterface) {
    in_namespace_with_interfaces([&] {
        start();
        for (const ip& wanted : {group, group_v6}) {
            SCOPED_TRACE(wanted.to_string());
            const bool is_v4 = wanted.family() == family::ipv4;
            const endpoint_id listener = open({}, is_v4 ? address("0.0.0.0", 0) : address("::", 0));
            if (!port().join_group(listener, wanted)) continue;  // no route
            const group_options of_one{.source = is_v4 ? ip("127.0.0.9") : ip("fe80::9")};
            EXPECT_EQ(port().join_group(listener, wanted, of_one), std::errc::address_in_use);
            EXPECT_EQ(port().leave_group(listener, wanted, of_one),
                      std::errc::address_not_available);
        }
    });
}

TEST_P(port_groups, ASourceSpecificMemberHearsThatSourceOnly) {
    start();
    const endpoint_id listener = open({}, address("0.0.0.0", 0));
    const endpoint_id wanted = open({}, address("127.0.0.2", 0));
    const endpoint_id other = open({}, address("127.0.0.3", 0));
    for (const endpoint_id one : {wanted, other})
        ASSERT_TRUE(port().set_multicast(one, {.interface = "lo"}));
    const group_options of_wanted{.interface = "lo", .source = "127.0.0.2"};
    const status joined = port().join_group(listener, group, of_wanted);
    ASSERT_TRUE(joined) << joined.error();
    EXPECT_TRUE(hears(listener, wanted));
    EXPECT_FALSE(hears(listener, other));
    ASSERT_TRUE(port().join_group(listener, group, {.interface = "lo", .source = "127.0.0.3"}));
    EXPECT_TRUE(hears(listener, other));
    ASSERT_TRUE(port().leave_group(listener, group, of_wanted));
    EXPECT_FALSE(hears(listener, wanted));
    EXPECT_TRUE(hears(listener, other));
    EXPECT_EQ(port().leave_group(listener, group, of_wanted), std::errc::address_not_available);
}

TEST_P(port_groups, WhatCannotBeJoinedOrLeftSaysWhy) {
    start();
    const endpoint_id listener = open({}, address("0.0.0.0", 0));
    const auto expect_refused = [](const status& outcome, auto why, std::string_view words) {
        EXPECT_EQ(outcome, why) << outcome.error();
        EXPECT_NE(outcome.error().message().find(words), std::string::npos) << outcome.error();
    };
    const group_options on_lo{.interface = "lo"};
    expect_refused(port().join_group(listener, "127.0.0.1", on_lo), std::errc::invalid_argument,
                   "join group 127.0.0.1, which is no multicast group");
    expect_refused(port().leave_group(listener, ip(), on_lo), errc::invalid_option,
                   "no multicast group");
    ASSERT_TRUE(port().join_group(listener, group, on_lo));
    expect_refused(port().join_group(listener, group, on_lo), std::errc::address_in_use,
                   "join group 228.0.0.5 on lo, of which the socket is a member");
    ASSERT_TRUE(port().leave_group(listener, group, on_lo));
    expect_refused(port().leave_group(listener, group, on_lo), std::errc::address_not_available,
                   "leave group 228.0.0.5 on lo, of which the socket is no member");
    for (const interface& nowhere :
         {interface("no_such_device"), interface::index(54321), interface(ip("192.0.2.77"))}) {
        expect_refused(port().join_group(listener, group, {.interface = nowhere}),
                       std::errc::no_such_device, nowhere.to_string());
        if (nowhere.index() == 0) {
            expect_refused(port().set_multicast(listener, {.interface = nowhere}),
                           std::errc::no_such_device, nowhere.to_string());
        }
    }
    expect_refused(port().join_group(listener, group, {.interface = "a_name_of_sixteen"}),
                   errc::invalid_option, "15 characters");
    expect_refused(port().join_group(listener, group_v6, on_lo), errc::wrong_family, "ff15::7");
    expect_refused(port().join_group(listener, group, {.interface = "lo", .source = "::1"}),
                   errc::wrong_family, "::1");
    port().close(listener);
    EXPECT_EQ(port().join_group(listener, group, on_lo), errc::closed);
    EXPECT_EQ(port().leave_group(listener, group, on_lo), errc::closed);
    EXPECT_EQ(port().set_multicast(listener, {.ttl = 1}), errc::closed);
}

TEST_P(port_groups, WithoutARouteTheInterfaceMustBeNamed) {
    in_namespace({}, [&] {
        start();
        const endpoint_id listener = open({}, address("0.0.0.0", 0));
        const status refused = port().join_group(listener, group);
        EXPECT_EQ(refused, std::errc::no_such_device);
        EXPECT_NE(refused.error().message().find("no route"), std::string::npos);
    });
}

TEST_P(port_groups, WhatIsSetIsWhatTheKernelHas) {
    start();
    const endpoint_id sender = open({}, address("0.0.0.0", 0));
    const multicast_options before = port().multicast(sender);
    EXPECT_EQ(before.ttl, 1);
    EXPECT_EQ(before.loopback, true);
    EXPECT_EQ(before.interface, interface());
    for (const int ttl : {2, 0, 255}) {
        ASSERT_TRUE(port().set_multicast(sender, {.ttl = ttl}));
        EXPECT_EQ(port().multicast(sender).ttl, ttl);
    }
    for (const int ttl : {256, -1}) {
        const status refused = port().set_multicast(sender, {.ttl = ttl, .loopback = false});
        EXPECT_EQ(refused, errc::invalid_option);
        EXPECT_NE(refused.error().message().find("ttl is " + std::to_string(ttl)),
                  std::string::npos);
        EXPECT_EQ(port().multicast(sender).ttl, 255);
        EXPECT_EQ(port().multicast(sender).loopback, true) << "refused as a whole";
    }
    ASSERT_TRUE(port().set_multicast(sender, {.loopback = false}));
    EXPECT_EQ(port().multicast(sender).loopback, false);
    EXPECT_EQ(port().multicast(sender).ttl, 255) << "what is not named stays";
    ASSERT_TRUE(port().set_multicast(sender, {.interface = "lo"}));
    EXPECT_EQ(port().multicast(sender).interface, interface::index(::if_nametoindex("lo")));
    ASSERT_TRUE(port().set_multicast(sender, {.interface = ip("127.0.0.1")}));
    EXPECT_EQ(port().multicast(sender).interface, interface(ip("127.0.0.1")));
    ASSERT_TRUE(port().set_multicast(sender, {.interface = interface()}));
    EXPECT_EQ(port().multicast(sender).interface, interface());
}

TEST_P(port_groups, OnEveryInterfaceBothFamiliesJoinAndAnswer) {
    in_namespace_with_interfaces([&] {
        start();
        const auto listener = port().open_every_interface(0);
        ASSERT_TRUE(listener) << listener.error();
        const std::uint16_t number = local(*listener).port();
        const std::uint32_t near = ::if_nametoindex("near");
        ASSERT_TRUE(port().join_group(*listener, group, {.interface = "near"}));
        ASSERT_TRUE(port().join_group(*listener, group_v6, {.interface = interface::index(near)}));
        ASSERT_TRUE(port().set_multicast(*listener, {.ttl = 3, .interface = "near"}));
        const auto sender = port().open_every_interface(0);
        ASSERT_TRUE(sender) << sender.error();
        ASSERT_TRUE(port().set_multicast(*sender, {.interface = "near"}));
        for (const ip to : {group, group_v6}) {
            SCOPED_TRACE(to);
            EXPECT_TRUE(sendto(*sender, "ping", {to, number}));
            port().flush();
            ASSERT_TRUE(turn_until_readable(*listener, 1));
            auto request = port().receive(*listener);
            EXPECT_EQ(request->local(), address(to, number));
            const ip unicast = request->peer().host();
            EXPECT_FALSE(unicast.is_multicast());
            EXPECT_TRUE(port().reply(*listener, request->view(), "pong"));
            port().flush();
            ASSERT_TRUE(turn_until_readable(*sender, 1));
            const auto reply = port().receive(*sender);
            EXPECT_EQ(reply->text(), "pong");
            EXPECT_EQ(reply->peer(), address(unicast, number)) << "both are on one host";
        }
        EXPECT_EQ(port().stats(*listener).sent.errors, 0U);
    });
}

TEST_P(port_groups, AnIpv6GroupIsJoinedByNameIndexAddressAndScope) {
    in_namespace_with_interfaces([&] {
        start();
        const endpoint_id listener = open({}, address("::", 0));
        const endpoint_id sender = open({}, address("::", 0));
        const std::uint32_t near = ::if_nametoindex("near");
        ASSERT_TRUE(port().set_multicast(sender, {.interface = interface::index(near)}));
        EXPECT_EQ(port().multicast(sender).interface, interface::index(near));
        const std::uint16_t number = local(listener).port();
        const address itself("fd09::1", number);
        for (const interface& where :
             {interface("near"), interface::index(near), interface(ip("fd09::2"))}) {
            SCOPED_TRACE(where.to_string());
            ASSERT_TRUE(port().join_group(listener, group_v6, {.interface = where}));
            EXPECT_TRUE(hears(listener, sender, {group_v6, number}, itself));
            ASSERT_TRUE(port().leave_group(listener, group_v6, {.interface = where}));
            EXPECT_FALSE(hears(listener, sender, {group_v6, number}, itself));
        }
        const auto link_local = ip::parse("ff02::77%near");
        ASSERT_TRUE(link_local);
        ASSERT_TRUE(port().join_group(listener, *link_local));
        EXPECT_TRUE(hears(listener, sender, {*link_local, number}, itself));
        const group_options of_one{.interface = "near", .source = "fd09::1"};
        ASSERT_TRUE(port().join_group(listener, group_v6, of_one));
        const endpoint_id wanted = open({}, address("fd09::1", 0));
        const endpoint_id other = open({}, address("fd09::2", 0));
        for (const endpoint_id one : {wanted, other})
            ASSERT_TRUE(port().set_multicast(one, {.interface = "near"}));
        EXPECT_TRUE(hears(listener, wanted, {group_v6, number}, {"fd09::1", number}));
        EXPECT_FALSE(hears(listener, other, {group_v6, number}, {"fd09::1", number}));
    });
}

TEST_P(port_groups, WhereAGroupIsSentToDecidesWhoHearsIt) {
    in_namespace_with_interfaces([&] {
        start();
        const endpoint_id listener = open({}, address("0.0.0.0", 0));
        const endpoint_id sender = open({}, address("0.0.0.0", 0));
        ASSERT_TRUE(port().join_group(listener, group, {.interface = "near"}));
        ASSERT_TRUE(port().set_multicast(sender, {.interface = "lo"}));
        EXPECT_FALSE(hears(listener, sender));
        for (const interface& where : {interface("near"), interface(ip("10.9.0.1"))}) {
            ASSERT_TRUE(port().set_multicast(sender, {.interface = where}));
            EXPECT_TRUE(hears(listener, sender));
        }
        ASSERT_TRUE(port().set_multicast(sender, {.loopback = false}));
        EXPECT_FALSE(hears(listener, sender));
    });
}

TEST_P(port_groups, ASocketBoundToTheGroupHearsNothingElse) {
    start();
    const endpoint_id listener = open({}, address(group, 0));
    const std::uint16_t number = local(listener).port();
    ASSERT_TRUE(port().join_group(listener, group, {.interface = "lo"}));
    ASSERT_TRUE(port().join_group(listener, "228.0.0.6", {.interface = "lo"}));
    const endpoint_id sender = open_sender();
    EXPECT_TRUE(sendto(sender, "to another group", {"228.0.0.6", number}));
    EXPECT_TRUE(sendto(sender, "to this host", {"127.0.0.1", number}));
    EXPECT_TRUE(sendto(sender, "to the group", {group, number}));
    port().flush();
    ASSERT_TRUE(turn_until_readable(listener, 1));
    EXPECT_EQ(port().receive(listener)->text(), "to the group");
}

INSTANTIATE_TEST_SUITE_P(, port_groups, ::testing::ValuesIn(port_parameters()),
                         port_parameter_name);

}  // namespace
}  // namespace quoit::test
