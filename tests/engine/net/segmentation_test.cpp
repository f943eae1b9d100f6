// SPDX-License-Identifier: MIT
#include "net/segmentation.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103  // since Linux 4.18, <linux/udp.h>
#endif
#ifndef UDP_GRO
#define UDP_GRO 104  // since Linux 5.0, <linux/udp.h>
#endif

namespace {

using namespace quoit::detail;
using quoit::address;
using quoit::ip;

constexpr address somebody{"192.0.2.1", 1111};
constexpr address same_host{"192.0.2.1", 2222};
constexpr address somebody_else{"192.0.2.2", 1111};
constexpr std::uint32_t count_max = 128;

// One host for each number.
address host(std::uint8_t number) { return {ip::v4({198, 51, 100, number}), 9}; }

// --- how many at once ---

TEST(segmentation, IsOnAtFirstWith128DatagramsOfARun) {
    const segmentation fresh;
    EXPECT_GT(fresh.count_max(), 1U);
    EXPECT_EQ(fresh.count_max(), count_max);
    EXPECT_EQ(fresh.count_max(&somebody, 1), count_max);
    EXPECT_EQ(fresh.count_max(nullptr, 1), count_max);
}

TEST(segmentation, ARunIsBoundByWhatADeviceTakesWhole) {
    const segmentation fresh;
    for (std::uint32_t size = 1; size <= 65'527; ++size) {
        const std::uint32_t count = fresh.count_max(&somebody, size);
        ASSERT_GE(count, 1U) << size;
        ASSERT_LE(count, count_max) << size;
        if (count > 1) {
            ASSERT_LE(count * size, run_bytes_max) << size;
        }
        if (count < count_max && count > 1) {
            ASSERT_GT((count + 1) * size, run_bytes_max) << size << ": one more would fit";
        }
    }
    EXPECT_EQ(fresh.count_max(&somebody, 511), 128U);
    EXPECT_EQ(fresh.count_max(&somebody, 512), 127U);
    EXPECT_EQ(fresh.count_max(&somebody, 1200), 54U);
    EXPECT_EQ(fresh.count_max(&somebody, 9000), 7U);
    EXPECT_EQ(fresh.count_max(&somebody, 32'736), 2U);
    EXPECT_EQ(fresh.count_max(&somebody, 32'737), 1U);
    EXPECT_EQ(fresh.count_max(&somebody, 65'507), 1U);
}

TEST(segmentation, EmptyDatagramsAreNotCoalesced) {
    const segmentation fresh;
    EXPECT_EQ(fresh.count_max(&somebody, 0), 1U);
    EXPECT_EQ(fresh.count_max(nullptr, 0), 1U);
}

TEST(segmentation, TurnedOffItCoalescesNothingForGood) {
    segmentation off;
    off.turn_off();
    EXPECT_EQ(off.count_max(), 1U);
    EXPECT_EQ(off.count_max(), 1U);
    EXPECT_EQ(off.count_max(&somebody, 1), 1U);
    off.refused(EINVAL, &somebody, 100, 100);
    off.refused(EMSGSIZE, &somebody, 100, 2);
    off.sent_plain(&somebody, 100, 2 * segmentation::plain_count);
    EXPECT_EQ(off.count_max(), 1U);
    EXPECT_EQ(off.count_max(nullptr, 1), 1U);
}

// --- what is an answer to coalescing ---

TEST(segmentation, OnlyEMSGSIZEAndEIOAndEINVALAreAnswersToCoalescing) {
    for (const int error : {EMSGSIZE, EIO, EINVAL}) {
        EXPECT_TRUE(segmentation::is_refusal(error)) << error;
    }
    for (const int error : {0, EAGAIN, EWOULDBLOCK, EINTR, ENOBUFS, ENOMEM, EPERM, EACCES,
                            ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ENETDOWN, ENODEV, EPIPE}) {
        EXPECT_FALSE(segmentation::is_refusal(error)) << error;
    }
}

// --- what refusals teach ---

TEST(segmentation, EMSGSIZEIsRememberedOfTheHostForDatagramsThatLong) {
    segmentation taught;
    taught.refused(EMSGSIZE, &somebody, 1473, 5);
    EXPECT_EQ(taught.count_max(&somebody, 1473), 1U);
    EXPECT_EQ(taught.count_max(&somebody, 9000), 1U);
    EXPECT_EQ(taught.count_max(&same_host, 1473), 1U) << "another port, the same path";
    EXPECT_EQ(taught.count_max(&somebody, 1472), 44U);
    EXPECT_EQ(taught.count_max(&somebody_else, 9000), 7U);
    EXPECT_EQ(taught.count_max(nullptr, 9000), 7U);
    EXPECT_EQ(taught.count_max(), count_max);
}

TEST(segmentation, TheShortestSizeThatWasRefusedCounts) {
    segmentation taught;
    taught.refused(EMSGSIZE, &somebody, 9000, 2);
    taught.refused(EMSGSIZE, &same_host, 2000, 2);
    EXPECT_EQ(taught.count_max(&somebody, 2000), 1U);
    EXPECT_EQ(taught.count_max(&somebody, 1999), 32U);
    taught.refused(EMSGSIZE, &somebody, 9000, 2);
    EXPECT_EQ(taught.count_max(&somebody, 2000), 1U) << "no longer than it was";
}

TEST(segmentation, EIOIsRememberedOfTheHostForEverySize) {
    segmentation taught;
    taught.refused(EIO, &somebody, 1200, 5);
    EXPECT_EQ(taught.count_max(&somebody, 1), 1U);
    EXPECT_EQ(taught.count_max(&same_host, 9000), 1U);
    EXPECT_EQ(taught.count_max(&somebody_else, 1200), 54U);
    taught.refused(EMSGSIZE, &somebody, 9000, 5);
    EXPECT_EQ(taught.count_max(&somebody, 1), 1U) << "what was known is not forgotten for it";
}

TEST(segmentation, EINVALAbove64DatagramsTeachesTheOlderLimitOnceThePlainOnesWent) {
    segmentation taught;
    taught.refused(EINVAL, &somebody, 100, 65);
    EXPECT_EQ(taught.count_max(), count_max) << "it may be the destination's";
    taught.sent_plain(&somebody, 100, 1);
    EXPECT_GT(taught.count_max(), 1U);
    EXPECT_EQ(taught.count_max(), 64U);
    EXPECT_EQ(taught.count_max(&somebody, 100), 64U);
    EXPECT_EQ(taught.count_max(&somebody_else, 1), 64U) << "it is the kernel's, not the host's";
    EXPECT_EQ(taught.count_max(&somebody, 9000), 7U);
    taught.sent_plain(&somebody, 100, 2 * segmentation::plain_count);
    EXPECT_EQ(taught.count_max(), 64U) << "kernels do not change";
}

TEST(segmentation, AnyOtherEINVALTeachesTheSizeOnceThePlainOnesWent) {
    segmentation taught;
    taught.refused(EINVAL, &somebody, 2000, 30);
    EXPECT_EQ(taught.count_max(&somebody, 2000), 32U);
    taught.sent_plain(&somebody, 2000, 1);
    EXPECT_EQ(taught.count_max(&somebody, 2000), 1U) << "kernels before 6.14 mean EMSGSIZE by it";
    EXPECT_EQ(taught.count_max(&somebody, 1999), 32U);
    EXPECT_EQ(taught.count_max(&somebody_else, 2000), 32U);
    EXPECT_EQ(taught.count_max(), count_max);
}

TEST(segmentation, AnEINVALThatMeetsThePlainOnesTooTeachesNothing) {
    segmentation taught;
    for (const std::uint32_t count : {2U, 100U}) {
        taught.refused(EINVAL, &somebody, 100, count);  // a blackhole route, say
        taught.lost_plain();
        taught.sent_plain(&somebody_else, 100, 1);
    }
    EXPECT_EQ(taught.count_max(), count_max);
    EXPECT_EQ(taught.count_max(&somebody, 100), count_max);
    EXPECT_EQ(taught.count_max(&somebody_else, 100), count_max);
}

TEST(segmentation, OnAConnectedSocketTheLessonIsOfItsPeer) {
    segmentation taught;
    taught.refused(EMSGSIZE, nullptr, 2000, 3);
    EXPECT_EQ(taught.count_max(nullptr, 2000), 1U);
    EXPECT_EQ(taught.count_max(nullptr, 1999), 32U);
    EXPECT_EQ(taught.count_max(&somebody, 2000), 32U);
    taught.sent_plain(nullptr, 2000, segmentation::plain_count);
    EXPECT_EQ(taught.count_max(nullptr, 2000), 32U);
}

// --- forgetting ---

TEST(segmentation, ALessonIsForgottenAfterSoManyPlainDatagrams) {
    segmentation taught;
    taught.refused(EMSGSIZE, &somebody, 2000, 3);
    for (std::uint32_t i = 0; i < segmentation::plain_count - 1; ++i)
        taught.sent_plain(i % 2 == 0 ? &somebody : &same_host, 2000, 1);
    EXPECT_EQ(taught.count_max(&somebody, 2000), 1U);
    taught.sent_plain(&somebody, 9000, 1);
    EXPECT_EQ(taught.count_max(&somebody, 2000), 32U);
    taught.refused(EMSGSIZE, &somebody, 3000, 3);
    EXPECT_EQ(taught.count_max(&somebody, 3000), 1U) << "and learned again";
    EXPECT_EQ(taught.count_max(&somebody, 2000), 32U) << "without what was forgotten";
}

TEST(segmentation, OnlyDatagramsThatTheLessonIsAboutCountTowardsForgettingIt) {
    segmentation taught;
    taught.refused(EMSGSIZE, &somebody, 2000, 3);
    taught.sent_plain(&somebody, 1999, 2 * segmentation::plain_count);
    taught.sent_plain(&somebody_else, 2000, 2 * segmentation::plain_count);
    taught.sent_plain(nullptr, 2000, 2 * segmentation::plain_count);
    EXPECT_EQ(taught.count_max(&somebody, 2000), 1U);
}

TEST(segmentation, MoreAtOnceThanWereLeftForgetsAndNoMore) {
    segmentation taught;
    taught.refused(EIO, &somebody, 100, 2);
    taught.refused(EIO, &somebody_else, 100, 2);
    taught.sent_plain(&somebody, 100, ~std::uint32_t{0});
    EXPECT_EQ(taught.count_max(&somebody, 100), count_max);
    EXPECT_EQ(taught.count_max(&somebody_else, 100), 1U);
}

TEST(segmentation, ANewRefusalStartsTheCountAnew) {
    segmentation taught;
    taught.refused(EIO, &somebody, 100, 2);
    taught.sent_plain(&somebody, 100, segmentation::plain_count - 1);
    taught.refused(EIO, &somebody, 100, 2);
    taught.sent_plain(&somebody, 100, segmentation::plain_count - 1);
    EXPECT_EQ(taught.count_max(&somebody, 100), 1U);
    taught.sent_plain(&somebody, 100, 1);
    EXPECT_EQ(taught.count_max(&somebody, 100), count_max);
}

// --- a table of 16 hosts ---

TEST(segmentation, SixteenHostsAreRememberedAndThenTheOldestGivesWay) {
    segmentation taught;
    for (std::uint8_t i = 0; i < 16; ++i) {
        const address to = host(i);
        taught.refused(EIO, &to, 100, 2);
    }
    const auto is_remembered = [&](std::uint8_t number) {
        const address to = host(number);
        return taught.count_max(&to, 100) == 1;
    };
    for (std::uint8_t i = 0; i < 16; ++i)
        EXPECT_TRUE(is_remembered(i)) << int{i};
    for (std::uint8_t i = 16; i < 40; ++i) {
        const address to = host(i);
        taught.refused(EMSGSIZE, &to, 100, 2);
        EXPECT_TRUE(is_remembered(i)) << int{i};
        EXPECT_FALSE(is_remembered(static_cast<std::uint8_t>(i - 16))) << int{i};
        EXPECT_TRUE(is_remembered(static_cast<std::uint8_t>(i - 15))) << int{i};
    }
}

TEST(segmentation, AFullTableEmptiesToTheLastLesson) {
    segmentation taught;
    for (std::uint8_t i = 0; i < 20; ++i) {
        const address to = host(i);
        taught.refused(EIO, &to, 100, 2);
    }
    for (std::uint8_t i = 4; i < 20; ++i) {
        const address to = host(i);
        EXPECT_EQ(taught.count_max(&to, 100), 1U) << int{i};
        taught.sent_plain(&to, 100, segmentation::plain_count);
        EXPECT_EQ(taught.count_max(&to, 100), count_max) << int{i};
    }
    taught.refused(EIO, &somebody, 100, 2);
    EXPECT_EQ(taught.count_max(&somebody, 100), 1U) << "and is filled again";
}

TEST(segmentation, AHostThatIsRefusedAgainTakesNoSecondPlace) {
    segmentation taught;
    const address first = host(0);
    taught.refused(EMSGSIZE, &first, 2000, 2);
    for (std::uint32_t i = 0; i < 100; ++i)
        taught.refused(EMSGSIZE, &somebody, 9000 - i, 2);
    EXPECT_EQ(taught.count_max(&first, 2000), 1U);
    taught.sent_plain(&somebody, 9000, segmentation::plain_count);
    EXPECT_EQ(taught.count_max(&somebody, 9000), 7U) << "no second lesson is left";
}

// --- this kernel ---

class udp_pair {
  public:
    udp_pair() {
        const sockaddr_in any{.sin_family = AF_INET,
                              .sin_port = 0,
                              .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
                              .sin_zero = {}};
        sockaddr_in name = any;
        socklen_t size = sizeof name;
        is_open_ = ::bind(to_, reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0 &&
                   ::getsockname(to_, reinterpret_cast<sockaddr*>(&name), &size) == 0 &&
                   ::connect(from_, reinterpret_cast<const sockaddr*>(&name), size) == 0;
    }
    udp_pair(const udp_pair&) = delete;
    udp_pair& operator=(const udp_pair&) = delete;
    ~udp_pair() {
        ::close(from_);
        ::close(to_);
    }
    [[nodiscard]] bool is_open() const noexcept { return is_open_; }
    // 0 or an errno.
    [[nodiscard]] int send_run(const std::string& bytes, std::uint16_t segment) const {
        iovec payload{.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof segment)> control{};
        msghdr message{};
        message.msg_iov = &payload;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        cmsghdr* const header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_UDP;
        header->cmsg_type = UDP_SEGMENT;
        header->cmsg_len = CMSG_LEN(sizeof segment);
        std::memcpy(CMSG_DATA(header), &segment, sizeof segment);
        return ::sendmsg(from_, &message, MSG_DONTWAIT) < 0 ? errno : 0;
    }
    // Bytes of the next message that is there, or -1.
    [[nodiscard]] ssize_t receive() const {
        std::array<char, 70'000> bytes{};
        return ::recv(to_, bytes.data(), bytes.size(), MSG_DONTWAIT);
    }
    [[nodiscard]] int receiver() const noexcept { return to_; }

  private:
    int from_ = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int to_ = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool is_open_ = false;
};

TEST(offload_support, IsFoundOnceAndIsTheSameEverAfter) {
    const offload_support first = find_offload_support();
    const offload_support second = find_offload_support();
    EXPECT_EQ(first.has_segment, second.has_segment);
    EXPECT_EQ(first.has_gro, second.has_gro);
}

TEST(offload_support, AKernelThatIsSaidToKnowUDP_SEGMENTCutsARun) {
    if (!find_offload_support().has_segment) GTEST_SKIP() << "this kernel has no UDP_SEGMENT";
    const udp_pair sockets;
    ASSERT_TRUE(sockets.is_open());
    ASSERT_EQ(sockets.send_run(std::string(250, 'x'), 100), 0);
    EXPECT_EQ(sockets.receive(), 100);
    EXPECT_EQ(sockets.receive(), 100);
    EXPECT_EQ(sockets.receive(), 50);
    EXPECT_EQ(sockets.receive(), -1);
}

TEST(offload_support, AKernelThatIsSaidToKnowUDP_GROKeepsARunWhole) {
    const offload_support found = find_offload_support();
    if (!found.has_segment || !found.has_gro) {
        GTEST_SKIP() << "this kernel has no UDP_SEGMENT or no UDP_GRO";
    }
    const udp_pair sockets;
    ASSERT_TRUE(sockets.is_open());
    const int on = 1;
    ASSERT_EQ(::setsockopt(sockets.receiver(), SOL_UDP, UDP_GRO, &on, sizeof on), 0);
    ASSERT_EQ(sockets.send_run(std::string(250, 'x'), 100), 0);
    EXPECT_EQ(sockets.receive(), 250);
    EXPECT_EQ(sockets.receive(), -1);
}

TEST(offload_support, ThisKernelTakesTheLongestRunThatSegmentationAllowsOrSaysEINVAL) {
    if (!find_offload_support().has_segment) GTEST_SKIP() << "this kernel has no UDP_SEGMENT";
    const udp_pair sockets;
    ASSERT_TRUE(sockets.is_open());
    segmentation limits;
    const int answer = sockets.send_run(std::string(limits.count_max(), 'x'), 1);
    if (answer != 0) {
        // Before Linux 6.9.
        EXPECT_EQ(answer, EINVAL);
        limits.refused(answer, nullptr, 1, limits.count_max());
        EXPECT_EQ(sockets.send_run(std::string(limits.count_max(), 'x'), 1), 0);
    }
    for (std::uint32_t i = 0; i < limits.count_max(); ++i)
        EXPECT_EQ(sockets.receive(), 1);
    EXPECT_EQ(sockets.receive(), -1);
    // As many bytes as there can be, in segments that loopback's MTU takes.
    const std::uint32_t count = limits.count_max(nullptr, 1024);
    EXPECT_EQ(sockets.send_run(std::string(std::size_t{count} * 1024, 'x'), 1024), 0);
    for (std::uint32_t i = 0; i < count; ++i)
        EXPECT_EQ(sockets.receive(), 1024);
    EXPECT_EQ(sockets.receive(), -1);
}

}  // namespace
