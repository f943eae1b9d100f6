// SPDX-License-Identifier: MIT
//
// unix_address: the name of a UNIX datagram socket. A value, compared and hashed by its bytes.
//
//   unix_address("/run/app.sock")         a path: a file of the kernel's making
//   unix_address::abstract("app")         an abstract name: no file, gone with its socket
//   unix_address()                        none; when binding: an abstract name of the kernel's
//                                         choice ("autobind")
//
//   auto server = or_throw(quoit::start_unix_server("/run/app.sock", {.mode = 0660}));
//
// As text, printed and parsed without loss:
//
//   /run/app.sock  a path; "\\" for a backslash, "\x0a" for a byte that is no printable one,
//                  "\@app" for a path that begins with @
//   @app           an abstract name, escaped likewise
//   unnamed        no name (and "\x75nnamed" is the path)
//
// A name of more than 108 bytes is no name: it is kept as such, and refused by whoever is to open
// or to send to it. So is a path with a NUL in it; an abstract name may hold any bytes. Text that
// begins with NUL is the abstract name behind it, as elsewhere (unix(7)).
//
// Thread safety: values. Errors: errc::invalid_address, with the text and what was expected.
// Units: bytes. Source: unix(7), "Address format".
#pragma once

#include <quoit/error.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string>
#include <string_view>
#include <type_traits>

namespace quoit {

class unix_address {
  public:
    /// Bytes of a path; of an abstract name one less.
    static constexpr std::size_t size_max = 108;

    /// Unnamed.
    constexpr unix_address() noexcept = default;

    /// A path: a literal, std::string, std::string_view. Not checked, see is_valid().
    template <class Text>
        requires(std::convertible_to<const Text&, std::string_view> &&
                 !std::same_as<Text, unix_address>)
    constexpr unix_address(const Text& path) noexcept {
        append(std::string_view(path));
    }

    /// Without the NUL that it begins with in the kernel's hands.
    [[nodiscard]] static constexpr unix_address abstract(std::string_view name) noexcept {
        unix_address made;
        made.append(std::string_view("\0", 1));
        made.append(name);
        return made;
    }

    /// See the top of the file. "" is refused.
    [[nodiscard]] static result<unix_address> parse(std::string_view text);

    [[nodiscard]] constexpr bool is_unnamed() const noexcept { return size_ == 0; }
    [[nodiscard]] constexpr bool is_abstract() const noexcept {
        return size_ > 0 && bytes_[0] == '\0';
    }
    [[nodiscard]] constexpr bool is_path() const noexcept { return size_ > 0 && bytes_[0] != '\0'; }
    /// Short enough, and a path without NUL. An unnamed one is valid.
    [[nodiscard]] constexpr bool is_valid() const noexcept {
        return size_ <= size_max && !(is_path() && name().find('\0') != std::string_view::npos);
    }

    /// The path, or the abstract name without its leading NUL. Of one that is too long: what there
    /// was room for.
    [[nodiscard]] constexpr std::string_view name() const noexcept {
        return kernel_name().substr(is_abstract() ? 1 : 0);
    }
    /// As in sun_path, without a terminating NUL.
    [[nodiscard]] constexpr std::string_view kernel_name() const noexcept {
        return {bytes_.data(), size_ < size_max ? size_ : size_max};
    }

    [[nodiscard]] std::string to_string() const;

    [[nodiscard]] friend constexpr bool operator==(const unix_address& a,
                                                   const unix_address& b) noexcept {
        return a.size_ == b.size_ && a.kernel_name() == b.kernel_name();
    }
    friend std::ostream& operator<<(std::ostream& out, const unix_address& a);

  private:
    constexpr void append(std::string_view text) noexcept {
        for (const char c : text) {
            if (size_ < size_max) bytes_[size_] = c;
            if (size_ <= size_max) ++size_;  // one more than there may be: too long
        }
    }

    std::array<char, size_max> bytes_{};
    std::uint8_t size_ = 0;
};
static_assert(std::is_trivially_copyable_v<unix_address>);

}  // namespace quoit

template <>
struct std::hash<quoit::unix_address> {
    [[nodiscard]] std::size_t operator()(const quoit::unix_address& a) const noexcept {
        return std::hash<std::string_view>()(a.kernel_name());
    }
};
