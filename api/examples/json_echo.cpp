// SPDX-License-Identifier: MIT
//
// A JSON echo server with a conversational handler. A datagram that is no JSON is answered with an
// error; a peer that stops in the middle of its conversation is let go after 30 s.
#include <quoit/json.hpp>
#include <quoit/quoit.hpp>

#include <iostream>

using namespace std::chrono_literals;
using nlohmann::json;

class echo_handler final : public quoit::datagram_handler<quoit::json_codec> {
  public:
    quoit::task<> handle(quoit::conversation<quoit::json_codec> client) override {
        for (;;) {
            auto request = co_await client.next({.timeout = 30s});
            if (request) {
                std::cout << client.peer().host() << " sent " << *request << std::endl;
                client.send(*request);
            } else if (request.error() == quoit::errc::bad_datagram) {
                client.send(json{{"error", "Invalid JSON"}, {"code", "parse_error"}});
            } else {
                co_return;  // timed out, or the server is closing
            }
        }
    }
    quoit::task<> service_started(quoit::task_group& background) override {
        background.spawn(say_so());
        std::cout << "serving" << std::endl;
        co_return;
    }

  private:
    static quoit::task<> say_so() {
        while (co_await quoit::sleep(60s))
            std::cout << "still here" << std::endl;
    }
};

quoit::task<> serve() {
    quoit::udp_service service({"127.0.0.1", 9999}, quoit::json_codec{}, echo_handler{});
    or_throw(co_await service.serve_forever());
}

int main() { return quoit::run_main(serve()); }
