// SPDX-License-Identifier: MIT
//
// What the log is told of endpoints: that they are there, what the kernel did not grant, and what
// became of their datagrams. Once for each; a sink that keeps no information costs nothing.
#include "joined.hpp"
#include "loop_core.hpp"

#include <exception>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace quoit::detail {

namespace {

/// "listening on 127.0.0.1:9999", "connected from 127.0.0.1:4000 to 127.0.0.1:9999".
std::string opening_words(const port& on, const loop_endpoint& endpoint) {
    const std::string local = joined(endpoint.local_addresses());
    const std::optional<address> peer = on.peer_address(endpoint.id());
    return peer ? "connected from " + local + " to " + peer->to_string() : "listening on " + local;
}

/// " (io_uring, receive buffer 425984 of at most 8388608 bytes)".
std::string on_what(const port& on, const buffer_size& receive) {
    return " (" + std::string(to_string(on.capabilities().backend)) + ", receive buffer " +
           std::to_string(receive.granted) + " of at most " + std::to_string(receive.granted_max) +
           " bytes)";
}

/// "received 12 (1 dropped), delivered 10 (1 unread), sent 10 (0 failed)".
std::string one_line(const stats& ledger) {
    const receive_stats& in = ledger.received;
    const send_stats& out = ledger.sent;
    const std::uint64_t dropped = in.dropped.kernel_packets + in.dropped.queue_full +
                                  in.dropped.invalid + in.dropped.late + in.dropped.abandoned;
    return "received " + std::to_string(in.taken) + " (" + std::to_string(dropped) +
           " dropped), delivered " + std::to_string(in.delivered) + " (" +
           std::to_string(in.waiting) + " unread), sent " + std::to_string(out.sent) + " (" +
           std::to_string(out.errors + out.dropped) + " failed)";
}

/// "3 connections (1 open), received 12 packets, delivered 12 (0 unread), sent 9 (0 dropped)".
std::string one_line(const packet_stats& ledger) {
    const packet_stats::receives& in = ledger.received;
    const packet_stats::sends& out = ledger.sent;
    return std::to_string(ledger.connections.made) + " connections (" +
           std::to_string(ledger.connections.open) + " open), received " +
           std::to_string(in.packets) + " packets, delivered " + std::to_string(in.delivered) +
           " (" + std::to_string(in.waiting + in.abandoned) + " unread), sent " +
           std::to_string(out.sent) + " (" + std::to_string(out.dropped + out.dropped_slow) +
           " dropped)";
}

/// Empty when the kernel granted what was asked. It doubles what it grants (socket(7)).
std::string shortage(std::string_view which, const buffer_size& size, std::string_view limit,
                     const loop_endpoint& endpoint) {
    if (size.granted / 2 >= size.asked) return {};
    return "the " + std::string(which) + " buffer of " + joined(endpoint.local_addresses()) +
           " has " + std::to_string(size.granted / 2) + " bytes instead of the " +
           std::to_string(size.asked) + " asked for: net.core." + std::string(limit) +
           " allows no more";
}

}  // namespace

void loop_core::announce_opening(const loop_endpoint& endpoint) const noexcept {
    try {
        const udp_options asked = port_.options(endpoint.id());
        const bool asked_for_buffers =
            asked.receive_buffer_size != 0 || asked.send_buffer_size != 0;
        if (!wants_information() && !asked_for_buffers) return;
        const buffer_sizes sizes = port_.buffers(endpoint.id());
        for (const std::string& line : {shortage("receive", sizes.receive, "rmem_max", endpoint),
                                        shortage("send", sizes.send, "wmem_max", endpoint)}) {
            if (!line.empty()) log(log_level::warning, line);
        }
        if (wants_information()) {
            log(log_level::info, opening_words(port_, endpoint) + on_what(port_, sizes.receive));
        }
    } catch (const std::exception&) {
        log(log_level::info, "opened an endpoint");  // there was no memory for more
    }
}

void loop_core::announce_closing(const loop_endpoint& endpoint) const noexcept {
    if (!wants_information()) return;
    try {
        log(log_level::info,
            "closed " + joined(endpoint.local_addresses()) + ": " + one_line(endpoint.stats()));
    } catch (const std::exception&) {
        log(log_level::info, "closed an endpoint");  // there was no memory for more
    }
}

void loop_core::announce_packets(std::string_view words) const noexcept {
    if (!wants_information()) return;
    try {
        log(log_level::info,
            std::string(words) + " (" + std::string(to_string(port_.capabilities().backend)) + ")");
    } catch (const std::exception&) {
        log(log_level::info, words);  // there was no memory for more
    }
}

void loop_core::announce_packets_closed(std::string_view what,
                                        const packet_stats& ledger) const noexcept {
    if (!wants_information()) return;
    try {
        log(log_level::info, "closed " + std::string(what) + ": " + one_line(ledger));
    } catch (const std::exception&) {
        log(log_level::info, "closed a stream of packets");  // there was no memory for more
    }
}

}  // namespace quoit::detail
