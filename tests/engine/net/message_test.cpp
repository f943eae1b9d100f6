// SPDX-License-Identifier: MIT
#include "net/message.hpp"

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

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#ifndef UDP_GRO
#define UDP_GRO 104  // since Linux 5.0, <linux/udp.h>
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103  // since Linux 4.18, <linux/udp.h>
#endif

namespace {

using namespace quoit::detail;
using quoit::address;
using quoit::family;
using quoit::ip;
using bytes = std::vector<std::byte>;

constexpr std::uint32_t unlimited = 65'527;
constexpr message_layout plain{.name_size = 16, .control_size = 0};
constexpr message_layout with_control{.name_size = 16, .control_size = 24};
constexpr address somebody{"192.0.2.7", 4242};

// A buffer as the kernel would fill it; the fields may be changed to lies before build().
struct message_builder {
    message_layout layout = plain;
    message_header header{};
    address peer = somebody;
    bytes control{};
    std::string payload = "hello";

    explicit message_builder(message_layout with = plain) : layout(with) { set_payload("hello"); }
    message_builder& set_payload(std::string text) {
        payload = std::move(text);
        header.payload_size = static_cast<std::uint32_t>(payload.size());
        header.name_size = socket_address(peer).size();
        return *this;
    }
    message_builder& set_peer(const address& from) {
        peer = from;
        header.name_size = socket_address(peer).size();
        return *this;
    }
    message_builder& set_segment(int segment) {
        control.assign(CMSG_SPACE(sizeof segment), std::byte{});
        cmsghdr one{};
        one.cmsg_len = CMSG_LEN(sizeof segment);
        one.cmsg_level = SOL_UDP;
        one.cmsg_type = UDP_GRO;
        std::memcpy(control.data(), &one, sizeof one);
        std::memcpy(control.data() + CMSG_LEN(0), &segment, sizeof segment);
        header.control_size = static_cast<std::uint32_t>(control.size());
        return *this;
    }
    [[nodiscard]] bytes build() const {
        bytes buffer(layout.payload_offset() + payload.size());
        std::memcpy(buffer.data(), &header, sizeof header);
        const socket_address name{peer};
        std::memcpy(buffer.data() + message_layout::header_size, name.get(),
                    std::min<std::size_t>(name.size(), layout.name_size));
        std::ranges::copy_n(
            control.data(),
            static_cast<std::ptrdiff_t>(std::min<std::size_t>(control.size(), layout.control_size)),
            buffer.data() + layout.control_offset());
        std::ranges::copy(std::as_bytes(std::span(payload)),
                          buffer.data() + layout.payload_offset());
        return buffer;
    }
};

std::string_view text_of(const datagram_fields& fields) {
    return {reinterpret_cast<const char*>(fields.data), fields.size};
}

// What must hold of any result, whatever the bytes were.
void expect_sound(const parsed_message& parsed, std::span<const std::byte> buffer,
                  message_layout layout, std::uint32_t payload_size_max) {
    if (parsed.state != message_state::valid) return;
    ASSERT_GE(buffer.size(), layout.payload_offset());
    const std::size_t there = buffer.size() - layout.payload_offset();
    ASSERT_LE(parsed.size_total, there);
    ASSERT_EQ(parsed.first.data, buffer.data() + layout.payload_offset());
    ASSERT_LE(parsed.first.size, parsed.size_total);
    ASSERT_LE(parsed.first.size, payload_size_max);
    ASSERT_GE(parsed.first.original_size, parsed.first.size);
    if (parsed.first.control_size > 0) {
        ASSERT_EQ(parsed.first.control, buffer.data() + layout.control_offset());
        ASSERT_LE(parsed.first.control_size, layout.control_size);
    }
    // A train: `count` datagrams, none of them beyond what is there, none empty.
    ASSERT_GE(parsed.count(), 1U);
    if (parsed.count() > 1) {
        ASSERT_GT(parsed.segment, 0U);
        ASSERT_LT(std::size_t{parsed.count() - 1} * parsed.segment, parsed.size_total);
        ASSERT_GE(std::size_t{parsed.count()} * parsed.segment, parsed.size_total);
        ASSERT_LE(parsed.first.size, parsed.segment);
    }
}

parsed_message parse(const message_builder& built, std::uint32_t payload_size_max = unlimited) {
    // The fields point into the buffer: only what does not is looked at by those who use this.
    const bytes buffer = built.build();
    const parsed_message parsed = parse_message(buffer, built.layout, payload_size_max);
    expect_sound(parsed, buffer, built.layout, payload_size_max);
    return parsed;
}

// --- what is well-formed ---

TEST(message, APlainMessageIsItsPayloadAndItsSender) {
    const bytes buffer = message_builder().build();
    const parsed_message parsed = parse_message(buffer, plain, unlimited);
    ASSERT_EQ(parsed.state, message_state::valid);
    EXPECT_EQ(text_of(parsed.first), "hello");
    EXPECT_EQ(parsed.first.peer, somebody);
    EXPECT_EQ(parsed.first.original_size, 5U);
    EXPECT_EQ(parsed.size_total, 5U);
    EXPECT_EQ(parsed.segment, 0U);
    EXPECT_EQ(parsed.count(), 1U);
    EXPECT_EQ(parsed.first.control_size, 0U);
}

TEST(message, AnIpv6SenderKeepsScopeAndFlow) {
    const address from = address("fe80::1%3", 53).with_flow(7);
    message_builder built({.name_size = 28, .control_size = 0});
    EXPECT_EQ(parse(built.set_peer(from)).first.peer, from);
}

// An IPv4 name in a layout for IPv6: offsets follow from what was asked for.
TEST(message, AShorterNameDoesNotMoveThePayload) {
    message_builder built({.name_size = 28, .control_size = 40});
    const bytes buffer = built.build();
    const parsed_message parsed = parse_message(buffer, built.layout, unlimited);
    ASSERT_EQ(parsed.state, message_state::valid);
    EXPECT_EQ(text_of(parsed.first), "hello");
    EXPECT_EQ(parsed.first.peer, somebody);
}

TEST(message, AnEmptyDatagramIsOneDatagram) {
    const parsed_message parsed = parse(message_builder().set_payload(""));
    EXPECT_EQ(parsed.state, message_state::valid);
    EXPECT_EQ(parsed.first.size, 0U);
    EXPECT_EQ(parsed.first.original_size, 0U);
    EXPECT_EQ(parsed.count(), 1U);
    EXPECT_EQ(parsed.first.peer, somebody);
}

TEST(message, ATrainIsAsManyDatagramsAsItsBytesAreSegments) {
    struct {
        std::size_t size;
        int segment;
        std::uint32_t count;
    } constexpr trains[] = {{1000, 100, 10}, {1001, 100, 11}, {999, 100, 10},
                            {101, 100, 2},   {2, 1, 2},       {65'507, 1, 65'507}};
    for (const auto& [size, segment, count] : trains) {
        message_builder built(with_control);
        const parsed_message parsed =
            parse(built.set_payload(std::string(size, 'x')).set_segment(segment));
        EXPECT_EQ(parsed.state, message_state::valid);
        EXPECT_EQ(parsed.segment, segment);
        EXPECT_EQ(parsed.count(), count) << size << " by " << segment;
        EXPECT_EQ(parsed.size_total, size);
        EXPECT_EQ(parsed.first.size, static_cast<std::uint32_t>(segment));
        EXPECT_EQ(parsed.first.original_size, static_cast<std::uint32_t>(segment));
    }
}

TEST(message, ASegmentNoShorterThanThePayloadIsNoTrain) {
    for (const std::size_t size : {0U, 1U, 99U, 100U}) {
        message_builder built(with_control);
        const parsed_message parsed =
            parse(built.set_payload(std::string(size, 'x')).set_segment(100));
        EXPECT_EQ(parsed.state, message_state::valid);
        EXPECT_EQ(parsed.segment, 0U);
        EXPECT_EQ(parsed.count(), 1U);
        EXPECT_EQ(parsed.first.size, size);
    }
}

TEST(message, ALongPayloadIsCutToTheMaximumAndSaysHowLongItWas) {
    const parsed_message parsed = parse(message_builder().set_payload(std::string(1000, 'x')), 100);
    EXPECT_EQ(parsed.first.size, 100U);
    EXPECT_EQ(parsed.first.original_size, 1000U);
    EXPECT_TRUE(quoit::datagram_view(parsed.first).truncated());
    const parsed_message exact = parse(message_builder().set_payload(std::string(100, 'x')), 100);
    EXPECT_FALSE(quoit::datagram_view(exact.first).truncated());
}

TEST(message, TheMaximumHoldsForEachDatagramOfATrain) {
    message_builder built(with_control);
    built.set_payload(std::string(1000, 'x')).set_segment(100);
    EXPECT_EQ(parse(built, 100).first.size, 100U);
    const parsed_message parsed = parse(built, 60);
    EXPECT_EQ(parsed.first.size, 60U);
    EXPECT_EQ(parsed.first.original_size, 100U);
    EXPECT_EQ(parsed.count(), 10U);
}

// --- lengths that lie ---

TEST(message, EveryBufferShorterThanItsLayoutIsShort) {
    for (const message_layout layout :
         {plain, with_control, message_layout{.name_size = 28, .control_size = 281}}) {
        const bytes whole = message_builder(layout).set_payload("").build();
        for (std::size_t size = 0; size < whole.size(); ++size) {
            // A copy of exactly that size, so that AddressSanitizer sees a read beyond it.
            const bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
            EXPECT_EQ(parse_message(cut, layout, unlimited).state, message_state::short_buffer);
            EXPECT_EQ(segment_of(cut, layout), 0U);
        }
    }
}

TEST(message, APayloadIsWhatIsThereAndItsOriginalSizeWhatWasClaimed) {
    message_builder built;
    const bytes whole = built.set_payload(std::string(100, 'x')).build();
    for (std::size_t there = 0; there <= 100; ++there) {
        const bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(
                                                           plain.payload_offset() + there));
        const parsed_message parsed = parse_message(cut, plain, unlimited);
        expect_sound(parsed, cut, plain, unlimited);
        EXPECT_EQ(parsed.state, message_state::valid);
        EXPECT_EQ(parsed.first.size, there);
        EXPECT_EQ(parsed.first.original_size, 100U);
    }
}

TEST(message, BytesBeyondTheClaimedPayloadAreNotPartOfIt) {
    message_builder built;
    built.set_payload("hello, and rubbish");
    built.header.payload_size = 5;
    const bytes buffer = built.build();
    EXPECT_EQ(text_of(parse_message(buffer, plain, unlimited).first), "hello");
}

TEST(message, ATruncatedTrainHasNoDatagramBeyondItsBytes) {
    message_builder built(with_control);
    const bytes whole = built.set_payload(std::string(1000, 'x')).set_segment(100).build();
    for (std::size_t there = 0; there <= 1000; there += 7) {
        const bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(
                                                           with_control.payload_offset() + there));
        expect_sound(parse_message(cut, with_control, unlimited), cut, with_control, unlimited);
    }
}

TEST(message, ClaimsThatReachBeyondTheBufferAreNotFollowed) {
    for (const std::uint32_t lie : {6U, 1000U, 65'535U, 0x7fff'ffffU, 0xffff'fff0U, 0xffff'ffffU}) {
        message_builder built(with_control);
        built.set_segment(100);
        built.header.payload_size = lie;
        const parsed_message parsed = parse(built);
        EXPECT_EQ(parsed.size_total, 5U) << lie;

        built.header.name_size = std::max(lie, 17U);
        built.header.control_size = std::max(lie, 25U);
        EXPECT_EQ(parse(built).size_total, 5U) << lie;
    }
}

TEST(message, ANameOfNoFamilyWeKnowIsBad) {
    for (const std::uint32_t size : {0U, 1U, 2U, 8U, 15U}) {
        message_builder built;
        built.header.name_size = size;
        EXPECT_EQ(parse(built).state, message_state::bad_name) << size;
    }
    bytes buffer = message_builder().build();
    for (const int domain : {AF_UNSPEC, AF_UNIX, 0xffff}) {
        const auto value = static_cast<sa_family_t>(domain);
        std::memcpy(buffer.data() + message_layout::header_size, &value, sizeof value);
        EXPECT_EQ(parse_message(buffer, plain, unlimited).state, message_state::bad_name);
    }
    // An IPv6 name cut to the room of an IPv4 one.
    const auto value = static_cast<sa_family_t>(AF_INET6);
    std::memcpy(buffer.data() + message_layout::header_size, &value, sizeof value);
    EXPECT_EQ(parse_message(buffer, plain, unlimited).state, message_state::bad_name);
}

TEST(message, CutControlMessagesMayHideATrain) {
    message_builder built(with_control);
    built.header.flags = MSG_CTRUNC;
    EXPECT_EQ(parse(built).state, message_state::control_cut);
}

TEST(message, ATrainWhoseControlMessagesWereCutBehindItsSegmentIsATrain) {
    message_builder built(with_control);
    built.set_segment(100).set_payload(std::string(1000, 'x'));
    built.header.flags = MSG_CTRUNC;
    const parsed_message parsed = parse(built);
    EXPECT_EQ(parsed.state, message_state::valid);
    EXPECT_EQ(parsed.segment, 100U);
    EXPECT_EQ(parsed.count(), 10U);
    EXPECT_EQ(parsed.first.control_size, 0U) << "what is left of the metadata is not passed on";
    EXPECT_EQ(segment_of(built.build(), built.layout), 100U);
}

TEST(message, ASegmentThatWasItselfCutIsNotBelieved) {
    message_builder built(with_control);
    built.set_segment(100).set_payload(std::string(1000, 'x'));
    built.header.flags = MSG_CTRUNC;
    const std::size_t cut_size = CMSG_LEN(2);  // as put_cmsg() shortens the last one
    std::memcpy(built.control.data(), &cut_size, sizeof cut_size);
    built.header.control_size = static_cast<std::uint32_t>(cut_size);
    EXPECT_EQ(parse(built).state, message_state::control_cut);
}

TEST(message, ControlMessagesThatDoNotAddUpAreBad) {
    for (const int segment : {0, -1, 65'536}) {
        message_builder built(with_control);
        EXPECT_EQ(parse(built.set_segment(segment)).state, message_state::bad_control) << segment;
    }
    message_builder built(with_control);
    built.set_segment(100);
    built.control[0] = std::byte{0};  // cmsg_len
    EXPECT_EQ(parse(built).state, message_state::bad_control);
}

// --- any bytes at all ---

bytes to_bytes(const std::vector<std::uint8_t>& from) {
    const auto view = std::as_bytes(std::span(from));
    return {view.begin(), view.end()};
}

RC_GTEST_PROP(message, AnyBytesAreParsedWithoutReadingOutside, ()) {
    const bytes buffer = to_bytes(*rc::gen::arbitrary<std::vector<std::uint8_t>>());
    const message_layout layout{.name_size = *rc::gen::inRange<std::uint16_t>(0, 40),
                                .control_size = *rc::gen::inRange<std::uint16_t>(0, 80)};
    const auto size_max = *rc::gen::arbitrary<std::uint32_t>();
    expect_sound(parse_message(buffer, layout, size_max), buffer, layout, size_max);
    RC_ASSERT(!::testing::Test::HasFatalFailure());
}

// A good train with lies in its header, its control message and its end: gets far into the parser.
RC_GTEST_PROP(message, ATrainWithLiesIsNeverMoreThanWhatIsThere, ()) {
    message_builder built(with_control);
    built.set_payload(std::string(*rc::gen::inRange<std::size_t>(0, 3000), 'x'));
    built.set_segment(*rc::gen::oneOf(rc::gen::inRange(1, 200), rc::gen::arbitrary<int>()));
    const auto lie = [](std::uint32_t& field) {
        if (*rc::gen::inRange(0, 3) == 0) field = *rc::gen::arbitrary<std::uint32_t>();
    };
    lie(built.header.payload_size);
    lie(built.header.name_size);
    lie(built.header.control_size);
    bytes buffer = built.build();
    const auto changes = *rc::gen::inRange(0, 4);
    for (int i = 0; i < changes; ++i) {
        const auto where = *rc::gen::inRange<std::size_t>(0, with_control.payload_offset());
        buffer[where] = static_cast<std::byte>(*rc::gen::arbitrary<std::uint8_t>());
    }
    buffer.resize(*rc::gen::inRange<std::size_t>(0, buffer.size() + 1));
    buffer.shrink_to_fit();
    const auto size_max = *rc::gen::inRange<std::uint32_t>(1, 4000);
    const parsed_message parsed = parse_message(buffer, with_control, size_max);
    expect_sound(parsed, buffer, with_control, size_max);
    RC_ASSERT(!::testing::Test::HasFatalFailure());
    RC_CLASSIFY(parsed.state == message_state::valid && parsed.count() > 1, "a train");
    // Whoever counts and whoever reads agree about how many datagrams there are.
    const std::uint16_t counted = segment_of(buffer, with_control);
    if (parsed.state != message_state::valid) {
        RC_ASSERT(counted == 0);
    } else {
        RC_ASSERT(counted == parsed.segment);
    }
}

// --- against the kernel ---

class message_of_the_kernel : public ::testing::TestWithParam<family> {
  protected:
    void SetUp() override {
        const bool is_v6 = GetParam() == family::ipv6;
        receiver_ = ::socket(domain_of(GetParam()), SOCK_DGRAM | SOCK_CLOEXEC, 0);
        sender_ = ::socket(domain_of(GetParam()), SOCK_DGRAM | SOCK_CLOEXEC, 0);
        const socket_address anywhere{address(is_v6 ? ip("::1") : ip("127.0.0.1"), 0)};
        if (receiver_ < 0 || ::bind(receiver_, anywhere.get(), anywhere.size()) != 0) {
            ASSERT_TRUE(is_v6) << std::strerror(errno);
            GTEST_SKIP() << "no IPv6 loopback";
        }
        ASSERT_EQ(::bind(sender_, anywhere.get(), anywhere.size()), 0);
        layout_ = {.name_size = static_cast<std::uint16_t>(is_v6 ? 28 : 16),
                   .control_size = control_size_for(GetParam(), quoit::metadata::none, true)};
    }
    void TearDown() override {
        if (receiver_ >= 0) ::close(receiver_);
        if (sender_ >= 0) ::close(sender_);
    }
    static address local(int fd) {
        socket_address name;
        socklen_t size = socket_address::size_max;
        EXPECT_EQ(::getsockname(fd, name.get(), &size), 0);
        return from_sockaddr({reinterpret_cast<const std::byte*>(name.get()), size})
            .value_or(address{});
    }
    // Received as the epoll backend does it; `room` bytes for the payload.
    bytes receive(std::size_t room) {
        pollfd one{.fd = receiver_, .events = POLLIN, .revents = 0};
        EXPECT_EQ(::poll(&one, 1, 10'000), 1);
        bytes buffer(layout_.payload_offset() + room);
        iovec into{.iov_base = buffer.data() + layout_.payload_offset(), .iov_len = room};
        msghdr message{};
        message.msg_name = buffer.data() + message_layout::header_size;
        message.msg_namelen = layout_.name_size;
        message.msg_control = buffer.data() + layout_.control_offset();
        message.msg_controllen = layout_.control_size;
        message.msg_iov = &into;
        message.msg_iovlen = 1;
        const ssize_t got = ::recvmsg(receiver_, &message, MSG_DONTWAIT | MSG_TRUNC);
        EXPECT_GE(got, 0) << std::strerror(errno);
        const message_header header{
            .name_size = message.msg_namelen,
            .control_size = static_cast<std::uint32_t>(message.msg_controllen),
            .payload_size = static_cast<std::uint32_t>(got),
            .flags = static_cast<std::uint32_t>(message.msg_flags)};
        std::memcpy(buffer.data(), &header, sizeof header);
        buffer.resize(layout_.payload_offset() +
                      std::min(room, static_cast<std::size_t>(std::max<ssize_t>(got, 0))));
        return buffer;
    }
    void send(const std::string& text) {
        const socket_address to{local(receiver_)};
        ASSERT_EQ(::sendto(sender_, text.data(), text.size(), 0, to.get(), to.size()),
                  static_cast<ssize_t>(text.size()));
    }
    int receiver_ = -1;
    int sender_ = -1;
    message_layout layout_;
};

TEST_P(message_of_the_kernel, APlainDatagramIsReadBack) {
    send("hello");
    const bytes buffer = receive(100);
    const parsed_message parsed = parse_message(buffer, layout_, unlimited);
    ASSERT_EQ(parsed.state, message_state::valid);
    EXPECT_EQ(text_of(parsed.first), "hello");
    EXPECT_EQ(parsed.first.peer, local(sender_));
    EXPECT_EQ(parsed.count(), 1U);
}

TEST_P(message_of_the_kernel, ALongDatagramIsCutAndSaysHowLongItWas) {
    send(std::string(1000, 'x'));
    const bytes buffer = receive(100);
    const parsed_message parsed = parse_message(buffer, layout_, unlimited);
    ASSERT_EQ(parsed.state, message_state::valid);
    EXPECT_EQ(parsed.first.size, 100U);
    EXPECT_EQ(parsed.first.original_size, 1000U);
}

TEST_P(message_of_the_kernel, ATrainIsReadBackWithItsSegment) {
    const int is_on = 1;
    const int segment = 300;
    if (::setsockopt(receiver_, SOL_UDP, UDP_GRO, &is_on, sizeof is_on) != 0 ||
        ::setsockopt(sender_, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment) != 0) {
        GTEST_SKIP() << "no UDP_GRO or UDP_SEGMENT: " << std::strerror(errno);
    }
    send(std::string(1000, 'x'));
    const bytes buffer = receive(2000);
    const parsed_message parsed = parse_message(buffer, layout_, unlimited);
    ASSERT_EQ(parsed.state, message_state::valid);
    EXPECT_EQ(parsed.segment, 300U);
    EXPECT_EQ(parsed.count(), 4U);
    EXPECT_EQ(parsed.size_total, 1000U);
    EXPECT_EQ(segment_of(buffer, layout_), 300U);
}

// Without room for the control message the train must not become one datagram of 1000 bytes.
TEST_P(message_of_the_kernel, ATrainThatLostItsSegmentIsNotBelieved) {
    const int is_on = 1;
    const int segment = 300;
    if (::setsockopt(receiver_, SOL_UDP, UDP_GRO, &is_on, sizeof is_on) != 0 ||
        ::setsockopt(sender_, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment) != 0) {
        GTEST_SKIP() << "no UDP_GRO or UDP_SEGMENT: " << std::strerror(errno);
    }
    for (const unsigned room : {0U, 8U, 16U, 19U}) {
        layout_.control_size = static_cast<std::uint16_t>(room);
        send(std::string(1000, 'x'));
        const bytes buffer = receive(2000);
        EXPECT_EQ(parse_message(buffer, layout_, unlimited).state, message_state::control_cut)
            << room;
    }
}

INSTANTIATE_TEST_SUITE_P(family, message_of_the_kernel,
                         ::testing::Values(family::ipv4, family::ipv6), [](const auto& one) {
                             return one.param == family::ipv4 ? "ipv4" : "ipv6";
                         });

}  // namespace
