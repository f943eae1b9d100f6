// SPDX-License-Identifier: MIT
//
// Twisted's adopted datagram port: the echo, on a socket that this program opened itself.
#include <quoit/quoit.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <iostream>
#include <system_error>

class echo final : public quoit::datagram_protocol {
    void datagram_received(quoit::datagram& received) override {
        transport().reply(std::move(received));
    }
};

int open_socket() {
    const int descriptor = ::socket(AF_INET, SOCK_DGRAM, 0);
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(9999);
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(descriptor, reinterpret_cast<sockaddr*>(&where), sizeof where) != 0) {
        throw std::system_error(errno, std::system_category(), "bind 127.0.0.1:9999");
    }
    return descriptor;
}

int main() try {
    auto loop = or_throw(quoit::loop::create());
    const int descriptor = open_socket();
    auto port =
        or_throw(loop.adopt_udp(descriptor, quoit::ownership::duplicate, std::make_shared<echo>()));
    ::close(descriptor);  // ours; the loop has its own
    std::cout << "listening on " << port.local_address() << std::endl;
    loop.run();
} catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
}
