// SPDX-License-Identifier: MIT
//
// The acceptance cases of queues and life, Q01-Q15 (docs/testing.md): reading, closing, refusals,
// back-pressure; then what the engine has to show: that every datagram of a flood is accounted for,
// and what one costs. On real sockets, through the coroutine facade.
//
// This program has an operator new of its own, which counts.
#include "integration/acceptance_fixture.hpp"
#include "support/namespace.hpp"

#include <atomic>
#include <new>
#include <span>

namespace {

std::atomic<std::uint64_t> allocations{0};

void* allocate(std::size_t size, std::size_t alignment) {
    allocations.fetch_add(1, std::memory_order_relaxed);
    const std::size_t whole = (size + alignment - 1) / alignment * alignment;
    void* const memory = std::aligned_alloc(alignment, whole == 0 ? alignment : whole);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}

}  // namespace

// The other forms of new and delete, those of the library, end in these. Not inlined, or GCC 12
// sees free() beside operator new and warns of a mismatch.
[[gnu::noinline]] void* operator new(std::size_t size) {
    return allocate(size, alignof(std::max_align_t));
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
    return allocate(size, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
    std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
    std::free(memory);
}

namespace quoit::test {

namespace {

using quoit::errc;

std::string numbered(int number) { return "number " + std::to_string(number); }

void send_numbered(const foreign_socket& from, int first, int end, const address& to) {
    for (int i = first; i < end; ++i)
        from.sendto(numbered(i), to);
}

// Reads datagrams first..end-1, in that order, from `peer`.
task<> expect_numbered(udp_server& server, int first, int end, address peer) {
    for (int i = first; i < end; ++i) {
        auto heard = co_await server.read(patiently);
        auto one = or_throw(std::move(heard));
        EXPECT_EQ(one.text(), numbered(i));
        EXPECT_EQ(one.peer(), peer);
    }
}

task<> expect_numbered_at(const foreign_socket& peer, int first, int end) {
    for (int i = first; i < end; ++i) {
        const auto one = co_await receive(peer);
        EXPECT_EQ(one.payload, numbered(i));
    }
}

// Whatever was sent to `peer` before would come before what is sent now.
task<> expect_nothing_more(const foreign_socket& peer) {
    const foreign_socket marker;
    marker.sendto("the last thing", peer.local());
    const auto next = co_await receive(peer);
    EXPECT_EQ(next.from, marker.local());
    EXPECT_EQ(next.payload, "the last thing");
}

// --- Q01: the first program ---

task<> echo_five(udp_server server) {
    for (int count = 0; count < 5; ++count) {
        auto heard = co_await server.read();
        auto datagram = or_throw(std::move(heard));
        server.sendto(datagram.payload(), datagram.peer());
    }
    server.close();
    or_throw(co_await server.wait_closed());
    EXPECT_TRUE(server.is_closing());
    EXPECT_EQ(server.stats().received.delivered, 5U);
    EXPECT_EQ(server.stats().sent.sent, 5U);
    EXPECT_EQ(server.stats().unexplained(), 0U) << server.stats();
}

task<> five_echoes() {
    auto server = co_await listen();
    const address where = server.local_address();
    auto program = spawn(echo_five(std::move(server)));
    const foreign_socket peer;
    for (int i = 0; i < 5; ++i) {
        peer.sendto(numbered(i), where);
        const auto answer = co_await receive(peer);
        EXPECT_EQ(answer.payload, numbered(i));
        EXPECT_EQ(answer.from, where);
    }
    const auto ended = co_await program.join(patiently);
    or_throw(ended);
    const foreign_socket successor(where);
    EXPECT_EQ(successor.local(), where);
}

TEST_P(acceptance, Q01FiveEchoesThenCloseThenWaitClosedFreesThePort) { run(five_echoes()); }

// --- Q02: a full queue ---

constexpr int queue_size = 8;
constexpr int queue_overrun = 3;

task<> overfill(when_full policy, int first_kept, int end_kept) {
    auto server = co_await listen({.queue_size_max = queue_size, .on_full = policy});
    const foreign_socket peer;
    send_numbered(peer, 0, queue_size + queue_overrun, server.local_address());
    co_await wait_until_passed(server, queue_size + queue_overrun);
    co_await expect_numbered(server, first_kept, end_kept, peer.local());
    const auto empty = server.try_read();
    expect_error(empty, errc::would_block);
    EXPECT_EQ(server.stats().received.dropped.queue_full, static_cast<unsigned>(queue_overrun));
    EXPECT_EQ(server.stats().received.delivered, static_cast<unsigned>(queue_size));

    send_numbered(peer, 100, 100 + queue_size, server.local_address());
    co_await expect_numbered(server, 100, 100 + queue_size, peer.local());
    EXPECT_EQ(server.stats().received.dropped.queue_full, static_cast<unsigned>(queue_overrun));
    EXPECT_EQ(server.stats().unexplained(), 0U) << server.stats();
}

TEST_P(acceptance, Q02AFullQueueDeliversWhatItHoldsInOrderCountsTheRestAndGoesOn) {
    run(overfill(when_full::drop_newest, 0, queue_size));
}

TEST_P(acceptance, Q02AFullQueueThatDropsTheOldestDeliversTheLatestInOrder) {
    run(overfill(when_full::drop_oldest, queue_overrun, queue_size + queue_overrun));
}

// A datagram from an endpoint that is opened now: what the loop asked of its worker before has been
// done when it arrives, because a worker follows orders one by one.
task<> wait_for_the_workers() {
    auto other = co_await listen();
    const foreign_socket peer;
    send_numbered(peer, 0, 1, other.local_address());
    co_await expect_numbered(other, 0, 1, peer.local());
}

task<> overfill_one_that_pauses() {
    constexpr int count = 10 * queue_size;
    auto server = co_await listen({.queue_size_max = queue_size, .on_full = when_full::pause});
    const foreign_socket peer;
    send_numbered(peer, 0, queue_size, server.local_address());
    co_await wait_until_passed(server, queue_size);
    co_await wait_for_the_workers();

    // It is paused: there are buffers for them all, but they stay in the socket.
    send_numbered(peer, queue_size, count, server.local_address());
    co_await wait_for_the_workers();
    EXPECT_EQ(server.stats().received.taken, static_cast<unsigned>(queue_size));

    co_await expect_numbered(server, 0, count, peer.local());
    EXPECT_EQ(server.stats().received.dropped.queue_full, 0U);
    EXPECT_EQ(server.stats().received.delivered, static_cast<unsigned>(count));
}

TEST_P(acceptance, Q02AFullQueueThatPausesLosesNothingTheKernelHasRoomFor) {
    run(overfill_one_that_pauses());
}

// --- Q03, Q04, Q05: closing ---

task<> read_to_the_end(udp_server& server, int& closed_count) {
    const auto one = co_await server.read();
    if (!one && one.error() == errc::closed) ++closed_count;
}
task<> read_with_a_limit_to_the_end(udp_server& server, int& closed_count) {
    const auto one = co_await server.read(patiently);
    if (!one && one.error() == errc::closed) ++closed_count;
}
task<> read_batch_to_the_end(udp_server& server, int& closed_count) {
    const auto batch = co_await server.read_batch();
    if (!batch && batch.error() == errc::closed) ++closed_count;
}
task<> iterate_to_the_end(udp_server& server, int& closed_count) {
    auto incoming = server.iterate();
    const auto one = co_await incoming.next();
    if (!one && incoming.ended() == errc::closed) ++closed_count;
}

void spawn_readers(task_group& group, udp_server& server, int& closed_count) {
    group.spawn(read_to_the_end(server, closed_count));
    group.spawn(read_with_a_limit_to_the_end(server, closed_count));
    group.spawn(read_batch_to_the_end(server, closed_count));
    group.spawn(iterate_to_the_end(server, closed_count));
    group.spawn(read_to_the_end(server, closed_count));
}

task<> close_under_readers() {
    auto server = co_await listen();
    int closed_count = 0;
    task_group group;
    spawn_readers(group, server, closed_count);
    or_throw(co_await next_turn());
    EXPECT_EQ(group.size(), 5U) << "all of them wait";
    server.close();
    co_await group.join();
    EXPECT_EQ(closed_count, 5);
    const auto late = co_await server.read();
    expect_error(late, errc::closed);
}

TEST_P(acceptance, Q03CloseWakesEveryPendingReaderWithClosed) { run(close_under_readers()); }

task<> close_from_another_thread_under_readers() {
    auto server = co_await listen();
    int closed_count = 0;
    task_group group;
    spawn_readers(group, server, closed_count);
    or_throw(co_await next_turn());
    std::jthread other([handle = server.handle()] { handle.close(); });
    co_await group.join();
    EXPECT_EQ(closed_count, 5);
}

TEST_P(acceptance, Q03CloseFromAnotherThreadWakesEveryPendingReaderWithClosed) {
    run(close_from_another_thread_under_readers());
}

task<> close_with_data_waiting() {
    auto server = co_await listen();
    const foreign_socket peer;
    send_numbered(peer, 0, 5, server.local_address());
    co_await wait_until_passed(server, 5);
    server.close();
    co_await expect_numbered(server, 0, 3, peer.local());
    or_throw(co_await server.wait_closed());
    co_await expect_numbered(server, 3, 5, peer.local());
    const auto end = co_await server.read();
    expect_error(end, errc::closed);
    const auto tried = server.try_read();
    expect_error(tried, errc::closed);
    const auto batch = co_await server.read_batch();
    expect_error(batch, errc::closed);
    EXPECT_EQ(server.stats().received.delivered, 5U);
}

TEST_P(acceptance, Q04WhatWasQueuedIsReadableBeforeClosed) { run(close_with_data_waiting()); }

task<> wait_for_the_end(udp_server& server, int& ended_count) {
    const status closed = co_await server.wait_closed();
    if (closed) ++ended_count;
}
task<> wait_for_the_end_until_cancelled(udp_server& server, bool& was_cancelled) {
    const status closed = co_await server.wait_closed();
    was_cancelled = closed == errc::canceled;
}

task<> close_twice() {
    auto server = co_await listen();
    int ended_count = 0;
    bool was_cancelled = false;
    task_group group;
    group.spawn(wait_for_the_end(server, ended_count));
    group.spawn(wait_for_the_end(server, ended_count));
    auto cancelled = spawn(wait_for_the_end_until_cancelled(server, was_cancelled));
    group.spawn(wait_for_the_end(server, ended_count));
    or_throw(co_await next_turn());
    EXPECT_EQ(group.size(), 3U);
    cancelled.cancel();
    const auto joined = co_await cancelled.join(patiently);
    EXPECT_TRUE(joined.has_value());
    EXPECT_TRUE(was_cancelled);
    EXPECT_EQ(ended_count, 0);

    EXPECT_FALSE(server.is_closing());
    server.close();
    EXPECT_TRUE(server.is_closing());
    server.close();
    group.spawn(wait_for_the_end(server, ended_count));
    co_await group.join();
    EXPECT_EQ(ended_count, 4);
    server.close();
    co_await wait_for_the_end(server, ended_count);
    co_await wait_for_the_end(server, ended_count);
    EXPECT_EQ(ended_count, 6);
    server.abort();
    EXPECT_TRUE(server.is_closing());
}

TEST_P(acceptance, Q05ClosingTwiceIsClosingOnceAndAnyNumberMayWait) { run(close_twice()); }

// --- Q06, Q07: closing and sending ---

task<> close_with_sends_queued() {
    const foreign_socket peer;
    auto server = co_await listen();
    for (int i = 0; i < 50; ++i)
        EXPECT_TRUE(server.sendto(numbered(i), peer.local()));
    server.close();
    or_throw(co_await server.wait_closed());
    co_await expect_numbered_at(peer, 0, 50);
    EXPECT_EQ(server.stats().sent.sent, 50U);
    EXPECT_EQ(server.stats().sent.dropped, 0U);
}

TEST_P(acceptance, Q06CloseFlushesWhatIsQueued) { run(close_with_sends_queued()); }

task<> abort_with_sends_queued() {
    const foreign_socket peer;
    auto server = co_await listen();
    for (int i = 0; i < 50; ++i)
        EXPECT_TRUE(server.sendto(numbered(i), peer.local()));
    EXPECT_EQ(server.stats().sent.waiting, 50U) << "nothing to drop";
    server.abort();
    or_throw(co_await server.wait_closed());
    EXPECT_EQ(server.stats().sent.sent, 0U);
    EXPECT_EQ(server.stats().sent.dropped, 50U);
    EXPECT_EQ(server.stats().sent.waiting, 0U);
    co_await expect_nothing_more(peer);
}

TEST_P(acceptance, Q06AbortDropsAndCountsWhatIsQueued) { run(abort_with_sends_queued()); }

task<> send_and_leave_scope(address to) {
    auto server = co_await listen();
    for (int i = 0; i < 50; ++i)
        EXPECT_TRUE(server.sendto(numbered(i), to));
}
task<> leave_scope_with_sends_queued() {
    const foreign_socket peer;
    co_await send_and_leave_scope(peer.local());
    co_await expect_numbered_at(peer, 0, 50);
}

TEST_P(acceptance, Q06SendingAndLeavingScopeAtOnceSends) { run(leave_scope_with_sends_queued()); }

task<> send_after_close() {
    const foreign_socket peer;
    auto server = co_await listen();
    auto client = co_await connect(peer.local());
    peer.sendto("a request", server.local_address());
    auto heard = co_await server.read(patiently);
    auto request = or_throw(std::move(heard));
    server.close();
    client.close();
    EXPECT_EQ(server.sendto("x", peer.local()), errc::closed);
    EXPECT_EQ(server.sendto_pieces({"x", "y"}, peer.local()), errc::closed);
    EXPECT_EQ(server.try_sendto("x", peer.local()), errc::closed);
    EXPECT_EQ(server.reply(request, "x"), errc::closed);
    EXPECT_EQ(server.sendto(datagram("x", peer.local()), peer.local()), errc::closed);
    EXPECT_EQ(server.reply(std::move(request)), errc::closed);
    EXPECT_EQ(client.send("x"), errc::closed);
    EXPECT_EQ(client.send_pieces({"x", "y"}), errc::closed);
    EXPECT_EQ(client.send(datagram("x", peer.local())), errc::closed);
    EXPECT_EQ(client.try_send("x"), errc::closed);
    or_throw(co_await server.wait_closed());
    or_throw(co_await client.wait_closed());
    EXPECT_EQ(server.sendto("x", peer.local()), errc::closed);
    EXPECT_EQ(client.send("x"), errc::closed);
    EXPECT_EQ(server.stats().sent.accepted, 0U);
    EXPECT_EQ(client.stats().sent.accepted, 0U);
    co_await expect_nothing_more(peer);
}

TEST_P(acceptance, Q07SendingAfterCloseAnswersClosedAndSendsNothing) { run(send_after_close()); }

// --- Q08, Q09: dead peers ---

task<> expect_refusals(udp_client& client, int count) {
    for (int i = 0; i < count; ++i) {
        const auto refused = co_await client.read(patiently);
        expect_error(refused, std::errc::connection_refused);
    }
}

task<> talk_to_the_dead_then_to_the_living() {
    const address where = dead_address();
    // One by one, then several in one flush: each is one refusal, and each refusal is one report.
    // (The kernel refuses a train as it takes it: once.)
    auto client = co_await connect(where, {.offload = offload::off});
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(client.send("is anybody there?"));
        co_await expect_refusals(client, 1);
        EXPECT_EQ(client.stats().received.refused, static_cast<unsigned>(i + 1));
    }
    for (int i = 0; i < 3; ++i)
        EXPECT_TRUE(client.send("is anybody there?"));
    co_await expect_refusals(client, 3);
    const auto no_more = co_await client.read({.timeout = 0s});
    expect_error(no_more, errc::timed_out);
    EXPECT_EQ(client.stats().received.refused, 6U);
    EXPECT_FALSE(client.is_closing());

    auto server = co_await listen({}, where);
    for (int i = 0; i < 5; ++i) {
        EXPECT_TRUE(client.send(numbered(i)));
        auto heard = co_await server.read(patiently);
        auto request = or_throw(std::move(heard));
        EXPECT_EQ(request.text(), numbered(i));
        EXPECT_EQ(request.peer(), client.local_address());
        EXPECT_TRUE(server.reply(std::move(request)));
        const auto answer = co_await client.read(patiently);
        expect_text(answer, numbered(i));
    }
    EXPECT_EQ(client.stats().received.refused, 6U);
    EXPECT_EQ(client.stats().unexplained(), 0U) << client.stats();
}

TEST_P(acceptance, Q08ADeadPeerIsReportedOncePerRefusalAndTrafficFlowsWhenItStarts) {
    run(talk_to_the_dead_then_to_the_living());
}

// What was received before the refusal is read before it.
task<> refuse_behind_a_datagram() {
    std::optional<foreign_socket> peer(std::in_place);
    auto client = co_await connect(peer->local());
    peer->sendto("my last words", client.local_address());
    peer.reset();
    EXPECT_TRUE(client.send("are you there?"));
    client.flush();
    const auto words = co_await client.read(patiently);
    expect_text(words, "my last words");
    co_await expect_refusals(client, 1);
}

TEST_P(acceptance, Q08ARefusalIsReportedBehindWhatWasReceivedBeforeIt) {
    run(refuse_behind_a_datagram());
}

task<> send_to_many_dead_ports() {
    constexpr int count = 20;
    auto server = co_await listen();
    const foreign_socket healthy;
    std::vector<address> dead;
    for (int i = 0; i < count; ++i)
        dead.push_back(dead_address());
    for (int i = 0; i < count; ++i) {
        EXPECT_TRUE(server.sendto("is anybody there?", dead[static_cast<std::size_t>(i)]));
        EXPECT_TRUE(server.sendto(numbered(i), healthy.local()));
    }
    server.flush();
    const auto nothing = co_await server.read({.timeout = 0s});
    expect_error(nothing, errc::timed_out);
    co_await expect_numbered_at(healthy, 0, count);

    send_numbered(healthy, 0, count, server.local_address());
    co_await expect_numbered(server, 0, count, healthy.local());
    EXPECT_EQ(server.stats().sent.sent, 2U * count);
    EXPECT_EQ(server.stats().sent.errors, 0U);
    EXPECT_EQ(server.stats().sent.resent, 0U);
    EXPECT_EQ(server.stats().received.refused, 0U);
}

TEST_P(acceptance, Q09AnUnconnectedEndpointHearsNothingOfDeadPortsAndReceivesTheNextDatagram) {
    run(send_to_many_dead_ports());
}

// --- Q10: blocked sends; on lo that is slow, because otherwise nothing ever blocks ---

constexpr const char* slow_loopback = "tbf rate 8mbit burst 10kb limit 1mb";
constexpr std::size_t slow_payload_size = 1000;
constexpr udp_options narrow{
    .send_buffer_size = 4096, .send_high_water = 32 * 1024, .send_low_water = 8 * 1024};

std::string numbered_payload(int number) {
    std::string text = numbered(number);
    text.resize(slow_payload_size, '.');
    return text;
}

// Receives until that many have come, in order.
task<> receive_slowly(udp_server& receiver, int count) {
    for (int i = 0; i < count; ++i) {
        auto heard = co_await receiver.read(patiently);
        auto one = or_throw(std::move(heard));
        EXPECT_EQ(one.text(), numbered_payload(i));
    }
}

task<> send_more_than_the_kernel_takes() {
    constexpr int count = 200;
    auto receiver = co_await listen();
    auto sender = co_await listen(narrow);
    task_group group;
    group.spawn(receive_slowly(receiver, 2 * count));

    for (int i = 0; i < count; ++i) {
        EXPECT_TRUE(sender.sendto(numbered_payload(i), receiver.local_address()));
    }
    sender.flush();
    EXPECT_GT(sender.stats().sent.blocked, 0U) << "nothing blocked: there is nothing to see";
    EXPECT_GT(sender.stats().sent.waiting * slow_payload_size, narrow.send_high_water);
    EXPECT_EQ(sender.try_sendto("me first", receiver.local_address()), errc::would_block);

    or_throw(co_await sender.drain());
    EXPECT_LE(sender.stats().sent.waiting * slow_payload_size, narrow.send_low_water);
    or_throw(co_await sender.drain());

    for (int i = count; i < 2 * count; ++i) {
        EXPECT_TRUE(sender.sendto(numbered_payload(i), receiver.local_address()));
    }
    co_await group.join();
    EXPECT_EQ(sender.stats().sent.sent, 2U * count);
    EXPECT_EQ(sender.stats().sent.errors, 0U);
    EXPECT_EQ(sender.stats().sent.waiting, 0U);
    or_throw(co_await sender.drain());
    EXPECT_EQ(sender.stats().unexplained(), 0U) << sender.stats();
}

task<> close_while_blocked() {
    constexpr int count = 100;
    auto receiver = co_await listen();
    auto sender = co_await listen(narrow);
    for (int i = 0; i < count; ++i) {
        EXPECT_TRUE(sender.sendto(numbered_payload(i), receiver.local_address()));
    }
    sender.flush();
    EXPECT_GT(sender.stats().sent.waiting, 0U);
    sender.close();
    or_throw(co_await sender.wait_closed());
    EXPECT_EQ(sender.stats().sent.sent, static_cast<unsigned>(count));
    EXPECT_EQ(sender.stats().sent.dropped, 0U);
    co_await receive_slowly(receiver, count);
}

task<> wait_for_the_drain(udp_server& sender, bool& is_closed) {
    const status drained = co_await sender.drain();
    is_closed = drained == errc::closed;
}

task<> abort_while_blocked() {
    constexpr int count = 100;
    auto receiver = co_await listen();
    auto sender = co_await listen(narrow);
    for (int i = 0; i < count; ++i) {
        EXPECT_TRUE(sender.sendto(numbered_payload(i), receiver.local_address()));
    }
    sender.flush();
    bool is_closed = false;
    task_group group;
    group.spawn(wait_for_the_drain(sender, is_closed));
    or_throw(co_await next_turn());
    EXPECT_FALSE(group.is_empty()) << "drain() does not wait";
    sender.abort();
    co_await group.join();
    EXPECT_TRUE(is_closed);
    or_throw(co_await sender.wait_closed());
    const auto sent = sender.stats().sent;
    EXPECT_GT(sent.dropped, 0U);
    EXPECT_EQ(sent.sent + sent.dropped, static_cast<unsigned>(count));
    co_await receive_slowly(receiver, static_cast<int>(sent.sent));
}

task<> fill_the_send_queue() {
    udp_options options = narrow;
    options.send_queue_size_max = 20'000;
    options.send_high_water = 10'000;
    options.send_low_water = 5'000;
    auto receiver = co_await listen();
    auto sender = co_await listen(options);
    int accepted = 0;
    status last;
    while (accepted < 200) {
        last = sender.sendto(numbered_payload(accepted), receiver.local_address());
        if (!last) break;
        ++accepted;
    }
    EXPECT_EQ(last, errc::would_block);
    EXPECT_GT(accepted, 10);
    EXPECT_LE(sender.stats().sent.waiting * slow_payload_size, options.send_queue_size_max);
    // And when there is room again it goes on, in order.
    or_throw(co_await sender.drain());
    EXPECT_TRUE(sender.sendto(numbered_payload(accepted), receiver.local_address()));
    co_await receive_slowly(receiver, accepted + 1);
}

// The case on a loop of its own, on slow loopback.
template <class MakeLoop>
void run_on_slow_loopback(MakeLoop make_loop, task<> (*body)()) {
    const auto why_not = run_in_network_namespace({.loopback_shape = slow_loopback}, [&] {
        auto made = make_loop();
        if (made) {
            run_case(*made, body());
        } else {
            ADD_FAILURE() << made.error();
        }
    });
    if (why_not) GTEST_SKIP() << *why_not;
}

TEST_P(acceptance, Q10ABlockedSendIsQueuedAndFlushedInOrderAndDrainWaitsAndResumes) {
    run_on_slow_loopback(make_loop, send_more_than_the_kernel_takes);
}

TEST_P(acceptance, Q10ClosingWhileSendsAreBlockedFlushesThem) {
    run_on_slow_loopback(make_loop, close_while_blocked);
}

TEST_P(acceptance, Q10AbortingWhileSendsAreBlockedDropsThemAndWakesWhoDrains) {
    run_on_slow_loopback(make_loop, abort_while_blocked);
}

TEST_P(acceptance, Q10AFullSendQueueAnswersWouldBlockAndGoesOnWhenDrained) {
    run_on_slow_loopback(make_loop, fill_the_send_queue);
}

// --- Q12: iteration ---

task<> iterate_with_a_budget() {
    auto server = co_await listen();
    const foreign_socket peer;
    send_numbered(peer, 0, 3, server.local_address());
    int count = 0;
    auto incoming = server.iterate({.budget = 0.1s});
    while (const auto one = co_await incoming.next()) {
        EXPECT_EQ(one->text(), numbered(count));
        ++count;
    }
    EXPECT_EQ(count, 3);
    EXPECT_EQ(incoming.ended(), errc::timed_out);
    peer.sendto("too late for the iteration", server.local_address());
    const auto after = co_await incoming.next();
    EXPECT_FALSE(after.has_value()) << "it stays ended";
    const auto late = co_await server.read(patiently);
    expect_text(late, "too late for the iteration");
}

TEST_P(acceptance, Q12IterationWithABudgetEndsByItself) { run(iterate_with_a_budget()); }

task<> count_what_comes(udp_server& server, int& count, status& why) {
    auto incoming = server.iterate();
    while (const auto one = co_await incoming.next()) {
        EXPECT_EQ(one->text(), numbered(count));
        ++count;
    }
    why = incoming.ended();
}

task<> iterate_until_closed() {
    auto server = co_await listen();
    const foreign_socket peer;
    int count = 0;
    status why;
    task_group group;
    group.spawn(count_what_comes(server, count, why));
    send_numbered(peer, 0, 10, server.local_address());
    co_await wait_until_passed(server, 10);
    for (int i = 0; i < 5; ++i)
        or_throw(co_await next_turn());
    EXPECT_EQ(group.size(), 1U) << "it ended by itself: " << why.error();
    EXPECT_TRUE(why);
    send_numbered(peer, 10, 12, server.local_address());
    co_await wait_until_passed(server, 12);
    server.close();
    co_await group.join();
    EXPECT_EQ(count, 12);
    EXPECT_EQ(why, errc::closed);
}

TEST_P(acceptance, Q12IterationWithoutABudgetEndsAtClose) { run(iterate_until_closed()); }

// --- Q13: a client that connects when it is used ---

task<> wait_until_connected(lazy_udp_client& client, int& connected) {
    const auto outcome = co_await client.wait_connected(patiently);
    if (outcome) ++connected;
}

task<> connect_for_five() {
    auto server = co_await listen();
    lazy_udp_client client({"localhost", server.local_address().port()}, {.family = family::ipv4});
    EXPECT_FALSE(client.is_connected());
    int connected = 0;
    {
        task_group waiting;
        for (int i = 0; i < 5; ++i)
            waiting.spawn(wait_until_connected(client, connected));
        // One that gives up harms no other.
        const auto given_up = co_await client.wait_connected({.timeout = 0s});
        expect_error(given_up, errc::timed_out);
        co_await waiting.join();
    }
    EXPECT_EQ(connected, 5);
    EXPECT_TRUE(client.is_connected());
    // One socket was opened: all of them send from one address.
    const address from = client.endpoint().local_address();
    for (int i = 0; i < 3; ++i) {
        or_throw(co_await client.send("number " + std::to_string(i)));
        auto request = or_throw(co_await server.read(patiently));
        EXPECT_EQ(request.text(), "number " + std::to_string(i));
        EXPECT_EQ(request.peer(), from);
        server.reply(std::move(request));
        auto reply = co_await client.read(patiently);
        expect_text(reply, "number " + std::to_string(i));
    }
    client.close();
    const auto closed = co_await client.send("x");
    expect_error(closed, errc::closed);
}

TEST_P(acceptance, Q13FiveWaitForALazyConnectAndOneSocketIsOpened) { run(connect_for_five()); }

task<> close_before_connecting() {
    lazy_udp_client never({"localhost", 9});
    never.close();
    const auto closed = co_await never.wait_connected();
    expect_error(closed, errc::closed);
    lazy_udp_client meanwhile({"localhost", 9});
    int connected = 0;
    task_group waiting;
    waiting.spawn(wait_until_connected(meanwhile, connected));
    or_throw(co_await next_turn());
    meanwhile.close();
    co_await waiting.join();
    EXPECT_EQ(connected, 0);
    const auto read = co_await meanwhile.read(patiently);
    expect_error(read, errc::closed);
}

TEST_P(acceptance, Q13ClosingBeforeItIsConnectedWakesWhoeverWaits) {
    run(close_before_connecting());
}

task<> fail_and_try_again() {
    lazy_udp_client client({"127.0.0.1", 0});
    for (int i = 0; i < 2; ++i) {
        const auto refused = co_await client.send("to port 0");
        expect_error(refused, errc::invalid_address);
        EXPECT_FALSE(client.is_connected());
    }
}

TEST_P(acceptance, Q13AnAttemptThatFailsIsToldAndTheNextUseTriesAgain) {
    run(fail_and_try_again());
}

// --- Q15: leaving scope ---

// Throws when the port is not free.
task<> open_and_leave(address where) {
    const auto server = co_await listen({}, where);
    or_throw(co_await next_turn());
}

task<> open_again_and_again() {
    const address where = dead_address();
    for (int round = 0; round < 20; ++round)
        co_await open_and_leave(where);
    const foreign_socket successor(where);
    EXPECT_EQ(successor.local(), where);
}

TEST_P(acceptance, Q15LeavingScopeClosesTheSocketAndTheNextOpenOfThatPortSucceeds) {
    run(open_again_and_again());
}

task<> open_again_and_again_under_a_flood() {
    const address where = dead_address();
    std::jthread flood([where](const std::stop_token& stop) {
        const foreign_socket peer;
        while (!stop.stop_requested())
            peer.sendto("flood", where);
    });
    for (int round = 0; round < 20; ++round) {
        const auto server = co_await listen({}, where);
        co_await wait_until_passed(server, 10);
    }
}

TEST_P(acceptance, Q15LeavingScopeFreesThePortInTheMiddleOfAFlood) {
    run(open_again_and_again_under_a_flood());
}

task<> leave_scope_under_readers() {
    int closed_count = 0;
    int ended_count = 0;
    std::optional<udp_server> server(co_await listen());
    const address where = server->local_address();
    task_group group;
    spawn_readers(group, *server, closed_count);
    group.spawn(wait_for_the_end(*server, ended_count));
    or_throw(co_await next_turn());
    EXPECT_EQ(group.size(), 6U);
    server.reset();
    const auto next = co_await listen({}, where);
    co_await group.join();
    EXPECT_EQ(closed_count, 5);
    EXPECT_EQ(ended_count, 1);
}

TEST_P(acceptance, Q15LeavingScopeWakesWhoeverWaits) { run(leave_scope_under_readers()); }

// --- a flood is accounted for to the datagram ---

// What the host's queue in front of every socket has dropped, all CPUs together: the second number
// of each line, hexadecimal (net/core/net-procfs.c). Such datagrams never reached the socket.
std::uint64_t host_backlog_drops() {
    std::FILE* const file = std::fopen("/proc/net/softnet_stat", "re");
    if (file == nullptr) return 0;
    std::uint64_t sum = 0;
    std::array<char, 1024> line{};
    while (std::fgets(line.data(), static_cast<int>(line.size()), file) != nullptr) {
        unsigned processed = 0;
        unsigned dropped = 0;
        if (std::sscanf(line.data(), "%x %x", &processed, &dropped) == 2) sum += dropped;
    }
    std::fclose(file);
    return sum;
}

// It reads no more once 16 are queued, and nobody reads those: the socket must overrun. It holds
// more than one turn can take, because there are 256 receive buffers and room for over 500 of them.
constexpr udp_options overrun_options{
    .queue_size_max = 16, .on_full = when_full::pause, .receive_buffer_size = 212'992};

task<> flood() {
    constexpr std::uint64_t sent = 20'000;
    const std::uint64_t host_drops = host_backlog_drops();
    auto server = co_await listen(overrun_options);
    const foreign_socket peer;
    for (std::uint64_t i = 0; i < sent; ++i)
        peer.sendto("flood", server.local_address());
    co_await wait_until_passed(server, 16);
    // Turns that are looked at by nobody: whatever was on its way from a worker has arrived.
    for (int i = 0; i < 10; ++i)
        or_throw(co_await next_turn());

    const auto overrun = server.stats().received;
    EXPECT_GT(overrun.dropped.kernel_packets, 0U) << "the socket was not overrun";
    EXPECT_LT(overrun.taken + overrun.dropped.kernel_packets, sent) << "nothing is in the socket";
    const std::uint64_t in_socket = sent - overrun.taken - overrun.dropped.kernel_packets;

    std::uint64_t read = 0;
    const give_up_time limit;
    while (read < overrun.taken + in_socket) {
        limit.check("what is in the socket");
        const auto one = co_await server.read({.timeout = 0s});
        if (one) {
            ++read;
        } else if (host_backlog_drops() != host_drops) {
            break;  // the host's, and not claimed: it can only be bounded, below
        }
    }
    const auto drained = server.stats().received;
    EXPECT_EQ(drained.delivered, read);
    EXPECT_EQ(drained.dropped.kernel_packets, overrun.dropped.kernel_packets);
    EXPECT_EQ(drained.dropped.queue_full, 0U);
    EXPECT_LE(drained.taken + drained.dropped.kernel_packets, sent);
    EXPECT_GE(drained.taken + drained.dropped.kernel_packets + host_backlog_drops() - host_drops,
              sent);
    const auto nothing = server.try_read();
    expect_error(nothing, errc::would_block);
    EXPECT_TRUE(server.stats().is_exact);
    EXPECT_EQ(server.stats().unexplained(), 0U) << server.stats();
}

TEST_P(acceptance, AFloodThatOverrunsTheSocketIsAccountedForToTheDatagram) { run(flood()); }

task<> close_in_a_flood() {
    constexpr std::uint64_t sent = 20'000;
    const std::uint64_t host_drops = host_backlog_drops();
    auto server = co_await listen(overrun_options);
    const foreign_socket peer;
    for (std::uint64_t i = 0; i < sent; ++i)
        peer.sendto("flood", server.local_address());
    co_await wait_until_passed(server, 16);
    server.close();
    or_throw(co_await server.wait_closed());
    // Closing takes and counts what was left in the socket.
    const auto closed = server.stats().received;
    EXPECT_GT(closed.dropped.kernel_packets, 0U) << "the socket was not overrun";
    EXPECT_GT(closed.dropped.late, 0U);
    EXPECT_LE(closed.taken + closed.dropped.kernel_packets, sent);
    EXPECT_GE(closed.taken + closed.dropped.kernel_packets + host_backlog_drops() - host_drops,
              sent);
    EXPECT_EQ(server.stats().unexplained(), 0U) << server.stats();
}

TEST_P(acceptance, ClosingASocketThatWasOverrunCountsWhatWasLeftInIt) { run(close_in_a_flood()); }

// --- what a datagram costs ---

// `rounds` times `window` datagrams: sent, read one by one, answered, and the answers taken.
task<> echo_in_windows(udp_server& server, const foreign_socket& peer, int rounds, int window,
                       std::vector<char>& buffer) {
    for (int round = 0; round < rounds; ++round) {
        const give_up_time limit;
        for (int i = 0; i < window; ++i)
            peer.sendto("ping", server.local_address());
        for (int i = 0; i < window; ++i) {
            auto heard = co_await server.read();
            auto one = or_throw(std::move(heard));
            server.reply(std::move(one));
        }
        for (int i = 0; i < window;) {
            if (peer.try_receive(buffer)) {
                ++i;
                continue;
            }
            limit.check("an answer");
            const status turned = co_await next_turn();
            if (!turned) co_return;
        }
    }
}

// Under AddressSanitizer the frame of echo_in_windows() comes from the heap, so that misuse is
// found.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::uint64_t frames_from_the_heap = 1;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr std::uint64_t frames_from_the_heap = 1;
#else
constexpr std::uint64_t frames_from_the_heap = 0;
#endif
#else
constexpr std::uint64_t frames_from_the_heap = 0;
#endif

task<> echo_without_allocating(int window) {
    constexpr int datagrams = 2048;
    auto server = co_await listen();
    const foreign_socket peer;
    std::vector<char> buffer(2048);
    co_await echo_in_windows(server, peer, datagrams / window, window, buffer);
    const std::uint64_t before = allocations.load();
    co_await echo_in_windows(server, peer, datagrams / window, window, buffer);
    const std::uint64_t after = allocations.load();
    EXPECT_LE(after - before, frames_from_the_heap) << "in " << datagrams << " datagrams";
    EXPECT_GT(before, 0U) << "the counter does not count";
    EXPECT_EQ(server.stats().sent.sent, 2U * datagrams);
}

TEST_P(acceptance, ReadingAndReplyingOneByOneAllocatesNothingOnceWarm) {
    run(echo_without_allocating(1));
}

TEST_P(acceptance, ReadingAndReplyingInBurstsAllocatesNothingOnceWarm) {
    run(echo_without_allocating(32));
}

task<> take_a_full_socket() {
    constexpr int in_socket = 64;
    auto server = co_await listen();
    const foreign_socket peer;
    or_throw(co_await next_turn());  // so that the receive is armed
    for (int i = 0; i < in_socket; ++i)
        peer.sendto(numbered(i), server.local_address());
    EXPECT_EQ(server.stats().received.taken, 0U);

    const auto before = loop::current().engine_stats();
    or_throw(co_await next_turn());
    const auto turned = loop::current().engine_stats();
    EXPECT_EQ(turned.turns - before.turns, 1U);
    EXPECT_GE(server.stats().received.taken, 32U);

    int read = 0;
    while (auto one = server.try_read()) {
        EXPECT_EQ(one->text(), numbered(read));
        EXPECT_TRUE(server.reply(std::move(*one)));
        ++read;
    }
    EXPECT_GE(read, 32);
    server.flush();
    const auto flushed = loop::current().engine_stats();
    EXPECT_LE(flushed.system_calls - turned.system_calls, 1U);
    EXPECT_EQ(server.stats().sent.sent, static_cast<unsigned>(read));
    co_await expect_numbered_at(peer, 0, read);
    co_await expect_nothing_more(peer);
    co_await expect_numbered(server, read, in_socket, peer.local());
}

TEST_P(acceptance, OneTurnTakesAtLeast32OfAFullSocketAndOneSystemCallAnswersThem) {
    if (has_workers()) GTEST_SKIP() << "a worker takes datagrams as they come, in turns of its own";
    run(take_a_full_socket());
}

// --- handlers ---

// Of what it is given it keeps the length only, so that the codec allocates nothing itself.
struct length_codec {
    result<std::size_t> decode(std::span<const std::byte> bytes) const { return bytes.size(); }
    void encode(std::size_t length, payload_buffer& out) const {
        for (std::size_t i = 0; i < length; ++i)
            out.push_back('x');
    }
};

task<> answer_for_good(conversation<length_codec> client) {
    while (auto length = co_await client.next())
        client.send(*length);
}

task<> answer_once(conversation<length_codec> client) {
    const auto length = co_await client.next();
    if (length) client.send(*length);
}

task<> serve_without_allocating(task<> (*handler)(conversation<length_codec>), int window) {
    constexpr int datagrams = 1024;
    udp_service service({"127.0.0.1", 0}, length_codec{}, handler);
    task_group serving;
    serving.spawn([&]() -> task<> { static_cast<void>(co_await service.serve_forever()); });
    or_throw(co_await service.open());
    const foreign_socket peer;
    std::vector<char> buffer(2048);
    const address where = service.addresses().front();
    const auto ask = [&](int rounds) -> task<> {
        const give_up_time limit;
        for (int round = 0; round < rounds; ++round) {
            for (int i = 0; i < window; ++i)
                peer.sendto("a request", where);
            for (int i = 0; i < window;) {
                if (peer.try_receive(buffer)) {
                    ++i;
                    continue;
                }
                limit.check("an answer");
                const status turned = co_await next_turn();
                if (!turned) co_return;
            }
        }
    };
    co_await ask(datagrams / window);
    const std::uint64_t before = allocations.load();
    co_await ask(datagrams / window);
    const std::uint64_t after = allocations.load();
    EXPECT_LE(after - before, frames_from_the_heap) << "in " << datagrams << " datagrams";
    EXPECT_EQ(service.peers().taken, 2U * datagrams);
    or_throw(co_await service.shutdown(patiently));
    co_await serving.join();
}

TEST_P(acceptance, AHandlerThatStaysAnswersWithoutAllocatingOnceWarm) {
    run(serve_without_allocating(answer_for_good, 1));
    run(serve_without_allocating(answer_for_good, 32));
}

TEST_P(acceptance, AHandlerForEachDatagramAnswersWithoutAllocatingOnceWarm) {
    if (frames_from_the_heap > 0) {
        GTEST_SKIP() << "under AddressSanitizer each handler's frame comes from the heap";
    }
    run(serve_without_allocating(answer_once, 1));
    run(serve_without_allocating(answer_once, 32));
}

}  // namespace

QUOIT_INSTANTIATE_ACCEPTANCE();

}  // namespace quoit::test
