// SPDX-License-Identifier: MIT
//
// Who is there? Without an argument a server that says so, until it is interrupted. With the
// broadcast address of a network ("broadcast 192.0.2.255") a client that asks everybody in it and
// lists who answers within half a second.
#include <quoit/quoit.hpp>

#include <chrono>
#include <exception>
#include <iostream>

using namespace std::chrono_literals;

quoit::task<> server() {
    auto socket = or_throw(co_await quoit::start_udp_server({"0.0.0.0", 9999}));
    while (auto datagram = co_await socket.read()) {
        std::cout << datagram->text() << " from " << datagram->peer() << std::endl;
        socket.reply(*datagram, "me");
    }
}

quoit::task<> client(quoit::ip everybody) {
    auto socket = or_throw(co_await quoit::start_udp_server({"0.0.0.0", 0}, {.broadcast = true}));
    or_throw(socket.try_sendto("who is there?", {everybody, 9999}));
    auto answers = socket.iterate({.budget = 500ms});
    while (auto answer = co_await answers.next()) {
        std::cout << answer->text() << ", says " << answer->peer().host() << '\n';
    }
}

int main(int argc, char** argv) try {
    return quoit::run_main(argc > 1 ? client(or_throw(quoit::ip::parse(argv[1]))) : server());
} catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << '\n';
    return 1;
}
