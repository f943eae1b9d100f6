// SPDX-License-Identifier: MIT
#include <quoit/detail/allowed_cpus.hpp>
#include <quoit/port.hpp>

#include "base/assert.hpp"
#include "net/segmentation.hpp"
#include "net/system.hpp"
#include "runtime/check_options.hpp"
#include "runtime/port_implementation.hpp"
#include "runtime/port_packets.hpp"
#include "runtime/socket_group.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>

namespace quoit {

namespace {

using detail::endpoint_state;

// Once per process: every loop would say the same.
void log_fallback(const loop_options& options, const capabilities& chosen) {
    static std::atomic<bool> is_logged{false};
    // What was built without io_uring has nothing to fall back from.
    if (!QUOIT_HAS_IO_URING) return;
    if (options.backend != backend::automatic || chosen.reason.empty()) return;
    if (is_logged.exchange(true, std::memory_order_relaxed)) return;
    options.log(log_level::warning, "running on epoll: " + chosen.reason);
}

// Memory was short: a limit that was asked for is not what is in force.
void log_halved(const loop_options& options, const detail::worker& made) {
    const std::uint32_t small = made.pool(detail::buffer_class::small).count();
    const std::uint32_t large = made.pool(detail::buffer_class::large).count();
    if (small == options.small_buffer_count && large == options.large_buffer_count) return;
    options.log(log_level::warning, "RLIMIT_MEMLOCK allows " + std::to_string(small) +
                                        " small and " + std::to_string(large) +
                                        " large receive buffers only");
}

// Threads that spin on fewer CPUs only keep each other from working.
waiting waiting_for(const loop_options& options, std::size_t cpu_count) {
    const std::size_t threads = options.worker_count + std::size_t{1};
    if (options.waiting == waiting::block || cpu_count == 0 || threads <= cpu_count) {
        return options.waiting;
    }
    options.log(log_level::warning, "busy_poll needs " + std::to_string(threads) +
                                        " CPUs and this process may use " +
                                        std::to_string(cpu_count) + ": its threads sleep instead");
    return waiting::block;
}

}  // namespace

void log_to_standard_error(log_level level, std::string_view line) noexcept {
    if (level < log_level::warning) return;
    std::fprintf(stderr, "quoit: %.*s\n", static_cast<int>(line.size()), line.data());
}

// --- the implementation's life ---

port::implementation::implementation(const loop_options& options)
    : options_(options), packets_(std::make_unique<packets>(*this)) {}

result<std::unique_ptr<port::implementation>> port::implementation::create(
    const loop_options& options) {
    if (auto checked = detail::check(options); !checked) return std::unexpected(checked.error());
    std::unique_ptr<implementation> made(new implementation(options));
    auto waker = detail::port_waker::create();
    if (!waker) return std::unexpected(waker.error());
    made->waker_ = *std::move(waker);

    const auto allowed = detail::allowed_cpus();
    auto cpus = options.worker_pinning == pinning::spread ? allowed : std::vector<int>();
    made->options_.waiting = waiting_for(options, allowed.size());
    // Two that spin on one CPU would each wait for the other's time slice to end.
    if (made->options_.waiting == waiting::busy_poll) std::erase(cpus, options.cpu);
    const std::uint32_t count = std::max(options.worker_count, 1U);
    // Threads that spin have nothing to wait for, and a ring is a way of waiting.
    const bool prefers_epoll =
        options.backend == backend::automatic && made->options_.waiting == waiting::busy_poll;
    for (std::uint32_t i = 0; i < count; ++i) {
        auto worker = detail::worker::create(
            {.backend = prefers_epoll ? backend::epoll : options.backend,
             .buffer_counts = {options.small_buffer_count, options.large_buffer_count,
                               detail::stream_buffer_count},
             .socket_count_max = options.socket_count_max,
             .is_threaded = options.worker_count > 0,
             .cpu = cpus.empty() ? -1 : cpus[i % cpus.size()],
             .waiting = made->options_.waiting,
             .spin_time = options.spin_time,
             .napi_busy_poll_us = static_cast<std::uint32_t>(options.napi_busy_poll.count())},
            *made, *made->waker_);
        if (!worker) return std::unexpected(worker.error());
        made->workers_.push_back(*std::move(worker));
    }
    const detail::offload_support offloads = detail::find_offload_support();
    made->capabilities_ = made->workers_.front()->about();
    made->capabilities_.segmentation_offload = offloads.has_segment;
    made->capabilities_.receive_offload = offloads.has_gro;
    if (prefers_epoll) {
        made->capabilities_.reason =
            "busy_poll asks the sockets themselves, which is faster than a ring; where a ring can "
            "be "
            "had, naming it gets it: backend::io_uring";
    }
    const bool never_sleeps =
        made->options_.waiting == waiting::busy_poll && options.spin_time.count() == 0;
    made->capabilities_.napi_busy_poll = made->capabilities_.napi_busy_poll && !never_sleeps;
    made->capabilities_.busy_poll = made->options_.waiting == waiting::busy_poll;
    made->sockets_per_pool_.resize(count * detail::buffer_class_count);
    for (const auto& worker : made->workers_) {
        log_fallback(options, worker->about());
        log_halved(options, *worker);
    }
    for (const auto& worker : made->workers_)
        worker->start();
    return made;
}

port::implementation::~implementation() {
    if (workers_.empty() || is_forked()) {
        // A child's copy: the ring is its parent's, and must not be spoken to.
        for (auto& worker : workers_) [[maybe_unused]]
            auto* leaked = worker.release();
        return;
    }
    QUOIT_ASSERT(is_called_from_its_thread(), "a port was destroyed by a foreign thread");
    flush();
    for (const auto& worker : workers_)
        static_cast<void>(worker->flush_orders());
    // From here on the kernel has no buffer and no descriptor of ours; what was on its way to us is
    // counted as late and given back.
    for (auto& endpoint : endpoints_) {
        if (endpoint) endpoint->is_closing = true;
    }
    packets_->shut();
    finish_unix_sockets();
    for (const auto& worker : workers_)
        worker->stop();
    drain_workers();
    for (auto& one : sockets_) {
        if (one && one->as_unix) one->as_unix->binding.unlink();
        if (one) one->socket.drain_and_close();
    }
    packets_.reset();
    // Before the pools go: inboxes and send queues hold leases.
    endpoints_.clear();
    sockets_.clear();
}

// --- the ledger ---

quoit::stats port::implementation::stats_of(const endpoint_state& endpoint) const {
    quoit::stats now = endpoint.ledger;
    const auto& inbox = endpoint.received.counted();
    now.received.passed = inbox.passed;
    now.received.delivered = inbox.delivered;
    now.received.dropped.queue_full = inbox.dropped_full;
    now.received.dropped.abandoned = inbox.abandoned;
    now.received.waiting = endpoint.received.datagram_count();
    for (const std::uint32_t tag : endpoint.sockets) {
        const detail::socket_state& one = *sockets_[tag];
        now.received.taken += one.shared.taken.get();
        if (one.socket.is_open()) {
            now.received.dropped.kernel_packets += one.socket.kernel_drops();
        }
        now.sent.waiting += one.queued_count();
        now.leases_held += one.owner->pool(one.shared.options.pool).leased_by(tag);
    }
    return now;
}

status port::implementation::set_broadcast(endpoint_state& endpoint, bool allowed) {
    if (is_forked()) return errc::forked;
    for (const std::uint32_t tag : endpoint.sockets) {
        if (status set = socket(tag).socket.set_broadcast(allowed); !set) return set;
    }
    endpoint.allows_broadcast = allowed;
    return {};
}

quoit::stats port::implementation::stats_of_all() const {
    quoit::stats sum = released_;
    for (const auto& endpoint : endpoints_) {
        if (endpoint) sum += stats_of(*endpoint);
    }
    sum.leases_held = engine_stats().buffers_held;
    return sum;
}

quoit::engine_stats port::implementation::engine_stats() const noexcept {
    quoit::engine_stats sum;
    for (const auto& worker : workers_)
        sum += worker->stats();
    sum.system_calls += system_calls_.get();
    sum.wakeups += wakeups_.get();
    return sum;
}

// --- quoit/port.hpp ---

port::port(std::unique_ptr<implementation> made) noexcept : implementation_(std::move(made)) {}
port::port(port&&) noexcept = default;
port& port::operator=(port&&) noexcept = default;
port::~port() = default;

result<port> port::create(const loop_options& options) {
    auto made = implementation::create(options);
    if (!made) return std::unexpected(made.error());
    return port(*std::move(made));
}

packet_port& port::packets() noexcept { return implementation_->packet_streams(); }
const packet_port& port::packets() const noexcept { return implementation_->packet_streams(); }

result<endpoint_id> port::open(std::span<const address> where, const udp_options& options) {
    return implementation_->open(where, options);
}

result<endpoint_id> port::open(socket_group& group, std::size_t member) {
    return implementation_->open(*group.implementation_, member);
}

result<endpoint_id> port::open_every_interface(std::uint16_t port_number,
                                               const udp_options& options) {
    return implementation_->open_every_interface(port_number, options);
}

result<endpoint_id> port::open_connection(const address& peer, const udp_options& options) {
    return implementation_->open_connection(peer, options);
}

void port::close(endpoint_id endpoint) noexcept {
    if (auto* const found = implementation_->find(endpoint)) implementation_->close(*found);
}

void port::abort(endpoint_id endpoint) noexcept {
    if (auto* const found = implementation_->find(endpoint)) implementation_->abort(*found);
}

void port::release(endpoint_id endpoint) noexcept {
    if (auto* const found = implementation_->find(endpoint)) implementation_->release(*found);
}

bool port::is_closing(endpoint_id endpoint) const noexcept {
    const auto* const found = implementation_->find(endpoint);
    return found == nullptr || found->is_closing;
}

bool port::is_closed(endpoint_id endpoint) const noexcept {
    const auto* const found = implementation_->find(endpoint);
    return found == nullptr || found->is_closed;
}

result<std::size_t> port::turn(clock::time_point deadline, port_events& events) {
    return implementation_->turn(deadline, events);
}

void port::wake() noexcept { implementation_->wake(); }

result<int> port::descriptor() { return implementation_->descriptor(); }
void port::prepare_to_wait(clock::time_point deadline) {
    implementation_->prepare_to_wait(deadline);
}

bool port::is_called_from_its_thread() const noexcept {
    return implementation_->is_called_from_its_thread();
}

void port::let_go_of_thread() noexcept { implementation_->let_go_of_thread(); }

namespace {

// Apart, so that receive() is short where there is a datagram.
[[gnu::noinline, gnu::cold]] error why_no_datagram(endpoint_state* endpoint) {
    if (endpoint == nullptr) return errc::closed;
    detail::inbox& received = endpoint->received;
    if (received.readable_count() == 0) {
        return endpoint->is_closing ? errc::closed : errc::would_block;
    }
    const int refusal = received.front_error();
    received.pop_error();
    return std::error_code(refusal, std::system_category());
}

}  // namespace

result<datagram> port::receive(endpoint_id endpoint) {
    auto* const found = implementation_->find(endpoint);
    if (found == nullptr || !found->received.has_datagram_in_front()) {
        return std::unexpected(why_no_datagram(found));
    }
    const detail::inbox::popped one = found->received.take_front();
    return result<datagram>(std::in_place, one.pool, one.buffer, one.first, one.offset, one.size,
                            one.original_size);
}

status port::receive_batch(endpoint_id endpoint, std::size_t size_max, datagram_batch& into) {
    auto* const found = implementation_->find(endpoint);
    if (found == nullptr) return errc::closed;
    detail::inbox& received = found->received;
    if (received.readable_count() == 0) {
        return found->is_closing ? errc::closed : errc::would_block;
    }
    if (const int refusal = received.front_error(); refusal != 0) {
        received.pop_error();
        return std::error_code(refusal, std::system_category());
    }
    std::size_t left = size_max;
    while (left > 0 && received.datagram_count() > 0 && received.front_error() == 0) {
        train next = received.pop_train(
            static_cast<std::uint32_t>(std::min<std::size_t>(left, ~std::uint32_t{0})));
        left -= next.size();
        into.append(std::move(next));
    }
    return {};
}

std::size_t port::readable_count(endpoint_id endpoint) const noexcept {
    const auto* const found = implementation_->find(endpoint);
    return found == nullptr ? 0 : found->received.readable_count();
}

status port::sendto(endpoint_id endpoint, std::span<const byte_view> pieces, const address& to) {
    auto* const found = implementation_->find(endpoint);
    if (found == nullptr) return errc::closed;
    return implementation_->send(*found, pieces, &to);
}

status port::send(endpoint_id endpoint, std::span<const byte_view> pieces) {
    auto* const found = implementation_->find(endpoint);
    if (found == nullptr) return errc::closed;
    return implementation_->send(*found, pieces, nullptr);
}

status port::send(endpoint_id endpoint, datagram&& received) {
    // Read before the datagram is taken over.
    return sendto(endpoint, std::move(received), received.view().fields().peer);
}

status port::sendto(endpoint_id endpoint, datagram&& received, const address& to) {
    auto* const found = implementation_->find(endpoint);
    if (found == nullptr) return errc::closed;
    return implementation_->send(*found, std::move(received), &to);
}

status port::try_sendto(endpoint_id endpoint, byte_view payload, const address& to) {
    auto* const found = implementation_->find(endpoint);
    if (found == nullptr) return errc::closed;
    return implementation_->try_send(*found, std::span(&payload, 1), &to);
}

status port::try_send(endpoint_id endpoint, byte_view payload) {
    auto* const found = implementation_->find(endpoint);
    if (found == nullptr) return errc::closed;
    return implementation_->try_send(*found, std::span(&payload, 1), nullptr);
}

status port::reply(endpoint_id endpoint, const datagram_view& to, byte_view payload) {
    auto* const found = implementation_->find(endpoint);
    if (found == nullptr) return errc::closed;
    const address peer = to.peer();
    return implementation_->send(*found, std::span(&payload, 1), &peer, &to.fields());
}

result<endpoint_id> port::open_unix(const unix_address& where, const unix_options& options) {
    return implementation_->open_unix(where, options);
}

result<endpoint_id> port::open_unix_connection(const unix_address& peer,
                                               const unix_options& options) {
    return implementation_->open_unix_connection(peer, options);
}

status port::sendto(endpoint_id endpoint, std::span<const byte_view> pieces, const unix_address& to,
                    const ancillary& with) {
    auto* const found = implementation_->find(endpoint);
    if (found == nullptr) return errc::closed;
    return implementation_->send_unix(*found, pieces, &to, with);
}

status port::send(endpoint_id endpoint, std::span<const byte_view> pieces, const ancillary& with) {
    auto* const found = implementation_->find(endpoint);
    if (found == nullptr) return errc::closed;
    return implementation_->send_unix(*found, pieces, nullptr, with);
}

unix_address port::unix_local_address(endpoint_id endpoint) const noexcept {
    const auto* const found = implementation_->find(endpoint);
    const auto* const first = found == nullptr ? nullptr : implementation_->first_socket(*found);
    return first == nullptr || !first->as_unix ? unix_address() : first->as_unix->binding.local();
}

std::optional<unix_address> port::unix_peer_address(endpoint_id endpoint) const noexcept {
    const auto* const found = implementation_->find(endpoint);
    const auto* const first = found == nullptr ? nullptr : implementation_->first_socket(*found);
    return first == nullptr || !first->as_unix ? std::nullopt : first->as_unix->peer;
}

void port::flush() noexcept { implementation_->flush(); }

void port::flush(endpoint_id endpoint) noexcept {
    if (auto* const found = implementation_->find(endpoint)) implementation_->flush(*found);
}

std::size_t port::send_queue_size(endpoint_id endpoint) const noexcept {
    const auto* const found = implementation_->find(endpoint);
    return found == nullptr ? 0 : implementation_->send_queue_size(*found);
}

std::span<const address> port::local_addresses(endpoint_id endpoint) const noexcept {
    const auto* const found = implementation_->find(endpoint);
    return found == nullptr ? std::span<const address>() : found->locals;
}

std::optional<address> port::peer_address(endpoint_id endpoint) const noexcept {
    const auto* const found = implementation_->find(endpoint);
    return found == nullptr ? std::nullopt : found->peer;
}

int port::descriptor(endpoint_id endpoint) const noexcept {
    const auto* const found = implementation_->find(endpoint);
    const auto* const first = found == nullptr ? nullptr : implementation_->first_socket(*found);
    return first == nullptr ? -1 : first->socket.descriptor();
}

udp_options port::options(endpoint_id endpoint) const noexcept {
    const auto* const found = implementation_->find(endpoint);
    return found == nullptr ? udp_options{} : found->options;
}

buffer_sizes port::buffers(endpoint_id endpoint) const {
    const auto* const found = implementation_->find(endpoint);
    const auto* const first = found == nullptr ? nullptr : implementation_->first_socket(*found);
    return first == nullptr || !first->socket.is_open() ? buffer_sizes{} : first->socket.buffers();
}

status port::set_broadcast(endpoint_id endpoint, bool allowed) {
    auto* const found = implementation_->find(endpoint);
    if (found == nullptr || found->is_closing) return errc::closed;
    return implementation_->set_broadcast(*found, allowed);
}

bool port::broadcast(endpoint_id endpoint) const noexcept {
    const auto* const found = implementation_->find(endpoint);
    const auto* const first = found == nullptr ? nullptr : implementation_->first_socket(*found);
    return first != nullptr && first->socket.is_open() && first->socket.broadcast();
}

quoit::stats port::stats(endpoint_id endpoint) const {
    const auto* const found = implementation_->find(endpoint);
    return found == nullptr ? quoit::stats{} : implementation_->stats_of(*found);
}

quoit::stats port::stats() const { return implementation_->stats_of_all(); }

quoit::engine_stats port::engine_stats() const noexcept { return implementation_->engine_stats(); }

const capabilities& port::capabilities() const noexcept { return implementation_->capabilities(); }

const loop_options& port::options() const noexcept { return implementation_->options(); }

}  // namespace quoit
