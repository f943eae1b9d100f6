// SPDX-License-Identifier: MIT
//
// quoit inside a loop that is not quoit's: one descriptor to watch, one function to call. Echoes on
// port 9999, and ends when its standard input does, which the same loop watches.
#include <quoit/quoit.hpp>

#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <iostream>
#include <memory>
#include <utility>

class echo final : public quoit::datagram_protocol {
    void datagram_received(quoit::datagram& received) override {
        transport().reply(std::move(received));
    }
};

int main() try {
    auto loop = or_throw(quoit::loop::create());
    auto port = or_throw(loop.listen_udp({"127.0.0.1", 9999}, std::make_shared<echo>()));
    std::cout << "listening on " << port.local_address() << std::endl;

    const quoit::file_descriptor epoll(::epoll_create1(EPOLL_CLOEXEC));
    for (const int watched : {loop.descriptor(), STDIN_FILENO}) {
        epoll_event watch{};
        watch.events = EPOLLIN;
        watch.data.fd = watched;
        if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, watched, &watch) != 0) {
            std::perror("watch a descriptor");  // a standard input that is a file, for example
            return 1;
        }
    }
    for (epoll_event event{};;) {
        const int count = ::epoll_wait(epoll.get(), &event, 1, -1);
        if (count < 0 && errno != EINTR) return 1;
        if (count <= 0) continue;
        if (event.data.fd == loop.descriptor()) {
            loop.poll();
        } else {
            std::array<char, 256> line{};
            if (::read(STDIN_FILENO, line.data(), line.size()) <= 0) return 0;
        }
    }
} catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
}
