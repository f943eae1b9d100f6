// SPDX-License-Identifier: MIT
//
// The acceptance cases of UNIX datagrams, U01 and U02 (docs/testing.md): names, modes, peers,
// destinations that do not read; descriptors and credentials. On real sockets, in a directory of
// each case's own, through the coroutine facade. Descriptors are counted in /proc/self/fd.
#include "integration/acceptance_fixture.hpp"

#include <quoit/unix.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <atomic>
#include <span>

namespace quoit::test {

namespace {

using quoit::errc;

// --- the surroundings ---

/// Removed with what is in it. Throws std::system_error.
class temporary_directory {
  public:
    temporary_directory() {
        if (::mkdtemp(path_.data()) == nullptr) throw_errno("mkdtemp");
    }
    temporary_directory(const temporary_directory&) = delete;
    temporary_directory& operator=(const temporary_directory&) = delete;
    ~temporary_directory() {
        DIR* const all = ::opendir(path_.c_str());
        while (const dirent* const one = ::readdir(all))
            ::unlink((path_ + "/" + one->d_name).c_str());
        ::closedir(all);
        ::rmdir(path_.c_str());
    }
    [[nodiscard]] std::string operator/(const std::string& name) const {
        return path_ + "/" + name;
    }

  private:
    std::string path_ = "/tmp/quoit-test-XXXXXX";
};

bool exists(const std::string& path) {
    struct stat found{};
    return ::lstat(path.c_str(), &found) == 0;
}

unsigned mode_of(const std::string& path) {
    struct stat found{};
    if (::lstat(path.c_str(), &found) != 0) throw_errno("lstat");
    return found.st_mode & 07777U;
}

class umask_scope {
  public:
    explicit umask_scope(mode_t mask) : before_(::umask(mask)) {}
    umask_scope(const umask_scope&) = delete;
    umask_scope& operator=(const umask_scope&) = delete;
    ~umask_scope() { ::umask(before_); }

  private:
    mode_t before_;
};

/// Descriptors this process has open.
std::size_t open_descriptors() {
    DIR* const all = ::opendir("/proc/self/fd");
    if (all == nullptr) throw_errno("opendir");
    std::size_t count = 0;
    while (::readdir(all) != nullptr)
        ++count;
    ::closedir(all);
    return count;
}

/// Both ends of a pipe: what is passed, and whether it is still open anywhere.
class probe_pipe {
  public:
    probe_pipe() {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw_errno("pipe2");
        reading = file_descriptor(ends[0]);
        writing = file_descriptor(ends[1]);
    }
    /// What was written into it.
    [[nodiscard]] std::string read() const {
        char bytes[64];
        const auto size = ::read(reading.get(), bytes, sizeof bytes);
        return size < 0 ? std::string() : std::string(bytes, static_cast<std::size_t>(size));
    }
    /// Nobody has the writing end any more.
    [[nodiscard]] bool is_at_end() const {
        char byte = 0;
        return ::read(reading.get(), &byte, 1) == 0;
    }
    file_descriptor reading, writing;
};

// No aggregate: see docs/coroutines.md.
class foreign_message {
  public:
    foreign_message(std::string text, const unix_address& sender)
        : payload(std::move(text)), from(sender) {}
    std::string payload;
    unix_address from;
};

/// An ordinary UNIX datagram socket. Its addresses are made by hand. Throws std::system_error.
class foreign_unix {
  public:
    /// Without a name.
    foreign_unix() : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
        if (!fd_.is_open()) throw_errno("socket");
    }
    explicit foreign_unix(const unix_address& where) : foreign_unix() {
        sockaddr_un name{};
        const socklen_t size = write(name, where);
        if (::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&name), size) != 0) {
            throw_errno("bind");
        }
    }
    [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }
    [[nodiscard]] unix_address local() const {
        sockaddr_un name{};
        socklen_t size = sizeof name;
        if (::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&name), &size) != 0) {
            throw_errno("getsockname");
        }
        return read(name, size);
    }
    void sendto(std::string_view payload, const unix_address& to,
                std::span<const int> descriptors = {}) const {
        if (try_sendto(payload, to, descriptors) != 0) throw_errno("sendmsg");
    }
    /// 0, or -1 and errno.
    int try_sendto(std::string_view payload, const unix_address& to,
                   std::span<const int> descriptors = {}) const {
        sockaddr_un name{};
        msghdr message{};
        message.msg_name = &name;
        message.msg_namelen = write(name, to);
        iovec piece{.iov_base = const_cast<char*>(payload.data()), .iov_len = payload.size()};
        message.msg_iov = &piece;
        message.msg_iovlen = 1;
        std::vector<char> control(CMSG_SPACE(descriptors.size_bytes()));
        if (!descriptors.empty()) {
            message.msg_control = control.data();
            message.msg_controllen = control.size();
            cmsghdr* const first = CMSG_FIRSTHDR(&message);
            first->cmsg_level = SOL_SOCKET;
            first->cmsg_type = SCM_RIGHTS;
            first->cmsg_len = CMSG_LEN(descriptors.size_bytes());
            std::memcpy(CMSG_DATA(first), descriptors.data(), descriptors.size_bytes());
        }
        return ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
    }
    [[nodiscard]] std::optional<foreign_message> try_receive() const {
        std::string bytes(65'536, '\0');
        sockaddr_un name{};
        socklen_t size = sizeof name;
        const auto got = ::recvfrom(fd_.get(), bytes.data(), bytes.size(), 0,
                                    reinterpret_cast<sockaddr*>(&name), &size);
        if (got < 0) {
            if (errno != EAGAIN) throw_errno("recvfrom");
            return std::nullopt;
        }
        bytes.resize(static_cast<std::size_t>(got));
        return foreign_message(std::move(bytes), read(name, size));
    }

  private:
    static socklen_t write(sockaddr_un& name, const unix_address& from) {
        name.sun_family = AF_UNIX;
        std::size_t size = 0;
        if (from.is_abstract()) name.sun_path[size++] = '\0';
        for (const char c : from.name())
            name.sun_path[size++] = c;
        return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size +
                                      (from.is_path() ? 1 : 0));
    }
    static unix_address read(const sockaddr_un& name, socklen_t size) {
        const std::size_t length = size - offsetof(sockaddr_un, sun_path);
        if (size <= offsetof(sockaddr_un, sun_path)) return {};
        if (name.sun_path[0] != '\0') return unix_address(std::string(name.sun_path));
        return unix_address::abstract({name.sun_path + 1, length - 1});
    }
    file_descriptor fd_;
};

unix_address new_abstract_name() {
    static std::atomic<int> count{0};
    return unix_address::abstract("quoit-test-" + std::to_string(::getpid()) + "-" +
                                  std::to_string(count.fetch_add(1)));
}

unix_server listen_unix(const unix_address& where,
                        const unix_options& options = {.descriptors_max = 16}) {
    return or_throw(start_unix_server(where, options));
}
unix_client connect_unix(const unix_address& where,
                         const unix_options& options = {.descriptors_max = 16}) {
    return or_throw(open_unix_connection(where, options));
}

/// REQUIRES: the socket outlives the task.
task<foreign_message> receive(const foreign_unix& at) {
    const give_up_time limit;
    auto received = at.try_receive();
    while (!received) {
        limit.check("a datagram at a foreign UNIX socket");
        or_throw(co_await next_turn());
        received = at.try_receive();
    }
    co_return *std::move(received);
}

task<> wait_until_descriptors(std::size_t count) {
    const give_up_time limit;
    while (open_descriptors() != count) {
        limit.check("descriptors to be closed");
        or_throw(co_await next_turn());
    }
}

/// REQUIRES: the endpoint outlives the task.
task<> wait_until_heard_of(const unix_endpoint& endpoint, std::uint64_t count) {
    const give_up_time limit;
    const auto heard_of = [&endpoint] {
        const receive_stats all = endpoint.stats().received;
        return all.passed + all.dropped.unnamed + all.dropped.invalid;
    };
    while (heard_of() < count) {
        limit.check("datagrams to arrive or to be dropped");
        or_throw(co_await next_turn());
    }
}

void expect_text(const result<unix_datagram>& outcome, std::string_view expected) {
    if (outcome) {
        EXPECT_EQ(outcome->text(), expected);
    } else {
        ADD_FAILURE() << "instead of \"" << expected << "\": " << outcome.error();
    }
}

// --- U01: exchange ---

task<> exchange(unix_address where) {
    auto server = listen_unix(where);
    EXPECT_EQ(server.local_address(), where);
    EXPECT_FALSE(server.peer_address().has_value());
    auto client = connect_unix(where);
    EXPECT_EQ(client.peer_address(), where);
    EXPECT_TRUE(client.send("hello"));
    auto request = or_throw(co_await server.read(patiently));
    EXPECT_EQ(request.text(), "hello");
    EXPECT_EQ(request.peer(), client.local_address());
    EXPECT_TRUE(server.reply(request, "hello yourself"));
    auto answer = or_throw(co_await client.read(patiently));
    EXPECT_EQ(answer.text(), "hello yourself");
    EXPECT_EQ(answer.peer(), where);
    EXPECT_TRUE(client.reply(answer, "thanks"));
    const auto thanks = co_await server.read(patiently);
    expect_text(thanks, "thanks");

    const foreign_unix peer(new_abstract_name());
    peer.sendto("from a stranger", where);
    const auto strange = or_throw(co_await server.read(patiently));
    EXPECT_EQ(strange.text(), "from a stranger");
    EXPECT_EQ(strange.peer(), peer.local());
    EXPECT_TRUE(server.sendto_pieces({"to ", "", "you"}, peer.local()));
    const auto heard = co_await receive(peer);
    EXPECT_EQ(heard.payload, "to you");
    EXPECT_EQ(heard.from, where);
}

TEST_P(acceptance, U01DatagramsAreExchangedByPath) {
    const temporary_directory here;
    run(exchange(here / "socket"));
}

TEST_P(acceptance, U01DatagramsAreExchangedByAbstractNameWithNulInside) {
    const std::string name = std::string("quoit\0test", 10) + std::to_string(::getpid());
    run(exchange(unix_address::abstract(name)));
}

task<> exchange_empty_and_long_ones(unix_address where) {
    auto server = listen_unix(where, {.payload_size_max = 1000});
    auto client = connect_unix(where);
    for (int i = 0; i < 100; ++i)
        client.send("");
    client.send(pattern(1000));
    client.send(pattern(65'527));
    for (int i = 0; i < 100; ++i) {
        const auto empty = or_throw(co_await server.read(patiently));
        EXPECT_TRUE(empty.is_empty());
        EXPECT_EQ(empty.peer(), client.local_address());
    }
    const auto whole = or_throw(co_await server.read(patiently));
    EXPECT_EQ(whole.text(), pattern(1000));
    EXPECT_FALSE(whole.truncated());
    const auto cut = or_throw(co_await server.read(patiently));
    EXPECT_EQ(cut.text(), pattern(65'527).substr(0, 1000));
    EXPECT_TRUE(cut.truncated());
    EXPECT_EQ(cut.original_size(), 65'527U);
    EXPECT_EQ(server.stats().received.empty, 100U);
    EXPECT_EQ(server.stats().received.truncated, 1U);
    EXPECT_EQ(client.send(pattern(65'528)), errc::message_too_long);

    auto whole_server = listen_unix({});
    server.sendto(pattern(65'527), whole_server.local_address());
    const auto largest = or_throw(co_await whole_server.read(patiently));
    EXPECT_EQ(largest.text(), pattern(65'527));
}

TEST_P(acceptance, U01EmptyDatagramsAreDatagramsAndLongOnesAreCutAndSaySo) {
    run(exchange_empty_and_long_ones(new_abstract_name()));
}

// --- U01: names ---

task<> open_a_name_in_use(std::string path) {
    auto first = listen_unix(path);
    const auto second = start_unix_server(path);
    expect_error(second, std::errc::address_in_use);
    if (!second) {
        EXPECT_EQ(second.error().message(), "listen " + path + ": Address already in use");
    }
    const auto client = open_unix_connection(path, {.local = path});
    expect_error(client, std::errc::address_in_use);
    if (!client) {
        EXPECT_EQ(client.error().message(), "bind " + path + ": Address already in use");
    }
    const foreign_unix peer(new_abstract_name());
    peer.sendto("still there?", path);
    const auto heard = co_await first.read(patiently);
    expect_text(heard, "still there?");
    EXPECT_TRUE(exists(path));
}

TEST_P(acceptance, U01ANameInUseIsAnErrorWithItsNameAndTheFirstIsUnharmed) {
    const temporary_directory here;
    run(open_a_name_in_use(here / "socket"));
}

task<> open_a_stale_name(std::string path) {
    {
        const foreign_unix gone(path);
    }
    EXPECT_TRUE(exists(path));
    const auto refused = start_unix_server(path);
    expect_error(refused, std::errc::address_in_use);
    if (!refused) {
        EXPECT_NE(refused.error().message().find("nobody listens there"), std::string::npos)
            << refused.error();
    }
    EXPECT_TRUE(exists(path));
    expect_error(open_unix_connection(path), std::errc::connection_refused);
    ::unlink(path.c_str());
    expect_error(open_unix_connection(path), std::errc::no_such_file_or_directory);
    EXPECT_TRUE(start_unix_server(path).has_value());
    co_return;
}

TEST_P(acceptance, U01AStalePathIsNotTakenOverAndTheErrorSaysSo) {
    const temporary_directory here;
    run(open_a_stale_name(here / "socket"));
}

task<> open_bad_names(std::string path) {
    const std::string too_long(109, 'x');
    expect_error(start_unix_server(too_long), errc::invalid_address);
    expect_error(open_unix_connection(too_long), errc::invalid_address);
    expect_error(open_unix_connection({}), errc::invalid_address);
    expect_error(start_unix_server(std::string("a\0b", 3)), errc::invalid_address);
    expect_error(start_unix_server(path, {.mode = 01000}), errc::invalid_option);
    expect_error(start_unix_server(path, {.descriptors_max = 254}), errc::invalid_option);
    const auto no_room = start_unix_server(path, {.descriptors_max = 253});
    expect_error(no_room, errc::invalid_option);
    if (!no_room) {
        EXPECT_NE(no_room.error().message().find("payload_size_max"), std::string::npos);
    }
    EXPECT_FALSE(exists(path));
    EXPECT_TRUE(start_unix_server(path, {.descriptors_max = 253, .payload_size_max = 60'000}));
    co_return;
}

TEST_P(acceptance, U01NamesAndOptionsOutOfRangeAreRefusedBeforeAnythingIsMade) {
    const temporary_directory here;
    run(open_bad_names(here / "socket"));
}

task<> autobind() {
    auto server = listen_unix({});
    auto other = listen_unix({});
    EXPECT_TRUE(server.local_address().is_abstract()) << server.local_address();
    EXPECT_NE(server.local_address(), other.local_address());
    auto client = connect_unix(server.local_address());
    EXPECT_TRUE(client.local_address().is_abstract());
    client.send("who am I?");
    const auto heard = or_throw(co_await server.read(patiently));
    EXPECT_EQ(heard.peer(), client.local_address());
}

TEST_P(acceptance, U01WithoutANameOneOfTheKernelsChoiceIsBound) { run(autobind()); }

// --- U01: mode ---

task<> open_with_modes(const temporary_directory& here) {
    for (const unsigned mask : {0U, 022U, 077U, 0777U}) {
        const umask_scope scope(mask);
        for (const unsigned mode : {0600U, 0660U, 0666U, 0777U}) {
            const std::string path = here / "exact";
            const auto server = listen_unix(path, {.mode = mode});
            EXPECT_EQ(mode_of(path), mode) << "with umask " << mask;
        }
        const std::string path = here / "by-umask";
        const auto server = listen_unix(path);
        EXPECT_EQ(mode_of(path), 0777U & ~mask);
    }
    co_return;
}

TEST_P(acceptance, U01TheModeIsWhatWasAskedForWhateverTheUmask) {
    const temporary_directory here;
    run(open_with_modes(here));
}

// --- U01: removing the path ---

task<> remove_only_ours(std::string path) {
    auto server = listen_unix(path);
    server.close();
    co_await server.wait_closed();
    EXPECT_FALSE(exists(path));
    {
        const auto again = listen_unix(path);
        EXPECT_TRUE(exists(path));
    }
    EXPECT_FALSE(exists(path));
    {
        const auto client = connect_unix(listen_unix({}).local_address(), {.local = path});
        EXPECT_TRUE(exists(path));
    }
    EXPECT_FALSE(exists(path));

    // Somebody has replaced the file: another socket, or something else.
    auto replaced = listen_unix(path);
    ::unlink(path.c_str());
    const foreign_unix successor(path);
    replaced.close();
    co_await replaced.wait_closed();
    EXPECT_TRUE(exists(path));
    const foreign_unix peer;
    peer.sendto("to the successor", path);
    const auto heard = co_await receive(successor);
    EXPECT_EQ(heard.payload, "to the successor");
    ::unlink(path.c_str());

    auto overwritten = listen_unix(path);
    ::unlink(path.c_str());
    const file_descriptor file(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    overwritten = unix_server();
    EXPECT_TRUE(exists(path));
}

TEST_P(acceptance, U01ClosingRemovesThePathOnlyWhileItIsOurs) {
    const temporary_directory here;
    run(remove_only_ours(here / "socket"));
}

// --- U01: peers ---

std::atomic<int> warnings{0};
void count_warnings(log_level /*level*/, std::string_view line) noexcept {
    if (line.find("without a name") != line.npos) warnings.fetch_add(1);
}

// A name that was there before must not be taken for that of a datagram without one.
void send_from_both(const foreign_unix& named, const unix_address& to) {
    const foreign_unix unnamed;
    named.sendto("named", to);
    unnamed.sendto("unnamed", to);
    named.sendto("named again", to);
}

task<> hear_unnamed_peers(unnamed_peers policy) {
    auto server = listen_unix({}, {.unnamed = policy});
    const foreign_unix named(new_abstract_name());
    send_from_both(named, server.local_address());
    const auto first = or_throw(co_await server.read(patiently));
    EXPECT_EQ(first.text(), "named");
    EXPECT_EQ(first.peer(), named.local());
    if (policy == unnamed_peers::handle) {
        const auto second = or_throw(co_await server.read(patiently));
        EXPECT_EQ(second.text(), "unnamed");
        EXPECT_TRUE(second.peer().is_unnamed()) << second.peer();
        EXPECT_EQ(server.reply(second, "whom?"), errc::invalid_address);
    }
    const auto third = or_throw(co_await server.read(patiently));
    EXPECT_EQ(third.text(), "named again");
    EXPECT_EQ(third.peer(), named.local());
    const auto& dropped = server.stats().received.dropped;
    EXPECT_EQ(dropped.unnamed, policy == unnamed_peers::handle ? 0U : 1U);
}

TEST_P(acceptance, U01UnnamedPeersAreDroppedAndCountedByDefault) {
    EXPECT_EQ(unix_options().unnamed, unnamed_peers::ignore);
    run(hear_unnamed_peers(unnamed_peers::ignore));
}

TEST_P(acceptance, U01UnnamedPeersAreHandledWhenAskedForAndCannotBeAnswered) {
    run(hear_unnamed_peers(unnamed_peers::handle));
}

TEST_P(acceptance, U01UnnamedPeersAreSaidToTheLogOnceInAWhile) {
    warnings = 0;
    auto made = loop::create({.backend = GetParam().backend,
                              .worker_count = GetParam().worker_count,
                              .log = count_warnings});
    ASSERT_TRUE(made.has_value()) << made.error();
    for (int i = 0; i < 3; ++i)
        run_case(*made, hear_unnamed_peers(unnamed_peers::ignore));
    EXPECT_EQ(warnings, 0);
    run_case(*made, hear_unnamed_peers(unnamed_peers::warn));
    EXPECT_EQ(warnings, 1);
}

task<> let_only_the_peer_in() {
    auto server = listen_unix({});
    auto client = connect_unix(server.local_address());
    const foreign_unix stranger(new_abstract_name());
    EXPECT_NE(stranger.try_sendto("let me in", client.local_address()), 0);
    EXPECT_EQ(errno, EPERM);
    server.sendto("the peer", client.local_address());
    const auto heard = co_await client.read(patiently);
    expect_text(heard, "the peer");
}

TEST_P(acceptance, U01AStrangersDatagramDoesNotReachAClient) { run(let_only_the_peer_in()); }

task<> send_to_wrong_destinations() {
    auto server = listen_unix({});
    auto client = connect_unix(server.local_address());
    const foreign_unix peer(new_abstract_name());
    EXPECT_EQ(server.send("nowhere"), errc::not_connected);
    EXPECT_EQ(server.sendto("nobody", {}), errc::invalid_address);
    EXPECT_EQ(server.sendto("too long", std::string(109, 'x')), errc::invalid_address);
    EXPECT_EQ(client.sendto("elsewhere", peer.local()), errc::already_connected);
    EXPECT_TRUE(client.sendto("to the peer", server.local_address()));
    const auto heard = co_await server.read(patiently);
    expect_text(heard, "to the peer");

    // The kernel knows better whether somebody is there: counted, and nobody is harmed.
    server.sendto("nobody", new_abstract_name());
    server.sendto("no such file", "/nonexistent/socket");
    server.sendto("somebody", peer.local());
    const auto arrived = co_await receive(peer);
    EXPECT_EQ(arrived.payload, "somebody");
    const auto sent = server.stats().sent;
    EXPECT_EQ(sent.errors, 2U);
    EXPECT_EQ(sent.reasons[0].error, ECONNREFUSED);
    EXPECT_EQ(sent.reasons[1].error, ENOENT);

    server.close();
    EXPECT_EQ(server.sendto("late", peer.local()), errc::closed);
}

TEST_P(acceptance, U01WhatIsKnownAtTheCallIsRefusedAndDeadDestinationsHarmNobody) {
    run(send_to_wrong_destinations());
}

task<> lose_and_find_the_peer(std::string path) {
    auto server = listen_unix(path);
    auto client = connect_unix(path);
    server = unix_server();
    client.send("one");
    client.send("two");
    for (int i = 0; i < 2; ++i) {
        const auto refused = co_await client.read(patiently);
        expect_error(refused, std::errc::connection_refused);
    }
    EXPECT_EQ(client.stats().sent.errors, 2U);
    EXPECT_EQ(client.stats().received.refused, 2U);
    server = listen_unix(path);
    client.send("three");
    const auto heard = or_throw(co_await server.read(patiently));
    EXPECT_EQ(heard.text(), "three");
    EXPECT_EQ(heard.peer(), client.local_address());
    server.reply(heard, "welcome back");
    const auto answer = co_await client.read(patiently);
    expect_text(answer, "welcome back");
    EXPECT_EQ(client.stats().sent.errors, 2U);
}

TEST_P(acceptance, U01APeerThatIsGoneIsReportedPerDatagramAndFoundAgainByItsName) {
    const temporary_directory here;
    run(lose_and_find_the_peer(here / "socket"));
}

// --- U01: destinations that do not read ---

// A socket's queue holds net.unix.max_dgram_qlen datagrams, 10 by default; far more are sent here.
constexpr int many = 3000;

task<> expect_numbers(const foreign_unix& at) {
    for (int i = 0; i < many; ++i) {
        const auto heard = co_await receive(at);
        if (heard.payload != std::to_string(i)) {
            ADD_FAILURE() << heard.payload << " instead of " << i;
            co_return;
        }
    }
}

task<> send_to_one_that_does_not_read() {
    auto server = listen_unix({});
    const foreign_unix slow(new_abstract_name());
    const foreign_unix quick(new_abstract_name());
    for (int i = 0; i < many; ++i) {
        EXPECT_TRUE(server.sendto(std::to_string(i), slow.local()));
    }
    or_throw(co_await next_turn());
    EXPECT_GT(server.stats().sent.waiting, 0U);
    server.sendto("not held up", quick.local());
    const auto heard = co_await receive(quick);
    EXPECT_EQ(heard.payload, "not held up");
    EXPECT_GT(server.stats().sent.waiting, 0U);
    co_await expect_numbers(slow);
    EXPECT_EQ(server.stats().sent.waiting, 0U);
    EXPECT_EQ(server.stats().sent.errors, 0U);
    EXPECT_GT(server.stats().sent.blocked, 0U);
}

TEST_P(acceptance, U01ADestinationThatDoesNotReadHoldsUpNobodyElseAndGetsAllInOrderLater) {
    run(send_to_one_that_does_not_read());
}

task<> give_one_up() {
    auto server = listen_unix({});
    const foreign_unix never(new_abstract_name());
    for (int i = 0; i < many; ++i)
        server.sendto("x", never.local());
    const give_up_time limit;
    while (server.stats().sent.waiting > 0) {
        limit.check("a destination to be given up");
        or_throw(co_await next_turn());
    }
    const auto sent = server.stats().sent;
    EXPECT_GT(sent.sent, 0U);
    EXPECT_EQ(sent.sent + sent.errors, static_cast<std::uint64_t>(many));
    EXPECT_EQ(sent.reasons[0].error, EAGAIN);
    EXPECT_EQ(sent.reasons[0].count, sent.errors);
}

TEST_P(acceptance, U01WhatADestinationDoesNotTakeForASecondIsCountedAsAnError) {
    run(give_one_up());
}

task<> sleep_until_it_reads() {
    auto server = listen_unix({});
    const foreign_unix slow(new_abstract_name());
    for (int i = 0; i < many; ++i)
        server.sendto(std::to_string(i), slow.local());
    server.flush();
    // Nothing arrives that would end a turn: the retries' own deadlines do.
    const auto nothing = co_await server.read({.timeout = 20ms});
    expect_error(nothing, errc::timed_out);
    auto first = slow.try_receive();
    int count = 0;
    const give_up_time limit;
    while (count < many) {
        limit.check("all datagrams");
        for (; first; first = slow.try_receive())
            ++count;
        const auto none = co_await server.read({.timeout = 2ms});
        expect_error(none, errc::timed_out);
        first = slow.try_receive();
    }
    EXPECT_EQ(count, many);
}

TEST_P(acceptance, U01ATurnThatWaitsTriesDestinationsAgainInTime) { run(sleep_until_it_reads()); }

task<> block_a_client() {
    const foreign_unix server(new_abstract_name());
    auto client = connect_unix(server.local(), {.send_high_water = 1000});
    for (int i = 0; i < many; ++i) {
        EXPECT_TRUE(client.send(std::to_string(i)));
    }
    or_throw(co_await next_turn());
    EXPECT_GT(client.stats().sent.waiting, 0U);
    co_await expect_numbers(server);
    EXPECT_TRUE(co_await client.drain());
    EXPECT_EQ(client.stats().sent.sent, static_cast<std::uint64_t>(many));
}

TEST_P(acceptance, U01AClientsSendsWaitUntilItsPeerReadsAndKeepTheirOrder) {
    run(block_a_client());
}

task<> fill_the_send_queue() {
    auto server = listen_unix({}, {.send_queue_size_max = 100'000});
    const foreign_unix slow(new_abstract_name());
    const foreign_unix quick(new_abstract_name());
    const std::string payload(1000, 'x');
    status last;
    for (int i = 0; i < many && last; ++i)
        last = server.sendto(payload, slow.local());
    EXPECT_EQ(last, errc::would_block);
    // Half of the room is for others.
    EXPECT_TRUE(server.sendto(payload, quick.local()));
    const auto heard = co_await receive(quick);
    EXPECT_EQ(heard.payload, payload);
    server.abort();
    co_await server.wait_closed();
    EXPECT_GT(server.stats().sent.dropped, 0U);
}

TEST_P(acceptance, U01OneDestinationGetsHalfOfTheSendQueueAndAbortDropsWhatWaits) {
    run(fill_the_send_queue());
}

task<> close_while_a_destination_is_full() {
    auto server = listen_unix({});
    const foreign_unix slow(new_abstract_name());
    for (int i = 0; i < many; ++i)
        server.sendto(std::to_string(i), slow.local());
    server.close();
    EXPECT_GT(server.stats().sent.waiting, 0U);
    co_await expect_numbers(slow);
    co_await server.wait_closed();
    EXPECT_EQ(server.stats().sent.sent, static_cast<std::uint64_t>(many));
}

TEST_P(acceptance, U01CloseFlushesWhatADestinationDidNotTake) {
    run(close_while_a_destination_is_full());
}

// --- U02: descriptors and credentials ---

task<> pass_descriptors() {
    auto server = listen_unix({});
    auto client = connect_unix(server.local_address());
    const probe_pipe one;
    const probe_pipe two;
    const std::size_t before = open_descriptors();
    {
        const int passed[] = {one.writing.get(), two.writing.get()};
        EXPECT_TRUE(client.send("take these", {.descriptors = passed}));
        EXPECT_EQ(open_descriptors(), before + 2);  // ours, until they are sent
    }
    {
        auto heard = or_throw(co_await server.read(patiently));
        EXPECT_EQ(heard.text(), "take these");
        EXPECT_FALSE(heard.ancillary_truncated());
        EXPECT_EQ(open_descriptors(), before + 2);
        auto taken = heard.take_descriptors();
        EXPECT_EQ(taken.size(), 2U);
        EXPECT_TRUE(heard.take_descriptors().empty());
        for (const auto& file : taken) {
            EXPECT_EQ(::fcntl(file.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        }
        heard = unix_datagram();
        EXPECT_EQ(::write(taken.at(0).get(), "first", 5), 5);
        EXPECT_EQ(::write(taken.at(1).get(), "second", 6), 6);
    }
    EXPECT_EQ(one.read(), "first");
    EXPECT_EQ(two.read(), "second");
    EXPECT_EQ(open_descriptors(), before);

    // To an address, back, and beside an empty payload.
    const int passed[] = {one.writing.get()};
    EXPECT_TRUE(server.sendto("", client.local_address(), {.descriptors = passed}));
    auto back = or_throw(co_await client.read(patiently));
    EXPECT_EQ(back.take_descriptors().size(), 1U);
    EXPECT_EQ(open_descriptors(), before);
}

TEST_P(acceptance, U02DescriptorsArePassedInOrderAndTakenOnce) { run(pass_descriptors()); }

task<> close_what_is_passed_at_once() {
    auto server = listen_unix({});
    auto client = connect_unix(server.local_address());
    probe_pipe one;
    const int passed[] = {one.writing.get()};
    EXPECT_TRUE(client.send("yours now", {.descriptors = passed}));
    one.writing.reset();  // before anything was sent
    auto heard = or_throw(co_await server.read(patiently));
    auto taken = heard.take_descriptors();
    EXPECT_EQ(::write(taken.at(0).get(), "alive", 5), 5);
    EXPECT_EQ(one.read(), "alive");
    EXPECT_FALSE(one.is_at_end());
    taken.clear();
    EXPECT_TRUE(one.is_at_end());
}

TEST_P(acceptance, U02TheSenderMayCloseHisAtOnce) { run(close_what_is_passed_at_once()); }

task<> refuse_descriptors() {
    auto server = listen_unix({});
    auto client = connect_unix(server.local_address());
    const std::size_t before = open_descriptors();
    const int none[] = {0, -1};
    const status refused = client.send("x", {.descriptors = none});
    EXPECT_EQ(refused, std::errc::bad_file_descriptor);
    EXPECT_EQ(refused.error().context(), "pass descriptor -1");
    const std::vector<int> too_many(254, 0);
    EXPECT_EQ(client.send("x", {.descriptors = too_many}), errc::invalid_option);
    EXPECT_EQ(open_descriptors(), before);
    EXPECT_EQ(client.stats().sent.accepted, 0U);

    // Those that wait to be sent go with what is dropped.
    const foreign_unix never(new_abstract_name());
    const probe_pipe one;
    const std::size_t with_pipe = open_descriptors();
    const int passed[] = {one.writing.get()};
    for (int i = 0; i < 700; ++i)
        server.sendto("x", never.local(), {.descriptors = passed});
    server.flush();
    EXPECT_GT(open_descriptors(), with_pipe);
    server.abort();
    co_await server.wait_closed();
    EXPECT_EQ(open_descriptors(), with_pipe - 1);  // and its own socket
}

TEST_P(acceptance, U02WhatIsNoDescriptorIsRefusedAndWhatIsNotSentIsClosed) {
    run(refuse_descriptors());
}

task<> pass_credentials() {
    auto server = listen_unix({}, {.descriptors_max = 16, .receive_credentials = true});
    auto client = connect_unix(server.local_address());
    const credentials self{.pid = ::getpid(), .uid = ::getuid(), .gid = ::getgid()};
    client.send("implicit");
    client.send("explicit", {.credentials = true});
    for (int i = 0; i < 2; ++i) {
        const auto heard = or_throw(co_await server.read(patiently));
        EXPECT_EQ(heard.credentials(), self) << heard.text();
        EXPECT_FALSE(heard.ancillary_truncated());
    }
    // With descriptors, as many as there is room for.
    const std::vector<int> passed(16, 0);
    client.send("both", {.descriptors = passed, .credentials = true});
    auto both = or_throw(co_await server.read(patiently));
    EXPECT_EQ(both.credentials(), self);
    EXPECT_EQ(both.take_descriptors().size(), 16U);
    EXPECT_FALSE(both.ancillary_truncated());
    server.reply(both, "without");
    const auto without = or_throw(co_await client.read(patiently));
    EXPECT_FALSE(without.credentials().has_value());
}

TEST_P(acceptance, U02CredentialsSayWhoSentIt) { run(pass_credentials()); }

task<> cut_descriptors(std::uint32_t descriptors_max) {
    auto server = listen_unix({}, {.descriptors_max = descriptors_max});
    const foreign_unix peer(new_abstract_name());
    const std::size_t before = open_descriptors();
    const std::vector<int> passed(20, 0);
    peer.sendto("more than there is room for", server.local_address(), passed);
    {
        auto heard = or_throw(co_await server.read(patiently));
        EXPECT_EQ(heard.text(), "more than there is room for");
        EXPECT_TRUE(heard.ancillary_truncated());
        EXPECT_EQ(heard.peer(), peer.local());
        EXPECT_EQ(heard.take_descriptors().size(), descriptors_max);
    }
    EXPECT_EQ(server.stats().received.ancillary_truncated, 1U);
    EXPECT_EQ(open_descriptors(), before);
    peer.sendto("and not taken", server.local_address(), passed);
    {
        const auto heard = co_await server.read(patiently);
        expect_text(heard, "and not taken");
    }
    EXPECT_EQ(open_descriptors(), before);
}

TEST_P(acceptance, U02MoreDescriptorsThanThereIsRoomForAreCutFlaggedAndCounted) {
    for (const std::uint32_t descriptors_max : {0U, 1U, 4U, 16U})
        run(cut_descriptors(descriptors_max));
}

// Whoever may write to a path could otherwise fill this process's table of descriptors.
task<> receive_no_descriptors() {
    auto server = or_throw(start_unix_server(new_abstract_name()));
    const foreign_unix peer(new_abstract_name());
    const std::size_t before = open_descriptors();
    const int passed[] = {0, 1};
    for (int i = 0; i < 5; ++i)
        peer.sendto("unasked", server.local_address(), passed);
    co_await wait_until_heard_of(server, 5);
    EXPECT_EQ(open_descriptors(), before);
    auto heard = or_throw(co_await server.read(patiently));
    EXPECT_EQ(heard.text(), "unasked");
    EXPECT_TRUE(heard.ancillary_truncated());
    EXPECT_TRUE(heard.take_descriptors().empty());
}

TEST_P(acceptance, U02DescriptorsAreReceivedOnlyWhereThatIsAskedFor) {
    run(receive_no_descriptors());
}

// --- U02: unclaimed ones are closed ---

// Each brings two.
task<> send_with_descriptors(const foreign_unix& peer, unix_address to, int count) {
    const give_up_time limit;
    const int passed[] = {0, 1};
    for (int i = 0; i < count;) {
        if (peer.try_sendto(std::to_string(i), to, passed) == 0) {
            ++i;
            continue;
        }
        if (errno != EAGAIN) throw_errno("sendmsg");
        limit.check("room at the endpoint");
        or_throw(co_await next_turn());
    }
}

task<> drop_datagrams() {
    auto server = listen_unix({});
    const foreign_unix peer(new_abstract_name());
    const std::size_t before = open_descriptors();
    co_await send_with_descriptors(peer, server.local_address(), 3);
    for (int i = 0; i < 3; ++i) {
        const auto heard = or_throw(co_await server.read(patiently));
        EXPECT_GE(open_descriptors(), before + 2);
    }
    EXPECT_EQ(open_descriptors(), before);
}

TEST_P(acceptance, U02DescriptorsNobodyTookAreClosedWithTheirDatagram) { run(drop_datagrams()); }

task<> overrun_the_queue(when_full policy) {
    auto server = listen_unix({}, {.descriptors_max = 2, .queue_size_max = 4, .on_full = policy});
    const foreign_unix peer(new_abstract_name());
    const std::size_t before = open_descriptors();
    co_await send_with_descriptors(peer, server.local_address(), 40);
    co_await wait_until_heard_of(server, 40);
    EXPECT_EQ(server.stats().received.dropped.queue_full, 36U);
    co_await wait_until_descriptors(before + 8);
    const auto first = or_throw(co_await server.read(patiently));
    EXPECT_EQ(first.text(), policy == when_full::drop_newest ? "0" : "36");
}

TEST_P(acceptance, U02DescriptorsOfWhatFindsTheQueueFullAreClosed) {
    run(overrun_the_queue(when_full::drop_newest));
    run(overrun_the_queue(when_full::drop_oldest));
}

task<> drop_unnamed_ones() {
    auto server = listen_unix({});
    const foreign_unix peer;
    const std::size_t before = open_descriptors();
    co_await send_with_descriptors(peer, server.local_address(), 20);
    co_await wait_until_heard_of(server, 20);
    EXPECT_EQ(server.stats().received.dropped.unnamed, 20U);
    EXPECT_EQ(open_descriptors(), before);
}

TEST_P(acceptance, U02DescriptorsFromUnnamedPeersAreClosed) { run(drop_unnamed_ones()); }

// A client whose peer has died is disconnected by the kernel, which then lets anybody in.
task<> drop_strangers(std::string path) {
    auto server = listen_unix(path);
    auto client = connect_unix(path);
    server = unix_server();
    client.send("are you there?");
    const auto refused = co_await client.read(patiently);
    expect_error(refused, std::errc::connection_refused);
    const foreign_unix stranger(new_abstract_name());
    const std::size_t before = open_descriptors();
    co_await send_with_descriptors(stranger, client.local_address(), 5);
    co_await wait_until_heard_of(client, 5);
    EXPECT_EQ(client.stats().received.dropped.invalid, 5U);
    EXPECT_EQ(open_descriptors(), before);
}

TEST_P(acceptance, U02DescriptorsOfStrangersAreClosedWithTheirDatagram) {
    const temporary_directory here;
    run(drop_strangers(here / "socket"));
}

task<> close_before_they_are_taken() {
    const std::size_t before = open_descriptors();
    auto server = listen_unix({});
    const foreign_unix peer(new_abstract_name());
    const int passed[] = {0, 1};
    int sent = 0;
    // What is in the socket, in the ring and on its way: nothing was read, nobody was turned.
    while (sent < 1000 && peer.try_sendto("late", server.local_address(), passed) == 0)
        ++sent;
    server.close();
    co_await server.wait_closed();
    const auto waiting = server.stats().received.waiting;
    for (std::uint64_t i = 0; i < waiting; ++i) {
        const auto readable = co_await server.read(patiently);
        expect_text(readable, "late");
    }
    expect_error(co_await server.read(patiently), errc::closed);
    EXPECT_EQ(server.stats().received.taken, static_cast<std::uint64_t>(sent));
    server = unix_server();
    co_await wait_until_descriptors(before + 1);  // the peer
}

TEST_P(acceptance, U02DescriptorsThatComeTooLateAreClosed) { run(close_before_they_are_taken()); }

task<> abandon_unread_ones() {
    const std::size_t before = open_descriptors();
    auto server = listen_unix({});
    const foreign_unix peer(new_abstract_name());
    co_await send_with_descriptors(peer, server.local_address(), 10);
    co_await wait_until_heard_of(server, 10);
    EXPECT_GE(open_descriptors(), before + 20);
    server = unix_server();
    co_await wait_until_descriptors(before + 1);
}

TEST_P(acceptance, U02DescriptorsNobodyReadAreClosedWithTheEndpoint) { run(abandon_unread_ones()); }

task<> keep_one_and_leave(std::optional<unix_datagram>& kept, std::optional<unix_server>& server,
                          const foreign_unix& peer) {
    server.emplace(listen_unix({}));
    co_await send_with_descriptors(peer, server->local_address(), 1);
    kept.emplace(or_throw(co_await server->read(patiently)));
    const int passed[] = {0, 1};
    while (peer.try_sendto("never seen", server->local_address(), passed) == 0) {
    }
}

TEST_P(acceptance, U02DescriptorsAreClosedWhenTheLoopGoesAndADatagramMayOutliveIt) {
    const foreign_unix peer(new_abstract_name());
    const std::size_t before = open_descriptors();
    std::optional<unix_datagram> kept;
    {
        auto made = make_loop();
        ASSERT_TRUE(made.has_value()) << made.error();
        std::optional<unix_server> server;
        made->run(keep_one_and_leave(kept, server, peer));
        // The loop goes first: nobody turns it any more.
        const loop gone = *std::move(made);
    }
    EXPECT_EQ(open_descriptors(), before + 2);
    EXPECT_EQ(kept->text(), "0");
    EXPECT_EQ(kept->peer(), peer.local());
    EXPECT_EQ(kept->take_descriptors().size(), 2U);
    EXPECT_EQ(open_descriptors(), before);
}

TEST_P(acceptance, U02WhatAKeptDatagramHoldsIsClosedWithIt) {
    const foreign_unix peer(new_abstract_name());
    const std::size_t before = open_descriptors();
    std::optional<unix_datagram> kept;
    {
        auto made = make_loop();
        ASSERT_TRUE(made.has_value()) << made.error();
        std::optional<unix_server> server;
        made->run(keep_one_and_leave(kept, server, peer));
        server.reset();  // and here the endpoint goes first
    }
    EXPECT_EQ(open_descriptors(), before + 2);
    kept.reset();
    EXPECT_EQ(open_descriptors(), before);
}

// --- reading, as of any endpoint ---

task<> close_a_waiting_reader(unix_server& server, int& woken) {
    const auto outcome = co_await server.read();
    expect_error(outcome, errc::closed);
    ++woken;
}

task<> read_and_close() {
    auto server = listen_unix({});
    expect_error(server.try_read(), errc::would_block);
    const auto poll = co_await server.read({.timeout = 0ns});
    expect_error(poll, errc::timed_out);
    int woken = 0;
    auto first = spawn(close_a_waiting_reader(server, woken));
    auto second = spawn(close_a_waiting_reader(server, woken));
    or_throw(co_await next_turn());
    server.handle().close();
    co_await server.wait_closed();
    or_throw(co_await first.join());
    or_throw(co_await second.join());
    EXPECT_EQ(woken, 2);
    EXPECT_TRUE(server.is_closing());
    expect_error(server.try_read(), errc::closed);
}

TEST_P(acceptance, U01CloseWakesEveryPendingReaderWithClosed) { run(read_and_close()); }

}  // namespace

QUOIT_INSTANTIATE_ACCEPTANCE();

}  // namespace quoit::test
