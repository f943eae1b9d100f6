// SPDX-License-Identifier: MIT
#include "polled_packets.hpp"

#include "loop_core.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <system_error>

#include <unistd.h>

namespace quoit::detail {

namespace {

constexpr std::chrono::seconds closing_time_max{1};
/// Sockets beside those of peers: the listening ones.
constexpr std::uint32_t listeners_max = 64;
/// What loop_options::socket_count_max can be.
constexpr std::uint32_t sockets_limit = 32'768;

}  // namespace

polled_loop::polled_loop(const packet_options& options) : options_(options), process_(::getpid()) {}

polled_loop::~polled_loop() = default;

bool polled_loop::is_forked() const noexcept { return ::getpid() != process_; }

void polled_loop::let_go_of_thread() noexcept {
    if (loop_) loop_access::core(*loop_).get_port().let_go_of_thread();
}

status polled_loop::start(const std::function<status(quoit::loop&)>& open) {
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
    struct thread_guard {
        polled_loop& of;
        ~thread_guard() { of.let_go_of_thread(); }
    } const letting_go{*this};
    try {
        const loop_core::scope entered(loop_access::core(*loop_));
        turn(wait, caller::update);
    } catch (const std::system_error& failed) {
        return failed.code();
    }
    return state_of_connection();
}

void polled_loop::turn(time_limit wait, caller who) {
    bool may_wait = !wait.is_poll();
    {
        const std::scoped_lock lock(queues_);
        is_waiting_ = true;  // what is written from here on wakes the turn, and so does close()
        if (who == caller::update && !is_open()) may_wait = false;
    }
    send();
    // What a bound kept back is here already, and nothing would end the wait.
    if (receive()) may_wait = false;
    auto until = may_wait ? wait.deadline(std::chrono::steady_clock::now()) : port::at_once;
    // Of a connection that is over nothing will end the wait.
    const bool is_over = who == caller::update && !state_of_connection();
    if (is_over && until == port::no_deadline) until = port::at_once;
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
    {
        const std::scoped_lock lock(queues_);
        is_open_.store(false, std::memory_order_relaxed);
    }
    try {
        wake_if_waiting();
    } catch (const std::exception&) {
        // No memory to wake it: whoever is in update() waits as long as it was told to.
    }
    const std::scoped_lock lock(turning_);
    if (!loop_) return;
    try {
        close_in_turns();
    } catch (const std::exception&) {
        // There was no memory to do it well.
    }
    {
        const loop_core::scope entered(loop_access::core(*loop_));
        end();
    }
    loop_.reset();
}

// What was written goes out, then the end, and the peers may read it all before the descriptors are
// closed: closing one with something unread would reset the connection.
void polled_loop::close_in_turns() {
    const loop_core::scope entered(loop_access::core(*loop_));
    const auto give_up_at = std::chrono::steady_clock::now() + closing_time_max;
    const auto is_over = [&] { return std::chrono::steady_clock::now() >= give_up_at; };
    send();
    loop_access::core(*loop_).get_port().flush();
    while (has_unsent() && !is_over())
        turn(give_up_at, caller::close);
    forget_bounds();
    receive();
    begin_closing();
    while (!is_closed() && !is_over())
        turn(give_up_at, caller::close);
    receive();
}

std::size_t polled_loop::size_of(const shared_bytes& body) const noexcept {
    return packet_header_size(options_.framing) + body.size();
}

status polled_loop::check(std::size_t body_size) const noexcept {
    if (!is_open()) return errc::closed;
    if (body_size > options_.packet_size_max) return errc::message_too_long;
    return {};
}

}  // namespace quoit::detail
