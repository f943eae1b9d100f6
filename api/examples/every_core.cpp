// SPDX-License-Identifier: MIT
//
// An echo server on every core: each has a socket of its own on the same port, and the kernel
// spreads the clients over them. Ends on Ctrl-C or SIGTERM.
#include <quoit/quoit.hpp>

quoit::task<> echo() {
    auto server = or_throw(co_await quoit::start_udp_server({"", 9999}, {.reuse_port = true}));
    while (auto datagram = co_await server.read())
        server.reply(std::move(*datagram));
}

int main() { return quoit::run_on_every_core(echo); }
