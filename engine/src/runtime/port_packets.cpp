// SPDX-License-Identifier: MIT
#include "runtime/port_packets.hpp"

#include "net/system.hpp"
#include "runtime/check_options.hpp"

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <string>
#include <utility>

namespace quoit {

namespace {

using detail::order_kind;
using detail::source_kind;
using ends = packet_stats::ends;

// How long a peer that takes nothing any more, or does not end, keeps a stream that is closing.
constexpr std::chrono::seconds linger_time{1};
// accept(2) that failed for want of descriptors or memory is tried again after so long.
constexpr std::chrono::milliseconds listen_again_time{100};
// A body of at least so many bytes is sent without being queued, when nothing is.
constexpr std::size_t send_at_once_min = std::size_t{16} * 1024;
// More than this is not kept for the end of the turn.
constexpr std::size_t flush_size = std::size_t{64} * 1024;
constexpr std::size_t pieces_per_call = 64;
// Read ones are taken out of the vector when there are more of them than unread ones, and so many.
constexpr std::size_t read_count_kept = 64;

std::error_code system_code(int error) noexcept { return {error, std::system_category()}; }

}  // namespace

// --- opening ---

result<void> port::implementation::packets::may_open() const {
    if (port_.is_forked()) return failure(errc::forked, "open a stream of packets");
    if (port_.sockets_free() == 0) {
        return failure(std::make_error_code(std::errc::too_many_files_open),
                       "socket_count_max is " + std::to_string(port_.options_.socket_count_max));
    }
    return {};
}

result<packet_stream_id> port::implementation::packets::listen(const address& where,
                                                               const packet_options& options) {
    if (auto checked = detail::check(options); !checked) return std::unexpected(checked.error());
    if (auto may = may_open(); !may) return std::unexpected(may.error());
    auto opened = detail::stream_socket::listen(where, options);
    if (!opened) return std::unexpected(opened.error());
    port_.belong_to_this_thread();
    stream& made = add(*std::move(opened), options, source_kind::listener);
    ask_for_connection(made);
    return made.id;
}

result<packet_stream_id> port::implementation::packets::connect(const address& peer,
                                                                const packet_options& options) {
    if (auto checked = detail::check(options); !checked) return std::unexpected(checked.error());
    if (peer.family() == family::unspecified || peer.port() == 0) {
        return failure(errc::invalid_address, "connect " + peer.to_string());
    }
    if (auto may = may_open(); !may) return std::unexpected(may.error());
    auto opened = detail::stream_socket::connect(peer, options);
    if (!opened) return std::unexpected(opened.error());
    port_.belong_to_this_thread();
    stream& made = add(*std::move(opened), options, source_kind::stream);
    made.is_connecting = true;
    give(made, order_kind::writable);
    return made.id;
}

// One that was accepted is received from at once, one that connects when it has.
port::implementation::packets::stream& port::implementation::packets::add(
    detail::stream_socket socket, const packet_options& options, source_kind kind) {
    if (unused_.empty()) {
        unused_.push_back(static_cast<std::uint32_t>(streams_.size()));
        streams_.emplace_back();
        generations_.push_back(0);
    }
    auto made = std::make_unique<stream>(options);
    stream& one = *made;
    const std::uint32_t index = unused_.back();
    unused_.pop_back();
    one.id = {.index = index, .generation = ++generations_[index]};
    one.socket = std::move(socket);
    one.is_listener = kind == source_kind::listener;
    one.tag = port_.free_tag();
    one.worker_index = port_.next_worker_++ % port_.workers_.size();
    one.owner = port_.workers_[one.worker_index].get();
    const bool is_connected = !one.is_listener && port_.is_delivering_;
    one.shared.fd = one.socket.descriptor();
    one.shared.options = {.tag = one.tag,
                          .pool = detail::buffer_class::stream,
                          .kind = kind,
                          .is_paused = !is_connected};
    ++port_.sockets_per_pool_[one.worker_index * detail::buffer_class_count +
                              static_cast<std::size_t>(one.shared.options.pool)];
    if (by_tag_.size() <= one.tag) by_tag_.resize(one.tag + std::size_t{1});
    by_tag_[one.tag] = &one;
    streams_[index] = std::move(made);
    give(one, order_kind::attach);
    return one;
}

port::implementation::packets::stream* port::implementation::packets::find(
    packet_stream_id id) const noexcept {
    if (id.index >= streams_.size()) return nullptr;
    stream* const found = streams_[id.index].get();
    return found != nullptr && found->id == id && !found->is_released ? found : nullptr;
}

// A backend that delivers must not be called (backend.hpp, rule 2). A worker's queue may always be
// pushed to, and what is pushed later must not overtake it. In a forked child nothing is ordered:
// an epoll set is the parent's too.
void port::implementation::packets::give(stream& one, order_kind what) {
    if (port_.is_forked()) return;
    if (port_.is_delivering_ && port_.is_inline()) {
        orders_.push_back({.id = one.id, .what = what});
        return;
    }
    one.owner->give({.kind = what, .tag = one.tag, .socket = &one.shared});
    // Nothing of ours refers to it any more (rule 8); with a worker that is so when it says so.
    if (what == order_kind::detach && port_.is_inline()) one.socket.close();
}

void port::implementation::packets::settle() {
    std::swap(orders_, orders_now_);
    for (const postponed& order : orders_now_) {
        stream* const one = streams_[order.id.index].get();  // released ones too
        if (one == nullptr || one->id != order.id || one->is_gone) continue;
        if (one->is_leaving && order.what != order_kind::detach &&
            order.what != order_kind::attach) {
            continue;
        }
        give(*one, order.what);
    }
    orders_now_.clear();
}

// --- what a backend brings ---

void port::implementation::packets::on_event(const detail::event& what) {
    stream& one = *by_tag_[what.tag];
    switch (what.kind) {
        case detail::event_kind::bytes: on_bytes(one, what); break;
        case detail::event_kind::end_of_stream: on_end_of_stream(one); break;
        case detail::event_kind::failed: on_failed(one, static_cast<int>(what.value)); break;
        case detail::event_kind::accepted: on_accepted(one, static_cast<int>(what.value)); break;
        case detail::event_kind::writable: on_writable(one); break;
        case detail::event_kind::detached: on_detached(one); break;
        case detail::event_kind::starved:
        case detail::event_kind::datagram: break;
    }
}

void port::implementation::packets::on_bytes(stream& one, const detail::event& what) {
    detail::buffer_pool& pool = one.owner->pool(what.pool);
    pool.adopt(what.buffer, one.tag);
    one.bytes_received += what.value;
    if (!one.end) parse(one, pool.used(what.buffer, what.value));
    pool.release(what.buffer);
}

void port::implementation::packets::parse(stream& one, std::span<const std::byte> bytes) {
    const std::size_t count_before = one.received.size();
    detail::parse_outcome outcome = detail::parse_outcome::more;
    bool is_short_of_memory = false;
    try {
        outcome = one.parser.parse(bytes, one.received);
    } catch (const std::bad_alloc&) {
        is_short_of_memory = true;
    }
    auto& ledger = one.ledger.received;
    for (std::size_t i = count_before; i < one.received.size(); ++i) {
        const std::size_t size = one.received[i].size();
        ++ledger.packets;
        ledger.bytes += size;
        one.unread_cost += size + unread_packet_overhead;
    }
    if (one.received.size() > count_before) {
        one.has_readable = true;
        list(one);
    }
    if (is_short_of_memory) {
        fail(one, std::make_error_code(std::errc::not_enough_memory), &ends::reset);
    } else if (outcome != detail::parse_outcome::more) {
        fail(one, errc::framing, &ends::framing);
    } else if (one.unread_cost > one.options.read_queue_size_max && !one.is_paused) {
        one.is_paused = true;
        give(one, order_kind::pause);
    }
}

void port::implementation::packets::on_end_of_stream(stream& one) {
    one.has_peer_ended = true;
    if (one.is_closing) {
        go_on_closing(one);
    } else if (one.refused_sends) {
        fail(one, one.refused_sends, &ends::reset);
    } else if (one.parser.is_between_packets()) {
        end(one, errc::end_of_stream, &ends::ended);
    } else {
        fail(one, std::make_error_code(std::errc::connection_reset), &ends::reset);
    }
}

void port::implementation::packets::on_failed(stream& one, int error) {
    if (one.is_listener) {
        ++one.ledger.connections.accept_errors;
        one.is_asked = false;
        ask_later(one);
        return;
    }
    fail(one, one.refused_sends ? one.refused_sends : system_code(error), &ends::reset);
}

void port::implementation::packets::on_writable(stream& one) {
    one.is_blocked = false;
    if (one.is_leaving) return;
    if (one.is_connecting) {
        const int error = one.socket.take_error();
        if (error == 0 && !one.socket.has_peer()) {  // a poll that failed says writable, too
            give(one, order_kind::writable);
            return;
        }
        if (error != 0) {
            fail(one, system_code(error), &ends::failed);
            return;
        }
        one.is_connecting = false;
        one.socket.read_names();
        ++one.ledger.connections.made;
        if (one.is_closing) settle_fate(one, &ends::closed);
        one.has_connected = true;
        list(one);
        give(one, order_kind::receive);
    }
    if (!one.is_unflushed) {
        one.is_unflushed = true;
        unflushed_.push_back(one.id);
    }
}

void port::implementation::packets::on_accepted(stream& listener, int descriptor) {
    file_descriptor connection(descriptor);
    listener.is_asked = false;
    if (listener.is_closing) return;
    if (port_.sockets_free() == 0) {  // it was asked for when there was one
        ++listener.ledger.connections.accept_errors;
        ask_for_connection(listener);
        return;
    }
    stream& made = add(detail::stream_socket::of_accepted(std::move(connection), listener.options),
                       listener.options, source_kind::stream);
    made.listener = listener.id;
    made.ledger.connections.made = 1;
    ++listener.peer_count;
    listener.arrivals.push_back(made.id);
    list(listener);
    ask_for_connection(listener);
}

bool port::implementation::packets::has_room(const stream& listener) const noexcept {
    return listener.peer_count < listener.options.peers_max && port_.sockets_free() > 0;
}

void port::implementation::packets::ask_for_connection(stream& listener) {
    if (listener.is_asked) return;
    listener.is_waiting_for_room = !has_room(listener);
    if (!listener.is_waiting_for_room) {
        listener.is_asked = true;
        give(listener, order_kind::receive);
    } else if (listener.peer_count < listener.options.peers_max) {
        ask_later(listener);  // others have all the port's sockets, and do not say when one is free
    }
}

void port::implementation::packets::ask_later(stream& listener) {
    if (std::exchange(listener.is_listed_to_ask, true)) return;
    listening_again_.push_back(listener.id);
    listen_again_at_ = std::min(listen_again_at_, detail::system::now() + listen_again_time);
}

void port::implementation::packets::give_room_to_listener_of(const stream& one) {
    if (one.listener.generation == 0) return;
    stream* const listener = find(one.listener);
    if (listener == nullptr) return;
    --listener->peer_count;
    if (listener->is_waiting_for_room && !listener->is_closing) ask_for_connection(*listener);
}

void port::implementation::packets::on_detached(stream& one) {
    one.socket.close();
    one.is_gone = true;
    by_tag_[one.tag] = nullptr;
    --port_.sockets_per_pool_[one.worker_index * detail::buffer_class_count +
                              static_cast<std::size_t>(one.shared.options.pool)];
    port_.sockets_unused_.push_back(one.tag);
    give_room_to_listener_of(one);
    if (one.is_closing) {
        one.has_closed = true;
        list(one);
    }
    free_if_done(one);
}

// --- ends ---

// The first says how.
void port::implementation::packets::end(stream& one, std::error_code why,
                                        std::uint64_t ends::* as) {
    if (!one.end) one.end = why;
    settle_fate(one, as);
    one.has_readable = true;
    list(one);
}

void port::implementation::packets::settle_fate(stream& one, std::uint64_t ends::* as) noexcept {
    if (one.is_settled || one.is_listener) return;
    one.is_settled = true;
    ++(one.ledger.connections.*as);
}

void port::implementation::packets::fail(stream& one, std::error_code why,
                                         std::uint64_t ends::* as) {
    end(one, why, one.is_connecting ? &ends::failed : as);
    one.has_failed = true;
    one.ledger.sent.dropped += one.queue.drop();
    leave(one);
}

void port::implementation::packets::leave(stream& one) {
    if (one.is_leaving) return;
    one.is_leaving = true;
    give(one, order_kind::detach);
}

void port::implementation::packets::drop_unread(stream& one) noexcept {
    one.ledger.received.abandoned += one.unread_count();
    one.received.clear();
    one.next_unread = 0;
    one.unread_cost = 0;
}

void port::implementation::packets::close(stream& one) noexcept {
    if (one.is_closing || port_.is_forked()) return;
    one.is_closing = true;
    one.has_readable = true;  // the end is something to read
    list(one);
    if (!one.end) one.end = errc::closed;
    if (!one.is_connecting) settle_fate(one, &ends::closed);
    if (one.is_gone) {
        one.has_closed = true;
        return;
    }
    if (one.is_listener) {
        leave(one);
        return;
    }
    if (one.is_leaving) return;
    one.give_up_at = detail::system::now() + linger_time;
    closing_.push_back(one.id);
    if (std::exchange(one.is_paused, false)) give(one, order_kind::receive);  // for its end
    flush(one);
    go_on_closing(one);
}

// What a closing stream does next: flush, say that this is all, wait for the peer's end, leave.
void port::implementation::packets::go_on_closing(stream& one) {
    if (!one.is_closing || one.is_leaving || one.is_connecting) return;
    if (one.has_failed) {
        leave(one);
    } else if (one.queue.is_empty() && one.has_peer_ended) {
        leave(one);
    } else if (one.queue.is_empty() && !one.has_finished) {
        one.has_finished = true;
        one.socket.finish();
        one.give_up_at = detail::system::now() + linger_time;
    }
}

void port::implementation::packets::abort(stream& one, std::error_code why) noexcept {
    if (port_.is_forked()) return;
    if (!one.end) one.end = why;
    const bool is_ours = why == make_error_code(errc::closed);
    const bool is_timeout = why == make_error_code(errc::timed_out);
    const bool is_slow = why == make_error_code(errc::slow_peer);
    settle_fate(one, one.is_connecting ? &ends::failed
                     : is_ours         ? &ends::closed
                     : is_timeout      ? &ends::timed_out
                     : is_slow         ? &ends::slow
                                       : &ends::reset);
    one.ledger.sent.dropped += one.queue.drop();
    one.has_failed = true;
    close(one);
    leave(one);
}

detail::steady_time port::implementation::packets::look_after_waiting() noexcept {
    detail::steady_time next = listen_again_at_;
    if (closing_.empty() && next == no_deadline) return next;
    const detail::steady_time now = detail::system::now();
    if (now >= listen_again_at_) {
        listen_again_at_ = next = no_deadline;
        for (const packet_stream_id id : std::exchange(listening_again_, {})) {
            stream* const listener = find(id);
            if (listener == nullptr) continue;
            listener->is_listed_to_ask = false;
            if (!listener->is_closing) ask_for_connection(*listener);
        }
        next = listen_again_at_;
    }
    std::erase_if(closing_, [&](packet_stream_id id) {
        stream* const one = streams_[id.index].get();
        if (one == nullptr || one->id != id || one->is_leaving) return true;
        if (now >= one->give_up_at) {
            abort(*one, errc::closed);
            return true;
        }
        next = std::min(next, one->give_up_at);
        return false;
    });
    return next;
}

void port::implementation::packets::free_if_done(stream& one) noexcept {
    if (!one.is_released || !one.is_gone) return;
    stream* const listener = find(one.listener);
    (listener != nullptr ? listener->ledger : released_) += ledger_of(one);
    const std::uint32_t index = one.id.index;
    streams_[index].reset();
    unused_.push_back(index);
}

void port::implementation::packets::shut() noexcept {
    for (const auto& one : streams_) {
        if (!one) continue;
        flush(*one);
        one->is_closing = true;
        if (!one->end) one->end = errc::closed;
    }
}

// --- writing ---

template <class Push>
status port::implementation::packets::write(packet_stream_id id, std::size_t size, Push&& push) {
    stream* const one = find(id);
    if (one == nullptr || one->is_listener || one->is_closing || one->has_failed) {
        return errc::closed;
    }
    if (port_.is_forked()) return errc::forked;
    if (size > one->options.packet_size_max) return errc::message_too_long;
    const std::size_t frame_size = size + packet_header_size(one->options.framing);
    if (!fits(*one, frame_size)) {
        if (status room = make_room(*one, frame_size); !room) return room;
    }
    push(*one);
    queued(*one);
    return {};
}

status port::implementation::packets::write(packet_stream_id id, byte_view body) {
    return write(id, body.size(), [&](stream& one) {
        if (body.size() < send_at_once_min || !send_at_once(one, body)) one.queue.push(body);
    });
}

status port::implementation::packets::write(packet_stream_id id, const shared_bytes& body) {
    return write(id, body.size(), [&](stream& one) { one.queue.push(body); });
}

bool port::implementation::packets::fits(const stream& one, std::size_t frame_size) noexcept {
    return one.queue.is_empty() ||
           one.queue.size() + frame_size <= one.options.write_queue_size_max;
}

status port::implementation::packets::make_room(stream& one, std::size_t frame_size) {
    flush(one);
    if (one.has_failed) return errc::closed;
    if (fits(one, frame_size)) return {};
    one.is_above_half = true;
    one.refused_size = frame_size;
    if (one.options.on_slow_peer == slow_peer::wait) return errc::would_block;
    ++one.ledger.sent.dropped_slow;
    if (one.options.on_slow_peer == slow_peer::drop) return errc::would_block;
    fail(one, errc::slow_peer, &ends::slow);
    return errc::slow_peer;
}

// Nothing waits before it, and it is long: then a copy can be saved. False: it is to be queued.
bool port::implementation::packets::send_at_once(stream& one, byte_view body) {
    if (!one.can_send() || one.is_blocked || !one.queue.is_empty()) return false;
    std::array<std::byte, detail::packet_header_size_max> header;
    detail::write_packet_header(one.options.framing, static_cast<std::uint32_t>(body.size()),
                                header.data());
    const std::size_t header_size = packet_header_size(one.options.framing);
    std::array<iovec, 2> pieces{
        {{.iov_base = header.data(), .iov_len = header_size},
         {.iov_base = const_cast<std::byte*>(body.data()), .iov_len = body.size()}}};
    const auto took = one.socket.send(pieces);
    port_.system_calls_.add(1);
    if (took == -EAGAIN || took == -ENOBUFS || took == -ENOMEM) block(one);
    if (took == -EAGAIN || took == -ENOBUFS || took == -ENOMEM || took == -EINTR) return false;
    if (took < 0) {
        ++one.ledger.sent.dropped;
        on_refused_send(one, static_cast<int>(-took));
        return true;
    }
    const auto sent_size = static_cast<std::size_t>(took);
    one.ledger.sent.bytes += sent_size;
    if (sent_size == header_size + body.size()) {
        ++one.ledger.sent.sent;
    } else {
        queue_rest(one, body, sent_size);
    }
    return true;
}

// The kernel has a part: without the rest the stream would be garbage from there on.
void port::implementation::packets::queue_rest(stream& one, byte_view body, std::size_t sent_size) {
    try {
        one.queue.push_rest(body, sent_size);
        block(one);
    } catch (const std::bad_alloc&) {
        ++one.ledger.sent.dropped;
        fail(one, std::make_error_code(std::errc::not_enough_memory), &ends::reset);
    }
}

void port::implementation::packets::queued(stream& one) {
    ++one.ledger.sent.accepted;
    if (one.queue.is_empty()) return;
    if (one.queue.size() * 2 > one.options.write_queue_size_max) one.is_above_half = true;
    if (one.is_blocked || !one.can_send()) return;
    if (one.queue.size() >= flush_size) {
        flush(one);
    } else if (!one.is_unflushed) {
        one.is_unflushed = true;
        unflushed_.push_back(one.id);
    }
}

void port::implementation::packets::flush() noexcept {
    while (!unflushed_.empty()) {
        const packet_stream_id id = unflushed_.back();
        unflushed_.pop_back();
        stream* const one = streams_[id.index].get();
        if (one == nullptr || one->id != id) continue;
        one->is_unflushed = false;
        flush(*one);
    }
}

void port::implementation::packets::flush(stream& one) noexcept {
    if (one.is_listener || one.is_leaving || port_.is_forked()) return;
    while (!one.is_blocked && one.can_send() && !one.queue.is_empty()) {
        std::array<iovec, pieces_per_call> pieces;
        const std::size_t count = one.queue.gather(pieces);
        std::size_t size = 0;
        for (std::size_t i = 0; i < count; ++i)
            size += pieces[i].iov_len;
        const auto took = one.socket.send(std::span(pieces).first(count));
        port_.system_calls_.add(1);
        if (took == -EINTR) continue;
        if (took == -EAGAIN || took == -ENOBUFS || took == -ENOMEM) {
            block(one);
        } else if (took < 0) {
            on_refused_send(one, static_cast<int>(-took));
        } else {
            sent(one, static_cast<std::size_t>(took));
            if (static_cast<std::size_t>(took) < size) block(one);  // the next would find no room
        }
    }
    look_at_room(one);
    go_on_closing(one);
}

void port::implementation::packets::sent(stream& one, std::size_t bytes) noexcept {
    one.ledger.sent.bytes += bytes;
    one.ledger.sent.sent += one.queue.consume(bytes);
    if (one.is_closing) one.give_up_at = detail::system::now() + linger_time;
}

void port::implementation::packets::block(stream& one) {
    one.is_blocked = true;
    ++one.ledger.sent.blocked;
    give(one, order_kind::writable);
}

// The end, with its reason, comes behind what was received before.
void port::implementation::packets::on_refused_send(stream& one, int error) noexcept {
    one.refused_sends = system_code(error);
    one.has_failed = true;
    one.ledger.sent.dropped += one.queue.drop();
}

void port::implementation::packets::look_at_room(stream& one) noexcept {
    if (!one.is_above_half || one.has_failed) return;
    const std::size_t size = one.queue.size();
    const std::size_t size_max = one.options.write_queue_size_max;
    if (size * 2 > size_max) return;
    if (size > 0 && size + one.refused_size > size_max) return;
    one.is_above_half = false;
    one.refused_size = 0;
    one.has_drained = true;
    list(one);
}

// --- telling ---

void port::implementation::packets::list(stream& one) {
    if (one.is_listed) return;
    one.is_listed = true;
    news_.push_back(one.id);
}

void port::implementation::packets::tell() {
    // What the calls below bring about is told by the next turn.
    std::swap(news_, told_);
    for (const packet_stream_id id : told_) {
        stream* const one = find(id);
        if (one == nullptr || !one->is_listed) continue;
        one->is_listed = false;
        if (events_ == nullptr) continue;
        const auto arrivals = std::exchange(one->arrivals, {});
        const bool has_connected = std::exchange(one->has_connected, false);
        const bool has_readable = std::exchange(one->has_readable, false);
        const bool has_drained = std::exchange(one->has_drained, false) && !one->is_above_half;
        const bool has_closed = std::exchange(one->has_closed, false);
        // Each call may release the stream, or change whom to tell.
        for (const packet_stream_id arrival : arrivals) {
            if (find(id) == nullptr || events_ == nullptr) {
                release(arrival);  // whose it is has gone
            } else if (find(arrival) != nullptr) {
                events_->accepted(id, arrival);
            }
        }
        const auto may_tell = [&](bool has) {
            return has && events_ != nullptr && find(id) != nullptr;
        };
        if (may_tell(has_connected)) events_->connected(id);
        if (may_tell(has_readable)) events_->readable(id);
        if (may_tell(has_drained)) events_->drained(id);
        if (may_tell(has_closed)) events_->closed(id);
    }
    told_.clear();
}

// --- quoit/packet_port.hpp: what is left ---

result<shared_bytes> port::implementation::packets::receive(packet_stream_id id) {
    stream* const one = find(id);
    if (one == nullptr) return failure(errc::closed);
    if (one->unread_count() == 0) return std::unexpected(end_of(*one));
    shared_bytes next = std::move(one->received[one->next_unread++]);
    one->unread_cost -= next.size() + unread_packet_overhead;
    ++one->ledger.received.delivered;
    if (one->unread_count() == 0) {
        one->received.clear();
        one->next_unread = 0;
    } else if (one->next_unread >= read_count_kept && one->next_unread > one->unread_count()) {
        one->received.erase(one->received.begin(),
                            one->received.begin() + static_cast<std::ptrdiff_t>(one->next_unread));
        one->next_unread = 0;
    }
    if (one->is_paused && one->unread_cost * 2 <= one->options.read_queue_size_max) {
        one->is_paused = false;
        if (!one->is_leaving) give(*one, order_kind::receive);
    }
    return next;
}

error port::implementation::packets::end_of(const stream& one) {
    if (!one.end) return errc::would_block;
    if (one.end == make_error_code(errc::closed)) return errc::closed;
    const char* const doing = one.is_connecting ? "connect " : "packets of ";
    return {one.end, doing + one.socket.peer().to_string()};
}

std::size_t port::implementation::packets::readable_count(packet_stream_id id) const noexcept {
    const stream* const one = find(id);
    return one == nullptr ? 0 : one->unread_count();
}

std::size_t port::implementation::packets::write_queue_size(packet_stream_id id) const noexcept {
    const stream* const one = find(id);
    return one == nullptr ? 0 : one->queue.size();
}

void port::implementation::packets::flush(packet_stream_id id) noexcept {
    if (stream* const one = find(id)) flush(*one);
}

void port::implementation::packets::close(packet_stream_id id) noexcept {
    if (stream* const one = find(id)) close(*one);
}

void port::implementation::packets::abort(packet_stream_id id, std::error_code why) noexcept {
    if (stream* const one = find(id)) abort(*one, why);
}

void port::implementation::packets::release(packet_stream_id id) noexcept {
    stream* const one = find(id);
    if (one == nullptr) return;
    abort(*one, errc::closed);
    drop_unread(*one);
    // Of a listener the port is free then, as that of an endpoint; others need not be waited for.
    if (one->is_listener && !port_.is_forked()) {
        port_.wait_for_workers_until([one] { return one->is_gone; });
    }
    // Nobody has been told of these.
    for (const packet_stream_id arrival : std::exchange(one->arrivals, {}))
        release(arrival);
    one->is_released = true;
    free_if_done(*one);
}

bool port::implementation::packets::is_closing(packet_stream_id id) const noexcept {
    const stream* const one = find(id);
    return one == nullptr || one->is_closing;
}

bool port::implementation::packets::is_closed(packet_stream_id id) const noexcept {
    const stream* const one = find(id);
    return one == nullptr || (one->is_closing && one->is_gone);
}

bool port::implementation::packets::is_connected(packet_stream_id id) const noexcept {
    const stream* const one = find(id);
    return one != nullptr && !one->is_listener && one->can_send() && !one->is_closing;
}

address port::implementation::packets::local_address(packet_stream_id id) const noexcept {
    const stream* const one = find(id);
    return one == nullptr ? address() : one->socket.local();
}

address port::implementation::packets::peer_address(packet_stream_id id) const noexcept {
    const stream* const one = find(id);
    return one == nullptr ? address() : one->socket.peer();
}

int port::implementation::packets::descriptor(packet_stream_id id) const noexcept {
    const stream* const one = find(id);
    return one == nullptr ? -1 : one->socket.descriptor();
}

std::uint64_t port::implementation::packets::bytes_received(packet_stream_id id) const noexcept {
    const stream* const one = find(id);
    return one == nullptr ? 0 : one->bytes_received;
}

// Of it alone.
packet_stats port::implementation::packets::ledger_of(const stream& one) const noexcept {
    packet_stats now = one.ledger;
    if (one.is_listener) return now;
    now.received.waiting = one.unread_count();
    now.sent.waiting = one.queue.count();
    now.connections.open = now.connections.made > 0 && !one.is_settled ? 1 : 0;
    if (one.end) {
        const std::uint64_t header_size = packet_header_size(one.options.framing);
        now.received.bytes_discarded =
            one.bytes_received - now.received.bytes - now.received.packets * header_size;
    }
    return now;
}

packet_stats port::implementation::packets::stats(packet_stream_id id) const {
    const stream* const one = find(id);
    if (one == nullptr) return {};
    packet_stats sum = ledger_of(*one);
    if (!one->is_listener) return sum;
    for (const auto& other : streams_) {
        if (other && other->listener == id) sum += ledger_of(*other);
    }
    return sum;
}

packet_stats port::implementation::packets::stats() const {
    packet_stats sum = released_;
    for (const auto& one : streams_) {
        if (one) sum += ledger_of(*one);
    }
    return sum;
}

}  // namespace quoit
