// SPDX-License-Identifier: MIT
#include "net/control_message.hpp"

#include "net/sockaddr.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <limits>
#include <string>
#include <vector>

#ifndef UDP_GRO
#define UDP_GRO 104  // since Linux 5.0, <linux/udp.h>
#endif

namespace {

using namespace quoit::detail;
using quoit::family;
using quoit::ip;
using quoit::metadata;
using bytes = std::vector<std::byte>;

constexpr metadata everything =
    metadata::local_address | metadata::timestamp | metadata::tos | metadata::ttl;

// Appends a control message whose header claims `length`, whatever its data is.
void append_claiming(bytes& to, std::size_t length, int level, int type, const void* data,
                     std::size_t size) {
    cmsghdr header{};
    header.cmsg_len = length;
    header.cmsg_level = level;
    header.cmsg_type = type;
    const std::size_t at = to.size();
    to.resize(at + CMSG_SPACE(size));
    std::memcpy(to.data() + at, &header, sizeof header);
    if (size > 0) std::memcpy(to.data() + at + CMSG_LEN(0), data, size);
}

template <class T>
void append(bytes& to, int level, int type, const T& value) {
    append_claiming(to, CMSG_LEN(sizeof value), level, type, &value, sizeof value);
}

template <class T>
control_data parse_one(int level, int type, const T& value) {
    bytes control;
    append(control, level, type, value);
    return parse_control(control);
}

in_pktinfo pktinfo_of_localhost() {
    in_pktinfo info{};
    info.ipi_ifindex = 1;
    info.ipi_addr.s_addr = htonl(INADDR_LOOPBACK);
    return info;
}

// As the kernel would send them for IPv4, in its order, with a train's segment last.
bytes everything_at_once() {
    bytes control;
    append(control, SOL_SOCKET, SCM_TIMESTAMPNS, timespec{.tv_sec = 1'700'000'000, .tv_nsec = 42});
    append(control, IPPROTO_IP, IP_PKTINFO, pktinfo_of_localhost());
    append(control, IPPROTO_IP, IP_TTL, 64);
    append(control, IPPROTO_IP, IP_TOS, std::uint8_t{0xb8});
    append(control, SOL_UDP, UDP_GRO, 1200);
    return control;
}

// --- what is well-formed ---

TEST(control_message, NoControlMessagesAreValidAndSayNothing) {
    const control_data found = parse_control({});
    EXPECT_TRUE(found.is_valid);
    EXPECT_EQ(found.gro_segment, 0U);
    EXPECT_FALSE(found.local || found.received_at || found.tos || found.ttl);
}

TEST(control_message, SeveralMessagesAreAllRead) {
    const control_data found = parse_control(everything_at_once());
    EXPECT_TRUE(found.is_valid);
    EXPECT_EQ(found.gro_segment, 1200U);
    EXPECT_EQ(found.local, ip("127.0.0.1"));
    EXPECT_EQ(found.tos, 0xb8);
    EXPECT_EQ(found.ttl, 64);
    ASSERT_TRUE(found.received_at);
    EXPECT_EQ(found.received_at->time_since_epoch().count(), 1'700'000'000'000'000'042);
}

TEST(control_message, Ipv6HasItsOwnTypes) {
    bytes control;
    in6_pktinfo info{};
    info.ipi6_addr.s6_addr[15] = 1;
    info.ipi6_ifindex = 7;
    append(control, IPPROTO_IPV6, IPV6_PKTINFO, info);
    append(control, IPPROTO_IPV6, IPV6_TCLASS, 0x20);
    append(control, IPPROTO_IPV6, IPV6_HOPLIMIT, 255);
    const control_data found = parse_control(control);
    EXPECT_TRUE(found.is_valid);
    EXPECT_EQ(found.local, ip("::1")) << "a scope is for link-local addresses";
    EXPECT_EQ(found.tos, 0x20);
    EXPECT_EQ(found.ttl, 255);
}

TEST(control_message, ALinkLocalAddressKeepsTheInterfaceAsItsScope) {
    in6_pktinfo info{};
    info.ipi6_addr.s6_addr[0] = 0xfe;
    info.ipi6_addr.s6_addr[1] = 0x80;
    info.ipi6_addr.s6_addr[15] = 9;
    info.ipi6_ifindex = 7;
    EXPECT_EQ(parse_one(IPPROTO_IPV6, IPV6_PKTINFO, info).local, ip("fe80::9%7"));
}

// --- what an answer is sent from ---

TEST(control_message, OverIpv4AnAnswerComesFromTheAddressOfOursThatTheKernelNames) {
    in_pktinfo info = pktinfo_of_localhost();
    EXPECT_FALSE(parse_one(IPPROTO_IP, IP_PKTINFO, info).source) << "it names none";
    info.ipi_addr.s_addr = htonl(0xe4000005);  // 228.0.0.5
    info.ipi_spec_dst.s_addr = htonl(0x7f000002);
    const control_data found = parse_one(IPPROTO_IP, IP_PKTINFO, info);
    EXPECT_EQ(found.local, ip("228.0.0.5"));
    EXPECT_EQ(found.source, ip("127.0.0.2"));
}

TEST(control_message, OverIpv6AnAnswerComesFromWhereItWasSentToButNotFromAGroup) {
    const auto source_of = [](const ip& destination) {
        in6_pktinfo info{};
        std::ranges::copy(destination.bytes(), info.ipi6_addr.s6_addr);
        info.ipi6_ifindex = 7;
        return parse_one(IPPROTO_IPV6, IPV6_PKTINFO, info).source;
    };
    EXPECT_EQ(source_of("fd00::2"), ip("fd00::2"));
    EXPECT_EQ(source_of("fe80::2"), ip("fe80::2%7"));
    EXPECT_FALSE(source_of("ff15::7"));
    EXPECT_FALSE(source_of("ff02::1"));
    EXPECT_FALSE(source_of("::ffff:255.255.255.255")) << "it may be everybody's";
}

TEST(control_message, UnknownTypesArePassedOver) {
    bytes control;
    append(control, SOL_SOCKET, 12345, std::array<std::byte, 40>{});
    append_claiming(control, CMSG_LEN(0), 9999, UDP_GRO, nullptr, 0);
    append(control, IPPROTO_IP, UDP_GRO, 77);  // the right type on the wrong level
    append(control, SOL_UDP, UDP_GRO, 1200);
    const control_data found = parse_control(control);
    EXPECT_TRUE(found.is_valid);
    EXPECT_EQ(found.gro_segment, 1200U);
    EXPECT_FALSE(found.local || found.received_at || found.tos || found.ttl);
}

TEST(control_message, AlignmentDoesNotMatter) {
    const bytes control = everything_at_once();
    for (std::size_t shift = 0; shift < 8; ++shift) {
        bytes shifted(shift);
        shifted.insert(shifted.end(), control.begin(), control.end());
        const control_data found = parse_control(std::span(shifted).subspan(shift));
        EXPECT_TRUE(found.is_valid);
        EXPECT_EQ(found.gro_segment, 1200U);
    }
}

TEST(control_message, TheLastMessageNeedsNoPadding) {
    bytes control;
    append(control, IPPROTO_IP, IP_TTL, 64);
    append(control, IPPROTO_IP, IP_TOS, std::uint8_t{4});
    control.resize(CMSG_SPACE(sizeof(int)) + CMSG_LEN(1));
    const control_data found = parse_control(control);
    EXPECT_TRUE(found.is_valid);
    EXPECT_EQ(found.ttl, 64);
    EXPECT_EQ(found.tos, 4);
}

// --- values that make no sense ---

TEST(control_message, ASegmentIsAnIntFrom1To65535) {
    EXPECT_EQ(parse_one(SOL_UDP, UDP_GRO, 1).gro_segment, 1U);
    EXPECT_EQ(parse_one(SOL_UDP, UDP_GRO, 65'535).gro_segment, 65'535U);
    for (const int bad : {0, -1, 65'536, 65'537, std::numeric_limits<int>::min(),
                          std::numeric_limits<int>::max()}) {
        const control_data found = parse_one(SOL_UDP, UDP_GRO, bad);
        EXPECT_FALSE(found.is_valid) << bad;
        EXPECT_EQ(found.gro_segment, 0U) << bad;
    }
}

// Not believed: were it taken for "no train", the train would become one giant datagram.
TEST(control_message, ASegmentOfTheWrongSizeIsAnError) {
    EXPECT_FALSE(parse_one(SOL_UDP, UDP_GRO, std::uint16_t{1200}).is_valid);
    EXPECT_FALSE(parse_one(SOL_UDP, UDP_GRO, std::uint8_t{1}).is_valid);
    bytes empty;
    append_claiming(empty, CMSG_LEN(0), SOL_UDP, UDP_GRO, nullptr, 0);
    EXPECT_FALSE(parse_control(empty).is_valid);
}

TEST(control_message, AByteInAnIntMustBeAByte) {
    for (const int good : {0, 1, 255}) {
        EXPECT_EQ(parse_one(IPPROTO_IP, IP_TTL, good).ttl, good);
        EXPECT_EQ(parse_one(IPPROTO_IPV6, IPV6_HOPLIMIT, good).ttl, good);
        EXPECT_EQ(parse_one(IPPROTO_IPV6, IPV6_TCLASS, good).tos, good);
    }
    for (const int bad : {-1, 256, std::numeric_limits<int>::max()}) {
        EXPECT_FALSE(parse_one(IPPROTO_IP, IP_TTL, bad).ttl);
        EXPECT_FALSE(parse_one(IPPROTO_IPV6, IPV6_HOPLIMIT, bad).ttl);
        EXPECT_FALSE(parse_one(IPPROTO_IPV6, IPV6_TCLASS, bad).tos);
    }
}

TEST(control_message, MetadataOfTheWrongSizeIsNotRead) {
    EXPECT_FALSE(parse_one(IPPROTO_IP, IP_TTL, std::uint8_t{64}).ttl);
    EXPECT_FALSE(parse_one(IPPROTO_IP, IP_PKTINFO, std::array<std::byte, 11>{}).local);
    EXPECT_FALSE(parse_one(IPPROTO_IPV6, IPV6_PKTINFO, std::array<std::byte, 19>{}).local);
    EXPECT_FALSE(parse_one(SOL_SOCKET, SCM_TIMESTAMPNS, std::array<std::byte, 15>{}).received_at);
}

// The kernel does not send such times. Arithmetic on them must be defined all the same; UBSan
// tells.
TEST(control_message, ATimeOutOfRangeIsNoReasonToOverflow) {
    for (const time_t seconds :
         {std::numeric_limits<time_t>::max(), std::numeric_limits<time_t>::min(),
          time_t{9'223'372'036}, time_t{9'223'372'037}, time_t{-1}}) {
        const timespec time{.tv_sec = seconds, .tv_nsec = std::numeric_limits<long>::max()};
        EXPECT_TRUE(parse_one(SOL_SOCKET, SCM_TIMESTAMPNS, time).is_valid);
    }
}

// --- lengths that lie ---

TEST(control_message, ALengthThatLiesEndsTheWalkWithAnError) {
    constexpr std::size_t lies[] = {0,
                                    1,
                                    sizeof(std::size_t),
                                    sizeof(cmsghdr) - 1,
                                    CMSG_SPACE(sizeof(int)) + 1,
                                    1'000'000,
                                    std::numeric_limits<std::size_t>::max() / 2,
                                    std::numeric_limits<std::size_t>::max() - 7,
                                    std::numeric_limits<std::size_t>::max() - 1,
                                    std::numeric_limits<std::size_t>::max()};
    const int segment = 1200;
    for (const std::size_t lie : lies) {
        bytes alone;
        append_claiming(alone, lie, SOL_UDP, UDP_GRO, &segment, sizeof segment);
        EXPECT_FALSE(parse_control(alone).is_valid) << lie;
        EXPECT_EQ(parse_control(alone).gro_segment, 0U) << lie;

        bytes behind;
        append(behind, IPPROTO_IP, IP_TTL, 64);
        behind.insert(behind.end(), alone.begin(), alone.end());
        const control_data found = parse_control(behind);
        EXPECT_FALSE(found.is_valid) << lie;
        EXPECT_EQ(found.gro_segment, 0U) << lie;
    }
}

TEST(control_message, ALengthThatReachesIntoTheNextMessageSwallowsIt) {
    bytes control;
    const int ttl = 64;
    append_claiming(control, CMSG_SPACE(sizeof(int)) + CMSG_LEN(sizeof(int)), IPPROTO_IP, IP_TTL,
                    &ttl, sizeof ttl);
    append(control, SOL_UDP, UDP_GRO, 1200);
    const control_data found = parse_control(control);
    EXPECT_TRUE(found.is_valid);
    EXPECT_EQ(found.gro_segment, 0U);
}

// A copy of exactly that size, so that AddressSanitizer sees a read beyond it.
TEST(control_message, EveryTruncationOfAValidBufferIsSafeAndInventsNothing) {
    const bytes whole = everything_at_once();
    const control_data all = parse_control(whole);
    for (std::size_t size = 0; size <= whole.size(); ++size) {
        const bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        const control_data found = parse_control(cut);
        EXPECT_TRUE(found.gro_segment == 0 || found.gro_segment == all.gro_segment) << size;
        EXPECT_TRUE(!found.local || found.local == all.local) << size;
        EXPECT_TRUE(!found.received_at || found.received_at == all.received_at) << size;
        EXPECT_TRUE(!found.tos || found.tos == all.tos) << size;
        EXPECT_TRUE(!found.ttl || found.ttl == all.ttl) << size;
    }
    // Within a message: an error.
    const std::size_t last = whole.size() - CMSG_SPACE(sizeof(int));
    for (std::size_t size = last + sizeof(std::size_t); size < last + CMSG_LEN(sizeof(int));
         ++size) {
        const bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        EXPECT_FALSE(parse_control(cut).is_valid) << size;
    }
}

RC_GTEST_PROP(control_message, RandomBytesNeverMakeAnInvalidSegment, ()) {
    const auto random =
        *rc::gen::container<std::vector<std::uint8_t>>(rc::gen::arbitrary<std::uint8_t>());
    const bytes control(reinterpret_cast<const std::byte*>(random.data()),
                        reinterpret_cast<const std::byte*>(random.data()) + random.size());
    const control_data found = parse_control(control);
    RC_ASSERT(found.is_valid || found.gro_segment == 0 || control.size() >= CMSG_LEN(sizeof(int)));
}

// Valid messages in any order with some bytes changed: much deeper than random bytes get.
RC_GTEST_PROP(control_message, ChangedBytesAreNeverReadOutside, ()) {
    bytes control;
    const int count = *rc::gen::inRange(0, 6);
    for (int i = 0; i < count; ++i) {
        const int level = *rc::gen::element(SOL_SOCKET, SOL_UDP, static_cast<int>(IPPROTO_IP),
                                            static_cast<int>(IPPROTO_IPV6));
        const int type = *rc::gen::element<int>(UDP_GRO, SCM_TIMESTAMPNS, IP_PKTINFO, IPV6_PKTINFO,
                                                IP_TOS, IP_TTL, IPV6_TCLASS, IPV6_HOPLIMIT);
        const auto data = *rc::gen::resize(32, rc::gen::arbitrary<std::vector<std::uint8_t>>());
        const auto length = *rc::gen::oneOf(rc::gen::just<std::size_t>(CMSG_LEN(data.size())),
                                            rc::gen::inRange<std::size_t>(0, 100),
                                            rc::gen::arbitrary<std::size_t>());
        append_claiming(control, length, level, type, data.data(), data.size());
    }
    control.resize(*rc::gen::inRange<std::size_t>(0, control.size() + 1));
    control.shrink_to_fit();
    const control_data found = parse_control(control);
    // Whoever wants one thing reads the same as whoever wants all.
    RC_ASSERT(find_segment(control).is_valid == found.is_valid);
    RC_ASSERT(find_segment(control).gro_segment == found.gro_segment);
    RC_ASSERT(find_source(control) == found.source);
    // Whoever reads twice reads the same.
    RC_ASSERT(parse_control(control).is_valid == found.is_valid);
    RC_ASSERT(parse_control(control).gro_segment == found.gro_segment);
}

// --- against the kernel ---

struct socket_pair {
    int receiver = -1;
    int sender = -1;
    socket_pair() = default;
    socket_pair(const socket_pair&) = delete;
    socket_pair& operator=(const socket_pair&) = delete;
    ~socket_pair() {
        if (receiver >= 0) ::close(receiver);
        if (sender >= 0) ::close(sender);
    }
};

void set_on(int fd, int level, int name, int value = 1) {
    ASSERT_EQ(::setsockopt(fd, level, name, &value, sizeof value), 0) << std::strerror(errno);
}

class control_message_of_the_kernel : public ::testing::TestWithParam<family> {
  protected:
    void SetUp() override {
        const bool is_v6 = GetParam() == family::ipv6;
        sockets_.receiver = ::socket(domain_of(GetParam()), SOCK_DGRAM | SOCK_CLOEXEC, 0);
        sockets_.sender = ::socket(domain_of(GetParam()), SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (is_v6 && sockets_.receiver < 0) GTEST_SKIP() << "no IPv6";
        ASSERT_GE(sockets_.receiver, 0);
        ASSERT_GE(sockets_.sender, 0);
        host_ = is_v6 ? ip("::1") : ip("127.0.0.1");
        const socket_address anywhere{quoit::address(host_, 0)};
        if (::bind(sockets_.receiver, anywhere.get(), anywhere.size()) != 0) {
            ASSERT_TRUE(is_v6) << std::strerror(errno);
            GTEST_SKIP() << "no IPv6 loopback";
        }
        if (is_v6) {
            set_on(sockets_.receiver, IPPROTO_IPV6, IPV6_RECVPKTINFO);
            set_on(sockets_.receiver, IPPROTO_IPV6, IPV6_RECVTCLASS);
            set_on(sockets_.receiver, IPPROTO_IPV6, IPV6_RECVHOPLIMIT);
            set_on(sockets_.sender, IPPROTO_IPV6, IPV6_TCLASS, 0x48);
            set_on(sockets_.sender, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 33);
        } else {
            set_on(sockets_.receiver, IPPROTO_IP, IP_PKTINFO);
            set_on(sockets_.receiver, IPPROTO_IP, IP_RECVTOS);
            set_on(sockets_.receiver, IPPROTO_IP, IP_RECVTTL);
            set_on(sockets_.sender, IPPROTO_IP, IP_TOS, 0x48);
            set_on(sockets_.sender, IPPROTO_IP, IP_TTL, 33);
        }
        set_on(sockets_.receiver, SOL_SOCKET, SO_TIMESTAMPNS);
    }
    // The control messages of one datagram, received into a buffer of `size` bytes.
    bytes receive(std::size_t size, int& flags) {
        socket_address to;
        socklen_t to_size = socket_address::size_max;
        EXPECT_EQ(::getsockname(sockets_.receiver, to.get(), &to_size), 0);
        EXPECT_EQ(::sendto(sockets_.sender, "hello", 5, 0, to.get(), to_size), 5);
        pollfd one{.fd = sockets_.receiver, .events = POLLIN, .revents = 0};
        EXPECT_EQ(::poll(&one, 1, 10'000), 1);
        bytes control(size);
        std::array<char, 16> payload{};
        iovec into{.iov_base = payload.data(), .iov_len = payload.size()};
        msghdr message{};
        message.msg_iov = &into;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        EXPECT_EQ(::recvmsg(sockets_.receiver, &message, MSG_DONTWAIT), 5);
        flags = message.msg_flags;
        control.resize(message.msg_controllen);
        return control;
    }
    socket_pair sockets_;
    ip host_;
};

TEST_P(control_message_of_the_kernel, EverythingAskedForFitsAndIsRead) {
    const std::uint16_t size = control_size_for(GetParam(), everything, false);
    int flags = 0;
    const auto before = std::chrono::system_clock::now();
    const bytes control = receive(size, flags);
    const auto after = std::chrono::system_clock::now();
    EXPECT_EQ(flags & MSG_CTRUNC, 0) << "control_size_for() is too small";
    const control_data found = parse_control(control);
    EXPECT_TRUE(found.is_valid);
    EXPECT_EQ(found.local, host_);
    EXPECT_EQ(found.tos, 0x48);
    EXPECT_EQ(found.ttl, 33);
    ASSERT_TRUE(found.received_at);
    // One clock, unless somebody sets it: the order only.
    EXPECT_GE(*found.received_at + std::chrono::hours(1), before);
    EXPECT_LE(*found.received_at - std::chrono::hours(1), after);
}

TEST_P(control_message_of_the_kernel, ASmallerBufferIsCutAndStillSafe) {
    const std::size_t size = control_size_for(GetParam(), everything, false);
    for (std::size_t smaller = 0; smaller < size; smaller += 4) {
        int flags = 0;
        const bytes control = receive(smaller, flags);
        const control_data found = parse_control(control);
        EXPECT_TRUE(!found.ttl || found.ttl == 33);
        EXPECT_TRUE(!found.tos || found.tos == 0x48);
        if (found.local && found.ttl && found.tos && found.received_at) continue;
        EXPECT_NE(flags & MSG_CTRUNC, 0) << "something is missing, and the kernel did not say so";
    }
}

INSTANTIATE_TEST_SUITE_P(family, control_message_of_the_kernel,
                         ::testing::Values(family::ipv4, family::ipv6), [](const auto& one) {
                             return one.param == family::ipv4 ? "ipv4" : "ipv6";
                         });

TEST(control_message, NothingAskedForNeedsNoRoom) {
    EXPECT_EQ(control_size_for(family::ipv4, metadata::none, false), 0U);
    EXPECT_EQ(control_size_for(family::ipv6, metadata::none, false), 0U);
    EXPECT_EQ(control_size_for(family::ipv4, metadata::none, true), CMSG_SPACE(sizeof(int)));
}

TEST(control_message, RoomAddsUp) {
    for (const family of : {family::ipv4, family::ipv6}) {
        std::size_t sum = control_size_for(of, metadata::none, true);
        for (const metadata one :
             {metadata::local_address, metadata::timestamp, metadata::tos, metadata::ttl}) {
            const std::size_t size = control_size_for(of, one, false);
            EXPECT_GT(size, 0U);
            EXPECT_EQ(size % alignof(cmsghdr), 0U);
            sum += size;
        }
        EXPECT_EQ(control_size_for(of, everything, true), sum);
    }
}

}  // namespace
