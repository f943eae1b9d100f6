// SPDX-License-Identifier: MIT
#include <quoit/packet_protocol.hpp>

#include "packet_access.hpp"

#include <cstdint>
#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace quoit {

namespace detail {

// A protocol and the server it listens with; kept by the handle and by the task that calls it.
class packet_session {
  public:
    packet_session(loop_core& core, std::shared_ptr<packet_protocol> protocol, packet_server server)
        : core_(core), protocol_(std::move(protocol)), server_(std::move(server)) {}
    packet_session(const packet_session&) = delete;
    packet_session& operator=(const packet_session&) = delete;

    void retain() noexcept { ++references_; }
    void release() noexcept {
        if (--references_ == 0) delete this;
    }

    [[nodiscard]] static bool is_used(const packet_protocol& protocol) noexcept {
        return protocol.transport_ != nullptr;
    }
    void start() {
        protocol_->transport_ = &server_;
        call([] { return std::string("started()"); }, [this] { protocol_->started(); });
    }
    // Keeps the session, and calls stopped() when it goes. A parameter of drive(), so that it does
    // so even when that is dropped before it has begun.
    class stopping {
      public:
        explicit stopping(counted_ptr<packet_session> of) noexcept : of_(std::move(of)) {}
        stopping(stopping&&) noexcept = default;
        ~stopping() {
            if (of_) of_->stop();
        }
        packet_session* operator->() const noexcept { return of_.get(); }

      private:
        counted_ptr<packet_session> of_;
    };
    [[nodiscard]] static task<> drive(stopping self);

    [[nodiscard]] packet_server& server() noexcept { return server_; }
    [[nodiscard]] std::uint64_t failure_count() const noexcept { return failures_; }

  private:
    ~packet_session() = default;

    template <class Name, class Callback>
    void call(Name name, Callback callback) noexcept {
        try {
            callback();
        } catch (...) {
            ++failures_;
            core_.log_failure("a callback", name(), std::current_exception());
        }
    }
    void stop() noexcept {
        server_.close();
        // What came, and whom that disconnects, if the task was cancelled before it could tell.
        while (auto event = server_.try_next())
            deliver(*event);
        call([] { return std::string("stopped()"); }, [this] { protocol_->stopped(); });
        protocol_->transport_ = nullptr;
        protocol_.reset();
    }
    void deliver(packet_event& event) noexcept;

    loop_core& core_;
    std::shared_ptr<packet_protocol> protocol_;
    packet_server server_;
    std::uint64_t failures_ = 0;
    std::uint32_t references_ = 0;
};

void packet_session::deliver(packet_event& event) noexcept {
    const auto named = [&event](std::string_view callback) {
        return [&event, callback] {
            return std::string(callback) + " of " + event.peer.remote().to_string();
        };
    };
    switch (event.what) {
        case packet_event::kind::connected:
            call(named("connected()"), [&] { protocol_->connected(event.peer); });
            break;
        case packet_event::kind::received:
            call(named("packet_received()"), [&] { protocol_->packet_received(*event.received); });
            break;
        case packet_event::kind::disconnected:
            call(named("disconnected()"),
                 [&] { protocol_->disconnected(event.peer, event.reason); });
            break;
    }
}

task<> packet_session::drive(stopping self) {
    for (;;) {
        result<packet_event> event = co_await self->server_.next();
        if (!event) break;
        self->deliver(*event);
    }
    self->server_.close();
    static_cast<void>(co_await self->server_.wait_closed());
    // On a turn of its own, whatever closed the server.
    static_cast<void>(co_await sleep(std::chrono::nanoseconds(0)));
}

}  // namespace detail

packet_server& packet_protocol::transport() noexcept {
    if (transport_ == nullptr) {
        detail::misused("a protocol's transport was used before started() or after stopped()");
    }
    return *transport_;
}

// --- packet_protocol_port ---

packet_protocol_port::packet_protocol_port() noexcept = default;
packet_protocol_port::packet_protocol_port(
    detail::counted_ptr<detail::packet_session> session) noexcept
    : session_(std::move(session)) {}
packet_protocol_port::packet_protocol_port(packet_protocol_port&& other) noexcept = default;
packet_protocol_port::~packet_protocol_port() { close(); }

packet_protocol_port& packet_protocol_port::operator=(packet_protocol_port&& other) noexcept {
    if (this != &other) {
        close();
        session_ = std::move(other.session_);
    }
    return *this;
}

address packet_protocol_port::local_address() const noexcept {
    return session_ ? session_->server().local_address() : address();
}

packet_stats packet_protocol_port::stats() const {
    return session_ ? session_->server().stats() : packet_stats();
}

std::uint64_t packet_protocol_port::failure_count() const noexcept {
    return session_ ? session_->failure_count() : 0;
}

void packet_protocol_port::close() noexcept {
    if (session_) session_->server().close();
}

bool packet_protocol_port::is_closing() const noexcept {
    return !session_ || session_->server().is_closing();
}

detail::packet_closed_operation packet_protocol_port::wait_closed() noexcept {
    return session_
               ? session_->server().wait_closed()
               : detail::packet_closed_operation(detail::counted_ptr<detail::packet_endpoint>());
}

packet_server& packet_protocol_port::transport() noexcept {
    if (!session_) detail::misused("the transport of no protocol");
    return session_->server();
}

// --- loop ---

result<packet_protocol_port> loop::listen_packets(const address& where,
                                                  std::shared_ptr<packet_protocol> protocol,
                                                  const packet_options& options) {
    using detail::packet_session;
    if (protocol == nullptr) return failure(errc::invalid_option, "a protocol of null");
    if (packet_session::is_used(*protocol)) {
        return failure(errc::already_running, "a protocol that listens already");
    }
    detail::loop_core& core = entered();
    const result<packet_stream_id> opened = core.packets().listen(where, options);
    if (!opened) return std::unexpected(opened.error());
    const detail::counted_ptr session(
        new packet_session(core, std::move(protocol),
                           detail::packet_access::make(core, std::span(&*opened, 1), options)));
    packet_session::stopping started(session);
    session->start();
    static_cast<void>(spawn(packet_session::drive(std::move(started))));
    return packet_protocol_port(session);
}

}  // namespace quoit
