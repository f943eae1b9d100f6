// SPDX-License-Identifier: MIT
//
// Addresses: values, compared and hashed by content. None of them ever looks a name up.
//
//   ip         an address without a port: multicast groups, interfaces; with its IPv6 scope
//   address    ip + port (+ IPv6 flow): what a datagram comes from and goes to
//   host_port  a NAME or a literal with a port: what opening functions take
//
// A literal is checked by the compiler: server.sendto("x", {"127.0.0.1", 9999}) compiles,
// {"example.com", 9999} does not. Text known only at run time goes through parse().
//
// As text, printed and parsed without loss:
//
//   127.0.0.1          ip: four decimal parts; a part with a leading zero is refused, because some
//                      programs read it as octal
//   fe80::1%eth0       ip: as RFC 5952 has it, then the scope, as the interface's name if there is
//                      one (and if it would not be taken for a number), otherwise as its index
//   127.0.0.1:9999     address
//   [fe80::1%2]:53     address
//   [::1]:53/flow=0x7  address with a flow; written only when the flow is not 0. The syntax is
//                      ours: no standard has one
//
// Invariants: only an IPv6 address has a scope or a flow, elsewhere they are 0; an IPv4 address
// stands in the first 4 of the 16 bytes, the rest are 0.
//
// Thread safety: values.
// Errors: errc::invalid_address, with the text and what was expected; errc::invalid_option for a
// port out of range.
// Units: ports, scopes and flows are integers in host byte order; bytes() are in network order.
#pragma once

#include <quoit/error.hpp>

#include <array>
#include <bit>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace quoit {

enum class family : std::uint8_t { unspecified, ipv4, ipv6 };

class ip {
  public:
    /// No address at all; the one value whose text, "unspecified", parse() does not take.
    constexpr ip() noexcept = default;

    /// A literal, with a numeric scope if any: "127.0.0.1", "ff02::1%2".
    template <std::size_t N>
    consteval ip(const char (&literal)[N]) : ip(from_literal(std::string_view(literal, N - 1))) {
        if (literal[N - 1] != '\0') not_an_ip_literal_so_use_parse();
    }

    [[nodiscard]] static constexpr ip v4(const std::array<std::uint8_t, 4>& bytes) noexcept;

    /// `scope` is the index of an interface, or 0.
    [[nodiscard]] static constexpr ip v6(const std::array<std::uint8_t, 16>& bytes,
                                         std::uint32_t scope = 0) noexcept;

    /// Also takes the name of an interface as the scope, which costs a few system calls.
    [[nodiscard]] static result<ip> parse(std::string_view text);

    /// Nothing when the text is no literal. The scope is a number here: names are for parse().
    [[nodiscard]] static constexpr std::optional<ip> from_text(std::string_view text) noexcept;

    [[nodiscard]] constexpr quoit::family family() const noexcept { return family_; }
    [[nodiscard]] constexpr std::uint32_t scope() const noexcept { return scope_; }
    [[nodiscard]] constexpr const std::array<std::uint8_t, 16>& bytes() const noexcept {
        return bytes_;
    }

    /// 224.0.0.0/4, ff00::/8.
    [[nodiscard]] constexpr bool is_multicast() const noexcept {
        return family_ == quoit::family::ipv4 ? (bytes_[0] & 0xf0) == 0xe0 : bytes_[0] == 0xff;
    }

    /// Looks the scope's name up when there is a scope, which costs a few system calls.
    [[nodiscard]] std::string to_string() const;

    [[nodiscard]] friend constexpr bool operator==(const ip& a, const ip& b) noexcept {
        // Two words: the array's own comparison is a call of memcmp, once per datagram and more.
        using words = std::array<std::uint64_t, 2>;
        const auto x = std::bit_cast<words>(a.bytes_);
        const auto y = std::bit_cast<words>(b.bytes_);
        return x[0] == y[0] && x[1] == y[1] && a.scope_ == b.scope_ && a.family_ == b.family_;
    }

    /// IPv4 before IPv6, then in the order of the bytes.
    [[nodiscard]] friend constexpr std::strong_ordering operator<=>(const ip& a,
                                                                    const ip& b) noexcept {
        if (const auto order = a.family_ <=> b.family_; order != 0) return order;
        if (const auto order = a.bytes_ <=> b.bytes_; order != 0) return order;
        return a.scope_ <=> b.scope_;
    }

    friend std::ostream& operator<<(std::ostream& out, const ip& a);

  private:
    // Not constexpr, so that a call ends the compilation and the name is in the message.
    static void not_an_ip_literal_so_use_parse();

    static consteval ip from_literal(std::string_view text) {
        const auto parsed = from_text(text);
        if (!parsed) not_an_ip_literal_so_use_parse();
        return *parsed;
    }

    std::array<std::uint8_t, 16> bytes_{};
    std::uint32_t scope_ = 0;
    quoit::family family_ = quoit::family::unspecified;
};
static_assert(std::is_trivially_copyable_v<ip>);

class address {
  public:
    /// No address at all; see ip().
    constexpr address() noexcept = default;

    /// {"127.0.0.1", port} is one of these: the literal is checked when compiling, the port may be
    /// known only at run time.
    constexpr address(ip host, std::uint16_t port) noexcept : host_(host), port_(port) {}

    /// "127.0.0.1:9999", "[fe80::1%eth0]:53". See ip::parse() for what a name costs.
    [[nodiscard]] static result<address> parse(std::string_view text);

    /// Nothing when the text is no address, or its scope is not a number.
    [[nodiscard]] static constexpr std::optional<address> from_text(std::string_view text) noexcept;

    [[nodiscard]] constexpr const ip& host() const noexcept { return host_; }
    [[nodiscard]] constexpr std::uint16_t port() const noexcept { return port_; }
    [[nodiscard]] constexpr quoit::family family() const noexcept { return host_.family(); }

    /// Traffic class and flow label, as in sin6_flowinfo (RFC 3493, section 3.3).
    [[nodiscard]] constexpr std::uint32_t flow() const noexcept { return flow_; }

    [[nodiscard]] constexpr address with_port(std::uint16_t port) const noexcept {
        address other = *this;
        other.port_ = port;
        return other;
    }

    /// IPv4 has no flow: there the result is the address itself.
    [[nodiscard]] constexpr address with_flow(std::uint32_t flow) const noexcept {
        address other = *this;
        if (family() == quoit::family::ipv6) other.flow_ = flow;
        return other;
    }

    /// See ip::to_string() for what a scope costs.
    [[nodiscard]] std::string to_string() const;

    [[nodiscard]] friend constexpr bool operator==(const address&,
                                                   const address&) noexcept = default;

    /// By host, then flow, then port.
    [[nodiscard]] friend constexpr auto operator<=>(const address&,
                                                    const address&) noexcept = default;

    friend std::ostream& operator<<(std::ostream& out, const address& a);

  private:
    ip host_;
    std::uint32_t flow_ = 0;
    std::uint16_t port_ = 0;
};
static_assert(std::is_trivially_copyable_v<address>);
static_assert(sizeof(address) == 32, "two to a cache line, wherever many are kept");

/// Where to open: a name, a literal, or every interface, with a port. A view of the name: a
/// function that takes one copies what it needs before it returns, so temporaries are safe; do not
/// store it. Nothing is refused here, everything by the function that opens.
class host_port {
  public:
    /// {"localhost", 9999}, {"127.0.0.1", 9999}; an empty name means every interface.
    template <std::integral Port>
        requires(!std::same_as<Port, bool>)
    constexpr host_port(std::string_view name, Port port) noexcept
        : name_(name), port_(static_cast<std::int64_t>(port)), form_(form::name) {}

    constexpr host_port(const address& literal) noexcept
        : literal_(literal), port_(literal.port()), form_(form::literal) {}

    /// "localhost:9999", "[::1]:9999", ":9999": from a command line.
    constexpr explicit host_port(std::string_view text) noexcept;

    /// The name, without the brackets of an IPv6 literal; empty when made of an address. The whole
    /// text when it has no such parts.
    [[nodiscard]] constexpr std::string_view name() const noexcept { return name_; }

    /// As given, so not always in 0..65535; -1 when the text has none.
    [[nodiscard]] constexpr std::int64_t port() const noexcept { return port_; }

    [[nodiscard]] constexpr bool is_every_interface() const noexcept {
        return form_ == form::name && name_.empty();
    }

    /// Whether a resolver is needed. What could only be meant as a literal is no name, even if it
    /// is a wrong one: "127.0.0.256", "fe80::x".
    [[nodiscard]] constexpr bool is_host_name() const noexcept;

    /// The address this is a literal of. Errors: invalid_option for a port outside 0..65535;
    /// invalid_address for a host name, for every interface and for text that is neither.
    [[nodiscard]] result<address> to_address() const;

    /// For messages: "localhost:9999", "[::1]:9999", "*:9999" for every interface.
    [[nodiscard]] std::string to_string() const;

  private:
    enum class form : std::uint8_t { name, literal, malformed };

    std::string_view name_;
    address literal_;
    std::int64_t port_ = -1;
    std::uint32_t flow_ = 0;  // of a name with a flow, which only a text can have
    form form_ = form::malformed;
};
static_assert(std::is_trivially_copyable_v<host_port> &&
                  std::is_trivially_destructible_v<host_port>,
              "written in braces inside co_await, where GCC 12 destroys what is not trivial twice");

// From here on: how it is done.

constexpr ip ip::v4(const std::array<std::uint8_t, 4>& bytes) noexcept {
    ip a;
    a.family_ = quoit::family::ipv4;
    for (std::size_t i = 0; i < bytes.size(); ++i)
        a.bytes_[i] = bytes[i];
    return a;
}

constexpr ip ip::v6(const std::array<std::uint8_t, 16>& bytes, std::uint32_t scope) noexcept {
    ip a;
    a.family_ = quoit::family::ipv6;
    a.bytes_ = bytes;
    a.scope_ = scope;
    return a;
}

namespace detail {

// 16 when it is none.
[[nodiscard]] constexpr unsigned hex_digit_value(char c) noexcept {
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10;
    if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A') + 10;
    return 16;
}

// Digits only, no leading zero but "0" itself, at most `max`.
[[nodiscard]] constexpr std::optional<std::uint64_t> parse_number(std::string_view text,
                                                                  unsigned base,
                                                                  std::uint64_t max) noexcept {
    if (text.empty() || (text.size() > 1 && text[0] == '0')) return std::nullopt;
    std::uint64_t value = 0;
    for (const char c : text) {
        const unsigned digit = hex_digit_value(c);
        if (digit >= base || value > (max - digit) / base) return std::nullopt;
        value = value * base + digit;
    }
    return value;
}

// Writes 4 bytes; false when the text is no dotted quad.
[[nodiscard]] constexpr bool parse_ipv4(std::string_view text, std::uint8_t* bytes) noexcept {
    for (std::size_t part = 0; part < 4; ++part) {
        const std::size_t dot = text.find('.');
        if ((dot == std::string_view::npos) != (part == 3)) return false;
        const auto value = parse_number(text.substr(0, dot), 10, 255);
        if (!value) return false;
        bytes[part] = static_cast<std::uint8_t>(*value);
        if (part < 3) text.remove_prefix(dot + 1);
    }
    return true;
}

enum class dotted_tail : std::uint8_t { refused, allowed };

// "a:b:c" or, where it may end in one, "a:b:1.2.3.4". The number of bytes written (0 for no text at
// all), or nothing.
[[nodiscard]] constexpr std::optional<std::size_t> parse_ipv6_groups(
    std::string_view text, dotted_tail tail, std::array<std::uint8_t, 16>& bytes) noexcept {
    std::size_t count = 0;
    while (!text.empty()) {
        const std::size_t colon = text.find(':');
        const std::string_view group = text.substr(0, colon);
        const bool is_last = colon == std::string_view::npos;
        if (is_last && tail == dotted_tail::allowed && group.find('.') != group.npos) {
            if (count > 12 || !parse_ipv4(group, bytes.data() + count)) return std::nullopt;
            return count + 4;
        }
        if (group.empty() || group.size() > 4 || count == 16) return std::nullopt;
        unsigned value = 0;
        for (const char c : group) {
            const unsigned digit = hex_digit_value(c);
            if (digit == 16) return std::nullopt;
            value = value * 16 + digit;
        }
        bytes[count++] = static_cast<std::uint8_t>(value >> 8);
        bytes[count++] = static_cast<std::uint8_t>(value & 0xff);
        if (is_last) return count;
        text.remove_prefix(colon + 1);
        if (text.empty()) return std::nullopt;
    }
    return count;
}

// Writes 16 bytes; false when the text is no IPv6 address (without scope).
[[nodiscard]] constexpr bool parse_ipv6(std::string_view text,
                                        std::array<std::uint8_t, 16>& bytes) noexcept {
    const std::size_t gap = text.find("::");
    if (gap == std::string_view::npos) {
        return parse_ipv6_groups(text, dotted_tail::allowed, bytes) == 16;
    }
    std::array<std::uint8_t, 16> tail{};
    const auto head_size = parse_ipv6_groups(text.substr(0, gap), dotted_tail::refused, bytes);
    const auto tail_size = parse_ipv6_groups(text.substr(gap + 2), dotted_tail::allowed, tail);
    // "::" stands for at least one group (RFC 4291, section 2.2).
    if (!head_size || !tail_size || *head_size + *tail_size > 14) return false;
    for (std::size_t i = *head_size; i < 16; ++i) {
        const std::size_t tail_begin = 16 - *tail_size;
        bytes[i] = i < tail_begin ? std::uint8_t{0} : tail[i - tail_begin];
    }
    return true;
}

// The parts of "HOST:PORT" or "[HOST]:PORT" or "[HOST]:PORT/flow=0xFLOW", not looked at yet.
struct split_text {
    std::string_view host;
    std::string_view port;
    std::string_view flow = "0";
    bool is_bracketed = false;
};

[[nodiscard]] constexpr std::optional<split_text> split_host_port(std::string_view text) noexcept {
    split_text parts;
    if (!text.starts_with('[')) {
        const std::size_t colon = text.find(':');
        if (colon == text.npos || text.find(':', colon + 1) != text.npos) return std::nullopt;
        parts.host = text.substr(0, colon);
        parts.port = text.substr(colon + 1);
        return parts;
    }
    // The kernel allows ']' in an interface's name, but neither ':' nor '/' (dev_valid_name() in
    // net/core/dev.c), so the first "]:" is the end of the host.
    const std::size_t end = text.find("]:");
    if (end == text.npos) return std::nullopt;
    constexpr std::string_view flow_mark = "/flow=0x";
    parts.is_bracketed = true;
    parts.host = text.substr(1, end - 1);
    parts.port = text.substr(end + 2);
    if (const std::size_t mark = parts.port.find(flow_mark); mark != text.npos) {
        parts.flow = parts.port.substr(mark + flow_mark.size());
        parts.port = parts.port.substr(0, mark);
    }
    return parts;
}

[[nodiscard]] constexpr std::optional<std::uint32_t> parse_flow(std::string_view text) noexcept {
    const auto flow = parse_number(text, 16, std::numeric_limits<std::uint32_t>::max());
    if (!flow) return std::nullopt;
    return static_cast<std::uint32_t>(*flow);
}

// An IPv6 host stands in brackets, no other does.
[[nodiscard]] constexpr std::optional<address> join_parts(const split_text& parts,
                                                          const ip& host) noexcept {
    const auto port = parse_number(parts.port, 10, 65535);
    const auto flow = parse_flow(parts.flow);
    if (!port || !flow || parts.is_bracketed != (host.family() == family::ipv6)) {
        return std::nullopt;
    }
    return address(host, static_cast<std::uint16_t>(*port)).with_flow(*flow);
}

}  // namespace detail

constexpr std::optional<ip> ip::from_text(std::string_view text) noexcept {
    std::array<std::uint8_t, 16> bytes{};
    if (text.find(':') == text.npos) {
        std::array<std::uint8_t, 4> parts{};
        if (!detail::parse_ipv4(text, parts.data())) return std::nullopt;
        return v4(parts);
    }
    const std::size_t percent = text.find('%');
    std::uint32_t scope = 0;
    if (percent != text.npos) {
        const auto number = detail::parse_number(text.substr(percent + 1), 10,
                                                 std::numeric_limits<std::uint32_t>::max());
        if (!number) return std::nullopt;
        scope = static_cast<std::uint32_t>(*number);
    }
    if (!detail::parse_ipv6(text.substr(0, percent), bytes)) return std::nullopt;
    return v6(bytes, scope);
}

constexpr std::optional<address> address::from_text(std::string_view text) noexcept {
    const auto parts = detail::split_host_port(text);
    if (!parts) return std::nullopt;
    const auto host = ip::from_text(parts->host);
    if (!host) return std::nullopt;
    return detail::join_parts(*parts, *host);
}

constexpr host_port::host_port(std::string_view text) noexcept : name_(text) {
    const auto parts = detail::split_host_port(text);
    if (!parts) return;
    const auto port =
        detail::parse_number(parts->port, 10, std::numeric_limits<std::int64_t>::max());
    const auto flow = detail::parse_flow(parts->flow);
    const bool has_colon = parts->host.find(':') != text.npos;
    if (!port || !flow || parts->is_bracketed != has_colon) return;
    name_ = parts->host;
    port_ = static_cast<std::int64_t>(*port);
    flow_ = *flow;
    form_ = form::name;
}

constexpr bool host_port::is_host_name() const noexcept {
    // RFC 1123, section 2.1: no host name is made of digits and dots alone, and none has a colon.
    return form_ == form::name && name_.find_first_not_of("0123456789.") != name_.npos &&
           name_.find(':') == name_.npos;
}

namespace detail {

// The finaliser of MurmurHash3 (public domain): every bit of the input reaches every bit of the
// result, so that tables may use the low bits. Not keyed: whoever chooses addresses can make them
// collide.
[[nodiscard]] constexpr std::uint64_t mix_hash(std::uint64_t hash, std::uint64_t word) noexcept {
    // The constant keeps words of zero from leaving a hash of zero.
    hash = (hash ^ word) + 0x9e3779b97f4a7c15U;
    hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccdU;
    hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53U;
    return hash ^ (hash >> 33);
}

}  // namespace detail

}  // namespace quoit

template <>
struct std::hash<quoit::ip> {
    [[nodiscard]] constexpr std::size_t operator()(const quoit::ip& a) const noexcept {
        const auto words = std::bit_cast<std::array<std::uint64_t, 2>>(a.bytes());
        const std::uint64_t rest =
            std::uint64_t{a.scope()} << 8 | static_cast<unsigned>(a.family());
        const std::uint64_t high = quoit::detail::mix_hash(0, words[0]);
        return quoit::detail::mix_hash(quoit::detail::mix_hash(high, words[1]), rest);
    }
};

template <>
struct std::hash<quoit::address> {
    [[nodiscard]] constexpr std::size_t operator()(const quoit::address& a) const noexcept {
        const std::uint64_t rest = std::uint64_t{a.flow()} << 16 | a.port();
        return quoit::detail::mix_hash(std::hash<quoit::ip>()(a.host()), rest);
    }
};
