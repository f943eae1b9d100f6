// SPDX-License-Identifier: MIT
//
// A request/reply client: a thousand requests at once over one connected socket, each with a
// deadline and one retry; a thousand-and-first is cancelled. Any echo server on port 9999 answers,
// graceful_shutdown for example.
#include <quoit/quoit.hpp>

#include <cstdint>
#include <cstring>
#include <iostream>
#include <string>
#include <unordered_map>

using namespace std::chrono_literals;

class requester {
  public:
    explicit requester(quoit::udp_client client) : client_(std::move(client)) {
        reader_.spawn(read_replies());
    }

    quoit::task<quoit::result<quoit::datagram>> ask(std::string body, quoit::time_limit limit) {
        const std::uint32_t id = next_id_++;
        quoit::future<quoit::datagram> reply;
        // Leaves the table however the request ends: reply, deadline or cancellation.
        struct entry {
            requester& owner;
            std::uint32_t id;
            ~entry() { owner.pending_.erase(id); }
        } const registered{*this, id};
        pending_.emplace(id, &reply);
        for (int attempt = 0; attempt < 2; ++attempt) {
            if (auto sent = client_.send_pieces({quoit::object_bytes(id), body}); !sent) {
                co_return std::unexpected(sent.error());
            }
            auto answer = co_await reply.wait({.timeout = limit});
            if (answer || answer.error() != quoit::errc::timed_out) co_return answer;
        }
        co_return quoit::failure(quoit::errc::timed_out);
    }
    void close() { client_.close(); }

  private:
    quoit::task<> read_replies() {
        while (auto datagram = co_await client_.read()) {
            std::uint32_t id = 0;
            if (datagram->size() < sizeof id) continue;
            std::memcpy(&id, datagram->payload().data(), sizeof id);
            if (auto found = pending_.find(id); found != pending_.end()) {
                found->second->set_value(std::move(*datagram));
            }
        }
    }

    quoit::udp_client client_;
    std::unordered_map<std::uint32_t, quoit::future<quoit::datagram>*> pending_;
    std::uint32_t next_id_ = 0;
    quoit::task_group reader_;  // last, so that it ends before what it uses
};

quoit::task<> one(requester& requests, int number, int& answered) {
    auto reply = co_await requests.ask("request " + std::to_string(number), 200ms);
    if (reply) ++answered;
}

quoit::task<> ask_everything() {
    requester requests(or_throw(co_await quoit::open_udp_connection(
        {"127.0.0.1", 9999}, {.receive_buffer_size = 1 << 20})));
    int answered = 0;
    quoit::task_group group;
    for (int i = 0; i < 1000; ++i)
        group.spawn(one(requests, i, answered));
    auto unwanted = quoit::spawn(one(requests, 1000, answered));
    unwanted.cancel();
    auto in_time = co_await quoit::with_timeout(group.join(), 2s);
    std::cout << answered << " answers, " << (in_time ? "all in time" : in_time.error().message())
              << '\n';
    auto ended = co_await unwanted.join();  // it refers to what dies with this function
    requests.close();
    if (!ended) std::cout << "the unwanted one: " << ended.error().message() << '\n';
}

int main() { return quoit::run_main(ask_everything()); }
