// SPDX-License-Identifier: MIT
//
// UNIX datagrams: a log file's descriptor goes to the server, which writes into it and says who
// asked. Without an argument this is the server, with one the client.
#include <quoit/quoit.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <iostream>

using namespace std::chrono_literals;

quoit::task<> serve() {
    auto server = or_throw(quoit::start_unix_server(
        "quoit-example.sock", {.mode = 0600, .descriptors_max = 1, .receive_credentials = true}));
    std::cout << "serving " << server.local_address() << std::endl;
    while (auto datagram = co_await server.read()) {
        for (auto& file : datagram->take_descriptors()) {
            const auto text = datagram->text();
            if (::write(file.get(), text.data(), text.size()) < 0) std::cerr << "write failed\n";
        }
        if (auto who = datagram->credentials()) {
            std::cout << "from process " << who->pid << std::endl;
        }
        server.reply(*datagram, "done");
    }
}

quoit::task<> ask() {
    // Binds itself to a name of the kernel's choice, so it can be answered.
    auto client = or_throw(quoit::open_unix_connection("quoit-example.sock"));
    const quoit::file_descriptor log(
        ::open("quoit-example.log", O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600));
    const int passed[] = {log.get()};
    or_throw(client.send("a line\n", {.descriptors = passed}));
    const auto answer = or_throw(co_await client.read({.timeout = 1s}));
    std::cout << answer.text() << '\n';
}

int main(int argc, char**) { return quoit::run_main(argc > 1 ? ask() : serve()); }
