// SPDX-License-Identifier: MIT
//
// byte_view: what every sending function takes. Anything that is contiguous bytes converts to it:
//
//   sendto("pong", peer);                a literal, without its final NUL, embedded ones kept
//   sendto(text, peer);                  std::string, std::string_view
//   sendto(std::span(buffer, n), peer);  span, vector, array of char, unsigned char or std::byte
//   sendto(received, peer);              a datagram
//   sendto(object_bytes(header), peer);  a struct as it lies in memory, asked for by name
//
// It is a parameter type only: the function has copied or sent the bytes when it returns, so
// temporaries are safe. Do not store one. A view of no bytes is an empty datagram, which is one.
//
// Thread safety: values. Errors: none; how many bytes a datagram can hold is for the sender to say.
// Units: bytes.
#pragma once

#include <concepts>
#include <cstddef>
#include <ranges>
#include <span>
#include <type_traits>

namespace quoit {

class byte_view;
class datagram;

template <class T>
concept byte_like =
    std::same_as<std::remove_cv_t<T>, char> || std::same_as<std::remove_cv_t<T>, unsigned char> ||
    std::same_as<std::remove_cv_t<T>, std::byte> || std::same_as<std::remove_cv_t<T>, char8_t>;

/// The two exclusions come first: the classes are incomplete here, and must not be asked whether
/// they are ranges. Arrays of char are told apart by byte_view's constructors.
template <class R>
concept byte_range =
    !std::same_as<R, byte_view> && !std::same_as<R, datagram> &&
    std::ranges::contiguous_range<const R> && std::ranges::sized_range<const R> &&
    byte_like<std::ranges::range_value_t<const R>> &&
    !(std::is_array_v<R> && (std::same_as<std::ranges::range_value_t<const R>, char> ||
                             std::same_as<std::ranges::range_value_t<const R>, char8_t>));

class byte_view {
  public:
    constexpr byte_view() noexcept = default;

    /// A string literal. A constant array that does not end in NUL is refused by the compiler:
    /// its last byte would be lost.
    template <class Char, std::size_t N>
        requires(std::same_as<Char, char> || std::same_as<Char, char8_t>)
    consteval byte_view(const Char (&literal)[N]) : data_(literal), size_(N - 1) {
        if (literal[N - 1] != Char()) not_a_literal_so_say_span_or_string_view();
    }

    /// How much of a char array is meant is not for us to guess: say std::span(buffer, size) or
    /// std::string_view(buffer).
    template <class Char, std::size_t N>
        requires(std::same_as<Char, char> || std::same_as<Char, char8_t>)
    byte_view(Char (&buffer)[N]) = delete;

    template <byte_range R>
    constexpr byte_view(const R& range) noexcept
        : data_(std::ranges::data(range)), size_(std::ranges::size(range)) {}

    /// The payload. Defined in datagram.hpp.
    byte_view(const datagram& received) noexcept;

    constexpr byte_view(const void* data, std::size_t size) noexcept : data_(data), size_(size) {}

    [[nodiscard]] const std::byte* data() const noexcept {
        return static_cast<const std::byte*>(data_);
    }
    [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data(), size_}; }

  private:
    // Not constexpr, so that a call ends the compilation and the name is in the message.
    static void not_a_literal_so_say_span_or_string_view();

    const void* data_ = nullptr;
    std::size_t size_ = 0;
};
static_assert(std::is_trivially_copyable_v<byte_view>);

/// The bytes of an object as they lie in memory: host byte order, no conversion. Refused are types
/// with padding, whose bytes are indeterminate, and what would send a pointer instead of what it
/// points to (pointers, std::span, std::string_view); a pointer inside a struct is not noticed.
template <class T>
    requires(std::is_trivially_copyable_v<T> && std::has_unique_object_representations_v<T> &&
             !std::is_pointer_v<T> && !std::ranges::view<T> && !std::same_as<T, byte_view>)
[[nodiscard]] byte_view object_bytes(const T& object) noexcept {
    return {&object, sizeof object};
}

}  // namespace quoit
