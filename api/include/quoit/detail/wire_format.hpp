// SPDX-License-Identifier: MIT
//
// wire_format: what struct_format is made of: reading a format (at compile time), and getting one
// field into its bytes and out of them.
//
// Thread safety: functions of their arguments. Errors: a format's are values of format_problem,
// which struct_format turns into words of the compiler's.
// Source: https://docs.python.org/3/library/struct.html, and CPython's Modules/_struct.c for what
// it leaves open.
#pragma once

#include <quoit/options.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <type_traits>
#include <utility>

namespace quoit {

/// A field "Np": text of at most N - 1 characters (255 at most), whose length travels before it.
template <std::size_t FieldSize>
    requires(FieldSize > 0)
struct pascal_text {
    static constexpr std::size_t size_max = std::min<std::size_t>(FieldSize - 1, 255);

    std::array<char, size_max> chars{};
    std::uint8_t size = 0;

    [[nodiscard]] constexpr std::string_view view() const noexcept { return {chars.data(), size}; }
    friend constexpr bool operator==(const pascal_text& a, const pascal_text& b) noexcept {
        return a.view() == b.view();
    }
};

/// The text of a format, as a template argument: struct_format<"! I 2s">.
template <std::size_t N>
struct format_text {
    consteval format_text(const char (&text)[N]) { std::copy_n(text, N, chars); }
    [[nodiscard]] constexpr std::string_view view() const noexcept { return {chars, N - 1}; }

    char chars[N]{};
};

namespace detail {

// --- reading a format ---

enum class format_problem : std::uint8_t {
    none,
    no_byte_order,
    native_alignment,
    native_only_code,
    unknown_code,
    count_without_code,
    pascal_text_of_nothing,
    too_long,
};

struct format_field {
    char code = 0;
    std::size_t size = 0;  // bytes, the count of an s or p included
    std::size_t offset = 0;
};

/// Bytes of one of them in Python's standard sizes; 0: no such code.
[[nodiscard]] constexpr std::size_t standard_size(char code) noexcept {
    switch (code) {
        case 'x':
        case 'c':
        case 'b':
        case 'B':
        case '?':
        case 's':
        case 'p': return 1;
        case 'h':
        case 'H':
        case 'e': return 2;
        case 'i':
        case 'I':
        case 'l':
        case 'L':
        case 'f': return 4;
        case 'q':
        case 'Q':
        case 'd': return 8;
        default: return 0;
    }
}

[[nodiscard]] constexpr bool is_format_space(char c) noexcept {
    return c == ' ' || (c >= '\t' && c <= '\r');
}
[[nodiscard]] constexpr bool is_format_digit(char c) noexcept { return c >= '0' && c <= '9'; }

/// What one code with its count comes to.
struct format_item {
    format_problem problem = format_problem::none;
    char code = 0;
    std::size_t count = 1;
};

/// Takes the next item off `text`, which does not begin with white space.
[[nodiscard]] constexpr format_item take_format_item(std::string_view& text) noexcept {
    format_item item;
    if (is_format_digit(text.front())) {
        item.count = 0;
        while (!text.empty() && is_format_digit(text.front())) {
            item.count = item.count * 10 + static_cast<std::size_t>(text.front() - '0');
            // Held there, so that no number of digits overflows.
            item.count = std::min<std::size_t>(item.count, payload_size_limit + 1);
            text.remove_prefix(1);
        }
        if (text.empty() || is_format_space(text.front())) {
            item.problem = format_problem::count_without_code;
            return item;
        }
    }
    item.code = text.front();
    text.remove_prefix(1);
    if (item.code == 'n' || item.code == 'N' || item.code == 'P') {
        item.problem = format_problem::native_only_code;
    } else if (standard_size(item.code) == 0) {
        item.problem = format_problem::unknown_code;
    } else if (item.code == 'p' && item.count == 0) {
        item.problem = format_problem::pascal_text_of_nothing;
    }
    return item;
}

struct format_layout {
    format_problem problem = format_problem::none;
    std::size_t size = 0;
    std::size_t field_count = 0;
    bool is_big_endian = false;
};

/// Walks through a format; `found` is called with each format_field, pad bytes excepted.
template <class Found>
[[nodiscard]] constexpr format_layout read_format(std::string_view text, Found found) {
    format_layout layout;
    const auto failed = [&](format_problem why) {
        layout.problem = why;
        return layout;
    };
    if (text.empty()) return failed(format_problem::no_byte_order);
    switch (text.front()) {
        case '!':
        case '>': layout.is_big_endian = true; break;
        case '<': break;
        case '=': layout.is_big_endian = std::endian::native == std::endian::big; break;
        case '@': return failed(format_problem::native_alignment);
        default: return failed(format_problem::no_byte_order);
    }
    text.remove_prefix(1);
    while (!text.empty()) {
        if (is_format_space(text.front())) {
            text.remove_prefix(1);
            continue;
        }
        const format_item item = take_format_item(text);
        if (item.problem != format_problem::none) return failed(item.problem);
        const bool is_text = item.code == 's' || item.code == 'p';
        const std::size_t size = standard_size(item.code) * (is_text ? item.count : 1);
        const std::size_t times = is_text ? 1 : item.count;
        if (size * times > payload_size_limit - layout.size) {
            return failed(format_problem::too_long);
        }
        for (std::size_t i = 0; i < times; ++i, layout.size += size) {
            if (item.code == 'x') continue;
            found(format_field{item.code, size, layout.size});
            ++layout.field_count;
        }
    }
    return layout;
}

[[nodiscard]] constexpr format_layout layout_of(std::string_view text) {
    return read_format(text, [](const format_field&) {});
}

/// REQUIRES: the format has no problem.
template <format_text Format>
[[nodiscard]] consteval auto fields_of() {
    std::array<format_field, layout_of(Format.view()).field_count> fields{};
    std::size_t count = 0;
    static_cast<void>(
        read_format(Format.view(), [&](const format_field& field) { fields[count++] = field; }));
    return fields;
}

template <char Code, std::size_t Size>
[[nodiscard]] consteval auto field_type() {
    if constexpr (Code == 's')
        return std::type_identity<std::array<char, Size>>();
    else if constexpr (Code == 'p')
        return std::type_identity<pascal_text<Size>>();
    else if constexpr (Code == 'c')
        return std::type_identity<char>();
    else if constexpr (Code == '?')
        return std::type_identity<bool>();
    else if constexpr (Code == 'b')
        return std::type_identity<std::int8_t>();
    else if constexpr (Code == 'B')
        return std::type_identity<std::uint8_t>();
    else if constexpr (Code == 'h')
        return std::type_identity<std::int16_t>();
    else if constexpr (Code == 'H')
        return std::type_identity<std::uint16_t>();
    else if constexpr (Code == 'i' || Code == 'l')
        return std::type_identity<std::int32_t>();
    else if constexpr (Code == 'I' || Code == 'L')
        return std::type_identity<std::uint32_t>();
    else if constexpr (Code == 'q')
        return std::type_identity<std::int64_t>();
    else if constexpr (Code == 'Q')
        return std::type_identity<std::uint64_t>();
    else if constexpr (Code == 'd')
        return std::type_identity<double>();
    else
        return std::type_identity<float>();  // f, and e, for which C++23 has no type in GCC 12
}
template <char Code, std::size_t Size>
using field_t = typename decltype(field_type<Code, Size>())::type;

// --- what pack() takes for a field ---

/// What numbers of other types may stand for. A bool and the char of a `c` take only their like.
template <class T>
concept wire_number = std::is_arithmetic_v<T> && !std::same_as<T, bool> && !std::same_as<T, char>;

/// Every value of From is one of To, or is rounded to one as To's type does.
template <class From, class To>
[[nodiscard]] consteval bool always_fits() {
    using from = std::numeric_limits<From>;
    using to = std::numeric_limits<To>;
    if constexpr (!wire_number<From> || !wire_number<To>) {
        return std::same_as<From, To>;
    } else if constexpr (std::floating_point<From>) {
        return std::floating_point<To> && from::digits <= to::digits;
    } else if constexpr (std::floating_point<To>) {
        return from::digits <= to::digits;
    } else {
        return (std::is_signed_v<To> || !std::is_signed_v<From>) && from::digits <= to::digits;
    }
}

/// A number for a field of type T. A constant is checked by the compiler, whatever its type; a
/// variable must be of a type of which every value fits, so that nothing is cut silently.
template <class T>
class number_argument {
  public:
    template <class U>
        requires(always_fits<U, T>())
    constexpr number_argument(U value) noexcept : value_(static_cast<T>(value)) {}

    template <wire_number U>
        requires(wire_number<T> && !always_fits<U, T>() &&
                 (std::floating_point<T> || std::integral<U>))
    consteval number_argument(U value) : value_(static_cast<T>(value)) {
        if constexpr (std::floating_point<U>) {
            if (value > std::numeric_limits<T>::max() || value < std::numeric_limits<T>::lowest()) {
                not_a_value_of_this_field();
            }
        } else if constexpr (std::floating_point<T>) {
            if (static_cast<U>(value_) != value) not_a_value_of_this_field();
        } else {
            if (!std::in_range<T>(value)) not_a_value_of_this_field();
        }
    }
    [[nodiscard]] constexpr T get() const noexcept { return value_; }

  private:
    // Not constexpr, so that a call ends the compilation and the name is in the message.
    static void not_a_value_of_this_field();

    T value_;
};

/// Text for a field, cut at the field's size as Python does it.
class text_argument {
  public:
    /// Without its final NUL, embedded ones kept.
    template <std::size_t N>
    consteval text_argument(const char (&literal)[N]) : text_(literal, N - 1) {
        if (literal[N - 1] != '\0') not_a_literal_so_say_string_view();
    }
    template <class Text>
        requires(std::convertible_to<const Text&, std::string_view> && !std::is_array_v<Text>)
    constexpr text_argument(const Text& text) noexcept : text_(text) {}
    template <std::size_t N>
    constexpr text_argument(const std::array<char, N>& field) noexcept : text_(field.data(), N) {}
    template <std::size_t N>
    constexpr text_argument(const pascal_text<N>& field) noexcept : text_(field.view()) {}

    [[nodiscard]] constexpr std::string_view get() const noexcept { return text_; }

  private:
    static void not_a_literal_so_say_string_view();

    std::string_view text_;
};

template <char Code, std::size_t Size>
using argument_t = std::conditional_t<Code == 's' || Code == 'p', text_argument,
                                      number_argument<field_t<Code, Size>>>;

// --- numbers and bytes ---

template <std::size_t Size>
using unsigned_of = std::conditional_t<
    Size == 1, std::uint8_t,
    std::conditional_t<Size == 2, std::uint16_t,
                       std::conditional_t<Size == 4, std::uint32_t, std::uint64_t>>>;

template <bool BigEndian, class Bits>
constexpr void store_bits(std::byte* out, Bits bits) noexcept {
    if constexpr (BigEndian != (std::endian::native == std::endian::big)) {
        bits = std::byteswap(bits);
    }
    const auto raw = std::bit_cast<std::array<std::byte, sizeof bits>>(bits);
    std::copy_n(raw.data(), raw.size(), out);
}
template <bool BigEndian, class Bits>
[[nodiscard]] constexpr Bits load_bits(const std::byte* in) noexcept {
    std::array<std::byte, sizeof(Bits)> raw{};
    std::copy_n(in, raw.size(), raw.data());
    const auto bits = std::bit_cast<Bits>(raw);
    if constexpr (BigEndian != (std::endian::native == std::endian::big)) {
        return std::byteswap(bits);
    } else {
        return bits;
    }
}

/// IEEE 754 binary16, rounded to nearest, ties to even; too large is an infinity.
[[nodiscard]] constexpr std::uint16_t to_half(float value) noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = (bits >> 16) & 0x8000U;
    const std::uint32_t fraction = bits & 0x7F'FFFFU;
    const int exponent = static_cast<int>((bits >> 23) & 0xFFU) - 127;
    std::uint32_t half = 0x7C00U;
    if (exponent == 128 && fraction != 0) {
        half = 0x7E00U;  // what Python writes for any NaN
    } else if (exponent < -25) {
        half = 0;
    } else if (exponent <= 15) {
        // Below 2^-14 the leading 1, which is not stored otherwise, moves into the fraction.
        const bool is_normal = exponent >= -14;
        const std::uint32_t whole = is_normal ? fraction : fraction | 0x80'0000U;
        const int shift = is_normal ? 13 : -exponent - 1;
        const std::uint32_t rest = whole & ((1U << shift) - 1);
        const std::uint32_t middle = 1U << (shift - 1);
        half = whole >> shift;
        if (is_normal) half |= static_cast<std::uint32_t>(exponent + 15) << 10;
        // A carry out of the fraction is the next exponent, the last of which is infinity.
        if (rest > middle || (rest == middle && (half & 1U) != 0)) ++half;
    }
    return static_cast<std::uint16_t>(sign | half);
}
[[nodiscard]] constexpr float from_half(std::uint16_t half) noexcept {
    const std::uint32_t sign = (half & 0x8000U) << 16;
    const std::uint32_t exponent = (half >> 10) & 0x1FU;
    const std::uint32_t fraction = half & 0x3FFU;
    if (exponent == 0) {
        const float size = static_cast<float>(fraction) * 0x1p-24F;
        return sign != 0 ? -size : size;
    }
    const std::uint32_t widened = exponent == 31 ? 255U : exponent + (127 - 15);
    return std::bit_cast<float>(sign | widened << 23 | fraction << 13);
}

template <bool BigEndian, char Code, std::size_t Size>
constexpr void store_field(std::byte* out, const argument_t<Code, Size>& argument) noexcept {
    if constexpr (Code == 's' || Code == 'p') {
        std::string_view text = argument.get();
        if constexpr (Code == 'p') {
            text = text.substr(0, pascal_text<Size>::size_max);
            *out++ = static_cast<std::byte>(text.size());
        } else {
            text = text.substr(0, Size);
        }
        std::ranges::transform(text, out, [](char c) { return static_cast<std::byte>(c); });
    } else if constexpr (Code == 'e') {
        store_bits<BigEndian>(out, to_half(argument.get()));
    } else {
        store_bits<BigEndian>(out, std::bit_cast<unsigned_of<Size>>(argument.get()));
    }
}

template <bool BigEndian, char Code, std::size_t Size>
[[nodiscard]] constexpr field_t<Code, Size> load_field(const std::byte* in) noexcept {
    if constexpr (Code == 's') {
        std::array<char, Size> text{};
        std::transform(in, in + Size, text.begin(), [](std::byte b) { return char(b); });
        return text;
    } else if constexpr (Code == 'p') {
        pascal_text<Size> text;
        // A length beyond the field is the field's end, as in Python.
        const auto size = std::min(std::to_integer<std::size_t>(*in), text.size_max);
        std::transform(in + 1, in + 1 + size, text.chars.begin(),
                       [](std::byte b) { return char(b); });
        text.size = static_cast<std::uint8_t>(size);
        return text;
    } else if constexpr (Code == '?') {
        return *in != std::byte();
    } else if constexpr (Code == 'e') {
        return from_half(load_bits<BigEndian, std::uint16_t>(in));
    } else {
        return std::bit_cast<field_t<Code, Size>>(load_bits<BigEndian, unsigned_of<Size>>(in));
    }
}

}  // namespace detail

}  // namespace quoit
