// SPDX-License-Identifier: MIT
#include <quoit/acceptor.hpp>

#include <quoit/spawn.hpp>

#include <utility>

namespace quoit {

// --- udp_connection ---

udp_connection& udp_connection::operator=(udp_connection&& other) noexcept {
    if (this != &other) {
        close();
        peer_ = std::move(other.peer_);
    }
    return *this;
}

// --- udp_acceptor ---

udp_acceptor::udp_acceptor(udp_server server, peer_options options)
    : core_(new detail::acceptor_core(std::move(server), options)) {}

udp_acceptor& udp_acceptor::operator=(udp_acceptor&& other) noexcept {
    if (this != &other) {
        if (core_) core_->abandon();
        core_ = std::move(other.core_);
    }
    return *this;
}

udp_acceptor::~udp_acceptor() {
    if (core_) core_->abandon();
}

address udp_acceptor::local_address() const noexcept {
    return core_ ? core_->server().local_address() : address();
}

std::span<const address> udp_acceptor::local_addresses() const noexcept {
    return core_ ? core_->server().local_addresses() : std::span<const address>();
}

void udp_acceptor::close() noexcept {
    if (core_) core_->server().close();
}

bool udp_acceptor::is_closing() const noexcept { return !core_ || core_->server().is_closing(); }

detail::closed_operation udp_acceptor::wait_closed() noexcept {
    return core_ ? core_->server().wait_closed() : detail::closed_operation(nullptr);
}

peer_stats udp_acceptor::peers() const noexcept {
    return core_ ? core_->table().stats() : peer_stats();
}

quoit::stats udp_acceptor::stats() const {
    return core_ ? core_->server().stats() : quoit::stats();
}

namespace detail {

// --- acceptor_core ---

// Keeps the acceptor, and ends it when it goes: a parameter of receive(), so that nobody waits for
// peers when that was dropped, or cancelled with its loop's main task.
class acceptor_core::receiving {
  public:
    explicit receiving(counted_ptr<acceptor_core> of) noexcept : of_(std::move(of)) {}
    receiving(receiving&&) noexcept = default;
    ~receiving() {
        if (of_) of_->end();
    }
    acceptor_core* operator->() const noexcept { return of_.get(); }

  private:
    counted_ptr<acceptor_core> of_;
};

acceptor_core::acceptor_core(udp_server server, const peer_options& options)
    : server_(std::move(server)), table_(new peer_table(options)) {
    table_->set_server(&server_);
    table_->set_host(this);
}

acceptor_core::~acceptor_core() {
    table_->set_host(nullptr);
    table_->set_server(nullptr);
    while (peer* const one = backlog_.pop_front())
        one->release();
}

status acceptor_core::start() {
    if (is_started_) return {};
    if (status valid = check(table_->options()); !valid) return valid;
    static_cast<void>(spawn(receive(receiving(counted_ptr<acceptor_core>(this)))));
    is_started_ = true;
    return {};
}

void acceptor_core::abandon() noexcept {
    table_->close_all();
    server_ = udp_server();
    waiting_.end();
    // Who was not accepted is let go, except for those that somebody has been woken for.
    while (waiting_.has_free())
        static_cast<void>(take());
}

task<> acceptor_core::receive(receiving self) {
    for (;;) {
        result<datagram> received = co_await self->server_.read();
        if (received) {
            self->table_->push(*std::move(received));
        } else if (received.error() == errc::closed || received.error() == errc::canceled) {
            break;
        }
    }
}

void acceptor_core::end() noexcept {
    server_.close();
    table_->close_all();
    waiting_.end();
}

void acceptor_core::came(peer& one) {
    one.set_attended(true);
    one.retain();
    backlog_.push_back(one);
    waiting_.added();
}

// One that nobody has accepted yet is not offered any more, unless somebody was woken for each that
// is there.
void acceptor_core::forgotten(peer& one) noexcept {
    auto& listed = static_cast<chain_link<in_backlog>&>(one);
    if (!listed.is_linked() || !waiting_.has_free()) return;
    listed.unlink();
    waiting_.removed();
    one.release();
}

counted_ptr<peer> acceptor_core::take() noexcept {
    peer* const first = backlog_.pop_front();
    const counted_ptr<peer> taken(first);
    first->release();
    waiting_.removed();
    return taken;
}

}  // namespace detail

}  // namespace quoit
