// SPDX-License-Identifier: MIT
//
// udp_service: a server made of conversations, one handler coroutine for each peer that has
// something to say.
//
//   quoit::task<> echo(quoit::conversation<quoit::raw_codec> client) {
//       while (auto request = co_await client.next()) client.send(*request);
//   }
//   quoit::task<> serve() {
//       quoit::udp_service service({"127.0.0.1", 9999}, quoit::raw_codec{}, echo);
//       or_throw(co_await service.serve_forever());
//   }
//
// A handler starts when a datagram arrives of a peer that has none. Its first next() decodes that
// datagram, later ones wait for further datagrams of that peer, first in first out. One that ends
// before its first next() has refused the datagram, which is never decoded. After it has ended the
// next datagram starts a new one. Handlers of different peers run concurrently; those of one peer
// do not (but one that was cancelled because its peer was forgotten may still be ending).
//
// Timeouts, bad datagrams and cancellation arrive as values at the await, so RAII runs. What a
// handler throws is logged with the peer and counted; the server and that peer go on.
//
//   opened ---serve_forever()---> serving ---shutdown()---> opened          (and so on)
//      |                             |
//      +----------close()------------+---> closed                           (for good)
//
// Datagrams that arrive while it is opened and does not serve are kept, as the server's queue has
// room, and handled first.
//
// Ownership: the service owns codec, handler and server; it outlives serve_forever(), which
// handlers may refer to it for. It is opened by the loop that serves, and reopened when that loop
// is gone.
// Thread safety: shutdown() on any loop; close(), is_serving(), is_listening(), addresses() on any
// thread; the rest on the loop that serves.
#pragma once

#include <quoit/address.hpp>
#include <quoit/codec.hpp>
#include <quoit/conversation.hpp>
#include <quoit/detail/peer_table.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>
#include <quoit/peers.hpp>
#include <quoit/stats.hpp>
#include <quoit/task.hpp>
#include <quoit/task_group.hpp>
#include <quoit/udp.hpp>

#include <concepts>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace quoit {

struct service_options {
    udp_options socket{};
    peer_options peers{};
};
static_assert(await_safe<service_options>);

/// The parts of a handler that are optional. Derive from it, so that a misspelt hook does not
/// compile. Its functions run on the loop that serves.
template <codec Codec>
class datagram_handler {
  public:
    datagram_handler() = default;
    datagram_handler(datagram_handler&&) noexcept = default;
    datagram_handler& operator=(datagram_handler&&) noexcept = default;
    virtual ~datagram_handler() = default;

    virtual task<> handle(conversation<Codec> client) = 0;
    /// Once for each serve_forever(), before the first datagram. What it spawns into `background`
    /// runs until the last handler has ended, then it is cancelled. shutdown() cancels this one
    /// too. What either throws, serve_forever() throws in the end.
    virtual task<> service_started(task_group& background) {
        static_cast<void>(background);
        co_return;
    }
    /// After the last handler has ended: every conversation is closing.
    virtual task<> service_stopped() { co_return; }
};

namespace detail {
class service_control;
class service_leaving;
class service_run;
class startup;
class open_request;
}  // namespace detail

class udp_service_base : private detail::peer_host {
  public:
    udp_service_base(const udp_service_base&) = delete;
    udp_service_base& operator=(const udp_service_base&) = delete;

    /// Binds. serve_forever() does it when it has not been done. Idempotent.
    /// Errors: as start_udp_server(); errc::closed.
    [[nodiscard]] task<result<void>> open();
    /// Until shutdown(), close() or cancellation. May be called again after a shutdown().
    /// Errors: errc::already_running; errc::closed, after close(); as open().
    [[nodiscard]] task<result<void>> serve_forever();
    /// Stops receiving, cancels the handlers, and waits until serve_forever() has ended. Success,
    /// at once, when it does not run. From a handler: it is cancelled itself, and hears of that.
    /// Errors: errc::timed_out (it goes on to end); errc::canceled; errc::invalid_option.
    [[nodiscard]] task<result<void>> shutdown(wait_options options = {});
    /// As shutdown(), without waiting, then frees the port. Idempotent.
    void close();

    [[nodiscard]] bool is_serving() const;
    [[nodiscard]] bool is_listening() const;
    /// Where it listens; empty when it does not.
    [[nodiscard]] std::vector<address> addresses() const;
    [[nodiscard]] peer_stats peers() const noexcept;
    /// Handlers that threw.
    [[nodiscard]] std::uint64_t failed_handler_count() const noexcept { return failed_handlers_; }
    /// The server's ledger; that of the last one after close().
    [[nodiscard]] quoit::stats stats() const;

  protected:
    udp_service_base(std::span<const host_port> where, const service_options& options,
                     std::shared_ptr<void> codec);
    ~udp_service_base();

  private:
    friend class background_service;
    friend class detail::service_leaving;
    friend class detail::service_run;

    virtual task<> handle(detail::counted_ptr<detail::peer> client) = 0;
    virtual task<> started(task_group& background) = 0;
    virtual task<> stopped() = 0;

    void came(detail::peer& one) override;
    void forgotten(detail::peer& one) noexcept override;
    task<> attend(detail::counted_ptr<detail::peer> client);
    task<> receive();
    [[nodiscard]] task<result<void>> serve(std::shared_ptr<detail::startup> told);
    void request_stop(std::uint64_t session) noexcept;
    static void log_failed_handler(const address& whose, const std::exception_ptr& thrown) noexcept;
    void free_server() noexcept;
    void announce(std::string_view words) const;

    std::unique_ptr<detail::open_request> where_;
    service_options options_;
    std::shared_ptr<detail::service_control> control_;
    std::optional<udp_server> server_;
    detail::counted_ptr<detail::peer_table> table_;
    detail::service_run* run_ = nullptr;
    std::uint64_t session_ = 0;  // of serve_forever(), that runs or ran last
    bool is_stop_requested_ = false;
    std::uint64_t failed_handlers_ = 0;
    quoit::stats last_stats_;
};

template <codec Codec, class Handler>
    requires std::derived_from<Handler, datagram_handler<Codec>> ||
             std::is_invocable_r_v<task<>, Handler&, conversation<Codec>>
class udp_service final : public udp_service_base {
  public:
    /// Options out of range are errors of open().
    udp_service(host_port where, Codec codec, Handler how, const service_options& options = {})
        : udp_service(std::span(&where, 1), std::move(codec), std::move(how), options) {}
    udp_service(std::span<const host_port> where, Codec codec, Handler how,
                const service_options& options = {})
        : udp_service_base(where, options, std::make_shared<Codec>(std::move(codec))),
          handler_(std::move(how)) {}

    [[nodiscard]] Handler& handler() noexcept { return handler_; }

  private:
    static constexpr bool has_hooks = std::derived_from<Handler, datagram_handler<Codec>>;

    task<> handle(detail::counted_ptr<detail::peer> client) override {
        conversation<Codec> talk(std::move(client));
        if constexpr (has_hooks) {
            return handler_.handle(std::move(talk));
        } else {
            return std::invoke(handler_, std::move(talk));
        }
    }
    task<> started(task_group& background) override {
        if constexpr (has_hooks) {
            return handler_.service_started(background);
        } else {
            return nothing();
        }
    }
    task<> stopped() override {
        if constexpr (has_hooks) {
            return handler_.service_stopped();
        } else {
            return nothing();
        }
    }
    static task<> nothing() { co_return; }

    Handler handler_;
};

template <class Codec, class Handler>
udp_service(host_port, Codec, Handler) -> udp_service<Codec, Handler>;
template <class Codec, class Handler>
udp_service(host_port, Codec, Handler, service_options) -> udp_service<Codec, Handler>;

}  // namespace quoit
