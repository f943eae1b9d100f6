// SPDX-License-Identifier: MIT
#include <quoit/packet_stats.hpp>

#include "runtime/ledger_words.hpp"

#include <ostream>

namespace quoit {

using detail::distance;
using detail::n;
using detail::reason_list;

std::uint64_t packet_stats::unexplained() const noexcept {
    const auto& of = connections;
    const std::uint64_t in = received.delivered + received.waiting + received.abandoned;
    const std::uint64_t out = sent.sent + sent.waiting + sent.dropped;
    const std::uint64_t ways =
        of.open + of.ended + of.reset + of.framing + of.slow + of.timed_out + of.closed;
    return distance(received.packets, in) + distance(sent.accepted, out) + distance(of.made, ways);
}

std::string packet_stats::to_string() const {
    const auto& in = received;
    const auto& of = connections;
    reason_list unsent;
    unsent.add(sent.dropped, "dropped with their connection");
    unsent.add(sent.dropped_slow, "refused, the peer was slow");

    return "received     packets " + n(in.packets) + " = delivered " + n(in.delivered) +
           " + never read " + n(in.abandoned) + " + waiting " + n(in.waiting) +
           "\n             bytes " + n(in.bytes) + ", of no packet " + n(in.bytes_discarded) +
           "\nsent         accepted " + n(sent.accepted) + " = sent " + n(sent.sent) +
           " + waiting " + n(sent.waiting) + " + dropped " + n(sent.dropped) +
           "\n             bytes " + n(sent.bytes) + ", blocked " + n(sent.blocked) +
           " times\n             lost: " + unsent.text() + "\nconnections  made " + n(of.made) +
           " = open " + n(of.open) + " + ended " + n(of.ended) + " + reset " + n(of.reset) +
           " + framing " + n(of.framing) + " + slow " + n(of.slow) + " + timed out " +
           n(of.timed_out) + " + closed " + n(of.closed) + "\n             failed " + n(of.failed) +
           ", errors of accept " + n(of.accept_errors) + "\nunexplained " + n(unexplained());
}

packet_stats& packet_stats::operator+=(const packet_stats& other) noexcept {
    received.packets += other.received.packets;
    received.bytes += other.received.bytes;
    received.delivered += other.received.delivered;
    received.waiting += other.received.waiting;
    received.abandoned += other.received.abandoned;
    received.bytes_discarded += other.received.bytes_discarded;

    sent.accepted += other.sent.accepted;
    sent.sent += other.sent.sent;
    sent.bytes += other.sent.bytes;
    sent.waiting += other.sent.waiting;
    sent.dropped += other.sent.dropped;
    sent.dropped_slow += other.sent.dropped_slow;
    sent.blocked += other.sent.blocked;

    connections.made += other.connections.made;
    connections.open += other.connections.open;
    connections.ended += other.connections.ended;
    connections.reset += other.connections.reset;
    connections.framing += other.connections.framing;
    connections.slow += other.connections.slow;
    connections.timed_out += other.connections.timed_out;
    connections.closed += other.connections.closed;
    connections.failed += other.connections.failed;
    connections.accept_errors += other.connections.accept_errors;
    return *this;
}

std::ostream& operator<<(std::ostream& out, const packet_stats& ledger) {
    return out << ledger.to_string();
}

}  // namespace quoit
