// SPDX-License-Identifier: MIT
#include "polled_packets.hpp"

#include <quoit/detail/look_up.hpp>

#include "packet_access.hpp"

#include <utility>

namespace quoit::detail {

status polled_packet_client::open(const host_port& where) {
    // Blocking is allowed here, and the loop would wait for its tasks' end anyway.
    std::vector<address> known;
    if (where.is_host_name()) {
        family wanted = options_.family;
        if (wanted == family::unspecified) wanted = options_.local.family();
        result<std::vector<address>> found = resolve_now(where, wanted);
        if (!found) {
            return open_request("connect", std::span(&where, 1)).explain(found.error());
        }
        known = *std::move(found);
    }
    return start([&](quoit::loop& on) -> status {
        const loop_core::scope entered(loop_access::core(on));
        result<packet_client> opened =
            open_packet_client(loop_access::core(on), open_request("connect", std::span(&where, 1)),
                               options_, std::move(known));
        if (!opened) return opened.error();
        client_ = *std::move(opened);
        return {};
    });
}

std::vector<packet> polled_packet_client::read() {
    std::vector<packet> taken;
    bool has_made_room = false;
    {
        const std::scoped_lock lock(queues_);
        taken.swap(come_);
        has_made_room = std::exchange(unread_size_, 0) >= options_.read_queue_size_max;
    }
    if (has_made_room) wake_if_waiting();
    return taken;
}

status polled_packet_client::write(const shared_bytes& body) {
    if (status allowed = check(body.size()); !allowed) return allowed;
    {
        const std::scoped_lock lock(queues_);
        if (!state_) return errc::closed;
        const std::size_t size = size_of(body);
        if (unsent_size_ > 0 && unsent_size_ + size > options_.write_queue_size_max) {
            if (options_.on_slow_peer == slow_peer::drop) ++refused_slow_;
            return errc::would_block;
        }
        left_.push_back(body);
        unsent_size_ += size;
    }
    wake_if_waiting();
    return {};
}

void polled_packet_client::send() {
    packet_client_core& core = *packet_access::core(client_);
    {
        const std::scoped_lock lock(queues_);
        for (shared_bytes& body : left_)
            backlog_.push_back(std::move(body));
        left_.clear();
    }
    std::size_t sent_size = 0;
    std::uint64_t dropped_count = 0;
    while (!backlog_.empty()) {
        const shared_bytes& body = backlog_.front();
        const bool is_left_to_engine =
            options_.on_slow_peer == slow_peer::close && core.is_connected();
        if (!is_left_to_engine && !core.has_room(body.size())) break;
        sent_size += size_of(body);
        if (core.write(body) == errc::closed) ++dropped_count;
        backlog_.pop_front();
    }
    const std::scoped_lock lock(queues_);
    unsent_size_ -= sent_size;
    dropped_count_ += dropped_count;
}

bool polled_packet_client::receive() {
    bool has_come = false;
    status ended;
    for (;;) {
        {
            const std::scoped_lock lock(queues_);
            if (has_bounds_ && unread_size_ >= options_.read_queue_size_max) break;
        }
        result<packet> received = client_.try_read();
        if (received) {
            has_come = true;
            const std::scoped_lock lock(queues_);
            unread_size_ += received->size() + unread_packet_overhead;
            come_.push_back(*std::move(received));
        } else {
            if (received.error() != errc::would_block) ended = received.error();
            break;
        }
    }
    look_at_stats();
    const std::scoped_lock lock(queues_);
    state_ = std::move(ended);
    is_connected_ = client_.is_connected();
    local_ = client_.local_address();
    remote_ = client_.peer_address();
    return has_come;
}

void polled_packet_client::forget_bounds() noexcept { has_bounds_ = false; }

void polled_packet_client::look_at_stats() {
    packet_stats now = client_.stats();
    const std::scoped_lock lock(queues_);
    now.sent.accepted += dropped_count_;
    now.sent.dropped += dropped_count_;
    now.sent.dropped_slow += refused_slow_;
    stats_ = now;
}

bool polled_packet_client::has_unsent() {
    return !client_.is_closing() && (!backlog_.empty() || client_.stats().sent.waiting > 0);
}

void polled_packet_client::begin_closing() noexcept { client_.close(); }

bool polled_packet_client::is_closed() const noexcept {
    return packet_access::core(client_)->is_closed();
}

void polled_packet_client::end() noexcept {
    client_.abort();
    {
        const std::scoped_lock lock(queues_);
        dropped_count_ += backlog_.size() + left_.size();
        backlog_.clear();
        left_.clear();
        is_connected_ = false;
        state_ = errc::closed;
    }
    look_at_stats();
    client_ = packet_client();
}

bool polled_packet_client::is_connected() const noexcept {
    const std::scoped_lock lock(queues_);
    return is_connected_;
}

status polled_packet_client::state() const {
    if (!is_open()) return errc::closed;
    const std::scoped_lock lock(queues_);
    return state_;
}

address polled_packet_client::local_address() const noexcept {
    const std::scoped_lock lock(queues_);
    return local_;
}

address polled_packet_client::peer_address() const noexcept {
    const std::scoped_lock lock(queues_);
    return remote_;
}

packet_stats polled_packet_client::stats() const {
    const std::scoped_lock lock(queues_);
    return stats_;
}

}  // namespace quoit::detail
