// SPDX-License-Identifier: MIT
//
// No loop and no coroutine: two threads share one blocking client of echo_server or upper_server.
#include <quoit/sync.hpp>

#include <chrono>
#include <iostream>
#include <string>
#include <thread>

using namespace std::chrono_literals;

int main() try {
    auto client = or_throw(quoit::sync::open_udp_connection({"127.0.0.1", 9999}));
    const std::jthread sender([&client] {
        for (int i = 0; i < 3; ++i)
            client.send("message " + std::to_string(i), {.timeout = 1s});
    });
    for (int i = 0; i < 3; ++i) {
        auto reply = client.read({.timeout = 2s});
        if (!reply) {
            std::cerr << "no reply: " << reply.error().message() << '\n';
            return 1;
        }
        std::cout << reply->text() << '\n';
    }
    for (auto& late : client.received({.budget = 100ms}))
        std::cout << "unasked for: " << late.text() << '\n';
} catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
}
