// SPDX-License-Identifier: MIT
//
// What quoit/port.hpp promises, on real sockets, whatever the port runs on: opening endpoints and
// naming them.
#include "engine/runtime/port_test.hpp"

namespace quoit::test {
namespace {

INSTANTIATE_TEST_SUITE_P(, port_test, ::testing::ValuesIn(port_parameters()), port_parameter_name);

// --- opening ---

TEST_P(port_test, ABackendThatIsNamedIsHad) {
    start();
    EXPECT_EQ(port().capabilities().backend, GetParam().backend);
    EXPECT_TRUE(port().capabilities().reason.empty());
}

TEST_P(port_test, OptionsOutOfRangeAreRefusedByName) {
    const auto made = port::create({.backend = GetParam().backend, .socket_count_max = 0});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error(), errc::invalid_option);
    start();
    const auto opened = port().open(std::span(&any_port, 1), {.payload_size_max = 0});
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error(), errc::invalid_option);
    EXPECT_TRUE(opened.error().context().starts_with("payload_size_max"));
}

TEST_P(port_test, PortZeroBecomesTheNumberThatTheKernelChose) {
    start();
    const endpoint_id server = open();
    ASSERT_EQ(port().local_addresses(server).size(), 1U);
    EXPECT_NE(local(server).port(), 0U);
    EXPECT_EQ(local(server).host(), any_port.host());
    EXPECT_FALSE(port().peer_address(server));
    EXPECT_GE(port().descriptor(server), 0);
}

TEST_P(port_test, OpeningNothingIsAnError) {
    start();
    const auto opened = port().open({});
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error(), errc::invalid_option);
    const address nothing;
    EXPECT_EQ(port().open(std::span(&nothing, 1)).error(), errc::invalid_address);
}

TEST_P(port_test, AUsedPortIsAnErrorThatNamesTheAddressAndHarmsNobody) {
    start();
    const endpoint_id first = open();
    const address taken = local(first);
    const auto second = port().open(std::span(&taken, 1));
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code(), std::error_code(EADDRINUSE, std::system_category()));
    EXPECT_NE(second.error().message().find(taken.to_string()), std::string::npos)
        << second.error();
    const foreign_socket client;
    ASSERT_EQ(client.send("still here", taken), 0);
    ASSERT_TRUE(turn_until_readable(first, 1));
    EXPECT_EQ(read_all(first), (strings{"still here"}));
}

TEST_P(port_test, SeveralAddressesAreOneEndpoint) {
    start();
    std::vector<address> where{any_port, address("127.0.0.2", 0)};
    if (has_ipv6()) where.emplace_back(address("::1", 0));
    const auto opened = port().open(where);
    ASSERT_TRUE(opened) << opened.error();
    const auto locals = port().local_addresses(*opened);
    ASSERT_EQ(locals.size(), where.size());
    for (std::size_t i = 0; i < where.size(); ++i) {
        EXPECT_EQ(locals[i].host(), where[i].host());
        const foreign_socket client(where[i]);
        // Hears only the socket it wrote to: the answer has to leave by that one.
        ASSERT_EQ(client.connect(locals[i]), 0);
        ASSERT_EQ(client.send("question", locals[i]), 0);
        ASSERT_TRUE(turn_until_readable(*opened, 1));
        auto question = port().receive(*opened);
        ASSERT_TRUE(question);
        EXPECT_EQ(question->peer(), client.local());
        EXPECT_TRUE(port().reply(*opened, question->view(), "copied"));
        EXPECT_TRUE(port().send(*opened, std::move(*question)));
        port().flush();
        EXPECT_EQ(client.receive(), "copied");
        EXPECT_EQ(client.receive(), "question");
    }
}

TEST_P(port_test, SeveralAddressesAreAllBoundOrNoneWithOneErrorForEach) {
    start();
    const foreign_socket first_taken;
    const foreign_socket second_taken;
    const address unused = dead_address();
    const std::array where{first_taken.local(), unused, second_taken.local()};
    const auto opened = port().open(where);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error(), std::errc::address_in_use);
    ASSERT_EQ(opened.error().causes().size(), 2U);
    EXPECT_NE(opened.error().causes()[0].message().find(where[0].to_string()), std::string::npos);
    EXPECT_NE(opened.error().causes()[1].message().find(where[2].to_string()), std::string::npos);
    const foreign_socket next(unused);
    EXPECT_TRUE(next.is_open());
}

TEST_P(port_test, EveryInterfaceIsOnePortNumberInBothFamilies) {
    start();
    const auto opened = port().open_every_interface(0);
    ASSERT_TRUE(opened) << opened.error();
    const auto locals = port().local_addresses(*opened);
    ASSERT_EQ(locals.size(), has_ipv6() ? 2U : 1U);
    EXPECT_EQ(locals[0].host(), ip("0.0.0.0"));
    const std::uint16_t number = locals[0].port();
    std::vector<address> ways_in{address("127.0.0.1", number)};
    if (has_ipv6()) {
        EXPECT_EQ(locals[1].host(), ip("::"));
        EXPECT_EQ(locals[1].port(), number);
        ways_in.emplace_back(address("::1", number));
    }
    for (const address& way : ways_in) {
        const foreign_socket client(way.with_port(0));
        ASSERT_EQ(client.send("in", way), 0);
        ASSERT_TRUE(turn_until_readable(*opened, 1));
        auto received = port().receive(*opened);
        ASSERT_TRUE(received);
        EXPECT_EQ(received->peer(), client.local());
        EXPECT_TRUE(port().send(*opened, std::move(*received)));
        port().flush();
        EXPECT_EQ(client.receive(), "in");
    }
}

TEST_P(port_test, EveryInterfaceOnAUsedPortIsAnErrorThatBindsNothing) {
    start();
    const foreign_socket taken(address("0.0.0.0", 0));
    const auto opened = port().open_every_interface(taken.local().port());
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error(), std::errc::address_in_use);
    if (!has_ipv6()) return;
    const foreign_socket v6(address("::1", taken.local().port()));
    EXPECT_TRUE(v6.is_open());
}

TEST_P(port_test, AConnectedEndpointKnowsBothEndsAndHearsNobodyElse) {
    start();
    const foreign_socket peer;
    const foreign_socket stranger;
    const endpoint_id client = open_connection(peer.local());
    EXPECT_EQ(port().peer_address(client), peer.local());
    EXPECT_NE(local(client).port(), 0U);
    ASSERT_EQ(stranger.send("stranger", local(client)), 0);
    ASSERT_EQ(peer.send("peer", local(client)), 0);
    ASSERT_TRUE(turn_until_readable(client, 1));
    EXPECT_EQ(read_all(client), (strings{"peer"}));
    EXPECT_TRUE(send(client, "hello"));
    port().flush();
    EXPECT_EQ(peer.receive(), "hello");
}

TEST_P(port_test, AConnectionMayChooseWhereItIsBound) {
    start();
    const foreign_socket peer;
    const address here = dead_address(address("127.0.0.3", 0));
    const endpoint_id client = open_connection(peer.local(), {.local = here});
    EXPECT_EQ(local(client), here);
    const auto crossed = port().open_connection(peer.local(), {.local = address("::1", 0)});
    ASSERT_FALSE(crossed);
    EXPECT_EQ(crossed.error(), errc::wrong_family);
    EXPECT_EQ(port().open_connection(any_port).error(), errc::invalid_address);
}

TEST_P(port_test, MoreSocketsThanAskedForAreRefused) {
    start({.socket_count_max = 2});
    EXPECT_GE(port().descriptor(open()), 0);
    const std::array two{any_port, any_port};
    EXPECT_EQ(port().open(two).error(), std::errc::too_many_files_open);
    EXPECT_GE(port().descriptor(open()), 0);
    EXPECT_EQ(port().open(std::span(&any_port, 1)).error(), std::errc::too_many_files_open);
    EXPECT_EQ(port().open_connection(address("127.0.0.1", 9)).error(),
              std::errc::too_many_files_open);
}

TEST_P(port_test, ReusePortLetsTwoEndpointsShareANumber) {
    start();
    const endpoint_id first = open({.reuse_port = true});
    const address shared = local(first);
    EXPECT_TRUE(port().open(std::span(&shared, 1), {.reuse_port = true}));
}

TEST_P(port_test, BufferSizesTellWhatWasAskedAndGranted) {
    start();
    const endpoint_id server = open({.receive_buffer_size = 65'536, .send_buffer_size = 32'768});
    const buffer_sizes sizes = port().buffers(server);
    EXPECT_EQ(sizes.receive.asked, 65'536U);
    EXPECT_EQ(sizes.receive.granted, 2 * 65'536U);
    EXPECT_GE(sizes.receive.granted_max, sizes.receive.granted);
    EXPECT_EQ(sizes.send.asked, 32'768U);
    EXPECT_EQ(sizes.send.granted, 2 * 32'768U);
    // More than there is: granted is what there is, and no error.
    const buffer_sizes most = port().buffers(open({.receive_buffer_size = 1U << 31U}));
    EXPECT_EQ(most.receive.granted, most.receive.granted_max);
}

// --- ids ---

TEST_P(port_test, AStaleIdIsAnsweredWithClosed) {
    start();
    const endpoint_id old = open();
    const address was = local(old);
    port().release(old);
    ASSERT_TRUE(turn_until([&] { return port().is_closed(old); }, "closed"));
    turn_at_once();
    const endpoint_id next = open();
    EXPECT_NE(next, old);
    for (const endpoint_id stale :
         {old, endpoint_id{}, endpoint_id{.index = 999, .generation = 1}}) {
        datagram_batch batch;
        EXPECT_EQ(port().receive(stale).error(), errc::closed);
        EXPECT_EQ(port().receive_batch(stale, 64, batch), errc::closed);
        EXPECT_EQ(port().readable_count(stale), 0U);
        EXPECT_EQ(sendto(stale, "x", was), errc::closed);
        EXPECT_EQ(send(stale, "x"), errc::closed);
        EXPECT_EQ(port().try_sendto(stale, "x", was), errc::closed);
        EXPECT_EQ(port().try_send(stale, "x"), errc::closed);
        EXPECT_EQ(port().send(stale, datagram("x", was)), errc::closed);
        EXPECT_EQ(port().reply(stale, datagram("x", was).view(), "x"), errc::closed);
        EXPECT_EQ(port().set_broadcast(stale, true), errc::closed);
        EXPECT_TRUE(port().is_closing(stale));
        EXPECT_TRUE(port().is_closed(stale));
        EXPECT_TRUE(port().local_addresses(stale).empty());
        EXPECT_FALSE(port().peer_address(stale));
        EXPECT_EQ(port().descriptor(stale), -1);
        EXPECT_EQ(port().send_queue_size(stale), 0U);
        EXPECT_EQ(port().stats(stale).received.taken, 0U);
        port().close(stale);
        port().abort(stale);
        port().release(stale);
        port().flush(stale);
    }
    EXPECT_FALSE(port().is_closing(next));
}

TEST_P(port_test, ReleasedSlotsAreUsedAgain) {
    start({.socket_count_max = 4});
    constexpr std::uint32_t rounds = is_instrumented ? 1000 : 10'000;
    const auto open_descriptors = [] {
        return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
    };
    const auto before = open_descriptors();
    for (std::uint32_t i = 0; i < rounds; ++i) {
        const endpoint_id one = open();
        ASSERT_LT(one.index, 4U);
        port().close(one);
        ASSERT_TRUE(turn_until_closed(one));
        port().release(one);
    }
    turn_at_once();
    EXPECT_EQ(open_descriptors(), before);
    EXPECT_EQ(port().stats().unexplained(), 0U);
}

}  // namespace
}  // namespace quoit::test
