// SPDX-License-Identifier: MIT
//
// udp_access: how a port's endpoint becomes a handle of the current loop.
#pragma once

#include <quoit/udp.hpp>

#include "loop_core.hpp"

namespace quoit::detail {

struct udp_access {
    template <class Handle>
    static Handle make(endpoint_id id) {
        return make<Handle>(current_core(), id);
    }
    template <class Handle>
    static Handle make(loop_core& core, endpoint_id id) {
        const counted_ptr<loop_endpoint> endpoint(new loop_endpoint(core, id));
        core.register_endpoint(*endpoint);
        return Handle(endpoint);
    }
    [[nodiscard]] static loop_endpoint* endpoint(const udp_socket& of) noexcept {
        return of.endpoint();
    }
};

}  // namespace quoit::detail
