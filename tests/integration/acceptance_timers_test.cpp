// SPDX-License-Identifier: MIT
//
// The acceptance case of timers, P08 (docs/testing.md), on a loop that has datagrams to move too.
#include "integration/acceptance_fixture.hpp"

namespace quoit::test {

namespace {

using time_point = timer::time_point;

class noted {
  public:
    auto note(int what) {
        return [this, what] { all.push_back(what); };
    }
    std::vector<int> all;
};

/// Turns the loop until so many have been noted.
task<> wait_for(const noted& calls, std::size_t count) {
    const give_up_time limit;
    while (calls.all.size() < count) {
        limit.check("timers to fire");
        or_throw(co_await next_turn());
    }
}

// --- order ---

task<> fire_in_order(loop& on) {
    noted calls;
    on.call_later(20ms, calls.note(4));
    on.call_at(time_point(2s), calls.note(2));  // long past, as the next two
    on.call_at(time_point(1s), calls.note(1));
    on.call_at(time_point(2s), calls.note(3));
    co_await wait_for(calls, 4);
    EXPECT_EQ(calls.all, (std::vector{1, 2, 3, 4}));
}

TEST_P(acceptance, P08TimersFireInTheOrderOfTimeThenOfTheirBeingSet) {
    run(fire_in_order(the_loop()));
}

TEST_P(acceptance, P08TimersThatAreSetBeforeTheLoopRunsFire) {
    noted calls;
    the_loop().call_at(time_point(2s), calls.note(2));
    the_loop().call_at(time_point(1s), calls.note(1));
    run(wait_for(calls, 2));
    EXPECT_EQ(calls.all, (std::vector{1, 2}));
}

// --- cancel, delay, reset ---

task<> change_timers(loop& on) {
    noted calls;
    auto cancelled = on.call_at(time_point(1s), calls.note(1));
    auto delayed = on.call_at(time_point(1s), calls.note(2));
    auto postponed = on.call_at(time_point(1s), calls.note(3));
    auto advanced = on.call_later(1h, calls.note(4));
    EXPECT_TRUE(cancelled.cancel());
    EXPECT_TRUE(delayed.delay(2s));  // 3 s, as long past as 1 s
    EXPECT_EQ(delayed.time(), time_point(3s));
    EXPECT_TRUE(postponed.reset(1h));
    EXPECT_TRUE(advanced.reset(0s));
    EXPECT_FALSE(cancelled.is_active());
    EXPECT_TRUE(advanced.is_active());
    co_await wait_for(calls, 2);
    EXPECT_EQ(calls.all, (std::vector{2, 4}));
    EXPECT_TRUE(postponed.is_active());
    EXPECT_TRUE(postponed.cancel());
}

TEST_P(acceptance, P08CancelDelayAndResetMoveATimer) { run(change_timers(the_loop())); }

task<> cancel_too_late(loop& on) {
    noted calls;
    auto fired = on.call_later(0s, calls.note(1));
    co_await wait_for(calls, 1);
    EXPECT_FALSE(fired.is_active());
    EXPECT_EQ(fired.cancel(), errc::already_fired);
    EXPECT_EQ(fired.delay(1s), errc::already_fired);
    EXPECT_EQ(fired.reset(1s), errc::already_fired);
    auto cancelled = on.call_later(1h, calls.note(2));
    EXPECT_TRUE(cancelled.cancel());
    EXPECT_EQ(cancelled.cancel(), errc::canceled);
    EXPECT_EQ(cancelled.delay(1s), errc::canceled);
    EXPECT_EQ(cancelled.reset(1s), errc::canceled);
}

TEST_P(acceptance, P08CancellingAFiredOrCancelledTimerIsAnError) {
    run(cancel_too_late(the_loop()));
}

// --- with datagrams ---

// A timer that sends: it wakes a loop which waits for nothing but the answer.
task<> send_from_timers(loop& on) {
    auto server = co_await listen();
    const foreign_socket peer;
    int count = 0;
    timer beat = on.call_every(1ms, [&] {
        server.sendto("beat", peer.local());
        if (++count == 3) beat.cancel();
    });
    for (int i = 0; i < 3; ++i) {
        const auto heard = co_await receive(peer);
        EXPECT_EQ(heard.payload, "beat");
    }
    EXPECT_EQ(beat.status(), errc::canceled);

    // Woken by the timer alone: nothing else is going on.
    on.call_later(1ms, [&] { server.close(); });
    const auto nothing = co_await server.read(patiently);
    expect_error(nothing, errc::closed);
}

TEST_P(acceptance, P08APeriodicTimerSendsAndALaterOneClosesTheEndpoint) {
    run(send_from_timers(the_loop()));
}

QUOIT_INSTANTIATE_ACCEPTANCE();

}  // namespace

}  // namespace quoit::test
