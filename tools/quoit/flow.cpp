// SPDX-License-Identifier: MIT
#include "flow.hpp"

#include "failure.hpp"

#include <array>

namespace quoit::program {

namespace {

constexpr std::int64_t give_up_after_ns = 1'000'000'000;
constexpr std::size_t batch_size_max = 256;

}  // namespace

bool flow::send_one(std::int64_t intended_ns) {
    const probe_header header = context_.format.make_header(number_, window_.next(), intended_ns);
    const std::array<byte_view, 2> pieces{object_bytes(header),
                                          context_.format.body(header.sequence)};
    const status sent = context_.port.send(endpoint_, pieces);
    if (sent == errc::would_block) return false;
    if (!sent) throw run_error("send: " + sent.error().message());
    window_.sent();
    ++context_.counts.sent;
    return true;
}

std::uint32_t flow::send_up_to(std::uint32_t outstanding, std::uint32_t count_max) {
    if (window_.in_flight() >= outstanding) return 0;
    const std::int64_t now_ns = context_.now_ns();
    std::uint32_t count = 0;
    while (count < count_max && window_.in_flight() < outstanding && send_one(now_ns))
        ++count;
    return count;
}

void flow::receive() {
    for (;;) {
        datagram_batch batch;
        const status received = context_.port.receive_batch(endpoint_, batch_size_max, batch);
        if (received == errc::would_block || received == errc::closed) return;
        if (!received) continue;  // a refusal: the ledger counts it
        const std::int64_t now_ns = context_.now_ns();
        for (const datagram_view& one : batch)
            count(one, now_ns);
    }
}

void flow::count(const datagram_view& received, std::int64_t now_ns) {
    load_counts& counts = context_.counts;
    probe_header header;
    switch (context_.format.recognise(received.payload(), number_, header)) {
        case probe_kind::ours: break;
        case probe_kind::corrupted: ++counts.corrupted; return;
        case probe_kind::foreign: ++counts.foreign; return;
    }
    switch (window_.answered(header.sequence)) {
        case reply_kind::first: break;
        case reply_kind::reordered: ++counts.reordered; break;
        case reply_kind::duplicated: ++counts.duplicated; return;
        case reply_kind::forgotten: ++counts.forgotten; return;
        case reply_kind::never_sent: ++counts.corrupted; return;
    }
    ++counts.received;
    context_.round_trips.record(std::chrono::nanoseconds(now_ns - header.intended_ns));
}

void flow::give_up_old(std::int64_t now_ns) {
    while (!marks_.empty() && now_ns - marks_.front().at_ns >= give_up_after_ns) {
        window_.give_up_before(marks_.front().next);
        marks_.pop_front();
    }
    marks_.push_back({.at_ns = now_ns, .next = window_.next()});
}

}  // namespace quoit::program
