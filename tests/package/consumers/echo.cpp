// SPDX-License-Identifier: MIT
//
// What a stranger builds: an echo over loopback on both backends. It sees quoit as an installed
// package, or as a subdirectory, and nothing else of this repository.
//
// Exit status: 0 every echo came back; 1 it did not, or io_uring cannot be had where
// QUOIT_REQUIRE_IO_URING is 1. Elsewhere it says that io_uring is left out, and why.
#include <quoit/quoit.hpp>

#include <cstdlib>
#include <iostream>
#include <string_view>

using namespace std::chrono_literals;

static_assert(QUOIT_VERSION ==
              QUOIT_VERSION_MAJOR * 1000000 + QUOIT_VERSION_MINOR * 1000 + QUOIT_VERSION_PATCH);

quoit::task<> talk() {
    auto server = or_throw(co_await quoit::start_udp_server({"127.0.0.1", 0}));
    const quoit::host_port where("127.0.0.1", server.local_address().port());
    auto client = or_throw(co_await quoit::open_udp_connection(where));

    client.send("Hello, World!");
    auto request = or_throw(co_await server.read({.timeout = 10s}));
    server.reply(request, request.payload());
    auto answer = or_throw(co_await client.read({.timeout = 10s}));
    if (answer.text() != "Hello, World!") throw std::runtime_error("another text came back");
}

bool is_io_uring_required() {
    const char* const asked = std::getenv("QUOIT_REQUIRE_IO_URING");
    return asked != nullptr && asked == std::string_view("1");
}

int main() {
    if (quoit::run_main(talk(), {.backend = quoit::backend::epoll}) != 0) return 1;
    std::cout << "echoed on epoll\n";

    auto ring = quoit::loop::create({.backend = quoit::backend::io_uring});
    if (!ring) {
        std::cout << "skipped: io_uring: " << ring.error() << '\n';
        return is_io_uring_required() ? 1 : 0;
    }
    ring->run(talk());
    std::cout << "echoed on io_uring\n";
    return 0;
}
