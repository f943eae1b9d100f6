// SPDX-License-Identifier: MIT
#include <quoit/codec.hpp>

#include <quoit/wire.hpp>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using quoit::errc;
using quoit::line_codec;
using quoit::payload_buffer;
using quoit::raw_codec;
using quoit::detail::decode_with;
using quoit::detail::encode_with;

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}

// --- concepts ---

struct decodes_without_result {
    int decode(std::span<const std::byte> bytes) const;
};
struct decodes_to_nothing {
    quoit::result<void> decode(std::span<const std::byte> bytes) const;
};
struct encodes_to_a_string {
    std::string encode(int packet, payload_buffer& out) const;
};

static_assert(quoit::codec<raw_codec> && quoit::codec<line_codec>);
static_assert(!quoit::codec<decodes_without_result> && !quoit::codec<decodes_to_nothing>);
static_assert(!quoit::codec<int>);
static_assert(std::same_as<quoit::decoded_t<line_codec>, std::string>);
static_assert(quoit::encodes<line_codec, std::string> && quoit::encodes<line_codec, char[3]>);
static_assert(!quoit::encodes<line_codec, int>);
static_assert(!quoit::encodes<encodes_to_a_string, int>);
static_assert(quoit::encodes<raw_codec, std::vector<std::byte>>);

// --- raw_codec, line_codec ---

TEST(raw_codec, KeepsTheBytesAsTheyAre) {
    const std::string packet("a\0\n\xFF", 4);
    raw_codec codec;
    payload_buffer out;
    EXPECT_TRUE(encode_with(codec, packet, out));
    EXPECT_EQ(out.text(), packet);
    EXPECT_EQ(*decode_with(codec, out.bytes()), packet);
    EXPECT_EQ(*decode_with(codec, {}), "");
}

TEST(line_codec, AddsTheEndOfLineAndTakesItOff) {
    line_codec lf;
    line_codec crlf{quoit::line_end::crlf};
    payload_buffer out;
    EXPECT_TRUE(encode_with(lf, "hello", out));
    EXPECT_EQ(out.text(), "hello\n");
    EXPECT_TRUE(encode_with(crlf, "hello", out));
    EXPECT_EQ(out.text(), "hello\r\n");
    for (const char* const line : {"hello", "hello\n", "hello\r\n"}) {
        EXPECT_EQ(*decode_with(lf, bytes_of(line)), "hello");
        EXPECT_EQ(*decode_with(crlf, bytes_of(line)), "hello");
    }
    EXPECT_EQ(*decode_with(lf, bytes_of("\n")), "");
    EXPECT_EQ(*decode_with(lf, {}), "");
    EXPECT_EQ(*decode_with(lf, bytes_of("a\rb\n")), "a\rb");
}

TEST(line_codec, RefusesWhatIsNotOneLine) {
    line_codec codec;
    payload_buffer out;
    for (const char* const bytes :
         {"a\nb", "a\nb\n", "a\n\n", "\n\n", "a\r\nb", "a\r", "a\r\r\n"}) {
        const auto line = decode_with(codec, bytes_of(bytes));
        ASSERT_FALSE(line.has_value()) << bytes;
        EXPECT_EQ(line.error(), errc::bad_datagram);
    }
    for (const char* const line : {"a\nb", "\n", "a\r\n", "a\r"}) {
        EXPECT_EQ(encode_with(codec, line, out), errc::bad_datagram) << line;
    }
    EXPECT_EQ(decode_with(codec, bytes_of("a\nb")).error().message(),
              "several lines instead of one: Bad datagram");
}

RC_GTEST_PROP(line_codec, GivesBackEveryLineItTakes, (const std::string& line)) {
    for (const quoit::line_end end : {quoit::line_end::lf, quoit::line_end::crlf}) {
        line_codec codec{end};
        payload_buffer out;
        if (encode_with(codec, line, out)) {
            RC_ASSERT(*decode_with(codec, out.bytes()) == line);
        } else {
            RC_ASSERT(line.find('\n') != line.npos || line.ends_with('\r'));
        }
    }
}

// --- parse errors and bugs ---

enum class fault { none, refuses, throws_words, throws_code, throws_anything };

struct faulty_codec {
    fault what = fault::none;

    [[nodiscard]] quoit::result<int> decode(std::span<const std::byte> /*bytes*/) const {
        if (what == fault::refuses) return quoit::failure(errc::bad_datagram, "not a number");
        fail();
        return 1;
    }
    void encode(int /*packet*/, payload_buffer& out) const {
        out.append("half of it");
        fail();
    }

    void fail() const {
        switch (what) {
            case fault::throws_words: throw std::invalid_argument("stoi");
            case fault::throws_code:
                throw std::system_error(ENOENT, std::system_category(), "open /nowhere");
            case fault::throws_anything: throw 42;
            default: break;
        }
    }
};

TEST(decode_with, TellsABadDatagramFromACodecThatFailed) {
    faulty_codec refuses{fault::refuses};
    faulty_codec fails{fault::throws_words};
    const auto bad = decode_with(refuses, {});
    ASSERT_FALSE(bad.has_value());
    EXPECT_EQ(bad.error(), errc::bad_datagram);
    EXPECT_NE(bad.error(), errc::codec_failed);
    EXPECT_EQ(bad.error().message(), "not a number: Bad datagram");
    const auto failed = decode_with(fails, {});
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error(), errc::codec_failed);
    EXPECT_NE(failed.error(), errc::bad_datagram);
    faulty_codec works;
    EXPECT_EQ(*decode_with(works, {}), 1);
}

TEST(decode_with, KeepsWhatWasThrownAsTheCause) {
    faulty_codec words{fault::throws_words};
    faulty_codec code{fault::throws_code};
    faulty_codec anything{fault::throws_anything};
    const quoit::error with_words = decode_with(words, {}).error();
    EXPECT_EQ(with_words.message(), "decode: The codec failed (stoi)");
    ASSERT_EQ(with_words.causes().size(), 1U);
    EXPECT_EQ(with_words.causes()[0].context(), "stoi");
    const quoit::error with_code = decode_with(code, {}).error();
    EXPECT_EQ(with_code.message(),
              "decode: The codec failed (open /nowhere: No such file or directory)");
    EXPECT_EQ(with_code.causes()[0], std::errc::no_such_file_or_directory);
    EXPECT_EQ(decode_with(anything, {}).error().message(),
              "decode: The codec failed (an exception that is no std::exception)");
}

TEST(encode_with, SaysWhatTheCodecThrew) {
    faulty_codec fails{fault::throws_words};
    payload_buffer out;
    const quoit::status encoded = encode_with(fails, 1, out);
    EXPECT_EQ(encoded, errc::codec_failed);
    EXPECT_EQ(encoded.error().message(), "encode: The codec failed (stoi)");
}

TEST(encode_with, StartsFromAnEmptyBufferWhateverCameBefore) {
    faulty_codec fails{fault::throws_words};
    raw_codec raw;
    payload_buffer out;
    EXPECT_FALSE(encode_with(fails, 1, out));
    EXPECT_TRUE(encode_with(raw, "whole", out));
    EXPECT_EQ(out.text(), "whole");
    EXPECT_EQ(encode_with(raw, std::string(100'000, 'x'), out), errc::message_too_long);
    EXPECT_TRUE(encode_with(raw, "again", out));
    EXPECT_EQ(out.text(), "again");
}

TEST(encode_with, RefusesAPacketThatNoDatagramHolds) {
    raw_codec codec;
    payload_buffer out;
    EXPECT_TRUE(encode_with(codec, std::string(payload_buffer::size_max, 'x'), out));
    const quoit::status encoded =
        encode_with(codec, std::string(payload_buffer::size_max + 1, 'x'), out);
    EXPECT_EQ(encoded, errc::message_too_long);
    EXPECT_EQ(encoded.error().message(), "encode: more than 65527 bytes: Message too long");
}

// --- converting_codec ---

struct reading {
    std::uint32_t sensor = 0;
    double value = 0;
    friend bool operator==(const reading&, const reading&) = default;
};

auto reading_codec() {
    return quoit::converting_codec(
        quoit::struct_format<"! I d">(),
        [](const auto& fields) { return std::make_from_tuple<reading>(fields); },
        [](const reading& r) { return std::tuple(r.sensor, r.value); });
}

TEST(converting_codec, SpeaksInThePacketsOfTheProgram) {
    auto codec = reading_codec();
    static_assert(std::same_as<quoit::decoded_t<decltype(codec)>, reading>);
    static_assert(quoit::encodes<decltype(codec), reading>);
    static_assert(!quoit::encodes<decltype(codec), std::string>);
    payload_buffer out;
    EXPECT_TRUE(encode_with(codec, reading{7, 21.5}, out));
    EXPECT_EQ(out.size(), 12U);
    EXPECT_EQ(*decode_with(codec, out.bytes()), (reading{7, 21.5}));
    EXPECT_EQ(decode_with(codec, bytes_of("short")).error(), errc::bad_datagram);
}

TEST(converting_codec, LetsTheConversionRefuseAndFail) {
    quoit::converting_codec codec(
        line_codec(),
        [](const std::string& line) -> quoit::result<int> {
            if (line.empty()) return quoit::failure(errc::bad_datagram, "no number");
            return std::stoi(line);
        },
        [](int number) { return std::to_string(number); });
    static_assert(std::same_as<quoit::decoded_t<decltype(codec)>, int>);
    EXPECT_EQ(*decode_with(codec, bytes_of("42\n")), 42);
    EXPECT_EQ(decode_with(codec, bytes_of("\n")).error().message(), "no number: Bad datagram");
    EXPECT_EQ(decode_with(codec, bytes_of("x\n")).error().message(),
              "decode: The codec failed (stoi)");
    payload_buffer out;
    EXPECT_TRUE(encode_with(codec, 42, out));
    EXPECT_EQ(out.text(), "42\n");
}

TEST(converting_codec, HandsOnThatTheInnerCodecRefuses) {
    quoit::converting_codec codec(
        line_codec(), [](std::string line) { return line; },
        [](const std::string& line) { return line; });
    payload_buffer out;
    EXPECT_EQ(encode_with(codec, std::string("two\nlines"), out), errc::bad_datagram);
}

}  // namespace
