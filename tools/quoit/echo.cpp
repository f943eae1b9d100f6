// SPDX-License-Identifier: MIT
#include "echo.hpp"

#include "failure.hpp"
#include "process_time.hpp"

#include <quoit/quoit.hpp>

#include <cstdio>
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

void print_listening(const udp_server& server, std::uint32_t worker_count) {
    std::string where;
    for (const address& local : server.local_addresses()) {
        if (!where.empty()) where += ", ";
        where += local.to_string();
    }
    fmt::print("listening on {} (backend {}, workers {})\n", where,
               to_string(loop::current().capabilities().backend), worker_count);
    if (std::fflush(stdout) != 0) throw run_error("cannot write to standard output");
}

task<> echo(udp_server& server, std::uint64_t& refused) {
    while (auto datagram = co_await server.read()) {
        if (server.reply(std::move(*datagram))) continue;
        ++refused;
        co_await server.drain();
    }
}

task<udp_server> open(const echo_settings& settings) {
    const udp_options options{.receive_buffer_size = receive_buffer_size,
                              .offload = settings.offload};
    result<udp_server> opened = failure(errc::closed);
    if (settings.inherited.empty()) {
        opened = co_await start_udp_server(host_port(settings.bind), options);
    } else if (auto socket = take_inherited_socket(settings.inherited)) {
        opened = adopt_udp_server(socket->release(), ownership::take, options);
    } else {
        opened = std::unexpected(socket.error());
    }
    if (!opened) throw run_error(opened.error().message());
    co_return *std::move(opened);
}

task<echo_result> serve(const echo_settings& settings) {
    udp_server server = co_await open(settings);
    echo_result result;

    // Before anybody is told that we listen, and may send a signal. A second one drops what is
    // queued.
    future<> stop;
    const auto on_stop = [&](int) {
        if (!stop.set_value()) server.abort();
    };
    const auto interrupted = or_throw(on_signal(SIGINT, on_stop));
    const auto terminated = or_throw(on_signal(SIGTERM, on_stop));
    print_listening(server, settings.worker_count);

    const auto started = std::chrono::steady_clock::now();
    task_group handlers;
    handlers.spawn(echo(server, result.refused));
    (void)co_await stop.wait({.timeout = settings.duration});
    result.buffers = server.buffers();
    const auto locals = server.local_addresses();
    result.addresses.assign(locals.begin(), locals.end());

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
    co_return result;
}

}  // namespace

echo_result run_echo(const echo_settings& settings) {
    auto made = loop::create({.backend = settings.backend,
                              .worker_count = settings.worker_count,
                              .waiting = settings.waiting});
    if (!made) throw run_error(made.error().message());
    echo_result result = made->run(serve(settings));
    result.worker_count = settings.worker_count;
    result.offload = settings.offload;
    result.cpu_time = process_time();
    result.engine = made->engine_stats();
    result.capabilities = made->capabilities();
    return result;
}

}  // namespace quoit::program
