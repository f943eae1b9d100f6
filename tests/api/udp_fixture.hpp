// SPDX-License-Identifier: MIT
//
// What the tests of servers and clients share: a fixture that runs each test on every backend this
// build has, without and with a worker, and a server with a client connected to it. What the
// fixture asks of every test, and how it skips, stands in integration/acceptance_fixture.hpp.
#pragma once

#include "integration/acceptance_fixture.hpp"

#include <string>
#include <utility>

namespace quoit::test {

// No aggregate: see docs/coroutines.md.
class udp_pair {
  public:
    udp_pair(udp_server s, udp_client c) noexcept : server(std::move(s)), client(std::move(c)) {}
    udp_server server;
    udp_client client;
};
inline task<udp_pair> open_pair() {
    auto server = or_throw(co_await start_udp_server({"127.0.0.1", 0}));
    auto client = or_throw(co_await open_udp_connection(server.local_address()));
    co_return udp_pair(std::move(server), std::move(client));
}

class udp_case : public acceptance {
  protected:
    /// The callable is kept while the task runs.
    template <task_function Body>
    void run(Body body) {
        acceptance::run(body());
    }
};

/// io_uring_workers_0 and so on.
inline std::string setting_name(const ::testing::TestParamInfo<acceptance_setting>& of) {
    return to_string(of.param);
}

}  // namespace quoit::test
