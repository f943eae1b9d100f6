// SPDX-License-Identifier: MIT
//
// The acceptance cases about multicast groups (M01 to M07) and answers from every interface.
#include "integration/acceptance_fixture.hpp"
#include "support/namespace.hpp"

#include <net/if.h>

namespace quoit::test {

namespace {

using quoit::errc;

constexpr ip group("228.0.0.5");
constexpr group_options on_lo{.interface = "lo"};

constexpr address everywhere("0.0.0.0", 0);

// What the server reads next but for what it was sent to mark the end.
task<bool> hears(udp_server& listener, udp_server& from, address to, address itself) {
    EXPECT_TRUE(from.sendto("to the group", to));
    EXPECT_TRUE(from.sendto("to you", itself));
    bool has_heard = false;
    for (;;) {
        auto heard = co_await listener.read(patiently);
        const auto datagram = or_throw(std::move(heard));
        if (datagram.text() == "to you") co_return has_heard;
        has_heard = true;
    }
}
task<bool> hears(udp_server& listener, udp_server& from) {
    const std::uint16_t port = listener.local_address().port();
    return hears(listener, from, address(group, port), address("127.0.0.1", port));
}

// --- M01 ---

task<> set_the_ttl() {
    auto server = co_await listen({}, everywhere);
    EXPECT_EQ(server.multicast().ttl, 1);
    for (const int ttl : {2, 0, 255}) {
        const status set = server.set_multicast({.ttl = ttl});
        EXPECT_TRUE(set) << set.error();
        EXPECT_EQ(server.multicast().ttl, ttl);
    }
    for (const int ttl : {256, -1}) {
        const status refused = server.set_multicast({.ttl = ttl});
        EXPECT_EQ(refused, errc::invalid_option);
        EXPECT_EQ(refused, std::errc::invalid_argument);
        EXPECT_EQ(server.multicast().ttl, 255);
    }
    // It is what arrives.
    EXPECT_TRUE(server.set_multicast({.ttl = 7, .interface = "lo"}));
    auto listener = co_await listen({.received_metadata = metadata::ttl}, everywhere);
    EXPECT_TRUE(listener.join_group(group, on_lo));
    EXPECT_TRUE(server.sendto("x", {group, listener.local_address().port()}));
    auto heard = co_await listener.read(patiently);
    const auto datagram = or_throw(std::move(heard));
    EXPECT_EQ(datagram.ttl(), 7);
}

TEST_P(acceptance, M01TheTtlIsOneByDefaultMayBe0To255And256IsRefused) { run(set_the_ttl()); }

// --- M02 ---

task<> switch_loopback() {
    auto listener = co_await listen({}, everywhere);
    auto sender = co_await listen({}, everywhere);
    EXPECT_TRUE(listener.join_group(group, on_lo));
    EXPECT_TRUE(sender.set_multicast({.interface = "lo"}));
    EXPECT_EQ(sender.multicast().loopback, true);
    const bool hears_at_first = co_await hears(listener, sender);
    EXPECT_TRUE(hears_at_first);
    EXPECT_TRUE(sender.set_multicast({.loopback = false}));
    EXPECT_EQ(sender.multicast().loopback, false);
    // What leaves by lo comes back by lo whatever is set: the device is the loop.
    const bool hears_lo = co_await hears(listener, sender);
    EXPECT_TRUE(hears_lo);
    EXPECT_TRUE(sender.set_multicast({.loopback = true}));
    EXPECT_EQ(sender.multicast().loopback, true);
    const bool hears_again = co_await hears(listener, sender);
    EXPECT_TRUE(hears_again);
}

task<> switch_loopback_on_a_wire() {
    auto listener = co_await listen({}, everywhere);
    auto sender = co_await listen({}, everywhere);
    EXPECT_TRUE(listener.join_group(group, {.interface = "near"}));
    EXPECT_TRUE(sender.set_multicast({.interface = "near"}));
    for (const bool is_on : {true, false, true}) {
        EXPECT_TRUE(sender.set_multicast({.loopback = is_on}));
        const bool has_heard = co_await hears(listener, sender);
        EXPECT_EQ(has_heard, is_on);
    }
}

// On a loop of its own, with interfaces or addresses of its own.
template <class MakeLoop>
void run_with(bool (*add)(), MakeLoop make_loop, task<> (*body)()) {
    const auto why_not = run_in_network_namespace({}, [&] {
        if (!add()) GTEST_SKIP() << "no ip(8) or no veth";
        auto made = make_loop();
        if (made) {
            run_case(*made, body());
        } else {
            ADD_FAILURE() << made.error();
        }
    });
    if (why_not) GTEST_SKIP() << *why_not;
}

TEST_P(acceptance, M02LoopbackIsOnByDefaultAndIsWhatWasSet) { run(switch_loopback()); }

TEST_P(acceptance, M02WithoutLoopbackThisHostHearsNothing) {
    run_with(add_interfaces, make_loop, switch_loopback_on_a_wire);
}

// --- M03 ---

task<> choose_the_interface() {
    const std::uint32_t lo = ::if_nametoindex("lo");
    auto sender = co_await listen({}, everywhere);
    EXPECT_EQ(sender.multicast().interface, interface());
    EXPECT_TRUE(sender.set_multicast({.interface = "lo"}));
    EXPECT_EQ(sender.multicast().interface, interface::index(lo));
    EXPECT_TRUE(sender.set_multicast({.interface = ip("127.0.0.1")}));
    EXPECT_EQ(sender.multicast().interface, interface(ip("127.0.0.1")));
    EXPECT_EQ(sender.multicast().ttl, 1);
    const status refused = sender.set_multicast({.interface = "no_such_device"});
    EXPECT_EQ(refused, std::errc::no_such_device);
    EXPECT_EQ(refused.error().message(), "interface no_such_device: No such device");
    EXPECT_EQ(sender.multicast().interface, interface(ip("127.0.0.1")));

    auto listener = co_await listen({}, everywhere);
    EXPECT_TRUE(listener.join_group(group, on_lo));
    EXPECT_TRUE(sender.sendto("x", {group, listener.local_address().port()}));
    auto heard = co_await listener.read(patiently);
    const auto datagram = or_throw(std::move(heard));
    EXPECT_EQ(datagram.peer(), address("127.0.0.1", sender.local_address().port()));
}

TEST_P(acceptance, M03TheOutgoingInterfaceIsSetByNameIndexOrAddress) {
    run(choose_the_interface());
}

task<> send_where_nobody_listens() {
    auto listener = co_await listen({}, everywhere);
    auto sender = co_await listen({}, everywhere);
    EXPECT_TRUE(listener.join_group(group, {.interface = "near"}));
    EXPECT_TRUE(sender.set_multicast({.interface = "lo"}));
    const bool hears_lo = co_await hears(listener, sender);
    EXPECT_FALSE(hears_lo);
    EXPECT_TRUE(sender.set_multicast({.interface = "near"}));
    const bool hears_near = co_await hears(listener, sender);
    EXPECT_TRUE(hears_near);
}

TEST_P(acceptance, M03AGroupIsHeardOnTheInterfaceItWasJoinedOn) {
    run_with(add_interfaces, make_loop, send_where_nobody_listens);
}

// --- M04 ---

task<> join_and_leave() {
    auto listener = co_await listen({}, everywhere);
    auto sender = co_await listen({}, everywhere);
    EXPECT_TRUE(sender.set_multicast({.interface = "lo"}));
    const bool hears_before = co_await hears(listener, sender);
    EXPECT_FALSE(hears_before);
    EXPECT_TRUE(listener.join_group(group, on_lo));
    const bool hears_joined = co_await hears(listener, sender);
    EXPECT_TRUE(hears_joined);
    EXPECT_TRUE(listener.leave_group(group, on_lo));
    const bool hears_left = co_await hears(listener, sender);
    EXPECT_FALSE(hears_left);
}

TEST_P(acceptance, M04AGroupIsHeardFromJoiningToLeaving) { run(join_and_leave()); }

void expect_words(const status& refused, std::errc why, std::string_view words) {
    EXPECT_EQ(refused, why) << refused.error();
    EXPECT_EQ(refused.error().message(), words);
}

task<> four_errors() {
    auto server = co_await listen({}, everywhere);
    expect_words(server.join_group("127.0.0.1", on_lo), std::errc::invalid_argument,
                 "join group 127.0.0.1, which is no multicast group: Invalid option");
    EXPECT_TRUE(server.join_group(group, on_lo));
    expect_words(server.join_group(group, on_lo), std::errc::address_in_use,
                 "join group 228.0.0.5 on lo, of which the socket is a member: "
                 "Address already in use");
    EXPECT_TRUE(server.leave_group(group, on_lo));
    expect_words(server.leave_group(group, on_lo), std::errc::address_not_available,
                 "leave group 228.0.0.5 on lo, of which the socket is no member: "
                 "Cannot assign requested address");
    expect_words(server.join_group(group, {.interface = "nowhere"}), std::errc::no_such_device,
                 "interface nowhere: No such device");
    // None of which did any harm.
    EXPECT_TRUE(server.join_group(group, on_lo));
    server.close();
    EXPECT_EQ(server.join_group(group, on_lo), errc::closed);
    EXPECT_EQ(server.set_multicast({.ttl = 1}), errc::closed);
}

TEST_P(acceptance, M04TheFourErrorsSayWhatTheyMean) { run(four_errors()); }

task<> listen_beside_each_other() {
    auto first = co_await listen({.listen_multiple = true}, everywhere);
    const address where = first.local_address();
    auto second = co_await listen({.listen_multiple = true}, where);
    auto outsider = co_await listen({.listen_multiple = true}, where);
    const auto refused = co_await start_udp_server(where);
    expect_error(refused, std::errc::address_in_use);
    EXPECT_TRUE(first.join_group(group, on_lo));
    EXPECT_TRUE(second.join_group(group, on_lo));
    auto sender = co_await listen({}, everywhere);
    EXPECT_TRUE(sender.set_multicast({.interface = "lo"}));
    EXPECT_TRUE(sender.sendto("to all of you", {group, where.port()}));
    const auto at_first = co_await first.read(patiently);
    expect_text(at_first, "to all of you");
    const auto at_second = co_await second.read(patiently);
    expect_text(at_second, "to all of you");
    const auto at_outsider = co_await outsider.read({.timeout = 0s});
    expect_error(at_outsider, errc::timed_out);
}

TEST_P(acceptance, M04SeveralListenersOnOnePortHearTheGroupsTheyJoined) {
    run(listen_beside_each_other());
}

// --- M06 ---

task<> answer_by_unicast() {
    auto server = co_await listen({.listen_multiple = true}, everywhere);
    EXPECT_TRUE(server.set_multicast({.ttl = 5}));
    EXPECT_TRUE(server.join_group(group, on_lo));
    auto client = co_await listen({}, everywhere);
    EXPECT_TRUE(client.set_multicast({.ttl = 1, .loopback = true, .interface = ip("127.0.0.1")}));
    EXPECT_TRUE(client.sendto("Client: Ping", {group, server.local_address().port()}));
    auto heard = co_await server.read(patiently);
    auto ping = or_throw(std::move(heard));
    EXPECT_EQ(ping.text(), "Client: Ping");
    EXPECT_EQ(ping.peer(), address("127.0.0.1", client.local_address().port()));
    EXPECT_EQ(ping.local(), address(group, server.local_address().port()));
    EXPECT_TRUE(server.reply(ping, "Server: Pong"));
    auto answer = co_await client.read(patiently);
    const auto pong = or_throw(std::move(answer));
    EXPECT_EQ(pong.text(), "Server: Pong");
    EXPECT_EQ(pong.peer(), address("127.0.0.1", server.local_address().port()));
    EXPECT_EQ(pong.local(), address("127.0.0.1", client.local_address().port()));
}

TEST_P(acceptance, M06APacketToTheGroupIsAnsweredByUnicast) { run(answer_by_unicast()); }

// --- M07 ---

task<> group_on_ipv6() {
    const interface near = interface::index(::if_nametoindex("near"));
    constexpr ip group_v6("ff15::7");
    auto server = co_await listen({}, {"::", 0});
    auto client = co_await listen({}, {"::", 0});
    EXPECT_TRUE(client.set_multicast({.ttl = 2, .interface = near}));
    EXPECT_EQ(client.multicast().ttl, 2);
    EXPECT_EQ(client.multicast().loopback, true);
    EXPECT_EQ(client.multicast().interface, near);
    EXPECT_EQ(client.set_multicast({.ttl = 256}), errc::invalid_option);
    EXPECT_TRUE(server.join_group(group_v6, {.interface = near}));
    EXPECT_EQ(server.join_group(group_v6, {.interface = near}), std::errc::address_in_use);
    EXPECT_TRUE(client.sendto("ping", {group_v6, server.local_address().port()}));
    auto heard = co_await server.read(patiently);
    auto ping = or_throw(std::move(heard));
    EXPECT_EQ(ping.local(), address(group_v6, server.local_address().port()));
    EXPECT_FALSE(ping.peer().host().is_multicast());
    EXPECT_TRUE(server.reply(ping, "pong"));
    const auto pong = co_await client.read(patiently);
    expect_text(pong, "pong");
    EXPECT_TRUE(server.leave_group(group_v6, {.interface = near}));
    const std::uint16_t port = server.local_address().port();
    const bool hears_left =
        co_await hears(server, client, address(group_v6, port), address("fd09::1", port));
    EXPECT_FALSE(hears_left);
    EXPECT_EQ(server.leave_group(group_v6, {.interface = near}), std::errc::address_not_available);
}

TEST_P(acceptance, M07AnIpv6GroupIsJoinedByIndex) {
    run_with(add_interfaces, make_loop, group_on_ipv6);
}

// --- features 59 and 49: answers from where the request went, broadcast ---

task<> answer_from_there(address there) {
    auto server = co_await start_udp_server({"", 0});
    EXPECT_TRUE(server.has_value());
    const std::uint16_t port = server->local_address().port();
    auto client = co_await connect(there.with_port(port));
    EXPECT_TRUE(client.send("hello"));
    auto heard = co_await server->read(patiently);
    auto request = or_throw(std::move(heard));
    EXPECT_EQ(request.local(), there.with_port(port));
    EXPECT_TRUE(server->reply(std::move(request)));
    const auto answer = co_await client.read(patiently);
    expect_text(answer, "hello");
}

TEST_P(acceptance, F59AnAnswerComesFromTheAddressTheRequestWasSentTo) {
    run(answer_from_there({"127.0.0.2", 0}));
    run(answer_from_there({"127.0.0.3", 0}));
}

task<> answer_from_there_on_ipv6() {
    co_await answer_from_there({"fd00::2", 0});
    co_await answer_from_there({"fd00::3", 0});
}

TEST_P(acceptance, F59OnIpv6AnAnswerComesFromThereToo) {
    run_with(add_loopback_addresses, make_loop, answer_from_there_on_ipv6);
}

task<> ask_everybody() {
    auto server = co_await listen({}, everywhere);
    auto client = co_await listen({.broadcast = true}, {"10.9.0.1", 0});
    EXPECT_TRUE(client.sendto("anybody?", {"10.9.0.255", server.local_address().port()}));
    auto heard = co_await server.read(patiently);
    auto request = or_throw(std::move(heard));
    EXPECT_EQ(request.text(), "anybody?");
    EXPECT_TRUE(server.reply(std::move(request)));
    auto answered = co_await client.read(patiently);
    const auto answer = or_throw(std::move(answered));
    EXPECT_EQ(answer.peer(), address("10.9.0.1", server.local_address().port()));
}

TEST_P(acceptance, F49ABroadcastIsHeardAndAnswered) {
    run_with(add_interfaces, make_loop, ask_everybody);
}

}  // namespace

QUOIT_INSTANTIATE_ACCEPTANCE();

}  // namespace quoit::test
