// SPDX-License-Identifier: MIT
//
// packetsocket's own style, in a thread of yours: update() does the I/O of one turn, read() and
// write() never wait. What a client says is printed and goes back to it.
#include <quoit/quoit.hpp>

#include <iostream>

int main() try {
    auto server = or_throw(quoit::sync::packet_server::open({"", 4200}));
    while (server.is_open()) {
        if (const auto turned = server.update(); !turned) break;
        for (const auto& [peer, packets] : server.read()) {
            for (const auto& packet : packets) {
                std::cout << '[' << peer.remote().host() << "] " << packet.text() << std::endl;
                server.write(packet, peer);
            }
        }
    }
} catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
}
