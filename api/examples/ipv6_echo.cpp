// SPDX-License-Identifier: MIT
//
// Echo on every interface, IPv4 and IPv6. An answer comes from the address the request was sent to,
// and a link-local peer keeps its interface: [fe80::1%eth0]:53124. Ends after five datagrams, or
// after ten seconds of silence.
#include <quoit/quoit.hpp>

#include <chrono>
#include <iostream>
#include <utility>

using namespace std::chrono_literals;

quoit::task<> echo() {
    auto server = or_throw(co_await quoit::start_udp_server({"", 9999}));
    for (const quoit::address& where : server.local_addresses()) {
        std::cout << "listening on " << where << std::endl;
    }
    for (int count = 0; count < 5; ++count) {
        auto datagram = co_await server.read({.timeout = 10s});
        if (!datagram) break;
        std::cout << datagram->peer() << " wrote to " << datagram->local()->host() << std::endl;
        server.reply(*std::move(datagram));
    }
}

int main() { return quoit::run_main(echo()); }
