// SPDX-License-Identifier: MIT
//
// The addresses of the hosts that are named, looked up at once.
#include <quoit/quoit.hpp>

#include <iostream>
#include <string>
#include <vector>

quoit::task<> look_up(std::string name) {
    auto found = co_await quoit::resolve(name, 0);
    if (!found) {
        std::cerr << found.error() << '\n';
        co_return;
    }
    std::cout << name;
    for (const auto& address : *found)
        std::cout << ' ' << address.host();
    std::cout << std::endl;
}

quoit::task<> look_up_all(std::vector<std::string> names) {
    quoit::task_group lookups;
    for (const auto& name : names)
        lookups.spawn(look_up(name));
    co_await lookups.join();
}

int main(int argc, char** argv) { return quoit::run_main(look_up_all({argv + 1, argv + argc})); }
