// SPDX-License-Identifier: MIT
#include "packets_send.hpp"

#include "failure.hpp"
#include "standard_input.hpp"
#include "units.hpp"

#include <quoit/quoit.hpp>

#include <csignal>
#include <cstdio>
#include <deque>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace quoit::program {

namespace {

using namespace std::chrono_literals;

// Packets without an answer, and bytes of them: then input waits. A server that answers each packet
// must have room for so many answers while it reads on.
constexpr std::uint64_t unanswered_max = 1024;
constexpr std::size_t unanswered_size_max = 256UZ << 10U;

void print_line(std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fputc('\n', stdout);
}

void flush_output() {
    if (std::fflush(stdout) != 0) throw run_error("cannot write to standard output");
}

// One connection. Sending and receiving are two tasks; this is what they share.
class dialogue {
  public:
    dialogue(const packets_send_settings& settings, packet_client client)
        : settings_(settings), client_(std::move(client)) {}

    [[nodiscard]] packet_client& client() noexcept { return client_; }
    [[nodiscard]] std::uint64_t sent() const noexcept { return sent_; }
    [[nodiscard]] std::uint64_t received() const noexcept { return received_; }
    [[nodiscard]] const std::string& reason() const noexcept { return reason_; }

    /// Until the input is at its end, or nothing can be written any more.
    task<> send_all() {
        standard_input input(settings_.common.packet_size_max);
        while (!input.is_over()) {
            const auto lines = co_await input.next();
            if (!lines) {
                if (lines.error() == errc::canceled) co_return;
                client_.abort();  // wakes who waits for an answer
                throw run_error(words_of(lines.error()));
            }
            for (const std::string& line : *lines) {
                const bool is_sent = co_await send(line);
                if (!is_sent) co_return;
            }
        }
        end_of_input();
    }
    /// Nothing more will be sent.
    void end_of_input() {
        is_all_sent_ = true;
        if (is_complete()) client_.close();  // wakes who waits for an answer
    }

    /// Until everything is answered, or there will be no more answers.
    task<> receive_all() {
        while (!is_complete()) {
            const auto answer = co_await client_.read();
            if (!answer) {
                if (!is_complete()) end(answer.error().message());
                break;
            }
            take(*answer);
            take_what_is_there();
            flush_output();
        }
        giving_up_.cancel();
        client_.close();
    }

    /// Waits for nothing any more.
    void abort(std::string why) {
        end(std::move(why));
        client_.abort();
    }

  private:
    [[nodiscard]] bool is_complete() const noexcept { return is_all_sent_ && received_ >= sent_; }

    // The first reason is the one that tells.
    void end(std::string why) {
        if (reason_.empty()) reason_ = std::move(why);
        is_ended_ = true;
        answered_->set_value();
    }

    task<bool> send(const std::string& line) {
        while (!is_ended_ && has_enough_unanswered(line.size())) {
            answered_.emplace();
            const auto waited = co_await answered_->wait();
            if (!waited) co_return false;
        }
        status written = client_.write(line);
        while (written == errc::would_block) {
            const status drained = co_await client_.drain();
            if (!drained) co_return false;
            written = client_.write(line);
        }
        if (!written) co_return false;  // reading tells why
        if (sent_++ == received_) wait_for_answer();
        unanswered_sizes_.push_back(line.size());
        unanswered_size_ += line.size();
        co_return true;
    }
    [[nodiscard]] bool has_enough_unanswered(std::size_t more) const noexcept {
        return !unanswered_sizes_.empty() && (unanswered_sizes_.size() >= unanswered_max ||
                                              unanswered_size_ + more > unanswered_size_max);
    }

    void take(const packet& answer) {
        print_line(answer.text());
        ++received_;
        if (!unanswered_sizes_.empty()) {
            unanswered_size_ -= unanswered_sizes_.front();
            unanswered_sizes_.pop_front();
        }
        answered_->set_value();
        giving_up_.cancel();
        if (received_ < sent_) wait_for_answer();
    }
    void take_what_is_there() {
        while (!is_complete()) {
            const auto answer = client_.try_read();
            if (!answer) return;
            take(*answer);
        }
    }
    void wait_for_answer() {
        giving_up_ = loop::current().call_later(settings_.timeout, [this] {
            abort(fmt::format("no answer came for {}", format_duration(settings_.timeout)));
        });
    }

    [[nodiscard]] std::string words_of(const error& why) const {
        if (why != std::errc::message_size) return why.message();
        return fmt::format("standard input: a line is longer than --size-max, {} bytes",
                           settings_.common.packet_size_max);
    }

    const packets_send_settings& settings_;
    packet_client client_;
    std::uint64_t sent_ = 0;
    std::uint64_t received_ = 0;
    std::deque<std::size_t> unanswered_sizes_;
    std::size_t unanswered_size_ = 0;
    std::optional<future<>> answered_{std::in_place};
    timer giving_up_;
    std::string reason_;
    bool is_all_sent_ = false;
    bool is_ended_ = false;
};

packet_options options_of(const packets_send_settings& settings) {
    return {
        .framing = settings.common.framing,
        .packet_size_max = settings.common.packet_size_max,
        .on_slow_peer = slow_peer::wait,
        .connect_timeout = std::chrono::duration_cast<std::chrono::milliseconds>(settings.timeout)};
}

task<packets_send_result> send(const packets_send_settings& settings) {
    const packet_options options = options_of(settings);
    auto opened = co_await open_packet_connection(settings.target, options);
    if (!opened) throw run_error(opened.error().message());
    dialogue talk(settings, *std::move(opened));
    packet_client& client = talk.client();
    // The first one ends the input, the second everything.
    task_group sending;
    bool is_interrupted = false;
    const auto on_stop = [&](int) {
        if (std::exchange(is_interrupted, true) || !client.is_connected()) {
            talk.abort("interrupted");
        } else {
            sending.cancel();
            talk.end_of_input();
        }
    };
    const auto interrupted = or_throw(on_signal(SIGINT, on_stop));
    const auto terminated = or_throw(on_signal(SIGTERM, on_stop));

    const auto started = std::chrono::steady_clock::now();
    packets_send_result result;
    const status connected = co_await client.wait_connected();
    if (connected) {
        sending.spawn(talk.send_all());
        co_await talk.receive_all();
        sending.cancel();  // it may still wait for input
        co_await sending.join();
    } else {
        talk.abort(connected.error().message());
    }
    result.reason = talk.reason();
    client.close();
    co_await client.wait_closed();
    result.running_time = std::chrono::steady_clock::now() - started;
    result.sent = talk.sent();
    result.received = talk.received();
    result.ledger = client.stats();
    co_return result;
}

}  // namespace

packets_send_result run_packets_send(const packets_send_settings& settings) {
    auto made = loop::create(
        {.backend = settings.common.backend, .worker_count = settings.common.worker_count});
    if (!made) throw run_error(made.error().message());
    packets_send_result result = made->run(send(settings));
    result.engine = made->engine_stats();
    result.capabilities = made->capabilities();
    return result;
}

}  // namespace quoit::program
