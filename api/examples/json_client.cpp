// SPDX-License-Identifier: MIT
//
// Sends its arguments as JSON and waits three seconds for a JSON reply. echo_server answers it too:
// what comes back is what was sent.
#include <quoit/json.hpp>
#include <quoit/quoit.hpp>

#include <iostream>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using nlohmann::json;

quoit::task<> talk(std::vector<std::string> words) {
    auto connection = or_throw(co_await quoit::open_udp_connection({"127.0.0.1", 9999}));
    quoit::message_channel client(std::move(connection), quoit::json_codec{});
    const json request{{"command-line arguments", words}};
    or_throw(client.send(request));
    std::cout << "Sent:     " << request << '\n';
    auto reply = or_throw(co_await client.read({.timeout = 3s}));
    std::cout << "Received: " << reply << '\n';
}

int main(int argc, char** argv) { return quoit::run_main(talk({argv + 1, argv + argc})); }
