// SPDX-License-Identifier: MIT
//
// The contract of io_backend (backend/backend.hpp), on the backends that the kernel has: rules 11
// and 12, streams and listeners.
#include "engine/backend/contract_test.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace quoit::test {
namespace {

// A TCP socket of the test's own: blocking, but for what the kernel has not got.
class tcp_socket {
  public:
    explicit tcp_socket(int fd = -1) : fd_(fd) {}
    tcp_socket(tcp_socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    tcp_socket& operator=(tcp_socket&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~tcp_socket() { close(); }
    void close() {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }
    [[nodiscard]] int fd() const { return fd_; }

    [[nodiscard]] static tcp_socket listening() {
        tcp_socket made(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        sockaddr_in name = loopback(0);
        EXPECT_EQ(::bind(made.fd_, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
        EXPECT_EQ(::listen(made.fd_, 128), 0);
        return made;
    }
    [[nodiscard]] static tcp_socket connected_to(const tcp_socket& listener) {
        tcp_socket made(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in name = listener.name();
        EXPECT_EQ(::connect(made.fd_, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
        return made;
    }
    [[nodiscard]] static sockaddr_in loopback(std::uint16_t port) {
        sockaddr_in name{};
        name.sin_family = AF_INET;
        name.sin_port = htons(port);
        name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return name;
    }
    [[nodiscard]] sockaddr_in name() const {
        sockaddr_in found{};
        socklen_t size = sizeof found;
        EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&found), &size), 0);
        return found;
    }
    // Whole, or the test fails. The backend must not be needed to read it.
    void write(std::string_view text) const {
        EXPECT_EQ(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(text.size()));
    }
    // Closing sends a reset.
    void make_closing_rude() const {
        const linger rude{.l_onoff = 1, .l_linger = 0};
        EXPECT_EQ(::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &rude, sizeof rude), 0);
    }
    // The other end has closed: reading finds the end, or a reset, within a few seconds.
    [[nodiscard]] bool is_closed_by_peer() const {
        const timeval limit{.tv_sec = 5, .tv_usec = 0};
        EXPECT_EQ(::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
        char unused = 0;
        const auto got = ::recv(fd_, &unused, 1, 0);
        return got == 0 || (got < 0 && errno == ECONNRESET);
    }

  private:
    int fd_ = -1;
};

struct stream_pair {
    tcp_socket ours;  // what the backend has
    tcp_socket peer;
};
stream_pair make_pair() {
    const tcp_socket listener = tcp_socket::listening();
    stream_pair made;
    made.peer = tcp_socket::connected_to(listener);
    // It is in the queue when connect() has returned.
    made.ours =
        tcp_socket(::accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    EXPECT_GE(made.ours.fd(), 0);
    return made;
}

class stream_contract : public contract {
  protected:
    [[nodiscard]] bool has_ended(const receiver& one) {
        return count(one, event_kind::end_of_stream) + count(one, event_kind::failed) > 0;
    }
};

std::vector<backend_kind> backends_of_the_kernel() {
    std::vector<backend_kind> found = backends_built();
    std::erase(found, backend_kind::fake);
    std::erase(found, backend_kind::watched_fake);
    return found;
}

INSTANTIATE_TEST_SUITE_P(, stream_contract, ::testing::ValuesIn(backends_of_the_kernel()),
                         backend_name);

TEST_P(stream_contract, BytesComeInOrderAndThenTheEndOnce) {
    start();
    const stream_pair both = make_pair();
    const receiver stream = attach_stream(both.ours.fd(), source_kind::stream);
    std::string sent;
    for (const std::size_t size : {1UL, 2111UL, 2112UL, 2113UL, 20'000UL, 1UL}) {
        const std::string part = pattern(size);
        both.peer.write(part);
        sent += part;
        ASSERT_TRUE(turn_until([&] { return bytes(stream).size() == sent.size(); }, "all bytes"));
    }
    EXPECT_EQ(bytes(stream), sent);
    ASSERT_EQ(::shutdown(both.peer.fd(), SHUT_WR), 0);
    ASSERT_TRUE(turn_until([&] { return has_ended(stream); }, "the end"));
    turn_at_once();
    EXPECT_EQ(count(stream, event_kind::end_of_stream), 1U);
    EXPECT_EQ(count(stream, event_kind::failed), 0U);
    detach_and_close(stream);
}

TEST_P(stream_contract, WhatWaitedBeforeAttachingComesWithItsEnd) {
    start();
    stream_pair both = make_pair();
    both.peer.write("hello");
    both.peer.close();
    const receiver stream = attach_stream(both.ours.fd(), source_kind::stream);
    ASSERT_TRUE(turn_until([&] { return has_ended(stream); }, "the end"));
    EXPECT_EQ(bytes(stream), "hello");
    EXPECT_EQ(count(stream, event_kind::end_of_stream), 1U);
    detach_and_close(stream);
}

TEST_P(stream_contract, AResetComesBehindTheBytesThatWereThereOnce) {
    start();
    stream_pair both = make_pair();
    const receiver stream = attach_stream(both.ours.fd(), source_kind::stream);
    both.peer.write("half a pack");
    ASSERT_TRUE(turn_until([&] { return !bytes(stream).empty(); }, "bytes"));
    both.peer.make_closing_rude();
    both.peer.close();
    ASSERT_TRUE(turn_until([&] { return has_ended(stream); }, "the reset"));
    turn_at_once();
    EXPECT_EQ(count(stream, event_kind::failed), 1U);
    EXPECT_EQ(events().back().value, static_cast<std::uint32_t>(ECONNRESET));
    EXPECT_EQ(count(stream, event_kind::end_of_stream), 0U);
    detach_and_close(stream);
}

// EPOLLHUP and EPOLLERR cannot be turned off; a multishot that ended must not be armed again.
TEST_P(stream_contract, AStreamThatIsOverCostsNoTurn) {
    start();
    stream_pair both = make_pair();
    const receiver stream = attach_stream(both.ours.fd(), source_kind::stream);
    both.peer.make_closing_rude();
    both.peer.close();
    ASSERT_TRUE(turn_until([&] { return has_ended(stream); }, "the end"));
    backend().set(stream.id, interest::receive);
    turn_at_once();
    if (GetParam() != backend_kind::spinning_epoll) {  // which never waits
        const auto turns_before = ledger().turns.get();
        const auto events_before = events().size();
        std::thread waker([this] { backend().wake(); });
        turn(no_deadline);  // waits for that
        waker.join();
        EXPECT_EQ(ledger().turns.get(), turns_before + 1);
        EXPECT_EQ(events().size(), events_before);
    }
    detach_and_close(stream);
}

TEST_P(stream_contract, APausedStreamLeavesItsBytesInTheKernel) {
    start();
    const stream_pair both = make_pair();
    const receiver stream = attach_stream(both.ours.fd(), source_kind::stream, true);
    both.peer.write("one");
    turn_at_once();
    EXPECT_EQ(bytes(stream), "");
    backend().set(stream.id, interest::receive);
    ASSERT_TRUE(turn_until([&] { return bytes(stream) == "one"; }, "the first"));
    backend().set(stream.id, interest::pause);
    turn_at_once();
    both.peer.write("two");
    turn_at_once();
    EXPECT_EQ(bytes(stream), "one");
    backend().set(stream.id, interest::receive);
    ASSERT_TRUE(turn_until([&] { return bytes(stream) == "onetwo"; }, "the second"));
    detach_and_close(stream);
}

TEST_P(stream_contract, APausedStreamThatIsResetIsQuietUntilItIsReadAgain) {
    start();
    stream_pair both = make_pair();
    const receiver stream = attach_stream(both.ours.fd(), source_kind::stream);
    turn_at_once();
    backend().set(stream.id, interest::pause);
    turn_at_once();
    both.peer.make_closing_rude();
    both.peer.close();
    turn_at_once();
    EXPECT_FALSE(has_ended(stream));
    backend().set(stream.id, interest::receive);
    ASSERT_TRUE(turn_until([&] { return has_ended(stream); }, "the reset"));
    EXPECT_EQ(count(stream, event_kind::failed), 1U);
    detach_and_close(stream);
}

TEST_P(stream_contract, WithoutBuffersAStreamStarvesAndGoesOn) {
    start({.small_count = 8});
    const stream_pair both = make_pair();
    const receiver stream = attach_stream(both.ours.fd(), source_kind::stream);
    set_leases(leases::keep);
    const std::string sent = pattern(64 * 1024);
    both.peer.write(sent);
    ASSERT_TRUE(turn_until([&] { return count(stream, event_kind::starved) == 1; }, "starved"));
    EXPECT_EQ(held(), 8U);
    set_leases(leases::give_back);
    release_held();
    ASSERT_TRUE(turn_until([&] { return bytes(stream).size() == sent.size(); }, "the rest"));
    EXPECT_EQ(bytes(stream), sent);
    detach_and_close(stream);
}

TEST_P(stream_contract, AConnectionThatComesAboutSaysWritable) {
    start();
    const tcp_socket listener = tcp_socket::listening();
    const tcp_socket ours(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_in name = listener.name();
    static_cast<void>(::connect(ours.fd(), reinterpret_cast<sockaddr*>(&name), sizeof name));
    const receiver stream = attach_stream(ours.fd(), source_kind::stream, true);
    backend().set(stream.id, interest::writable);
    ASSERT_TRUE(turn_until([&] { return count(stream, event_kind::writable) == 1; }, "writable"));
    const tcp_socket peer(::accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    backend().set(stream.id, interest::receive);
    peer.write("welcome");
    ASSERT_TRUE(turn_until([&] { return bytes(stream) == "welcome"; }, "a welcome"));
    EXPECT_EQ(count(stream, event_kind::writable), 1U);
    detach_and_close(stream);
}

TEST_P(stream_contract, AConnectionThatIsRefusedSaysWritableToo) {
    start();
    sockaddr_in name{};
    {
        const tcp_socket gone = tcp_socket::listening();
        name = gone.name();
    }
    const tcp_socket ours(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    static_cast<void>(::connect(ours.fd(), reinterpret_cast<sockaddr*>(&name), sizeof name));
    const receiver stream = attach_stream(ours.fd(), source_kind::stream, true);
    backend().set(stream.id, interest::writable);
    ASSERT_TRUE(turn_until([&] { return count(stream, event_kind::writable) == 1; }, "writable"));
    turn_at_once();
    EXPECT_EQ(count(stream, event_kind::writable), 1U);
    EXPECT_FALSE(has_ended(stream));  // it is not read
    detach_and_close(stream);
}

TEST_P(stream_contract, AListenerGivesOneConnectionEachTimeItIsAsked) {
    start();
    const tcp_socket listening = tcp_socket::listening();
    const receiver listener = attach_stream(listening.fd(), source_kind::listener);
    std::vector<tcp_socket> clients;
    constexpr std::size_t clients_wanted = 50;
    for (std::size_t i = 0; i < clients_wanted; ++i) {
        clients.push_back(tcp_socket::connected_to(listening));
    }
    for (std::size_t i = 1; i <= clients_wanted; ++i) {
        ASSERT_TRUE(turn_until([&] { return accepted(listener).size() >= i; }, "a connection"));
        turn_at_once(2);
        ASSERT_EQ(accepted(listener).size(), i);
        backend().set(listener.id, interest::receive);
    }
    // Each is one of the clients', in the order in which they came.
    for (std::size_t i = 0; i < clients_wanted; ++i) {
        const int ours = accepted(listener)[i];
        EXPECT_TRUE((::fcntl(ours, F_GETFL) & O_NONBLOCK) != 0);
        EXPECT_TRUE((::fcntl(ours, F_GETFD) & FD_CLOEXEC) != 0);
        ASSERT_EQ(::send(ours, &i, sizeof i, 0), static_cast<ssize_t>(sizeof i));
        std::size_t got = 0;
        ASSERT_EQ(::recv(clients[i].fd(), &got, sizeof got, MSG_WAITALL),
                  static_cast<ssize_t>(sizeof got));
        EXPECT_EQ(got, i);
        ::close(ours);
    }
    detach_and_close(listener);
}

TEST_P(stream_contract, APausedListenerLeavesConnectionsInTheKernel) {
    start();
    const tcp_socket listening = tcp_socket::listening();
    const receiver listener = attach_stream(listening.fd(), source_kind::listener, true);
    const tcp_socket client = tcp_socket::connected_to(listening);
    turn_at_once();
    EXPECT_EQ(accepted(listener).size(), 0U);
    backend().set(listener.id, interest::receive);
    ASSERT_TRUE(turn_until([&] { return accepted(listener).size() == 1; }, "a connection"));
    ::close(accepted(listener).front());
    detach_and_close(listener);
}

// The listener has been armed, and the kernel may have accepted for it; nobody was told.
TEST_P(stream_contract, AConnectionThatIsOnItsWayIsClosedWithItsListener) {
    start();
    tcp_socket listening = tcp_socket::listening();
    const receiver listener = attach_stream(listening.fd(), source_kind::listener);
    turn_at_once();
    const tcp_socket client = tcp_socket::connected_to(listening);
    backend().detach(listener.id);
    ASSERT_TRUE(
        turn_until([&] { return count(listener, event_kind::detached) == 1; }, "`detached`"));
    EXPECT_EQ(accepted(listener).size(), 0U);
    listening.close();
    EXPECT_TRUE(client.is_closed_by_peer());
}

TEST_P(stream_contract, AConnectionThatIsOnItsWayIsClosedWithTheBackend) {
    start();
    tcp_socket listening = tcp_socket::listening();
    const receiver listener = attach_stream(listening.fd(), source_kind::listener);
    turn_at_once();
    const tcp_socket client = tcp_socket::connected_to(listening);
    destroy_backend();
    EXPECT_EQ(accepted(listener).size(), 0U);
    listening.close();
    EXPECT_TRUE(client.is_closed_by_peer());
}

TEST_P(stream_contract, WithoutDescriptorsAListenerFailsOnceAndGoesOnWhenItIsAsked) {
    start();
    const tcp_socket listening = tcp_socket::listening();
    const receiver listener = attach_stream(listening.fd(), source_kind::listener, true);
    const tcp_socket client = tcp_socket::connected_to(listening);
    turn_at_once();
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    const int highest = ::dup(listening.fd());
    const rlimit none{.rlim_cur = static_cast<rlim_t>(highest), .rlim_max = before.rlim_max};
    ::close(highest);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    backend().set(listener.id, interest::receive);
    const bool has_failed =
        turn_until([&] { return count(listener, event_kind::failed) == 1; }, "failed");
    turn_at_once();
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    ASSERT_TRUE(has_failed);
    EXPECT_EQ(count(listener, event_kind::failed), 1U);
    EXPECT_EQ(events().back().value, static_cast<std::uint32_t>(EMFILE));
    backend().set(listener.id, interest::receive);
    ASSERT_TRUE(turn_until([&] { return accepted(listener).size() == 1; }, "a connection"));
    ::close(accepted(listener).front());
    detach_and_close(listener);
}

TEST_P(stream_contract, DetachingEndsAStreamThatIsReceiving) {
    start();
    const stream_pair both = make_pair();
    const receiver stream = attach_stream(both.ours.fd(), source_kind::stream);
    turn_at_once();
    both.peer.write("on its way");
    backend().detach(stream.id);
    ASSERT_TRUE(turn_until([&] { return count(stream, event_kind::detached) == 1; }, "detached"));
    both.peer.write("too late");
    turn_at_once();
    EXPECT_FALSE(bytes(stream).ends_with("too late"));
}

// Its socket always has more than there are buffers, as that of a slow reader has.
TEST_P(stream_contract, AFloodDoesNotTakeEveryBufferFromTheOthersHoweverSlowTheReader) {
    start({.small_count = 8});
    const stream_pair loud = make_pair();
    const stream_pair quiet = make_pair();
    const receiver flood = attach_stream(loud.ours.fd(), source_kind::stream);
    const receiver other = attach_stream(quiet.ours.fd(), source_kind::stream);
    set_leases(leases::keep);
    const std::string much = pattern(256 * 1024);
    const auto slow_turn = [&] {
        while (::send(loud.peer.fd(), much.data(), much.size(), MSG_DONTWAIT) > 0) {
        }
        turn(at_once);
        release_held();
    };
    for (int i = 0; i < 10; ++i)
        slow_turn();
    constexpr std::size_t packets = 20;
    for (std::size_t i = 1; i <= packets; ++i) {
        quiet.peer.write("x");
        for (int turns = 0; turns < 10 && bytes(other).size() < i; ++turns)
            slow_turn();
        ASSERT_EQ(bytes(other).size(), i) << "not served within ten turns";
    }
    EXPECT_GT(bytes(flood).size(), packets * 2112);
    set_leases(leases::give_back);
    detach_and_close(flood);
    detach_and_close(other);
}

// An end needs no buffer to be told, and takes none from who comes after it.
TEST_P(stream_contract, EndsAreToldToAllWhoStarvedThoughNothingMoreIsReceived) {
    start({.small_count = 8, .source_count_max = 64});
    std::vector<stream_pair> pairs;
    std::vector<receiver> streams;
    for (int i = 0; i < 40; ++i) {
        pairs.push_back(make_pair());
        streams.push_back(attach_stream(pairs.back().ours.fd(), source_kind::stream));
    }
    turn_at_once();
    for (int i = 0; i < 8; ++i)
        pairs[static_cast<std::size_t>(i)].peer.write("x");
    for (std::size_t i = 8; i < pairs.size(); ++i)
        pairs[i].peer.close();
    const auto all_know = [&] {
        return std::all_of(streams.begin() + 8, streams.end(),
                           [&](const receiver& one) { return has_ended(one); });
    };
    EXPECT_TRUE(turn_until(all_know, "every end"));
    for (const receiver& one : streams)
        detach_and_close(one);
}

// One that never stops sending must not keep the others from being served.
TEST_P(stream_contract, AFloodingStreamLeavesRoomForAQuietOne) {
    start({.small_count = 16});
    const stream_pair loud = make_pair();
    const stream_pair quiet = make_pair();
    const receiver flood = attach_stream(loud.ours.fd(), source_kind::stream);
    const receiver other = attach_stream(quiet.ours.fd(), source_kind::stream);
    std::atomic<bool> is_over = false;
    std::thread flooder([&] {
        const std::string much = pattern(64 * 1024);
        while (!is_over)
            static_cast<void>(::send(loud.peer.fd(), much.data(), much.size(), MSG_DONTWAIT));
    });
    EXPECT_TRUE(turn_until([&] { return bytes(flood).size() > 1'000'000; }, "a flood"));
    quiet.peer.write("me too");
    EXPECT_TRUE(turn_until([&] { return bytes(other) == "me too"; }, "the quiet one"));
    is_over = true;
    flooder.join();
    detach_and_close(flood);
    detach_and_close(other);
}

}  // namespace
}  // namespace quoit::test
