// SPDX-License-Identifier: MIT
//
// request_server: a handler object for each datagram, as Python's socketserver has it.
//
//   struct upper final : quoit::request_handler {
//       void handle(quoit::request& request) override { request.reply(to_upper(request.text())); }
//   };
//   quoit::request_server<upper> server({"127.0.0.1", 9999});
//   std::jthread background([&](std::stop_token stop) { or_throw(server.serve_forever(stop)); });
//
// For each datagram: verify(), and if that says yes a new Handler's setup(), handle(), finish().
// Nothing is sent unless they reply. What they throw is caught and goes to on_error(); the server
// and the peer go on.
//
// Life: open() binds, datagrams wait in the kernel from then on; serve_forever() serves until
// shutdown(), and may be called again; close(), or the destructor, is for good.
//
// Threads: serve_forever() and handle_request() receive on their caller's thread, one at a time
// (errc::already_running), and call verify(), on_timeout() and service_actions() there; handlers
// and on_error() as well, unless {.threads = n} has asked for a pool. Then each peer belongs to one
// of n threads: its requests are handled one after the other, in order, those of others at the same
// time. A thread whose queue is full makes the server wait, and datagrams wait in the kernel.
// open(), shutdown(), close() and all that tells something: any thread, handlers included.
//
// Errors: result<void>, as said at each function. Units: counts, and time_limit.
#pragma once

#include <quoit/address.hpp>
#include <quoit/datagram.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>
#include <quoit/payload.hpp>
#include <quoit/stats.hpp>
#include <quoit/time.hpp>

#include <concepts>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string_view>

namespace quoit {

namespace detail {
class blocking_socket;
class request_server_core;
}  // namespace detail

/// A datagram that is being handled. Valid during the call it is given to.
class request {
  public:
    request(detail::blocking_socket& by, const datagram& received) noexcept
        : socket_(&by), received_(&received) {}
    request(const request&) = delete;
    request& operator=(const request&) = delete;

    [[nodiscard]] std::span<const std::byte> payload() const noexcept {
        return received_->payload();
    }
    [[nodiscard]] std::string_view text() const noexcept { return received_->text(); }
    [[nodiscard]] address peer() const noexcept { return received_->peer(); }
    /// With its metadata.
    [[nodiscard]] const datagram& received() const noexcept { return *received_; }

    /// To the sender, from the socket it wrote to; any number of times. Waits while the kernel
    /// takes no more. Errors as sync::udp_endpoint::reply().
    status reply(byte_view payload, wait_options options = {});

  private:
    detail::blocking_socket* socket_;
    const datagram* received_;
};

/// One is made for each request.
class request_handler {
  public:
    request_handler() = default;
    request_handler(const request_handler&) = delete;
    request_handler& operator=(const request_handler&) = delete;
    virtual ~request_handler() = default;

    virtual void setup(request& one) { (void)one; }
    virtual void handle(request& one) = 0;
    /// Once setup() has returned, whatever handle() did; after an exception too.
    virtual void finish(request& one) { (void)one; }
};

struct request_server_options {
    udp_options socket{};
    /// Threads that handle requests, 0..1024; 0: the one that serves.
    std::uint32_t threads = 0;
    /// Requests that wait for one such thread, 1..65 536; 0: 64.
    std::uint32_t queue_size_max = 0;
    /// After so long without a datagram on_timeout() is called: handle_request() then ends,
    /// serve_forever() goes on.
    time_limit timeout{};
    /// Where what handlers throw is reported, unless on_error() is overridden. Never null.
    log_function log = log_to_standard_error;
};
static_assert(await_safe<request_server_options>);

/// What became of requests. Counters.
struct request_counts {
    std::uint64_t rejected = 0;  ///< by verify()
    std::uint64_t handled = 0;   ///< handle() and its neighbours have run, thrown or not
    std::uint64_t failed = 0;    ///< of those handled, and of verify(): something was thrown
};

class request_server_base {
  public:
    request_server_base(const request_server_base&) = delete;
    request_server_base& operator=(const request_server_base&) = delete;
    /// Closes. REQUIRES: no thread serves any more: it would call what the derived class is not
    /// any more. shutdown() comes first.
    virtual ~request_server_base();

    /// Binds; done by the others if need be. Errors: why not, naming the address; errc::closed;
    /// errc::invalid_option. When it is open already it does nothing.
    result<void> open();
    /// Until shutdown(), until the token says so, or until close(): that is success, too. What was
    /// received by then is handled. Errors: errc::already_running, and those of open().
    result<void> serve_forever();
    result<void> serve_forever(const std::stop_token& stop);
    /// One datagram, handled (or rejected) on this thread. Errors: errc::timed_out, after
    /// on_timeout(); errc::canceled by shutdown(); errc::already_running; errc::closed.
    result<void> handle_request();
    /// Makes who serves now leave, and waits for that; success if nobody does. From a handler or a
    /// hook of this server it only asks. Errors: errc::timed_out (it is still asked for);
    /// errc::invalid_option.
    result<void> shutdown(wait_options options = {});
    /// As shutdown(), and closes the socket. Unread datagrams are counted as late. Idempotent.
    void close() noexcept;

    [[nodiscard]] bool is_serving() const noexcept;
    /// Of the first socket; unspecified until it is open.
    [[nodiscard]] address local_address() const;
    /// All zero until it is open.
    [[nodiscard]] quoit::stats stats() const;
    [[nodiscard]] request_counts counts() const noexcept;

  protected:
    explicit request_server_base(host_port where, const request_server_options& options);

    /// False: the datagram is dropped.
    virtual bool verify(const request& one);
    /// What a handler threw, or verify(). By default it is logged.
    virtual void on_error(const request& one, std::exception_ptr thrown);
    virtual void on_timeout();
    /// After each datagram and each timeout of serve_forever().
    virtual void service_actions();

    /// Makes a handler and passes it to handle_with().
    virtual void run_handler(request& one) = 0;
    /// setup(), handle(), finish(); what they throw goes to on_error().
    void handle_with(request_handler& handler, request& one) noexcept;

  private:
    friend class detail::request_server_core;
    result<void> serve_until(const std::function<bool()>& is_over);
    void look_again() noexcept;  // at is_over

    std::unique_ptr<detail::request_server_core> core_;
};

inline result<void> request_server_base::serve_forever(const std::stop_token& stop) {
    // A request that came before there is anything to wake is seen by the first look.
    const std::stop_callback wake(stop, [this] { look_again(); });
    return serve_until([&stop] { return stop.stop_requested(); });
}

template <class Handler>
    requires std::derived_from<Handler, request_handler> && std::default_initializable<Handler>
class request_server : public request_server_base {
  public:
    /// Nothing happens yet. `where` is copied.
    explicit request_server(host_port where, const request_server_options& options = {})
        : request_server_base(where, options) {}

  protected:
    void run_handler(request& one) override {
        Handler handler;
        handle_with(handler, one);
    }
};

}  // namespace quoit
