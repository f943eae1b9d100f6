// SPDX-License-Identifier: MIT
//
// Opening packet servers and clients: by name, on several addresses, on every interface. See
// udp_open.cpp, whose rules these are.
#include "packet_access.hpp"

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace quoit {

namespace detail {

namespace {

using streams = std::vector<packet_stream_id>;

void release_all(packet_port& on, std::span<const packet_stream_id> opened) {
    for (const packet_stream_id one : opened)
        on.release(one);
}

result<streams> listen_on(packet_port& on, const address& where, const packet_options& options) {
    const result<packet_stream_id> opened = on.listen(where, options);
    if (!opened) return std::unexpected(opened.error());
    return streams(1, *opened);
}

// All or none; one error for each that failed.
result<streams> listen_on_all(packet_port& on, std::span<const address> where,
                              const packet_options& options, const open_request& request) {
    streams opened;
    std::vector<error> causes;
    for (const address& one : where) {
        const result<packet_stream_id> made = on.listen(one, options);
        if (made) {
            opened.push_back(*made);
        } else {
            causes.push_back(made.error());
        }
    }
    if (causes.empty()) return opened;
    release_all(on, opened);
    return std::unexpected(request.collect(std::move(causes)));
}

// The port number that the kernel chose for IPv4 may be somebody's on IPv6; then another is tried,
// while the first is held, so that it is not chosen again.
constexpr int port_attempts_max = 16;

bool has_no_ipv6(const error& why) {
    return why == std::errc::address_family_not_supported ||
           why == std::errc::address_not_available;
}

result<streams> listen_on_both_families(packet_port& on, std::uint16_t number,
                                        const packet_options& options) {
    streams passed_over;
    result<streams> opened = failure(errc::closed);
    for (int attempt = 0; attempt < port_attempts_max; ++attempt) {
        opened = listen_on(on, {ip::v4({0, 0, 0, 0}), number}, options);
        if (!opened) break;
        const std::uint16_t shared = on.local_address(opened->front()).port();
        const auto second = on.listen({ip::v6({}), shared}, options);
        if (second) opened->push_back(*second);
        if (second || has_no_ipv6(second.error())) break;
        passed_over.push_back(opened->front());
        opened = std::unexpected(second.error());
        if (number != 0 || opened.error() != std::errc::address_in_use) break;
    }
    release_all(on, passed_over);
    return opened;
}

result<streams> listen_everywhere(packet_port& on, std::uint16_t number,
                                  const packet_options& options) {
    switch (options.family) {
        case family::unspecified: return listen_on_both_families(on, number, options);
        case family::ipv4: return listen_on(on, {ip::v4({0, 0, 0, 0}), number}, options);
        case family::ipv6: return listen_on(on, {ip::v6({}), number}, options);
    }
    return failure(errc::invalid_option, "a family that is none");
}

}  // namespace

task<result<packet_server>> open_packet_server(open_request request, packet_options options) {
    if (request.refusal()) co_return std::unexpected(*request.refusal());
    packet_port& on = current_core().packets();
    result<streams> opened = failure(errc::closed);
    if (request.every_interface()) {
        opened = listen_everywhere(on, *request.every_interface(), options);
    } else {
        result<open_targets> targets = co_await resolve_places(request, options.family);
        if (!targets) co_return std::unexpected(request.explain(targets.error()));
        opened = listen_on_all(on, targets->all(), options, request);
        const auto try_one = [&](const address& one) -> status {
            const auto tried = on.listen(one, options);
            if (!tried) return tried.error();
            on.release(*tried);
            return {};
        };
        if (!opened && targets->forget_what_is_not_here(try_one)) {
            opened = listen_on_all(on, targets->all(), options, request);
        }
    }
    if (!opened) co_return std::unexpected(request.explain(opened.error()));
    co_return packet_access::make(current_core(), *opened, options);
}

result<packet_client> open_packet_client(loop_core& core, open_request request,
                                         const packet_options& options,
                                         std::vector<address> known) {
    if (request.refusal()) return std::unexpected(*request.refusal());
    if (request.every_interface()) {
        return std::unexpected(request.explain(error(errc::invalid_address)));  // it has one peer
    }
    const open_request::place& where = request.places().front();
    const bool is_to_be_resolved = known.empty() && where.is_name();
    if (known.empty() && !where.is_name()) known.push_back(where.literal());
    const counted_ptr<packet_client_core> made(
        new packet_client_core(core, std::move(request), options));
    packet_client client = packet_access::make(made);
    if (is_to_be_resolved) {
        made->start_by_name();
    } else if (const status started = made->start(std::move(known)); !started) {
        return std::unexpected(started.error());
    }
    return client;
}

namespace {

task<result<packet_client>> open_packet_client_here(open_request request, packet_options options) {
    co_return open_packet_client(current_core(), std::move(request), options);
}

}  // namespace

}  // namespace detail

// No coroutines themselves: those would suspend before they look at what their parameters refer to.
task<result<packet_server>> start_packet_server(host_port where, packet_options options) {
    return start_packet_server(std::span(&where, 1), options);
}

task<result<packet_server>> start_packet_server(std::span<const host_port> where,
                                                packet_options options) {
    return detail::open_packet_server(detail::open_request("listen", where), options);
}

task<result<packet_client>> open_packet_connection(host_port where, packet_options options) {
    return detail::open_packet_client_here(detail::open_request("connect", std::span(&where, 1)),
                                           options);
}

}  // namespace quoit
