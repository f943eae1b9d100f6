// SPDX-License-Identifier: MIT
//
// A server in a thread of its own, up when start() returns; two threads share one blocking client.
#include <quoit/quoit.hpp>

#include <iostream>
#include <string>
#include <thread>

using namespace std::chrono_literals;

quoit::task<> echo(quoit::conversation<quoit::raw_codec> client) {
    while (auto request = co_await client.next())
        client.send(*request);
}

int main() try {
    quoit::udp_service service({"127.0.0.1", 0}, quoit::raw_codec{}, echo);
    auto running = or_throw(quoit::background_service::start(service));
    auto client = or_throw(quoit::sync::open_udp_connection(service.addresses().front()));
    std::jthread sender([&client] {
        for (int i = 0; i < 3; ++i)
            client.send("message " + std::to_string(i), {.timeout = 1s});
    });
    for (int i = 0; i < 3; ++i)
        std::cout << or_throw(client.read({.timeout = 2s})).to_string() << '\n';
    or_throw(running.join({.timeout = 1s}));
} catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
}
