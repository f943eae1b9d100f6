// SPDX-License-Identifier: MIT
//
// UNIX endpoints of a bare port: what is theirs and what is not, and that what a port had on its
// way is closed with it. What they do is in integration/acceptance_unix_test.cpp.
#include "engine/runtime/port_test.hpp"

#include <quoit/unix_datagram.hpp>

#include <sys/un.h>

#include <cstddef>
#include <optional>

namespace quoit::test {
namespace {

std::size_t open_descriptors() {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

/// A socket with a name of the kernel's, nobody of ours: what it does not read stays unread.
class foreign_unix {
  public:
    foreign_unix() : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
        sockaddr_un own{};
        own.sun_family = AF_UNIX;
        auto* const raw = reinterpret_cast<sockaddr*>(&own);
        EXPECT_EQ(::bind(fd_, raw, sizeof own.sun_family), 0);
        socklen_t size = sizeof own;
        EXPECT_EQ(::getsockname(fd_, raw, &size), 0);
        const std::size_t before_name = offsetof(sockaddr_un, sun_path) + 1;
        name_ = unix_address::abstract({own.sun_path + 1, size - before_name});
    }
    foreign_unix(const foreign_unix&) = delete;
    foreign_unix& operator=(const foreign_unix&) = delete;
    ~foreign_unix() { ::close(fd_); }
    [[nodiscard]] const unix_address& name() const noexcept { return name_; }
    /// Reads all there is; 1, so that it can be a part of a condition.
    [[nodiscard]] int take() const noexcept {
        char byte = 0;
        while (::recv(fd_, &byte, 1, MSG_TRUNC) >= 0) {
        }
        return 1;
    }

  private:
    int fd_;
    unix_address name_;
};

class port_unix : public port_test {
  protected:
    endpoint_id open_unix(const unix_address& where = {},
                          const unix_options& options = {.descriptors_max = 16}) {
        const auto opened = port().open_unix(where, options);
        EXPECT_TRUE(opened.has_value()) << opened.error();
        return opened.value_or(endpoint_id{});
    }
    endpoint_id open_unix_connection(const unix_address& peer) {
        const auto opened = port().open_unix_connection(peer);
        EXPECT_TRUE(opened.has_value()) << opened.error();
        return opened.value_or(endpoint_id{});
    }
    bool turn_without_allocating_until_readable(endpoint_id endpoint) {
        const auto give_up_at = std::chrono::steady_clock::now() + patience;
        while (port().readable_count(endpoint) == 0) {
            if (std::chrono::steady_clock::now() > give_up_at) return false;
            turn();
        }
        return true;
    }
    status send_with(endpoint_id from, byte_view payload, std::span<const int> descriptors) {
        return port().send(from, std::span(&payload, 1), {.descriptors = descriptors});
    }
};

TEST_P(port_unix, ADatagramIsReceivedWithItsPeerAndItsDescriptors) {
    start();
    const endpoint_id server = open_unix();
    const endpoint_id client = open_unix_connection(port().unix_local_address(server));
    EXPECT_EQ(port().unix_peer_address(client), port().unix_local_address(server));
    EXPECT_FALSE(port().unix_peer_address(server).has_value());
    const int passed[] = {0};
    EXPECT_TRUE(send_with(client, "hello", passed));
    ASSERT_TRUE(turn_until_readable(server, 1));
    unix_datagram received(*port().receive(server));
    EXPECT_EQ(received.text(), "hello");
    EXPECT_EQ(received.peer(), port().unix_local_address(client));
    EXPECT_EQ(received.take_descriptors().size(), 1U);
    expect_balanced(server);
    expect_balanced(client);
}

TEST_P(port_unix, AnEndpointTakesDestinationsOfItsOwnKindOnly) {
    start();
    const endpoint_id local = open_unix();
    const endpoint_id client = open_unix_connection(port().unix_local_address(local));
    const endpoint_id udp = open();
    const byte_view x("x");
    const std::span piece(&x, 1);
    EXPECT_EQ(sendto(local, x, any_port.with_port(1)), errc::wrong_family);
    EXPECT_EQ(sendto(client, x, any_port.with_port(1)), errc::wrong_family);
    EXPECT_EQ(send(client, x), errc::not_connected);
    EXPECT_EQ(port().sendto(udp, piece, port().unix_local_address(local)), errc::wrong_family);
    EXPECT_EQ(port().send(udp, piece, ancillary{}), errc::wrong_family);
    EXPECT_TRUE(port().local_addresses(local).empty());
    const multicast_options groups = port().multicast(local);
    EXPECT_FALSE(groups.ttl || groups.loopback || groups.interface);
    EXPECT_TRUE(port().unix_local_address(udp).is_unnamed());
    EXPECT_EQ(port().sendto(endpoint_id{}, piece, "nobody"), errc::closed);
}

TEST_P(port_unix, ADatagramOfAUdpEndpointHasNothingBesideItsPayload) {
    start();
    const endpoint_id server = open();
    const foreign_socket client;
    ASSERT_EQ(client.send("hello", local(server)), 0);
    ASSERT_TRUE(turn_until_readable(server, 1));
    unix_datagram received(*port().receive(server));
    EXPECT_EQ(received.text(), "hello");
    EXPECT_TRUE(received.peer().is_unnamed());
    EXPECT_TRUE(received.take_descriptors().empty());
    EXPECT_FALSE(received.credentials().has_value());
    EXPECT_FALSE(received.ancillary_truncated());
}

TEST_P(port_unix, EndpointsWithSmallPayloadsUseSmallBuffers) {
    start({.small_buffer_count = 8, .large_buffer_count = 16});
    const endpoint_id server = open_unix({}, {.payload_size_max = 1000});
    const endpoint_id client = open_unix_connection(port().unix_local_address(server));
    const byte_view x("x");
    for (int i = 0; i < 8; ++i)
        EXPECT_TRUE(port().send(client, std::span(&x, 1), ancillary{}));
    ASSERT_TRUE(turn_until_readable(server, 8));
    EXPECT_EQ(port().stats(server).leases_held, 8U);
    EXPECT_EQ(port().engine_stats().buffers_held, 8U);
    std::vector<datagram> all;
    for (int i = 0; i < 8; ++i)
        all.push_back(*port().receive(server));
    EXPECT_EQ(all.back().text(), "x");
}

TEST_P(port_unix, ReadingAndAnsweringAllocatesNothingOnceWarm) {
    start();
    const endpoint_id server = open_unix();
    const endpoint_id client = open_unix_connection(port().unix_local_address(server));
    const byte_view x("a datagram");
    const std::span piece(&x, 1);
    std::size_t allocated = 0;
    for (int i = 0; i < 200; ++i) {
        const bool is_warm = i >= 100;
        std::optional<allocation_meter> meter;
        if (is_warm) meter.emplace();
        EXPECT_TRUE(port().send(client, piece, ancillary{}));
        ASSERT_TRUE(turn_without_allocating_until_readable(server));
        {
            const unix_datagram request(*port().receive(server));
            EXPECT_TRUE(port().sendto(server, piece, request.peer()));
        }
        ASSERT_TRUE(turn_without_allocating_until_readable(client));
        static_cast<void>(port().receive(client));
        if (is_warm) allocated += meter->count();
    }
    EXPECT_EQ(allocated, 0U);
}

TEST_P(port_unix, APortThatGoesClosesDescriptorsOnTheirWayAndRemovesItsPaths) {
    const std::size_t before = open_descriptors();
    std::string path = std::filesystem::temp_directory_path() / "quoit-port-unix-";
    path += std::to_string(::getpid());
    start();
    static_cast<void>(open());  // of another kind
    const endpoint_id server = open_unix(path);
    const endpoint_id client = open_unix_connection(path);
    turn_at_once();
    const int passed[] = {0, 1};
    for (int i = 0; i < 8; ++i)
        EXPECT_TRUE(send_with(client, "on its way", passed));
    port().flush();
    // The ring looks at what has come; nobody reads it.
    port().release(client);
    EXPECT_TRUE(std::filesystem::exists(path));
    EXPECT_FALSE(port().is_closing(server));
    destroy_port();
    EXPECT_EQ(open_descriptors(), before);
    EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_P(port_unix, APeerThatDoesNotReadLongDatagramsStarvesNobody) {
    start();
    const endpoint_id server = open_unix();
    const endpoint_id good = open_unix();
    const foreign_unix slow;
    const std::string large(30'000, 'x');
    const byte_view payload(large);
    for (int i = 0; i < 8; ++i)
        EXPECT_TRUE(port().sendto(server, std::span(&payload, 1), slow.name()));
    const byte_view small("hello");
    for (int i = 0; i < 20; ++i)
        EXPECT_TRUE(port().sendto(server, std::span(&small, 1), port().unix_local_address(good)));
    ASSERT_TRUE(turn_until_readable(good, 20));
    EXPECT_EQ(port().stats(server).sent.errors, 0U);
}

TEST_P(port_unix, AFullSendBufferHoldsWhatIsSentAndLosesNothing) {
    start();
    // Room for a few of them only; and together too little for a flush before its time.
    const endpoint_id server = open_unix({}, {.send_buffer_size = 64U << 10U});
    const foreign_unix slow;
    const foreign_unix good;
    const std::string large(30'000, 'x');
    const byte_view payload(large);
    for (int i = 0; i < 6; ++i)
        EXPECT_TRUE(port().sendto(server, std::span(&payload, 1), slow.name()));
    const byte_view small("hello");
    EXPECT_TRUE(port().sendto(server, std::span(&small, 1), good.name()));
    port().flush();
    EXPECT_EQ(port().stats(server).sent.blocked, 1U);  // not once for each of them
    EXPECT_GT(port().stats(server).sent.waiting, 0U);
    // A retry is no news, so no turn ends with it: short ones.
    const auto give_up_at = std::chrono::steady_clock::now() + patience;
    while (port().stats(server).sent.waiting > 0 && std::chrono::steady_clock::now() < give_up_at) {
        static_cast<void>(slow.take() + good.take());
        turn(std::chrono::steady_clock::now() + std::chrono::milliseconds(5));
    }
    EXPECT_EQ(port().stats(server).sent.sent, 7U);
}

TEST_P(port_unix, AClosingClientWaitsASecondForAServerThatDoesNotRead) {
    start();
    const foreign_unix server;
    const endpoint_id client = open_unix_connection(server.name());
    const byte_view x("x");
    for (int i = 0; i < 30; ++i)
        EXPECT_TRUE(port().send(client, std::span(&x, 1), ancillary{}));
    port().flush();
    ASSERT_GT(port().stats(client).sent.waiting, 0U);
    port().close(client);
    ASSERT_TRUE(turn_until([&] { return port().is_closed(client); }, "closed"));
    const send_stats sent = port().stats(client).sent;
    EXPECT_EQ(sent.sent + sent.errors, 30U);
    EXPECT_GT(sent.errors, 0U);
    EXPECT_EQ(sent.reasons[0].error, EAGAIN);
}

TEST_P(port_unix, AForkedChildLeavesThePathToItsParent) {
    const std::string path =
        std::filesystem::temp_directory_path() / ("quoit-port-fork-" + std::to_string(::getpid()));
    start();
    const endpoint_id server = open_unix(path);
    const pid_t child = ::fork();
    if (child == 0) {
        const bool is_refused = !port().open_unix({}) && !port().open_unix_connection(path);
        port().close(server);
        port().release(server);
        destroy_port();
        ::_exit(is_refused ? 0 : 1);
    }
    int outcome = -1;
    ASSERT_EQ(::waitpid(child, &outcome, 0), child);
    EXPECT_EQ(outcome, 0);
    EXPECT_TRUE(std::filesystem::exists(path));
    port().release(server);
    EXPECT_FALSE(std::filesystem::exists(path));
}

INSTANTIATE_TEST_SUITE_P(, port_unix, ::testing::ValuesIn(port_parameters()), port_parameter_name);

}  // namespace
}  // namespace quoit::test
