// SPDX-License-Identifier: MIT
//
// quoit inside Asio: a class of a dozen lines joins the two. Echoes on port 9999 with a coroutine
// of quoit's, and ends, with a count, on a SIGINT or SIGTERM that Asio catches.
#define ASIO_STANDALONE
#include <quoit/quoit.hpp>

#include <asio.hpp>

#include <csignal>
#include <iostream>
#include <system_error>
#include <utility>

quoit::task<> echo(asio::io_context& io, int& status) {
    auto opened = co_await quoit::start_udp_server({"127.0.0.1", 9999});
    if (!opened) {
        std::cerr << opened.error() << '\n';
        status = 1;
        io.stop();
        co_return;
    }
    quoit::udp_server server = *std::move(opened);
    std::cout << "listening on " << server.local_address() << std::endl;
    while (auto datagram = co_await server.read())
        server.reply(std::move(*datagram));
}

class quoit_in_asio {
  public:
    quoit_in_asio(asio::io_context& io, quoit::loop& loop)
        : loop_(loop), descriptor_(io, loop.descriptor()) {
        wait();
    }
    quoit_in_asio(const quoit_in_asio&) = delete;
    quoit_in_asio& operator=(const quoit_in_asio&) = delete;
    ~quoit_in_asio() { descriptor_.release(); }  // the loop's, not ours to close

  private:
    void wait() {
        descriptor_.async_wait(asio::posix::stream_descriptor::wait_read,
                               [this](const std::error_code& stopped) {
                                   if (stopped) return;
                                   loop_.poll();
                                   wait();
                               });
    }

    quoit::loop& loop_;
    asio::posix::stream_descriptor descriptor_;
};

int main() try {
    asio::io_context io;
    auto loop = or_throw(quoit::loop::create());
    int status = 0;
    loop.spawn(echo(io, status));
    const quoit_in_asio embedded(io, loop);

    asio::signal_set signals(io, SIGINT, SIGTERM);
    signals.async_wait([&](const std::error_code&, int) { io.stop(); });
    io.run();
    if (status != 0) return status;
    std::cout << "datagrams echoed: " << loop.stats().sent.sent << std::endl;
} catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
}
