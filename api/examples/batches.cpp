// SPDX-License-Identifier: MIT
//
// A busy-polling receiver: whole batches, kernel timestamps, TOS. As a coroutine that ends after
// five seconds of silence; or, `batches 1000`, as a plain loop that is turned by hand and ends
// after that many datagrams.
#include <quoit/quoit.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <iostream>
#include <string>

struct totals {
    std::uint64_t datagrams = 0;
    std::uint64_t congested = 0;  // marked CE by a router (RFC 3168)
    std::chrono::nanoseconds worst{};
};

void account(const quoit::datagram_batch& batch, totals& t) {
    const auto now = std::chrono::system_clock::now();
    for (const auto& datagram : batch) {
        ++t.datagrams;
        if ((datagram.tos().value_or(0) & 3U) == 3U) ++t.congested;
        if (const auto at = datagram.received_at()) {
            t.worst = std::max(t.worst, std::chrono::nanoseconds(now - *at));
        }
    }
}

quoit::task<> as_coroutine() {
    auto server = or_throw(co_await quoit::start_udp_server(
        {"", 9999}, {.received_metadata = quoit::metadata::timestamp | quoit::metadata::tos}));
    totals t;
    while (auto batch =
               co_await server.read_batch({.size_max = 64, .timeout = std::chrono::seconds(5)})) {
        account(*batch, t);
    }
    std::cout << t.datagrams << " datagrams, " << t.congested << " congested, " << t.worst.count()
              << " ns at worst\n";
}

// loop.poll() inside a task would turn a loop that is being turned: it aborts.
int as_loop(std::uint64_t count) {
    auto loop = or_throw(quoit::loop::create({.cpu = 1, .waiting = quoit::waiting::busy_poll}));
    auto server = or_throw(loop.run(
        quoit::start_udp_server({"", 9998}, {.received_metadata = quoit::metadata::timestamp})));
    totals t;
    while (t.datagrams < count) {
        loop.poll();
        if (auto batch = server.try_read_batch(64)) account(*batch, t);
    }
    std::cout << t.datagrams << " datagrams, " << t.worst.count() << " ns at worst\n";
    return 0;
}

int main(int argc, char** argv) try {
    if (argc > 1) return as_loop(std::stoull(argv[1]));
    return quoit::run_main(as_coroutine(), {.cpu = 1, .waiting = quoit::waiting::busy_poll});
} catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << '\n';
    return 1;
}
