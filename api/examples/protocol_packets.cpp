// SPDX-License-Identifier: MIT
//
// Packets over TCP with callbacks: what one client says all others hear.
#include <quoit/quoit.hpp>

#include <iostream>
#include <string>

class room final : public quoit::packet_protocol {
    void connected(const quoit::packet_peer& peer) override {
        std::cout << peer.remote() << " has come" << std::endl;
    }
    void packet_received(quoit::packet& received) override {
        for (const auto& peer : transport().peers()) {
            if (peer != received.peer()) transport().write(received, peer);
        }
    }
    void disconnected(const quoit::packet_peer& peer, std::error_code reason) override {
        std::cout << peer.remote() << " has gone";
        if (reason) std::cout << ": " << reason.message();
        std::cout << std::endl;
    }
};

int main() try {
    auto loop = or_throw(quoit::loop::create());
    auto port = or_throw(loop.listen_packets({"127.0.0.1", 4200}, std::make_shared<room>()));
    std::cout << "listening on " << port.local_address() << std::endl;
    loop.run();
} catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
}
