// SPDX-License-Identifier: MIT
//
// Answers five datagrams, then closes. Try it with echo_client.
#include <quoit/quoit.hpp>

#include <iostream>

quoit::task<> echo() {
    auto server = or_throw(co_await quoit::start_udp_server({"127.0.0.1", 9999}));
    for (int count = 0; count < 5; ++count) {
        auto datagram = or_throw(co_await server.read());
        std::cout << "Received " << datagram.text() << " from " << datagram.peer() << '\n';
        server.sendto(datagram.payload(), datagram.peer());
    }
    server.close();
    co_await server.wait_closed();
}

int main() { return quoit::run_main(echo()); }
