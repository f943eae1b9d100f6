// SPDX-License-Identifier: MIT
//
// A server on a socket that somebody else opened and bound: here this program, more often an init
// system or a parent process. Whatever came before the server was there is answered too. Answers
// five datagrams, then ends. Try it with echo_client.
#include <quoit/quoit.hpp>

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <utility>

int open_socket() {
    const int descriptor = ::socket(AF_INET, SOCK_DGRAM, 0);
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_port = htons(9999);
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(descriptor, reinterpret_cast<const sockaddr*>(&here), sizeof here) != 0) {
        std::perror("bind 127.0.0.1:9999");
        std::exit(1);
    }
    return descriptor;
}

quoit::task<> echo(int descriptor) {
    // From here on the descriptor is the server's, which closes it.
    auto server = or_throw(quoit::adopt_udp_server(descriptor, quoit::ownership::take));
    std::cout << "listening on " << server.local_address() << std::endl;
    for (int count = 0; count < 5; ++count) {
        auto datagram = or_throw(co_await server.read());
        server.reply(std::move(datagram));
    }
}

int main() { return quoit::run_main(echo(open_socket())); }
