// SPDX-License-Identifier: MIT
#include "net/receive.hpp"

#include "net/control_message.hpp"
#include "net/send.hpp"
#include "net/udp_socket.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

namespace {

using namespace quoit::detail;
using quoit::address;
using quoit::metadata;
using quoit::udp_options;

constexpr std::uint32_t payload_size_max = 8;

class receive_message_case : public ::testing::Test {
  protected:
    [[nodiscard]] receive_result receive() {
        return receive_message(receiver_.descriptor(), buffer_, layout_);
    }
    [[nodiscard]] parsed_message parse(const receive_result& got) const {
        return parse_message(std::span(buffer_).first(got.size), layout_, payload_size_max);
    }
    void send(const std::string& text) {
        const iovec piece = piece_of(std::as_bytes(std::span(text)));
        const outgoing message{.pieces = std::span(&piece, 1), .to = &receiver_.local()};
        ASSERT_EQ(send_messages(sender_.descriptor(), std::span(&message, 1)).sent, 1U);
    }

    udp_socket receiver_ = or_throw(udp_socket::listen(
        {"127.0.0.1", 0},
        udp_options{.received_metadata = metadata::ttl, .offload = quoit::offload::off}));
    udp_socket sender_ = or_throw(udp_socket::listen({"127.0.0.1", 0}, {}));
    const message_layout layout_{
        .name_size = 16,
        .control_size = control_size_for(quoit::family::ipv4, metadata::ttl, false)};
    std::vector<std::byte> buffer_ =
        std::vector<std::byte>(layout_.payload_offset() + payload_size_max);
};

TEST_F(receive_message_case, WithoutAMessageItDoesNotWait) { EXPECT_EQ(receive().error, EAGAIN); }

TEST_F(receive_message_case, AMessageIsLaidOutForTheParser) {
    send("hello");
    const receive_result got = receive();
    ASSERT_EQ(got.error, 0);
    EXPECT_EQ(got.size, layout_.payload_offset() + 5);
    const parsed_message parsed = parse(got);
    EXPECT_EQ(parsed.state, message_state::valid);
    EXPECT_EQ(parsed.first.peer, sender_.local());
    EXPECT_EQ(quoit::datagram_view(parsed.first).text(), "hello");
    EXPECT_TRUE(quoit::datagram_view(parsed.first).ttl().has_value());
}

TEST_F(receive_message_case, WhatDoesNotFitIsCutAndItsLengthIsKnown) {
    send("much too long");
    const receive_result got = receive();
    ASSERT_EQ(got.error, 0);
    EXPECT_EQ(got.size, buffer_.size());
    const parsed_message parsed = parse(got);
    EXPECT_EQ(quoit::datagram_view(parsed.first).text(), "much too");
    EXPECT_EQ(parsed.first.original_size, 13U);
}

TEST_F(receive_message_case, AnEmptyMessageIsOne) {
    send("");
    const receive_result got = receive();
    ASSERT_EQ(got.error, 0);
    EXPECT_EQ(got.size, layout_.payload_offset());
    EXPECT_EQ(parse(got).state, message_state::valid);
}

}  // namespace
