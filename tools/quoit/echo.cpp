// SPDX-License-Identifier: MIT
#include "echo.hpp"

#include "failure.hpp"
#include "process_time.hpp"

#include <quoit/quoit.hpp>

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <utility>

#include <fmt/format.h>
#include <csignal>

namespace quoit::program {

namespace {

using namespace std::chrono_literals;

// Asked of the kernel, which grants what net.core.rmem_max allows: bursts wait there.
constexpr std::uint32_t receive_buffer_size = 4U << 20U;
// How long replies may take to leave after the end.
constexpr auto flush_limit = 5s;
// How often the first core looks whether the others have ended too.
constexpr auto look_every = 10ms;

// What the loops of one server share.
class serving {
  public:
    serving(const echo_settings& settings, core_group* cores)
        : settings_(settings), cores_(cores), one_of_(cores != nullptr ? cores->core_count() : 1) {}
    serving(const serving&) = delete;
    serving& operator=(const serving&) = delete;

    [[nodiscard]] const echo_settings& settings() const noexcept { return settings_; }
    [[nodiscard]] udp_options options() const noexcept {
        return {.receive_buffer_size = receive_buffer_size,
                .reuse_port = cores_ != nullptr,
                .offload = settings_.offload};
    }
    // The last to listen says so for all.
    void listens(const udp_server& server) {
        const std::scoped_lock lock(mutex_);
        handles_.push_back(server.handle());
        if (stops_ > 0) handles_.back().close();
        if (handles_.size() == one_of_) print_listening(server);
    }
    // Closes all; the second time drops what is queued.
    void stop() {
        const std::scoped_lock lock(mutex_);
        ++stops_;
        for (const endpoint_handle& one : handles_) {
            if (stops_ == 1) one.close();
            if (stops_ > 1) one.abort();
        }
    }
    // A core's server has closed.
    void has_served() {
        const std::scoped_lock lock(mutex_);
        ++served_;
    }
    [[nodiscard]] bool have_all_served() {
        const std::scoped_lock lock(mutex_);
        return served_ == one_of_;
    }

  private:
    void print_listening(const udp_server& server) const {
        std::string where;
        for (const address& local : server.local_addresses()) {
            if (!where.empty()) where += ", ";
            where += local.to_string();
        }
        std::string on =
            fmt::format("backend {}, workers {}", to_string(loop::current().capabilities().backend),
                        settings_.worker_count);
        if (cores_ != nullptr) {
            on += fmt::format(", cores {}, steering {}", one_of_, to_string(cores_->steering()));
        }
        fmt::print("listening on {} ({})\n", where, on);
        if (std::fflush(stdout) != 0) throw run_error("cannot write to standard output");
    }

    const echo_settings& settings_;
    core_group* const cores_;
    const std::size_t one_of_;
    std::mutex mutex_;
    std::vector<endpoint_handle> handles_;  // under mutex_
    int stops_ = 0;                         // under mutex_
    std::size_t served_ = 0;                // under mutex_
};

// Whatever ends it: who waits for `ended` then asks it what it threw.
task<> echo(udp_server& server, std::uint64_t& refused, future<>& ended) {
    struct telling {
        future<>& ended;
        ~telling() { ended.set_value(); }
    } const at_the_end{ended};
    while (auto datagram = co_await server.read()) {
        if (server.reply(std::move(*datagram))) continue;
        ++refused;
        co_await server.drain();
    }
}

task<udp_server> open(const echo_settings& settings, udp_options options) {
    result<udp_server> opened = failure(errc::closed);
    if (settings.inherited.empty()) {
        opened = co_await start_udp_server(host_port(settings.bind), options);
    } else if (auto socket = take_inherited_socket(settings.inherited)) {
        options.receive_buffer_size = 0;  // its unit's: systemd may exceed rmem_max, this may not
        opened = adopt_udp_server(socket->get(), ownership::duplicate, options);
    } else {
        opened = std::unexpected(socket.error());
    }
    if (!opened) throw run_error(opened.error().message());
    co_return *std::move(opened);
}

// Of one loop, the `core`-th.
task<echo_result> serve(serving& all, std::size_t core) {
    udp_server server = co_await open(all.settings(), all.options());
    echo_result result;
    result.buffers = server.buffers();
    const auto locals = server.local_addresses();
    result.addresses.assign(locals.begin(), locals.end());

    // Before anybody is told that we listen, and may send a signal.
    signal_subscription interrupted;
    signal_subscription terminated;
    if (core == 0) {
        const auto on_stop = [&all](int) { all.stop(); };
        interrupted = or_throw(on_signal(SIGINT, on_stop));
        terminated = or_throw(on_signal(SIGTERM, on_stop));
    }
    all.listens(server);

    const auto started = std::chrono::steady_clock::now();
    future<> ended;
    task_group handlers;
    handlers.spawn(echo(server, result.refused, ended));
    (void)co_await ended.wait({.timeout = all.settings().duration});

    server.close();  // what was received stays readable: echo() answers it and ends by itself
    co_await handlers.join();
    if (!co_await with_timeout(
            [](udp_server& closing) -> task<> { co_await closing.wait_closed(); }(server),
            flush_limit)) {
        server.abort();
        co_await server.wait_closed();
    }
    result.running_time = std::chrono::steady_clock::now() - started;
    result.ledger = server.stats();
    all.has_served();
    // It has the signals of all: one that comes while another flushes is to end that.
    while (core == 0 && !all.have_all_served()) {
        const status waited = co_await sleep(look_every);
        if (!waited) break;
    }
    co_return result;
}

task<> serve_and_keep(serving& all, std::size_t core, echo_result& result) {
    result = co_await serve(all, core);
}

loop_options loop_options_of(const echo_settings& settings) {
    return {.backend = settings.backend,
            .worker_count = settings.worker_count,
            .waiting = settings.waiting};
}

echo_result run_on_one_loop(const echo_settings& settings) {
    auto made = loop::create(loop_options_of(settings));
    if (!made) throw run_error(made.error().message());
    serving alone(settings, nullptr);
    echo_result result = made->run(serve(alone, 0));
    result.engine = made->engine_stats();
    result.capabilities = made->capabilities();
    return result;
}

echo_result run_on_cores(const echo_settings& settings) {
    auto made = core_group::create({.core_count = settings.core_count.value_or(0),
                                    .pin = settings.pin,
                                    .steering = settings.steering,
                                    .loop = loop_options_of(settings)});
    if (!made) throw run_error(made.error().message());
    serving all(settings, &*made);
    std::vector<echo_result> results(made->core_count());
    made->run([&](std::size_t core) { return serve_and_keep(all, core, results[core]); });

    echo_result sum;
    sum.addresses = results.front().addresses;
    sum.buffers = results.front().buffers;
    sum.engine = made->engine_stats();
    sum.capabilities = made->capabilities(0);
    sum.steering = made->steering();
    sum.steering_reason = made->steering_reason();
    for (std::size_t core = 0; core < results.size(); ++core) {
        const echo_result& one = results[core];
        sum.refused += one.refused;
        sum.ledger += one.ledger;
        sum.running_time = std::max(sum.running_time, one.running_time);
        sum.cores.push_back({.cpu = made->cpu(core),
                             .backend = made->capabilities(core).backend,
                             .refused = one.refused,
                             .ledger = one.ledger,
                             .engine = made->engine_stats(core)});
    }
    return sum;
}

}  // namespace

echo_result run_echo(const echo_settings& settings) {
    echo_result result = settings.core_count ? run_on_cores(settings) : run_on_one_loop(settings);
    result.worker_count = settings.worker_count;
    result.offload = settings.offload;
    result.cpu_time = process_time();
    return result;
}

}  // namespace quoit::program
