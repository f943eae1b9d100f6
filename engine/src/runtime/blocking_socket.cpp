// SPDX-License-Identifier: MIT
#include "runtime/blocking_implementation.hpp"

#include "net/control_message.hpp"
#include "net/system.hpp"
#include "runtime/open_sockets.hpp"
#include "runtime/socket_options.hpp"

#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

namespace quoit::detail {

namespace {

// Every message is copied out of the one buffer there is, so trains would only have to be cut.
udp_options without_offload(const address& /*where*/, udp_options options) noexcept {
    options.offload = offload::off;
    return options;
}

// Of a server: each datagram says where it was sent to, where an answer needs to know.
udp_options of_server(const address& where, udp_options options) noexcept {
    if (needs_destinations(where, options)) {
        options.received_metadata = options.received_metadata | metadata::local_address;
    }
    return without_offload(where, options);
}

// As the standard's, which asks the clock in its own way afterwards: every look at the clock is
// net/system.hpp's. False: the time is up. pthread_cond_clockwait(3) is there since glibc 2.30.
bool wait_until(std::condition_variable& is_so, std::unique_lock<std::mutex>& lock,
                time_limit::time_point deadline) noexcept {
    using namespace std::chrono;
    const auto since_boot = deadline.time_since_epoch();
    const auto whole = floor<seconds>(since_boot);
    const timespec at{.tv_sec = static_cast<time_t>(whole.count()),
                      .tv_nsec = static_cast<long>(nanoseconds(since_boot - whole).count())};
    return pthread_cond_clockwait(is_so.native_handle(), lock.mutex()->native_handle(),
                                  CLOCK_MONOTONIC, &at) != ETIMEDOUT;
}

// Where a received message lies in the buffer: name, control data, payload.
message_layout layout_of(const address& local, const udp_options& options) noexcept {
    const bool is_v6 = local.family() == family::ipv6;
    const metadata wanted = of_server(local, options).received_metadata;  // enough for clients
    return {.name_size = static_cast<std::uint16_t>(is_v6 ? 32 : 16),
            .control_size = control_size_for(local.family(), wanted, false)};
}

}  // namespace

std::error_code wait_for(std::span<pollfd> any, time_limit::time_point deadline) noexcept {
    const bool is_limited = deadline != time_limit::time_point::max();
    if (is_limited && system::now() >= deadline) return errc::timed_out;
    const timespec left = is_limited ? system::time_until(deadline) : timespec();
    const int count = system::poll_several(any, is_limited ? &left : nullptr);
    if (count == 0) return errc::timed_out;
    return count > 0 || count == -EINTR ? std::error_code() : system_error(-count);
}

// --- gates ---

blocking_implementation::turn::turn(blocking_implementation& of, gate& through, time_point deadline)
    : of_(of), through_(through) {
    std::unique_lock lock(of_.mutex_);
    const auto may_enter = [&] { return !through_.is_taken || of_.is_closing(); };
    if (deadline == time_point::max()) {
        through_.is_free.wait(lock, may_enter);
    } else {
        // Who is notified as its time passes finds the gate free and goes through: no wake-up
        // is lost on somebody who gives up.
        while (!may_enter() && wait_until(through_.is_free, lock, deadline)) {
        }
    }
    is_inside_ = !through_.is_taken && !of_.is_closing();
    if (is_inside_) through_.is_taken = true;
}

blocking_implementation::turn::~turn() {
    if (!is_inside_) return;
    const std::scoped_lock lock(of_.mutex_);
    through_.is_taken = false;
    through_.is_free.notify_one();
    if (of_.is_closing()) of_.shut_if_nobody_is_inside();
}

// --- life ---

blocking_implementation::blocking_implementation(std::vector<udp_socket> sockets,
                                                 std::optional<address> peer,
                                                 const udp_options& options)
    : options_(with_defaults(options)), sockets_(std::move(sockets)),
      allows_broadcast_(options.broadcast) {
    rules_.peer = peer;
    std::uint32_t offset_max = 0;
    for (const udp_socket& one : sockets_) {
        locals_.push_back(one.local());
        layouts_.push_back(layout_of(one.local(), options_));
        offset_max = std::max(offset_max, layouts_.back().payload_offset());
        polled_.push_back({.fd = one.descriptor(), .events = POLLIN, .revents = 0});
        rules_.has_ipv4 = rules_.has_ipv4 || one.local().family() == family::ipv4;
        rules_.has_ipv6 = rules_.has_ipv6 || one.local().family() == family::ipv6;
    }
    buffer_ = std::make_unique_for_overwrite<std::byte[]>(std::size_t{offset_max} +
                                                          options_.payload_size_max);
}

result<void> blocking_implementation::prepare() {
    for (gate* const one : {&receiving_, &sending_}) {
        const int fd = system::event_open();
        if (fd < 0) return failure(system_error(-fd), "eventfd");
        one->event = file_descriptor(fd);
    }
    polled_.push_back({.fd = receiving_.event.get(), .events = POLLIN, .revents = 0});
    return {};
}

void blocking_implementation::close() noexcept {
    if (fork_watch_.is_forked()) return;  // filter and eventfds are the parent's too
    const std::scoped_lock lock(mutex_);
    if (is_closing()) return;
    is_closing_.store(true, std::memory_order_release);  // pairs with is_closing()
    has_news_.store(true, std::memory_order_release);    // pairs with receive_behind_gate()
    for (gate* const one : {&receiving_, &sending_}) {
        if (one->event.is_open()) system::event_raise(one->event.get());
        one->is_free.notify_all();
    }
    shut_if_nobody_is_inside();
}

void blocking_implementation::shut_if_nobody_is_inside() noexcept {
    if (is_shut_ || receiving_.is_taken || sending_.is_taken) return;
    is_shut_ = true;
    for (udp_socket& one : sockets_) {
        const udp_socket::drained drained = one.drain_and_close();
        ledger_.received.taken += drained.datagrams;
        ledger_.received.dropped.late += drained.datagrams;
        ledger_.received.dropped.kernel_packets += drained.kernel_drops;
    }
    receiving_.event.reset();
    sending_.event.reset();
}

// --- what is ---

int blocking_implementation::descriptor() const noexcept {
    const std::scoped_lock lock(mutex_);
    return is_closing() ? -1 : sockets_.front().descriptor();
}

buffer_sizes blocking_implementation::buffers() const {
    const std::scoped_lock lock(mutex_);
    return is_closing() ? buffer_sizes() : sockets_.front().buffers();
}

status blocking_implementation::set_broadcast(bool allowed) noexcept {
    const std::scoped_lock lock(mutex_);
    if (is_closing()) return errc::closed;
    for (udp_socket& one : sockets_) {
        if (status done = one.set_broadcast(allowed); !done) return done;
    }
    allows_broadcast_.store(allowed, std::memory_order_relaxed);
    return {};
}

bool blocking_implementation::broadcast() const noexcept {
    const std::scoped_lock lock(mutex_);
    return !is_closing() && sockets_.front().broadcast();
}

quoit::stats blocking_implementation::stats() const {
    const std::scoped_lock lock(mutex_);
    quoit::stats now = ledger_;
    now.received.waiting = early_datagrams_;
    if (!is_shut_) {
        for (const udp_socket& one : sockets_)
            now.received.dropped.kernel_packets += one.kernel_drops();
    }
    return now;
}

// --- opening ---

namespace {

blocking_socket::opened make(std::vector<udp_socket> sockets, std::optional<address> peer,
                             const udp_options& options) {
    auto made = std::make_shared<blocking_implementation>(std::move(sockets), peer, options);
    if (auto prepared = made->prepare(); !prepared) return std::unexpected(prepared.error());
    return made;
}

}  // namespace

blocking_socket::opened blocking_socket::listen(std::span<const address> where,
                                                const udp_options& options) {
    if (auto checked = check(options); !checked) return std::unexpected(checked.error());
    auto sockets = listen_on_all(where, options, of_server);
    if (!sockets) return std::unexpected(sockets.error());
    return make(*std::move(sockets), std::nullopt, options);
}

blocking_socket::opened blocking_socket::listen_on_every_interface(std::uint16_t port_number,
                                                                   const udp_options& options) {
    if (auto checked = check(options); !checked) return std::unexpected(checked.error());
    auto sockets = detail::listen_on_every_interface(port_number, options, of_server);
    if (!sockets) return std::unexpected(sockets.error());
    return make(*std::move(sockets), std::nullopt, options);
}

blocking_socket::opened blocking_socket::connect(const address& peer, const udp_options& options) {
    if (auto checked = check(options); !checked) return std::unexpected(checked.error());
    auto connected = connect_to(peer, options, without_offload);
    if (!connected) return std::unexpected(connected.error());
    const address connected_to = connected->peer().value_or(peer);
    std::vector<udp_socket> sockets;
    sockets.push_back(*std::move(connected));
    return make(std::move(sockets), connected_to, options);
}

}  // namespace quoit::detail
