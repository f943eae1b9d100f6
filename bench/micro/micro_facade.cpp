// SPDX-License-Identifier: MIT
//
// What the coroutine facade and the engine below it cost a datagram, without the kernel. The public
// loop runs on a backend that is defined here, in the place of make_backend() of the library: each
// turn it says that 64 datagrams of 64 bytes have come, and it takes everything that is sent. The
// rest is the library as users get it. (The backend of the tests, tests/support/fake_backend.hpp,
// keeps its datagrams in maps and vectors behind a mutex, which would be most of what is measured.)
//
//   read/train, read/plain          co_await server.read(), one by one
//   read_batch/train, .../plain     co_await server.read_batch(), then a look at each
//   echo/WAY/train, .../plain       WAY: reply  read(); reply(std::move(datagram)), no copy
//                                        sendto read(); sendto(payload, peer), a copy
//                                        batch  read_batch(); reply(view, payload), a copy
//   task, turn, spawn_join, ...     coroutines alone
//
// `train`: the 64 came coalesced, in one buffer (UDP_GRO); `plain`: each in a buffer of its own.
// Each figure is the whole way in user space, from the backend's events to the buffer's return, a
// 64th of a turn of the loop included. One thread. items_per_second: datagrams, or awaits.
#include "backend/select.hpp"
#include "net/sockaddr.hpp"

#include <quoit/quoit.hpp>

#include <benchmark/benchmark.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#ifndef UDP_GRO
#define UDP_GRO 104  // since Linux 5.0, <linux/udp.h>
#endif

namespace {

using namespace std::chrono_literals;
using namespace quoit::detail;
using quoit::task;

constexpr std::uint32_t datagrams_per_turn = 64;
constexpr std::uint32_t payload_size = 64;

// --- a kernel that costs next to nothing ---

// One source. Its pool's buffers are filled when it is attached and never again.
class flooding_backend final : public io_backend {
  public:
    explicit flooding_backend(const backend_options& options) : pools_(options.pools) {}

    [[nodiscard]] const quoit::capabilities& about() const noexcept override { return about_; }

    source_id attach(int /*fd*/, const source_options& options) override {
        source_ = options;
        free_.clear();
        const buffer_pool& pool = *pools_[static_cast<std::size_t>(options.pool)];
        for (std::uint32_t buffer = pool.count(); buffer > 0; --buffer) {
            fill(pool, buffer - 1);
            free_.push_back(buffer - 1);
        }
        return {};
    }
    void set(source_id /*source*/, interest /*wanted*/) override {}
    void detach(source_id /*source*/) override { is_detached_ = true; }

    send_result send(source_id /*source*/, std::span<const outgoing> messages) override {
        return {.sent = static_cast<std::uint32_t>(messages.size())};
    }

    void recycle(buffer_class /*pool*/, std::span<const std::uint32_t> buffers) override {
        free_.insert(free_.end(), buffers.begin(), buffers.end());
    }

    quoit::status join(waiting_set& /*set*/) override { return quoit::errc::not_supported; }
    bool prepare_to_wait() override { return true; }

    void turn(steady_time /*deadline*/, event_sink& sink) override {
        if (!source_) return;
        std::array<event, datagrams_per_turn> events{};
        std::size_t count = 0;
        for (; count < events_per_turn() && !free_.empty() && !is_detached_; ++count) {
            events[count] = {
                .tag = source_->tag,
                .buffer = free_.back(),
                .value = message_size(),
                .segment = source_->has_gro ? std::uint16_t{payload_size} : std::uint16_t{0},
                .kind = event_kind::datagram,
                .pool = source_->pool};
            free_.pop_back();
        }
        if (is_detached_) {
            events[count++] = {.tag = source_->tag, .kind = event_kind::detached};
            source_.reset();
            is_detached_ = false;
        }
        if (count > 0) sink.deliver(std::span(events).first(count));
    }

    void wake() noexcept override {}

  private:
    [[nodiscard]] std::size_t events_per_turn() const noexcept {
        return source_->has_gro ? 1 : datagrams_per_turn;
    }
    [[nodiscard]] std::uint32_t bytes_per_message() const noexcept {
        return source_->has_gro ? datagrams_per_turn * payload_size : payload_size;
    }
    [[nodiscard]] std::uint32_t message_size() const noexcept {
        return source_->layout.payload_offset() + bytes_per_message();
    }
    void fill(const buffer_pool& pool, std::uint32_t buffer) const {
        const socket_address peer(quoit::address("127.0.0.1", 9999));
        const message_layout layout = source_->layout;
        pool.unpoison(buffer);
        std::byte* const at = pool.data(buffer);
        std::memset(at, 0, message_size());
        message_header header;
        header.name_size = peer.size();
        header.payload_size = bytes_per_message();
        if (source_->has_gro) {
            cmsghdr control{};
            control.cmsg_len = CMSG_LEN(sizeof(int));
            control.cmsg_level = SOL_UDP;
            control.cmsg_type = UDP_GRO;
            const int segment = payload_size;
            std::memcpy(at + layout.control_offset(), &control, sizeof control);
            std::memcpy(at + layout.control_offset() + CMSG_LEN(0), &segment, sizeof segment);
            header.control_size = CMSG_SPACE(sizeof(int));
        }
        std::memcpy(at, &header, sizeof header);
        std::memcpy(at + message_layout::header_size, peer.get(), peer.size());
    }

    quoit::capabilities about_;
    std::array<buffer_pool*, buffer_class_count> pools_;
    std::optional<source_options> source_;
    bool is_detached_ = false;
    std::vector<std::uint32_t> free_;
};

}  // namespace

// In the place of the library's, whose object file is then not taken from the archive.
quoit::result<std::unique_ptr<io_backend>> quoit::detail::make_backend(
    backend /*wanted*/, const backend_options& options) {
    return std::make_unique<flooding_backend>(options);
}

namespace {

// --- datagrams ---

enum class arriving : std::uint8_t { train, plain };

task<quoit::udp_server> open(arriving how) {
    quoit::udp_options options;
    // One that fits the small buffers, which hold no trains.
    if (how == arriving::plain) options.payload_size_max = 1472;
    options.offload = how == arriving::plain ? quoit::offload::off : quoit::offload::on;
    co_return or_throw(co_await quoit::start_udp_server({"127.0.0.1", 0}, options));
}

using way = task<> (*)(benchmark::State&, arriving);

void on_a_loop(benchmark::State& state, way measured, arriving how) {
    quoit::run(measured(state, how));
    state.SetItemsProcessed(state.iterations() * datagrams_per_turn);
}

task<> read(benchmark::State& state, arriving how) {
    auto server = co_await open(how);
    for ([[maybe_unused]] auto iteration : state) {
        for (std::uint32_t i = 0; i < datagrams_per_turn; ++i) {
            const auto received = co_await server.read();
            if (!received || received->size() != payload_size) {
                state.SkipWithError("a datagram of another size");
            }
        }
    }
}
BENCHMARK_CAPTURE(on_a_loop, train, read, arriving::train)->Name("read/train");
BENCHMARK_CAPTURE(on_a_loop, plain, read, arriving::plain)->Name("read/plain");

task<> read_batch(benchmark::State& state, arriving how) {
    auto server = co_await open(how);
    for ([[maybe_unused]] auto iteration : state) {
        for (std::uint32_t left = datagrams_per_turn; left > 0;) {
            const auto received = co_await server.read_batch({.size_max = left});
            for (const quoit::datagram_view& one : *received) {
                if (one.size() != payload_size) state.SkipWithError("a datagram of another size");
                --left;
            }
        }
    }
}
BENCHMARK_CAPTURE(on_a_loop, train, read_batch, arriving::train)->Name("read_batch/train");
BENCHMARK_CAPTURE(on_a_loop, plain, read_batch, arriving::plain)->Name("read_batch/plain");

task<> echo_by_reply(benchmark::State& state, arriving how) {
    auto server = co_await open(how);
    for ([[maybe_unused]] auto iteration : state) {
        for (std::uint32_t i = 0; i < datagrams_per_turn; ++i) {
            auto received = co_await server.read();
            if (!server.reply(*std::move(received))) state.SkipWithError("not sent");
        }
    }
}
BENCHMARK_CAPTURE(on_a_loop, train, echo_by_reply, arriving::train)->Name("echo/reply/train");
BENCHMARK_CAPTURE(on_a_loop, plain, echo_by_reply, arriving::plain)->Name("echo/reply/plain");

task<> echo_by_sendto(benchmark::State& state, arriving how) {
    auto server = co_await open(how);
    for ([[maybe_unused]] auto iteration : state) {
        for (std::uint32_t i = 0; i < datagrams_per_turn; ++i) {
            const auto received = co_await server.read();
            if (!server.sendto(received->payload(), received->peer())) {
                state.SkipWithError("not sent");
            }
        }
    }
}
BENCHMARK_CAPTURE(on_a_loop, train, echo_by_sendto, arriving::train)->Name("echo/sendto/train");
BENCHMARK_CAPTURE(on_a_loop, plain, echo_by_sendto, arriving::plain)->Name("echo/sendto/plain");

task<> echo_by_batch(benchmark::State& state, arriving how) {
    auto server = co_await open(how);
    for ([[maybe_unused]] auto iteration : state) {
        for (std::uint32_t left = datagrams_per_turn; left > 0;) {
            const auto received = co_await server.read_batch({.size_max = left});
            for (const quoit::datagram_view& one : *received) {
                if (!server.reply(one, one.payload())) state.SkipWithError("not sent");
                --left;
            }
        }
    }
}
BENCHMARK_CAPTURE(on_a_loop, train, echo_by_batch, arriving::train)->Name("echo/batch/train");
BENCHMARK_CAPTURE(on_a_loop, plain, echo_by_batch, arriving::plain)->Name("echo/batch/plain");

// --- coroutines ---

void on_a_loop(benchmark::State& state, task<> (*measured)(benchmark::State&)) {
    quoit::run(measured(state));
    state.SetItemsProcessed(state.iterations());
}

task<int> answer() { co_return 42; }

// A frame made, run, and given back, without a turn of the loop.
task<> await_task(benchmark::State& state) {
    for ([[maybe_unused]] auto iteration : state) {
        int value = co_await answer();
        benchmark::DoNotOptimize(value);
    }
}
BENCHMARK_CAPTURE(on_a_loop, task, await_task)->Name("task");

// Suspended and resumed once, by a turn of the loop that finds nothing else.
task<> await_turn(benchmark::State& state) {
    for ([[maybe_unused]] auto iteration : state) {
        quoit::status outcome = co_await quoit::sleep(0ns);
        benchmark::DoNotOptimize(outcome);
    }
}
BENCHMARK_CAPTURE(on_a_loop, turn, await_turn)->Name("turn");

// By the ready list: a turn starts the task, and who joins is resumed by a later one.
task<> spawn_and_join(benchmark::State& state) {
    for ([[maybe_unused]] auto iteration : state) {
        const auto running = quoit::spawn(answer());
        auto outcome = co_await running.join();
        benchmark::DoNotOptimize(outcome);
    }
}
BENCHMARK_CAPTURE(on_a_loop, spawn_join, spawn_and_join)->Name("spawn_join");

// Tasks side by side share those turns. Per task.
task<> spawn_and_join_many(benchmark::State& state) {
    std::array<quoit::task_handle<int>, 64> running;
    for ([[maybe_unused]] auto iteration : state) {
        for (auto& one : running)
            one = quoit::spawn(answer());
        for (auto& one : running) {
            auto outcome = co_await one.join();
            benchmark::DoNotOptimize(outcome);
        }
    }
    state.SetItemsProcessed(state.iterations() * 64);
}
void spawn_join_64(benchmark::State& state) { quoit::run(spawn_and_join_many(state)); }
BENCHMARK(spawn_join_64)->Name("spawn_join/64");

// Set before it is waited for: no turn.
task<> future_set_wait(benchmark::State& state) {
    for ([[maybe_unused]] auto iteration : state) {
        quoit::future<int> reply;
        reply.set_value(42);
        auto outcome = co_await reply.wait();
        benchmark::DoNotOptimize(outcome);
    }
}
BENCHMARK_CAPTURE(on_a_loop, future_set_wait, future_set_wait)->Name("future/set_wait");

task<> set(quoit::future<int>* reply) {
    reply->set_value(42);
    co_return;
}

// Waited for before it is set, by a task that was spawned for it.
task<> future_wait_set(benchmark::State& state) {
    for ([[maybe_unused]] auto iteration : state) {
        quoit::future<int> reply;
        const auto setting = quoit::spawn(set(&reply));
        auto outcome = co_await reply.wait();
        benchmark::DoNotOptimize(outcome);
    }
}
BENCHMARK_CAPTURE(on_a_loop, future_wait_set, future_wait_set)->Name("future/wait_set");

}  // namespace

BENCHMARK_MAIN();
