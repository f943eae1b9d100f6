// SPDX-License-Identifier: MIT
#include <quoit/lazy_client.hpp>

#include <quoit/future.hpp>
#include <quoit/spawn.hpp>

#include "open_request.hpp"

#include <chrono>
#include <optional>
#include <span>
#include <utility>

namespace quoit {

// Shared with the tasks that use it: those may outlive the handle.
class lazy_udp_client::core {
  public:
    core(const host_port& where, const udp_options& asked)
        : request("connect", std::span(&where, 1)), options(asked) {}

    void close() noexcept {
        is_closed = true;
        if (attempt) attempt->set_error(errc::closed);
        if (client) client->close();
    }

    detail::open_request request;
    udp_options options;
    std::optional<udp_client> client;
    std::shared_ptr<future<>> attempt;  // while one is under way
    bool is_closed = false;
};

lazy_udp_client::lazy_udp_client(host_port where, udp_options options)
    : core_(std::make_shared<core>(where, options)) {}
lazy_udp_client::lazy_udp_client(lazy_udp_client&&) noexcept = default;
lazy_udp_client& lazy_udp_client::operator=(lazy_udp_client&& other) noexcept {
    if (this != &other) {
        if (core_) core_->close();
        core_ = std::move(other.core_);
    }
    return *this;
}
lazy_udp_client::~lazy_udp_client() {
    if (!core_) return;
    core_->close();
    core_->client.reset();
}

// An attempt under way. However it ends, it is over: a parameter of the task, so that those who
// wait are told even when that is dropped.
class lazy_udp_client::attempt_guard {
  public:
    explicit attempt_guard(std::shared_ptr<core> of) noexcept : of_(std::move(of)) {}
    attempt_guard(attempt_guard&&) noexcept = default;
    ~attempt_guard() {
        if (!of_) return;
        const std::shared_ptr<future<>> attempt = std::move(of_->attempt);
        of_->attempt = nullptr;
        if (attempt) attempt->set_error(errc::closed);  // unless it has an outcome
    }
    core* operator->() const noexcept { return of_.get(); }

  private:
    std::shared_ptr<core> of_;
};

task<> lazy_udp_client::connect_now(attempt_guard of) {
    const std::shared_ptr<future<>> attempt = of->attempt;
    result<udp_client> opened = co_await detail::open_client(of->request, of->options);
    if (!opened) {
        attempt->set_error(opened.error());
    } else if (!of->is_closed) {
        of->client.emplace(*std::move(opened));
        attempt->set_value();
    }
}

task<result<void>> lazy_udp_client::connect(std::shared_ptr<core> of, wait_options options) {
    if (!of || of->is_closed) co_return failure(errc::closed);
    if (of->client) co_return result<void>();
    if (!of->attempt) {
        of->attempt = std::make_shared<future<>>();
        static_cast<void>(spawn(connect_now(attempt_guard(of))));
    }
    const std::shared_ptr<future<>> attempt = of->attempt;
    co_return co_await attempt->wait(options);
}

task<result<void>> lazy_udp_client::send_copy(std::shared_ptr<core> of,
                                              std::vector<std::byte> payload) {
    const result<void> connected = co_await connect(of, {});
    if (!connected) co_return connected;
    if (!of->client) co_return failure(errc::closed);
    const status sent = of->client->send(payload);
    if (!sent) co_return std::unexpected(sent.error());
    co_return result<void>();
}

task<result<datagram>> lazy_udp_client::read_from(std::shared_ptr<core> of, wait_options options) {
    // One limit for both: a duration becomes the point in time at which it ends.
    if (options.timeout.is_valid() && !options.timeout.is_none() && !options.timeout.is_poll()) {
        options.timeout = options.timeout.deadline(std::chrono::steady_clock::now());
    }
    const result<void> connected = co_await connect(of, options);
    if (!connected && !(of && of->client)) co_return std::unexpected(connected.error());
    if (!of->client) co_return failure(errc::closed);
    co_return co_await of->client->read(options);
}

task<result<void>> lazy_udp_client::wait_connected(wait_options options) {
    return connect(core_, options);
}
bool lazy_udp_client::is_connected() const noexcept {
    return core_ && !core_->is_closed && core_->client;
}
task<result<void>> lazy_udp_client::send(byte_view payload) {
    const auto bytes = payload.bytes();
    return send_copy(core_, std::vector<std::byte>(bytes.begin(), bytes.end()));
}
task<result<datagram>> lazy_udp_client::read(wait_options options) {
    return read_from(core_, options);
}
udp_client& lazy_udp_client::endpoint() noexcept {
    if (!core_ || !core_->client) detail::misused("the endpoint of a client that is not connected");
    return *core_->client;
}
void lazy_udp_client::close() noexcept {
    if (core_) core_->close();
}
bool lazy_udp_client::is_closing() const noexcept { return !core_ || core_->is_closed; }

}  // namespace quoit
