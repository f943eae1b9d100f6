// SPDX-License-Identifier: MIT
//
// What queueing and flushing cost a datagram without the kernel: 64 are pushed, then flushed to a
// function that takes everything.
//
//   leases/train     the echo of one train: 64 leases of one buffer, one behind the other
//   leases/alone     64 leases of a buffer each, to one peer: gathered into one message
//   leases/mixed     the same, to 64 peers: 64 messages
//   copies/one_peer  64 payloads copied in, to one peer
//   copies/mixed     64 payloads copied in, to 64 peers
//
// Payloads are 64 bytes. Making the leases is not timed, giving their buffers back is: it is a part
// of the flush. items_per_second: datagrams; `messages`: what the kernel would have been handed.
#include "backend/buffer_pool.hpp"
#include "runtime/send_queue.hpp"

#include <benchmark/benchmark.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace {

using namespace quoit::detail;
using quoit::address;
using quoit::byte_view;
using quoit::datagram;

constexpr std::uint32_t datagram_count = 64;
constexpr std::uint32_t payload_size = 64;

address peer(std::uint32_t index) {
    return {quoit::ip("127.0.0.1"), static_cast<std::uint16_t>(10'000 + index)};
}

enum class lying : std::uint8_t { in_one_buffer, in_a_buffer_each };

// Leases for the 64 datagrams of one flush, as an inbox would hand them out.
class lease_maker {
  public:
    lease_maker()
        : pool_(or_throw(buffer_pool::create(
              {.count = 256, .stride = large_buffer_stride, .socket_count = 1}))) {
        for (std::uint32_t buffer = pool_->count(); buffer > 0; --buffer)
            free_.push_back(buffer - 1);
    }
    void make(lying how, std::vector<datagram>& into) {
        std::uint32_t buffer = 0;
        for (std::uint32_t i = 0; i < datagram_count; ++i) {
            if (i == 0 || how == lying::in_a_buffer_each) {
                buffer = free_.back();
                free_.pop_back();
                pool_->unpoison(buffer);
                pool_->adopt(buffer, 0);
            } else {
                pool_->retain(buffer);
            }
            datagram_fields fields;
            fields.data = pool_->data(buffer);
            if (how == lying::in_one_buffer) fields.data += std::size_t{i} * payload_size;
            fields.size = fields.original_size = payload_size;
            fields.peer = peer(0);
            into.emplace_back(*pool_, buffer, fields);
        }
    }
    void take_back() {
        pool_->take_returned(returned_);
        free_.insert(free_.end(), returned_.begin(), returned_.end());
    }

  private:
    buffer_pool::owner pool_;
    std::vector<std::uint32_t> free_;
    std::vector<std::uint32_t> returned_;
};

// The flush, and what is reported of it.
class kernel {
  public:
    void flush(send_queue& queue) {
        const auto take_all = [this](std::span<const outgoing> messages) {
            messages_ += messages.size();
            benchmark::DoNotOptimize(messages);
            return send_result{.sent = static_cast<std::uint32_t>(messages.size())};
        };
        queue.flush(ledger_, take_all, [](int) {});
    }
    void report(benchmark::State& state) const {
        if (ledger_.sent != static_cast<std::uint64_t>(state.iterations()) * datagram_count) {
            state.SkipWithError("not every datagram was sent");
        }
        state.counters["messages"] =
            benchmark::Counter(static_cast<double>(messages_), benchmark::Counter::kAvgIterations);
        state.SetItemsProcessed(state.iterations() * datagram_count);
    }

  private:
    quoit::send_stats ledger_;
    std::uint64_t messages_ = 0;
};

std::array<address, datagram_count> destinations(std::uint32_t count) {
    std::array<address, datagram_count> made;
    for (std::uint32_t i = 0; i < datagram_count; ++i)
        made[i] = peer(i % count);
    return made;
}

void leases(benchmark::State& state, lying how, std::uint32_t peer_count) {
    using clock = std::chrono::steady_clock;
    lease_maker maker;
    kernel takes_all;
    send_queue queue;
    std::vector<datagram> made;
    const auto to = destinations(peer_count);
    for ([[maybe_unused]] auto iteration : state) {
        made.clear();
        maker.make(how, made);
        const clock::time_point begin = clock::now();
        for (std::uint32_t i = 0; i < datagram_count; ++i)
            queue.push(std::move(made[i]), &to[i]);
        takes_all.flush(queue);
        const clock::time_point end = clock::now();
        state.SetIterationTime(std::chrono::duration<double>(end - begin).count());
        maker.take_back();
    }
    takes_all.report(state);
}
BENCHMARK_CAPTURE(leases, train, lying::in_one_buffer, 1)->UseManualTime();
BENCHMARK_CAPTURE(leases, alone, lying::in_a_buffer_each, 1)->UseManualTime();
BENCHMARK_CAPTURE(leases, mixed, lying::in_a_buffer_each, datagram_count)->UseManualTime();

void copies(benchmark::State& state, std::uint32_t peer_count) {
    kernel takes_all;
    send_queue queue;
    const std::vector<std::byte> bytes(payload_size);
    const byte_view payload(bytes);
    const auto to = destinations(peer_count);
    for ([[maybe_unused]] auto iteration : state) {
        for (const address& one : to)
            queue.push(std::span(&payload, 1), &one);
        takes_all.flush(queue);
    }
    takes_all.report(state);
}
BENCHMARK_CAPTURE(copies, one_peer, 1);
BENCHMARK_CAPTURE(copies, mixed, datagram_count);

}  // namespace

BENCHMARK_MAIN();
