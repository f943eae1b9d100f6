// SPDX-License-Identifier: MIT
//
// Python's socketserver: a handler for each request, on two threads; requests that begin with "!"
// are not for it. Says so when ten seconds pass without any. Ctrl-C ends it.
#include <quoit/request_server.hpp>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <iostream>
#include <string>

using namespace std::chrono_literals;

struct upper final : quoit::request_handler {
    void handle(quoit::request& request) override {
        std::string text(request.text());
        std::ranges::transform(text, text.begin(), [](unsigned char letter) {
            return static_cast<char>(std::toupper(letter));
        });
        request.reply(text);
    }
};

class upper_server final : public quoit::request_server<upper> {
  public:
    using request_server::request_server;

  protected:
    bool verify(const quoit::request& request) override { return !request.text().starts_with("!"); }
    void on_error(const quoit::request& request, std::exception_ptr /*thrown*/) override {
        std::cerr << "failed for " << request.peer() << '\n';
    }
    void on_timeout() override { std::cerr << "nothing came\n"; }
};

int main() {
    upper_server server({"127.0.0.1", 9999}, {.threads = 2, .timeout = 10s});
    if (auto served = server.serve_forever(); !served) {
        std::cerr << served.error().message() << '\n';
        return 1;
    }
}
