// SPDX-License-Identifier: MIT
//
// quoit_receive: receives and reads, for the cost of a datagram. An ordinary program on the public
// API, in the two ways there are to read: one by one and in batches. Like any reader, and like the
// raw loop it is compared with (bench/peers/peer_receive.cpp), it looks at the first 8 bytes of
// each datagram.
#include <quoit/quoit.hpp>

#include <CLI/CLI.hpp>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <utility>

#include <sys/resource.h>

namespace {

constexpr std::uint32_t receive_buffer_size = 4U << 20U;

struct settings {
    std::string bind = "127.0.0.1:0";
    std::string reading = "one";
    std::string backend = "auto";
    double duration_s = 0;  // 0: until a signal comes
};

struct totals {
    std::uint64_t datagrams = 0;
    std::uint64_t bytes = 0;
    std::uint64_t checksum = 0;

    void add(std::span<const std::byte> payload) {
        ++datagrams;
        bytes += payload.size();
        std::uint64_t first = 0;
        if (payload.size() >= sizeof first) std::memcpy(&first, payload.data(), sizeof first);
        checksum += first;
    }
};

std::int64_t cpu_ns() {
    struct rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    constexpr std::int64_t second_ns = 1'000'000'000;
    return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * second_ns +
           (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1000;
}

quoit::task<> read_one_by_one(quoit::udp_server& server, totals& all) {
    while (auto datagram = co_await server.read())
        all.add(datagram->payload());
}

quoit::task<> read_batches(quoit::udp_server& server, totals& all) {
    while (auto batch = co_await server.read_batch({.size_max = 1024})) {
        for (const quoit::datagram_view& datagram : *batch)
            all.add(datagram.payload());
    }
}

quoit::task<> receive(const settings& asked, totals& all, std::int64_t& cpu_ns_before_ready) {
    auto server = quoit::or_throw(co_await quoit::start_udp_server(
        quoit::host_port(asked.bind),
        {.queue_size_max = 65'536, .receive_buffer_size = receive_buffer_size}));
    quoit::future<> stop;
    const auto on_stop = [&](int) { (void)stop.set_value(); };
    const auto interrupted = quoit::or_throw(quoit::on_signal(SIGINT, on_stop));
    const auto terminated = quoit::or_throw(quoit::on_signal(SIGTERM, on_stop));
    cpu_ns_before_ready = cpu_ns();
    std::printf("listening on %s\n", server.local_address().to_string().c_str());
    std::fflush(stdout);

    quoit::task_group readers;
    if (asked.reading == "batch") {
        readers.spawn(read_batches(server, all));
    } else {
        readers.spawn(read_one_by_one(server, all));
    }
    quoit::wait_options limit;
    if (asked.duration_s > 0) limit.timeout = std::chrono::duration<double>(asked.duration_s);
    (void)co_await stop.wait(limit);
    server.close();
    co_await readers.join();
}

quoit::backend backend_of(const std::string& name) {
    if (name == "io_uring") return quoit::backend::io_uring;
    return name == "epoll" ? quoit::backend::epoll : quoit::backend::automatic;
}

}  // namespace

int main(int argc, char** argv) try {
    settings asked;
    CLI::App app("Receives datagrams and says what each cost, on quoit.");
    app.add_option("--bind", asked.bind, "Where to listen")->capture_default_str();
    app.add_option("--reading", asked.reading, "one or batch")
        ->check(CLI::IsMember({"one", "batch"}))
        ->capture_default_str();
    app.add_option("--backend", asked.backend, "auto, io_uring or epoll")
        ->check(CLI::IsMember({"auto", "io_uring", "epoll"}))
        ->capture_default_str();
    app.add_option("--duration", asked.duration_s, "End after so many seconds")
        ->check(CLI::NonNegativeNumber);
    CLI11_PARSE(app, argc, argv);

    totals all;
    std::int64_t cpu_ns_before_ready = 0;
    auto loop = quoit::or_throw(quoit::loop::create({.backend = backend_of(asked.backend)}));
    loop.run(receive(asked, all, cpu_ns_before_ready));
    std::printf(
        "{\"datagrams\":%llu,\"bytes\":%llu,\"checksum\":%llu,\"cpu_ns\":%lld,"
        "\"cpu_ns_before_ready\":%lld}\n",
        static_cast<unsigned long long>(all.datagrams), static_cast<unsigned long long>(all.bytes),
        static_cast<unsigned long long>(all.checksum), static_cast<long long>(cpu_ns()),
        static_cast<long long>(cpu_ns_before_ready));
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "quoit_receive: %s\n", error.what());
    return 1;
}
