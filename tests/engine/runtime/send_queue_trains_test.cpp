// SPDX-License-Identifier: MIT
//
// What the send queue coalesces, and what it does when the kernel does not like it.
#include "engine/runtime/send_queue_test.hpp"

#include <cerrno>
#include <utility>

#include <rapidcheck.h>

namespace quoit::detail {
namespace {

const address somebody_else("127.0.0.2", 9);

strings repeated(std::size_t count, const std::string& text) { return strings(count, text); }

class send_queue_trains : public send_queue_test {
  protected:
    using trains = std::vector<train>;
    void push_all(send_queue& queue, const strings& payloads, const address* to = &somebody) {
        for (const std::string& payload : payloads)
            push(queue, payload, to);
    }
};

// --- what becomes one message ---

TEST_F(send_queue_trains, EqualDatagramsToOneDestinationAreOneMessage) {
    send_queue queue;
    push_all(queue, repeated(10, "payload"));
    EXPECT_EQ(queue.count(), 10U);
    EXPECT_EQ(queue.run_count(), 1U);
    EXPECT_EQ(queue.byte_count(), 70U);
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(trains_, (trains{{7, 10}}));
    EXPECT_EQ(arrived(), repeated(10, "payload"));
    EXPECT_EQ(ledger_.sent, 10U);
    EXPECT_EQ(ledger_.bytes, 70U);
    EXPECT_EQ(ledger_.trains, 1U);
    EXPECT_EQ(ledger_.coalesced, 10U);
    EXPECT_EQ(queue.count(), 0U);
}

TEST_F(send_queue_trains, DatagramsFromDifferentSourcesStayApart) {
    send_queue queue;
    const ip second("127.0.0.2");
    const ip third("127.0.0.3");
    const byte_view payload("same");
    for (const ip* const from : {&second, &second, &third, &third, &second}) {
        queue.push(std::span(&payload, 1), &somebody, from);
    }
    queue.push(std::span(&payload, 1), &somebody);
    queue.push(lease("same"), &somebody);
    queue.push(lease("same"), &somebody, &third);
    queue.push(lease("same"), &somebody, &third);
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(trains_, (trains{{4, 2}, {4, 2}, {0, 1}, {4, 2}, {4, 2}}));
    EXPECT_EQ(sources_, (std::vector<ip>{second, third, second, ip(), third}));
    EXPECT_EQ(arrived(), repeated(9, "same"));
}

TEST_F(send_queue_trains, ATrainThatIsSentBackHasTheSourceOfItsFirst) {
    send_queue queue;
    const ip second("127.0.0.2");
    for (datagram& one : train_lease(repeated(5, "same"))) {
        if (!queue.push_next(std::move(one), &somebody)) {
            queue.push(std::move(one), &somebody, &second);
        }
    }
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(trains_, (trains{{4, 5}}));
    EXPECT_EQ(sources_, (std::vector<ip>{second}));
}

TEST_F(send_queue_trains, ASourceSurvivesWaitingForTheKernel) {
    send_queue queue;
    const ip second("127.0.0.2");
    queue.push(lease("same"), &somebody, &second);
    push(queue, "other size");
    answers_ = {{.sent = 0, .error = EAGAIN}};
    EXPECT_EQ(flush(queue), outcome::blocked);
    const byte_view payload("same");
    queue.push(std::span(&payload, 1), &somebody, &second);
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(sources_, (std::vector<ip>{second, ip(), second}));
}

TEST_F(send_queue_trains, ASingleDatagramIsSentWithoutASegment) {
    send_queue queue;
    push(queue, "alone");
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(trains_, (trains{{0, 1}}));
    EXPECT_EQ(ledger_.trains, 0U);
}

TEST_F(send_queue_trains, OneShorterDatagramIsTheTailAndEndsTheTrain) {
    send_queue queue;
    const strings payloads{"aaaaa", "bbbbb", "ccc", "ddddd", "eeeee"};
    push_all(queue, payloads);
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(trains_, (trains{{5, 3}, {5, 2}}));
    EXPECT_EQ(arrived(), payloads);
}

TEST_F(send_queue_trains, ALongerDatagramBeginsAnotherTrain) {
    send_queue queue;
    const strings payloads{"aaa", "bbbbb", "ccccc"};
    push_all(queue, payloads);
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(trains_, (trains{{0, 1}, {5, 2}}));
    EXPECT_EQ(arrived(), payloads);
}

TEST_F(send_queue_trains, AnEmptyDatagramIsAMessageOfItsOwn) {
    send_queue queue;
    const strings payloads{"aa", "bb", "", "", "cc", "dd"};
    push_all(queue, payloads);
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(trains_, (trains{{2, 2}, {0, 1}, {0, 1}, {2, 2}}));
    EXPECT_EQ(arrived(), payloads);
}

TEST_F(send_queue_trains, AnotherDestinationBeginsAnotherTrain) {
    send_queue queue;
    const address same_host_other_port("127.0.0.1", 10);
    for (const address* to : {&somebody, &somebody_else, &same_host_other_port, &somebody}) {
        push(queue, "aa", to);
        push(queue, "bb", to);
    }
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(trains_, (trains{{2, 2}, {2, 2}, {2, 2}, {2, 2}}));
    EXPECT_EQ(destinations_[0], somebody);
    EXPECT_EQ(destinations_[1], somebody_else);
    EXPECT_EQ(destinations_[2], same_host_other_port);
}

TEST_F(send_queue_trains, ATrainHasAtMost128Datagrams) {
    send_queue queue;
    push_all(queue, repeated(300, "x"));
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(trains_, (trains{{1, 128}, {1, 128}, {1, 44}}));
}

TEST_F(send_queue_trains, ATrainIsNoLongerThanADeviceTakesWhole) {
    send_queue queue;
    push_all(queue, repeated(100, std::string(1200, 'x')));
    push_all(queue, repeated(3, std::string(32'736, 'y')));  // two of them are 65 472 bytes
    push_all(queue, repeated(2, std::string(32'737, 'z')));
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(trains_, (trains{{1200, 54}, {1200, 46}, {32'736, 2}, {0, 1}, {0, 1}, {0, 1}}));
}

// --- from where the datagrams were received ---

TEST_F(send_queue_trains, AReceivedTrainIsSentFromItsBufferInOnePiece) {
    send_queue queue;
    const strings payloads{"aaaa", "bbbb", "cccc", "dd"};
    for (datagram& one : train_lease(payloads))
        queue.push(std::move(one), &somebody);
    EXPECT_EQ(queue.run_count(), 1U);
    EXPECT_EQ(pool().leased(), 1U);
    std::size_t pieces = 0;
    const auto send = [&](std::span<const outgoing> messages) {
        pieces += messages.front().pieces.size();
        EXPECT_EQ(messages.front().segment, 4U);
        EXPECT_EQ(messages.front().count, 4U);
        EXPECT_EQ(messages.front().pieces.front().iov_base, pool().data(0));
        return send_result{.sent = static_cast<std::uint32_t>(messages.size())};
    };
    EXPECT_EQ(queue.flush(ledger_, send, [](int) {}), outcome::empty);
    EXPECT_EQ(pieces, 1U);
    EXPECT_EQ(pool().leased(), 0U);
}

TEST_F(send_queue_trains, LeasesOfSeveralBuffersAreOneMessageOfSeveralPieces) {
    send_queue queue;
    const strings payloads{"aaaa", "bbbb", "cccc", "dddd", "eee"};
    for (const std::string& payload : payloads)
        queue.push(lease(payload), &somebody);
    EXPECT_EQ(pool().leased(), 5U);
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(trains_, (trains{{4, 5}}));
    EXPECT_EQ(arrived(), payloads);
    EXPECT_EQ(pool().leased(), 0U);
}

TEST_F(send_queue_trains, LeasesAndCopiesGoTogether) {
    send_queue queue;
    push(queue, "aaaa");
    queue.push(lease("bbbb"), &somebody);
    push(queue, "cccc");
    for (datagram& one : train_lease({"dddd", "eeee", "ff"}))
        queue.push(std::move(one), &somebody);
    push(queue, "gggg");
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(arrived(), (strings{"aaaa", "bbbb", "cccc", "dddd", "eeee", "ff", "gggg"}));
    EXPECT_EQ(trains_, (trains{{4, 6}, {0, 1}}));
}

TEST_F(send_queue_trains, ABlockedTrainIsCopiedAndGoesOnWhereItStopped) {
    send_queue queue;
    for (datagram& one : train_lease({"aaaa", "bbbb", "cccc"}))
        queue.push(std::move(one), &somebody);
    answers_ = {{.sent = 0, .error = EAGAIN}};
    EXPECT_EQ(flush(queue), outcome::blocked);
    EXPECT_EQ(pool().leased(), 0U);
    EXPECT_EQ(queue.byte_count(), 12U);
    push(queue, "dddd");
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(trains_, (trains{{4, 4}}));
    EXPECT_EQ(arrived(), (strings{"aaaa", "bbbb", "cccc", "dddd"}));
}

// --- refusals ---

TEST_F(send_queue_trains, SegmentsThatDoNotFitThePathAreSentPlainAndTheirSizeIsRemembered) {
    send_queue queue;
    const std::string long_one(1400, 'x');
    push_all(queue, repeated(3, long_one));
    answers_ = {{.sent = 0, .error = EMSGSIZE}};
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(trains_, (trains{{0, 1}, {0, 1}, {0, 1}}));
    EXPECT_EQ(arrived(), repeated(3, long_one));
    EXPECT_EQ(ledger_.trains_refused, 1U);
    EXPECT_EQ(ledger_.errors, 0U);
    EXPECT_EQ(ledger_.sent, 3U);

    trains_.clear();
    push_all(queue, repeated(2, long_one));
    push_all(queue, repeated(2, long_one), &somebody_else);  // another path
    push_all(queue, repeated(2, "short"));                   // these fit
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(trains_, (trains{{0, 1}, {0, 1}, {1400, 2}, {5, 2}}));
}

TEST_F(send_queue_trains, ADeviceWithoutChecksumsGetsNoTrainsForAWhile) {
    send_queue queue;
    push_all(queue, {"aa", "bb"});
    answers_ = {{.sent = 0, .error = EIO}};
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(trains_, (trains{{0, 1}, {0, 1}}));

    const std::size_t left = segmentation::plain_count - 2;
    push_all(queue, repeated(left, "c"));
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(ledger_.trains, 0U);
    push_all(queue, {"dd", "ee"});
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(ledger_.trains, 1U) << "the while is over";
}

TEST_F(send_queue_trains, AKernelThatTakesNoMoreThan64TeachesThatOnce) {
    send_queue queue;
    push_all(queue, repeated(100, "x"));
    answers_ = {{.sent = 0, .error = EINVAL}};
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(arrived(), repeated(100, "x"));
    EXPECT_EQ(ledger_.trains_refused, 1U);
    sent_.clear();
    trains_.clear();
    push_all(queue, repeated(100, "x"));
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(trains_, (trains{{1, 64}, {1, 36}}));
}

TEST_F(send_queue_trains, AnEINVALOfFewerTeachesTheirSize) {
    send_queue queue;
    push_all(queue, {"aaa", "bbb"});
    answers_ = {{.sent = 0, .error = EINVAL}};
    EXPECT_EQ(flush(queue), outcome::empty);
    push_all(queue, {"ee", "ff", "ccc", "ddd"});
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(trains_, (trains{{0, 1}, {0, 1}, {2, 2}, {0, 1}, {0, 1}}));
}

TEST_F(send_queue_trains, ADestinationThatIsRefusedAnywayTeachesNothing) {
    send_queue queue;
    push_all(queue, repeated(100, "x"));
    answers_.assign(101, {.sent = 0, .error = EINVAL});
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(ledger_.errors, 100U);
    push_all(queue, repeated(100, "x"));
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(trains_, (trains{{1, 100}}));
}

TEST_F(send_queue_trains, NewsUponNewsGivesEachDatagramAChanceOfItsOwn) {
    send_queue queue;
    push_all(queue, repeated(5, "aa"), nullptr);
    answers_ = {{.sent = 0, .error = ECONNREFUSED}, {.sent = 0, .error = ECONNREFUSED}};
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(arrived(), repeated(5, "aa"));
    EXPECT_EQ(refusals_.size(), 2U);
    EXPECT_EQ(ledger_.errors, 0U);
    EXPECT_EQ(ledger_.sent, 5U);
}

TEST_F(send_queue_trains, ADatagramThatIsRefusedPlainTooIsLostAlone) {
    send_queue queue;
    push_all(queue, {"aa", "bb", "cc"});
    answers_ = {{.sent = 0, .error = EMSGSIZE}, {.sent = 1, .error = EMSGSIZE}};
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(arrived(), (strings{"aa", "cc"}));
    EXPECT_EQ(ledger_.errors, 1U);
    EXPECT_EQ(ledger_.reasons[0].error, EMSGSIZE);
}

TEST_F(send_queue_trains, WhatIsSentPlainMayBlockInTheMiddle) {
    send_queue queue;
    push_all(queue, {"aa", "bb", "cc", "dd"});
    answers_ = {{.sent = 0, .error = EMSGSIZE}, {.sent = 2, .error = EAGAIN}};
    EXPECT_EQ(flush(queue), outcome::blocked);
    EXPECT_EQ(queue.count(), 2U);
    EXPECT_EQ(queue.byte_count(), 4U);
    push(queue, "ee");
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(arrived(), (strings{"aa", "bb", "cc", "dd", "ee"}));
}

TEST_F(send_queue_trains, AnyOtherErrorLosesTheWholeTrainAndTheNextGoesOn) {
    send_queue queue;
    push_all(queue, repeated(5, "aa"));
    push_all(queue, repeated(2, "bbb"));
    answers_ = {{.sent = 0, .error = ENETUNREACH}};
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(trains_, (trains{{3, 2}}));
    EXPECT_EQ(ledger_.errors, 5U);
    EXPECT_EQ(ledger_.reasons[0].error, ENETUNREACH);
    EXPECT_EQ(ledger_.reasons[0].count, 5U);
    EXPECT_EQ(ledger_.sent, 2U);
}

TEST_F(send_queue_trains, NewsOfAnEarlierDatagramSendsTheTrainOnceMore) {
    send_queue queue;
    push_all(queue, repeated(3, "aa"), nullptr);
    answers_ = {{.sent = 0, .error = ECONNREFUSED}};
    EXPECT_EQ(flush(queue), outcome::empty);
    EXPECT_EQ(trains_, (trains{{2, 3}}));
    EXPECT_EQ(refusals_, (std::vector<int>{ECONNREFUSED}));
    EXPECT_EQ(ledger_.errors, 0U);
}

TEST_F(send_queue_trains, DroppingATrainCountsItsDatagramsAndGivesTheLeaseBack) {
    send_queue queue;
    for (datagram& one : train_lease({"aaaa", "bbbb", "cccc"}))
        queue.push(std::move(one), &somebody);
    EXPECT_EQ(queue.drop(), 3U);
    EXPECT_TRUE(queue.is_empty());
    EXPECT_EQ(pool().leased(), 0U);
}

TEST_F(send_queue_trains, AllocatesNothingOnceWarm) {
    send_queue queue;
    sent_.reserve(10'000);
    const auto send_some = [&] {
        for (int i = 0; i < 64; ++i)
            push(queue, std::string_view(i % 3 == 0 ? "longer payload" : "payload"));
        ASSERT_EQ(queue.flush(
                      ledger_,
                      [](std::span<const outgoing> messages) {
                          return send_result{.sent = static_cast<std::uint32_t>(messages.size())};
                      },
                      [](int) {}),
                  outcome::empty);
    };
    send_some();
    const test::allocation_meter meter;
    for (int round = 0; round < 100; ++round)
        send_some();
    EXPECT_EQ(meter.count(), 0U);
}

// --- whatever is pushed, and whatever the kernel says ---

TEST(send_queue_property, WhatTheKernelTakesIsWhatWasPushedInOrderMinusWhatWasCountedAsLost) {
    rc::check([] {
        const std::array<address, 3> peers{address("127.0.0.1", 9), address("127.0.0.2", 9),
                                           address("::1", 9)};
        const auto sizes = *rc::gen::container<std::vector<std::size_t>>(
            rc::gen::element<std::size_t>(0, 1, 5, 5, 5, 6, 1200, 1200));
        std::vector<std::pair<address, std::string>> wanted;
        std::vector<std::pair<address, std::string>> arrived;
        std::size_t lost = 0;
        send_queue queue;
        send_stats ledger;
        const auto send = [&](std::span<const outgoing> messages) {
            const auto sent = *rc::gen::inRange<std::size_t>(0, messages.size() + 1);
            for (const outgoing& one : messages.first(sent)) {
                const std::string text = test::text_of(one);
                const std::size_t segment = one.segment == 0 ? text.size() : one.segment;
                std::size_t count = 0;
                do {
                    arrived.emplace_back(*one.to, text.substr(count * segment, segment));
                    ++count;
                } while (count * segment < text.size());
                RC_ASSERT(count == one.count);
                RC_ASSERT(one.segment == 0 || one.segment < text.size());
                RC_ASSERT(one.segment == 0 || text.size() <= run_bytes_max);
            }
            if (sent == messages.size()) {
                return send_result{.sent = static_cast<std::uint32_t>(sent)};
            }
            const int error =
                *rc::gen::element(0, EAGAIN, EMSGSIZE, EIO, EINVAL, ENETUNREACH, EPERM);
            if (error == ENETUNREACH || error == EPERM ||
                (messages[sent].segment == 0 && error != EAGAIN && error != 0)) {
                lost += messages[sent].count;
            }
            return send_result{.sent = static_cast<std::uint32_t>(sent), .error = error};
        };
        for (std::size_t i = 0; i < sizes.size(); ++i) {
            const address& to = peers[*rc::gen::element<std::size_t>(0, 0, 0, 0, 1, 2)];
            std::string text = std::to_string(i);
            text.resize(sizes[i], 'x');
            const byte_view payload(text);
            queue.push(std::span(&payload, 1), &to);
            wanted.emplace_back(to, text);
            if (*rc::gen::inRange(0, 20) == 0) {
                (void)queue.flush(ledger, send, [](int) {});
            }
        }
        for (int i = 0; i < 10'000 && !queue.is_empty(); ++i)
            (void)queue.flush(ledger, send, [](int) {});
        RC_ASSERT(queue.is_empty());
        RC_ASSERT(ledger.errors == lost);
        RC_ASSERT(ledger.sent == arrived.size());
        RC_ASSERT(arrived.size() + lost == wanted.size());
        // In order: what arrived is what was wanted without some.
        std::size_t at = 0;
        for (const auto& one : arrived) {
            while (at < wanted.size() && wanted[at] != one)
                ++at;
            RC_ASSERT(at < wanted.size());
            ++at;
        }
    });
}

}  // namespace
}  // namespace quoit::detail
