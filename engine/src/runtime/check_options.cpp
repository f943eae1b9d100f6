// SPDX-License-Identifier: MIT
#include "runtime/check_options.hpp"

#include <algorithm>
#include <bit>
#include <string>

namespace quoit::detail {

namespace {

std::unexpected<error> out_of_range(const char* field, std::uint64_t value, const char* expected) {
    return failure(errc::invalid_option,
                   std::string(field) + " is " + std::to_string(value) + ", expected " + expected);
}

bool is_busy_poll_time(std::chrono::microseconds time) noexcept {
    return time.count() >= 0 && time <= std::chrono::seconds(1);
}

std::unexpected<error> bad_busy_poll_time(const char* field, std::chrono::microseconds time) {
    return failure(
        errc::invalid_option,
        std::string(field) + " is " + std::to_string(time.count()) + " us, expected 0 to 1 s");
}

bool is_buffer_count(std::uint32_t count) noexcept {
    return count >= 8 && count <= 32'768 && std::has_single_bit(count);
}

}  // namespace

result<void> check(const loop_options& options) {
    constexpr const char* buffer_counts = "a power of two from 8 to 32768";
    if (options.worker_count > 64) {
        return out_of_range("worker_count", options.worker_count, "0 to 64");
    }
    if (!is_buffer_count(options.small_buffer_count)) {
        return out_of_range("small_buffer_count", options.small_buffer_count, buffer_counts);
    }
    if (!is_buffer_count(options.large_buffer_count)) {
        return out_of_range("large_buffer_count", options.large_buffer_count, buffer_counts);
    }
    if (options.socket_count_max < 1 || options.socket_count_max > 32'768) {
        return out_of_range("socket_count_max", options.socket_count_max, "1 to 32768");
    }
    if (options.cpu < -1 || options.cpu > 1023) {
        return failure(errc::invalid_option,
                       "cpu is " + std::to_string(options.cpu) + ", expected -1 to 1023");
    }
    if (options.spin_time.count() < 0 || options.spin_time > std::chrono::hours(1)) {
        return failure(
            errc::invalid_option,
            "spin_time is " + std::to_string(options.spin_time.count()) + " us, expected 0 to 1 h");
    }
    if (!is_busy_poll_time(options.napi_busy_poll)) {
        return bad_busy_poll_time("napi_busy_poll", options.napi_busy_poll);
    }
    if (options.log == nullptr) return failure(errc::invalid_option, "log is null");
    return {};
}

udp_options with_defaults(udp_options options) noexcept {
    if (options.queue_size_max == 0) options.queue_size_max = 1024;
    if (options.send_queue_size_max == 0) options.send_queue_size_max = 4U << 20U;
    if (options.send_high_water == 0) {
        options.send_high_water = std::min(64U << 10U, options.send_queue_size_max / 2);
    }
    if (options.send_low_water == 0) options.send_low_water = options.send_high_water / 4;
    return options;
}

result<void> check(const udp_options& options) {
    constexpr std::uint32_t queue_size_limit = 1U << 20U;
    constexpr std::uint32_t send_queue_limit = 1U << 30U;
    if (options.queue_size_max > queue_size_limit) {
        return out_of_range("queue_size_max", options.queue_size_max, "0 to 1048576 datagrams");
    }
    if (options.payload_size_max < 1 || options.payload_size_max > payload_size_limit) {
        return out_of_range("payload_size_max", options.payload_size_max, "1 to 65527 bytes");
    }
    if (options.send_queue_size_max > send_queue_limit) {
        return out_of_range("send_queue_size_max", options.send_queue_size_max, "at most 1 GiB");
    }
    if (!is_busy_poll_time(options.socket_busy_poll)) {
        return bad_busy_poll_time("socket_busy_poll", options.socket_busy_poll);
    }
    const udp_options meant = with_defaults(options);
    if (meant.send_high_water > meant.send_queue_size_max) {
        return out_of_range("send_high_water", options.send_high_water,
                            "no more than send_queue_size_max");
    }
    if (meant.send_low_water > meant.send_high_water) {
        return out_of_range("send_low_water", options.send_low_water,
                            "no more than send_high_water");
    }
    return {};
}

result<void> check(const packet_options& options) {
    constexpr std::uint32_t gibibyte = 1U << 30U;
    const auto is_from_1_to = [](std::uint32_t value, std::uint32_t most) {
        return value >= 1 && value <= most;
    };
    const auto is_time = [](std::chrono::milliseconds time, std::chrono::milliseconds most) {
        return time.count() >= 0 && time <= most;
    };
    if (!is_from_1_to(options.packet_size_max, packet_size_limit)) {
        return out_of_range("packet_size_max", options.packet_size_max, "1 byte to 1 GiB");
    }
    if (!is_from_1_to(options.write_queue_size_max, gibibyte)) {
        return out_of_range("write_queue_size_max", options.write_queue_size_max,
                            "1 byte to 1 GiB");
    }
    if (!is_from_1_to(options.read_queue_size_max, gibibyte)) {
        return out_of_range("read_queue_size_max", options.read_queue_size_max, "1 byte to 1 GiB");
    }
    if (!is_from_1_to(options.peers_max, 32'768)) {
        return out_of_range("peers_max", options.peers_max, "1 to 32768");
    }
    if (!is_from_1_to(options.backlog, 65'535)) {
        return out_of_range("backlog", options.backlog, "1 to 65535");
    }
    if (!is_time(options.connect_timeout, std::chrono::hours(1))) {
        return failure(errc::invalid_option, "connect_timeout is " +
                                                 std::to_string(options.connect_timeout.count()) +
                                                 " ms, expected 0 to 1 h");
    }
    if (!is_time(options.idle_timeout, std::chrono::hours(24))) {
        return failure(errc::invalid_option, "idle_timeout is " +
                                                 std::to_string(options.idle_timeout.count()) +
                                                 " ms, expected 0 to 24 h");
    }
    if (options.keep_alive_s > 32'767) {
        return out_of_range("keep_alive_s", options.keep_alive_s, "0 to 32767 seconds");
    }
    if (options.receive_buffer_size > gibibyte) {
        return out_of_range("receive_buffer_size", options.receive_buffer_size, "at most 1 GiB");
    }
    if (options.send_buffer_size > gibibyte) {
        return out_of_range("send_buffer_size", options.send_buffer_size, "at most 1 GiB");
    }
    return {};
}

}  // namespace quoit::detail
