// SPDX-License-Identifier: MIT
//
// An echo server. On SIGTERM or Ctrl-C it stops receiving, sends what is queued, and prints where
// every datagram went.
#include <quoit/quoit.hpp>

#include <csignal>
#include <iostream>

using namespace std::chrono_literals;

quoit::task<> echo(quoit::udp_server& server, int& refused) {
    while (auto datagram = co_await server.read()) {
        if (!server.reply(std::move(*datagram))) ++refused;  // 4 MiB of replies wait already
    }
}

quoit::task<int> serve() {
    auto server = or_throw(
        co_await quoit::start_udp_server({"127.0.0.1", 9999}, {.receive_buffer_size = 1 << 20}));
    // Before anybody hears that it listens: until then a signal ends the process.
    quoit::future<int> stop;
    const auto on_stop = [&](int signal) { stop.set_value(signal); };
    const auto terminated = or_throw(quoit::on_signal(SIGTERM, on_stop));
    const auto interrupted = or_throw(quoit::on_signal(SIGINT, on_stop));
    std::cout << "listening on " << server.local_address() << std::endl;
    int refused = 0;
    quoit::task_group handlers;
    handlers.spawn(echo(server, refused));

    const int signal = or_throw(co_await stop.wait());
    std::cout << "signal " << signal << ", closing\n";
    server.close();  // what was received stays readable; then echo() ends by itself
    auto ended = co_await quoit::with_timeout(handlers.join(), 5s);
    co_await server.wait_closed();

    const auto ledger = server.stats();
    std::cout << ledger << '\n' << refused << " replies refused\n";
    const bool is_clean = ended.has_value() && ledger.unexplained() == 0;
    co_return is_clean ? 0 : 1;
}

int main() { return quoit::run_main(serve()); }
