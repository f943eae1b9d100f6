// SPDX-License-Identifier: MIT
//
// The send queue with each datagram by itself; send_queue_trains_test.cpp has what is coalesced.
#include "engine/runtime/send_queue_test.hpp"

namespace quoit::detail {
namespace {

// --- what is sent ---

TEST_F(send_queue_test, AnEmptyQueueIsNotAnnouncedToTheKernel) {
    plain_queue queue;
    EXPECT_TRUE(queue.is_empty());
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(calls_, 0U);
}

TEST_F(send_queue_test, SendsInTheOrderOfPushing) {
    plain_queue queue;
    push_numbers(queue, 1000);
    EXPECT_EQ(queue.count(), 1000U);
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(sent_, test::numbers(1000));
    EXPECT_EQ(ledger_.sent, 1000U);
    EXPECT_EQ(queue.count(), 0U);
    EXPECT_EQ(queue.byte_count(), 0U);
}

TEST_F(send_queue_test, PiecesBecomeOneDatagram) {
    plain_queue queue;
    const std::array<byte_view, 4> pieces{"a", "", "bc", "def"};
    queue.push(pieces, &somebody);
    EXPECT_EQ(queue.byte_count(), 6U);
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(sent_, (strings{"abcdef"}));
    EXPECT_EQ(ledger_.bytes, 6U);
}

TEST_F(send_queue_test, AnEmptyDatagramIsSent) {
    plain_queue queue;
    push(queue, "");
    queue.push(std::span<const byte_view>(), &somebody);
    EXPECT_EQ(queue.count(), 2U);
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(sent_, (strings{"", ""}));
    EXPECT_EQ(ledger_.sent, 2U);
}

TEST_F(send_queue_test, EveryDatagramHasItsOwnDestination) {
    plain_queue queue;
    const address other("127.0.0.2", 10);
    push(queue, "a", &somebody);
    push(queue, "b", &other);
    push(queue, "c", nullptr);
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(destinations_, (std::vector<std::optional<address>>{somebody, other, std::nullopt}));
}

TEST_F(send_queue_test, TheBytesAreCopiedWhenPushed) {
    plain_queue queue;
    std::string text = "before";
    push(queue, text);
    text = "after!";
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(sent_, (strings{"before"}));
}

// --- a kernel that takes a part ---

TEST_F(send_queue_test, WhatTheKernelDidNotTakeStaysInOrder) {
    plain_queue queue;
    push_numbers(queue, 10);
    answers_ = {{.sent = 4, .error = EAGAIN}};
    EXPECT_EQ(flush(queue), outcome::blocked);
    EXPECT_EQ(queue.count(), 6U);
    EXPECT_EQ(queue.byte_count(), 6U);
    EXPECT_EQ(ledger_.blocked, 1U);
    push_numbers(queue, 5, 10);
    answers_ = {{.sent = 0, .error = EAGAIN}, {.sent = 1, .error = EAGAIN}};
    EXPECT_EQ(flush(queue), outcome::blocked);
    EXPECT_EQ(flush(queue), outcome::blocked);
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(sent_, test::numbers(15));
    EXPECT_EQ(ledger_.sent, 15U);
    EXPECT_EQ(ledger_.blocked, 3U);
    EXPECT_EQ(ledger_.errors, 0U);
}

TEST_F(send_queue_test, AShortCountWithoutAnErrorIsNoReasonToStop) {
    plain_queue queue;
    push_numbers(queue, 10);
    answers_ = {{.sent = 3}, {.sent = 3}};
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(sent_, test::numbers(10));
}

TEST_F(send_queue_test, DroppingSaysHowManyAndLeavesAQueueThatWorks) {
    plain_queue queue;
    push_numbers(queue, 10);
    answers_ = {{.sent = 4, .error = EAGAIN}};
    EXPECT_EQ(flush(queue), outcome::blocked);
    EXPECT_EQ(queue.drop(), 6U);
    EXPECT_TRUE(queue.is_empty());
    EXPECT_EQ(queue.byte_count(), 0U);
    push(queue, "new");
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(sent_.back(), "new");
}

// --- leases ---

TEST_F(send_queue_test, ALeaseIsHeldUntilTheFlush) {
    plain_queue queue;
    queue.push(lease("leased"), &somebody);
    EXPECT_EQ(pool().leased(), 1U);
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(sent_, (strings{"leased"}));
    EXPECT_EQ(pool().leased(), 0U);
}

TEST_F(send_queue_test, ALeaseNeverWaitsForTheKernel) {
    plain_queue queue;
    for (int i = 0; i < 10; ++i) {
        queue.push(lease("leased " + std::to_string(i)), &somebody);
        push(queue, "copied " + std::to_string(i));
    }
    answers_ = {{.sent = 5, .error = EAGAIN}};
    EXPECT_EQ(flush(queue), outcome::blocked);
    EXPECT_EQ(pool().leased(), 0U);
    EXPECT_EQ(queue.count(), 15U);
    EXPECT_EQ(flush(queue), outcome::empty);
    strings expected;
    for (int i = 0; i < 10; ++i) {
        expected.push_back("leased " + std::to_string(i));
        expected.push_back("copied " + std::to_string(i));
    }
    EXPECT_EQ(sent_, expected);
}

TEST_F(send_queue_test, ALostLeaseIsGivenBack) {
    plain_queue queue;
    queue.push(lease("lost"), &somebody);
    answers_ = {{.sent = 0, .error = EPERM}};
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(pool().leased(), 0U);
    EXPECT_EQ(ledger_.errors, 1U);
}

TEST_F(send_queue_test, DroppedAndDestroyedLeasesAreGivenBack) {
    {
        plain_queue queue;
        queue.push(lease("dropped"), &somebody);
        EXPECT_EQ(queue.drop(), 1U);
        EXPECT_EQ(pool().leased(), 0U);
        queue.push(lease("destroyed"), &somebody);
        EXPECT_EQ(pool().leased(), 1U);
    }
    EXPECT_EQ(pool().leased(), 0U);
}

TEST_F(send_queue_test, ADatagramWithBytesOfItsOwnIsCopied) {
    plain_queue queue;
    {
        datagram own("mine", somebody);
        queue.push(std::move(own), &somebody);
    }
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(sent_, (strings{"mine"}));
}

// --- refusals and errors ---

TEST_F(send_queue_test, ARefusalIsReportedOnceAndItsMessageIsSentOnceMore) {
    plain_queue queue;
    for (const byte_view payload : {byte_view("a"), byte_view("b"), byte_view("c")}) {
        push(queue, payload, nullptr);
    }
    answers_ = {{.sent = 1, .error = ECONNREFUSED}};
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(sent_, (strings{"a", "b", "c"}));
    EXPECT_EQ(refusals_, (std::vector<int>{ECONNREFUSED}));
    EXPECT_EQ(ledger_.resent, 1U);
    EXPECT_EQ(ledger_.sent, 3U);
    EXPECT_EQ(ledger_.errors, 0U);
}

TEST_F(send_queue_test, EveryKindOfNewsAboutAnEarlierDatagramIsReportedAndTheMessageSentAgain) {
    for (const int error :
         {ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, EPROTO, ENOPROTOOPT}) {
        refusals_.clear();
        sent_.clear();
        plain_queue queue;
        push(queue, "x", nullptr);
        answers_ = {{.sent = 0, .error = error}};
        EXPECT_EQ(flush(queue), outcome::empty);
        EXPECT_EQ(refusals_, (std::vector<int>{error}));
        EXPECT_EQ(sent_, (strings{"x"}));
    }
}

TEST_F(send_queue_test, AMessageThatIsRefusedTwiceIsLost) {
    plain_queue queue;
    push(queue, "a", nullptr);
    push(queue, "b", nullptr);
    answers_ = {{.sent = 0, .error = ENETUNREACH}, {.sent = 0, .error = ENETUNREACH}};
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(refusals_.size(), 1U);
    EXPECT_EQ(sent_, (strings{"b"}));
    EXPECT_EQ(ledger_.errors, 1U);
    EXPECT_EQ(ledger_.reasons[0].error, ENETUNREACH);
}

TEST_F(send_queue_test, WhatWaitsWhenThePeerChangesKeepsItsDestination) {
    plain_queue queue;
    queue.connected();
    const address next("127.0.0.3", 9);
    push(queue, "to the first", nullptr);
    queue.disconnected(somebody);
    queue.connected();
    push(queue, "to the second", nullptr);
    queue.disconnected(next);
    push(queue, "anywhere");
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(sent_, (strings{"to the first", "to the second", "anywhere"}));
    EXPECT_EQ(destinations_, (std::vector<std::optional<address>>{somebody, next, somebody}));
}

TEST_F(send_queue_test, OnceConnectedARefusalIsNewsForWhatWasQueuedBeforeToo) {
    plain_queue queue;
    push(queue, "a", &somebody);
    queue.connected();
    answers_ = {{.sent = 0, .error = ECONNREFUSED}};
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(refusals_, (std::vector<int>{ECONNREFUSED}));
    EXPECT_EQ(sent_, (strings{"a"}));
    EXPECT_EQ(ledger_.errors, 0U);
}

TEST_F(send_queue_test, WithADestinationARefusalIsAnErrorOfThisDatagram) {
    plain_queue queue;
    push(queue, "a", &somebody);
    push(queue, "b", &somebody);
    answers_ = {{.sent = 0, .error = ENETUNREACH}};
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_TRUE(refusals_.empty());
    EXPECT_EQ(sent_, (strings{"b"}));
    EXPECT_EQ(ledger_.errors, 1U);
}

TEST_F(send_queue_test, OtherErrorsAreCountedByErrnoAndTheNextDatagramGoesOn) {
    plain_queue queue;
    push_numbers(queue, 6);
    answers_ = {
        {.sent = 1, .error = EPERM}, {.sent = 1, .error = EMSGSIZE}, {.sent = 0, .error = EPERM}};
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(sent_, (strings{"0", "2", "5"}));
    EXPECT_EQ(ledger_.errors, 3U);
    EXPECT_EQ(ledger_.reasons[0].error, EPERM);
    EXPECT_EQ(ledger_.reasons[0].count, 2U);
    EXPECT_EQ(ledger_.reasons[1].error, EMSGSIZE);
    EXPECT_EQ(ledger_.reasons[1].count, 1U);
}

TEST_F(send_queue_test, ANinthErrnoIsCountedWithoutItsReason) {
    plain_queue queue;
    push_numbers(queue, 9);
    for (int error = 200; error < 209; ++error)
        answers_.push_back({.sent = 0, .error = error});
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(ledger_.errors, 9U);
    std::uint64_t named = 0;
    for (const auto& reason : ledger_.reasons)
        named += reason.count;
    EXPECT_EQ(named, 8U);
}

// --- memory ---

TEST_F(send_queue_test, AllocatesNothingOnceWarm) {
    plain_queue queue;
    sent_.reserve(10'000);
    destinations_.reserve(10'000);
    sources_.reserve(10'000);
    trains_.reserve(10'000);
    const auto send_some = [&] {
        for (int i = 0; i < 64; ++i)
            push(queue, "payload");
        ASSERT_EQ(flush(queue), outcome::empty);
    };
    send_some();
    const test::allocation_meter meter;
    for (int round = 0; round < 100; ++round)
        send_some();
    EXPECT_EQ(meter.count(), 0U);
}

// A queue that is never empty, for as long as it takes: what is gone must not be kept.
template <class Push>
std::size_t largest_allocation_while_blocked(Push&& push) {
    plain_queue queue;
    send_stats ledger;
    for (int i = 0; i < 8; ++i)
        push(queue);
    const test::allocation_meter meter;
    for (int round = 0; round < 20'000; ++round) {
        push(queue);
        const outcome result = queue.flush(
            ledger,
            [](std::span<const outgoing>) { return send_result{.sent = 1, .error = EAGAIN}; },
            [](int) {});
        EXPECT_EQ(result, outcome::blocked);
        EXPECT_EQ(queue.count(), 8U);
    }
    return meter.largest();
}

TEST_F(send_queue_test, AQueueThatStaysBlockedDoesNotGrow) {
    const std::string payload(100, 'x');
    EXPECT_LT(largest_allocation_while_blocked(
                  [&](send_queue& queue) { push(queue, std::string_view(payload)); }),
              64U * 1024);
}

TEST_F(send_queue_test, AQueueOfEmptyDatagramsThatStaysBlockedDoesNotGrow) {
    EXPECT_LT(largest_allocation_while_blocked([&](send_queue& queue) { push(queue, ""); }),
              64U * 1024);
}

// An answer leaves from where its request went to: more addresses than are looked at, in turn.
ip one_of_twenty(std::uint32_t i) {
    return ip::v4({127, 0, 0, static_cast<std::uint8_t>(1 + i % 20)});
}

TEST_F(send_queue_test, AQueueThatStaysBlockedForgetsWhatItSentFrom) {
    std::uint32_t next = 0;
    EXPECT_LT(largest_allocation_while_blocked([&](send_queue& queue) {
                  const byte_view payload("");
                  const ip from = one_of_twenty(next++);
                  queue.push(std::span(&payload, 1), &somebody, &from);
              }),
              64U * 1024);
}

TEST_F(send_queue_test, WhatWaitsForLongStillLeavesFromItsOwnAddress) {
    plain_queue queue;
    std::vector<ip> expected;
    const auto push_one = [&] {
        const byte_view payload("x");
        expected.push_back(one_of_twenty(static_cast<std::uint32_t>(expected.size())));
        queue.push(std::span(&payload, 1), &somebody, &expected.back());
    };
    for (int i = 0; i < 5; ++i)
        push_one();
    for (int round = 0; round < 200; ++round) {
        push_one();
        answers_ = {{.sent = 1, .error = EAGAIN}};
        ASSERT_EQ(flush(queue), outcome::blocked);
    }
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(sources_, expected);
}

}  // namespace
}  // namespace quoit::detail
