// SPDX-License-Identifier: MIT
//
// One turn: send what is queued, let sockets go on that were paused, wait, put what came into the
// inboxes, tell. The sink of an inline worker and the queue of a threaded one end in the same
// deliver(), which tells nobody: users are called when the backend is no longer on the stack.
#include "base/assert.hpp"
#include "net/system.hpp"
#include "runtime/port_implementation.hpp"
#include "runtime/port_packets.hpp"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace quoit {

namespace {

using detail::endpoint_state;
using detail::event;
using detail::event_kind;
using detail::order_kind;
using detail::socket_state;

bool is_from(const detail::parsed_message& message, const address& peer) noexcept {
    return message.first.peer.host() == peer.host() && message.first.peer.port() == peer.port();
}

bool is_from_any(const detail::parsed_message& message, std::span<const address> peers) noexcept {
    return std::ranges::any_of(peers, [&](const address& one) { return is_from(message, one); });
}

// A turn of a ring that finds nothing takes as long as reading the clock; one of epoll, which asks
// the kernel, ten times as long.
constexpr int ring_turns_per_look_at_clock = 16;

}  // namespace

result<std::size_t> port::implementation::turn(clock::time_point deadline, port_events& events) {
    if (is_forked()) return failure(errc::forked, "turn a port of the parent process");
    belong_to_this_thread();
    arrived_ = 0;
    deadline = begin_turn(deadline);
    if (is_inline()) {
        wait_inline(deadline);
    } else {
        wait_threaded(deadline);
    }
    give_deferred();
    packets_->settle();
    flush();
    tell(events);
    packets_->tell();
    return arrived_;
}

// What comes before any waiting, and until when that may last.
port::clock::time_point port::implementation::begin_turn(clock::time_point deadline) {
    flush();
    resume_paused();
    deadline = std::min({deadline, retry_unix(), packets_->look_after_waiting()});
    return has_news() ? at_once : deadline;
}

void port::implementation::wake() noexcept {
    if (is_forked()) return;  // the eventfd is the parent's too
    // Before the eventfd: whoever clears that looks at this afterwards.
    is_woken_.store(true, std::memory_order_release);
    if (is_inline()) {
        workers_.front()->wake();
    } else {
        waker_->wake();
    }
}

void port::implementation::wait_inline(clock::time_point deadline) {
    detail::worker& worker = *workers_.front();
    if (!may_spin() || deadline == at_once) {
        worker.turn(deadline);
        return;
    }
    const clock::time_point spin_until = spin_end(deadline);
    const bool is_ring = capabilities_.backend == backend::io_uring;
    const int turns = is_ring ? ring_turns_per_look_at_clock : 1;
    do {
        for (int i = 0; i < turns; ++i) {
            worker.turn(at_once);
            if (arrived_ > 0 || has_news() || take_wake()) return;
        }
    } while (spin_until == no_deadline || detail::system::now() < spin_until);
    if (spin_until < deadline) worker.turn(deadline);
}

// How long a turn with this deadline spins before it sleeps.
port::clock::time_point port::implementation::spin_end(clock::time_point deadline) const noexcept {
    if (!may_spin()) return at_once;
    if (options_.spin_time.count() == 0) return deadline;
    return std::min(deadline, detail::system::now() + options_.spin_time);
}

// A wake() ends one turn: the one that takes it, if it came too late for the one before.
bool port::implementation::take_wake() noexcept {
    return is_woken_.load(std::memory_order_acquire) &&
           is_woken_.exchange(false, std::memory_order_acq_rel);
}

void port::implementation::speak_to_workers() {
    for (const auto& worker : workers_) {
        if (worker->flush_orders()) ++wakeups_;
        for (std::size_t i = 0; i < detail::buffer_class_count; ++i) {
            worker->pool(static_cast<detail::buffer_class>(i)).wake_if_starved();
        }
    }
}

void port::implementation::wait_threaded(clock::time_point deadline) {
    if (watched_) waker_->parking.cancel();  // prepare_to_wait() may have left it published
    speak_to_workers();
    const auto is_over = [&] {
        return arrived_ > 0 || has_news() || take_wake() || deadline == at_once ||
               detail::system::now() >= deadline;
    };
    drain_workers();
    if (is_over()) return;
    const clock::time_point spin_until = spin_end(deadline);
    while (!is_over()) {
        const bool spins =
            spin_until != at_once && (spin_until == deadline || detail::system::now() < spin_until);
        if (!spins) sleep_until_woken(deadline);
        drain_workers();
    }
}

bool port::implementation::has_news() const noexcept {
    return !news_.empty() || packets_->has_news();
}

void port::implementation::belong_to_this_thread() noexcept {
    const std::thread::id here = std::this_thread::get_id();
    std::thread::id before{};
    // Relaxed: a thread compares it with itself only.
    if (!thread_.compare_exchange_strong(before, here, std::memory_order_relaxed)) {
        QUOIT_DEBUG_ASSERT(before == here, "a port was used by a foreign thread");
    }
}

void port::implementation::let_go_of_thread() noexcept {
    QUOIT_DEBUG_ASSERT(capabilities_.backend == backend::epoll && is_inline(),
                       "a port that belongs to one thread was let go of");
    for (const auto& worker : workers_) {
        for (std::size_t i = 0; i < detail::buffer_class_count; ++i)
            worker->pool(static_cast<detail::buffer_class>(i)).let_go_of_thread();
    }
    // Relaxed: what orders the two threads is the caller's.
    thread_.store(std::thread::id(), std::memory_order_relaxed);
}

// Publishes that this thread sleeps, and looks once more.
bool port::implementation::may_sleep() noexcept {
    // Before the sleep is published, never after: a wake-up behind it must not be lost.
    detail::system::event_clear(waker_->descriptor());
    ++system_calls_;
    waker_->parking.prepare_to_sleep();
    const bool has_events =
        std::ranges::any_of(workers_, [](const auto& worker) { return worker->has_events(); });
    return !has_events && !is_woken_.load(std::memory_order_acquire);
}

void port::implementation::sleep_until_woken(clock::time_point deadline) noexcept {
    if (may_sleep()) {
        const timespec left =
            deadline == no_deadline ? timespec{} : detail::system::time_until(deadline);
        [[maybe_unused]] const int readable = detail::system::poll_one(
            waker_->descriptor(), POLLIN, deadline == no_deadline ? nullptr : &left);
        ++system_calls_;
    }
    waker_->parking.cancel();
}

void port::implementation::drain_workers() {
    for (const auto& worker : workers_) {
        worker->drain([this](std::span<const event> events) { deliver(events); });
    }
}

void port::implementation::deliver(std::span<const event> events) noexcept {
    is_delivering_ = true;
    for (const event& one : events) {
        ++arrived_;
        if (packets_->owns(one.tag)) {
            packets_->on_event(one);
            continue;
        }
        socket_state& of = socket(one.tag);
        switch (one.kind) {
            case event_kind::datagram: receive(of, one); break;
            case event_kind::failed: {
                const std::uint32_t count =
                    is_inline() ? 1 : of.shared.refusals.exchange(0, std::memory_order_acq_rel);
                on_refusal(of, static_cast<int>(one.value), count);
                break;
            }
            case event_kind::writable:
                of.is_blocked = false;
                list_unflushed(of);
                break;
            case event_kind::detached: on_detached(of); break;
            case event_kind::starved:  // the backend has counted it
            case event_kind::bytes:
            case event_kind::end_of_stream:
            case event_kind::accepted: break;
        }
    }
    is_delivering_ = false;
}

// A backend that delivers must not be called (backend.hpp, rule 2). A worker's queue may always be
// pushed to.
void port::implementation::give(socket_state& one, order_kind what) {
    const detail::order wanted{.kind = what, .tag = one.tag, .socket = &one.shared};
    if (is_delivering_ && is_inline()) {
        deferred_.push_back(wanted);
    } else {
        one.owner->give(wanted);
    }
}

void port::implementation::give_deferred() {
    for (const detail::order& wanted : deferred_) {
        // Of a socket that has gone meanwhile nothing is wanted any more.
        if (sockets_[wanted.tag] && !sockets_[wanted.tag]->is_leaving) {
            sockets_[wanted.tag]->owner->give(wanted);
        }
    }
    deferred_.clear();
}

void port::implementation::receive(socket_state& one, const event& what) {
    detail::buffer_pool& pool = one.owner->pool(what.pool);
    pool.adopt(what.buffer, one.tag);
    if (one.as_unix) look_for_descriptors(one, what);
    endpoint_state& endpoint = *endpoints_[one.endpoint];
    auto& ledger = endpoint.ledger.received;
    const detail::message_layout layout = one.shared.options.layout;
    if (endpoint.is_closing) {
        ledger.dropped.late += detail::datagram_count(what.value, what.segment, layout);
        pool.release(what.buffer);
        return;
    }
    one.refusals_unconfirmed = 0;  // there is somebody
    detail::parsed_message message = detail::parse_message(
        pool.used(what.buffer, what.value), layout, endpoint.options.payload_size_max);
    // Control data that is cut may hide that this is a train; without GRO it only lacks metadata
    // that nobody here asked for (an option set on descriptor()).
    const bool is_whole =
        message.state == detail::message_state::valid ||
        (message.state == detail::message_state::control_cut && !one.shared.options.has_gro);
    // While it was opened, between bind and connect, the socket took anybody's. What came to an
    // open one before it was connected is readable: the kernel had received it.
    const bool is_strange = endpoint.peer && is_whole && !endpoint.was_unconnected &&
                            !is_from(message, *endpoint.peer) &&
                            !is_from_any(message, endpoint.former_peers);
    if (!is_whole || is_strange) {
        ledger.dropped.invalid += detail::datagram_count(what.value, what.segment, layout);
        pool.release(what.buffer);
        return;
    }
    if (one.as_unix && !admits_unix(one, message, ledger)) {
        pool.release(what.buffer);
        return;
    }
    message.first.socket = one.tag;
    message.first.local_port = one.local.port();
    const std::uint32_t count = message.count();
    const bool is_train = count > 1;
    const bool is_truncated = message.first.original_size > message.first.size;
    ledger.bytes += message.first.size;
    ledger.empty += message.size_total == 0 ? 1U : 0U;
    ledger.truncated += is_truncated ? 1U : 0U;
    if (is_train) {
        // The others are like the first, but for the last, which may be shorter.
        const std::uint32_t tail = message.size_total - (count - 1) * message.segment;
        const std::uint32_t size_max = endpoint.options.payload_size_max;
        ledger.bytes += std::uint64_t{count - 2} * message.first.size + std::min(tail, size_max);
        ledger.truncated += (is_truncated ? count - 2 : 0U) + (tail > size_max ? 1U : 0U);
        ++ledger.trains;
        ledger.coalesced += count;
        endpoint.ledger.is_exact = false;
    }
    endpoint.received.push(pool, what.buffer, message);
    if (!endpoint.has_readable) {
        endpoint.has_readable = true;
        list(endpoint);
    }
    if (endpoint.options.on_full == when_full::pause && endpoint.received.is_full()) {
        for (const std::uint32_t tag : endpoint.sockets) {
            socket_state& full = socket(tag);
            const bool was_paused = full.is_paused();
            full.is_paused_by_inbox = true;
            set_paused(full, was_paused);
        }
    }
    if (endpoint.options.on_full == when_full::drop_oldest) {
        // The bound that the buffers set: the kernel would drop the newest.
        while (pool.leased_by(one.tag) * 2 > pool.count() && endpoint.received.drop_oldest()) {
        }
    }
    pause_if_greedy(one, what.pool);
}

// A slow reader must not take the buffers of the others: whoever holds more than half of them,
// unread or unreleased, is not read for a while, and its datagrams wait in the kernel.
void port::implementation::pause_if_greedy(socket_state& one, detail::buffer_class pool_class) {
    const detail::buffer_pool& pool = one.owner->pool(pool_class);
    if (one.is_paused_by_leases || pool.leased_by(one.tag) * 2 <= pool.count()) return;
    if (sharing(one) < 2) return;
    const bool was_paused = one.is_paused();
    one.is_paused_by_leases = true;
    set_paused(one, was_paused);
}

// Sockets that receive into the same pool.
std::uint32_t port::implementation::sharing(const socket_state& one) const noexcept {
    return sockets_per_pool_[pool_index(one)];
}

void port::implementation::set_paused(socket_state& one, bool was_paused) {
    if (one.is_leaving || one.is_paused() == was_paused) return;
    give(one, was_paused ? order_kind::receive : order_kind::pause);
    if (!was_paused) paused_.push_back(one.tag);
}

void port::implementation::resume_paused() {
    const auto goes_on = [this](std::uint32_t tag) {
        socket_state& one = socket(tag);
        const endpoint_state& endpoint = *endpoints_[one.endpoint];
        if (one.is_leaving) return true;
        if (endpoint.is_closing) return false;  // unread until it has left
        const detail::buffer_pool& pool = one.owner->pool(one.shared.options.pool);
        // A little below the half, so that it does not go to and fro; all of it when alone.
        if (pool.leased_by(tag) * 16 <= pool.count() * 7 || sharing(one) < 2) {
            one.is_paused_by_leases = false;
        }
        if (endpoint.received.datagram_count() * 2 <= endpoint.received.size_max()) {
            one.is_paused_by_inbox = false;
        }
        set_paused(one, true);
        return !one.is_paused();
    };
    if (!paused_.empty()) std::erase_if(paused_, goes_on);
}

void port::implementation::on_refusal(socket_state& one, int refusal, std::uint32_t count) {
    endpoint_state& endpoint = *endpoints_[one.endpoint];
    if (refusal == ECONNREFUSED) count += std::exchange(one.refusals_unconfirmed, 0);
    endpoint.ledger.received.refused += count;
    const bool has_peer = endpoint.peer || endpoint.is_unix_client;
    if (endpoint.is_closing || !has_peer) return;  // counted; nobody to tell
    endpoint.received.push_error(refusal, count);
    endpoint.has_readable = true;
    list(endpoint);
}

// --- telling ---

void port::implementation::list(endpoint_state& endpoint) {
    if (endpoint.is_listed) return;
    endpoint.is_listed = true;
    news_.push_back(endpoint.id.index);
}

void port::implementation::tell(port_events& events) {
    // What the calls below bring about is told by the next turn.
    std::swap(news_, told_);
    for (const std::uint32_t index : told_) {
        endpoint_state* const endpoint = endpoints_[index].get();
        if (endpoint == nullptr || !endpoint->is_listed) continue;
        endpoint->is_listed = false;
        const endpoint_id id = endpoint->id;
        const bool has_readable = std::exchange(endpoint->has_readable, false);
        const bool has_drained = std::exchange(endpoint->has_drained, false);
        const bool has_closed = std::exchange(endpoint->has_closed, false);
        // Each call may release the endpoint.
        if (has_readable && find(id) != nullptr) events.readable(id);
        if (has_drained && find(id) != nullptr) events.drained(id);
        if (has_closed && find(id) != nullptr) events.closed(id);
    }
    told_.clear();
}

}  // namespace quoit
