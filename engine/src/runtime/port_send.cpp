// SPDX-License-Identifier: MIT
//
// Sending: what is known locally is refused at the call; the rest is queued, flushed in order, and
// what becomes of it is counted (runtime/send_queue.hpp has the error policy).
#include "net/control_message.hpp"
#include "runtime/check_options.hpp"
#include "runtime/port_implementation.hpp"
#include "runtime/port_packets.hpp"

#include <algorithm>

namespace quoit {

namespace {

using detail::endpoint_state;
using detail::order_kind;
using detail::socket_state;

// Flushed when this much waits, whether the turn has ended or not: one system call's worth of
// messages, or as many bytes as are still in the cache.
constexpr std::size_t flush_at_runs = 64;
constexpr std::size_t flush_at_bytes = 256U << 10U;

constexpr std::uint32_t no_tag = ~std::uint32_t{0};

std::size_t size_of(std::span<const byte_view> pieces) noexcept {
    std::size_t size = 0;
    for (const byte_view& piece : pieces)
        size += piece.size();
    return size;
}

bool is_full_call(const detail::send_queue& queue) noexcept {
    return queue.run_count() >= flush_at_runs || queue.byte_count() >= flush_at_bytes;
}

}  // namespace

std::error_code port::implementation::check(const endpoint_state& endpoint, std::size_t size,
                                            const address* to) const noexcept {
    if (endpoint.is_closing) return errc::closed;
    if (is_forked()) return errc::forked;
    return detail::check_destination(endpoint, size, to);
}

// The socket that received what is answered, if it is one of ours; else the first of the family.
socket_state* port::implementation::sender_for(endpoint_state& endpoint, const address* to,
                                               std::uint32_t tag_preferred) noexcept {
    if (endpoint.sockets.size() == 1 || to == nullptr) return &socket(endpoint.sockets.front());
    socket_state* first = nullptr;
    for (const std::uint32_t tag : endpoint.sockets) {
        socket_state& one = socket(tag);
        if (one.local.family() != to->family()) continue;
        if (tag == tag_preferred) return &one;
        if (first == nullptr) first = &one;
    }
    return first;
}

// What an answer leaves from; nothing: what the route chooses, or what the socket is bound to.
std::optional<ip> port::implementation::source_for(
    const endpoint_state& endpoint, const socket_state& sender, const address* to,
    const detail::datagram_fields* request) noexcept {
    if (!sender.knows_destinations || request == nullptr || to == nullptr) return std::nullopt;
    // One that came elsewhere, or is sent on to somebody else, is no request to be answered.
    const bool is_answer = !endpoint.peer && request->socket == sender.tag && *to == request->peer;
    if (!is_answer || request->control_size == 0) return std::nullopt;
    return detail::find_source({request->control, request->control_size});
}

status port::implementation::send(endpoint_state& endpoint, std::span<const byte_view> pieces,
                                  const address* to, const detail::datagram_fields* request) {
    const std::size_t size = size_of(pieces);
    if (const std::error_code refused = check(endpoint, size, to)) return refused;
    socket_state& one = *sender_for(endpoint, to, request != nullptr ? request->socket : no_tag);
    if (endpoint.options.report_refused_on_send && endpoint.peer && one.queue.is_empty()) {
        status sent = try_send(endpoint, pieces, to);
        if (sent || sent != errc::would_block) return sent;
    }
    if (!has_room(endpoint, one, size)) return errc::would_block;
    const std::optional<ip> from = source_for(endpoint, one, to, request);
    one.queue.push(pieces, endpoint.peer ? nullptr : to, from ? &*from : nullptr);
    queued(endpoint, one);
    return {};
}

// One datagram is always taken, so that a bound smaller than it does not shut the endpoint up.
bool port::implementation::has_room(endpoint_state& endpoint, socket_state& one, std::size_t size) {
    const auto is_full = [&] {
        return !one.queue.is_empty() && one.queue.cost() + size + detail::send_queue::entry_cost >
                                            endpoint.options.send_queue_size_max;
    };
    if (is_full()) flush(one);
    if (!is_full()) return true;
    endpoint.is_above_high_water = true;  // who was refused is told when there is room
    return false;
}

// The echo of a train, from its second datagram on: what was looked at for the one before it holds
// for this one too, but for the little that is looked at here (and broadcast, which the kernel
// would refuse). False: nothing happened.
bool port::implementation::send_next(endpoint_state& endpoint, datagram&& received,
                                     const address* to) {
    if (endpoint.is_closing || endpoint.peer || endpoint.sockets.size() != 1 || is_forked()) {
        return false;
    }
    socket_state& one = socket(endpoint.sockets.front());
    const std::size_t cost = received.size() + detail::send_queue::entry_cost;
    if (one.is_blocked || one.queue.cost() + cost > endpoint.options.send_queue_size_max ||
        is_full_call(one.queue)) {
        return false;
    }
    if (!one.queue.push_next(std::move(received), to)) return false;
    ++endpoint.ledger.sent.accepted;
    return true;
}

status port::implementation::send(endpoint_state& endpoint, datagram&& received,
                                  const address* to) {
    if (send_next(endpoint, std::move(received), to)) return {};
    if (const std::error_code refused = check(endpoint, received.size(), to)) return refused;
    const detail::datagram_fields& request = received.view().fields();
    socket_state& one = *sender_for(endpoint, to, request.socket);
    // A lease never waits for writability; bytes of its own are copied as any others.
    if (one.is_blocked || !received.is_lease() || endpoint.options.report_refused_on_send) {
        const byte_view payload(received);
        status sent = send(endpoint, std::span(&payload, 1), to, &request);
        if (sent) received = datagram();
        return sent;
    }
    if (!has_room(endpoint, one, received.size())) return errc::would_block;
    if (one.is_blocked) return send(endpoint, std::move(received), to);  // since just now
    const std::optional<ip> from = source_for(endpoint, one, to, &request);
    one.queue.push(std::move(received), endpoint.peer ? nullptr : to, from ? &*from : nullptr);
    queued(endpoint, one);
    return {};
}

void port::implementation::queued(endpoint_state& endpoint, socket_state& one) {
    ++endpoint.ledger.sent.accepted;
    if (!one.is_blocked && is_full_call(one.queue)) {
        flush(one);
    } else if (!one.is_blocked) {
        list_unflushed(one);
    }
    if (one.is_blocked && send_queue_size(endpoint) > endpoint.options.send_high_water) {
        endpoint.is_above_high_water = true;
    }
}

status port::implementation::try_send(endpoint_state& endpoint, std::span<const byte_view> pieces,
                                      const address* to) {
    const std::size_t size = size_of(pieces);
    if (const std::error_code refused = check(endpoint, size, to)) return refused;
    socket_state& one = *sender_for(endpoint, to, no_tag);
    if (!one.queue.is_empty()) flush(one);
    if (!one.queue.is_empty()) return errc::would_block;
    std::vector<std::byte> gathered;
    std::span<const std::byte> payload;
    if (pieces.size() == 1) {
        payload = pieces.front().bytes();
    } else {
        for (const byte_view& piece : pieces) {
            gathered.insert(gathered.end(), piece.data(), piece.data() + piece.size());
        }
        payload = gathered;
    }
    const iovec piece = detail::piece_of(payload);
    const detail::outgoing message{.pieces = std::span(&piece, 1),
                                   .to = endpoint.peer ? nullptr : to};
    const detail::send_result sent = send_now(one, std::span(&message, 1));
    if (sent.error == EAGAIN || sent.error == EWOULDBLOCK) return errc::would_block;
    if (sent.error != 0) return std::error_code(sent.error, std::system_category());
    ++endpoint.ledger.sent.accepted;
    ++endpoint.ledger.sent.sent;
    endpoint.ledger.sent.bytes += size;
    return {};
}

detail::send_result port::implementation::send_now(socket_state& one,
                                                   std::span<const detail::outgoing> messages) {
    if (is_inline()) return one.owner->send(one.tag, messages);
    const auto result = detail::send_messages(one.socket.descriptor(), messages);
    system_calls_.add(result.system_calls);
    return result;
}

void port::implementation::list_unflushed(socket_state& one) {
    if (one.is_unflushed) return;
    one.is_unflushed = true;
    unflushed_.push_back(one.tag);
}

void port::implementation::flush() noexcept {
    while (!unflushed_.empty()) {
        socket_state& one = socket(unflushed_.back());
        unflushed_.pop_back();
        one.is_unflushed = false;
        flush(one);
    }
    packets_->flush();
}

void port::implementation::flush(endpoint_state& endpoint) noexcept {
    for (const std::uint32_t tag : endpoint.sockets)
        flush(socket(tag));
}

void port::implementation::flush(socket_state& one) noexcept {
    if (one.is_blocked || one.is_leaving || is_forked()) return;
    endpoint_state& endpoint = *endpoints_[one.endpoint];
    if (one.as_unix) {
        flush_unix(one);
    } else if (!one.queue.is_empty()) {
        const bool tells = endpoint.options.report_send_errors;
        const auto reasons_before =
            tells ? endpoint.ledger.sent.reasons : decltype(endpoint.ledger.sent.reasons)();
        std::vector<int> told;  // as news, by errno
        const auto outcome = one.queue.flush(
            endpoint.ledger.sent,
            [&](std::span<const detail::outgoing> messages) { return send_now(one, messages); },
            [&](int refusal) {
                if (tells && endpoint.peer) told.push_back(refusal);
                on_refusal(one, refusal, 1);
            });
        one.refusals_unconfirmed += one.queue.take_refusals_unheard();
        if (tells) tell_lost(endpoint, reasons_before, told);
        if (outcome == detail::send_queue::outcome::blocked) {
            one.is_blocked = true;
            give(one, order_kind::writable);
        }
    }
    const std::size_t left = send_queue_size(endpoint);
    if (left > endpoint.options.send_high_water) endpoint.is_above_high_water = true;
    if (endpoint.is_above_high_water && left <= endpoint.options.send_low_water) {
        endpoint.is_above_high_water = false;
        endpoint.has_drained = true;
        list(endpoint);
    }
    if (endpoint.is_closing) leave_if_flushed(one);
}

// Behind what was received before. A ninth different errno is in the ledger only. What a connected
// socket says is taken as news of an earlier datagram, told, and asked about once more: when the
// answer is the same, this datagram was meant, and that has been told.
void port::implementation::tell_lost(endpoint_state& endpoint,
                                     const decltype(send_stats::reasons)& before,
                                     std::span<const int> told) {
    if (endpoint.is_closing) return;
    for (std::size_t i = 0; i < before.size(); ++i) {
        const send_stats::reason& now = endpoint.ledger.sent.reasons[i];
        const std::uint64_t lost_in_all = now.count - before[i].count;
        const auto told_before = static_cast<std::uint64_t>(std::ranges::count(told, now.error));
        const std::uint64_t lost = lost_in_all - std::min(lost_in_all, told_before);
        if (lost == 0) continue;
        endpoint.received.push_error(now.error, static_cast<std::uint32_t>(lost));
        endpoint.has_readable = true;
        list(endpoint);
    }
}

std::size_t port::implementation::send_queue_size(const endpoint_state& of) const noexcept {
    std::size_t size = 0;
    for (const std::uint32_t tag : of.sockets)
        size += sockets_[tag]->queued_cost();
    return size;
}

}  // namespace quoit
