// SPDX-License-Identifier: MIT
//
// struct_format: fixed binary layouts, written as Python's struct module writes them and checked by
// the compiler.
//
//   using record = quoit::struct_format<"! I 2s Q 2h f">;
//   server.sendto(record::pack(1, "ab", 2, 3, 3, 2.5F), peer);      // record::size == 22
//   auto fields = record::unpack(datagram);                         // result<record::tuple>
//   if (fields) const auto& [id, tag, serial, low, high, ratio] = *fields;
//
// A format begins with its byte order: `!` or `>` big endian (the network's), `<` little endian,
// `=` this machine's; sizes are the standard ones, and nothing is padded. Python's default, `@` or
// no order at all, has the padding of the machine's C compiler: it is refused, so that a format
// copied from Python means here what it means there, or does not compile.
//
//   x   a pad byte, no field; 0        ?   bool; any byte but 0 is true
//   c   char                           e   float, 2 bytes: beyond 65 504 an infinity
//   b B int8_t, uint8_t                f   float
//   h H int16_t, uint16_t              d   double
//   i I int32_t, uint32_t (l L too)    Ns  std::array<char, N>: one field of N characters
//   q Q int64_t, uint64_t              Np  pascal_text<N>: one field, its length in the first byte
//
// A number before another code is how often: `2h` is `hh`. White space stands between items, not
// after a number. n, N and P exist only with `@`. 65 527 bytes at most. struct_format<"! 2h I"> and
// struct_format<"!hhI"> are two types with the same tuple.
//
// pack() takes one argument for each field. Text longer than its field is cut, shorter text is
// filled up with NULs, both as in Python; unpack() gives all N characters of an Ns, NULs included.
// Numbers are never cut: a constant that does not fit its field does not compile, and neither does
// a variable of a type that has values which do not fit; say which conversion you mean:
//
//   record::pack(static_cast<std::uint32_t>(count), ...);           // `count` is an int
//
// Constants may be rounded to float (2.5 for an f), and to an e any float is rounded. All of it is
// constexpr, and allocates nothing. A struct_format is a codec (codec.hpp); converting_codec makes
// it one of a struct of yours. quoit::wire::format is another name of it.
//
// Thread safety: functions of their arguments. Errors: errc::bad_datagram for bytes of another
// length, with both lengths. Units: bytes.
#pragma once

#include <quoit/detail/wire_format.hpp>
#include <quoit/error.hpp>
#include <quoit/payload.hpp>
#include <quoit/payload_buffer.hpp>

#include <array>
#include <cstddef>
#include <span>
#include <tuple>
#include <utility>

namespace quoit {

namespace detail {

[[nodiscard]] error wrong_struct_size(std::size_t expected, std::size_t got);

template <format_text Format>
consteval bool check_format() {
    constexpr format_problem problem = layout_of(Format.view()).problem;
    static_assert(problem != format_problem::no_byte_order,
                  "a format begins with its byte order: one of ! > < =");
    static_assert(problem != format_problem::native_alignment,
                  "@ is refused, its padding differs between machines: say ! > < or =");
    static_assert(problem != format_problem::native_only_code,
                  "n, N and P have no standard size: say q, Q or another integer");
    static_assert(problem != format_problem::unknown_code,
                  "a code that is none of x c b B ? h H i I l L q Q e f d s p");
    static_assert(problem != format_problem::count_without_code,
                  "a repeat count stands right before its code");
    static_assert(problem != format_problem::pascal_text_of_nothing,
                  "0p has no room for its length: 1p at least");
    static_assert(problem != format_problem::too_long,
                  "a format of more bytes than a datagram holds");
    return problem == format_problem::none;
}

template <format_text Format, class Indices>
class packer;
template <format_text Format, std::size_t... I>
class packer<Format, std::index_sequence<I...>> {
    static constexpr auto fields = fields_of<Format>();
    static constexpr bool is_big_endian = layout_of(Format.view()).is_big_endian;

  public:
    static constexpr std::size_t size = layout_of(Format.view()).size;
    using bytes = std::array<std::byte, size>;
    using tuple = std::tuple<field_t<fields[I].code, fields[I].size>...>;

    [[nodiscard]] static constexpr bytes pack(
        argument_t<fields[I].code, fields[I].size>... values) noexcept {
        bytes out{};
        (store_field<is_big_endian, fields[I].code, fields[I].size>(out.data() + fields[I].offset,
                                                                    values),
         ...);
        return out;
    }
    [[nodiscard]] static constexpr tuple unpack_exactly(
        [[maybe_unused]] std::span<const std::byte, size> from) noexcept {
        return tuple(load_field<is_big_endian, fields[I].code, fields[I].size>(
            from.data() + fields[I].offset)...);
    }
};

template <format_text Format>
    requires(check_format<Format>())
using packer_of = packer<Format, std::make_index_sequence<layout_of(Format.view()).field_count>>;

}  // namespace detail

/// pack() is inherited, because its parameters must be those of the fields: only then are the
/// constants of a call converted, and checked, at the call.
template <format_text Format>
class struct_format : private detail::packer_of<Format> {
    using packer = detail::packer_of<Format>;

  public:
    /// std::array<std::byte, size>.
    using bytes = typename packer::bytes;
    /// The fields, in their order.
    using tuple = typename packer::tuple;

    /// Of the packed bytes.
    using packer::size;
    /// bytes pack(one argument for each field). See the top of the file for what they may be.
    using packer::pack;
    /// tuple unpack_exactly(std::span<const std::byte, size>): from bytes whose number is known
    /// already. Cannot fail.
    using packer::unpack_exactly;

    [[nodiscard]] static result<tuple> unpack(byte_view from) {
        if (from.size() != size) {
            return std::unexpected(detail::wrong_struct_size(size, from.size()));
        }
        return unpack_exactly(std::span<const std::byte, size>(from.data(), size));
    }

    // As a codec.
    [[nodiscard]] result<tuple> decode(std::span<const std::byte> from) const {
        return unpack(from);
    }
    void encode(const tuple& packet, payload_buffer& out) const {
        std::apply([&](const auto&... values) { out.append(pack(values...)); }, packet);
    }
};

namespace wire {

template <format_text Format>
using format = struct_format<Format>;

}  // namespace wire

}  // namespace quoit
