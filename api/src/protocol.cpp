// SPDX-License-Identifier: MIT
#include <quoit/protocol.hpp>

#include "collective_openings.hpp"
#include "udp_access.hpp"

#include <cstdint>
#include <exception>
#include <span>
#include <string>
#include <utility>

namespace quoit {

namespace detail {

// A protocol and the socket it listens on; kept by the handle and by the task that calls it.
class protocol_session {
  public:
    protocol_session(loop_core& core, std::shared_ptr<datagram_protocol> protocol,
                     udp_server socket)
        : core_(core), protocol_(std::move(protocol)), socket_(std::move(socket)) {}
    protocol_session(const protocol_session&) = delete;
    protocol_session& operator=(const protocol_session&) = delete;

    void retain() noexcept { ++references_; }
    void release() noexcept {
        if (--references_ == 0) delete this;
    }

    [[nodiscard]] static bool is_used(const datagram_protocol& protocol) noexcept {
        return protocol.transport_ != nullptr;
    }
    void start() {
        protocol_->transport_ = &socket_;
        call("started()", [this] { protocol_->started(); });
    }
    // Keeps the session, and calls stopped() when it goes. A parameter of drive(), so that it does
    // so even when that is dropped before it has begun.
    class stopping {
      public:
        explicit stopping(counted_ptr<protocol_session> of) noexcept : of_(std::move(of)) {}
        stopping(stopping&&) noexcept = default;
        ~stopping() {
            if (of_) of_->stop();
        }
        protocol_session* operator->() const noexcept { return of_.get(); }

      private:
        counted_ptr<protocol_session> of_;
    };
    [[nodiscard]] static task<> drive(stopping self);

    [[nodiscard]] udp_server& socket() noexcept { return socket_; }
    [[nodiscard]] std::uint64_t failure_count() const noexcept { return failures_; }

  private:
    ~protocol_session() = default;

    template <class Callback>
    void call(std::string_view name, Callback callback) noexcept {
        try {
            callback();
        } catch (...) {
            ++failures_;
            core_.log_failure("a callback", name, std::current_exception());
        }
    }
    void stop() noexcept {
        socket_.close();
        call("stopped()", [this] { protocol_->stopped(); });
        protocol_->transport_ = nullptr;
        protocol_.reset();
    }
    void deliver(result<datagram>& received);

    loop_core& core_;
    std::shared_ptr<datagram_protocol> protocol_;
    udp_server socket_;
    std::uint64_t failures_ = 0;
    std::uint32_t references_ = 0;
};

void protocol_session::deliver(result<datagram>& received) {
    if (received) {
        const address from = received->peer();
        try {
            protocol_->datagram_received(*received);
        } catch (...) {
            ++failures_;
            core_.log_failure("a callback", "datagram_received() of " + from.to_string(),
                              std::current_exception());
        }
    } else if (received.error() == std::errc::connection_refused) {
        call("connection_refused()", [this] { protocol_->connection_refused(); });
    } else {
        call("error_received()", [&] { protocol_->error_received(received.error()); });
    }
}

task<> protocol_session::drive(stopping self) {
    for (;;) {
        result<datagram> received = co_await self->socket_.read();
        if (!received && (received.error() == errc::closed || received.error() == errc::canceled)) {
            break;
        }
        self->deliver(received);
    }
    self->socket_.close();
    static_cast<void>(co_await self->socket_.wait_closed());
    // On a turn of its own, whatever closed the socket.
    static_cast<void>(co_await sleep(std::chrono::nanoseconds(0)));
}

namespace {

result<protocol_port> start_protocol(loop& on, result<endpoint_id> opened,
                                     std::shared_ptr<datagram_protocol> protocol) {
    if (!opened) return std::unexpected(opened.error());
    loop_core& core = loop_access::core(on);
    const counted_ptr session(new protocol_session(core, std::move(protocol),
                                                   udp_access::make<udp_server>(core, *opened)));
    protocol_session::stopping started(session);
    session->start();
    static_cast<void>(on.spawn(protocol_session::drive(std::move(started))));
    return protocol_port(session);
}

status check(const std::shared_ptr<datagram_protocol>& protocol) {
    if (protocol == nullptr) return failure(errc::invalid_option, "a protocol of null");
    if (protocol_session::is_used(*protocol)) {
        return failure(errc::already_running, "a protocol that listens already");
    }
    return {};
}

}  // namespace

}  // namespace detail

udp_socket& datagram_protocol::transport() noexcept {
    if (transport_ == nullptr) {
        detail::misused("a protocol's transport was used before started() or after stopped()");
    }
    return *transport_;
}

// --- protocol_port ---

protocol_port::protocol_port() noexcept = default;
protocol_port::protocol_port(detail::counted_ptr<detail::protocol_session> session) noexcept
    : session_(std::move(session)) {}
protocol_port::protocol_port(protocol_port&& other) noexcept = default;
protocol_port::~protocol_port() { close(); }

protocol_port& protocol_port::operator=(protocol_port&& other) noexcept {
    if (this != &other) {
        close();
        session_ = std::move(other.session_);
    }
    return *this;
}

address protocol_port::local_address() const noexcept {
    return session_ ? session_->socket().local_address() : address();
}

quoit::stats protocol_port::stats() const {
    return session_ ? session_->socket().stats() : quoit::stats();
}

std::uint64_t protocol_port::failure_count() const noexcept {
    return session_ ? session_->failure_count() : 0;
}

void protocol_port::close() noexcept {
    if (session_) session_->socket().close();
}

bool protocol_port::is_closing() const noexcept {
    return !session_ || session_->socket().is_closing();
}

detail::closed_operation protocol_port::wait_closed() noexcept {
    return session_ ? session_->socket().wait_closed() : detail::closed_operation(nullptr);
}

udp_socket& protocol_port::transport() noexcept {
    if (!session_) detail::misused("the transport of no protocol");
    return session_->socket();
}

// --- loop ---

result<protocol_port> loop::listen_udp(const address& where,
                                       std::shared_ptr<datagram_protocol> protocol,
                                       const udp_options& options) {
    if (status usable = detail::check(protocol); !usable) return std::unexpected(usable.error());
    port& on = core_->get_port();
    const std::span all(&where, 1);
    auto claimed = detail::claim_opening(*core_, options);
    result<endpoint_id> opened = failure(errc::closed);
    if (claimed) {
        opened = claimed.open(on, "listen " + where.to_string(), all, [&](const auto& how) {
            return socket_group::open(all, options, how);
        });
    } else {
        opened = on.open(all, options);
    }
    return detail::start_protocol(*this, std::move(opened), std::move(protocol));
}

result<protocol_port> loop::adopt_udp(int descriptor, ownership how,
                                      std::shared_ptr<datagram_protocol> protocol,
                                      const udp_options& options) {
    // The descriptor first: with ownership::take it is ours, whatever the protocol is.
    const result<endpoint_id> adopted = core_->get_port().adopt(descriptor, how, options);
    if (!adopted) return std::unexpected(adopted.error());
    if (status usable = detail::check(protocol); !usable) {
        core_->get_port().release(*adopted);
        return std::unexpected(usable.error());
    }
    return detail::start_protocol(*this, adopted, std::move(protocol));
}

}  // namespace quoit
