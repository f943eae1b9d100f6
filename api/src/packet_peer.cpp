// SPDX-License-Identifier: MIT
#include <quoit/packet_peer.hpp>

#include "loop_core.hpp"
#include "packet_peer_state.hpp"

#include <atomic>
#include <memory>
#include <utility>

namespace quoit {

namespace detail {

packet_peer packet_peer_state::make(const address& remote, std::shared_ptr<loop_mailbox> mailbox,
                                    const packet_endpoint& whose, packet_handler& connection) {
    static std::atomic<std::uint64_t> last_id{0};
    auto state = std::make_shared<packet_peer_state>(remote, std::move(mailbox), whose, connection);
    // Relaxed: the ids of one loop's peers are drawn on one thread, which sees its own in order.
    return {last_id.fetch_add(1, std::memory_order_relaxed) + 1, std::move(state)};
}

}  // namespace detail

address packet_peer::remote() const noexcept { return state_ ? state_->remote : address(); }

bool packet_peer::is_connected() const noexcept {
    return state_ && state_->is_connected.load(std::memory_order_relaxed);
}

void packet_peer::close() const {
    if (!is_connected()) return;
    const detail::loop_core* const here = detail::current_core_or_null();
    if (here != nullptr && here->mailbox() == state_->mailbox) {
        if (state_->handler != nullptr) state_->handler->close_peer();
        return;
    }
    state_->mailbox->post([state = state_] {
        if (state->handler != nullptr) state->handler->close_peer();
    });
}

}  // namespace quoit
