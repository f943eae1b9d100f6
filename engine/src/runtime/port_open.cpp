// SPDX-License-Identifier: MIT
//
// Opening and closing. A socket that closes: stop sending -> detach -> (the worker cancels, reaps)
// -> drop-all filter, drain, read the drop counter, close(2). An inline worker has let go when its
// detach() returns, so the port number is free when close() returns; a threaded one says
// `detached`.
#include "net/segmentation.hpp"
#include "net/system.hpp"
#include "runtime/check_options.hpp"
#include "runtime/open_sockets.hpp"
#include "runtime/port_implementation.hpp"
#include "runtime/socket_group.hpp"
#include "runtime/socket_options.hpp"

#include <algorithm>
#include <string>

namespace quoit {

namespace {

using detail::endpoint_state;
using detail::for_server_socket;
using detail::for_socket;
using detail::no_socket_left;
using detail::order_kind;
using detail::socket_state;

}  // namespace

result<endpoint_id> port::implementation::open(std::span<const address> where,
                                               const udp_options& options) {
    if (is_forked()) return failure(errc::forked);
    if (auto checked = detail::check(options); !checked) return std::unexpected(checked.error());
    if (where.size() > sockets_free()) {
        return no_socket_left(options_);
    }
    auto opened = detail::listen_on_all(where, options, for_server_socket);
    if (!opened) return std::unexpected(opened.error());
    return add_endpoint(*std::move(opened), std::nullopt, options);
}

result<endpoint_id> port::implementation::open_every_interface(std::uint16_t port_number,
                                                               const udp_options& options) {
    if (is_forked()) return failure(errc::forked);
    if (auto checked = detail::check(options); !checked) return std::unexpected(checked.error());
    if (sockets_free() < 2) {
        return no_socket_left(options_);
    }
    auto opened = detail::listen_on_every_interface(port_number, options, for_server_socket);
    if (!opened) return std::unexpected(opened.error());
    return add_endpoint(*std::move(opened), std::nullopt, options);
}

result<endpoint_id> port::implementation::open(socket_group::implementation& group,
                                               std::size_t member) {
    if (is_forked()) return failure(errc::forked);
    if (member >= group.size() || group.is_taken(member)) return failure(errc::closed);
    if (group.local_addresses().size() > sockets_free()) return no_socket_left(options_);
    return add_endpoint(group.take(member), std::nullopt, group.options());
}

result<endpoint_id> port::implementation::open_connection(const address& peer,
                                                          const udp_options& options) {
    if (is_forked()) return failure(errc::forked);
    if (auto checked = detail::check(options); !checked) return std::unexpected(checked.error());
    if (sockets_free() < 1) {
        return no_socket_left(options_);
    }
    auto made = detail::connect_to(peer, options, [](const address& to, udp_options wanted) {
        return for_socket(to.family(), wanted);
    });
    if (!made) return std::unexpected(made.error());
    const address connected_to = made->peer().value_or(peer);
    std::vector<detail::udp_socket> opened;
    opened.push_back(*std::move(made));
    return add_endpoint(std::move(opened), connected_to, options);
}

std::size_t port::implementation::sockets_free() const noexcept {
    return sockets_unused_.size() + (options_.socket_count_max - sockets_.size());
}

endpoint_id port::implementation::add_endpoint(std::vector<detail::udp_socket> opened,
                                               std::optional<address> peer,
                                               const udp_options& options) {
    belong_to_this_thread();
    const udp_options wanted = detail::with_defaults(options);
    if (endpoints_unused_.empty()) {
        endpoints_unused_.push_back(static_cast<std::uint32_t>(endpoints_.size()));
        endpoints_.emplace_back();
        generations_.push_back(0);
    }
    const std::uint32_t index = endpoints_unused_.back();
    endpoints_unused_.pop_back();
    auto made = std::make_unique<endpoint_state>(wanted.queue_size_max, wanted.on_full);
    made->id = {.index = index, .generation = ++generations_[index]};
    made->options = wanted;
    made->peer = peer;
    made->was_unconnected = !peer;
    made->allows_broadcast = wanted.broadcast;
    endpoint_state& endpoint = *made;
    endpoints_[index] = std::move(made);
    for (auto& one : opened)
        add_socket(endpoint, std::move(one));
    return endpoint.id;
}

// Of a slot that is free and on whose account nobody holds buffers any more, as far as there is
// one: who opens shall not pay for a lease that somebody kept.
std::uint32_t port::implementation::free_tag() {
    const auto is_settled = [this](std::uint32_t tag) {
        return std::ranges::all_of(workers_, [tag](const auto& worker) {
            return worker->pool(detail::buffer_class::small).leased_by(tag) == 0 &&
                   worker->pool(detail::buffer_class::large).leased_by(tag) == 0;
        });
    };
    auto found = std::ranges::find_if(sockets_unused_, is_settled);
    if (found == sockets_unused_.end() && sockets_.size() < options_.socket_count_max) {
        sockets_unused_.push_back(static_cast<std::uint32_t>(sockets_.size()));
        sockets_.emplace_back();
        found = sockets_unused_.end() - 1;
    } else if (found == sockets_unused_.end()) {
        found = sockets_unused_.begin();
    }
    const std::uint32_t tag = *found;
    sockets_unused_.erase(found);
    return tag;
}

std::size_t port::implementation::pool_index(const socket_state& one) const noexcept {
    return one.worker_index * detail::buffer_class_count +
           static_cast<std::size_t>(one.shared.options.pool);
}

void port::implementation::add_socket(endpoint_state& endpoint, detail::udp_socket opened) {
    const std::uint32_t tag = free_tag();
    auto made = std::make_unique<socket_state>();
    socket_state& one = *made;
    one.socket = std::move(opened);
    one.local = one.socket.local();
    one.tag = tag;
    one.endpoint = endpoint.id.index;
    one.worker_index = next_worker_++ % workers_.size();
    one.owner = workers_[one.worker_index].get();

    const bool has_gro = one.socket.has_gro();
    const family of = one.local.family();
    const udp_options wanted = endpoint.peer ? for_socket(of, endpoint.options)
                                             : for_server_socket(one.local, endpoint.options);
    one.knows_destinations =
        !endpoint.peer && detail::needs_destinations(one.local, endpoint.options);
    const detail::message_layout layout = detail::layout_of(of, wanted, has_gro);
    const bool is_small = !has_gro && detail::fits_small_buffer(layout, wanted);
    if (endpoint.peer) one.queue.connected();
    if (endpoint.options.offload == offload::off || !detail::find_offload_support().has_segment) {
        one.queue.turn_segmentation_off();
    }
    one.shared.fd = one.socket.descriptor();
    one.shared.options = {
        .tag = tag,
        .pool = is_small ? detail::buffer_class::small : detail::buffer_class::large,
        .layout = layout,
        .has_gro = has_gro};
    ++sockets_per_pool_[pool_index(one)];
    endpoint.sockets.push_back(tag);
    endpoint.locals.push_back(one.local);
    endpoint.has_ipv4 = endpoint.has_ipv4 || one.local.family() == family::ipv4;
    endpoint.has_ipv6 = endpoint.has_ipv6 || one.local.family() == family::ipv6;
    sockets_[tag] = std::move(made);
    give(one, order_kind::attach);
}

// In a forked child nothing of this may happen: sockets, filters and epoll sets are shared with the
// parent, which would be deaf afterwards.
void port::implementation::close(endpoint_state& endpoint) noexcept {
    if (endpoint.is_closing || is_forked()) return;
    endpoint.is_closing = true;
    endpoint.has_readable = true;  // the end is something to read
    list(endpoint);
    for (const std::uint32_t tag : endpoint.sockets) {
        flush(socket(tag));
        leave_if_flushed(socket(tag));
    }
}

void port::implementation::abort(endpoint_state& endpoint) noexcept {
    if (is_forked()) return;
    drop_queued(endpoint);
    close(endpoint);
    for (const std::uint32_t tag : endpoint.sockets)
        leave_if_flushed(socket(tag));
}

void port::implementation::drop_queued(endpoint_state& endpoint) noexcept {
    for (const std::uint32_t tag : endpoint.sockets) {
        endpoint.ledger.sent.dropped += socket(tag).drop_queued();
    }
}

void port::implementation::release(endpoint_state& endpoint) noexcept {
    if (is_forked()) {
        endpoint.is_released = true;
        return;
    }
    close(endpoint);
    abort(endpoint);
    wait_for_workers_until([&] { return is_gone(endpoint); });
    endpoint.received.abandon();
    endpoint.is_released = true;
    free_if_done(endpoint);
}

bool port::implementation::is_gone(const endpoint_state& endpoint) const noexcept {
    return std::ranges::all_of(endpoint.sockets,
                               [this](std::uint32_t tag) { return sockets_[tag]->is_gone; });
}

// Who leaves scope may bind the port again at once, so this waits for the worker to let go: one of
// its turns. A worker that does not come (a stopped process, a debugger) is not waited for for
// ever.
void port::implementation::wait_for_workers_until(const std::function<bool()>& is_so) noexcept {
    if (is_inline()) return;
    const auto give_up_at = detail::system::now() + std::chrono::seconds(1);
    for (const auto& worker : workers_) {
        if (worker->flush_orders()) ++wakeups_;
    }
    // A wake() is for the next turn, and would keep this from sleeping.
    const bool was_woken = is_woken_.exchange(false, std::memory_order_acq_rel);
    drain_workers();
    while (!is_so() && detail::system::now() < give_up_at) {
        sleep_until_woken(give_up_at);
        drain_workers();
    }
    if (was_woken) is_woken_.store(true, std::memory_order_release);
    // The eventfd may have been cleared here of what was meant for whoever waits for descriptor().
    if (watched_) watched_->wait_until(at_once);
}

// A closing socket stays attached, unread, until the kernel has taken what is queued.
void port::implementation::leave_if_flushed(socket_state& one) noexcept {
    if (one.is_leaving) return;
    if (one.queued_count() > 0) {
        const bool was_paused = one.is_paused();
        one.is_paused_by_inbox = true;
        set_paused(one, was_paused);
        if (one.as_unix) bound_closing(one);
        return;
    }
    one.is_leaving = true;
    give(one, order_kind::detach);
    if (is_inline()) shut(one);
}

void port::implementation::shut(socket_state& one) noexcept {
    // While the socket is open: its file's number is used by no other until then.
    if (one.as_unix) one.as_unix->binding.unlink();
    const auto drained = one.socket.drain_and_close();
    auto& received = endpoints_[one.endpoint]->ledger.received;
    received.taken += drained.datagrams;
    received.dropped.late += drained.datagrams;
    received.dropped.kernel_packets += drained.kernel_drops;
}

void port::implementation::on_detached(socket_state& one) {
    if (!is_inline()) shut(one);
    one.is_gone = true;
    --sockets_per_pool_[pool_index(one)];
    endpoint_state& endpoint = *endpoints_[one.endpoint];
    if (!is_gone(endpoint)) return;
    endpoint.is_closed = true;
    endpoint.has_closed = true;
    list(endpoint);
    free_if_done(endpoint);
}

void port::implementation::free_if_done(endpoint_state& endpoint) noexcept {
    if (!endpoint.is_released || !endpoint.is_closed) return;
    quoit::stats counted = stats_of(endpoint);
    counted.leases_held = 0;  // a gauge; stats_of_all() has it of the pools
    released_ += counted;
    for (const std::uint32_t tag : endpoint.sockets) {
        std::erase(paused_, tag);
        std::erase(unflushed_, tag);
        std::erase(unix_retrying_, tag);
        sockets_[tag].reset();
        sockets_unused_.push_back(tag);
    }
    const std::uint32_t index = endpoint.id.index;
    endpoints_[index].reset();
    endpoints_unused_.push_back(index);
}

}  // namespace quoit
