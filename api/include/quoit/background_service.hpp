// SPDX-License-Identifier: MIT
//
// background_service: a service on a loop and a thread of its own, for programs that are not
// written around a loop.
//
//   quoit::udp_service service({"127.0.0.1", 0}, quoit::raw_codec{}, echo);
//   auto running = or_throw(quoit::background_service::start(service));   // it serves from here on
//   ... service.addresses().front() ...
//   running.join({.timeout = 1s});
//
// Ownership: the service is the caller's and outlives this. A service that was joined may be
// started again. Handles move.
// Thread safety: one thread at a time; handlers and hooks run on the thread that is started.
#pragma once

#include <quoit/error.hpp>
#include <quoit/options.hpp>
#include <quoit/service.hpp>

#include <memory>

namespace quoit {

class [[nodiscard("it shuts down when it is dropped")]] background_service {
  public:
    /// Returns when the service serves, or says why it cannot. Rethrows what service_started()
    /// threw.
    /// Errors: as loop::create() and udp_service::serve_forever(); what std::thread could not have.
    [[nodiscard]] static result<background_service> start(udp_service_base& service,
                                                          const loop_options& options = {});
    background_service(background_service&&) noexcept = default;
    background_service& operator=(background_service&& other) noexcept;
    /// Shuts down and waits for it, as long as it takes.
    ~background_service();

    /// Shuts the service down and waits for its thread. May be called again. Not from a handler of
    /// the service, for whose end it would wait.
    /// Errors: errc::timed_out (it goes on to end: join again); errc::invalid_option; otherwise
    /// what serve_forever() answered.
    status join(wait_options options = {});

  private:
    class running;
    explicit background_service(std::shared_ptr<running> started) noexcept;
    std::shared_ptr<running> running_;
};

}  // namespace quoit
