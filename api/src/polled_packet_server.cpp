// SPDX-License-Identifier: MIT
#include "polled_packets.hpp"

#include "packet_access.hpp"

#include <iterator>
#include <utility>

namespace quoit::detail {

status polled_packet_server::open(std::span<const host_port> where) {
    return start([&](quoit::loop& on) -> status {
        result<packet_server> opened =
            on.run(open_packet_server(open_request("listen", where), options_));
        if (!opened) return opened.error();
        server_ = *std::move(opened);
        const std::span<const address> all = server_.local_addresses();
        local_.assign(all.begin(), all.end());
        return {};
    });
}

std::vector<sync::packets_of_peer> polled_packet_server::read() {
    std::vector<sync::packets_of_peer> taken;
    bool has_made_room = false;
    {
        const std::scoped_lock lock(queues_);
        taken.reserve(heard_.size());
        for (const packet_peer& peer : heard_) {
            const auto who = clients_.find(peer);
            client& from = who->second;
            taken.emplace_back(peer, std::exchange(from.come, {}));
            from.unread_size = 0;
            if (std::exchange(from.is_held, false)) {
                to_let_go_.push_back(peer);
                has_made_room = true;
            }
            if (!from.has_gone) continue;
            --gone_count_;
            depart(who);
            has_made_room = true;
        }
        heard_.clear();
    }
    if (has_made_room) wake_if_waiting();
    return taken;
}

void polled_packet_server::depart(client_map::iterator who) {
    departed_.push_back({.peer = who->first, .reason = who->second.reason});
    clients_.erase(who);
    if (departed_.size() > options_.peers_max) departed_.pop_front();
}

std::vector<sync::departure> polled_packet_server::departed() {
    const std::scoped_lock lock(queues_);
    std::vector<sync::departure> taken(departed_.begin(), departed_.end());
    departed_.clear();
    return taken;
}

status polled_packet_server::leave(client_map::iterator who, const shared_bytes& body) {
    client& to = who->second;
    const std::size_t size = size_of(body);
    if (to.unsent_size > 0 && to.unsent_size + size > options_.write_queue_size_max) {
        if (options_.on_slow_peer == slow_peer::drop) ++refused_slow_;
        return errc::would_block;
    }
    if (to.left.empty()) written_to_.push_back(who->first);
    to.left.push_back(body);
    to.unsent_size += size;
    return {};
}

status polled_packet_server::write(const shared_bytes& body) {
    if (status allowed = check(body.size()); !allowed) return allowed;
    status first;
    {
        const std::scoped_lock lock(queues_);
        for (auto who = clients_.begin(); who != clients_.end(); ++who) {
            if (who->second.has_gone) continue;
            status left = leave(who, body);
            if (!left && first) first = std::move(left);
        }
    }
    wake_if_waiting();
    return first;
}

status polled_packet_server::write(const shared_bytes& body, std::span<const packet_peer> to) {
    if (status allowed = check(body.size()); !allowed) return allowed;
    status first;
    {
        const std::scoped_lock lock(queues_);
        for (const packet_peer& peer : to) {
            const auto who = clients_.find(peer);
            status left = who != clients_.end() && !who->second.has_gone ? leave(who, body)
                                                                         : status(errc::closed);
            if (!left && first) first = std::move(left);
        }
    }
    wake_if_waiting();
    return first;
}

void polled_packet_server::send() {
    packet_server_core& core = *packet_access::core(server_);
    std::vector<packet_peer> to_let_go;
    {
        const std::scoped_lock lock(queues_);
        for (const packet_peer& peer : written_to_) {
            const auto who = clients_.find(peer);
            if (who == clients_.end()) continue;
            std::deque<shared_bytes>& queue = backlog_[peer];
            for (shared_bytes& body : who->second.left)
                queue.push_back(std::move(body));
            who->second.left.clear();
        }
        written_to_.clear();
        to_let_go.swap(to_let_go_);
    }
    for (const packet_peer& peer : to_let_go)
        core.let_go(peer);
    for (auto queue = backlog_.begin(); queue != backlog_.end();) {
        send_backlog(queue->first, queue->second);
        queue = queue->second.empty() ? backlog_.erase(queue) : std::next(queue);
    }
}

void polled_packet_server::send_backlog(const packet_peer& peer, std::deque<shared_bytes>& queue) {
    packet_server_core& core = *packet_access::core(server_);
    std::size_t sent_size = 0;
    std::uint64_t dropped_count = 0;
    while (!queue.empty()) {
        const shared_bytes& body = queue.front();
        const bool is_left_to_engine = options_.on_slow_peer == slow_peer::close;
        if (!is_left_to_engine && !core.has_room(peer, body.size())) break;
        sent_size += size_of(body);
        if (core.write(body, peer) == errc::closed) ++dropped_count;
        queue.pop_front();
    }
    const std::scoped_lock lock(queues_);
    dropped_count_ += dropped_count;
    const auto who = clients_.find(peer);
    if (who != clients_.end()) who->second.unsent_size -= sent_size;
}

bool polled_packet_server::receive() {
    bool has_come = false;
    for (;;) {
        {
            // Those that have gone with something to read are kept here, and must be bounded too.
            const std::scoped_lock lock(queues_);
            if (has_bounds_ && gone_count_ >= options_.peers_max) break;
        }
        result<packet_event> event = server_.try_next();
        if (!event) break;
        has_come = true;
        take_over(*std::move(event));
    }
    look_at_stats();
    return has_come;
}

void polled_packet_server::forget_bounds() noexcept {
    has_bounds_ = false;
    const std::scoped_lock lock(queues_);
    for (auto& [peer, one] : clients_) {
        if (std::exchange(one.is_held, false)) packet_access::core(server_)->let_go(peer);
    }
}

void polled_packet_server::look_at_stats() {
    packet_stats now = server_.stats();
    const std::scoped_lock lock(queues_);
    now.sent.accepted += dropped_count_;
    now.sent.dropped += dropped_count_;
    now.sent.dropped_slow += refused_slow_;
    stats_ = now;
}

void polled_packet_server::take_over(packet_event event) {
    const std::scoped_lock lock(queues_);
    const auto who = clients_.try_emplace(event.peer).first;
    client& from = who->second;
    switch (event.what) {
        case packet_event::kind::connected: break;
        case packet_event::kind::received:
            if (from.come.empty()) heard_.push_back(event.peer);
            from.unread_size += event.received->size() + unread_packet_overhead;
            from.come.push_back(*std::move(event.received));
            if (has_bounds_ && !from.is_held && from.unread_size >= options_.read_queue_size_max) {
                from.is_held = true;
                packet_access::core(server_)->hold(event.peer);
            }
            break;
        case packet_event::kind::disconnected:
            from.reason = event.reason;
            dropped_count_ += from.left.size();
            from.left.clear();
            if (from.come.empty()) {
                depart(who);
            } else {
                from.has_gone = true;
                ++gone_count_;
            }
            break;
    }
}

std::vector<packet_peer> polled_packet_server::clients() const {
    const std::scoped_lock lock(queues_);
    std::vector<packet_peer> all;
    all.reserve(clients_.size());
    for (const auto& [peer, one] : clients_) {
        if (!one.has_gone) all.push_back(peer);
    }
    return all;
}

std::size_t polled_packet_server::client_count() const noexcept {
    const std::scoped_lock lock(queues_);
    return clients_.size() - gone_count_;
}

packet_stats polled_packet_server::stats() const {
    const std::scoped_lock lock(queues_);
    return stats_;
}

bool polled_packet_server::has_unsent() {
    return !backlog_.empty() || server_.stats().sent.waiting > 0;
}

void polled_packet_server::begin_closing() noexcept { server_.close(); }

bool polled_packet_server::is_closed() const noexcept {
    return packet_access::core(server_)->is_closed();
}

void polled_packet_server::end() noexcept {
    server_.abort();
    let_clients_go();
    look_at_stats();
    server_ = packet_server();
}

void polled_packet_server::let_clients_go() noexcept {
    const std::scoped_lock lock(queues_);
    for (const auto& [peer, queue] : backlog_)
        dropped_count_ += queue.size();
    backlog_.clear();
    for (auto who = clients_.begin(); who != clients_.end();) {
        const auto next = std::next(who);
        if (!who->second.has_gone) {
            who->second.reason = make_error_code(errc::closed);
            dropped_count_ += who->second.left.size();
            who->second.left.clear();
            if (who->second.come.empty()) {
                depart(who);
            } else {
                who->second.has_gone = true;
                ++gone_count_;
            }
        }
        who = next;
    }
}

}  // namespace quoit::detail
