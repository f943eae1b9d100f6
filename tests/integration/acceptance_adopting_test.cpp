// SPDX-License-Identifier: MIT
//
// The acceptance cases about sockets that somebody else opened (E19, E20), and about the peer of an
// open endpoint.
#include "integration/acceptance_fixture.hpp"

#include <fcntl.h>

namespace quoit::test {

namespace {

using quoit::errc;

int copy_of(const foreign_socket& one) {
    const int made = ::fcntl(one.descriptor(), F_DUPFD_CLOEXEC, 0);
    if (made < 0) throw_errno("fcntl");
    return made;
}
bool is_open(int descriptor) { return ::fcntl(descriptor, F_GETFD) >= 0; }

void connect_socket(const foreign_socket& one, const address& to) {
    const socket_name name(to);
    if (::connect(one.descriptor(), name.get(), name.size) != 0) throw_errno("connect");
}

task<> expect_echo(udp_server& server) {
    const foreign_socket peer;
    peer.sendto("are you there?", server.local_address());
    auto heard = co_await server.read(patiently);
    auto request = or_throw(std::move(heard));
    EXPECT_EQ(request.text(), "are you there?");
    EXPECT_EQ(request.peer(), peer.local());
    EXPECT_TRUE(server.reply(std::move(request)));
    const auto answer = co_await receive(peer);
    EXPECT_EQ(answer.payload, "are you there?");
    EXPECT_EQ(answer.from, server.local_address());
}

task<> adopt_an_unconnected_one() {
    const foreign_socket original;
    const foreign_socket early;
    early.sendto("before you came", original.local());
    const int descriptor = copy_of(original);
    {
        auto server = or_throw(adopt_udp_server(descriptor, ownership::take));
        EXPECT_EQ(server.local_address(), original.local());
        EXPECT_EQ(server.descriptor(), descriptor);
        EXPECT_FALSE(server.peer_address().has_value());
        const auto held = co_await server.read(patiently);
        expect_text(held, "before you came");
        co_await expect_echo(server);
        server.close();
        co_await server.wait_closed();
        EXPECT_FALSE(is_open(descriptor));
    }
    // No client: and it is closed all the same.
    const int unfit = copy_of(original);
    const auto refused = adopt_udp_client(unfit, ownership::take);
    expect_error(refused, errc::not_connected);
    EXPECT_FALSE(is_open(unfit));
}

TEST_P(acceptance, E19AnUnconnectedDescriptorIsAServer) { run(adopt_an_unconnected_one()); }

task<> adopt_a_connected_one() {
    const foreign_socket peer;
    const foreign_socket original;
    connect_socket(original, peer.local());
    const int descriptor = copy_of(original);
    auto client = or_throw(adopt_udp_client(descriptor, ownership::take));
    EXPECT_EQ(client.local_address(), original.local());
    EXPECT_EQ(client.peer_address(), peer.local());
    EXPECT_TRUE(client.send("hello"));
    const auto heard = co_await receive(peer);
    EXPECT_EQ(heard.payload, "hello");
    EXPECT_EQ(heard.from, original.local());
    peer.sendto("hello yourself", original.local());
    const auto answer = co_await client.read(patiently);
    expect_text(answer, "hello yourself");
    const auto refused = adopt_udp_server(original.descriptor(), ownership::duplicate);
    expect_error(refused, errc::already_connected);
    EXPECT_TRUE(is_open(original.descriptor()));
}

TEST_P(acceptance, E19AConnectedDescriptorIsAClient) { run(adopt_a_connected_one()); }

task<> adopt_a_duplicate() {
    std::optional<foreign_socket> original(std::in_place);
    const address where = original->local();
    auto server = or_throw(adopt_udp_server(original->descriptor(), ownership::duplicate));
    original.reset();
    EXPECT_EQ(server.local_address(), where);
    co_await expect_echo(server);
}

TEST_P(acceptance, E20TheCallerClosesHisDescriptorAtOnceAndTheEndpointWorks) {
    run(adopt_a_duplicate());
}

task<> go_on_using_the_original() {
    const foreign_socket original;
    const foreign_socket peer;
    {
        auto server = or_throw(adopt_udp_server(original.descriptor(), ownership::duplicate));
        co_await expect_echo(server);
    }
    peer.sendto("and you?", original.local());
    const auto heard = co_await receive(original);
    EXPECT_EQ(heard.payload, "and you?");
}

TEST_P(acceptance, E20WhenTheEndpointIsGoneTheCallersDescriptorWorks) {
    run(go_on_using_the_original());
}

// --- the peer of an open endpoint ---

task<> connect_an_open_one() {
    const foreign_socket first;
    const foreign_socket second;
    auto server = co_await listen({}, {"0.0.0.0", 0});
    const address everywhere = server.local_address();
    EXPECT_EQ(server.disconnect(), errc::not_connected);
    EXPECT_TRUE(server.connect(first.local()));
    EXPECT_EQ(server.peer_address(), first.local());
    EXPECT_EQ(server.local_address(), address("127.0.0.1", everywhere.port()));
    EXPECT_EQ(server.connect(second.local()), errc::already_connected);
    EXPECT_TRUE(server.send("to the first"));
    const auto at_first = co_await receive(first);
    EXPECT_EQ(at_first.payload, "to the first");
    EXPECT_TRUE(server.reconnect(second.local()));
    EXPECT_TRUE(server.send("to the second"));
    const auto at_second = co_await receive(second);
    EXPECT_EQ(at_second.payload, "to the second");
    first.sendto("nobody hears this", server.local_address());
    second.sendto("from the second", server.local_address());
    const auto heard = co_await server.read(patiently);
    expect_text(heard, "from the second");
    EXPECT_TRUE(server.disconnect());
    EXPECT_FALSE(server.peer_address().has_value());
    EXPECT_EQ(server.local_address(), everywhere);
    EXPECT_EQ(server.send("to nobody"), errc::not_connected);
    first.sendto("from the first", {"127.0.0.1", everywhere.port()});
    const auto from_first = co_await server.read(patiently);
    expect_text(from_first, "from the first");
    server.close();
    EXPECT_EQ(server.connect(first.local()), errc::closed);
}

TEST_P(acceptance, D09AnOpenEndpointConnectsReconnectsAndDisconnects) {
    run(connect_an_open_one());
}

}  // namespace

QUOIT_INSTANTIATE_ACCEPTANCE();

}  // namespace quoit::test
