// SPDX-License-Identifier: MIT
//
// Ping and pong over a multicast group on lo. Without an argument the server, which joins the group
// and answers by unicast, until it is interrupted; with any argument the client, which asks once.
#include <quoit/quoit.hpp>

#include <chrono>
#include <iostream>

using namespace std::chrono_literals;

quoit::task<> server() {
    auto socket =
        or_throw(co_await quoit::start_udp_server({"0.0.0.0", 9999}, {.listen_multiple = true}));
    or_throw(socket.set_multicast({.ttl = 5}));
    or_throw(socket.join_group("228.0.0.5", {.interface = "lo"}));
    while (auto datagram = co_await socket.read()) {
        std::cout << datagram->text() << " from " << datagram->peer() << std::endl;
        if (datagram->text() == "Client: Ping") socket.reply(*datagram, "Server: Pong");
    }
}

quoit::task<> client() {
    auto socket = or_throw(co_await quoit::start_udp_server({"0.0.0.0", 0}));
    or_throw(
        socket.set_multicast({.ttl = 1, .loopback = true, .interface = quoit::ip("127.0.0.1")}));
    socket.sendto("Client: Ping", {"228.0.0.5", 9999});
    auto reply = co_await socket.read({.timeout = 1s});
    std::cout << (reply ? reply->to_string() : reply.error().message()) << '\n';
}

int main(int argc, char**) { return quoit::run_main(argc > 1 ? client() : server()); }
