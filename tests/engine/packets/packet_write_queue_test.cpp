// SPDX-License-Identifier: MIT
#include "packets/packet_write_queue.hpp"

#include "engine/packets/packet_test.hpp"
#include "packets/packet_parser.hpp"
#include "support/port_fixture.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <deque>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace quoit::detail {
namespace {

using test::all_framings;
using test::frame;
using test::frames;

static_assert(!std::is_copy_constructible_v<packet_write_queue>);

constexpr std::size_t long_size = packet_write_queue::shared_size_min;

std::vector<iovec> gather(const packet_write_queue& queue, std::size_t count_max = 1000) {
    std::vector<iovec> pieces(count_max);
    pieces.resize(queue.gather(pieces));
    return pieces;
}

std::string text_of(const std::vector<iovec>& pieces) {
    std::string text;
    for (const iovec& piece : pieces)
        text.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
    return text;
}

std::string text_of(const packet_write_queue& queue) { return text_of(gather(queue)); }

class packet_write_queue_of : public ::testing::TestWithParam<packet_framing> {
  protected:
    packet_write_queue queue{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(framings, packet_write_queue_of, ::testing::ValuesIn(all_framings),
                         test::framing_name);

// --- what is gathered ---

TEST_P(packet_write_queue_of, NothingIsEmpty) {
    EXPECT_TRUE(queue.is_empty());
    EXPECT_EQ(queue.size(), 0U);
    EXPECT_EQ(queue.count(), 0U);
    EXPECT_TRUE(gather(queue).empty());
    EXPECT_EQ(queue.consume(0), 0U);
    EXPECT_EQ(queue.drop(), 0U);
}

TEST_P(packet_write_queue_of, APacketIsItsFrame) {
    queue.push("hello");
    EXPECT_EQ(text_of(queue), frame(GetParam(), "hello"));
    EXPECT_EQ(queue.size(), packet_header_size(GetParam()) + 5);
    EXPECT_EQ(queue.count(), 1U);
    EXPECT_FALSE(queue.is_empty());
}

TEST_P(packet_write_queue_of, AnEmptyPacketIsAHeader) {
    queue.push("");
    queue.push(shared_bytes());
    EXPECT_EQ(text_of(queue), frames(GetParam(), {"", ""}));
    EXPECT_EQ(queue.count(), 2U);
}

TEST_P(packet_write_queue_of, ShortPacketsAreOnePiece) {
    const std::vector<std::string> bodies{"a", "", "bcd", std::string(100, 'e')};
    for (const std::string& body : bodies)
        queue.push(body);
    queue.push(shared_bytes::copy_of("shared, but short"));
    const auto pieces = gather(queue);
    EXPECT_EQ(pieces.size(), 1U);
    EXPECT_EQ(text_of(pieces), frames(GetParam(), bodies) + frame(GetParam(), "shared, but short"));
}

TEST_P(packet_write_queue_of, ALongSharedBodyIsAPieceOfItsOwnAndNotCopied) {
    const auto body = shared_bytes::copy_of(std::string(long_size, 'x'));
    queue.push("before");
    queue.push(body);
    queue.push("behind");
    const auto pieces = gather(queue);
    ASSERT_EQ(pieces.size(), 3U);
    EXPECT_EQ(pieces[1].iov_base, body.data());
    EXPECT_EQ(pieces[1].iov_len, body.size());
    EXPECT_EQ(text_of(pieces),
              frames(GetParam(), {"before", std::string(long_size, 'x'), "behind"}));
}

TEST_P(packet_write_queue_of, AShorterSharedBodyIsCopied) {
    queue.push(shared_bytes::copy_of(std::string(long_size - 1, 'x')));
    EXPECT_EQ(gather(queue).size(), 1U);
    EXPECT_EQ(text_of(queue), frame(GetParam(), std::string(long_size - 1, 'x')));
}

TEST_P(packet_write_queue_of, ASharedBodyIsHeldUntilItHasGone) {
    queue.push(shared_bytes::copy_of(std::string(100'000, 'x')));
    EXPECT_EQ(text_of(queue), frame(GetParam(), std::string(100'000, 'x')));
    EXPECT_EQ(queue.consume(queue.size()), 1U);
    EXPECT_TRUE(queue.is_empty());
}

TEST_P(packet_write_queue_of, ABodyThatWasPushedAsAViewMayChange) {
    std::string shorter(100, 'a');
    std::string longer(100'000, 'b');
    queue.push(shorter);
    queue.push(longer);
    std::ranges::fill(shorter, '!');
    std::ranges::fill(longer, '!');
    EXPECT_EQ(text_of(queue),
              frames(GetParam(), {std::string(100, 'a'), std::string(100'000, 'b')}));
}

TEST_P(packet_write_queue_of, NoMorePiecesAreGatheredThanThereIsRoomForFromTheFront) {
    const auto body = shared_bytes::copy_of(std::string(long_size, 'x'));
    queue.push(body);
    queue.push(body);
    const std::string all = text_of(queue);
    ASSERT_EQ(gather(queue).size(), 4U);
    EXPECT_TRUE(gather(queue, 0).empty());
    const auto three = gather(queue, 3);
    EXPECT_EQ(three.size(), 3U);
    EXPECT_EQ(text_of(three), all.substr(0, text_of(three).size()));
}

TEST_P(packet_write_queue_of, WhatWasGatheredStaysWhereItIsWhateverIsPushed) {
    queue.push("first");
    queue.push(shared_bytes::copy_of(std::string(long_size, 'x')));
    const auto pieces = gather(queue);
    const std::string before = text_of(pieces);
    for (int i = 0; i < 1000; ++i)
        queue.push(std::string(100, 'y'));
    EXPECT_EQ(text_of(pieces), before);
    EXPECT_EQ(gather(queue)[0].iov_base, pieces[0].iov_base);
}

// --- what the kernel takes ---

TEST_P(packet_write_queue_of, APacketHasGoneWithItsLastByte) {
    queue.push("ab");
    queue.push("");
    queue.push("cde");
    const std::string all = text_of(queue);
    const std::size_t header = packet_header_size(GetParam());
    std::size_t gone = 0;
    for (std::size_t sent = 1; sent <= all.size(); ++sent) {
        const std::size_t whole = queue.consume(1);
        gone += whole;
        const bool is_last_byte =
            sent == header + 2 || sent == 2 * header + 2 || sent == all.size();
        EXPECT_EQ(whole, is_last_byte ? 1U : 0U) << sent;
        EXPECT_EQ(queue.count(), 3 - gone);
        EXPECT_EQ(queue.size(), all.size() - sent);
        EXPECT_EQ(text_of(queue), all.substr(sent));
    }
    EXPECT_TRUE(queue.is_empty());
}

TEST_P(packet_write_queue_of, SeveralPacketsMayGoAtOnce) {
    queue.push("ab");
    queue.push("cd");
    queue.push("ef");
    const std::size_t one = packet_header_size(GetParam()) + 2;
    EXPECT_EQ(queue.consume(2 * one + 1), 2U);
    EXPECT_EQ(queue.count(), 1U);
    EXPECT_EQ(queue.consume(one - 1), 1U);
    EXPECT_TRUE(queue.is_empty());
}

TEST_P(packet_write_queue_of, WhatIsPushedBehindAPacketThatIsPartlyGoneFollowsIt) {
    queue.push("ab");
    const std::string first = text_of(queue);
    EXPECT_EQ(queue.consume(3), 0U);
    queue.push("cd");
    EXPECT_EQ(text_of(queue), first.substr(3) + frame(GetParam(), "cd"));
    EXPECT_EQ(gather(queue).size(), 1U);
}

TEST(packet_write_queue_death, MoreThanWaitsCannotBeTaken) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    packet_write_queue queue(packet_framing::packetsocket);
    queue.push("x");
    EXPECT_DEATH((void)queue.consume(queue.size() + 1),
                 "quoit: assertion failed: .*: more was sent than waited");
}

// --- what is left of a packet ---

TEST_P(packet_write_queue_of, TheRestOfAPacketIsWhatTheKernelHasNotTaken) {
    for (const std::size_t size : {std::size_t{0}, std::size_t{5}, long_size, long_size + 100}) {
        const std::string body(size, 'x');
        const auto shared = shared_bytes::copy_of(body);
        const std::string whole = frame(GetParam(), body);
        for (std::size_t sent = 0; sent < std::min<std::size_t>(whole.size(), 200); ++sent) {
            queue.push_rest(body, sent);
            ASSERT_EQ(text_of(queue), whole.substr(sent)) << size << ", sent " << sent;
            ASSERT_EQ(queue.size(), whole.size() - sent);
            ASSERT_EQ(queue.count(), 1U);
            ASSERT_EQ(queue.consume(queue.size()), 1U);
            queue.push_rest(shared, sent);
            ASSERT_EQ(text_of(queue), whole.substr(sent)) << size << ", sent " << sent;
            ASSERT_EQ(queue.consume(queue.size()), 1U);
        }
    }
}

TEST_P(packet_write_queue_of, PacketsFollowTheRestOfOne) {
    queue.push_rest("begun", packet_header_size(GetParam()) + 3);
    queue.push("next");
    EXPECT_EQ(text_of(queue), "un" + frame(GetParam(), "next"));
    EXPECT_EQ(queue.count(), 2U);
    EXPECT_EQ(queue.consume(2), 1U);
}

TEST_P(packet_write_queue_of, TheRestOfASharedBodyIsNotCopied) {
    const auto body = shared_bytes::copy_of(std::string(100'000, 'x'));
    queue.push_rest(body, packet_header_size(GetParam()) + 10);
    const auto pieces = gather(queue);
    ASSERT_EQ(pieces.size(), 1U);
    EXPECT_EQ(pieces[0].iov_base, body.data() + 10);
}

// --- dropping ---

TEST_P(packet_write_queue_of, DroppingForgetsAllAndItGoesOn) {
    queue.push("ab");
    queue.push(shared_bytes::copy_of(std::string(long_size, 'x')));
    EXPECT_EQ(queue.consume(packet_header_size(GetParam()) + 1), 0U);
    EXPECT_EQ(queue.drop(), 2U);
    EXPECT_TRUE(queue.is_empty());
    EXPECT_EQ(queue.count(), 0U);
    EXPECT_TRUE(gather(queue).empty());
    queue.push("again");
    EXPECT_EQ(text_of(queue), frame(GetParam(), "again"));
}

// --- memory ---

// So many packets are pushed, and then taken by a kernel that takes `taken_max` at once.
void exchange(packet_write_queue& queue, std::size_t count, const std::string& body,
              std::size_t taken_max) {
    std::array<iovec, 16> pieces;
    for (std::size_t i = 0; i < count; ++i)
        queue.push(body);
    while (!queue.is_empty()) {
        const std::size_t gathered = queue.gather(pieces);
        std::size_t size = 0;
        for (std::size_t i = 0; i < gathered; ++i)
            size += pieces[i].iov_len;
        (void)queue.consume(std::min(size, taken_max));
    }
}

TEST_P(packet_write_queue_of, ShortPacketsThatLeaveAtOnceAllocateNothingOnceWarm) {
    const std::string body(64, 'x');
    for (const std::size_t burst : {1U, 64U}) {
        for (int i = 0; i < 3; ++i)
            exchange(queue, burst, body, 100'000);
        std::size_t count = 0;
        {
            const test::allocation_meter meter;
            for (int i = 0; i < 1000; ++i)
                exchange(queue, burst, body, i % 2 == 0 ? 100'000 : 100);
            count = meter.count();
        }
        EXPECT_EQ(count, 0U) << burst << " at once";
    }
}

TEST_P(packet_write_queue_of, LongSharedBodiesAllocateNothingOnceWarm) {
    const auto body = shared_bytes::copy_of(std::string(100'000, 'x'));
    const auto send_three = [&] {
        for (int i = 0; i < 3; ++i)
            queue.push(body);
        EXPECT_EQ(queue.consume(queue.size()), 3U);
    };
    send_three();
    std::size_t count = 0;
    {
        const test::allocation_meter meter;
        for (int i = 0; i < 1000; ++i)
            send_three();
        count = meter.count();
    }
    EXPECT_EQ(count, 0U);
}

TEST_P(packet_write_queue_of, AQueueThatIsNeverEmptyAllocatesABlockNowAndThen) {
    const std::string body(64 - packet_header_size(GetParam()), 'x');
    for (int i = 0; i < 1000; ++i)
        queue.push(body);
    const auto replace_one = [&] {
        queue.push(body);
        EXPECT_EQ(queue.consume(64), 1U);
    };
    for (int i = 0; i < 3000; ++i)
        replace_one();
    std::size_t count = 0;
    std::size_t largest = 0;
    {
        const test::allocation_meter meter;
        for (int i = 0; i < 100'000; ++i)
            replace_one();
        count = meter.count();
        largest = meter.largest();
    }
    EXPECT_EQ(queue.count(), 1000U);
    EXPECT_LE(largest, 16'384U);
    EXPECT_LE(count, 100'000U / 250) << "about 255 packets are in a block";
}

TEST_P(packet_write_queue_of, ABlockIsUsedAgainWhenItsPacketsHaveGoneThoughOthersWait) {
    const auto body = shared_bytes::copy_of(std::string(100'000, 'x'));
    const auto replace_one = [&] {
        queue.push(std::string_view("short"));
        queue.push(body);
        // Up to the middle of the last body.
        (void)queue.consume(queue.size() - 50'000);
    };
    replace_one();
    replace_one();
    std::size_t count = 0;
    {
        const test::allocation_meter meter;
        for (int i = 0; i < 10'000; ++i)
            replace_one();
        count = meter.count();
    }
    EXPECT_EQ(count, 0U);
    EXPECT_EQ(queue.count(), 1U);
}

TEST_P(packet_write_queue_of, AnEmptyQueueKeepsNoMoreThanItSays) {
    const auto body = shared_bytes::copy_of(std::string(long_size, 'x'));
    // Tables of many short packets, and of many pieces.
    exchange(queue, 100'000, "x", 1'000'000);
    for (int i = 0; i < 10'000; ++i)
        queue.push(body);
    EXPECT_EQ(queue.consume(queue.size()), 10'000U);
    std::size_t largest = 0;
    std::size_t count = 0;
    {
        // What was kept is not allocated again.
        const test::allocation_meter meter;
        queue.push("x");
        count = meter.count();
        largest = meter.largest();
    }
    EXPECT_EQ(count, 2U) << "the tables were given back, the block was not";
    EXPECT_LE(largest, packet_write_queue::memory_kept_max);
}

TEST_P(packet_write_queue_of, WhereMemoryEndsNothingHasChanged) {
    const auto body = shared_bytes::copy_of(std::string(long_size, 'x'));
    const std::string view_of_long(long_size, 'y');
    const auto push = [&](packet_write_queue& into, int which) {
        switch (which) {
            case 0: into.push("short"); break;
            case 1: into.push(body); break;
            default: into.push(view_of_long);
        }
    };
    std::size_t failures = 0;
    for (int which = 0; which < 3; ++which) {
        // At each state of the tables and the block, whatever has to grow.
        for (int before = 0; before < 70; ++before) {
            packet_write_queue full(GetParam());
            for (int i = 0; i < before; ++i)
                full.push(i % 2 == 0 ? byte_view(view_of_long).bytes().first(200)
                                     : byte_view(view_of_long).bytes());
            if (before > 3) (void)full.consume(full.size() / 3);
            const std::string text = text_of(full);
            const std::size_t count = full.count();
            for (std::size_t limit = 0;; ++limit) {
                bool has_thrown = false;
                {
                    const test::allocation_limit no_more(limit);
                    try {
                        push(full, which);
                    } catch (const std::bad_alloc&) {
                        has_thrown = true;
                    }
                }
                if (!has_thrown) break;
                ++failures;
                ASSERT_EQ(full.count(), count);
                ASSERT_EQ(full.size(), text.size());
                ASSERT_EQ(text_of(full), text);
            }
            ASSERT_EQ(full.count(), count + 1);
            ASSERT_EQ(text_of(full).substr(0, text.size()), text);
        }
    }
    EXPECT_GT(failures, 70U) << "a view of a long body is copied each time";
}

// --- any order of anything ---

// What a queue should be: the frames that wait, the first less what has gone of it.
class model {
  public:
    void push(const std::string& bytes) { waiting_.push_back(bytes); }
    std::size_t consume(std::size_t bytes) {
        std::size_t whole = 0;
        while (bytes > 0 && bytes >= waiting_.front().size()) {
            bytes -= waiting_.front().size();
            waiting_.pop_front();
            ++whole;
        }
        if (bytes > 0) waiting_.front().erase(0, bytes);
        return whole;
    }
    std::size_t drop() {
        const std::size_t dropped = waiting_.size();
        waiting_.clear();
        return dropped;
    }
    [[nodiscard]] std::size_t count() const { return waiting_.size(); }
    [[nodiscard]] std::string text() const {
        std::string all;
        for (const std::string& one : waiting_)
            all += one;
        return all;
    }

  private:
    std::deque<std::string> waiting_;
};

std::string some_body() {
    constexpr std::array<std::size_t, 4> at_least{0, 100, long_size - 2, long_size};
    constexpr std::array<std::size_t, 4> below{100, 3'000, long_size + 2, 40'000};
    const auto kind = *rc::gen::element<std::size_t>(0, 0, 0, 0, 0, 0, 1, 1, 2, 3);
    const std::size_t size = test::any_of(at_least[kind], below[kind]);
    std::string body(size, static_cast<char>(test::any_of(0, 128)));
    for (std::size_t at = 0; at < size; at += 13)
        body[at] = static_cast<char>(at);
    return body;
}

void push_some(packet_write_queue& queue, model& expected, packet_framing framing) {
    const std::string body = some_body();
    const std::string whole = frame(framing, body);
    std::size_t sent = 0;
    if (queue.is_empty() && test::any_of(0, 3) == 0) {
        sent = test::any_of<std::size_t>(0, whole.size());
        if (*rc::gen::arbitrary<bool>()) {
            queue.push_rest(body, sent);
        } else {
            queue.push_rest(shared_bytes::copy_of(body), sent);
        }
    } else if (*rc::gen::arbitrary<bool>()) {
        queue.push(body);
    } else {
        queue.push(shared_bytes::copy_of(body));
    }
    expected.push(whole.substr(sent));
}

void consume_some(packet_write_queue& queue, model& expected) {
    const auto pieces = gather(queue, test::any_of<std::size_t>(1, 10));
    const std::string gathered = text_of(pieces);
    RC_ASSERT(expected.text().starts_with(gathered));
    const bool is_all = test::any_of(0, 3) == 0;
    const std::size_t taken =
        is_all ? gathered.size() : test::any_of<std::size_t>(0, gathered.size() + 1);
    RC_ASSERT(queue.consume(taken) == expected.consume(taken));
}

TEST_P(packet_write_queue_of, RandomPacketsLeaveAsTheirFramesWhateverTheKernelTakes) {
    EXPECT_TRUE(rc::check([] {
        packet_write_queue mine(GetParam());
        model expected;
        const auto steps = test::any_of(0, 60);
        for (int i = 0; i < steps; ++i) {
            const int what = test::any_of(0, 40);
            if (what == 0) {
                RC_ASSERT(mine.drop() == expected.drop());
            } else if (what < 24) {
                push_some(mine, expected, GetParam());
            } else {
                consume_some(mine, expected);
            }
            const std::string text = expected.text();
            RC_ASSERT(mine.count() == expected.count());
            RC_ASSERT(mine.size() == text.size());
            RC_ASSERT(mine.is_empty() == text.empty());
            RC_ASSERT(text_of(mine) == text);
        }
    }));
}

}  // namespace
}  // namespace quoit::detail
