// SPDX-License-Identifier: MIT
#include <quoit/background_service.hpp>

#include <quoit/loop.hpp>

#include "service_control.hpp"

#include <exception>
#include <system_error>
#include <thread>
#include <utility>

namespace quoit {

class background_service::running {
  public:
    running(udp_service_base& service, std::shared_ptr<detail::service_control> control)
        : service_(service), control_(std::move(control)) {}
    running(const running&) = delete;
    running& operator=(const running&) = delete;
    ~running() {
        if (thread_.joinable()) {
            stop();
            thread_.join();
        }
    }

    void start(const loop_options& options) {
        thread_ = std::thread([this, options] { run(options); });
    }
    // This run, and none that somebody has started since.
    void stop() {
        if (progress_->has_ended()) return;
        control_->post([session = progress_->session()](udp_service_base& service) {
            service.request_stop(session);
        });
    }
    [[nodiscard]] detail::startup& progress() noexcept { return *progress_; }
    void join_thread() {
        if (thread_.joinable()) thread_.join();
    }

  private:
    void run(const loop_options& options) {
        result<void> outcome;
        std::exception_ptr thrown;
        try {
            auto made = loop::create(options);
            outcome = made ? made->run(service_.serve(progress_))
                           : result<void>(std::unexpected(made.error()));
        } catch (...) {
            thrown = std::current_exception();
        }
        service_.free_server();  // its loop is gone
        progress_->ended(std::move(outcome), std::move(thrown));
    }

    udp_service_base& service_;
    std::shared_ptr<detail::service_control> control_;
    std::shared_ptr<detail::startup> progress_ = std::make_shared<detail::startup>();
    std::thread thread_;
};

background_service::background_service(std::shared_ptr<running> started) noexcept
    : running_(std::move(started)) {}

background_service& background_service::operator=(background_service&& other) noexcept {
    running_ = std::move(other.running_);
    return *this;
}

background_service::~background_service() = default;

result<background_service> background_service::start(udp_service_base& service,
                                                     const loop_options& options) {
    const auto made = std::make_shared<running>(service, service.control_);
    try {
        made->start(options);
    } catch (const std::system_error& why) {
        return failure(why.code(), "start a thread");
    }
    if (made->progress().wait_until_up()) return background_service(made);
    made->join_thread();
    const result<void> outcome = made->progress().outcome();
    // It was shut down by somebody else before it was up.
    return std::unexpected(outcome ? error(errc::canceled) : outcome.error());
}

status background_service::join(wait_options options) {
    if (!options.timeout.is_valid()) return errc::invalid_option;
    if (!running_) return errc::closed;
    running_->stop();
    if (!running_->progress().wait_until_ended(options.timeout)) return errc::timed_out;
    running_->join_thread();
    return running_->progress().outcome();
}

}  // namespace quoit
