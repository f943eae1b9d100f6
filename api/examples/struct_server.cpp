// SPDX-License-Identifier: MIT
//
// After the Python Cookbook: says what the kernel's buffers are, then alternates between a datagram
// that is echoed and one that is a struct, and gives up after five idle seconds.
#include <quoit/quoit.hpp>

#include <iostream>
#include <string_view>

using namespace std::chrono_literals;
using record = quoit::struct_format<"! I 2s Q 2h f">;

quoit::task<> serve() {
    auto server = or_throw(
        co_await quoit::start_udp_server({"localhost", 9999}, {.receive_buffer_size = 212'992}));
    const auto receive = server.buffers().receive;
    std::cout << "Server address: " << server.local_address() << '\n'
              << "Receive buffer: asked " << receive.asked << ", granted " << receive.granted
              << " (max " << receive.granted_max << ")" << std::endl;
    for (;;) {
        auto echo = co_await server.read({.timeout = 5s});
        if (!echo) break;
        server.reply(*echo, echo->payload());

        auto datagram = co_await server.read({.timeout = 5s});
        if (!datagram) break;
        auto fields = record::unpack(*datagram);
        if (!fields) {
            std::cerr << datagram->peer() << ": " << fields.error() << '\n';
            continue;
        }
        const auto& [id, tag, serial, low, high, ratio] = *fields;
        std::cout << id << ' ' << std::string_view(tag.data(), tag.size()) << ' ' << serial << ' '
                  << low << ' ' << high << ' ' << ratio << std::endl;
    }
}

int main() { return quoit::run_main(serve()); }
