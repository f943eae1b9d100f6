// SPDX-License-Identifier: MIT
#include "runtime/open_sockets.hpp"

#include <string>

namespace quoit::detail {

result<std::vector<udp_socket>> listen_on_all(std::span<const address> where,
                                              const udp_options& options,
                                              socket_options_of for_socket,
                                              listen_function listen) {
    if (where.empty()) return failure(errc::invalid_option, "no address to listen on");
    std::vector<udp_socket> opened;
    std::vector<error> causes;
    for (const address& one : where) {
        if (one.family() == family::unspecified) {
            causes.emplace_back(make_error_code(errc::invalid_address), "listen on no address");
            continue;
        }
        auto made = listen(one, for_socket(one, options));
        if (made) {
            opened.push_back(*std::move(made));
        } else {
            causes.push_back(made.error());
        }
    }
    if (causes.empty()) return opened;
    if (where.size() == 1) return std::unexpected(causes.front());
    const std::error_code first = causes.front().code();
    return std::unexpected(error(first, "listen on " + std::to_string(where.size()) + " addresses",
                                 std::move(causes)));
}

result<std::vector<udp_socket>> listen_on_every_interface(std::uint16_t port_number,
                                                          const udp_options& options,
                                                          socket_options_of for_socket,
                                                          listen_function listen) {
    // The number the kernel chooses for one family may be taken in the other: then another.
    const int attempts_max = port_number == 0 ? 16 : 1;
    result<udp_socket> v6 = failure(errc::closed);
    for (int attempt = 0; attempt < attempts_max; ++attempt) {
        const address all_v4(ip::v4({}), port_number);
        auto v4 = listen(all_v4, for_socket(all_v4, options));
        if (!v4) return std::unexpected(v4.error());
        const address all_v6(ip::v6({}), v4->local().port());
        v6 = listen(all_v6, for_socket(all_v6, options));
        const bool has_no_v6 = !v6 && (v6.error() == std::errc::address_family_not_supported ||
                                       v6.error() == std::errc::address_not_available);
        if (!v6 && !has_no_v6) continue;
        std::vector<udp_socket> opened;
        opened.push_back(*std::move(v4));
        if (v6) opened.push_back(*std::move(v6));
        return opened;
    }
    return std::unexpected(v6.error());
}

result<udp_socket> connect_to(const address& peer, const udp_options& options,
                              socket_options_of for_socket) {
    if (peer.family() == family::unspecified || peer.port() == 0) {
        return failure(errc::invalid_address, "connect " + peer.to_string());
    }
    if (options.local.family() != family::unspecified && options.local.family() != peer.family()) {
        return failure(errc::wrong_family,
                       "connect " + peer.to_string() + " from " + options.local.to_string());
    }
    return udp_socket::connect(peer, for_socket(peer, options));
}

}  // namespace quoit::detail
