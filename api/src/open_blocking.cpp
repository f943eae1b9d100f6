// SPDX-License-Identifier: MIT
#include "open_blocking.hpp"

#include <quoit/detail/look_up.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace quoit::detail {

namespace {

// The same error, saying what was opened if it does not do so yet.
error explain(const error& why, const char* doing, const host_port& where) {
    if (!why.context().empty()) return why;
    return error(why.code(), doing + where.to_string(),
                 std::vector<error>(why.causes().begin(), why.causes().end()));
}

void add_new_ones(std::vector<address>& known, std::span<const address> found) {
    for (const address& one : found) {
        if (std::ranges::find(known, one) == known.end()) known.push_back(one);
    }
}

// Those of `found` that this machine has: a name may stand for others too (::1 where IPv6 is off).
std::vector<address> those_here(std::vector<address> found, const udp_options& options) {
    std::erase_if(found, [&](const address& one) {
        const auto tried = blocking_socket::listen(std::span(&one, 1), options);
        return !tried && (tried.error() == std::errc::address_not_available ||
                          tried.error() == std::errc::address_family_not_supported);
    });
    return found;
}

blocking_socket::opened open_every_interface(const host_port& where, const udp_options& options) {
    if (where.port() < 0 || where.port() > 65'535) {
        return failure(errc::invalid_option, where.to_string() + ": a port is not in 0..65535");
    }
    const auto number = static_cast<std::uint16_t>(where.port());
    if (options.family == family::unspecified) {
        return blocking_socket::listen_on_every_interface(number, options);
    }
    const bool is_v6 = options.family == family::ipv6;
    const address any(is_v6 ? ip::v6({}) : ip::v4({0, 0, 0, 0}), number);
    return blocking_socket::listen(std::span(&any, 1), options);
}

constexpr const char* listening = "listen ";
constexpr const char* connecting = "connect ";

}  // namespace

blocking_socket::opened open_blocking_server(std::span<const host_port> where,
                                             const udp_options& options) {
    if (where.empty()) return failure(errc::invalid_option, "listen: no address was given");
    if (where.size() == 1 && where.front().is_every_interface()) {
        return open_every_interface(where.front(), options);
    }
    std::vector<address> literals;
    std::vector<address> named;
    std::vector<error> causes;
    for (const host_port& one : where) {
        if (one.is_every_interface()) {
            causes.emplace_back(make_error_code(errc::invalid_option),
                                one.to_string() + " leaves nothing for other addresses");
        } else if (auto found = resolve_now(one, options.family)) {
            if (one.is_host_name()) {
                add_new_ones(named, *found);
            } else {
                literals.insert(literals.end(), found->begin(), found->end());
            }
        } else {
            causes.push_back(explain(found.error(), listening, one));
        }
    }
    if (causes.size() == 1 && where.size() == 1) return std::unexpected(causes.front());
    if (!causes.empty()) {
        const std::error_code first = causes.front().code();
        return std::unexpected(error(
            first, "listen on " + std::to_string(where.size()) + " addresses", std::move(causes)));
    }
    const auto listen = [&](const std::vector<address>& hosts) {
        std::vector<address> all = literals;
        add_new_ones(all, hosts);
        return blocking_socket::listen(all, options);
    };
    blocking_socket::opened made = listen(named);
    if (!made && !named.empty()) {
        const std::vector<address> here = those_here(named, options);
        if (here.size() < named.size() && !(here.empty() && literals.empty())) made = listen(here);
    }
    if (!made && where.size() == 1) {
        return std::unexpected(explain(made.error(), listening, where.front()));
    }
    return made;
}

// The first that works; otherwise why each did not.
blocking_socket::opened open_blocking_client(const host_port& where, const udp_options& options) {
    family wanted = options.family;
    if (wanted == family::unspecified && where.is_host_name()) wanted = options.local.family();
    const auto found = resolve_now(where, wanted);
    if (!found) return std::unexpected(explain(found.error(), connecting, where));
    std::vector<error> causes;
    for (const address& one : *found) {
        blocking_socket::opened made = blocking_socket::connect(one, options);
        if (made) return made;
        causes.push_back(made.error());
    }
    if (causes.size() == 1) return std::unexpected(explain(causes.front(), connecting, where));
    const std::error_code first = causes.front().code();
    return std::unexpected(error(first, connecting + where.to_string(), std::move(causes)));
}

}  // namespace quoit::detail
