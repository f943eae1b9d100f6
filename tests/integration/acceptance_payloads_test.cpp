// SPDX-License-Identifier: MIT
//
// The acceptance cases of payloads, B01-B02 (docs/testing.md): codecs through real endpoints.
#include "integration/acceptance_fixture.hpp"

#include <quoit/json.hpp>

namespace quoit::test {

namespace {

using nlohmann::json;
using record = struct_format<"! I 2s Q 2h f">;

// What the cookbook's client sends, byte by byte.
constexpr std::string_view cookbook("\0\0\0\1ab\0\0\0\0\0\0\0\2\0\3\0\3\x40\x20\0\0", 22);

// --- B01 ---

task<> pack_and_unpack() {
    auto server = co_await listen();
    const foreign_socket peer;
    server.sendto(record::pack(1, "ab", 2, 3, 3, 2.5F), peer.local());
    const auto sent = co_await receive(peer);
    EXPECT_EQ(sent.payload, cookbook);

    peer.sendto(cookbook, server.local_address());
    auto heard = co_await server.read(patiently);
    const auto fields = or_throw(record::unpack(or_throw(std::move(heard))));
    EXPECT_EQ(fields, record::tuple(1, {'a', 'b'}, 2, 3, 3, 2.5F));
}

TEST_P(acceptance, B01AStructIsTheBytesThatPythonWritesAndReads) { run(pack_and_unpack()); }

task<> unpack_wrong_lengths() {
    auto server = co_await listen();
    const foreign_socket peer;
    const std::string longer = std::string(cookbook) + '\0';
    for (const std::size_t size : {21U, 23U}) {
        peer.sendto(std::string_view(longer).substr(0, size), server.local_address());
        auto heard = co_await server.read(patiently);
        const auto fields = record::unpack(or_throw(std::move(heard)));
        expect_error(fields, errc::bad_datagram);
        if (!fields) {
            EXPECT_EQ(fields.error().context(),
                      "a struct of 22 bytes, got " + std::to_string(size) + " bytes");
        }
    }
    // The endpoint goes on.
    peer.sendto(cookbook, server.local_address());
    auto heard = co_await server.read(patiently);
    EXPECT_TRUE(record::unpack(or_throw(std::move(heard))).has_value());
}

TEST_P(acceptance, B01AStructOfAnotherLengthIsAParseErrorWithBothLengths) {
    run(unpack_wrong_lengths());
}

task<> exchange_structs() {
    const foreign_socket peer;
    auto client = co_await connect(peer.local());
    message_channel channel(std::move(client), record{});
    const record::tuple sent(7, {'x', 'y'}, 8, -9, 10, 0.5F);
    EXPECT_TRUE(channel.send(sent));
    const auto arrived = co_await receive(peer);
    EXPECT_EQ(arrived.payload.size(), record::size);
    peer.sendto(arrived.payload, channel.endpoint().local_address());
    auto answer = co_await channel.read(patiently);
    EXPECT_EQ(or_throw(std::move(answer)), sent);
}

TEST_P(acceptance, B01AStructIsAMessageOfAChannel) { run(exchange_structs()); }

// --- B02: the channel's half ---

// EasyNetwork's tutorial: what is JSON comes back, what is not is answered with an error.
task<> echo_json(message_channel<json_codec>& channel, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        auto request = co_await channel.read(patiently);
        if (request) {
            EXPECT_TRUE(channel.send(*request));
        } else {
            EXPECT_EQ(request.error(), errc::bad_datagram) << request.error();
            EXPECT_TRUE(channel.send(json{{"error", "Invalid JSON"}, {"code", "parse_error"}}));
        }
    }
}

task<> talk_json() {
    const foreign_socket peer;
    auto client = co_await connect(peer.local());
    message_channel channel(std::move(client), json_codec{});
    const address to = channel.endpoint().local_address();
    peer.sendto(R"({"command-line arguments": ["Hello", "world!"]})", to);
    peer.sendto("{not json", to);
    peer.sendto("\"\xFF\"", to);
    peer.sendto(std::string(60'000, '['), to);
    peer.sendto("[1, 2.5, null]", to);
    co_await echo_json(channel, 5);

    const std::string refusal = R"({"code":"parse_error","error":"Invalid JSON"})";
    const std::vector<std::string> expected{R"({"command-line arguments":["Hello","world!"]})",
                                            refusal, refusal, refusal, "[1,2.5,null]"};
    for (const std::string& one : expected) {
        const auto answer = co_await receive(peer);
        EXPECT_EQ(answer.payload, one);
    }
}

TEST_P(acceptance, B02JsonIsEchoedAndBadJsonIsAnsweredWithAnError) { run(talk_json()); }

task<> send_what_cannot_be_sent() {
    const foreign_socket peer;
    auto client = co_await connect(peer.local());
    message_channel channel(std::move(client), json_codec{});
    EXPECT_EQ(channel.send(json("\xFF")), errc::bad_datagram);
    EXPECT_EQ(channel.send(json(std::string(70'000, 'x'))), errc::message_too_long);
    // 65 508 bytes: one more than IPv4 carries, which is the endpoint's to say.
    EXPECT_EQ(channel.send(json(std::string(65'506, 'x'))), errc::message_too_long);
    EXPECT_TRUE(channel.send(json("fine")));
    const auto arrived = co_await receive(peer);
    EXPECT_EQ(arrived.payload, "\"fine\"");
}

TEST_P(acceptance, B02WhatNoDatagramStandsForIsRefusedAndTheChannelGoesOn) {
    run(send_what_cannot_be_sent());
}

// --- codecs and channels ---

struct failing_codec {
    [[nodiscard]] result<std::string> decode(std::span<const std::byte> bytes) const {
        if (bytes.empty()) throw std::logic_error("an empty one was not thought of");
        return raw_codec().decode(bytes);
    }
    void encode(const std::string& packet, payload_buffer& out) const {
        if (packet.empty()) throw std::logic_error("nor was that");
        out.append(packet);
    }
};

task<> fail_in_the_codec() {
    const foreign_socket peer;
    auto client = co_await connect(peer.local());
    message_channel channel(std::move(client), failing_codec{});
    const address to = channel.endpoint().local_address();
    peer.sendto("", to);
    peer.sendto("fine", to);
    const auto failed = co_await channel.read(patiently);
    expect_error(failed, errc::codec_failed);
    if (!failed) {
        EXPECT_EQ(failed.error().message(),
                  "decode: The codec failed (an empty one was not thought of)");
    }
    const auto next = co_await channel.read(patiently);
    EXPECT_EQ(next, "fine");
    EXPECT_EQ(channel.send(std::string()), errc::codec_failed);
    EXPECT_TRUE(channel.send(std::string("fine too")));
    const auto arrived = co_await receive(peer);
    EXPECT_EQ(arrived.payload, "fine too");
}

TEST_P(acceptance, B02ABugInACodecIsAnErrorOfItsOwnAndTheChannelGoesOn) {
    run(fail_in_the_codec());
}

task<> read_one(message_channel<line_codec>& channel, errc expected) {
    const auto line = co_await channel.read();
    expect_error(line, expected);
}

task<> end_of_a_channel() {
    const foreign_socket peer;
    auto client = co_await connect(peer.local());
    std::optional<message_channel<line_codec>> channel(std::in_place, std::move(client));
    const auto none = co_await channel->read({.timeout = 0ns});
    expect_error(none, errc::timed_out);
    expect_error(channel->try_read(), errc::would_block);

    // Reads that wait outlive the channel, and say that it is gone.
    auto waiting = quoit::spawn(read_one(*channel, errc::closed));
    or_throw(co_await next_turn());
    channel.reset();
    or_throw(co_await waiting.join());
}

TEST_P(acceptance, B02AChannelThatIsGoneWakesWhoReadsFromIt) { run(end_of_a_channel()); }

task<> close_a_channel() {
    const foreign_socket peer;
    auto client = co_await connect(peer.local());
    message_channel channel(std::move(client), line_codec{});
    peer.sendto("last words\n", channel.endpoint().local_address());
    co_await wait_until_passed(channel.endpoint(), 1);
    channel.close();
    EXPECT_TRUE(channel.is_closing());
    const auto line = co_await channel.read(patiently);
    EXPECT_EQ(line, "last words");
    const auto after = co_await channel.read(patiently);
    expect_error(after, errc::closed);
    EXPECT_EQ(channel.send("too late"), errc::closed);
    EXPECT_TRUE(co_await channel.wait_closed());
}

TEST_P(acceptance, B02WhatArrivedBeforeAChannelWasClosedIsReadable) { run(close_a_channel()); }

QUOIT_INSTANTIATE_ACCEPTANCE();

}  // namespace

}  // namespace quoit::test
