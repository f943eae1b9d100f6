// SPDX-License-Identifier: MIT
#include <quoit/json.hpp>

#include <gtest/gtest.h>

#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <string_view>

namespace {

using nlohmann::json;
using quoit::errc;
using quoit::json_codec;
using quoit::payload_buffer;
using quoit::detail::decode_with;
using quoit::detail::encode_with;

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}
std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

static_assert(quoit::codec<json_codec> && quoit::encodes<json_codec, json>);

TEST(json_codec, WritesOneCompactLine) {
    json_codec codec;
    payload_buffer out;
    EXPECT_TRUE(encode_with(codec, json{{"command", "status"}, {"ids", {1, 2}}}, out));
    EXPECT_EQ(out.text(), R"({"command":"status","ids":[1,2]})");
}

TEST(json_codec, ReadsWhatItWrote) {
    json_codec codec;
    payload_buffer out;
    const json packet{{"text", "h\u00e9 \"]}\\"}, {"number", -1.5}, {"none", nullptr}};
    EXPECT_TRUE(encode_with(codec, packet, out));
    EXPECT_EQ(decode_with(codec, out.bytes()), packet);
    EXPECT_EQ(decode_with(codec, bytes_of(" 17 ")), json(17));
}

TEST(json_codec, CallsABadDatagramWhatIsNotOneJsonText) {
    json_codec codec;
    for (const std::string_view bytes :
         {"", "{", "{} {}", "nul", "[1,]", "\"\xFF\"", "{\"a\":1}x", "\"open", "\"\\", "]"}) {
        const auto packet = decode_with(codec, bytes_of(bytes));
        ASSERT_FALSE(packet.has_value()) << bytes;
        EXPECT_EQ(packet.error(), errc::bad_datagram) << bytes;
        EXPECT_EQ(packet.error().message(), "invalid JSON: Bad datagram");
    }
}

TEST(json_codec, BoundsHowDeepAPeerMayNest) {
    json_codec codec;
    EXPECT_TRUE(decode_with(codec, bytes_of(nested(256))).has_value());
    EXPECT_EQ(decode_with(codec, bytes_of(nested(257))).error().message(),
              "JSON nested deeper than 256 levels: Bad datagram");
    EXPECT_EQ(decode_with(codec, bytes_of(nested(32'000))).error(), errc::bad_datagram);
    json_codec flat{.depth_max = 1};
    EXPECT_TRUE(decode_with(flat, bytes_of(R"(["[[[[", "\"[{", {}])")).error() ==
                errc::bad_datagram);
    EXPECT_TRUE(decode_with(flat, bytes_of(R"(["[[[[", "\"[{", 1])")).has_value());
}

TEST(json_codec, RefusesToWriteStringsThatAreNoUtf8AndSaysSo) {
    json_codec codec;
    payload_buffer out;
    const quoit::status encoded = encode_with(codec, json{{"name", "\xFF"}}, out);
    EXPECT_EQ(encoded, errc::bad_datagram);
    EXPECT_NE(encoded.error().message().find("UTF-8"), std::string::npos) << encoded.error();
}

TEST(json_codec, WritesNullForANumberThatIsNotFinite) {
    json_codec codec;
    payload_buffer out;
    EXPECT_TRUE(encode_with(codec, json(std::numeric_limits<double>::infinity()), out));
    EXPECT_EQ(out.text(), "null");
}

}  // namespace
