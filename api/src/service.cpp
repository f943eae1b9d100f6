// SPDX-License-Identifier: MIT
#include <quoit/service.hpp>

#include <quoit/future.hpp>

#include "open_request.hpp"
#include "service_control.hpp"

#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <utility>

namespace quoit {

namespace detail {

// --- service_control ---

result<std::uint64_t> service_control::enter(std::shared_ptr<loop_mailbox> loop) {
    const std::scoped_lock lock(mutex_);
    if (is_closed_) return failure(errc::closed);
    if (is_serving_) return failure(errc::already_running);
    is_serving_ = true;
    loop_ = std::move(loop);
    return ++session_;
}

void service_control::leave() noexcept {
    std::vector<letter> waited;
    {
        const std::scoped_lock lock(mutex_);
        is_serving_ = false;
        waited.swap(waiting_);
    }
    for (letter& one : waited) {
        try {
            one();
        } catch (const std::bad_alloc&) {
            continue;  // it cannot be told; the others can
        }
    }
}

void service_control::opened(std::shared_ptr<loop_mailbox> loop, std::vector<address> where) {
    const std::scoped_lock lock(mutex_);
    loop_ = std::move(loop);
    addresses_ = std::move(where);
}

void service_control::freed() {
    const std::scoped_lock lock(mutex_);
    if (!is_serving_) loop_ = nullptr;  // who serves can still be told to stop
    addresses_.clear();
}

void service_control::set_service(udp_service_base* service) {
    const std::scoped_lock lock(mutex_);
    service_ = service;
}

void service_control::post(std::move_only_function<void(udp_service_base&)> function) {
    std::shared_ptr<loop_mailbox> loop;
    {
        const std::scoped_lock lock(mutex_);
        loop = loop_;
    }
    if (!loop) return;
    loop->post([self = shared_from_this(), function = std::move(function)]() mutable {
        udp_service_base* service = nullptr;
        {
            const std::scoped_lock lock(self->mutex_);
            service = self->service_;
        }
        if (service != nullptr) function(*service);
    });
}

std::uint64_t service_control::when_ended(letter function) {
    const std::scoped_lock lock(mutex_);
    if (!is_serving_) return 0;
    waiting_.push_back(std::move(function));
    return session_;
}

bool service_control::close() {
    const std::scoped_lock lock(mutex_);
    return !std::exchange(is_closed_, true);
}

bool service_control::is_closed() const {
    const std::scoped_lock lock(mutex_);
    return is_closed_;
}

bool service_control::is_serving() const {
    const std::scoped_lock lock(mutex_);
    return is_serving_;
}

std::vector<address> service_control::addresses() const {
    const std::scoped_lock lock(mutex_);
    return is_closed_ ? std::vector<address>() : addresses_;
}

// --- service_run ---

// One serve_forever(), from its first datagram to its end, however that comes.
class service_run {
  public:
    explicit service_run(udp_service_base& of) : of_(of) { of_.run_ = this; }
    service_run(const service_run&) = delete;
    service_run& operator=(const service_run&) = delete;
    ~service_run() {
        of_.run_ = nullptr;
        // Who was attended to is not any more, also where this is dropped.
        of_.table_->close_all();
    }

    future<> stop;
    bool is_stopping = false;
    task_group background;
    task_group starting;
    task_group handlers;
    task_group receiving;

  private:
    udp_service_base& of_;
};

// The service is no longer serving, however the task that serves ends.
class service_leaving {
  public:
    explicit service_leaving(udp_service_base& of) noexcept : of_(of) {}
    service_leaving(const service_leaving&) = delete;
    service_leaving& operator=(const service_leaving&) = delete;
    ~service_leaving() {
        if (of_.control_->is_closed()) of_.free_server();
        of_.control_->leave();
    }

  private:
    udp_service_base& of_;
};

}  // namespace detail

// --- udp_service_base ---

udp_service_base::udp_service_base(std::span<const host_port> where, const service_options& options,
                                   std::shared_ptr<void> codec)
    : where_(std::make_unique<detail::open_request>("listen", where)), options_(options),
      control_(std::make_shared<detail::service_control>()),
      table_(new detail::peer_table(options.peers)) {
    table_->set_codec(std::move(codec));
    table_->set_host(this);
    control_->set_service(this);
}

udp_service_base::~udp_service_base() {
    if (control_->is_serving()) detail::misused("a service was destroyed while it served");
    control_->set_service(nullptr);
    table_->set_host(nullptr);
    table_->close_all();
    free_server();
}

task<result<void>> udp_service_base::open() {
    if (control_->is_closed()) co_return failure(errc::closed);
    if (server_ && !server_->is_closing()) co_return result<void>();
    if (status valid = detail::check(options_.peers); !valid) {
        co_return std::unexpected(valid.error());
    }
    result<udp_server> opened = co_await detail::open_server(*where_, options_.socket);
    // Looking a name up takes its time: somebody may have closed it, or opened it, meanwhile.
    if (control_->is_closed()) co_return failure(errc::closed);
    if (server_ && !server_->is_closing()) co_return result<void>();
    if (!opened) co_return std::unexpected(opened.error());
    free_server();
    server_.emplace(*std::move(opened));
    table_->set_server(&*server_);
    const auto where = server_->local_addresses();
    control_->opened(detail::current_core().mailbox(), {where.begin(), where.end()});
    if (!control_->is_closed()) co_return result<void>();
    free_server();
    co_return failure(errc::closed);
}

void udp_service_base::free_server() noexcept {
    if (!server_) return;
    last_stats_ = server_->stats();
    table_->set_server(nullptr);
    server_.reset();
    control_->freed();
}

task<result<void>> udp_service_base::serve_forever() { return serve(nullptr); }

task<result<void>> udp_service_base::serve(std::shared_ptr<detail::startup> told) {
    const result<std::uint64_t> entered = control_->enter(detail::current_core().mailbox());
    if (!entered) co_return std::unexpected(entered.error());
    const detail::service_leaving at_the_end(*this);
    session_ = *entered;
    is_stop_requested_ = false;
    if (told) told->begins(session_);
    const result<void> opened = co_await open();
    if (!opened) co_return opened;
    detail::service_run run(*this);
    run.starting.spawn(started(run.background));
    co_await run.starting.join();
    announce("serving on ");
    if (told) told->is_up();
    // What asked for the end before there was anything to end.
    if (is_stop_requested_) run.stop.set_value();
    run.receiving.spawn(receive());
    static_cast<void>(co_await run.stop.wait());
    run.is_stopping = true;
    run.receiving.cancel();
    co_await run.receiving.join();
    table_->close_all();
    run.handlers.cancel();
    co_await run.handlers.join();
    run.background.cancel();
    std::exception_ptr thrown;
    try {
        co_await run.background.join();
    } catch (...) {
        thrown = std::current_exception();
    }
    co_await stopped();
    announce("no longer serving on ");
    if (thrown) std::rethrow_exception(thrown);
    co_return result<void>();
}

void udp_service_base::announce(std::string_view words) const {
    const detail::task_scheduler& scheduler = detail::current_scheduler();
    if (!scheduler.wants_information() || !server_) return;
    std::string line(words);
    const char* separator = "";
    for (const address& one : server_->local_addresses()) {
        line += std::exchange(separator, ", ") + one.to_string();
    }
    scheduler.log(log_level::info, line);
}

task<> udp_service_base::receive() {
    for (;;) {
        result<datagram> received = co_await server_->read();
        if (received) {
            try {
                table_->push(*std::move(received));
            } catch (...) {
                // Of the host: its next datagram asks for a handler again.
                detail::current_scheduler().log_failure("starting a handler", "starting a handler",
                                                        std::current_exception());
            }
        } else if (received.error() == errc::closed || received.error() == errc::canceled) {
            co_return;
        }
    }
}

void udp_service_base::came(detail::peer& one) {
    if (run_ == nullptr || run_->is_stopping) return;
    one.set_attendant(run_->handlers.spawn(attend(detail::counted_ptr<detail::peer>(&one))));
    one.set_attended(true);
}

void udp_service_base::forgotten(detail::peer& one) noexcept { one.cancel_attendant(); }

void udp_service_base::log_failed_handler(const address& whose,
                                          const std::exception_ptr& thrown) noexcept {
    detail::task_scheduler& scheduler = detail::current_scheduler();
    try {
        scheduler.log_failure("a handler", "the handler of " + whose.to_string(), thrown);
    } catch (const std::bad_alloc&) {
        scheduler.log_failure("a handler", "a handler", thrown);
    }
}

task<> udp_service_base::attend(detail::counted_ptr<detail::peer> client) {
    const std::uint64_t taken_before = client->taken_count();
    std::exception_ptr thrown;
    try {
        co_await handle(client);
    } catch (...) {
        thrown = std::current_exception();
    }
    if (thrown) {
        ++failed_handlers_;
        log_failed_handler(client->remote(), thrown);
    }
    client->set_attended(false);
    client->set_attendant({});
    // One that has read nothing has refused what it was started for.
    if (client->taken_count() == taken_before) client->discard_one();
    if (!client->is_closing() && client->queue_size() > 0) came(*client);
}

void udp_service_base::request_stop(std::uint64_t session) noexcept {
    if (session != session_ || !control_->is_serving()) return;
    is_stop_requested_ = true;
    if (run_ == nullptr) return;
    run_->starting.cancel();
    run_->stop.set_value();
}

task<result<void>> udp_service_base::shutdown(wait_options options) {
    if (!options.timeout.is_valid()) co_return failure(errc::invalid_option);
    const std::shared_ptr<detail::service_control> control = control_;
    const auto ended = std::make_shared<future<>>();
    auto tell = [ended, mailbox = detail::current_core().mailbox()] {
        mailbox->post([ended] { ended->set_value(); });
    };
    const std::uint64_t session = control->when_ended(std::move(tell));
    if (session == 0) co_return result<void>();
    control->post([session](udp_service_base& service) { service.request_stop(session); });
    co_return co_await ended->wait(options);
}

void udp_service_base::close() {
    if (!control_->close()) return;
    control_->post([](udp_service_base& service) {
        service.request_stop(service.session_);
        if (!service.control_->is_serving()) service.free_server();
    });
}

bool udp_service_base::is_serving() const { return control_->is_serving(); }
bool udp_service_base::is_listening() const { return !control_->addresses().empty(); }
std::vector<address> udp_service_base::addresses() const { return control_->addresses(); }
peer_stats udp_service_base::peers() const noexcept { return table_->stats(); }
quoit::stats udp_service_base::stats() const { return server_ ? server_->stats() : last_stats_; }

}  // namespace quoit
