// SPDX-License-Identifier: MIT
//
// Packets over TCP, packetsocket's example: what is typed goes to every client, what clients say is
// printed. It ends with its input.
#include <quoit/quoit.hpp>

#include <iostream>
#include <string>
#include <thread>

quoit::task<> print(quoit::packet_server& server) {
    while (auto packet = co_await server.read()) {
        std::cout << '[' << packet->peer().remote().host() << "] " << packet->text() << std::endl;
    }
}

quoit::task<> serve() {
    auto server = or_throw(co_await quoit::start_packet_server({"", 4200}));
    std::cout << "listening on " << server.local_address() << std::endl;
    // std::getline() waits: on a thread of its own, which hands each line to the loop's.
    const std::jthread keyboard([&server, &loop = quoit::loop::current()] {
        for (std::string line; std::getline(std::cin, line);) {
            loop.post([&server, line] { server.write(line); });
        }
        loop.post([&server] { server.close(); });
    });
    co_await print(server);
    co_await server.wait_closed();
}

int main() { return quoit::run_main(serve()); }
