// SPDX-License-Identifier: MIT
//
// The loop's side of packets over TCP: which stream of the port leads to whom.
#include "loop_core.hpp"
#include "packet_peer_state.hpp"

#include <cstddef>

namespace quoit::detail {

packet_port& loop_core::first_packets() noexcept {
    packets_ = &port_.packets();
    packets_->set_events(this);
    return *packets_;
}

void loop_core::register_stream(packet_stream_id stream, packet_handler& handler) {
    const std::size_t index = stream.index;
    if (streams_.size() <= index) streams_.resize(index + 1);
    streams_[index] = {.id = stream, .handler = &handler};
}

void loop_core::forget_stream(packet_stream_id stream) noexcept {
    if (find_stream(stream) != nullptr) streams_[stream.index] = {};
}

packet_handler* loop_core::find_stream(packet_stream_id stream) const noexcept {
    if (stream.index >= streams_.size()) return nullptr;
    const registered_stream& found = streams_[stream.index];
    return found.id == stream ? found.handler : nullptr;
}

void loop_core::accepted(packet_stream_id listener, packet_stream_id stream) {
    if (packet_handler* const found = find_stream(listener)) {
        found->accepted(stream);
    } else {
        port_.packets().release(stream);
    }
}

void loop_core::connected(packet_stream_id stream) {
    if (packet_handler* const found = find_stream(stream)) found->connected();
}

void loop_core::readable(packet_stream_id stream) {
    if (packet_handler* const found = find_stream(stream)) found->readable();
}

void loop_core::drained(packet_stream_id stream) {
    if (packet_handler* const found = find_stream(stream)) found->drained();
}

void loop_core::closed(packet_stream_id stream) {
    if (packet_handler* const found = find_stream(stream)) {
        found->closed();
    } else {
        port_.packets().release(stream);
    }
}

void loop_core::look_for_room() noexcept {
    if (awaiting_room_.is_empty()) return;
    chain<packet_endpoint, while_awaiting_room> looked_at;
    looked_at.push_all_of(awaiting_room_);
    while (packet_endpoint* const one = looked_at.pop_front()) {
        if (one->look_for_room()) awaiting_room_.push_back(*one);
    }
}

}  // namespace quoit::detail
