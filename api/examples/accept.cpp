// SPDX-License-Identifier: MIT
//
// Counts what each peer says: one task and one connection for each, over one socket.
#include <quoit/quoit.hpp>

#include <iostream>
#include <string>

using namespace std::chrono_literals;

quoit::task<> count(quoit::udp_connection peer) {
    for (int number = 1;; ++number) {
        auto datagram = co_await peer.read({.timeout = 10s});
        if (!datagram) break;  // ten seconds of silence, or the server is closing
        peer.send(std::to_string(number) + ": " + datagram->to_string());
    }
    std::cout << peer.peer_address() << " has gone" << std::endl;
}

quoit::task<> serve() {
    quoit::udp_acceptor peers(or_throw(co_await quoit::start_udp_server({"127.0.0.1", 9999})));
    quoit::task_group talks;
    while (auto peer = co_await peers.accept()) {
        std::cout << "hello " << peer->peer_address() << std::endl;
        talks.spawn(count(std::move(*peer)));
    }
}

int main() { return quoit::run_main(serve()); }
