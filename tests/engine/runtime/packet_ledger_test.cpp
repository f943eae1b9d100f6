// SPDX-License-Identifier: MIT
#include <quoit/packet_stats.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace quoit {
namespace {

using counter = std::uint64_t& (*)(packet_stats&);

const std::vector<counter> terms{
    [](packet_stats& s) -> auto& { return s.received.packets; },
    [](packet_stats& s) -> auto& { return s.received.delivered; },
    [](packet_stats& s) -> auto& { return s.received.waiting; },
    [](packet_stats& s) -> auto& { return s.received.abandoned; },
    [](packet_stats& s) -> auto& { return s.sent.accepted; },
    [](packet_stats& s) -> auto& { return s.sent.sent; },
    [](packet_stats& s) -> auto& { return s.sent.waiting; },
    [](packet_stats& s) -> auto& { return s.sent.dropped; },
    [](packet_stats& s) -> auto& { return s.connections.made; },
    [](packet_stats& s) -> auto& { return s.connections.open; },
    [](packet_stats& s) -> auto& { return s.connections.ended; },
    [](packet_stats& s) -> auto& { return s.connections.reset; },
    [](packet_stats& s) -> auto& { return s.connections.framing; },
    [](packet_stats& s) -> auto& { return s.connections.slow; },
    [](packet_stats& s) -> auto& { return s.connections.timed_out; },
    [](packet_stats& s) -> auto& { return s.connections.closed; },
};
const std::vector<counter> others{
    [](packet_stats& s) -> auto& { return s.received.bytes; },
    [](packet_stats& s) -> auto& { return s.received.bytes_discarded; },
    [](packet_stats& s) -> auto& { return s.sent.bytes; },
    [](packet_stats& s) -> auto& { return s.sent.dropped_slow; },
    [](packet_stats& s) -> auto& { return s.sent.blocked; },
    [](packet_stats& s) -> auto& { return s.connections.failed; },
    [](packet_stats& s) -> auto& { return s.connections.accept_errors; },
};

// A ledger in which everything has happened and everything adds up.
packet_stats balanced() {
    packet_stats ledger;
    ledger.received = {.packets = 100,
                       .bytes = 1234,
                       .delivered = 90,
                       .waiting = 6,
                       .abandoned = 4,
                       .bytes_discarded = 77};
    ledger.sent = {.accepted = 50,
                   .sent = 40,
                   .bytes = 567,
                   .waiting = 3,
                   .dropped = 7,
                   .dropped_slow = 8,
                   .blocked = 9};
    ledger.connections = {.made = 21,
                          .open = 1,
                          .ended = 2,
                          .reset = 3,
                          .framing = 4,
                          .slow = 5,
                          .timed_out = 0,
                          .closed = 6,
                          .failed = 10,
                          .accept_errors = 11};
    return ledger;
}

bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

// --- unexplained ---

TEST(packet_stats, NothingHappenedAndNothingIsUnexplained) {
    EXPECT_EQ(packet_stats{}.unexplained(), 0U);
}

TEST(packet_stats, WhatAddsUpIsExplained) { EXPECT_EQ(balanced().unexplained(), 0U); }

TEST(packet_stats, EachTermOfTheIdentitiesCountsInEitherDirection) {
    for (std::size_t i = 0; i < terms.size(); ++i) {
        packet_stats ledger = balanced();
        terms[i](ledger) += 3;
        EXPECT_EQ(ledger.unexplained(), 3U) << "term " << i;
        ledger = balanced();
        if (terms[i](ledger) == 0) continue;
        terms[i](ledger) -= 1;
        EXPECT_EQ(ledger.unexplained(), 1U) << "term " << i;
    }
}

TEST(packet_stats, WhatIsInNoIdentityExplainsNothing) {
    for (std::size_t i = 0; i < others.size(); ++i) {
        packet_stats ledger = balanced();
        others[i](ledger) += 3;
        EXPECT_EQ(ledger.unexplained(), 0U) << "counter " << i;
    }
}

TEST(packet_stats, ErrorsOfDifferentIdentitiesDoNotCancelOut) {
    packet_stats ledger = balanced();
    ledger.received.packets += 1;
    ledger.sent.accepted -= 1;
    ledger.connections.made += 1;
    EXPECT_EQ(ledger.unexplained(), 3U);
}

// --- sums ---

TEST(packet_stats, ASumAddsEveryCounterToItsOwn) {
    static_assert(sizeof(packet_stats) == 23 * sizeof(std::uint64_t), "a counter is missing here");
    ASSERT_EQ(terms.size() + others.size(), 23U);
    std::vector<counter> all = terms;
    all.insert(all.end(), others.begin(), others.end());
    packet_stats one;
    packet_stats sum;
    for (std::size_t i = 0; i < all.size(); ++i) {
        all[i](one) = std::uint64_t{1} << i;
        all[i](sum) = 1000;
    }
    sum += one;
    for (std::size_t i = 0; i < all.size(); ++i)
        EXPECT_EQ(all[i](sum), 1000 + (std::uint64_t{1} << i)) << "counter " << i;
}

// --- printing ---

TEST(packet_stats, PrintingShowsBothSidesOfEachIdentity) {
    const std::string text = balanced().to_string();
    EXPECT_TRUE(has(text, "packets 100 = delivered 90 + never read 4 + waiting 6")) << text;
    EXPECT_TRUE(has(text, "accepted 50 = sent 40 + waiting 3 + dropped 7")) << text;
    EXPECT_TRUE(has(text,
                    "made 21 = open 1 + ended 2 + reset 3 + framing 4 + slow 5 + "
                    "timed out 0 + closed 6"))
        << text;
    EXPECT_TRUE(has(text, "unexplained 0")) << text;
}

TEST(packet_stats, PrintingNamesWhatIsBesideTheIdentities) {
    const std::string text = balanced().to_string();
    EXPECT_TRUE(has(text, "bytes 1234, of no packet 77")) << text;
    EXPECT_TRUE(has(text, "bytes 567, blocked 9 times")) << text;
    EXPECT_TRUE(has(text, "lost: 7 dropped with their connection, 8 refused, the peer was slow"))
        << text;
    EXPECT_TRUE(has(text, "failed 10, errors of accept 11")) << text;
}

TEST(packet_stats, PrintingSaysNoneWhereNothingWasLost) {
    EXPECT_TRUE(has(packet_stats{}.to_string(), "lost: none"));
}

TEST(packet_stats, PrintingSaysHowMuchIsUnexplained) {
    packet_stats ledger = balanced();
    ledger.received.packets += 2;
    EXPECT_TRUE(has(ledger.to_string(), "unexplained 2")) << ledger.to_string();
}

TEST(packet_stats, PrintingEndsWithoutANewline) {
    EXPECT_FALSE(balanced().to_string().ends_with('\n'));
    std::ostringstream out;
    out << balanced();
    EXPECT_EQ(out.str(), balanced().to_string());
}

}  // namespace
}  // namespace quoit
