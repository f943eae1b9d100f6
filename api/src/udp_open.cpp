// SPDX-License-Identifier: MIT
//
// Opening by name. A literal is opened at once; a name is resolved first, and stands for all its
// addresses when listening, for the first that can be connected to when connecting.
#include <quoit/udp.hpp>

#include "collective_openings.hpp"
#include "open_request.hpp"
#include "udp_access.hpp"

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace quoit {

namespace detail {

namespace {

result<endpoint_id> open_one(port& on, const address& where, const udp_options& options) {
    return on.open(std::span(&where, 1), options);
}

// On every interface, in the families that are wanted; none for a family that is none.
std::vector<address> everywhere(std::uint16_t number, family wanted) {
    std::vector<address> all;
    const bool any = wanted == family::unspecified;
    if (any || wanted == family::ipv4) all.emplace_back(ip::v4({}), number);
    if (any || wanted == family::ipv6) all.emplace_back(ip::v6({}), number);
    return all;
}

result<endpoint_id> listen_everywhere(port& on, std::uint16_t number, const udp_options& options) {
    if (options.family == family::unspecified) return on.open_every_interface(number, options);
    return on.open(everywhere(number, options.family), options);
}

result<socket_group> bind_everywhere(std::uint16_t number, const udp_options& options,
                                     const socket_group_options& how) {
    if (options.family == family::unspecified) {
        return socket_group::open_every_interface(number, options, how);
    }
    return socket_group::open(everywhere(number, options.family), options, how);
}

// Opens what was resolved, by `open`; of a name, what this machine has.
template <class Open>
auto open_what_is_here(port& on, open_targets& targets, const udp_options& options, Open open) {
    auto opened = open(targets.all());
    const auto try_one = [&](const address& one) -> status {
        const auto tried = open_one(on, one, options);
        if (!tried) return tried.error();
        on.release(*tried);
        return {};
    };
    if (!opened && targets.forget_what_is_not_here(try_one)) opened = open(targets.all());
    return opened;
}

}  // namespace

task<result<udp_server>> open_server(open_request request, udp_options options) {
    if (request.refusal()) co_return std::unexpected(*request.refusal());
    loop_core& core = current_core();
    port& on = core.get_port();
    auto claimed = claim_opening(core, options);
    open_targets targets;
    if (!request.every_interface()) {
        result<open_targets> found = co_await resolve_places(request, options.family);
        if (!found) co_return std::unexpected(request.explain(found.error()));
        targets = *std::move(found);
    }
    result<endpoint_id> opened = failure(errc::closed);
    if (claimed) {
        const auto places = request.every_interface()
                                ? everywhere(*request.every_interface(), options.family)
                                : targets.all();
        opened = claimed.open(on, request.what(), places, [&](const socket_group_options& how) {
            if (request.every_interface()) {
                return bind_everywhere(*request.every_interface(), options, how);
            }
            return open_what_is_here(on, targets, options, [&](const auto& where) {
                return socket_group::open(where, options, how);
            });
        });
    } else if (request.every_interface()) {
        opened = listen_everywhere(on, *request.every_interface(), options);
    } else {
        opened = open_what_is_here(on, targets, options,
                                   [&](const auto& where) { return on.open(where, options); });
    }
    if (!opened) co_return std::unexpected(request.explain(opened.error()));
    co_return udp_access::make<udp_server>(*opened);
}

task<result<udp_client>> open_client(open_request request, udp_options options) {
    if (request.refusal()) co_return std::unexpected(*request.refusal());
    if (request.every_interface()) {
        co_return std::unexpected(
            request.explain(error(errc::invalid_address)));  // a connection has one peer
    }
    family wanted = options.family;
    const bool is_name = request.places().front().is_name();
    if (wanted == family::unspecified && is_name) wanted = options.local.family();
    const result<open_targets> targets = co_await resolve_places(request, wanted);
    if (!targets) co_return std::unexpected(request.explain(targets.error()));
    std::vector<error> causes;
    for (const address& one : targets->all()) {
        const result<endpoint_id> opened = current_core().get_port().open_connection(one, options);
        if (opened) co_return udp_access::make<udp_client>(*opened);
        causes.push_back(request.explain(opened.error()));
    }
    co_return std::unexpected(request.collect(std::move(causes)));
}

}  // namespace detail

// No coroutines themselves: those would suspend before they look at what their parameters refer to.
task<result<udp_server>> start_udp_server(host_port where, udp_options options) {
    return start_udp_server(std::span(&where, 1), options);
}

task<result<udp_server>> start_udp_server(std::span<const host_port> where, udp_options options) {
    return detail::open_server(detail::open_request("listen", where), options);
}

task<result<udp_client>> open_udp_connection(host_port where, udp_options options) {
    return detail::open_client(detail::open_request("connect", std::span(&where, 1)), options);
}

}  // namespace quoit
