// SPDX-License-Identifier: MIT
//
// packet_access: how streams of a port become handles, and how packet servers and clients are
// opened from elsewhere than a task.
#pragma once

#include <quoit/packet.hpp>

#include "loop_core.hpp"
#include "open_request.hpp"
#include "packet_client_core.hpp"
#include "packet_server_core.hpp"

#include <span>
#include <vector>

namespace quoit::detail {

struct packet_access {
    [[nodiscard]] static packet_server make(loop_core& core,
                                            std::span<const packet_stream_id> listeners,
                                            const packet_options& options) {
        return packet_server(
            counted_ptr<packet_server_core>(new packet_server_core(core, listeners, options)));
    }
    [[nodiscard]] static packet_client make(counted_ptr<packet_client_core> core) {
        return packet_client(std::move(core));
    }
    /// Null when it was moved from.
    [[nodiscard]] static packet_server_core* core(const packet_server& of) noexcept {
        return of.core_.get();
    }
    [[nodiscard]] static packet_client_core* core(const packet_client& of) noexcept {
        return of.core_.get();
    }
};

/// As start_packet_server().
[[nodiscard]] task<result<packet_server>> open_packet_server(open_request request,
                                                             packet_options options);
/// As open_packet_connection(), on this loop, to `known` addresses; of a name, if there are none,
/// to those that it is resolved to in the background. REQUIRES: `core` is the current one.
[[nodiscard]] result<packet_client> open_packet_client(loop_core& core, open_request request,
                                                       const packet_options& options,
                                                       std::vector<address> known = {});

}  // namespace quoit::detail
