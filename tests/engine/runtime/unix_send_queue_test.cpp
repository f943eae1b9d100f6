// SPDX-License-Identifier: MIT
//
// On a fake socket with a fake clock: what is sent, when it is tried again, and what is counted.
#include "runtime/unix_send_queue.hpp"

#include "base/assert.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace quoit::detail {
namespace {

using namespace std::chrono_literals;

/// Takes everything, but for destinations (or, with "", the peer) that are given an errno.
class fake_outlet final : public unix_send_queue::outlet {
  public:
    send_result send(std::span<const outgoing> messages) override {
        ++calls;
        send_result result;
        for (const outgoing& one : messages) {
            const std::string to = name_of(one);
            const auto error = errors.find(to);
            if (budget == 0) {
                result.error = EAGAIN;
                return result;
            }
            if (error != errors.end() && error->second != 0) {
                result.error = error->second;
                return result;
            }
            std::string text;
            for (const iovec& piece : one.pieces)
                text.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
            sent.push_back(to.empty() ? text : to + ":" + text);
            ++result.sent;
            if (budget > 0) --budget;
            if (const auto room = rooms.find(to); room != rooms.end() && --room->second == 0) {
                errors[to] = EAGAIN;
                rooms.erase(room);
            }
        }
        return result;
    }
    bool is_full() override { return budget == 0; }
    int reconnect() override {
        ++reconnects;
        if (can_reconnect) errors.erase("");
        return can_reconnect ? 0 : -ENOENT;
    }
    void refused() override { ++refusals; }
    unix_send_queue::steady_time now() override { return time; }

    std::map<std::string, int> errors;
    std::map<std::string, int> rooms;  // so many more, then EAGAIN
    std::vector<std::string> sent;
    unix_send_queue::steady_time time{1h};
    bool can_reconnect = false;
    int budget = -1;  // so many more to anybody; negative: no limit
    int calls = 0;
    int reconnects = 0;
    int refusals = 0;

  private:
    static std::string name_of(const outgoing& one) {
        if (one.as_unix->to == nullptr) return {};
        const auto* const bytes = reinterpret_cast<const std::byte*>(one.as_unix->to->get());
        const auto name = from_unix_name({bytes, one.as_unix->to->size()});
        return std::string(name.value_or(unix_address("?")).name());
    }
};

class unix_send_queue_test : public ::testing::Test {
  protected:
    void push(std::string_view text, const char* to = nullptr) {
        const byte_view piece(text);
        const unix_address name = to != nullptr ? unix_address(to) : unix_address();
        queue.push(std::span(&piece, 1), to != nullptr ? &name : nullptr, nullptr);
        ++pushed;
    }
    unix_send_queue::outcome flush() { return queue.flush(ledger, outlet); }
    std::vector<std::string> take_sent() { return std::exchange(outlet.sent, {}); }
    /// As the port does: sleeps until the next retry, and tries.
    void retry() {
        outlet.time = queue.next_retry();
        flush();
    }
    void TearDown() override {
        EXPECT_EQ(ledger.sent + ledger.errors + queue.count() + dropped, pushed);
        if (queue.is_empty()) {
            EXPECT_EQ(queue.cost(), 0U);
        }
    }

    using texts = std::vector<std::string>;
    unix_send_queue queue;
    fake_outlet outlet;
    send_stats ledger;
    std::size_t pushed = 0;
    std::size_t dropped = 0;
};

TEST_F(unix_send_queue_test, SendsInOrderUpTo64PerCall) {
    for (int i = 0; i < 130; ++i)
        push(std::to_string(i), "a");
    EXPECT_EQ(flush(), unix_send_queue::outcome::sent);
    EXPECT_EQ(outlet.calls, 3);
    ASSERT_EQ(outlet.sent.size(), 130U);
    EXPECT_EQ(outlet.sent[129], "a:129");
    EXPECT_TRUE(queue.is_empty());
    EXPECT_EQ(ledger.sent, 130U);
    EXPECT_EQ(ledger.bytes, 10U + 2 * 90 + 3 * 30);
    EXPECT_EQ(queue.next_retry(), unix_send_queue::steady_time::max());
}

TEST_F(unix_send_queue_test, AFullDestinationHoldsUpNobodyElseAndKeepsItsOrder) {
    outlet.rooms["slow"] = 1;
    push("1", "slow");
    push("2", "slow");
    push("1", "quick");
    push("3", "slow");
    push("2", "quick");
    EXPECT_EQ(flush(), unix_send_queue::outcome::sent);
    EXPECT_EQ(take_sent(), (texts{"slow:1", "quick:1", "quick:2"}));
    EXPECT_EQ(queue.count(), 2U);
    EXPECT_EQ(queue.cost_held("slow"), 2 + 2 * unix_send_queue::entry_cost);
    EXPECT_EQ(queue.cost_held("quick"), 0U);

    // Behind those that wait, even when there would be room by now.
    outlet.errors.clear();
    push("4", "slow");
    push("3", "quick");
    flush();
    EXPECT_EQ(take_sent(), texts{"quick:3"});
    retry();
    EXPECT_EQ(take_sent(), (texts{"slow:2", "slow:3", "slow:4"}));
    EXPECT_FALSE(queue.is_holding());
    push("5", "slow");
    flush();
    EXPECT_EQ(take_sent(), texts{"slow:5"});
}

TEST_F(unix_send_queue_test, TriesAgainAfter1And2And4MillisecondsAndThenEvery16) {
    outlet.errors["slow"] = EAGAIN;
    push("x", "slow");
    flush();
    std::vector<std::chrono::milliseconds> waits;
    for (int i = 0; i < 7; ++i) {
        const auto before = outlet.time;
        waits.push_back(
            std::chrono::duration_cast<std::chrono::milliseconds>(queue.next_retry() - before));
        retry();
    }
    EXPECT_EQ(waits,
              (std::vector<std::chrono::milliseconds>{1ms, 2ms, 4ms, 8ms, 16ms, 16ms, 16ms}));
    EXPECT_EQ(ledger.blocked, 8U);
    EXPECT_EQ(outlet.calls, 8);
}

TEST_F(unix_send_queue_test, AsksNobodyBeforeItIsTime) {
    outlet.errors["slow"] = EAGAIN;
    push("x", "slow");
    flush();
    const int calls = outlet.calls;
    outlet.time = queue.next_retry() - 1ns;
    flush();
    EXPECT_EQ(outlet.calls, calls);
    outlet.time += 1ns;
    flush();
    EXPECT_EQ(outlet.calls, calls + 1);
}

TEST_F(unix_send_queue_test, GivesUpOnEachDatagramAfterASecondWithoutProgress) {
    outlet.errors["dead"] = EAGAIN;
    const auto start = outlet.time;
    push("1", "dead");
    flush();
    outlet.time = start + 500ms;
    push("2", "dead");
    flush();
    while (queue.count() == 2)
        retry();
    EXPECT_GE(outlet.time, start + 1s);
    EXPECT_LE(outlet.time, start + 1s + 16ms);
    EXPECT_EQ(ledger.errors, 1U);
    EXPECT_EQ(ledger.reasons[0].error, EAGAIN);
    while (!queue.is_empty())
        retry();
    EXPECT_GE(outlet.time, start + 1500ms);
    EXPECT_EQ(ledger.errors, 2U);
    EXPECT_FALSE(queue.is_holding());
}

TEST_F(unix_send_queue_test, ProgressGivesThoseBehindAnotherSecond) {
    outlet.errors["slow"] = EAGAIN;
    for (int i = 0; i < 3; ++i)
        push(std::to_string(i), "slow");
    flush();
    const auto start = outlet.time;
    while (outlet.time < start + 900ms)
        retry();
    outlet.errors.clear();
    outlet.rooms["slow"] = 1;
    retry();
    EXPECT_EQ(take_sent(), texts{"slow:0"});
    EXPECT_EQ(queue.next_retry() - outlet.time, 1ms);  // and it is asked more often again
    while (outlet.time < start + 1800ms)
        retry();
    EXPECT_EQ(ledger.errors, 0U);
    EXPECT_EQ(queue.count(), 2U);
    dropped = queue.drop();
}

TEST_F(unix_send_queue_test, AFullSendBufferIsNoDestinationsFault) {
    outlet.budget = 2;
    push("1", "a");
    push("2", "a");
    push("3", "a");
    push("1", "b");
    EXPECT_EQ(flush(), unix_send_queue::outcome::sent);
    EXPECT_EQ(queue.count(), 2U);
    EXPECT_EQ(queue.cost_held("a"), 0U);
    EXPECT_TRUE(queue.is_holding());
    EXPECT_EQ(queue.next_retry(), outlet.time + 1ms);
    const int calls = outlet.calls;
    push("2", "b");
    flush();
    EXPECT_EQ(outlet.calls, calls);  // before its time nobody is asked
    for (int i = 0; i < 100; ++i)
        retry();
    EXPECT_EQ(ledger.errors, 0U);
    outlet.budget = -1;
    retry();
    EXPECT_EQ(take_sent(), (texts{"a:1", "a:2", "a:3", "b:1", "b:2"}));
    EXPECT_FALSE(queue.is_holding());
}

TEST_F(unix_send_queue_test, NoPatienceRunsOutWhileTheSendBufferIsFull) {
    outlet.errors["slow"] = EAGAIN;
    push("1", "slow");
    flush();
    const auto start = outlet.time;
    while (outlet.time < start + 500ms)
        retry();
    outlet.budget = 0;
    while (outlet.time < start + 5s)
        retry();
    EXPECT_EQ(ledger.errors, 0U);
    outlet.budget = -1;
    const auto over = outlet.time;
    while (queue.count() == 1)
        retry();
    EXPECT_GE(outlet.time, over + 450ms);
    EXPECT_LE(outlet.time, over + 550ms);
    EXPECT_EQ(ledger.errors, 1U);
}

TEST_F(unix_send_queue_test, AllIsGivenUpWhenNobodyTakesAnythingForTenSeconds) {
    outlet.errors["slow"] = EAGAIN;
    push("1", "slow");
    flush();
    push("1", "quick");
    push("2", "quick");
    outlet.budget = 1;
    flush();
    const auto start = outlet.time;
    while (outlet.time < start + 9s)
        retry();
    EXPECT_EQ(queue.count(), 2U);
    outlet.budget = 1;  // progress: ten more
    outlet.errors.clear();
    retry();
    EXPECT_EQ(take_sent(), (texts{"quick:1", "slow:1"}));
    const auto progress = outlet.time;
    while (!queue.is_empty())
        retry();
    EXPECT_GE(outlet.time, progress + 10s);
    EXPECT_LE(outlet.time, progress + 10s + 20ms);
    EXPECT_EQ(ledger.errors, 1U);
    EXPECT_EQ(ledger.reasons[0].error, EAGAIN);
    EXPECT_FALSE(queue.is_holding());
    EXPECT_EQ(queue.next_retry(), unix_send_queue::steady_time::max());
}

TEST_F(unix_send_queue_test, ADeadDestinationCostsItsOwnDatagramsOnly) {
    outlet.errors["dead"] = ECONNREFUSED;
    outlet.errors["none"] = ENOENT;
    push("1", "dead");
    push("1", "live");
    push("2", "dead");
    push("1", "none");
    push("2", "live");
    flush();
    EXPECT_EQ(take_sent(), (texts{"live:1", "live:2"}));
    EXPECT_EQ(ledger.errors, 3U);
    EXPECT_EQ(ledger.reasons[0].error, ECONNREFUSED);
    EXPECT_EQ(ledger.reasons[0].count, 2U);
    EXPECT_EQ(ledger.reasons[1].error, ENOENT);
    EXPECT_EQ(outlet.reconnects, 0);
    EXPECT_EQ(outlet.refusals, 0);
}

TEST_F(unix_send_queue_test, ADestinationThatDiesWhileItIsHeldIsForgotten) {
    outlet.errors["slow"] = EAGAIN;
    push("1", "slow");
    push("2", "slow");
    flush();
    outlet.errors["slow"] = ECONNREFUSED;
    retry();
    EXPECT_EQ(ledger.errors, 2U);
    EXPECT_FALSE(queue.is_holding());
}

TEST_F(unix_send_queue_test, AConnectedSocketIsBlockedUntilItIsWritable) {
    outlet.rooms[""] = 2;
    for (int i = 0; i < 5; ++i)
        push(std::to_string(i));
    EXPECT_EQ(flush(), unix_send_queue::outcome::blocked);
    EXPECT_EQ(take_sent(), (texts{"0", "1"}));
    EXPECT_FALSE(queue.is_holding());
    outlet.errors.clear();
    outlet.rooms[""] = 2;
    push("5");
    EXPECT_EQ(flush(), unix_send_queue::outcome::blocked);  // uses the memory of what has gone
    EXPECT_EQ(take_sent(), (texts{"2", "3"}));
    push("6");
    outlet.errors.clear();
    EXPECT_EQ(flush(), unix_send_queue::outcome::sent);
    EXPECT_EQ(take_sent(), (texts{"4", "5", "6"}));
}

TEST_F(unix_send_queue_test, APeerThatIsGoneIsConnectedToAgainOncePerDatagram) {
    outlet.errors[""] = ENOTCONN;
    push("1");
    push("2");
    EXPECT_EQ(flush(), unix_send_queue::outcome::sent);
    EXPECT_EQ(outlet.reconnects, 2);
    EXPECT_EQ(outlet.refusals, 2);
    EXPECT_EQ(ledger.errors, 2U);
    outlet.can_reconnect = true;
    push("3");
    flush();
    EXPECT_EQ(take_sent(), texts{"3"});
    EXPECT_EQ(outlet.refusals, 2);
    EXPECT_EQ(ledger.resent, 1U);
}

TEST_F(unix_send_queue_test, ASecondRefusalOfTheSameDatagramEndsIt) {
    class stubborn final : public unix_send_queue::outlet {
      public:
        send_result send(std::span<const outgoing>) override { return {.error = ECONNREFUSED}; }
        bool is_full() override { return false; }
        int reconnect() override { return 0; }
        void refused() override { ++refusals; }
        unix_send_queue::steady_time now() override { return {}; }
        int refusals = 0;
    };
    stubborn outlet_without_end;
    push("1");
    queue.flush(ledger, outlet_without_end);
    EXPECT_EQ(ledger.errors, 1U);
    EXPECT_EQ(outlet_without_end.refusals, 1);
}

TEST_F(unix_send_queue_test, DroppingCountsWhatIsReadyAndWhatIsHeld) {
    outlet.errors["slow"] = EAGAIN;
    push("1", "slow");
    flush();
    push("2", "slow");
    push("1", "quick");
    dropped = queue.drop();
    EXPECT_EQ(dropped, 3U);
    EXPECT_TRUE(queue.is_empty());
    EXPECT_FALSE(queue.is_holding());
    flush();
    EXPECT_TRUE(take_sent().empty());
}

}  // namespace
}  // namespace quoit::detail
