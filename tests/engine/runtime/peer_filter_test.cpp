// SPDX-License-Identifier: MIT
#include "net/peer_filter.hpp"
#include "support/port_fixture.hpp"

#include <gtest/gtest.h>

#include <string>

namespace quoit::test {
namespace {

using detail::peer_filter;

class peer_filters : public ::testing::TestWithParam<const char*> {
  protected:
    static address somewhere() { return address(ip::parse(GetParam()).value(), 0); }
};

TEST_P(peer_filters, LetsOnePeersDatagramsIn) {
    const foreign_socket socket(somewhere());
    const foreign_socket peer(somewhere());
    const foreign_socket stranger(somewhere());
    const peer_filter filter(peer.local());
    EXPECT_FALSE(filter.is_on(socket.descriptor()));
    EXPECT_FALSE(detail::has_filter(socket.descriptor()));
    ASSERT_EQ(filter.attach_to(socket.descriptor()), 0);
    EXPECT_TRUE(filter.is_on(socket.descriptor()));
    EXPECT_TRUE(detail::has_filter(socket.descriptor()));
    EXPECT_FALSE(peer_filter(stranger.local()).is_on(socket.descriptor()));
    ASSERT_EQ(stranger.send("psst", socket.local()), 0);
    ASSERT_EQ(peer.send("hello", socket.local()), 0);
    ASSERT_EQ(stranger.send("psst", socket.local()), 0);
    ASSERT_EQ(peer.send("", socket.local()), 0);
    EXPECT_EQ(socket.receive(), "hello");
    EXPECT_EQ(socket.receive(), "");
    EXPECT_FALSE(socket.has_datagram());
    ASSERT_EQ(peer_filter(stranger.local()).attach_to(socket.descriptor()), 0);
    ASSERT_EQ(peer.send("hello", socket.local()), 0);
    ASSERT_EQ(stranger.send("now I", socket.local()), 0);
    EXPECT_EQ(socket.receive(), "now I");
}

INSTANTIATE_TEST_SUITE_P(, peer_filters, ::testing::Values("127.0.0.1", "::1"),
                         [](const auto& each) {
                             return std::string(each.index == 0 ? "ipv4" : "ipv6");
                         });

// The same port on another host.
TEST(peer_filter, TellsHostsApart) {
    const foreign_socket socket(address("127.0.0.1", 0));
    const foreign_socket peer(address("127.0.0.1", 0));
    const foreign_socket other(address("127.0.0.2", peer.local().port()));
    ASSERT_EQ(peer_filter(peer.local()).attach_to(socket.descriptor()), 0);
    ASSERT_EQ(other.send("psst", socket.local()), 0);
    EXPECT_FALSE(socket.has_datagram());
    EXPECT_FALSE(peer_filter(other.local()).is_on(socket.descriptor()));
    ASSERT_EQ(peer.send("hello", socket.local()), 0);
    EXPECT_EQ(socket.receive(), "hello");
}

}  // namespace
}  // namespace quoit::test
