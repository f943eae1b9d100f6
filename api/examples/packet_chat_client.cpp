// SPDX-License-Identifier: MIT
//
// A client of packet_chat_server: prints what the server says, and says it back.
#include <quoit/quoit.hpp>

#include <iostream>
#include <string>

quoit::task<> talk() {
    auto client = or_throw(co_await quoit::open_packet_connection({"127.0.0.1", 4200}));
    client.write("written before the connection exists");
    for (;;) {
        const auto packet = co_await client.read();
        if (!packet) {
            std::cerr << packet.error().message() << '\n';
            co_return;
        }
        std::cout << "[Server] " << packet->text() << std::endl;
        client.write("<Client Echo> " + std::string(packet->text()));
    }
}

int main() { return quoit::run_main(talk()); }
