// SPDX-License-Identifier: MIT
//
// A port in a loop that is not quoit's: descriptor() and prepare_to_wait(). What wakes a whole loop
// is in tests/integration/acceptance_foreign_test.cpp, what a backend owes in the contract suite.
#include "engine/runtime/port_test.hpp"

namespace quoit::test {
namespace {

using namespace std::chrono_literals;

class watched_port : public port_test {
  protected:
    void start_watched() {
        start();
        descriptor_ = or_throw(port().descriptor());
        EXPECT_EQ(or_throw(port().descriptor()), descriptor_) << "one for good";
    }
    [[nodiscard]] bool is_readable(std::chrono::milliseconds within) const {
        pollfd one{.fd = descriptor_, .events = POLLIN, .revents = 0};
        return ::poll(&one, 1, static_cast<int>(within.count())) == 1;
    }
    // Turns and prepares until there is nothing to do.
    [[nodiscard]] bool comes_to_rest(port::clock::time_point deadline = port::no_deadline) {
        const auto give_up_at = port::clock::now() + 10s;
        do {
            turn();
            port().prepare_to_wait(deadline);
        } while (is_readable(5ms) && port::clock::now() < give_up_at);
        return !is_readable(0ms);
    }

  private:
    int descriptor_ = -1;
};

INSTANTIATE_TEST_SUITE_P(, watched_port, ::testing::ValuesIn(port_parameters()),
                         port_parameter_name);

TEST_P(watched_port, IsReadableFromTheStartAndNotWhenThereIsNothingToDo) {
    start_watched();
    EXPECT_TRUE(is_readable(10s));
    EXPECT_GE(open().index, 0U);
    EXPECT_TRUE(comes_to_rest());
}

TEST_P(watched_port, IsReadableForEveryDatagram) {
    start_watched();
    const endpoint_id server = open();
    const foreign_socket client;
    for (int round = 0; round < 50; ++round) {
        ASSERT_TRUE(comes_to_rest());
        ASSERT_EQ(client.send("hello", local(server)), 0);
        while (port().readable_count(server) == 0) {
            ASSERT_TRUE(is_readable(10s)) << round;
            turn();
            port().prepare_to_wait(port::no_deadline);
        }
        EXPECT_TRUE(port().receive(server).has_value());
    }
}

TEST_P(watched_port, IsReadableFromTheDeadlineOnAndNoMoreWhenThereIsAnother) {
    start_watched();
    ASSERT_TRUE(comes_to_rest());
    port().prepare_to_wait(port::clock::now() + 1ms);
    EXPECT_TRUE(is_readable(10s));
    port().prepare_to_wait(port::clock::now() + 1h);
    EXPECT_TRUE(comes_to_rest(port::clock::now() + 1h));
    port().prepare_to_wait(port::at_once);
    EXPECT_TRUE(is_readable(10s));
}

TEST_P(watched_port, IsReadableWhenItIsWokenByAnotherThread) {
    start_watched();
    for (int round = 0; round < 100; ++round) {
        ASSERT_TRUE(comes_to_rest());
        std::thread other([this] { port().wake(); });
        EXPECT_TRUE(is_readable(10s));
        other.join();
    }
}

TEST_P(watched_port, SendsWhatIsQueuedBeforeSomebodyWaits) {
    start_watched();
    const endpoint_id sender = open();
    const foreign_socket peer;
    const byte_view pieces[] = {"hello"};
    ASSERT_TRUE(port().sendto(sender, pieces, peer.local()));
    port().prepare_to_wait(port::no_deadline);
    EXPECT_EQ(peer.receive(), "hello");
}

TEST_P(watched_port, WithoutADescriptorNothingIsPrepared) {
    start();
    const endpoint_id sender = open();
    const foreign_socket peer;
    const byte_view pieces[] = {"hello"};
    ASSERT_TRUE(port().sendto(sender, pieces, peer.local()));
    port().prepare_to_wait(port::at_once);
    EXPECT_FALSE(peer.has_datagram());
    turn();
    EXPECT_EQ(peer.receive(), "hello");
}

}  // namespace
}  // namespace quoit::test
