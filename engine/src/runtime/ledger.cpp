// SPDX-License-Identifier: MIT
#include <quoit/stats.hpp>

#include "runtime/ledger_words.hpp"

#include <ostream>
#include <system_error>

namespace quoit {

using detail::distance;
using detail::n;
using detail::reason_list;

std::uint64_t stats::unexplained() const noexcept {
    const auto& in = received;
    const std::uint64_t to_inbox =
        in.passed + in.dropped.invalid + in.dropped.late + in.dropped.unnamed;
    const std::uint64_t from_inbox =
        in.delivered + in.dropped.queue_full + in.dropped.abandoned + in.waiting;
    const std::uint64_t out = sent.sent + sent.waiting + sent.errors + sent.dropped;
    return distance(in.taken, to_inbox) + distance(in.passed, from_inbox) +
           distance(sent.accepted, out);
}

std::string stats::to_string() const {
    const auto& in = received;
    reason_list drops;
    drops.add(in.dropped.kernel_packets,
              is_exact ? "by the kernel (socket buffer full)"
                       : "packets by the kernel (a dropped train counts as one)");
    drops.add(in.dropped.queue_full, "queue full");
    drops.add(in.dropped.invalid, "invalid");
    drops.add(in.dropped.late, "after close");
    drops.add(in.dropped.abandoned, "never read");
    drops.add(in.dropped.unnamed, "from unnamed peers");
    reason_list errors;
    std::uint64_t named = 0;
    for (const auto& reason : sent.reasons) {
        errors.add(reason.count, std::error_code(reason.error, std::system_category()).message());
        named += reason.count;
    }
    errors.add(sent.errors - named, "other");
    errors.add(sent.dropped, "dropped on close");

    const std::string unnamed =
        in.dropped.unnamed == 0 ? "" : " + unnamed " + n(in.dropped.unnamed);
    return "received  taken " + n(in.taken) + " = passed " + n(in.passed) + " + invalid " +
           n(in.dropped.invalid) + " + after close " + n(in.dropped.late) + unnamed +
           "\n          passed " + n(in.passed) + " = delivered " + n(in.delivered) +
           " + queue full " + n(in.dropped.queue_full) + " + never read " +
           n(in.dropped.abandoned) + " + waiting " + n(in.waiting) + "\n          bytes " +
           n(in.bytes) + ", empty " + n(in.empty) + ", truncated " + n(in.truncated) + ", in " +
           n(in.trains) + " trains " + n(in.coalesced) + ", refusals " + n(in.refused) +
           "\n          lost: " + drops.text() + "\nsent      accepted " + n(sent.accepted) +
           " = sent " + n(sent.sent) + " + waiting " + n(sent.waiting) + " + errors " +
           n(sent.errors) + " + dropped " + n(sent.dropped) + "\n          bytes " + n(sent.bytes) +
           ", in " + n(sent.trains) + " trains " + n(sent.coalesced) + ", trains refused " +
           n(sent.trains_refused) + ", blocked " + n(sent.blocked) + " times, sent again " +
           n(sent.resent) + "\n          lost: " + errors.text() + "\nunexplained " +
           n(unexplained());
}

stats& stats::operator+=(const stats& other) noexcept {
    auto& in = received;
    const auto& more = other.received;
    in.taken += more.taken;
    in.passed += more.passed;
    in.delivered += more.delivered;
    in.waiting += more.waiting;
    in.bytes += more.bytes;
    in.empty += more.empty;
    in.truncated += more.truncated;
    in.trains += more.trains;
    in.coalesced += more.coalesced;
    in.refused += more.refused;
    in.dropped.kernel_packets += more.dropped.kernel_packets;
    in.dropped.queue_full += more.dropped.queue_full;
    in.dropped.invalid += more.dropped.invalid;
    in.dropped.late += more.dropped.late;
    in.dropped.abandoned += more.dropped.abandoned;
    in.dropped.unnamed += more.dropped.unnamed;
    in.ancillary_truncated += more.ancillary_truncated;

    sent.accepted += other.sent.accepted;
    sent.sent += other.sent.sent;
    sent.waiting += other.sent.waiting;
    sent.bytes += other.sent.bytes;
    sent.errors += other.sent.errors;
    sent.dropped += other.sent.dropped;
    sent.trains += other.sent.trains;
    sent.coalesced += other.sent.coalesced;
    sent.trains_refused += other.sent.trains_refused;
    sent.resent += other.sent.resent;
    sent.blocked += other.sent.blocked;
    for (const auto& reason : other.sent.reasons) {
        if (reason.count == 0) continue;
        for (auto& mine : sent.reasons) {
            if (mine.count != 0 && mine.error != reason.error) continue;
            mine.error = reason.error;
            mine.count += reason.count;
            break;
        }
    }
    leases_held += other.leases_held;
    is_exact = is_exact && other.is_exact;
    return *this;
}

std::ostream& operator<<(std::ostream& out, const stats& ledger) {
    return out << ledger.to_string();
}

engine_stats& engine_stats::operator+=(const engine_stats& other) noexcept {
    turns += other.turns;
    system_calls += other.system_calls;
    completions += other.completions;
    wakeups += other.wakeups;
    starved += other.starved;
    rearmed.empty += other.rearmed.empty;
    rearmed.starved += other.rearmed.starved;
    rearmed.overflow += other.rearmed.overflow;
    rearmed.error += other.rearmed.error;
    rearmed.resumed += other.rearmed.resumed;
    buffers += other.buffers;
    buffers_held += other.buffers_held;
    return *this;
}

}  // namespace quoit
