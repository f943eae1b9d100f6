// SPDX-License-Identifier: MIT
//
// Twisted's connected UDP: no address for each send, and news of a peer that is not there.
#include <quoit/quoit.hpp>

#include <iostream>

class helloer final : public quoit::datagram_protocol {
  public:
    explicit helloer(quoit::loop& loop) : loop_(loop) {}

  private:
    void started() override {
        or_throw(transport().connect({"127.0.0.1", 9999}));
        transport().send("hello");  // no need for an address
    }
    void datagram_received(quoit::datagram& received) override {
        std::cout << "received " << received.text() << std::endl;
        loop_.stop();
    }
    void connection_refused() override {
        std::cout << "No one listening" << std::endl;
        loop_.stop();
    }
    quoit::loop& loop_;
};

int main() try {
    auto loop = or_throw(quoit::loop::create());
    auto port = or_throw(loop.listen_udp({"127.0.0.1", 0}, std::make_shared<helloer>(loop)));
    loop.run();
} catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
}
