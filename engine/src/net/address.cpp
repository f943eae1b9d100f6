// SPDX-License-Identifier: MIT
#include <quoit/address.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>

#include <net/if.h>

namespace quoit {

namespace {

std::string quoted(std::string_view text) {
    std::string words;
    words += '"';
    words += text;
    words += '"';
    return words;
}

void append_number(std::string& text, std::uint32_t value, int base) {
    std::array<char, 10> digits{};  // of 4294967295
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, base).ptr;
    text.append(digits.data(), end);
}

// 0 when there is no such interface.
std::uint32_t interface_index(std::string_view name) {
    if (name.find('\0') != name.npos) return 0;  // it would end there, and something else be found
    return ::if_nametoindex(std::string(name).c_str());
}

void append_scope(std::string& text, std::uint32_t scope) {
    text += '%';
    std::array<char, IF_NAMESIZE> name{};
    // An interface may be called "7"; parse() would take that for an index.
    if (::if_indextoname(scope, name.data()) != nullptr &&
        !detail::parse_number(name.data(), 10, std::numeric_limits<std::uint32_t>::max())) {
        text += name.data();
    } else {
        append_number(text, scope, 10);
    }
}

void append_ipv4(std::string& text, const std::uint8_t* bytes) {
    for (std::size_t i = 0; i < 4; ++i) {
        if (i > 0) text += '.';
        append_number(text, bytes[i], 10);
    }
}

struct zero_run {
    std::size_t begin = 8;
    std::size_t size = 0;
};

// The longest, the first of equals, and never a single group (RFC 5952, section 4.2).
zero_run longest_zero_run(const std::array<std::uint16_t, 8>& groups) {
    zero_run best;
    for (std::size_t begin = 0; begin < groups.size();) {
        std::size_t end = begin;
        while (end < groups.size() && groups[end] == 0)
            ++end;
        if (end - begin >= 2 && end - begin > best.size)
            best = {.begin = begin, .size = end - begin};
        begin = end + 1;
    }
    return best;
}

void append_ipv6(std::string& text, const std::array<std::uint8_t, 16>& bytes) {
    constexpr std::array<std::uint8_t, 12> mapped_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (std::equal(mapped_prefix.begin(), mapped_prefix.end(), bytes.begin())) {
        text += "::ffff:";  // RFC 5952, section 5: a known prefix in front of an IPv4 address
        append_ipv4(text, bytes.data() + mapped_prefix.size());
        return;
    }
    std::array<std::uint16_t, 8> groups{};
    for (std::size_t i = 0; i < groups.size(); ++i) {
        groups[i] = static_cast<std::uint16_t>(bytes[2 * i] << 8 | bytes[2 * i + 1]);
    }
    const zero_run gap = longest_zero_run(groups);
    for (std::size_t i = 0; i < groups.size(); ++i) {
        if (i == gap.begin) {
            text += "::";
            i += gap.size - 1;
            continue;
        }
        if (i > 0 && i != gap.begin + gap.size) text += ':';
        append_number(text, groups[i], 16);
    }
}

struct named_scope {
    ip host;
    std::string_view interface_name;
};

// Nothing when there is no '%', or no IPv6 literal in front of it.
std::optional<named_scope> split_scope(std::string_view text) {
    const std::size_t percent = text.find('%');
    if (percent == text.npos) return std::nullopt;
    const auto host = ip::from_text(text.substr(0, percent));
    if (!host || host->family() != family::ipv6) return std::nullopt;
    return named_scope{.host = *host, .interface_name = text.substr(percent + 1)};
}

std::unexpected<error> no_such_interface(std::string_view text, std::string_view name) {
    return failure(errc::invalid_address,
                   quoted(text) + ": no interface is called " + quoted(name));
}

std::unexpected<error> not_an_address(std::string_view text) {
    return failure(
        errc::invalid_address,
        quoted(text) + " is no ADDRESS:PORT (an IPv4 or [IPv6] literal and a port 0..65535)");
}

}  // namespace

result<ip> ip::parse(std::string_view text) {
    if (const auto literal = from_text(text)) return *literal;
    if (const auto scoped = split_scope(text)) {
        const std::uint32_t index = interface_index(scoped->interface_name);
        if (index == 0) return no_such_interface(text, scoped->interface_name);
        return v6(scoped->host.bytes(), index);
    }
    return failure(errc::invalid_address, quoted(text) + " is no IPv4 or IPv6 literal");
}

std::string ip::to_string() const {
    std::string text;
    switch (family_) {
        case quoit::family::unspecified: text = "unspecified"; break;
        case quoit::family::ipv4: append_ipv4(text, bytes_.data()); break;
        case quoit::family::ipv6:
            append_ipv6(text, bytes_);
            if (scope_ != 0) append_scope(text, scope_);
            break;
    }
    return text;
}

std::ostream& operator<<(std::ostream& out, const ip& a) { return out << a.to_string(); }

result<address> address::parse(std::string_view text) {
    const auto parts = detail::split_host_port(text);
    if (!parts) return not_an_address(text);
    const auto host = ip::parse(parts->host);
    if (!host) {
        // What was given is named whole, so the words are not those of ip::parse().
        const auto scoped = split_scope(parts->host);
        return scoped ? no_such_interface(text, scoped->interface_name) : not_an_address(text);
    }
    const auto parsed = detail::join_parts(*parts, *host);
    if (!parsed) return not_an_address(text);
    return *parsed;
}

std::string address::to_string() const {
    const bool is_ipv6 = family() == quoit::family::ipv6;
    std::string text;
    if (is_ipv6) text += '[';
    text += host_.to_string();
    if (is_ipv6) text += ']';
    text += ':';
    append_number(text, port_, 10);
    if (flow_ != 0) {
        text += "/flow=0x";
        append_number(text, flow_, 16);
    }
    return text;
}

std::ostream& operator<<(std::ostream& out, const address& a) { return out << a.to_string(); }

result<address> host_port::to_address() const {
    if (form_ == form::literal) return literal_;
    if (form_ == form::malformed) {
        return failure(errc::invalid_address,
                       quoted(name_) +
                           " is no HOST:PORT (a host name, an IPv4 or [IPv6] literal or "
                           "nothing, and a port 0..65535)");
    }
    if (port_ < 0 || port_ > 65535) {
        return failure(errc::invalid_option, "port " + std::to_string(port_) + " of " +
                                                 quoted(name_) + " is not in 0..65535");
    }
    if (is_every_interface()) {
        return failure(errc::invalid_address,
                       to_string() + " is every interface, and no single address");
    }
    if (is_host_name()) {
        return failure(errc::invalid_address,
                       quoted(name_) + " is a host name, and names are not looked up here");
    }
    const auto host = ip::parse(name_);
    if (!host) return std::unexpected<error>(host.error());
    return quoit::address(*host, static_cast<std::uint16_t>(port_)).with_flow(flow_);
}

std::string host_port::to_string() const {
    if (form_ == form::literal) return literal_.to_string();
    if (form_ == form::malformed) return std::string(name_);
    const bool is_ipv6 = name_.find(':') != name_.npos;
    std::string text;
    if (is_ipv6) text += '[';
    text += name_.empty() ? std::string_view("*") : name_;
    if (is_ipv6) text += ']';
    text += ':';
    text += std::to_string(port_);
    if (flow_ != 0) {
        text += "/flow=0x";
        append_number(text, flow_, 16);
    }
    return text;
}

}  // namespace quoit
