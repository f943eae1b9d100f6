// SPDX-License-Identifier: MIT
#include <quoit/detail/look_up.hpp>

#include "net/sockaddr.hpp"

#include <netdb.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <span>
#include <utility>

namespace quoit {

namespace {

class resolver_error_category final : public std::error_category {
  public:
    // Usable by static destructors and detached threads: never destroyed, as category().
    constexpr resolver_error_category() noexcept = default;
    [[nodiscard]] const char* name() const noexcept override { return "resolver"; }
    [[nodiscard]] std::string message(int code) const override { return ::gai_strerror(code); }
};

union never_destroyed {
    constexpr never_destroyed() noexcept : category() {}
    ~never_destroyed() {}
    resolver_error_category category;
};
constinit never_destroyed the_category;

std::error_code to_error_code(int code) noexcept {
    switch (code) {
        case EAI_SYSTEM: return {errno, std::system_category()};
        case EAI_MEMORY: return std::make_error_code(std::errc::not_enough_memory);
        case EAI_NONAME: return errc::host_not_found;
#ifdef EAI_NODATA
        case EAI_NODATA: return errc::host_not_found;
#endif
#ifdef EAI_ADDRFAMILY
        case EAI_ADDRFAMILY: return errc::host_not_found;
#endif
        default: return {code, the_category.category};
    }
}

}  // namespace

const std::error_category& resolver_category() noexcept { return the_category.category; }

namespace detail {

result<std::vector<ip>> look_up(const std::string& name, family wanted) {
    addrinfo hints{};
    hints.ai_family = domain_of(wanted);
    hints.ai_socktype = SOCK_DGRAM;  // otherwise each address comes once for every type
    addrinfo* found = nullptr;
    // A name with a NUL in it would be looked up as what stands before that.
    const bool is_text = name.find('\0') == std::string::npos;
    const int failed =
        is_text ? ::getaddrinfo(name.c_str(), nullptr, &hints, &found) : int{EAI_NONAME};
    if (failed != 0) return failure(to_error_code(failed), "resolve " + name);
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
    std::vector<ip> hosts;
    for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
        const auto* const bytes = reinterpret_cast<const std::byte*>(one->ai_addr);
        const auto parsed = from_sockaddr(std::span(bytes, one->ai_addrlen));
        if (parsed && std::ranges::find(hosts, parsed->host()) == hosts.end()) {
            hosts.push_back(parsed->host());
        }
    }
    if (hosts.empty()) return failure(errc::host_not_found, "resolve " + name);
    return hosts;
}

result<std::vector<address>> resolve_now(const host_port& where, family wanted) {
    if (!where.is_host_name()) {
        const auto literal = where.to_address();
        if (!literal) return std::unexpected(literal.error());
        if (wanted != family::unspecified && literal->family() != wanted) {
            return failure(errc::wrong_family, where.to_string());
        }
        return std::vector<address>{*literal};
    }
    if (where.port() < 0 || where.port() > 65'535) {
        return failure(errc::invalid_option, where.to_string() + ": a port is not in 0..65535");
    }
    const auto hosts = look_up(std::string(where.name()), wanted);
    if (!hosts) return std::unexpected(hosts.error());
    std::vector<address> all;
    all.reserve(hosts->size());
    for (const ip& host : *hosts)
        all.emplace_back(host, static_cast<std::uint16_t>(where.port()));
    return all;
}

}  // namespace detail

}  // namespace quoit
