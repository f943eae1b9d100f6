// SPDX-License-Identifier: MIT
#include "runtime/check_options.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string_view>

namespace quoit::detail {
namespace {

constexpr std::uint32_t most = std::numeric_limits<std::uint32_t>::max();

template <class Options>
void expect_accepted(const Options& options) {
    const auto checked = check(options);
    EXPECT_TRUE(checked) << checked.error();
}

template <class Options>
void expect_refused(const Options& options, std::string_view field) {
    const auto checked = check(options);
    ASSERT_FALSE(checked) << field << " was accepted";
    EXPECT_EQ(checked.error(), errc::invalid_option);
    EXPECT_TRUE(checked.error().context().starts_with(field))
        << "\"" << checked.error() << "\" does not begin with the name of " << field;
}

// --- loops ---

TEST(check_loop_options, TheDefaultsAreAccepted) { expect_accepted(loop_options{}); }

TEST(check_loop_options, AWorkerCountIsAtMost64) {
    expect_accepted(loop_options{.worker_count = 0});
    expect_accepted(loop_options{.worker_count = 64});
    expect_refused(loop_options{.worker_count = 65}, "worker_count");
    expect_refused(loop_options{.worker_count = most}, "worker_count");
}

TEST(check_loop_options, ACpuIsOneThatACpuSetCanNameOrNone) {
    expect_accepted(loop_options{.cpu = -1});
    expect_accepted(loop_options{.cpu = 0});
    expect_accepted(loop_options{.cpu = 1023});
    expect_refused(loop_options{.cpu = -2}, "cpu");
    expect_refused(loop_options{.cpu = 1024}, "cpu");
}

TEST(check_loop_options, ASmallBufferCountIsAPowerOfTwoFrom8To32768) {
    for (std::uint32_t count = 8; count <= 32'768; count *= 2) {
        expect_accepted(loop_options{.small_buffer_count = count});
    }
    for (const std::uint32_t count : {0U, 1U, 4U, 9U, 1000U, 32'767U, 65'536U, most}) {
        expect_refused(loop_options{.small_buffer_count = count}, "small_buffer_count");
    }
}

TEST(check_loop_options, ALargeBufferCountIsAPowerOfTwoFrom8To32768) {
    for (std::uint32_t count = 8; count <= 32'768; count *= 2) {
        expect_accepted(loop_options{.large_buffer_count = count});
    }
    for (const std::uint32_t count : {0U, 1U, 4U, 9U, 1000U, 32'767U, 65'536U, most}) {
        expect_refused(loop_options{.large_buffer_count = count}, "large_buffer_count");
    }
}

TEST(check_loop_options, ASocketCountIsFrom1To32768) {
    expect_accepted(loop_options{.socket_count_max = 1});
    expect_accepted(loop_options{.socket_count_max = 32'768});
    expect_refused(loop_options{.socket_count_max = 0}, "socket_count_max");
    expect_refused(loop_options{.socket_count_max = 32'769}, "socket_count_max");
}

TEST(check_loop_options, ALogIsNeverNull) { expect_refused(loop_options{.log = nullptr}, "log"); }

TEST(check_loop_options, TheErrorSaysWhatWasGivenAndWhatWasExpected) {
    const auto checked = check(loop_options{.worker_count = 65});
    ASSERT_FALSE(checked);
    EXPECT_EQ(checked.error().context(), "worker_count is 65, expected 0 to 64");
}

// --- endpoints ---

TEST(check_udp_options, TheDefaultsAreAccepted) { expect_accepted(udp_options{}); }

TEST(check_udp_options, AQueueHoldsAtMost1048576Datagrams) {
    expect_accepted(udp_options{.queue_size_max = 0});
    expect_accepted(udp_options{.queue_size_max = 1});
    expect_accepted(udp_options{.queue_size_max = 1'048'576});
    expect_refused(udp_options{.queue_size_max = 1'048'577}, "queue_size_max");
    expect_refused(udp_options{.queue_size_max = most}, "queue_size_max");
}

TEST(check_udp_options, APayloadIsFrom1To65527Bytes) {
    expect_accepted(udp_options{.payload_size_max = 1});
    expect_accepted(udp_options{.payload_size_max = 65'527});
    expect_refused(udp_options{.payload_size_max = 0}, "payload_size_max");
    expect_refused(udp_options{.payload_size_max = 65'528}, "payload_size_max");
}

TEST(check_udp_options, AnyKernelBufferSizeMayBeAskedFor) {
    expect_accepted(udp_options{.receive_buffer_size = 1});
    expect_accepted(udp_options{.receive_buffer_size = most});
    expect_accepted(udp_options{.send_buffer_size = 1});
    expect_accepted(udp_options{.send_buffer_size = most});
}

TEST(check_loop_options, SpinningAndPollingTimesAreBounded) {
    using namespace std::chrono_literals;
    expect_accepted(loop_options{.spin_time = 0us});
    expect_accepted(loop_options{.spin_time = 1h});
    expect_refused(loop_options{.spin_time = -1us}, "spin_time");
    expect_refused(loop_options{.spin_time = 1h + 1us}, "spin_time");
    expect_accepted(loop_options{.napi_busy_poll = 1s});
    expect_refused(loop_options{.napi_busy_poll = -1us}, "napi_busy_poll");
    expect_refused(loop_options{.napi_busy_poll = 1s + 1us}, "napi_busy_poll");
}

TEST(check_udp_options, APollingTimeIsBounded) {
    using namespace std::chrono_literals;
    expect_accepted(udp_options{.socket_busy_poll = 1s});
    expect_refused(udp_options{.socket_busy_poll = -1us}, "socket_busy_poll");
    expect_refused(udp_options{.socket_busy_poll = 1s + 1us}, "socket_busy_poll");
}

TEST(check_udp_options, ASendQueueHoldsAtMostAGibibyte) {
    expect_accepted(udp_options{.send_queue_size_max = 0});
    expect_accepted(udp_options{.send_queue_size_max = 1});
    expect_accepted(udp_options{.send_queue_size_max = 1U << 30U});
    expect_refused(udp_options{.send_queue_size_max = (1U << 30U) + 1}, "send_queue_size_max");
}

TEST(check_udp_options, TheLowWaterMarkIsNotAboveTheHighOne) {
    expect_accepted(udp_options{.send_high_water = 0, .send_low_water = 0});
    expect_accepted(udp_options{.send_high_water = 1000, .send_low_water = 1000});
    constexpr std::uint32_t gigabyte = 1U << 30U;
    expect_accepted(udp_options{
        .send_queue_size_max = gigabyte, .send_high_water = gigabyte, .send_low_water = gigabyte});
    expect_accepted(udp_options{.send_queue_size_max = 1000});
    expect_refused(udp_options{.send_queue_size_max = 1000, .send_high_water = 1001},
                   "send_high_water");
    expect_refused(udp_options{.send_high_water = 1000, .send_low_water = 1001}, "send_low_water");
}

TEST(check_udp_options, ThePayloadLimitIsThatOfTheFamily) {
    EXPECT_EQ(payload_size_max_of(family::ipv4), 65'507U);
    EXPECT_EQ(payload_size_max_of(family::ipv6), 65'527U);
}

}  // namespace
}  // namespace quoit::detail
