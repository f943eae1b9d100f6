// SPDX-License-Identifier: MIT
#include "polled_packets.hpp"

#include <quoit/detail/look_up.hpp>

#include "packet_access.hpp"
#include "packet_wire.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <iterator>
#include <system_error>

#include <unistd.h>

namespace quoit::detail {

namespace {

constexpr std::chrono::seconds closing_time_max{1};
/// Sockets beside those of peers: the listening ones.
constexpr std::uint32_t listeners_max = 64;
/// What loop_options::socket_count_max can be.
constexpr std::uint32_t sockets_limit = 32'768;
/// A packet that nobody has read yet counts so much more than its body.
constexpr std::size_t unread_overhead = 64;

}  // namespace

// --- polled_loop ---

polled_loop::polled_loop(const packet_options& options) : options_(options), process_(::getpid()) {}

polled_loop::~polled_loop() = default;

bool polled_loop::is_forked() const noexcept { return ::getpid() != process_; }

void polled_loop::let_go_of_thread() noexcept {
    if (loop_) loop_access::core(*loop_).get_port().let_go_of_thread();
}

template <class Open>
status polled_loop::start(Open open) {
    const std::scoped_lock lock(turning_);
    loop_options on{.backend = backend::epoll};
    on.socket_count_max = std::min(sockets_limit, options_.peers_max + listeners_max);
    result<quoit::loop> made = quoit::loop::create(on);
    if (!made) return made.error();
    loop_.emplace(*std::move(made));
    status opened = open(*loop_);
    if (!opened) {
        loop_.reset();
        return opened;
    }
    mailbox_ = loop_access::core(*loop_).mailbox();
    is_open_.store(true, std::memory_order_relaxed);
    let_go_of_thread();
    return {};
}

status polled_loop::update(time_limit wait) {
    if (!wait.is_valid()) return errc::invalid_option;
    if (!is_open()) return errc::closed;
    if (is_forked()) return errc::forked;
    const std::unique_lock lock(turning_, std::try_to_lock);
    if (!lock) return state_of_connection();  // somebody else does it
    if (!loop_) return errc::closed;
    try {
        const loop_core::scope entered(loop_access::core(*loop_));
        turn(wait);
    } catch (const std::system_error& failed) {
        return failed.code();
    }
    let_go_of_thread();
    return state_of_connection();
}

void polled_loop::turn(time_limit wait) {
    {
        const std::scoped_lock lock(queues_);
        is_waiting_ = true;  // what is written from here on wakes the turn
    }
    send();
    const auto until =
        wait.is_poll() ? port::at_once : wait.deadline(std::chrono::steady_clock::now());
    loop_access::core(*loop_).turn(until);
    {
        const std::scoped_lock lock(queues_);
        is_waiting_ = false;
    }
    receive();
    send();
    loop_access::core(*loop_).get_port().flush();
}

void polled_loop::wake_if_waiting() {
    {
        const std::scoped_lock lock(queues_);
        if (!std::exchange(is_waiting_, false)) return;
    }
    mailbox_->post([] {});
}

void polled_loop::close() noexcept {
    if (is_forked()) return;
    is_open_.store(false, std::memory_order_relaxed);
    try {
        wake_if_waiting();
        const std::scoped_lock lock(turning_);
        if (!loop_) return;
        {
            const loop_core::scope entered(loop_access::core(*loop_));
            const auto give_up_at = std::chrono::steady_clock::now() + closing_time_max;
            send();
            loop_access::core(*loop_).get_port().flush();
            while (has_unsent() && std::chrono::steady_clock::now() < give_up_at) {
                turn(give_up_at);
            }
            begin_closing();
            receive();
            end();
        }
        loop_.reset();
    } catch (const std::exception&) {
        // There was no memory to do it well.
        end();
        loop_.reset();
    }
}

std::size_t polled_loop::size_of(const shared_bytes& body) const noexcept {
    return wire_overhead(options_.framing) + body.size();
}

status polled_loop::check(std::size_t body_size) const noexcept {
    if (!is_open()) return errc::closed;
    if (body_size > options_.packet_size_max) return errc::message_too_long;
    return {};
}

// --- polled_packet_server ---

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

void polled_packet_server::receive() {
    for (;;) {
        {
            // Those that have gone with something to read are kept here, and must be bounded too.
            const std::scoped_lock lock(queues_);
            if (gone_count_ >= options_.peers_max) break;
        }
        result<packet_event> event = server_.try_next();
        if (!event) break;
        take_over(*std::move(event));
    }
    look_at_stats();
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
            from.unread_size += event.received->size() + unread_overhead;
            from.come.push_back(*std::move(event.received));
            if (!from.is_held && from.unread_size >= options_.read_queue_size_max) {
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

// --- polled_packet_client ---

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

void polled_packet_client::receive() {
    status ended;
    for (;;) {
        {
            const std::scoped_lock lock(queues_);
            if (unread_size_ >= options_.read_queue_size_max) break;
        }
        result<packet> received = client_.try_read();
        if (received) {
            const std::scoped_lock lock(queues_);
            unread_size_ += received->size() + unread_overhead;
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
}

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

void polled_packet_client::end() noexcept {
    client_.abort();
    {
        const std::scoped_lock lock(queues_);
        dropped_count_ += backlog_.size() + left_.size();
        backlog_.clear();
        left_.clear();
        is_connected_ = false;
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
