// SPDX-License-Identifier: MIT
#include <quoit/detail/blocking_socket.hpp>
#include <quoit/request_server.hpp>

#include "open_blocking.hpp"
#include "request_workers.hpp"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace quoit {

namespace {

using clock = std::chrono::steady_clock;

std::string words_of(const std::exception_ptr& thrown) {
    try {
        std::rethrow_exception(thrown);
    } catch (const std::exception& e) {
        return e.what();
    } catch (...) {
        return "an exception that is no std::exception";
    }
}

result<void> check(const request_server_options& options) {
    constexpr std::uint32_t threads_max = 1024;
    constexpr std::uint32_t queue_limit = 65'536;
    if (options.threads > threads_max) {
        return failure(errc::invalid_option,
                       "threads is " + std::to_string(options.threads) + ", expected 0 to 1024");
    }
    if (options.queue_size_max > queue_limit) {
        return failure(errc::invalid_option, "queue_size_max is " +
                                                 std::to_string(options.queue_size_max) +
                                                 ", expected 0 to 65536 requests");
    }
    if (!options.timeout.is_valid()) {
        return failure(errc::invalid_option, "timeout is negative or not a number");
    }
    if (options.log == nullptr) return failure(errc::invalid_option, "log is null");
    return {};
}

// What a host_port is a view of, kept.
class kept_host_port {
  public:
    explicit kept_host_port(const host_port& from)
        : name_(from.name()), literal_(from.to_address()), port_(from.port()),
          is_name_(from.is_host_name() || from.is_every_interface()) {}

    /// Errors: what is wrong with the literal.
    [[nodiscard]] result<host_port> get() const {
        if (is_name_) return host_port(name_, port_);
        if (!literal_) return std::unexpected(literal_.error());
        return host_port(*literal_);
    }

  private:
    std::string name_;
    result<address> literal_;
    std::int64_t port_;
    bool is_name_;
};

}  // namespace

namespace detail {

class request_server_core {
  public:
    request_server_core(request_server_base& owner, const host_port& where,
                        const request_server_options& options)
        : owner_(owner), where_(where), options_(options) {}

    result<void> open();
    result<void> serve_until(const std::function<bool()>& is_over);
    void look_again() noexcept;
    result<void> handle_request();
    result<void> shutdown(time_limit timeout);
    void close() noexcept;

    [[nodiscard]] bool is_serving() const {
        const std::scoped_lock lock(mutex_);
        return is_serving_;
    }
    [[nodiscard]] std::shared_ptr<blocking_socket> socket() const {
        const std::scoped_lock lock(mutex_);
        return socket_;
    }
    [[nodiscard]] request_counts counts() const noexcept {
        return {.rejected = rejected_.load(std::memory_order_relaxed),
                .handled = handled_.load(std::memory_order_relaxed),
                .failed = failed_.load(std::memory_order_relaxed)};
    }

    void handle_with(request_handler& handler, request& one) noexcept;
    void log_error(const request& one, const std::exception_ptr& thrown) const;

  private:
    class session;
    class frame;

    void ask_to_stop() noexcept;  // under mutex_
    [[nodiscard]] bool is_stop_asked() const {
        const std::scoped_lock lock(mutex_);
        return is_stop_asked_;
    }
    [[nodiscard]] result<void> serve(blocking_socket& socket, const std::function<bool()>& is_over);
    [[nodiscard]] bool is_wanted(blocking_socket& socket, const datagram& received) noexcept;
    void handle(blocking_socket& socket, const datagram& received) noexcept;
    void call(const char* what, void (request_server_base::*hook)()) noexcept;
    void report(const request& one, std::exception_ptr thrown) noexcept;
    void log(std::string_view line) const noexcept { options_.log(log_level::error, line); }

    request_server_base& owner_;
    const kept_host_port where_;
    const request_server_options options_;

    std::mutex opening_;  // held while a name is looked up; before mutex_
    mutable std::mutex mutex_;
    std::condition_variable has_left_;
    std::shared_ptr<blocking_socket> socket_;
    std::uint64_t sessions_ended_ = 0;
    bool is_serving_ = false;
    bool is_stop_asked_ = false;  // of the session that is
    bool is_closed_ = false;

    // Counters that order nothing.
    std::atomic<std::uint64_t> rejected_{0};
    std::atomic<std::uint64_t> handled_{0};
    std::atomic<std::uint64_t> failed_{0};
};

namespace {

// The servers whose code the thread is in, innermost first.
thread_local const void* innermost_frame = nullptr;

}  // namespace

// Marks this thread as one that cannot wait for the server to leave, because it is in it.
class request_server_core::frame {
  public:
    explicit frame(const request_server_core& of) noexcept
        : of_(&of), outer_(static_cast<const frame*>(std::exchange(innermost_frame, this))) {}
    frame(const frame&) = delete;
    frame& operator=(const frame&) = delete;
    ~frame() { innermost_frame = outer_; }

    [[nodiscard]] static bool is_inside(const request_server_core& of) noexcept {
        const auto* one = static_cast<const frame*>(innermost_frame);
        while (one != nullptr && one->of_ != &of)
            one = one->outer_;
        return one != nullptr;
    }

  private:
    const request_server_core* of_;
    const frame* outer_;
};

// One thread's time as the one that serves.
class request_server_core::session {
  public:
    explicit session(request_server_core& of) : of_(of) {
        const std::scoped_lock lock(of_.mutex_);
        if (of_.is_closed_) {
            refusal_ = errc::closed;
        } else if (of_.is_serving_) {
            refusal_ = errc::already_running;
        } else {
            of_.is_serving_ = true;
            of_.is_stop_asked_ = false;
            socket_ = of_.socket_;
        }
    }
    session(const session&) = delete;
    session& operator=(const session&) = delete;
    ~session() {
        if (!socket_) return;
        const std::scoped_lock lock(of_.mutex_);
        of_.is_serving_ = false;
        ++of_.sessions_ended_;
        of_.has_left_.notify_all();
    }

    /// Why it is none.
    [[nodiscard]] const std::error_code& refusal() const noexcept { return refusal_; }
    [[nodiscard]] blocking_socket& socket() const noexcept { return *socket_; }

  private:
    request_server_core& of_;
    std::error_code refusal_;
    std::shared_ptr<blocking_socket> socket_;
};

// --- life ---

result<void> request_server_core::open() {
    if (auto checked = check(options_); !checked) return checked;
    const std::scoped_lock one_opens(opening_);
    {
        const std::scoped_lock lock(mutex_);
        if (is_closed_) return failure(errc::closed);
        if (socket_) return {};
    }
    const result<host_port> where = where_.get();
    if (!where) return std::unexpected(where.error());
    auto made = open_blocking_server(std::span(&*where, 1), options_.socket);
    if (!made) return std::unexpected(made.error());
    const std::scoped_lock lock(mutex_);
    if (is_closed_) return failure(errc::closed);
    socket_ = *std::move(made);
    return {};
}

result<void> request_server_core::serve_until(const std::function<bool()>& is_over) {
    if (auto opened = open(); !opened) return opened;
    const session mine(*this);
    if (mine.refusal()) return failure(mine.refusal());
    const frame here(*this);
    try {
        return serve(mine.socket(), is_over);
    } catch (const std::system_error& e) {
        return failure(e.code(), "start a thread for requests");
    }
}

result<void> request_server_core::serve(blocking_socket& socket,
                                        const std::function<bool()>& is_over) {
    constexpr std::uint32_t queue_size_default = 64;
    std::optional<request_workers> workers;
    if (options_.threads > 0) {
        const std::uint32_t size =
            options_.queue_size_max == 0 ? queue_size_default : options_.queue_size_max;
        workers.emplace(options_.threads, size,
                        [&](const datagram& received) { handle(socket, received); });
    }
    while (!is_stop_asked() && !is_over()) {
        result<datagram> next = socket.receive(options_.timeout);
        if (next) {
            if (!is_wanted(socket, *next)) {
                // dropped, and counted
            } else if (workers) {
                workers->push(*std::move(next));
            } else {
                handle(socket, *next);
            }
        } else if (next.error() == errc::timed_out) {
            call("on_timeout", &request_server_base::on_timeout);
        } else if (next.error() == errc::canceled) {
            continue;  // somebody wants the conditions looked at, perhaps for a session before
        } else if (next.error() == errc::closed) {
            break;
        } else {
            return std::unexpected(next.error());
        }
        call("service_actions", &request_server_base::service_actions);
    }
    return {};
}

result<void> request_server_core::handle_request() {
    if (auto opened = open(); !opened) return opened;
    const session mine(*this);
    if (mine.refusal()) return failure(mine.refusal());
    const frame here(*this);
    const clock::time_point deadline = options_.timeout.deadline(clock::now());
    const time_limit limit = options_.timeout.is_none() ? time_limit() : time_limit(deadline);
    for (;;) {
        result<datagram> next = mine.socket().receive(limit);
        if (next) {
            if (is_wanted(mine.socket(), *next)) handle(mine.socket(), *next);
            return {};
        }
        if (next.error() == errc::canceled && !is_stop_asked()) continue;
        if (next.error() == errc::timed_out) call("on_timeout", &request_server_base::on_timeout);
        return std::unexpected(next.error());
    }
}

void request_server_core::ask_to_stop() noexcept {
    if (!is_serving_) return;
    is_stop_asked_ = true;
    socket_->interrupt();
}

result<void> request_server_core::shutdown(time_limit timeout) {
    if (!timeout.is_valid()) {
        return failure(errc::invalid_option, "timeout is negative or not a number");
    }
    std::unique_lock lock(mutex_);
    ask_to_stop();
    if (frame::is_inside(*this)) return {};
    const auto has_left = [&, before = sessions_ended_] {
        return !is_serving_ || sessions_ended_ != before;
    };
    if (timeout.is_none()) {
        has_left_.wait(lock, has_left);
    } else if (!has_left_.wait_until(lock, timeout.deadline(clock::now()), has_left)) {
        return failure(errc::timed_out);
    }
    return {};
}

void request_server_core::close() noexcept {
    std::unique_lock lock(mutex_);
    is_closed_ = true;
    is_stop_asked_ = true;
    if (socket_) socket_->close();
    if (frame::is_inside(*this)) return;
    has_left_.wait(lock, [&] { return !is_serving_; });
}

void request_server_core::look_again() noexcept {
    const std::scoped_lock lock(mutex_);
    if (socket_) socket_->interrupt();
}

// --- requests ---

bool request_server_core::is_wanted(blocking_socket& socket, const datagram& received) noexcept {
    const request one(socket, received);
    try {
        if (owner_.verify(one)) return true;
        rejected_.fetch_add(1, std::memory_order_relaxed);
    } catch (...) {
        failed_.fetch_add(1, std::memory_order_relaxed);
        report(one, std::current_exception());
    }
    return false;
}

void request_server_core::handle(blocking_socket& socket, const datagram& received) noexcept {
    const frame here(*this);  // perhaps on a thread of the pool
    request one(socket, received);
    try {
        owner_.run_handler(one);
    } catch (...) {
        failed_.fetch_add(1, std::memory_order_relaxed);
        report(one, std::current_exception());
    }
    handled_.fetch_add(1, std::memory_order_relaxed);
}

void request_server_core::handle_with(request_handler& handler, request& one) noexcept {
    bool has_failed = false;
    const auto try_to = [&](auto&& step) {
        try {
            step();
            return true;
        } catch (...) {
            if (!std::exchange(has_failed, true)) failed_.fetch_add(1, std::memory_order_relaxed);
            report(one, std::current_exception());
            return false;
        }
    };
    if (!try_to([&] { handler.setup(one); })) return;
    try_to([&] { handler.handle(one); });
    try_to([&] { handler.finish(one); });
}

void request_server_core::report(const request& one, std::exception_ptr thrown) noexcept {
    try {
        owner_.on_error(one, std::move(thrown));
    } catch (...) {
        try {
            log("on_error of a request server: " + words_of(std::current_exception()));
        } catch (...) {
            log("on_error of a request server has thrown");
        }
    }
}

void request_server_core::log_error(const request& one, const std::exception_ptr& thrown) const {
    log("request from " + one.peer().to_string() + ": " + words_of(thrown));
}

void request_server_core::call(const char* what, void (request_server_base::*hook)()) noexcept {
    try {
        (owner_.*hook)();
    } catch (...) {
        try {
            log(std::string(what) + " of a request server: " + words_of(std::current_exception()));
        } catch (...) {
            log("a hook of a request server has thrown");
        }
    }
}

}  // namespace detail

status request::reply(byte_view payload, wait_options options) {
    const address peer = received_->peer();
    return socket_->send(std::span(&payload, 1),
                         {.to = &peer, .request = &received_->view().fields()}, options.timeout);
}

request_server_base::request_server_base(host_port where, const request_server_options& options)
    : core_(std::make_unique<detail::request_server_core>(*this, where, options)) {}

request_server_base::~request_server_base() { close(); }

result<void> request_server_base::open() { return core_->open(); }

result<void> request_server_base::serve_forever() {
    return core_->serve_until([] { return false; });
}

result<void> request_server_base::serve_until(const std::function<bool()>& is_over) {
    return core_->serve_until(is_over);
}

void request_server_base::look_again() noexcept { core_->look_again(); }

result<void> request_server_base::handle_request() { return core_->handle_request(); }

result<void> request_server_base::shutdown(wait_options options) {
    return core_->shutdown(options.timeout);
}

void request_server_base::close() noexcept { core_->close(); }

bool request_server_base::is_serving() const noexcept { return core_->is_serving(); }

address request_server_base::local_address() const {
    const auto socket = core_->socket();
    return socket ? socket->local_addresses().front() : address();
}

quoit::stats request_server_base::stats() const {
    const auto socket = core_->socket();
    return socket ? socket->stats() : quoit::stats();
}

request_counts request_server_base::counts() const noexcept { return core_->counts(); }

bool request_server_base::verify(const request& /*one*/) { return true; }

void request_server_base::on_error(const request& one, std::exception_ptr thrown) {
    core_->log_error(one, thrown);
}

void request_server_base::on_timeout() {}

void request_server_base::service_actions() {}

void request_server_base::handle_with(request_handler& handler, request& one) noexcept {
    core_->handle_with(handler, one);
}

}  // namespace quoit
