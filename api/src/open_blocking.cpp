// SPDX-License-Identifier: MIT
#include "open_blocking.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace quoit::detail {

namespace {

// Where names become addresses, at least one; the only place that would ask a resolver.
result<std::vector<address>> addresses_of(const host_port& where) {
    if (where.is_host_name()) {
        return failure(errc::invalid_address,
                       where.to_string() + ": names are not resolved here, give an address");
    }
    const result<address> literal = where.to_address();
    if (!literal) return std::unexpected(literal.error());
    return std::vector<address>{*literal};
}

// The same error, saying what was opened if it does not do so yet.
error explain(const error& why, const char* doing, const host_port& where) {
    if (!why.context().empty()) return why;
    return error(why.code(), doing + where.to_string(),
                 std::vector<error>(why.causes().begin(), why.causes().end()));
}

// The first that works; otherwise why each did not.
template <class Open>
blocking_socket::opened open_first(const char* doing, const host_port& where, Open open) {
    const auto found = addresses_of(where);
    if (!found) return std::unexpected(explain(found.error(), doing, where));
    std::vector<error> causes;
    for (const address& one : *found) {
        blocking_socket::opened made = open(one);
        if (made) return made;
        causes.push_back(made.error());
    }
    if (causes.size() == 1) return std::unexpected(explain(causes.front(), doing, where));
    const std::error_code first = causes.front().code();
    return std::unexpected(error(first, doing + where.to_string(), std::move(causes)));
}

blocking_socket::opened open_every_interface(const host_port& where, const udp_options& options) {
    if (where.port() < 0 || where.port() > 65'535) {
        return failure(errc::invalid_option, where.to_string() + ": a port is not in 0..65535");
    }
    return blocking_socket::listen_on_every_interface(static_cast<std::uint16_t>(where.port()),
                                                      options);
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
    if (where.size() == 1) {
        return open_first(listening, where.front(), [&](const address& one) {
            return blocking_socket::listen(std::span(&one, 1), options);
        });
    }
    std::vector<address> all;
    std::vector<error> causes;
    for (const host_port& one : where) {
        if (one.is_every_interface()) {
            causes.emplace_back(make_error_code(errc::invalid_option),
                                one.to_string() + " leaves nothing for other addresses");
        } else if (auto found = addresses_of(one)) {
            all.push_back(found->front());
        } else {
            causes.push_back(explain(found.error(), listening, one));
        }
    }
    if (causes.empty()) return blocking_socket::listen(all, options);
    const std::error_code first = causes.front().code();
    return std::unexpected(error(first, "listen on " + std::to_string(where.size()) + " addresses",
                                 std::move(causes)));
}

blocking_socket::opened open_blocking_client(const host_port& where, const udp_options& options) {
    return open_first(connecting, where,
                      [&](const address& one) { return blocking_socket::connect(one, options); });
}

}  // namespace quoit::detail
