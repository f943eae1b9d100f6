// SPDX-License-Identifier: MIT
#include <quoit/stats.hpp>

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace quoit {
namespace {

// A ledger in which everything has happened and everything adds up.
stats balanced() {
    stats ledger;
    ledger.received = {
        .taken = 100,
        .passed = 90,
        .delivered = 70,
        .waiting = 5,
        .bytes = 1234,
        .empty = 2,
        .truncated = 1,
        .trains = 3,
        .refused = 4,
        .dropped = {
            .kernel_packets = 17, .queue_full = 9, .invalid = 4, .late = 6, .abandoned = 6}};
    ledger.sent.accepted = 50;
    ledger.sent.sent = 40;
    ledger.sent.waiting = 3;
    ledger.sent.bytes = 567;
    ledger.sent.errors = 5;
    ledger.sent.dropped = 2;
    ledger.sent.resent = 8;
    ledger.sent.blocked = 11;
    ledger.sent.reasons[0] = {.error = EPERM, .count = 5};
    ledger.leases_held = 12;
    return ledger;
}

// --- unexplained ---

TEST(stats, NothingHappenedAndNothingIsUnexplained) { EXPECT_EQ(stats{}.unexplained(), 0U); }

TEST(stats, WhatAddsUpIsExplained) { EXPECT_EQ(balanced().unexplained(), 0U); }

TEST(stats, ATakenDatagramThatReachedNoQueueIsUnexplained) {
    stats ledger = balanced();
    ledger.received.taken += 3;
    EXPECT_EQ(ledger.unexplained(), 3U);
}

TEST(stats, ADatagramThatReachedAQueueButWasNeverTakenIsUnexplainedToo) {
    stats ledger = balanced();
    ledger.received.taken -= 3;
    EXPECT_EQ(ledger.unexplained(), 3U);
}

TEST(stats, APassedDatagramThatIsNowhereIsUnexplained) {
    stats ledger = balanced();
    ledger.received.delivered -= 2;
    EXPECT_EQ(ledger.unexplained(), 2U);
}

TEST(stats, AnAcceptedSendThatIsNowhereIsUnexplained) {
    stats ledger = balanced();
    ledger.sent.accepted += 1;
    EXPECT_EQ(ledger.unexplained(), 1U);
}

TEST(stats, ErrorsOfDifferentIdentitiesDoNotCancelOut) {
    stats ledger = balanced();
    ledger.received.taken += 1;
    ledger.sent.accepted -= 1;
    EXPECT_EQ(ledger.unexplained(), 2U);
}

TEST(stats, EachTermOfTheIdentitiesCounts) {
    using term = std::uint64_t& (*)(stats&);
    const std::vector<term> terms{
        [](stats& s) -> auto& { return s.received.taken; },
        [](stats& s) -> auto& { return s.received.dropped.invalid; },
        [](stats& s) -> auto& { return s.received.dropped.late; },
        [](stats& s) -> auto& { return s.received.delivered; },
        [](stats& s) -> auto& { return s.received.dropped.queue_full; },
        [](stats& s) -> auto& { return s.received.dropped.abandoned; },
        [](stats& s) -> auto& { return s.received.waiting; },
        [](stats& s) -> auto& { return s.sent.accepted; },
        [](stats& s) -> auto& { return s.sent.sent; },
        [](stats& s) -> auto& { return s.sent.waiting; },
        [](stats& s) -> auto& { return s.sent.errors; },
        [](stats& s) -> auto& { return s.sent.dropped; },
    };
    for (std::size_t i = 0; i < terms.size(); ++i) {
        stats ledger = balanced();
        ++terms[i](ledger);
        EXPECT_EQ(ledger.unexplained(), 1U) << "term " << i;
    }
}

TEST(stats, WhatTheKernelDroppedWasNeverTakenAndIsNotPartOfTheIdentities) {
    stats ledger = balanced();
    ledger.received.dropped.kernel_packets += 1000;
    EXPECT_EQ(ledger.unexplained(), 0U);
}

// --- sums ---

TEST(stats, ASumAddsEveryCounter) {
    stats sum = balanced();
    sum += balanced();
    const stats one = balanced();
    EXPECT_EQ(sum.received.taken, 2 * one.received.taken);
    EXPECT_EQ(sum.received.passed, 2 * one.received.passed);
    EXPECT_EQ(sum.received.delivered, 2 * one.received.delivered);
    EXPECT_EQ(sum.received.waiting, 2 * one.received.waiting);
    EXPECT_EQ(sum.received.bytes, 2 * one.received.bytes);
    EXPECT_EQ(sum.received.empty, 2 * one.received.empty);
    EXPECT_EQ(sum.received.truncated, 2 * one.received.truncated);
    EXPECT_EQ(sum.received.trains, 2 * one.received.trains);
    EXPECT_EQ(sum.received.refused, 2 * one.received.refused);
    EXPECT_EQ(sum.received.dropped.kernel_packets, 2 * one.received.dropped.kernel_packets);
    EXPECT_EQ(sum.received.dropped.queue_full, 2 * one.received.dropped.queue_full);
    EXPECT_EQ(sum.received.dropped.invalid, 2 * one.received.dropped.invalid);
    EXPECT_EQ(sum.received.dropped.late, 2 * one.received.dropped.late);
    EXPECT_EQ(sum.received.dropped.abandoned, 2 * one.received.dropped.abandoned);
    EXPECT_EQ(sum.sent.accepted, 2 * one.sent.accepted);
    EXPECT_EQ(sum.sent.sent, 2 * one.sent.sent);
    EXPECT_EQ(sum.sent.waiting, 2 * one.sent.waiting);
    EXPECT_EQ(sum.sent.bytes, 2 * one.sent.bytes);
    EXPECT_EQ(sum.sent.errors, 2 * one.sent.errors);
    EXPECT_EQ(sum.sent.dropped, 2 * one.sent.dropped);
    EXPECT_EQ(sum.sent.resent, 2 * one.sent.resent);
    EXPECT_EQ(sum.sent.blocked, 2 * one.sent.blocked);
    EXPECT_EQ(sum.leases_held, 2 * one.leases_held);
    EXPECT_EQ(sum.unexplained(), 0U);
}

TEST(stats, ASumMergesReasonsByErrno) {
    stats sum;
    sum.sent.reasons[0] = {.error = EPERM, .count = 1};
    sum.sent.reasons[1] = {.error = ENETUNREACH, .count = 2};
    stats more;
    more.sent.reasons[0] = {.error = ENETUNREACH, .count = 30};
    more.sent.reasons[1] = {.error = EMSGSIZE, .count = 40};
    sum += more;
    EXPECT_EQ(sum.sent.reasons[0].error, EPERM);
    EXPECT_EQ(sum.sent.reasons[0].count, 1U);
    EXPECT_EQ(sum.sent.reasons[1].error, ENETUNREACH);
    EXPECT_EQ(sum.sent.reasons[1].count, 32U);
    EXPECT_EQ(sum.sent.reasons[2].error, EMSGSIZE);
    EXPECT_EQ(sum.sent.reasons[2].count, 40U);
    EXPECT_EQ(sum.sent.reasons[3].count, 0U);
}

TEST(stats, ANinthReasonIsInTheSumOfErrorsAlone) {
    stats sum;
    sum.sent.errors = 8;
    for (std::size_t i = 0; i < sum.sent.reasons.size(); ++i) {
        sum.sent.reasons[i] = {.error = static_cast<int>(i) + 1, .count = 1};
    }
    stats more;
    more.sent.errors = 1;
    more.sent.reasons[0] = {.error = 99, .count = 1};
    sum += more;
    EXPECT_EQ(sum.sent.errors, 9U);
    for (std::size_t i = 0; i < sum.sent.reasons.size(); ++i) {
        EXPECT_EQ(sum.sent.reasons[i].error, static_cast<int>(i) + 1);
        EXPECT_EQ(sum.sent.reasons[i].count, 1U);
    }
}

TEST(stats, ASumIsExactOnlyIfBothWere) {
    stats exact;
    stats inexact;
    inexact.is_exact = false;
    EXPECT_TRUE((stats{} += exact).is_exact);
    EXPECT_FALSE((stats{} += inexact).is_exact);
    EXPECT_FALSE((inexact += exact).is_exact);
}

TEST(engine_stats, ASumAddsEveryCounter) {
    engine_stats one;
    one.turns = 1;
    one.system_calls = 2;
    one.completions = 3;
    one.wakeups = 4;
    one.starved = 5;
    one.rearmed = {.empty = 6, .starved = 7, .overflow = 8, .error = 9, .resumed = 10};
    one.buffers = 11;
    one.buffers_held = 12;
    engine_stats sum = one;
    sum += one;
    EXPECT_EQ(sum.turns, 2U);
    EXPECT_EQ(sum.system_calls, 4U);
    EXPECT_EQ(sum.completions, 6U);
    EXPECT_EQ(sum.wakeups, 8U);
    EXPECT_EQ(sum.starved, 10U);
    EXPECT_EQ(sum.rearmed.empty, 12U);
    EXPECT_EQ(sum.rearmed.starved, 14U);
    EXPECT_EQ(sum.rearmed.overflow, 16U);
    EXPECT_EQ(sum.rearmed.error, 18U);
    EXPECT_EQ(sum.rearmed.resumed, 20U);
    EXPECT_EQ(sum.buffers, 22U);
    EXPECT_EQ(sum.buffers_held, 24U);
}

// --- printing ---

bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

TEST(stats, PrintingShowsBothSidesOfEachIdentity) {
    const std::string text = balanced().to_string();
    EXPECT_TRUE(has(text, "taken 100 = passed 90 + invalid 4 + after close 6")) << text;
    EXPECT_TRUE(has(text, "passed 90 = delivered 70 + queue full 9 + never read 6 + waiting 5"))
        << text;
    EXPECT_TRUE(has(text, "accepted 50 = sent 40 + waiting 3 + errors 5 + dropped 2")) << text;
    EXPECT_TRUE(has(text, "unexplained 0")) << text;
}

TEST(stats, PrintingNamesWhatWasLostByReason) {
    const std::string text = balanced().to_string();
    EXPECT_TRUE(has(text, "17 by the kernel (socket buffer full)")) << text;
    EXPECT_TRUE(has(text, "5 " + std::error_code(EPERM, std::system_category()).message())) << text;
}

TEST(stats, PrintingSaysNoneWhereNothingWasLost) {
    const std::string text = stats{}.to_string();
    EXPECT_FALSE(has(text, "queue full,")) << text;
    EXPECT_TRUE(has(text, "lost: none")) << text;
}

TEST(stats, PrintingClaimsNoExactKernelDropsOnceATrainWasSeen) {
    stats ledger = balanced();
    ledger.is_exact = false;
    EXPECT_TRUE(has(ledger.to_string(), "17 packets by the kernel (a dropped train counts as one)"))
        << ledger.to_string();
}

TEST(stats, PrintingCountsErrorsWithoutAReasonAsOther) {
    stats ledger = balanced();
    ledger.sent.reasons[0].count = 3;
    EXPECT_TRUE(has(ledger.to_string(), "2 other")) << ledger.to_string();
}

TEST(stats, PrintingEndsWithoutANewline) {
    EXPECT_FALSE(balanced().to_string().ends_with('\n'));
    std::ostringstream out;
    out << balanced();
    EXPECT_EQ(out.str(), balanced().to_string());
}

}  // namespace
}  // namespace quoit
