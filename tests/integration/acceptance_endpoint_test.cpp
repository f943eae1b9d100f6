// SPDX-License-Identifier: MIT
//
// The acceptance cases of endpoints, E01-E24 (docs/testing.md): opening, addresses, destinations,
// sizes, options. On real sockets, through the coroutine facade.
//
// This program has a getaddrinfo() of its own, which counts, and which knows without asking any
// server that there is nobody called something.invalid (RFC 2606).
#include "integration/acceptance_fixture.hpp"

#include <dlfcn.h>
#include <netdb.h>

#include <array>
#include <atomic>
#include <fstream>

namespace {

std::atomic<int> lookups{0};

}  // namespace

extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints,
                           addrinfo** found) {
    lookups.fetch_add(1);
    if (node != nullptr && std::string_view(node).ends_with(".invalid")) return EAI_NONAME;
    static const auto libc =
        reinterpret_cast<decltype(&::getaddrinfo)>(::dlsym(RTLD_NEXT, "getaddrinfo"));
    return libc(node, service, hints, found);
}

namespace quoit::test {

namespace {

using quoit::errc;

// The endpoint works: what a foreign socket sends it arrives, with its address, and so does the
// answer.
task<> expect_echo(udp_server& server, const foreign_socket& peer) {
    peer.sendto("are you there?", server.local_address());
    auto heard = co_await server.read(patiently);
    auto request = or_throw(std::move(heard));
    EXPECT_EQ(request.text(), "are you there?");
    EXPECT_EQ(request.peer(), peer.local());
    EXPECT_TRUE(server.reply(request, "yes"));
    const auto answer = co_await receive(peer);
    EXPECT_EQ(answer.payload, "yes");
    EXPECT_EQ(answer.from, server.local_address());
}

// Whatever was sent to `peer` before would come before what is sent now.
task<> expect_nothing_arrived(const foreign_socket& peer) {
    const foreign_socket marker;
    marker.sendto("the first thing", peer.local());
    const auto first = co_await receive(peer);
    EXPECT_EQ(first.from, marker.local());
    EXPECT_EQ(first.payload, "the first thing");
}

int integer_option(int descriptor, int option) {
    int value = -1;
    socklen_t size = sizeof value;
    if (::getsockopt(descriptor, SOL_SOCKET, option, &value, &size) != 0) return -1;
    return value;
}

// --- E01, E02: local addresses ---

task<> bind_to(address where, address other_family) {
    auto server = co_await listen({}, where);
    EXPECT_EQ(server.local_address().host(), where.host());
    EXPECT_NE(server.local_address().port(), 0);
    EXPECT_EQ(server.local_address(), bound_address(server.descriptor()));
    EXPECT_EQ(server.local_addresses().size(), 1U);
    EXPECT_FALSE(server.peer_address().has_value());
    EXPECT_NE(server.local_address().family(), other_family.family());

    const foreign_socket peer(where);
    co_await expect_echo(server, peer);
    auto second = co_await listen({}, where);
    EXPECT_NE(second.local_address().port(), server.local_address().port());
}

TEST_P(acceptance, E01BindingToPortZeroGivesALocalAddressWithAPort) {
    run(bind_to({"127.0.0.1", 0}, {"::1", 0}));
}

TEST_P(acceptance, E02BindingToPortZeroOnIpv6GivesALocalAddressWithAPort) {
    if (!has_ipv6_loopback()) GTEST_SKIP() << "no IPv6 loopback";
    run(bind_to({"::1", 0}, {"127.0.0.1", 0}));
}

task<> connect_to(address where) {
    const foreign_socket peer(where);
    auto client = co_await connect(peer.local());
    EXPECT_EQ(client.local_address().host(), where.host());
    EXPECT_NE(client.local_address().port(), 0);
    EXPECT_EQ(client.local_address(), bound_address(client.descriptor()));
    EXPECT_EQ(client.peer_address(), peer.local());
    EXPECT_TRUE(client.send("hello"));
    const auto heard = co_await receive(peer);
    EXPECT_EQ(heard.payload, "hello");
    EXPECT_EQ(heard.from, client.local_address());
    peer.sendto("hello yourself", client.local_address());
    const auto answer = co_await client.read(patiently);
    expect_text(answer, "hello yourself");
}

TEST_P(acceptance, E01AConnectedEndpointHasALocalAddressWithAPort) {
    run(connect_to({"127.0.0.1", 0}));
}

TEST_P(acceptance, E02AConnectedEndpointOnIpv6HasALocalAddressWithAPort) {
    if (!has_ipv6_loopback()) GTEST_SKIP() << "no IPv6 loopback";
    run(connect_to({"::1", 0}));
}

// --- E03: a used port ---

void expect_address_in_use(const result<udp_server>& refused, const address& where) {
    EXPECT_FALSE(refused.has_value());
    if (refused) return;
    EXPECT_EQ(refused.error().code(), std::error_code(EADDRINUSE, std::system_category()));
    const std::string words = refused.error().message();
    EXPECT_NE(words.find(where.to_string()), std::string::npos) << words;
    EXPECT_NE(words.find("Address already in use"), std::string::npos) << words;
}

task<> open_a_used_port() {
    auto first = co_await listen();
    const address where = first.local_address();
    const auto second = co_await start_udp_server(where);
    expect_address_in_use(second, where);

    // Among several: none is bound.
    const address free_port = dead_address();
    const std::array<host_port, 2> both{host_port(free_port), host_port(where)};
    const auto several = co_await start_udp_server(both);
    expect_address_in_use(several, where);
    const auto alone = co_await start_udp_server(free_port);
    EXPECT_TRUE(alone.has_value());

    const foreign_socket peer;
    co_await expect_echo(first, peer);
    const auto of_another = co_await start_udp_server(peer.local());
    expect_address_in_use(of_another, peer.local());
    co_await expect_echo(first, peer);
}

TEST_P(acceptance, E03AUsedPortIsAnErrorNamingAddressAndErrnoAndTheFirstSocketIsUnharmed) {
    run(open_a_used_port());
}

// --- E04: names ---

// Only opening and resolve() take names; everything else takes addresses, which never cost a
// lookup. What could only be meant as a literal is none either.
task<> use_names_where_literals_are_needed() {
    const int before = lookups.load();
    const auto parsed = address::parse("localhost:9");
    expect_error(parsed, errc::invalid_address);
    const auto host = ip::parse("localhost");
    EXPECT_FALSE(host.has_value());
    const auto literal = host_port("localhost", 9).to_address();
    EXPECT_FALSE(literal.has_value());
    const auto almost = co_await start_udp_server({"127.0.0.256", 0});
    expect_error(almost, errc::invalid_address);
    const auto almost_six = co_await open_udp_connection({"fe80::x", 9});
    expect_error(almost_six, errc::invalid_address);
    const auto with_a_literal = co_await start_udp_server({"127.0.0.1", 0});
    EXPECT_TRUE(with_a_literal.has_value());
    EXPECT_EQ(lookups.load(), before) << "a name was looked up";
}

TEST_P(acceptance, E04AHostNameWhereALiteralIsNeededIsRefusedWithoutALookup) {
    run(use_names_where_literals_are_needed());
}

// --- E05: names, where they are taken ---

task<> open_by_name() {
    const int before = lookups.load();
    auto server = or_throw(co_await start_udp_server({"localhost", 0}, {.family = family::ipv4}));
    EXPECT_EQ(server.local_address().host(), ip("127.0.0.1"));
    auto client = or_throw(co_await open_udp_connection(
        {"localhost", server.local_address().port()}, {.family = family::ipv4}));
    client.send("by name");
    auto received = co_await server.read(patiently);
    expect_text(received, "by name");
    EXPECT_GE(lookups.load(), before + 2);
}

TEST_P(acceptance, E05AServerAndAClientAreOpenedByName) { run(open_by_name()); }

task<> open_an_unknown_name() {
    const auto server = co_await start_udp_server({"no-such-host.invalid", 9});
    EXPECT_FALSE(server.has_value());
    const std::string words = server ? "" : server.error().message();
    EXPECT_NE(words.find("no-such-host.invalid"), std::string::npos) << words;
    const std::array<host_port, 3> where{host_port("no-such-host.invalid", 9),
                                         host_port("127.0.0.1", 0),
                                         host_port("nor-this-one.invalid", 9)};
    const auto several = co_await start_udp_server(where);
    expect_error(several, errc::host_not_found);
    EXPECT_EQ(several.error().causes().size(), 2U);
    const auto client = co_await open_udp_connection({"localhost", 70'000});
    expect_error(client, errc::invalid_option);
}

TEST_P(acceptance, E05AnUnknownNameIsAnErrorThatNamesIt) { run(open_an_unknown_name()); }

task<> resolve_names() {
    const auto found = co_await resolve("localhost", 53, family::ipv4);
    EXPECT_TRUE(found.has_value());
    if (found) {
        EXPECT_EQ(*found, std::vector<address>{address("127.0.0.1", 53)});
    }
    const auto literal = co_await resolve({"::1", 53});
    EXPECT_TRUE(literal && literal->front() == address("::1", 53));
    const auto other = co_await resolve({"127.0.0.1", 53}, family::ipv6);
    expect_error(other, errc::wrong_family);
    const auto everywhere = co_await resolve({"", 53});
    expect_error(everywhere, errc::invalid_address);
}

TEST_P(acceptance, E05ResolvingGivesAddressesAndALiteralIsItself) { run(resolve_names()); }

task<> resolve_and_forget(int& ended) {
    const auto found = co_await resolve("localhost", 53);
    if (!found && found.error() == errc::canceled) ++ended;
}

task<> cancel_lookups() {
    int ended = 0;
    {
        task_group group;
        for (int i = 0; i < 8; ++i)
            group.spawn(resolve_and_forget(ended));
        group.cancel();
        co_await group.join();
    }
    EXPECT_EQ(ended, 8);
    const auto after = co_await resolve("localhost", 53);
    EXPECT_TRUE(after.has_value());
}

TEST_P(acceptance, E05ALookupThatIsCancelledHarmsNoOther) { run(cancel_lookups()); }

task<> listen_on_several() {
    const foreign_socket taken;
    const std::array<host_port, 3> where{host_port("127.0.0.1", 0), host_port(taken.local()),
                                         host_port("127.0.0.2", 0)};
    const auto none = co_await start_udp_server(where);
    expect_error(none, std::errc::address_in_use);
    const std::array<host_port, 2> free{host_port("127.0.0.1", 0), host_port("127.0.0.2", 0)};
    auto both = or_throw(co_await start_udp_server(free));
    EXPECT_EQ(both.local_addresses().size(), 2U);
    for (const address& one : both.local_addresses()) {
        const foreign_socket client;
        client.sendto("to " + one.to_string(), one);
        auto received = co_await both.read(patiently);
        expect_text(received, "to " + one.to_string());
    }
}

TEST_P(acceptance, E05SeveralHostsAreAllBoundOrNone) { run(listen_on_several()); }

// --- E06: the other family ---

task<> send_to_the_other_family(address here, address there) {
    auto server = co_await listen({}, here);
    const foreign_socket other(there);
    EXPECT_EQ(server.sendto("x", other.local()), errc::wrong_family);
    EXPECT_EQ(server.sendto("x", other.local()), std::errc::address_family_not_supported);
    EXPECT_EQ(server.sendto_pieces({"x", "y"}, other.local()), errc::wrong_family);
    EXPECT_EQ(server.try_sendto("x", other.local()), errc::wrong_family);
    EXPECT_EQ(server.reply(datagram("from elsewhere", other.local()), "x"), errc::wrong_family);
    EXPECT_EQ(server.sendto(datagram("from elsewhere", other.local()), other.local()),
              errc::wrong_family);
    server.flush();
    EXPECT_EQ(server.stats().sent.accepted, 0U);
    const foreign_socket marker(there);
    marker.sendto("the first thing", other.local());
    const auto first = co_await receive(other);
    EXPECT_EQ(first.from, marker.local());

    const auto client = co_await open_udp_connection(other.local(), {.local = here});
    expect_error(client, errc::wrong_family);

    const foreign_socket peer(here);
    co_await expect_echo(server, peer);
}

TEST_P(acceptance, E06AnIpv6DestinationOnAnIpv4SocketIsInvalid) {
    if (!has_ipv6_loopback()) GTEST_SKIP() << "no IPv6 loopback";
    run(send_to_the_other_family({"127.0.0.1", 0}, {"::1", 0}));
}

TEST_P(acceptance, E06AnIpv4DestinationOnAnIpv6SocketIsInvalid) {
    if (!has_ipv6_loopback()) GTEST_SKIP() << "no IPv6 loopback";
    run(send_to_the_other_family({"::1", 0}, {"127.0.0.1", 0}));
}

// --- E08, E09: destinations ---

task<> send_connected() {
    const foreign_socket peer;
    const foreign_socket other;
    auto client = co_await connect(peer.local());
    EXPECT_TRUE(client.send("to nobody by name"));
    const auto heard = co_await receive(peer);
    EXPECT_EQ(heard.payload, "to nobody by name");
    EXPECT_EQ(heard.from, client.local_address());

    EXPECT_EQ(client.sendto("x", other.local()), errc::already_connected);
    EXPECT_EQ(client.sendto_pieces({"x"}, other.local()), errc::already_connected);
    EXPECT_EQ(client.try_sendto("x", other.local()), errc::already_connected);
    EXPECT_EQ(client.sendto(datagram("x", other.local()), other.local()), errc::already_connected);
    client.flush();
    co_await expect_nothing_arrived(other);
    co_await expect_nothing_arrived(peer);
    EXPECT_EQ(client.stats().sent.accepted, 1U);

    EXPECT_TRUE(client.sendto("to the peer by name", peer.local()));
    const auto by_name = co_await receive(peer);
    EXPECT_EQ(by_name.payload, "to the peer by name");
}

TEST_P(acceptance, E08AConnectedEndpointSendsToItsPeerAndToNobodyElse) { run(send_connected()); }

task<> send_unconnected() {
    auto server = co_await listen();
    const foreign_socket peer;
    EXPECT_EQ(server.send("x"), errc::not_connected);
    EXPECT_EQ(server.send("x"), std::errc::destination_address_required);
    EXPECT_EQ(server.send_pieces({"x", "y"}), errc::not_connected);
    EXPECT_EQ(server.send(datagram("x", peer.local())), errc::not_connected);
    EXPECT_EQ(server.try_send("x"), errc::not_connected);
    EXPECT_EQ(server.sendto("x", peer.local().with_port(0)), errc::invalid_address);
    EXPECT_EQ(server.stats().sent.accepted, 0U);
    server.flush();
    co_await expect_nothing_arrived(peer);
    co_await expect_echo(server, peer);
}

TEST_P(acceptance, E09AnUnconnectedEndpointWithoutAnAddressIsAnErrorAndItGoesOn) {
    run(send_unconnected());
}

// --- E10, E11: what one datagram is ---

task<> send_four_pieces() {
    const foreign_socket peer;
    auto client = co_await connect(peer.local());
    auto server = co_await listen();
    EXPECT_TRUE(client.send_pieces({"one,", "two,", "", "four"}));
    const auto sent = co_await receive(peer);
    EXPECT_EQ(sent.payload, "one,two,four");
    const std::string first = "1";
    const std::string rest = pattern(3000);
    EXPECT_TRUE(server.sendto_pieces({first, rest, "", rest}, peer.local()));
    const auto sent_to = co_await receive(peer);
    EXPECT_EQ(sent_to.payload, first + rest + rest);
    EXPECT_EQ(sent_to.from, server.local_address());
    EXPECT_EQ(client.stats().sent.sent, 1U);
    EXPECT_EQ(server.stats().sent.sent, 1U);
    co_await expect_nothing_arrived(peer);
}

TEST_P(acceptance, E10FourPiecesAreOneDatagram) { run(send_four_pieces()); }

task<> receive_empties_from_a_foreign_socket() {
    auto server = co_await listen();
    const foreign_socket peer;
    for (int i = 0; i < 100; ++i)
        peer.sendto("", server.local_address());
    peer.sendto("full", server.local_address());
    for (int i = 0; i < 100; ++i) {
        auto heard = co_await server.read(patiently);
        auto one = or_throw(std::move(heard));
        EXPECT_TRUE(one.is_empty());
        EXPECT_EQ(one.peer(), peer.local());
    }
    auto heard = co_await server.read(patiently);
    auto last = or_throw(std::move(heard));
    EXPECT_EQ(last.text(), "full");
    EXPECT_EQ(last.peer(), peer.local());
    EXPECT_EQ(server.stats().received.delivered, 101U);
    EXPECT_EQ(server.stats().received.empty, 100U);
}

TEST_P(acceptance, E11AHundredEmptyDatagramsAndAFullOneAreAllDeliveredWithTheirPeer) {
    run(receive_empties_from_a_foreign_socket());
}

task<> send_empties_to_a_foreign_socket() {
    const foreign_socket peer;
    auto client = co_await connect(peer.local());
    for (int i = 0; i < 100; ++i)
        EXPECT_TRUE(client.send(""));
    EXPECT_TRUE(client.send("full"));
    for (int i = 0; i < 100; ++i) {
        const auto one = co_await receive(peer);
        EXPECT_EQ(one.payload, "");
        EXPECT_EQ(one.from, client.local_address());
    }
    const auto last = co_await receive(peer);
    EXPECT_EQ(last.payload, "full");

    // And one that comes back empty is no end of anything.
    peer.sendto("", client.local_address());
    peer.sendto("more", client.local_address());
    const auto nothing = co_await client.read(patiently);
    expect_text(nothing, "");
    const auto more = co_await client.read(patiently);
    expect_text(more, "more");
}

TEST_P(acceptance, E11EmptyDatagramsAreSentAndReadByAConnectedEndpoint) {
    run(send_empties_to_a_foreign_socket());
}

// --- E12, E13: sizes ---

task<> exchange_the_largest(address where, std::size_t size_max) {
    auto server = co_await listen({}, where);
    auto client = co_await connect(server.local_address());
    const std::string largest = pattern(size_max);
    const std::string too_long = pattern(size_max + 1);
    EXPECT_TRUE(client.send(largest));
    auto heard = co_await server.read(patiently);
    auto received = or_throw(std::move(heard));
    EXPECT_EQ(received.size(), size_max);
    EXPECT_FALSE(received.truncated());
    EXPECT_TRUE(received.text() == largest) << "the bytes differ";

    EXPECT_EQ(client.send(too_long), errc::message_too_long);
    EXPECT_EQ(client.send(too_long), std::errc::message_size);
    EXPECT_EQ(client.try_send(too_long), errc::message_too_long);
    EXPECT_EQ(client.send_pieces({largest, "1"}), errc::message_too_long);
    EXPECT_EQ(server.sendto(too_long, client.local_address()), errc::message_too_long);
    EXPECT_EQ(client.stats().sent.accepted, 1U);
    EXPECT_EQ(server.stats().sent.accepted, 0U);

    EXPECT_TRUE(server.reply(std::move(received)));
    auto echoed = co_await client.read(patiently);
    auto back = or_throw(std::move(echoed));
    EXPECT_TRUE(back.text() == largest) << "the bytes differ";

    const foreign_socket peer(where);
    peer.sendto(largest, server.local_address());
    auto from_outside = co_await server.read(patiently);
    auto foreign = or_throw(std::move(from_outside));
    EXPECT_TRUE(foreign.text() == largest) << "the bytes differ";
    co_await expect_echo(server, peer);
}

TEST_P(acceptance, E12TheLargestDatagramArrivesAndOneByteMoreIsRefusedByThatSend) {
    run(exchange_the_largest({"127.0.0.1", 0}, 65'507));
}

TEST_P(acceptance, E12TheLargestDatagramOnIpv6ArrivesAndOneByteMoreIsRefusedByThatSend) {
    if (!has_ipv6_loopback()) GTEST_SKIP() << "no IPv6 loopback";
    run(exchange_the_largest({"::1", 0}, 65'527));
}

task<> receive_too_long(std::uint32_t payload_size_max, std::size_t longest) {
    auto server = co_await listen({.payload_size_max = payload_size_max});
    const foreign_socket peer;
    const std::string sent = pattern(longest);
    const std::array<std::size_t, 5> sizes{payload_size_max - 1, payload_size_max,
                                           payload_size_max + 1, longest, 0};
    for (const std::size_t size : sizes) {
        peer.sendto(std::string_view(sent).substr(0, size), server.local_address());
        auto heard = co_await server.read(patiently);
        auto received = or_throw(std::move(heard));
        EXPECT_EQ(received.size(), std::min<std::size_t>(size, payload_size_max));
        EXPECT_EQ(received.original_size(), size);
        EXPECT_EQ(received.truncated(), size > payload_size_max);
        EXPECT_TRUE(received.text() == std::string_view(sent).substr(0, received.size()));
        EXPECT_EQ(received.peer(), peer.local());
    }
    EXPECT_EQ(server.stats().received.truncated, 2U);
    EXPECT_EQ(server.stats().received.delivered, 5U);
}

TEST_P(acceptance, E13LongerThanPayloadSizeMaxIsTruncatedAndFlagged) {
    run(receive_too_long(100, 60'000));
}

TEST_P(acceptance, E13LongerThanALargePayloadSizeMaxIsTruncatedAndFlagged) {
    run(receive_too_long(10'000, 65'507));
}

// --- E14, E15, E16: options ---

task<> broadcast() {
    const address everybody("255.255.255.255", 9);
    auto server = co_await listen();
    EXPECT_FALSE(server.broadcast());
    EXPECT_EQ(integer_option(server.descriptor(), SO_BROADCAST), 0);
    EXPECT_EQ(server.sendto("x", everybody), std::errc::permission_denied);
    EXPECT_EQ(server.try_sendto("x", everybody), std::errc::permission_denied);
    EXPECT_EQ(server.stats().sent.accepted, 0U);

    const status on = server.set_broadcast(true);
    EXPECT_TRUE(on);
    EXPECT_TRUE(server.broadcast());
    EXPECT_EQ(integer_option(server.descriptor(), SO_BROADCAST), 1);
    const status off = server.set_broadcast(false);
    EXPECT_TRUE(off);
    EXPECT_FALSE(server.broadcast());
    EXPECT_EQ(server.sendto("x", everybody), std::errc::permission_denied);
    const foreign_socket peer;
    co_await expect_echo(server, peer);

    auto allowed = co_await listen({.broadcast = true});
    EXPECT_TRUE(allowed.broadcast());
    EXPECT_EQ(integer_option(allowed.descriptor(), SO_BROADCAST), 1);
}

TEST_P(acceptance, E14BroadcastIsOffByDefaultReadsBackAndIsNeededForItsAddress) {
    run(broadcast());
}

std::uint64_t kernel_limit(const char* path) {
    std::ifstream file(path);
    std::uint64_t value = 0;
    file >> value;
    return value;
}

task<> ask_for_buffers(std::uint64_t rmem_max) {
    const auto granted_max = static_cast<std::uint32_t>(2 * rmem_max);
    auto server = co_await listen({.receive_buffer_size = 212'992});
    EXPECT_EQ(server.buffers().receive.asked, 212'992U);
    EXPECT_EQ(server.buffers().receive.granted, 425'984U);
    EXPECT_EQ(server.buffers().receive.granted_max, granted_max);
    EXPECT_EQ(integer_option(server.descriptor(), SO_RCVBUF), 425'984);

    const auto too_much = static_cast<std::uint32_t>(rmem_max + 4096);
    auto greedy = co_await listen({.receive_buffer_size = too_much});
    EXPECT_EQ(greedy.buffers().receive.asked, too_much);
    EXPECT_EQ(greedy.buffers().receive.granted, granted_max);
    const foreign_socket peer;
    co_await expect_echo(greedy, peer);

    auto modest = co_await listen();
    EXPECT_EQ(modest.buffers().receive.asked, 0U);
    EXPECT_EQ(static_cast<int>(modest.buffers().receive.granted),
              integer_option(peer.descriptor(), SO_RCVBUF));
}

TEST_P(acceptance, E15AReceiveBufferIsReportedAsAskedGrantedAndMaximum) {
    const std::uint64_t rmem_max = kernel_limit("/proc/sys/net/core/rmem_max");
    if (rmem_max < 212'992) GTEST_SKIP() << "rmem_max is " << rmem_max << ", or unreadable";
    if (rmem_max > 1U << 30) GTEST_SKIP() << "rmem_max is " << rmem_max << ": nobody asks for more";
    run(ask_for_buffers(rmem_max));
}

task<> share_a_port() {
    auto first = co_await listen({.reuse_port = true});
    auto second = co_await listen({.reuse_port = true}, first.local_address());
    EXPECT_EQ(second.local_address(), first.local_address());
    const auto without = co_await start_udp_server(first.local_address());
    expect_address_in_use(without, first.local_address());

    // Each flow goes to one of the two by a hash of its addresses and ports, and nothing is lost.
    // That one of them gets all of so many is as likely as heads 64 times in a row.
    constexpr std::uint64_t flow_count = 64;
    const std::vector<foreign_socket> peers(flow_count);  // at once, so that the ports differ
    for (const foreign_socket& peer : peers)
        peer.sendto("x", first.local_address());
    const give_up_time limit;
    while (first.stats().received.passed + second.stats().received.passed < flow_count) {
        limit.check("the flows");
        or_throw(co_await next_turn());
    }
    EXPECT_EQ(first.stats().received.passed + second.stats().received.passed, flow_count);
    EXPECT_GT(first.stats().received.passed, 0U);
    EXPECT_GT(second.stats().received.passed, 0U);
}

TEST_P(acceptance, E16WithReusePortBothBindAndShareTheTraffic) { run(share_a_port()); }

// --- E24: strangers ---

task<> hear_only_the_peer() {
    const foreign_socket peer;
    const foreign_socket stranger;
    auto quoit_stranger = co_await listen();
    auto client = co_await connect(peer.local());
    stranger.sendto("psst", client.local_address());
    EXPECT_TRUE(quoit_stranger.sendto("psst", client.local_address()));
    quoit_stranger.flush();
    peer.sendto("from the peer", client.local_address());
    auto heard = co_await client.read(patiently);
    auto received = or_throw(std::move(heard));
    EXPECT_EQ(received.text(), "from the peer");
    EXPECT_EQ(received.peer(), peer.local());
    stranger.sendto("psst", client.local_address());
    const auto nothing = co_await client.read({.timeout = 0s});
    expect_error(nothing, errc::timed_out);
    EXPECT_EQ(client.stats().received.taken, 1U);
    EXPECT_EQ(client.stats().received.refused, 0U);
}

TEST_P(acceptance, E24AStrangersDatagramDoesNotReachAConnectedClient) { run(hear_only_the_peer()); }

}  // namespace

QUOIT_INSTANTIATE_ACCEPTANCE();

}  // namespace quoit::test
