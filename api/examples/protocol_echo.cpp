// SPDX-License-Identifier: MIT
//
// Twisted's echo, with callbacks.
#include <quoit/quoit.hpp>

#include <iostream>

class echo final : public quoit::datagram_protocol {
    void datagram_received(quoit::datagram& received) override {
        std::cout << "received " << received.text() << " from " << received.peer() << std::endl;
        transport().sendto(received.payload(), received.peer());
    }
};

int main() try {
    auto loop = or_throw(quoit::loop::create());
    auto port = or_throw(loop.listen_udp({"127.0.0.1", 9999}, std::make_shared<echo>()));
    loop.run();
} catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
}
