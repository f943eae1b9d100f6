// SPDX-License-Identifier: MIT
//
// Codecs turn a datagram into a packet and a packet into a datagram:
//
//   struct celsius_codec {
//       quoit::result<double> decode(std::span<const std::byte> bytes) const;
//       quoit::status encode(double packet, quoit::payload_buffer& out) const;
//   };
//
// decode() returns failure(errc::bad_datagram, why) for bytes that are no packet; other errors it
// returns are handed on as they are. encode() has one overload for each type of packet, and returns
// nothing, or a status: failure(errc::bad_datagram, why) for a packet that no bytes stand for (a
// line of text with a line break inside). What either of them THROWS is a bug in the codec, a
// different error: errc::codec_failed, with the exception's words as its cause. An encoded packet
// that no datagram holds is errc::message_too_long. None of these ends an endpoint.
//
// Here are raw_codec, line_codec and converting_codec; struct_format (wire.hpp) is a codec too, and
// json.hpp has one for JSON. message_channel and services speak through a codec.
//
// Ownership: who is given a codec keeps it. The bytes of decode() are valid during the call; what
// it returns must not refer to them. encode() appends to a buffer that is empty when it is called.
// Thread safety: a codec is used by one thread at a time, by one loop if it is given to one.
#pragma once

#include <quoit/error.hpp>
#include <quoit/payload_buffer.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace quoit {

namespace detail {

template <class T>
inline constexpr bool is_result = false;
template <class T>
inline constexpr bool is_result<result<T>> = true;

template <class C>
using decode_result = decltype(std::declval<C&>().decode(std::span<const std::byte>()));

}  // namespace detail

template <class C>
concept codec = requires { typename detail::decode_result<C>; } &&
                detail::is_result<detail::decode_result<C>> &&
                !std::is_void_v<typename detail::decode_result<C>::value_type>;

/// What the codec makes of a datagram.
template <codec C>
using decoded_t = typename detail::decode_result<C>::value_type;

/// Packets of type P can be made a datagram by C.
template <class C, class P>
concept encodes = requires(C& c, const P& packet, payload_buffer& out) {
    requires std::same_as<decltype(c.encode(packet, out)), void> ||
                 std::same_as<decltype(c.encode(packet, out)), status>;
};

/// The bytes as they are, as a string. A string literal is sent up to its first NUL; a
/// std::string_view is sent whole.
struct raw_codec {
    [[nodiscard]] result<std::string> decode(std::span<const std::byte> bytes) const {
        return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    void encode(std::string_view packet, payload_buffer& out) const { out.append(packet); }
    void encode(std::span<const std::byte> packet, payload_buffer& out) const {
        out.append(packet);
    }
};

enum class line_end : std::uint8_t {
    lf,    ///< "\n"
    crlf,  ///< "\r\n"
};

/// A line of text: its end is added when encoding and taken off when decoding, where "\n", "\r\n"
/// and none at all are understood. What comes back is what was sent: a line with a line break in
/// it, or with "\r" at its end, is a bad datagram in both directions. Any other byte is text.
struct line_codec {
    line_end end = line_end::lf;

    [[nodiscard]] result<std::string> decode(std::span<const std::byte> bytes) const;
    status encode(std::string_view line, payload_buffer& out) const;
};

/// Another codec, whose packets are converted: what travels and what the program works with need
/// not be of one type.
///
///   quoit::converting_codec codec(
///       quoit::struct_format<"! I d">(),
///       [](const auto& fields) { return std::make_from_tuple<reading>(fields); },
///       [](const reading& r) { return std::tuple(r.sensor, r.value); });
///
/// `to_packet` returns the packet or, where not everything that travels is one, a result<packet>:
/// errc::bad_datagram. What the conversions throw is errc::codec_failed.
template <codec Codec, class ToPacket, class FromPacket>
    requires std::invocable<ToPacket&, decoded_t<Codec>>
class converting_codec {
  public:
    converting_codec(Codec codec, ToPacket to_packet, FromPacket from_packet)
        : codec_(std::move(codec)), to_packet_(std::move(to_packet)),
          from_packet_(std::move(from_packet)) {}

    [[nodiscard]] auto decode(std::span<const std::byte> bytes) {
        using converted = std::remove_cvref_t<std::invoke_result_t<ToPacket&, decoded_t<Codec>>>;
        using outcome =
            std::conditional_t<detail::is_result<converted>, converted, result<converted>>;
        auto decoded = codec_.decode(bytes);
        if (!decoded) return outcome(std::unexpected(std::move(decoded).error()));
        return outcome(std::invoke(to_packet_, *std::move(decoded)));
    }

    template <class Packet>
        requires std::invocable<FromPacket&, const Packet&> &&
                 encodes<Codec,
                         std::remove_cvref_t<std::invoke_result_t<FromPacket&, const Packet&>>>
    auto encode(const Packet& packet, payload_buffer& out) {
        return codec_.encode(std::invoke(from_packet_, packet), out);
    }

  private:
    Codec codec_;
    ToPacket to_packet_;
    FromPacket from_packet_;
};

namespace detail {

/// errc::codec_failed while `doing`; the cause has the exception's words, and its code if it has
/// one (std::system_error). REQUIRES: `thrown` is not null.
[[nodiscard]] error codec_failure(std::string_view doing, const std::exception_ptr& thrown);

[[nodiscard]] error encoded_too_long();

/// A packet; or what decode() returned; or errc::codec_failed, with what it threw.
template <codec Codec>
[[nodiscard]] result<decoded_t<Codec>> decode_with(Codec& codec, std::span<const std::byte> bytes) {
    try {
        return codec.decode(bytes);
    } catch (...) {
        return std::unexpected(codec_failure("decode", std::current_exception()));
    }
}

/// Into `out`, which is cleared first. errc::codec_failed, with what encode() threw;
/// errc::message_too_long; or what encode() returned. After an error `out` is of no use.
template <codec Codec, class Packet>
    requires encodes<Codec, Packet>
[[nodiscard]] status encode_with(Codec& codec, const Packet& packet, payload_buffer& out) {
    out.clear();
    try {
        if constexpr (std::is_void_v<decltype(codec.encode(packet, out))>) {
            codec.encode(packet, out);
        } else if (status encoded = codec.encode(packet, out); !encoded) {
            return encoded;
        }
    } catch (...) {
        return codec_failure("encode", std::current_exception());
    }
    return out.overflowed() ? status(encoded_too_long()) : status();
}

}  // namespace detail

}  // namespace quoit
