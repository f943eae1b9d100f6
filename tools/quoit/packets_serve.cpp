// SPDX-License-Identifier: MIT
#include "packets_serve.hpp"

#include "failure.hpp"
#include "process_time.hpp"

#include <quoit/quoit.hpp>

#include <csignal>
#include <cstdio>
#include <utility>

#include <fmt/format.h>

namespace quoit::program {

namespace {

using namespace std::chrono_literals;

// How long answers may take to leave after the end. Closing gives a peer that reads nothing a
// second.
constexpr auto flush_limit = 5s;

class packet_echo {
  public:
    packet_echo(packet_server server, std::string prefix)
        : server_(std::move(server)), prefix_(std::move(prefix)) {}

    [[nodiscard]] packet_server& server() noexcept { return server_; }
    [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }

    task<> answer_all() {
        while (auto received = co_await server_.read())
            answer(*received);
    }
    /// What there is now.
    void answer_the_rest() {
        while (auto received = server_.try_read())
            answer(*received);
    }

  private:
    void answer(const packet& received) {
        if (!write(received)) ++refused_;
    }
    status write(const packet& received) {
        if (prefix_.empty()) return server_.write(received, received.peer());
        text_ = prefix_;
        text_ += received.text();
        return server_.write(text_, received.peer());
    }

    packet_server server_;
    std::string prefix_;
    std::string text_;  // its memory is used again
    std::uint64_t refused_ = 0;
};

void print_listening(const packet_server& server, std::uint32_t worker_count) {
    std::string where;
    for (const address& local : server.local_addresses()) {
        if (!where.empty()) where += ", ";
        where += local.to_string();
    }
    fmt::print("listening on {} (backend {}, workers {})\n", where,
               to_string(loop::current().capabilities().backend), worker_count);
    if (std::fflush(stdout) != 0) throw run_error("cannot write to standard output");
}

task<> wait_closed(packet_server& closing) { co_await closing.wait_closed(); }

task<packets_serve_result> serve(const packets_serve_settings& settings) {
    auto opened = co_await start_packet_server(
        host_port(settings.bind),
        {.framing = settings.common.framing, .packet_size_max = settings.common.packet_size_max});
    if (!opened) throw run_error(opened.error().message());
    packet_echo echo(*std::move(opened), settings.prefix);
    packet_server& server = echo.server();
    packets_serve_result result;

    // Before anybody is told that we listen, and may send a signal. A second one drops what is
    // queued.
    future<> stop;
    const auto on_stop = [&](int) {
        if (!stop.set_value()) server.abort();
    };
    const auto interrupted = or_throw(on_signal(SIGINT, on_stop));
    const auto terminated = or_throw(on_signal(SIGTERM, on_stop));
    print_listening(server, settings.common.worker_count);

    const auto started = std::chrono::steady_clock::now();
    task_group handlers;
    handlers.spawn(echo.answer_all());
    (void)co_await stop.wait({.timeout = settings.duration});
    const auto locals = server.local_addresses();
    result.addresses.assign(locals.begin(), locals.end());

    handlers.cancel();
    co_await handlers.join();
    echo.answer_the_rest();
    server.close();
    if (!co_await with_timeout(wait_closed(server), flush_limit)) {
        server.abort();
        co_await server.wait_closed();
    }
    result.running_time = std::chrono::steady_clock::now() - started;
    result.refused = echo.refused();
    result.ledger = server.stats();
    co_return result;
}

}  // namespace

packets_serve_result run_packets_serve(const packets_serve_settings& settings) {
    auto made = loop::create({.backend = settings.common.backend,
                              .worker_count = settings.common.worker_count,
                              .waiting = settings.common.waiting});
    if (!made) throw run_error(made.error().message());
    packets_serve_result result = made->run(serve(settings));
    result.settings = settings.common;
    result.cpu_time = process_time();
    result.engine = made->engine_stats();
    result.capabilities = made->capabilities();
    return result;
}

}  // namespace quoit::program
