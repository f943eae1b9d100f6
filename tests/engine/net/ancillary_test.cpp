// SPDX-License-Identifier: MIT
//
// Control data of UNIX messages, sound and not, and where it lies in a receive buffer.
#include "net/ancillary.hpp"

#include "net/message.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string_view>
#include <vector>

namespace quoit::detail {
namespace {

int new_descriptor() { return ::eventfd(0, EFD_CLOEXEC); }
bool is_open(int fd) { return ::fcntl(fd, F_GETFD) != -1; }

/// A control message with a length of its own choice.
void append(std::vector<std::byte>& to, int type, std::span<const std::byte> payload,
            std::size_t claimed) {
    cmsghdr header{};
    header.cmsg_len = claimed;
    header.cmsg_level = SOL_SOCKET;
    header.cmsg_type = type;
    const std::size_t begin = to.size();
    to.resize(begin + CMSG_SPACE(payload.size()));
    std::memcpy(to.data() + begin, &header, sizeof header);
    std::memcpy(to.data() + begin + CMSG_LEN(0), payload.data(), payload.size());
}
void append(std::vector<std::byte>& to, int type, std::span<const std::byte> payload) {
    append(to, type, payload, CMSG_LEN(payload.size()));
}

TEST(ancillary, DescriptorsOfEveryMessageAreTakenInOrder) {
    const int first[] = {new_descriptor(), new_descriptor()};
    const int second[] = {new_descriptor()};
    const ucred who{.pid = 1, .uid = 2, .gid = 3};
    std::vector<std::byte> control;
    append(control, SCM_RIGHTS, std::as_bytes(std::span(first)));
    append(control, SCM_CREDENTIALS, std::as_bytes(std::span(&who, 1)));
    append(control, SCM_RIGHTS, std::as_bytes(std::span(second)));
    {
        const auto taken = take_descriptors(control);
        ASSERT_EQ(taken.size(), 3U);
        EXPECT_EQ(taken[0].get(), first[0]);
        EXPECT_EQ(taken[1].get(), first[1]);
        EXPECT_EQ(taken[2].get(), second[0]);
        EXPECT_EQ(find_credentials(control), (credentials{.pid = 1, .uid = 2, .gid = 3}));
    }
    EXPECT_FALSE(is_open(first[0]));
}

TEST(ancillary, ClosingClosesAll) {
    const int all[] = {new_descriptor(), new_descriptor()};
    std::vector<std::byte> control;
    append(control, SCM_RIGHTS, std::as_bytes(std::span(all)));
    close_descriptors(control);
    EXPECT_FALSE(is_open(all[0]));
    EXPECT_FALSE(is_open(all[1]));
}

TEST(ancillary, LengthsThatDoNotAddUpEndTheWalk) {
    const int one = new_descriptor();
    const auto payload = std::as_bytes(std::span(&one, 1));
    for (const std::size_t claimed :
         {std::size_t{0}, CMSG_LEN(0) - 1, std::size_t{1'000'000}, ~std::size_t{0}}) {
        std::vector<std::byte> control;
        append(control, SCM_RIGHTS, payload, claimed);
        EXPECT_TRUE(take_descriptors(control).empty()) << claimed;
        EXPECT_FALSE(find_credentials(control).has_value());
        close_descriptors(control);
    }
    std::vector<std::byte> control;
    append(control, SCM_RIGHTS, payload);
    for (std::size_t size = 0; size < CMSG_LEN(sizeof one); ++size)
        close_descriptors(std::span(control).first(size));
    EXPECT_TRUE(is_open(one));
    ::close(one);
}

TEST(ancillary, NothingToSendIsNothing) {
    const auto nothing = outgoing_ancillary::create({});
    ASSERT_TRUE(nothing.has_value());
    EXPECT_EQ(*nothing, nullptr);
}

TEST(ancillary, WhatIsSentIsDuplicatedAndClosedWithIt) {
    const file_descriptor mine(new_descriptor());
    const int passed[] = {mine.get()};
    auto made = outgoing_ancillary::create({.descriptors = passed});
    ASSERT_TRUE(made.has_value());
    int duplicate = -1;
    std::memcpy(&duplicate, (*made)->control().data() + CMSG_LEN(0), sizeof duplicate);
    EXPECT_NE(duplicate, mine.get());
    EXPECT_TRUE(is_open(duplicate));
    made->reset();
    EXPECT_FALSE(is_open(duplicate));
    EXPECT_TRUE(is_open(mine.get()));
}

TEST(ancillary, RoomIsForExactlyAsManyAsWereAskedFor) {
    EXPECT_EQ(ancillary_size_for({.descriptors_max = 0}), 0U);
    EXPECT_EQ(ancillary_size_for({.descriptors_max = 3}), CMSG_LEN(12));
    EXPECT_EQ(ancillary_size_for({.descriptors_max = 3, .receive_credentials = true}),
              CMSG_SPACE(12) + CMSG_LEN(12));
}

// --- messages of UNIX sources ---

constexpr message_layout layout{.name_size = message_layout::unix_name_size, .control_size = 32};

/// A buffer as the backends lay it out.
class unix_buffer {
  public:
    unix_buffer(std::uint32_t name_size, std::uint32_t flags, std::string_view payload) {
        const message_header header{.name_size = name_size,
                                    .control_size = 0,
                                    .payload_size = static_cast<std::uint32_t>(payload.size()),
                                    .flags = flags};
        std::memcpy(bytes.data(), &header, sizeof header);
        name.sun_family = AF_UNIX;
        std::memcpy(name.sun_path, "peer", 5);
        write_name();
        std::memcpy(bytes.data() + layout.payload_offset(), payload.data(), payload.size());
        bytes.resize(layout.payload_offset() + payload.size());
    }
    void write_name() { std::memcpy(bytes.data() + 16, &name, sizeof name); }
    [[nodiscard]] parsed_message parse() const { return parse_message(bytes, layout, 100); }

    sockaddr_un name{};
    std::vector<std::byte> bytes = std::vector<std::byte>(512);
};

TEST(unix_message, NameAndControlDataAreFoundBeforeThePayload) {
    const unix_buffer buffer(7, 0, "hello");
    const parsed_message parsed = buffer.parse();
    ASSERT_EQ(parsed.state, message_state::valid);
    EXPECT_EQ(parsed.first.size, 5U);
    EXPECT_EQ(parsed.first.peer, address());
    const unix_message found = unix_message_before(parsed.first.control, parsed.first.control_size);
    EXPECT_EQ(found.name.data(), buffer.bytes.data() + 16);
    EXPECT_EQ(found.name.size(), 7U);
    EXPECT_TRUE(found.control.empty());
    EXPECT_FALSE(found.is_control_cut);
}

TEST(unix_message, ControlDataThatWasCutIsKept) {
    unix_buffer buffer(7, MSG_CTRUNC, "hello");
    const int one = 77;
    std::vector<std::byte> control;
    append(control, SCM_RIGHTS, std::as_bytes(std::span(&one, 1)));
    std::memcpy(buffer.bytes.data() + layout.control_offset(), control.data(), control.size());
    const std::uint32_t control_size = CMSG_LEN(sizeof one);
    std::memcpy(buffer.bytes.data() + 4, &control_size, sizeof control_size);
    const parsed_message parsed = buffer.parse();
    EXPECT_EQ(parsed.state, message_state::control_cut);
    const unix_message found = unix_message_before(parsed.first.control, parsed.first.control_size);
    EXPECT_TRUE(found.is_control_cut);
    EXPECT_EQ(found.control.size(), control_size);
}

TEST(unix_message, WithoutANameItIsValidAndWithAForeignOneItIsNot) {
    EXPECT_EQ(unix_buffer(0, 0, "").parse().state, message_state::valid);
    unix_buffer foreign(16, 0, "");
    foreign.name.sun_family = AF_INET;
    foreign.write_name();
    EXPECT_EQ(foreign.parse().state, message_state::bad_name);
}

TEST(unix_message, ALengthBeyondTheNamesAreaIsNotBelieved) {
    const unix_buffer buffer(100'000, 0, "x");
    const parsed_message parsed = buffer.parse();
    ASSERT_EQ(parsed.state, message_state::valid);
    EXPECT_EQ(unix_message_before(parsed.first.control, 0).name.size(),
              std::size_t{message_layout::unix_name_size});
}

}  // namespace
}  // namespace quoit::detail
