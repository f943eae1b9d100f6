// SPDX-License-Identifier: MIT
//
// quoit_cores: an echo server on several cores whose handler works for each datagram, as servers
// do. An ordinary program on the public API. The work is a fixed number of steps and not a time, so
// that a core that has to share its CPU is seen to do less.
#include <quoit/quoit.hpp>

#include <CLI/CLI.hpp>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <utility>

namespace {

constexpr std::uint32_t receive_buffer_size = 4U << 20U;

struct settings {
    std::string bind = "127.0.0.1:0";
    std::string backend = "auto";
    std::uint32_t cores = 1;
    std::uint32_t work = 0;  // steps per datagram
};

// Each step needs the one before.
std::uint64_t work_on(std::uint64_t value, std::uint32_t steps) {
    for (std::uint32_t i = 0; i < steps; ++i)
        value = (value ^ (value >> 29U)) * 0x9E3779B97F4A7C15U + i;
    return value;
}

quoit::task<> serve(std::size_t core, const settings& asked, quoit::core_group& group) {
    quoit::signal_subscription terminated;
    if (core == 0) terminated = or_throw(quoit::on_signal(SIGTERM, [&](int) { group.stop(); }));
    auto server = or_throw(co_await quoit::start_udp_server(
        quoit::host_port(asked.bind),
        {.receive_buffer_size = receive_buffer_size, .reuse_port = true}));
    if (core == 0) {
        std::printf("listening on %s (cores %u)\n", server.local_address().to_string().c_str(),
                    asked.cores);
        std::fflush(stdout);
    }
    std::uint64_t checksum = core;
    while (auto datagram = co_await server.read()) {
        checksum = work_on(checksum + datagram->payload().size(), asked.work);
        server.reply(std::move(*datagram));
    }
    if (checksum == 0) std::puts("a checksum of 0");  // so that the work is not for nothing
}

quoit::backend backend_of(const std::string& name) {
    if (name == "io_uring") return quoit::backend::io_uring;
    return name == "epoll" ? quoit::backend::epoll : quoit::backend::automatic;
}

}  // namespace

int main(int argument_count, char** arguments) {
    settings asked;
    CLI::App app("An echo server on several cores whose handler works.", "quoit_cores");
    app.add_option("--bind", asked.bind, "ADDRESS:PORT");
    app.add_option("--backend", asked.backend, "auto, io_uring or epoll");
    app.add_option("--cores", asked.cores, "How many");
    app.add_option("--work", asked.work, "Steps per datagram, about two nanoseconds each");
    CLI11_PARSE(app, argument_count, arguments);
    try {
        auto group = or_throw(quoit::core_group::create(
            {.core_count = asked.cores, .loop = {.backend = backend_of(asked.backend)}}));
        group.run([&](std::size_t core) { return serve(core, asked, group); });
        std::printf("{\"taken\":[");
        for (std::size_t core = 0; core < group.core_count(); ++core) {
            std::printf("%s%llu", core == 0 ? "" : ",",
                        static_cast<unsigned long long>(group.stats(core).received.taken));
        }
        std::printf("]}\n");
        return 0;
    } catch (const std::exception& why) {
        std::fprintf(stderr, "quoit_cores: %s\n", why.what());
        return 1;
    }
}
