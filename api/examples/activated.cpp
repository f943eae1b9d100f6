// SPDX-License-Identifier: MIT
//
// A server that an init system starts when the first datagram comes, on a socket which that has
// opened: no datagram is lost while this starts, and the port may be one that only root can bind.
// Ends after ten quiet seconds; the next datagram starts it again. With systemd:
//
//   systemd-socket-activate --datagram --listen 127.0.0.1:9999 --fdname echo ./activated
#include <quoit/quoit.hpp>

#include <chrono>
#include <iostream>
#include <utility>

quoit::task<> echo() {
    auto socket = or_throw(quoit::take_inherited_socket("echo"));
    // The init system goes on using it: what nobody has read when this ends is for the next one.
    auto server = or_throw(quoit::adopt_udp_server(socket.get(), quoit::ownership::duplicate));
    std::cout << "listening on " << server.local_address() << std::endl;
    for (;;) {
        auto datagram = co_await server.read({.timeout = std::chrono::seconds(10)});
        if (!datagram) break;
        server.reply(std::move(*datagram));
    }
}

int main() { return quoit::run_main(echo()); }
