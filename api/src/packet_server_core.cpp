// SPDX-License-Identifier: MIT
#include "packet_server_core.hpp"

#include "joined.hpp"
#include "loop_core.hpp"

#include <chrono>
#include <exception>
#include <utility>

namespace quoit::detail {

namespace {

// Up to here a copy for each peer costs less than sharing one body does.
constexpr std::size_t copied_size_max = 512;

}  // namespace

class packet_server_core::listener final : public packet_handler {
  public:
    listener(packet_server_core& of, packet_stream_id stream) noexcept : id(stream), server_(of) {}
    void accepted(packet_stream_id stream) noexcept override { server_.accepted(stream); }
    void closed() noexcept override {
        is_closed = true;
        server_.check_closed();
    }

    const packet_stream_id id;
    bool is_closed = false;

  private:
    packet_server_core& server_;
};

class packet_server_core::connection final : public packet_handler,
                                             public chain_link<in_server>,
                                             public chain_link<in_ring> {
  public:
    connection(packet_server_core& of, packet_stream_id stream) : id(stream), server(of) {
        peer =
            packet_peer_state::make(of.on().peer_address(stream), of.core()->mailbox(), of, *this);
    }
    ~connection() {
        if (packet_peer_state* const shared = packet_peer_state::of(peer)) shared->disconnect();
    }
    void readable() noexcept override { server.look_at_reading(*this); }
    void drained() noexcept override { server.look_for_room(); }
    void closed() noexcept override {
        is_closed = true;
        --server.open_count_;
        packet_server_core& of = server;
        if (is_gone) {
            of.forget(*this);
        } else {
            of.look_at_reading(*this);
        }
        of.check_closed();
    }
    void close_peer() noexcept override {
        server.on().close(id);
        server.look_at_reading(*this);
    }

    const packet_stream_id id;
    packet_server_core& server;
    packet_peer peer;
    idle_watch idle;
    std::size_t refused_size = 0;  // of the last write that found no room, with its header
    bool is_announced = false;
    bool is_gone = false;
    bool is_closed = false;
    bool is_held = false;
};

packet_server_core::packet_server_core(loop_core& core, std::span<const packet_stream_id> listeners,
                                       const packet_options& options)
    : packet_endpoint(core), options_(options) {
    for (const packet_stream_id one : listeners) {
        listeners_.push_back(std::make_unique<listener>(*this, one));
        local_.push_back(on().local_address(one));
        core.register_stream(one, *listeners_.back());
    }
    join_loop();
    if (options_.idle_timeout.count() > 0) {
        const auto period = idle_watch::period(options_.idle_timeout);
        idle_timer_ = core.calls().add([this] { look_for_idle(); },
                                       std::chrono::steady_clock::now() + period, period);
    }
    if (core.wants_information()) core.announce_packets("listening for packets on " + name());
}

packet_server_core::~packet_server_core() = default;

packet_port& packet_server_core::on() const noexcept { return core()->packets(); }

std::string packet_server_core::name() const { return joined(local_); }

packet_server_core::connection* packet_server_core::find(const packet_peer& peer) const noexcept {
    const packet_peer_state* const state = packet_peer_state::of(peer);
    // The mailbox first: what another loop's peer belongs to is not for us to look at.
    if (state == nullptr || core() == nullptr || state->mailbox != core()->mailbox() ||
        state->endpoint != this) {
        return nullptr;
    }
    return static_cast<connection*>(state->handler);
}

// --- the loop's side ---

void packet_server_core::accepted(packet_stream_id stream) noexcept {
    if (is_closing_) {
        on().release(stream);
        return;
    }
    try {
        auto made = std::make_unique<connection>(*this, stream);
        core()->register_stream(stream, *made);
        connection& one = *made.release();
        connections_.push_back(one);
        ++peer_count_;
        ++open_count_;
        if (core()->wants_information()) {
            core()->log(log_level::debug, one.peer.remote().to_string() + " has connected");
        }
        look_at_reading(one);
    } catch (const std::exception&) {
        core()->log_limited(log_level::error, "a connection without memory",
                            "there is no memory for a connection; it is closed");
        on().release(stream);
    }
}

void packet_server_core::look_at_reading(connection& one) {
    if (one.is_gone || one.is_held) return;
    stand_in_ring(one);
    serve_readers();
}

// Who stands in it keeps its place: it is served in turn, however much it sends.
void packet_server_core::stand_in_ring(connection& one) noexcept {
    if (!static_cast<chain_link<in_ring>&>(one).is_linked()) ring_.push_back(one);
}

bool packet_server_core::take_next(packet_interest interest, packet_item& into) {
    while (connection* const first = ring_.front()) {
        if (!std::exchange(first->is_announced, true) && interest == packet_interest::everything) {
            into = packet_item(packet_event::kind::connected, first->peer);
            ring_.push_back(*first);
            return true;
        }
        if (first->is_held) {
            static_cast<chain_link<in_ring>*>(first)->unlink();
            continue;
        }
        result<shared_bytes> body = on().receive(first->id);
        if (body) {
            into.set_packet(first->peer, *std::move(body));
            ring_.push_back(*first);
            return true;
        }
        static_cast<chain_link<in_ring>*>(first)->unlink();
        if (body.error() == errc::would_block) continue;
        const std::error_code why =
            body.error() == errc::end_of_stream ? std::error_code() : body.error().code();
        packet_item going(packet_event::kind::disconnected, first->peer, why);
        ended(*first, body.error());
        if (interest == packet_interest::everything) {
            into = std::move(going);
            return true;
        }
    }
    return false;
}

// Its end has been handed out, or passed over.
void packet_server_core::ended(connection& one, const error& why) {
    one.is_gone = true;
    --peer_count_;
    packet_peer_state::of(one.peer)->is_connected.store(false, std::memory_order_relaxed);
    if (why == errc::framing) {
        core()->log_limited(log_level::warning, "a peer whose bytes are no packets",
                            one.peer.remote().to_string() + " is closed: " + why.code().message());
    } else if (core()->wants_information()) {
        core()->log(log_level::debug,
                    one.peer.remote().to_string() + " has gone: " + why.code().message());
    }
    if (one.is_closed) {
        forget(one);
    } else {
        on().close(one.id);
    }
}

void packet_server_core::forget(connection& one) noexcept {
    core()->forget_stream(one.id);
    on().release(one.id);
    delete &one;
}

void packet_server_core::check_closed() noexcept {
    if (!is_closing_ || is_closed_ || open_count_ > 0) return;
    for (const auto& one : listeners_) {
        if (!one->is_closed) return;
    }
    is_closed_ = true;
    if (core()->wants_information()) core()->announce_packets_closed(name(), stats());
    wake_closed_waiters();
}

void packet_server_core::look_for_idle() noexcept {
    packet_port& port = on();
    connections_.for_each([&](connection& one) {
        if (one.is_gone || !port.is_connected(one.id)) return;
        const bool is_held_up = one.is_held || port.readable_count(one.id) > 0;
        if (!one.idle.look(port.bytes_received(one.id), is_held_up)) return;
        port.abort(one.id, make_error_code(errc::timed_out));
        stand_in_ring(one);
    });
    serve_readers();
}

// --- writing ---

std::optional<errc> packet_server_core::refusal_of(std::size_t body_size) const noexcept {
    if (is_closing_) return errc::closed;
    if (body_size > options_.packet_size_max) return errc::message_too_long;
    return std::nullopt;
}

// One variable, here and where it is called for each packet: then a status is made where it is
// used, and is moved nowhere.
template <class Body>
status packet_server_core::write_to(connection& one, const Body& body) {
    status written = on().write(one.id, body);
    one.refused_size = 0;
    if (!written) refused(one, written, body.size());
    return written;
}

void packet_server_core::refused(connection& one, const status& why, std::size_t body_size) {
    if (why == errc::would_block) {
        one.refused_size = body_size + packet_header_size(options_.framing);
    } else if (why == errc::slow_peer) {
        stand_in_ring(one);  // it has ended
    }
}

template <class Body>
status packet_server_core::write_to_all(const Body& body) {
    if (const auto refusal = refusal_of(body.size())) return *refusal;
    status first;
    connections_.for_each([&](connection& one) {
        if (one.is_gone) return;
        status written = write_to(one, body);
        if (!written && first) first = std::move(written);
    });
    serve_readers();
    return first;
}

template <class Body>
status packet_server_core::write_to_one(const Body& body, const packet_peer& to) {
    if (const auto refusal = refusal_of(body.size())) return *refusal;
    connection* const one = find(to);
    if (one == nullptr || one->is_gone) return errc::closed;
    return write_and_serve(*one, body);
}

template <class Body>
status packet_server_core::write_and_serve(connection& one, const Body& body) {
    status written = write_to(one, body);
    if (!written) serve_readers();
    return written;
}

template <class Body>
status packet_server_core::write_to_each(const Body& body, std::span<const packet_peer> to) {
    if (const auto refusal = refusal_of(body.size())) return *refusal;
    status first;
    for (const packet_peer& peer : to) {
        connection* const one = find(peer);
        status written =
            one != nullptr && !one->is_gone ? write_to(*one, body) : status(errc::closed);
        if (!written && first) first = std::move(written);
    }
    serve_readers();
    return first;
}

status packet_server_core::write(byte_view body) {
    if (peer_count_ > 1 && body.size() > copied_size_max && !refusal_of(body.size())) {
        return write_to_all(shared_bytes::copy_of(body));
    }
    return write_to_all(body);
}
status packet_server_core::write(const shared_bytes& body) { return write_to_all(body); }
status packet_server_core::write(byte_view body, const packet_peer& to) {
    return write_to_one(body, to);
}
status packet_server_core::write(const shared_bytes& body, const packet_peer& to) {
    return write_to_one(body, to);
}
status packet_server_core::write(byte_view body, std::span<const packet_peer> to) {
    if (to.size() > 1 && body.size() > copied_size_max && !refusal_of(body.size())) {
        return write_to_each(shared_bytes::copy_of(body), to);
    }
    return write_to_each(body, to);
}
status packet_server_core::write(const shared_bytes& body, std::span<const packet_peer> to) {
    return write_to_each(body, to);
}

void packet_server_core::flush() noexcept {
    if (core() == nullptr) return;
    connections_.for_each([this](connection& one) {
        if (!one.is_closed) on().flush(one.id);
    });
}

packet_endpoint::room packet_server_core::room_for(connection& one) noexcept {
    packet_port& port = on();
    if (!port.is_connected(one.id)) return room::gone;
    const auto is_full = [&] {
        const std::size_t waiting = port.write_queue_size(one.id);
        return waiting > options_.write_queue_size_max / 2 ||
               (waiting > 0 && waiting + one.refused_size > options_.write_queue_size_max);
    };
    if (!is_full()) return room::some;
    port.flush(one.id);
    return is_full() ? room::none : room::some;
}

packet_endpoint::room packet_server_core::room_for(const packet_peer& peer) noexcept {
    if (core() == nullptr || was_aborted_) return room::gone;
    if (packet_peer_state::of(peer) != nullptr) {
        connection* const one = find(peer);
        return one != nullptr && !one->is_gone ? room_for(*one) : room::gone;
    }
    room found = room::some;
    connections_.for_each([&](connection& one) {
        if (found == room::some && !one.is_gone && room_for(one) == room::none) found = room::none;
    });
    return found;
}

bool packet_server_core::has_room(const packet_peer& peer, std::size_t body_size) const noexcept {
    const connection* const one = find(peer);
    if (one == nullptr || !on().is_connected(one->id)) return true;
    const std::size_t waiting = on().write_queue_size(one->id);
    return waiting == 0 || waiting + packet_header_size(options_.framing) + body_size <=
                               options_.write_queue_size_max;
}

void packet_server_core::hold(const packet_peer& peer) noexcept {
    if (connection* const one = find(peer)) one->is_held = true;
}

void packet_server_core::let_go(const packet_peer& peer) noexcept {
    connection* const one = find(peer);
    if (one == nullptr) return;
    one->is_held = false;
    look_at_reading(*one);
}

// --- life ---

std::vector<packet_peer> packet_server_core::peers() const {
    std::vector<packet_peer> all;
    all.reserve(peer_count_);
    connections_.for_each([&](const connection& one) {
        if (!one.is_gone) all.push_back(one.peer);
    });
    return all;
}

void packet_server_core::begin_closing() noexcept {
    is_closing_ = true;
    if (idle_timer_ && idle_timer_->is_pending()) idle_timer_->cancel();
}

void packet_server_core::close() noexcept {
    if (is_closing_) return;
    begin_closing();
    for (const auto& one : listeners_)
        on().close(one->id);
    connections_.for_each([this](connection& one) {
        on().close(one.id);
        if (!one.is_gone) stand_in_ring(one);
    });
    serve_readers();
}

void packet_server_core::abort() noexcept {
    if (core() == nullptr || was_aborted_) return;
    was_aborted_ = true;
    begin_closing();
    for (const auto& one : listeners_)
        on().close(one->id);
    connections_.for_each([this](connection& one) {
        on().abort(one.id, make_error_code(errc::closed));
        if (!one.is_gone) stand_in_ring(one);
    });
    serve_readers();
    look_for_room();
}

void packet_server_core::abandon() noexcept {
    if (core() == nullptr) return;
    const bool was_closed = is_closed_;
    begin_closing();
    last_stats_ = stats();
    if (!was_closed && core()->wants_information()) {
        core()->announce_packets_closed(name(), last_stats_);
    }
    for (const auto& one : listeners_) {
        core()->forget_stream(one->id);
        on().release(one->id);
    }
    listeners_.clear();
    while (connection* const one = connections_.front()) {
        if (one->is_closed) {
            forget(*one);
        } else {
            core()->forget_stream(one->id);  // and the loop releases it when it is closed
            on().close(one->id);
            delete one;
        }
    }
    peer_count_ = 0;
    open_count_ = 0;
    leave_loop();
}

void packet_server_core::lose_loop() noexcept {
    close();
    flush();
    abandon();
}

bool packet_server_core::has_ended() const noexcept { return is_closing_ && peer_count_ == 0; }

error packet_server_core::end() const { return errc::closed; }

packet_stats packet_server_core::stats() const {
    if (core() == nullptr) return last_stats_;
    packet_stats sum;
    for (const auto& one : listeners_)
        sum += on().stats(one->id);
    return sum;
}

packet_stats packet_server_core::stats(const packet_peer& of) const {
    const connection* const one = find(of);
    return one != nullptr ? on().stats(one->id) : packet_stats();
}

}  // namespace quoit::detail
