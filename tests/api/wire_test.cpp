// SPDX-License-Identifier: MIT
//
// struct_format beside Python's struct. The vectors were made with CPython 3.11:
// struct.pack(FORMAT, ...).hex().
#include <quoit/wire.hpp>

#include <quoit/codec.hpp>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace {

using namespace std::string_view_literals;
using quoit::errc;
using quoit::struct_format;
using quoit::detail::format_problem;

using record = struct_format<"! I 2s Q 2h f">;

std::string hex(std::span<const std::byte> bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const std::byte one : bytes) {
        text += digits[std::to_integer<unsigned>(one) >> 4];
        text += digits[std::to_integer<unsigned>(one) & 15];
    }
    return text;
}

// --- what the compiler knows ---

static_assert(record::size == 22);
static_assert(
    std::same_as<record::tuple, std::tuple<std::uint32_t, std::array<char, 2>, std::uint64_t,
                                           std::int16_t, std::int16_t, float>>);
static_assert(std::same_as<quoit::wire::format<"!H">, struct_format<"!H">>);
static_assert(record::unpack_exactly(record::pack(1, "ab", 2, 3, 3, 2.5F)) ==
              record::tuple(1, {'a', 'b'}, 2, 3, 3, 2.5F));
static_assert(struct_format<"!">::size == 0);
static_assert(std::tuple_size_v<struct_format<"! 3x 0h">::tuple> == 0);
static_assert(struct_format<"! 3x 0h">::size == 3);
static_assert(std::tuple_size_v<struct_format<"!3h2s">::tuple> == 4);
static_assert(quoit::codec<record> && quoit::encodes<record, record::tuple>);

constexpr format_problem problem_of(std::string_view format) {
    return quoit::detail::layout_of(format).problem;
}

TEST(struct_format, RefusesAFormatWithoutAnUnambiguousByteOrder) {
    static_assert(problem_of("") == format_problem::no_byte_order);
    static_assert(problem_of("I") == format_problem::no_byte_order);
    static_assert(problem_of(" !I") == format_problem::no_byte_order);
    static_assert(problem_of("2!I") == format_problem::no_byte_order);
    static_assert(problem_of("@I") == format_problem::native_alignment);
    static_assert(problem_of("!I") == format_problem::none);
    static_assert(problem_of("=I") == format_problem::none);
}

TEST(struct_format, RefusesWhatPythonRefuses) {
    static_assert(problem_of("!y") == format_problem::unknown_code);
    static_assert(problem_of("!I!I") == format_problem::unknown_code);
    static_assert(problem_of("!-1I") == format_problem::unknown_code);
    static_assert(problem_of("!n") == format_problem::native_only_code);
    static_assert(problem_of("<N") == format_problem::native_only_code);
    static_assert(problem_of("=P") == format_problem::native_only_code);
    static_assert(problem_of("!2") == format_problem::count_without_code);
    static_assert(problem_of("!2 h") == format_problem::count_without_code);
    static_assert(problem_of("!\t2h\n f ") == format_problem::none);
}

TEST(struct_format, RefusesWhatNoDatagramHolds) {
    static_assert(problem_of("!65527s") == format_problem::none);
    static_assert(problem_of("!65528s") == format_problem::too_long);
    static_assert(problem_of("!65527sx") == format_problem::too_long);
    static_assert(problem_of("!8192d") == format_problem::too_long);
    static_assert(problem_of("!99999999999999999999999999s") == format_problem::too_long);
    static_assert(problem_of("!0p") == format_problem::pascal_text_of_nothing);
}

template <class T, class Argument>
inline constexpr bool takes = std::is_convertible_v<Argument, quoit::detail::number_argument<T>>;

// Constants are another matter: the compiler looks at their value, and says so when it does not
// fit, which no test can hold.
TEST(struct_format, TakesOnlyVariablesOfWhichEveryValueFits) {
    static_assert(takes<std::int64_t, std::int32_t> && takes<std::int64_t, std::uint32_t>);
    static_assert(takes<std::uint16_t, std::uint8_t> && takes<double, std::int32_t>);
    static_assert(takes<double, float> && takes<bool, bool> && takes<char, char>);
    static_assert(!takes<std::uint32_t, double> && !takes<std::int32_t, float>);
    static_assert(!takes<std::int32_t, bool> && !takes<std::int32_t, char> && !takes<bool, int> &&
                  !takes<char, int>);
    static_assert(!takes<bool, const char*> && !takes<std::uint32_t, const char*>);
    static_assert(quoit::detail::always_fits<std::uint8_t, std::int16_t>());
    static_assert(!quoit::detail::always_fits<int, std::uint32_t>());
    static_assert(!quoit::detail::always_fits<std::uint32_t, std::int32_t>());
    static_assert(!quoit::detail::always_fits<std::int64_t, std::int32_t>());
    static_assert(!quoit::detail::always_fits<double, float>());
    static_assert(!quoit::detail::always_fits<std::int32_t, float>());
}

// --- vectors ---

TEST(struct_format, PacksIntegersOfEverySizeAsPythonDoes) {
    EXPECT_EQ(hex(record::pack(1, "ab", 2, 3, 3, 2.5)),
              "00000001616200000000000000020003000340200000");
    EXPECT_EQ(hex(struct_format<"<IhQ">::pack(1, -2, 3)), "01000000feff0300000000000000");
    EXPECT_EQ(hex(struct_format<">IhQ">::pack(1, -2, 3)), "00000001fffe0000000000000003");
    using all = struct_format<"!bBhHiIlLqQ">;
    EXPECT_EQ(
        hex(all::pack(-128, 255, -32768, 65535, -2147483648, 4294967295, -2147483648, 4294967295,
                      std::numeric_limits<std::int64_t>::min(), 18446744073709551615U)),
        "80ff8000ffff80000000ffffffff80000000ffffffff8000000000000000ffffffffffffffff");
    EXPECT_EQ(hex(struct_format<"<bBhHiIlLqQ">::pack(-1, 1, -2, 2, -3, 3, -4, 4, -5, 5)),
              "ff01feff0200fdffffff03000000fcffffff04000000fbffffffffffffff0500000000000000");
    EXPECT_EQ(hex(struct_format<"!3h2b">::pack(1, 2, 3, 4, 5)), "0001000200030405");
}

TEST(struct_format, PacksInTheOrderOfThisMachine) {
    constexpr std::uint32_t value = 0x01020304;
    const auto packed = struct_format<"=I">::pack(value);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(packed), value);
}

TEST(struct_format, PacksFloatingPointBooleansAndPadBytesAsPythonDoes) {
    EXPECT_EQ(hex(struct_format<"!c?x3xd">::pack('z', true, -1.5)), "7a0100000000bff8000000000000");
    EXPECT_EQ(hex(struct_format<"<2xf?">::pack(0.1F, false)), "0000cdcccc3d00");
    constexpr double infinity = std::numeric_limits<double>::infinity();
    EXPECT_EQ(hex(struct_format<"!2d">::pack(1.0 / 3, -infinity)),
              "3fd5555555555555fff0000000000000");
}

TEST(struct_format, PacksTextAsPythonDoesFilledUpOrCut) {
    EXPECT_EQ(hex(struct_format<"!5s3s0s">::pack("abcdefgh", "a", "")), "6162636465610000");
    EXPECT_EQ(hex(struct_format<"!5p3p1p">::pack("abcdefgh", "a", "x")), "046162636401610000");
    EXPECT_EQ(hex(struct_format<"! 0h x 0s">::pack("")), "00");
    const std::string text = "run time";
    EXPECT_EQ(hex(struct_format<"!4s">::pack(text)), "72756e20");
    EXPECT_EQ(hex(struct_format<"!4s">::pack("a\0b")), "61006200");
}

TEST(struct_format, PacksHalfPrecisionAsPythonDoes) {
    EXPECT_EQ(hex(struct_format<"!e">::pack(1.0)), "3c00");
    EXPECT_EQ(hex(struct_format<"<3e">::pack(65504.0, -2.0, 0x1p-24)), "ff7b00c00100");
    EXPECT_EQ(hex(struct_format<"!2e">::pack(0.1F, 1e-8F)), "2e660000");
    constexpr float infinity = std::numeric_limits<float>::infinity();
    EXPECT_EQ(hex(struct_format<"!4e">::pack(2049.0, 2051.0, 0x1p-14, infinity)),
              "6800680204007c00");
    EXPECT_EQ(hex(struct_format<"!2e">::pack(0x1p-25, 0x1.000002p-25)), "00000001");
    EXPECT_EQ(hex(struct_format<"!2e">::pack(-0.0F, 0x1p-15)), "80000200");
    EXPECT_EQ(hex(struct_format<"!e">::pack(std::numeric_limits<float>::quiet_NaN())), "7e00");
    EXPECT_EQ(hex(struct_format<"!2e">::pack(65519.0F, 65520.0F)), "7bff7c00");
}

TEST(struct_format, ReadsBackEveryHalf) {
    using half = struct_format<"<e">;
    for (std::uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
        const auto packed =
            std::bit_cast<std::array<std::byte, 2>>(static_cast<std::uint16_t>(bits));
        const auto [value] = half::unpack_exactly(packed);
        if (value != value) continue;  // there are many NaNs, and Python writes one
        ASSERT_EQ(half::pack(value), packed) << bits;
    }
}

// --- unpacking ---

TEST(struct_format, UnpacksWhatWasPacked) {
    const auto fields = record::unpack(record::pack(7, "xy", 8, -9, 10, -0.5));
    ASSERT_TRUE(fields.has_value());
    const auto& [id, tag, serial, low, high, ratio] = *fields;
    EXPECT_EQ(id, 7U);
    EXPECT_EQ(std::string_view(tag.data(), tag.size()), "xy");
    EXPECT_EQ(serial, 8U);
    EXPECT_EQ(low, -9);
    EXPECT_EQ(high, 10);
    EXPECT_EQ(ratio, -0.5F);
}

TEST(struct_format, SaysBothLengthsOfWhatItCannotUnpack) {
    const std::string bytes(23, 'x');
    for (const std::size_t size : {21U, 23U}) {
        const auto fields = record::unpack(std::string_view(bytes).substr(0, size));
        ASSERT_FALSE(fields.has_value());
        EXPECT_EQ(fields.error(), errc::bad_datagram);
        EXPECT_EQ(fields.error().message(),
                  "a struct of 22 bytes, got " + std::to_string(size) + " bytes: Bad datagram");
    }
    EXPECT_FALSE(record::unpack("").has_value());
    EXPECT_TRUE(struct_format<"!">::unpack("").has_value());
}

TEST(struct_format, TakesEveryByteButZeroForTrue) {
    const auto fields = struct_format<"!3?">::unpack("\0\1\x80"sv);
    ASSERT_TRUE(fields.has_value());
    EXPECT_EQ(*fields, std::tuple(false, true, true));
}

TEST(struct_format, CutsAPascalTextWhoseLengthIsBeyondItsField) {
    const auto fields = struct_format<"!4pB">::unpack("\xFFxyz\7"sv);
    ASSERT_TRUE(fields.has_value());
    EXPECT_EQ(std::get<0>(*fields).view(), "xyz");
    EXPECT_EQ(std::get<1>(*fields), 7);
    const auto shorter = struct_format<"!4p">::unpack("\2xyz"sv);
    EXPECT_EQ(std::get<0>(*shorter).view(), "xy");
}

template <class Format>
void expect_round_trip(const typename Format::tuple& fields) {
    quoit::payload_buffer out;
    Format().encode(fields, out);
    RC_ASSERT(out.size() == Format::size);
    const auto decoded = Format().decode(out.bytes());
    RC_ASSERT(decoded.has_value());
    RC_ASSERT(*decoded == fields);
}

RC_GTEST_PROP(struct_format, GivesBackWhateverWasEncoded,
              (std::uint32_t id, std::uint64_t serial, std::int16_t low, std::int8_t high,
               bool flag, double ratio)) {
    const auto character = *rc::gen::arbitrary<char>();
    const auto text = *rc::gen::container<std::array<char, 5>>(rc::gen::arbitrary<char>());
    expect_round_trip<struct_format<"! I Q h b ? d c 5s x">>(
        {id, serial, low, high, flag, ratio, character, text});
    expect_round_trip<struct_format<"< I Q h b ? d c 5s x">>(
        {id, serial, low, high, flag, ratio, character, text});
}

}  // namespace
