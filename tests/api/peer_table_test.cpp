// SPDX-License-Identifier: MIT
#include <quoit/detail/peer_table.hpp>
#include <quoit/quoit.hpp>

#include <gtest/gtest.h>

#include <malloc.h>

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using quoit::address;
using quoit::datagram;
using quoit::detail::counted_ptr;
using quoit::detail::peer;
using quoit::detail::peer_table;

// Attends to every peer, until it is forgotten.
class host final : public quoit::detail::peer_host {
  public:
    void came(peer& one) override {
        one.set_attended(true);
        attended.emplace_back(&one);
    }
    // The idlest came first.
    void forgotten(peer& one) noexcept override {
        EXPECT_EQ(attended.front().get(), &one);
        EXPECT_TRUE(one.is_closing());
        attended.pop_front();
    }
    std::deque<counted_ptr<peer>> attended;
};

address source(std::uint32_t number) {
    const auto byte = [number](unsigned shift) {
        return static_cast<std::uint8_t>(number >> shift);
    };
    return {quoit::ip::v4({10, byte(16), byte(8), byte(0)}), 9};
}

quoit::task<> read_one(counted_ptr<peer> from, std::string& into) {
    auto received = co_await quoit::detail::peer_read_operation(from, {});
    into = received ? received->to_string() : received.error().code().message();
}

TEST(peer_table, AMillionSourcesTakeNoMoreMemoryThanThePeersItIsToldToKeep) {
    const counted_ptr table(new peer_table({.peers_max = 1000, .queue_size_max = 2000}));
    host attending;
    table->set_host(&attending);
    constexpr std::uint32_t million = 1'000'000;
    std::size_t in_use_before = 0;
    for (std::uint32_t i = 0; i < million; ++i) {
        if (i == 10'000) in_use_before = ::mallinfo2().uordblks;
        table->push(datagram("x", source(i)));
        ASSERT_LE(table->stats().known, 1000U);
        ASSERT_LE(table->stats().waiting, 2000U);
    }
    const std::size_t in_use = ::mallinfo2().uordblks;
    EXPECT_LE(in_use, in_use_before + 100'000);
    EXPECT_EQ(table->stats().came, million);
    EXPECT_EQ(table->stats().forgotten, million - 1000);
    table->set_host(nullptr);
    attending.attended.clear();
    EXPECT_EQ(table->stats().known, 0U);
    EXPECT_EQ(table->stats().waiting, 0U);
    EXPECT_EQ(table->stats().unexplained(), 0U);
}

TEST(peer_table, WhatWaitsInAllIsBoundedWhoeverItIsFrom) {
    const counted_ptr table(
        new peer_table({.peers_max = 100, .queue_per_peer_max = 64, .queue_size_max = 10}));
    host attending;
    table->set_host(&attending);
    for (std::uint32_t i = 0; i < 30; ++i)
        table->push(datagram("x", source(i % 5)));
    EXPECT_EQ(table->stats().waiting, 10U);
    EXPECT_EQ(table->stats().dropped.queue_full, 20U);
    // Nor is there room for who is new.
    table->push(datagram("x", source(7)));
    EXPECT_EQ(table->stats().known, 5U);
    EXPECT_EQ(table->stats().unexplained(), 0U);
    table->set_host(nullptr);
}

TEST(peer_table, APeerIsKnownAsLongAsSomebodyHoldsIt) {
    const counted_ptr table(new peer_table({}));
    host attending;
    table->set_host(&attending);
    table->push(datagram("one", source(1)));
    const counted_ptr<peer> held = attending.attended.front();
    held->set_attended(false);
    attending.attended.clear();
    table->push(datagram("two", source(1)));
    ASSERT_EQ(attending.attended.size(), 1U);
    EXPECT_EQ(attending.attended.front().get(), held.get());
    EXPECT_EQ(held->queue_size(), 2U);
    held->discard_one();
    EXPECT_EQ(held->queue_size(), 1U);
    EXPECT_EQ(table->stats().discarded, 1U);
    table->set_host(nullptr);
}

// The tasks are woken in the turn in which the datagram comes, and cancelled before they run.
quoit::task<> cancel_who_was_woken() {
    const counted_ptr table(new peer_table({}));
    host attending;
    table->set_host(&attending);
    table->push(datagram("first", source(1)));
    const counted_ptr<peer> one = attending.attended.front();
    one->discard_one();
    std::string heard_by_first;
    std::string heard_by_second;
    auto first = quoit::spawn(read_one(one, heard_by_first));
    auto second = quoit::spawn(read_one(one, heard_by_second));
    or_throw(co_await quoit::sleep(0s));
    table->push(datagram("for one of them", source(1)));
    first.cancel();
    or_throw(co_await second.join({.timeout = 10s}));
    static_cast<void>(co_await first.join());
    EXPECT_EQ(heard_by_first, "Canceled");
    EXPECT_EQ(heard_by_second, "for one of them");
    EXPECT_EQ(table->stats().unexplained(), 0U);
    table->set_host(nullptr);
}

TEST(peer_table, ADatagramOnItsWayToAReaderThatIsCancelledGoesToTheNext) {
    quoit::run(cancel_who_was_woken());
}

quoit::task<> drop_who_was_woken() {
    const counted_ptr table(new peer_table({}));
    host attending;
    table->set_host(&attending);
    table->push(datagram("first", source(1)));
    const counted_ptr<peer> one = attending.attended.front();
    one->discard_one();
    std::string heard;
    {
        quoit::task_group dropped;
        dropped.spawn(read_one(one, heard));
        or_throw(co_await quoit::sleep(0s));
        table->push(datagram("still there", source(1)));
    }
    EXPECT_EQ(heard, "");
    auto received = co_await quoit::detail::peer_read_operation(one, {.timeout = 0s});
    EXPECT_TRUE(received && received->text() == "still there");
    one->close();
    const auto closed = co_await quoit::detail::peer_read_operation(one, {});
    EXPECT_TRUE(!closed && closed.error() == quoit::errc::closed);
    table->set_host(nullptr);
}

TEST(peer_table, ADatagramOnItsWayToAReaderThatIsDroppedStays) { quoit::run(drop_who_was_woken()); }

}  // namespace
