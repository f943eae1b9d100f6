// SPDX-License-Identifier: MIT
//
// UNIX endpoints: one socket, on the same backends, with the same inbox, ledger and life as UDP
// endpoints. What differs is here: opening, names, what comes beside a payload, and that what an
// unconnected socket could not send is tried again by time (runtime/unix_send_queue.hpp).
#include "net/ancillary.hpp"
#include "net/system.hpp"
#include "runtime/check_options.hpp"
#include "runtime/port_implementation.hpp"

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

namespace quoit {

namespace {

using detail::endpoint_state;
using detail::order_kind;
using detail::socket_state;
using detail::unix_part;

constexpr std::chrono::seconds warning_every{10};

// Flushed when this much waits, as UDP sockets are.
constexpr std::size_t flush_at_count = 64;
constexpr std::size_t flush_at_bytes = 256U << 10U;

std::size_t size_of(std::span<const byte_view> pieces) noexcept {
    std::size_t size = 0;
    for (const byte_view& piece : pieces)
        size += piece.size();
    return size;
}

// What a UNIX endpoint has in common with all others.
udp_options common_options(const unix_options& options) noexcept {
    return {.queue_size_max = options.queue_size_max,
            .on_full = options.on_full,
            .payload_size_max = options.payload_size_max,
            .receive_buffer_size = options.receive_buffer_size,
            .send_buffer_size = options.send_buffer_size,
            .send_queue_size_max = options.send_queue_size_max,
            .send_high_water = options.send_high_water,
            .send_low_water = options.send_low_water,
            .offload = offload::off};
}

detail::message_layout layout_of(const unix_options& options) noexcept {
    return {.name_size = detail::message_layout::unix_name_size,
            .control_size = static_cast<std::uint16_t>(detail::ancillary_size_for(options))};
}

result<void> check_all(const unix_options& options) {
    if (auto checked = detail::check(common_options(options)); !checked) return checked;
    if (options.descriptors_max > descriptors_limit) {
        return failure(errc::invalid_option, "descriptors_max is " +
                                                 std::to_string(options.descriptors_max) +
                                                 ", expected 0 to 253");
    }
    if (options.mode != mode_of_umask && options.mode > 0777U) {
        return failure(errc::invalid_option, "mode is more than 0777");
    }
    const std::uint32_t size = layout_of(options).payload_offset() + options.payload_size_max;
    if (size > detail::large_buffer_stride) {
        return failure(
            errc::invalid_option,
            "payload_size_max is " + std::to_string(options.payload_size_max) + ", expected " +
                std::to_string(detail::large_buffer_stride - layout_of(options).payload_offset()) +
                " at most beside " + std::to_string(options.descriptors_max) + " descriptors_max");
    }
    return {};
}

}  // namespace

// --- opening ---

result<endpoint_id> port::implementation::open_unix(const unix_address& where,
                                                    const unix_options& options) {
    if (is_forked()) return failure(errc::forked);
    if (auto checked = check_all(options); !checked) return std::unexpected(checked.error());
    if (sockets_free() < 1) return no_unix_socket_left();
    auto made = detail::unix_socket::listen(where, options);
    if (!made) return std::unexpected(made.error());
    return add_unix_endpoint(*std::move(made), std::nullopt, options);
}

result<endpoint_id> port::implementation::open_unix_connection(const unix_address& peer,
                                                               const unix_options& options) {
    if (is_forked()) return failure(errc::forked);
    if (auto checked = check_all(options); !checked) return std::unexpected(checked.error());
    if (sockets_free() < 1) return no_unix_socket_left();
    auto made = detail::unix_socket::connect(peer, options);
    if (!made) return std::unexpected(made.error());
    return add_unix_endpoint(*std::move(made), peer, options);
}

std::unexpected<error> port::implementation::no_unix_socket_left() const {
    return failure(std::make_error_code(std::errc::too_many_files_open),
                   "socket_count_max is " + std::to_string(options_.socket_count_max));
}

endpoint_id port::implementation::add_unix_endpoint(detail::unix_socket opened,
                                                    const std::optional<unix_address>& peer,
                                                    const unix_options& options) {
    const endpoint_id id = add_endpoint({}, std::nullopt, common_options(options));
    endpoint_state& endpoint = *endpoints_[id.index];
    const std::uint32_t tag = free_tag();
    auto made = std::make_unique<socket_state>();
    socket_state& one = *made;
    one.socket = detail::udp_socket::of_unix(std::move(opened.fd), options.receive_buffer_size,
                                             options.send_buffer_size);
    one.as_unix = std::make_unique<unix_part>();
    one.as_unix->binding = opened.binding;
    one.as_unix->options = options;
    one.as_unix->peer = peer;
    one.as_unix->peer_name = opened.peer;
    one.tag = tag;
    one.endpoint = id.index;
    one.worker_index = next_worker_++ % workers_.size();
    one.owner = workers_[one.worker_index].get();
    const detail::message_layout layout = layout_of(options);
    const bool is_small =
        layout.payload_offset() + options.payload_size_max <= detail::small_buffer_stride;
    one.shared.fd = one.socket.descriptor();
    one.shared.options = {
        .tag = tag,
        .pool = is_small ? detail::buffer_class::small : detail::buffer_class::large,
        .layout = layout,
        .has_gro = false};
    ++sockets_per_pool_[pool_index(one)];
    endpoint.sockets.push_back(tag);
    endpoint.is_unix_client = peer.has_value();
    sockets_[tag] = std::move(made);
    give(one, order_kind::attach);
    return id;
}

// Before a port goes. A ring may have messages for us that nobody would look at any more, and with
// them descriptors; so its UNIX sockets are detached while there is somebody to take what comes.
void port::implementation::finish_unix_sockets() noexcept {
    const auto is_pending = [](const std::unique_ptr<socket_state>& one) {
        return one && one->as_unix && !one->is_gone;
    };
    for (const auto& one : sockets_) {
        if (!is_pending(one) || one->is_leaving) continue;
        one->is_leaving = true;
        give(*one, order_kind::detach);
        if (is_inline()) shut(*one);
    }
    if (!is_inline()) {
        for (const auto& one : sockets_) {
            if (is_pending(one))
                wait_for_workers_until([&] { return is_gone(*endpoints_[one->endpoint]); });
        }
        return;
    }
    // One turn is the rule; a completion queue that ran over takes a few more.
    constexpr int turns_max = 100;
    for (int turns = 0; turns < turns_max && std::ranges::any_of(sockets_, is_pending); ++turns) {
        workers_.front()->turn(at_once);
        give_deferred();
    }
}

// --- receiving ---

// The message is ours with all that came with it, whatever becomes of it.
void port::implementation::look_for_descriptors(const socket_state& one,
                                                const detail::event& what) noexcept {
    if (one.shared.options.layout.control_size == 0) return;
    detail::buffer_pool& pool = one.owner->pool(what.pool);
    const auto message = detail::unix_message_before(
        pool.data(what.buffer) + one.shared.options.layout.control_offset(),
        one.shared.options.layout.control_size);
    if (!message.control.empty()) pool.may_hold_descriptors(what.buffer);
}

// False: it is dropped, and has been counted.
bool port::implementation::admits_unix(socket_state& one, const detail::parsed_message& message,
                                       receive_stats& ledger) {
    unix_part& part = *one.as_unix;
    const auto from =
        detail::unix_message_before(message.first.control, message.first.control_size);
    if (part.peer_name) {
        // Between bind and connect, and while its peer is gone, the socket takes anybody's.
        if (detail::from_unix_name(from.name) != *part.peer_name) {
            ++ledger.dropped.invalid;
            return false;
        }
    } else if (part.options.unnamed != unnamed_peers::handle && detail::is_unnamed(from.name)) {
        ++ledger.dropped.unnamed;
        if (part.options.unnamed == unnamed_peers::warn) warn_of_unnamed(part);
        return false;
    }
    if (from.is_control_cut) ++ledger.ancillary_truncated;
    return true;
}

void port::implementation::warn_of_unnamed(unix_part& part) {
    ++part.unnamed_count;
    const clock::time_point now = detail::system::now();
    if (now < part.next_warning) return;
    part.next_warning = now + warning_every;
    options_.log(log_level::warning,
                 part.binding.local().to_string() + ": dropped " +
                     std::to_string(std::exchange(part.unnamed_count, 0)) +
                     " datagrams from peers without a name, which cannot be answered");
}

// --- sending ---

std::error_code port::implementation::check_unix(const endpoint_state& endpoint, std::size_t size,
                                                 const unix_address* to) const noexcept {
    if (endpoint.is_closing) return errc::closed;
    if (is_forked()) return errc::forked;
    const socket_state* const one = first_socket(endpoint);
    if (one == nullptr || !one->as_unix) return errc::wrong_family;
    const auto& peer = one->as_unix->peer;
    if (peer && to != nullptr && *to != *peer) return errc::already_connected;
    if (!peer && to == nullptr) return errc::not_connected;
    if (to != nullptr && (to->is_unnamed() || !to->is_valid())) return errc::invalid_address;
    if (size > payload_size_limit) return errc::message_too_long;
    return {};
}

status port::implementation::send_unix(endpoint_state& endpoint, std::span<const byte_view> pieces,
                                       const unix_address* to, const ancillary& with) {
    const std::size_t size = size_of(pieces);
    if (const std::error_code refused = check_unix(endpoint, size, to)) return refused;
    socket_state& one = *first_socket(endpoint);
    if (!has_unix_room(endpoint, one, size, to)) return errc::would_block;
    auto prepared = detail::outgoing_ancillary::create(with);
    if (!prepared) return prepared.error();
    detail::unix_send_queue& queue = one.as_unix->queue;
    queue.push(pieces, one.as_unix->peer ? nullptr : to, *std::move(prepared));
    ++endpoint.ledger.sent.accepted;
    const bool is_full_call =
        queue.ready_count() >= flush_at_count || queue.cost() >= flush_at_bytes;
    if (!one.is_blocked && is_full_call) {
        flush(one);
    } else if (!one.is_blocked) {
        list_unflushed(one);
    }
    if (queue.cost() > endpoint.options.send_high_water && (one.is_blocked || queue.is_holding())) {
        endpoint.is_above_high_water = true;
    }
    return {};
}

// One datagram is always taken. One destination that does not read gets half of the room.
bool port::implementation::has_unix_room(endpoint_state& endpoint, socket_state& one,
                                         std::size_t size, const unix_address* to) {
    const detail::unix_send_queue& queue = one.as_unix->queue;
    const std::size_t cost = size + detail::unix_send_queue::entry_cost;
    const std::size_t size_max = endpoint.options.send_queue_size_max;
    const auto is_full = [&] {
        if (!queue.is_empty() && queue.cost() + cost > size_max) return true;
        const std::size_t held = to != nullptr ? queue.cost_held(*to) : 0;
        return held > 0 && held + cost > size_max / 2;
    };
    if (is_full()) flush(one);
    if (!is_full()) return true;
    endpoint.is_above_high_water = true;  // who was refused is told when there is room
    return false;
}

// The socket, as its queue sees it.
class port::implementation::unix_outlet final : public detail::unix_send_queue::outlet {
  public:
    unix_outlet(implementation& of, socket_state& one) noexcept : port_(of), socket_(one) {}

    detail::send_result send(std::span<const detail::outgoing> messages) override {
        return port_.send_now(socket_, messages);
    }
    bool is_full() override {
        port_.system_calls_.add(1);
        return detail::is_send_buffer_full(socket_.socket.descriptor());
    }
    int reconnect() override {
        unix_part& part = *socket_.as_unix;
        const int fd = socket_.socket.descriptor();
        const int error = detail::connect_unix(fd, *part.peer);
        if (error == 0) part.peer_name = detail::peer_of_unix(fd);
        return error;
    }
    void refused() override { port_.on_refusal(socket_, ECONNREFUSED, 1); }
    detail::unix_send_queue::steady_time now() override { return detail::system::now(); }

  private:
    implementation& port_;
    socket_state& socket_;
};

void port::implementation::flush_unix(socket_state& one) {
    detail::unix_send_queue& queue = one.as_unix->queue;
    unix_outlet through(*this, one);
    const auto outcome = queue.flush(endpoints_[one.endpoint]->ledger.sent, through);
    if (outcome == detail::unix_send_queue::outcome::blocked) {
        one.is_blocked = true;
        give(one, order_kind::writable);
    }
    if (queue.is_holding()) list_retrying(one);
}

void port::implementation::list_retrying(socket_state& one) {
    if (!std::exchange(one.as_unix->is_retrying, true)) unix_retrying_.push_back(one.tag);
}

// A peer that does not read may take as long as it likes, but not with closing: that ends when
// nobody has taken anything for a while.
void port::implementation::bound_closing(socket_state& one) {
    unix_part& part = *one.as_unix;
    send_stats& ledger = endpoints_[one.endpoint]->ledger.sent;
    const clock::time_point now = detail::system::now();
    if (part.give_up_at == no_deadline || part.sent_before != ledger.sent) {
        part.sent_before = ledger.sent;
        part.give_up_at = now + detail::unix_send_queue::patience;
        list_retrying(one);
    } else if (now >= part.give_up_at) {
        part.queue.give_up(ledger);
        leave_if_flushed(one);
    }
}

// Sends what is due, and says when the next is: a turn does not wait longer than that.
port::clock::time_point port::implementation::retry_unix() noexcept {
    if (unix_retrying_.empty()) return no_deadline;
    clock::time_point next = no_deadline;
    const clock::time_point now = detail::system::now();
    const auto is_done = [&](std::uint32_t tag) {
        socket_state& one = socket(tag);
        unix_part& part = *one.as_unix;
        const detail::unix_send_queue& queue = part.queue;
        if (queue.next_retry() <= now) flush(one);
        const bool is_closing = endpoints_[one.endpoint]->is_closing;
        if (is_closing && !queue.is_empty()) bound_closing(one);
        part.is_retrying =
            !one.is_leaving && (queue.is_holding() || (is_closing && !queue.is_empty()));
        if (part.is_retrying) next = std::min({next, queue.next_retry(), part.give_up_at});
        return !part.is_retrying;
    };
    std::erase_if(unix_retrying_, is_done);
    return next;
}

}  // namespace quoit
