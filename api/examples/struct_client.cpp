// SPDX-License-Identifier: MIT
//
// After the Python Cookbook, for struct_server: a datagram that comes back, then one with a struct.
#include <quoit/quoit.hpp>

#include <iostream>

using namespace std::chrono_literals;
using record = quoit::struct_format<"! I 2s Q 2h f">;

int main() try {
    auto client = or_throw(quoit::sync::open_udp_connection({"localhost", 9999}));
    client.send("data", {.timeout = 5s});
    const auto echo = or_throw(client.read({.timeout = 5s}));
    std::cout << "recv: " << echo.text() << '\n';
    client.send(record::pack(1, "ab", 2, 3, 3, 2.5F));
} catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
}
