// SPDX-License-Identifier: MIT
//
// Sends one datagram to echo_server and waits two seconds for the reply.
#include <quoit/quoit.hpp>

#include <iostream>

using namespace std::chrono_literals;

quoit::task<int> talk() {
    auto client = or_throw(co_await quoit::open_udp_connection({"127.0.0.1", 9999}));
    client.send("Hello, World!");
    auto reply = co_await client.read({.timeout = 2s});
    if (!reply) {
        std::cerr << "no reply: " << reply.error().message() << '\n';
        co_return 1;
    }
    std::cout << "Received " << reply->text() << '\n';
    client.close();
    co_await client.wait_closed();
    co_return 0;
}

int main() { return quoit::run_main(talk()); }
