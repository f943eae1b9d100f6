// SPDX-License-Identifier: MIT
#include "flow.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <random>
#include <string>
#include <system_error>
#include <utility>

#include <netinet/udp.h>
#include <unistd.h>

namespace bench {

namespace {

constexpr int socket_buffer_size = 4 * 1024 * 1024;
constexpr std::size_t message_size_max = 65'507;
constexpr std::size_t segment_count_max = 64;  // UDP_MAX_SEGMENTS before Linux 6.9
constexpr std::uint64_t sample_interval = 16;
// All flows together remember what 5 M datagrams/s send in 200 ms.
constexpr std::uint64_t window_total = std::uint64_t{1} << 20U;
constexpr std::uint64_t window_min = std::uint64_t{1} << 14U;
constexpr std::uint64_t windows_per_outstanding = 4;

std::size_t segments_of(const settings& asked) {
    return asked.train_max == 0 ? segment_count_max : asked.train_max;
}

[[noreturn]] void fail(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

void set_option(int fd, int level, int name, int value, const char* words) {
    if (::setsockopt(fd, level, name, &value, sizeof value) != 0) fail(words);
}

std::size_t window_size(const settings& asked) {
    const std::uint64_t share = window_total / std::bit_ceil(std::uint64_t{asked.flow_count});
    return std::max(
        {share, window_min, std::bit_ceil(asked.outstanding * windows_per_outstanding)});
}

}  // namespace

connected_socket::connected_socket(const settings& asked)
    : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    if (fd_ < 0) fail("cannot make a UDP socket");
    set_option(fd_, SOL_SOCKET, SO_RCVBUF, socket_buffer_size, "SO_RCVBUF");
    set_option(fd_, SOL_SOCKET, SO_SNDBUF, socket_buffer_size, "SO_SNDBUF");
    if (asked.is_offloading) {
        // On the socket, not with each message: sends of one datagram are not segmented.
        set_option(fd_, SOL_UDP, UDP_SEGMENT, static_cast<int>(asked.size), "UDP_SEGMENT");
        set_option(fd_, SOL_UDP, UDP_GRO, 1, "UDP_GRO");
    }
    const auto* const target = reinterpret_cast<const sockaddr*>(&asked.target);
    if (::connect(fd_, target, sizeof asked.target) != 0) {
        fail("cannot connect to " + asked.target_text);
    }
}

connected_socket::~connected_socket() {
    if (fd_ >= 0) ::close(fd_);
}

connected_socket::connected_socket(connected_socket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)) {}

void connected_socket::set_receive_timeout(std::int64_t timeout_ns) const {
    constexpr std::int64_t microsecond_ns = 1'000;
    const timeval timeout{.tv_sec = timeout_ns / second_ns,
                          .tv_usec = timeout_ns % second_ns / microsecond_ns};
    if (::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) != 0) {
        fail("SO_RCVTIMEO");
    }
}

sender::sender(const settings& asked)
    : size_(asked.size), is_offloading_(asked.is_offloading),
      run_length_max_(is_offloading_ ? std::min(segments_of(asked), message_size_max / size_)
                                     : segment_count_max),
      buffer_(run_length_max_ * size_), iovecs_(run_length_max_), messages_(run_length_max_) {
    for (std::size_t i = 0; i < buffer_.size(); ++i)
        buffer_[i] = probe_pattern(i % size_);
    for (std::size_t i = 0; i < run_length_max_; ++i) {
        iovecs_[i] = {.iov_base = buffer_.data() + i * size_, .iov_len = size_};
        messages_[i].msg_hdr.msg_iov = &iovecs_[i];
        messages_[i].msg_hdr.msg_iovlen = 1;
    }
}

std::uint64_t sender::send(int fd, probe_header first, std::uint64_t count, counts& counted) {
    std::uint64_t done = 0;
    while (done < count) {
        const std::size_t length = std::min<std::uint64_t>(count - done, run_length_max_);
        write_headers(first, length);
        const std::size_t sent =
            is_offloading_ || length == 1 ? send_train(fd, length) : send_vector(fd, length);
        if (sent == 0) {
            ++counted.refused;
            break;
        }
        done += sent;
        first.sequence += sent;
    }
    return done;
}

std::size_t sender::send_train(int fd, std::size_t count) {
    const ssize_t sent = ::send(fd, buffer_.data(), count * size_, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? 0 : count;
}

std::size_t sender::send_vector(int fd, std::size_t count) {
    const int sent =
        ::sendmmsg(fd, messages_.data(), static_cast<unsigned>(count), MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? 0 : static_cast<std::size_t>(sent);
}

void sender::write_headers(probe_header first, std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i) {
        std::memcpy(buffer_.data() + i * size_, &first, sizeof first);
        ++first.sequence;
    }
}

run_context::run_context(const settings& what) : asked(what), pattern(what.size) {
    std::random_device random;
    constexpr unsigned half = 32;
    run_id = std::uint64_t{random()} << half | random();
    for (std::size_t i = 0; i < pattern.size(); ++i)
        pattern[i] = probe_pattern(i);
}

flow::flow(run_context& context, std::uint32_t number)
    : context_(context), number_(number), socket_(context.asked),
      window_(window_size(context.asked)) {}

void flow::refill(sender& with) {
    const std::uint64_t outstanding = context_.asked.outstanding;
    if (window_.in_flight() >= outstanding) return;
    const probe_header first{.run_id = context_.run_id,
                             .flow = number_,
                             .size = static_cast<std::uint32_t>(context_.asked.size),
                             .sequence = window_.next(),
                             .sent_ns = now_ns()};
    window_.sent(with.send(fd(), first, outstanding - window_.in_flight(), context_.counted));
}

// Every datagram's header and last bytes are compared, and every 16th whole: at 1200 bytes that
// is all the client can afford without becoming the bottleneck.
bool flow::is_whole(std::span<const char> payload, const probe_header& header) const {
    const std::size_t size = context_.pattern.size();
    const std::size_t body_size = size - sizeof header;
    const bool is_sampled = header.sequence % sample_interval == 0;
    const std::size_t compared =
        is_sampled ? body_size : std::min(body_size, sizeof(std::uint64_t));
    return std::memcmp(payload.data() + size - compared, context_.pattern.data() + size - compared,
                       compared) == 0;
}

void flow::count(std::span<const char> payload, std::int64_t received_ns) {
    counts& counted = context_.counted;
    probe_header header;
    if (payload.size() != context_.asked.size) {
        ++counted.corrupted;
        return;
    }
    std::memcpy(&header, payload.data(), sizeof header);
    if (header.run_id != context_.run_id || header.flow != number_ ||
        header.size != payload.size() || !is_whole(payload, header)) {
        ++counted.corrupted;
        return;
    }
    switch (window_.answered(header.sequence)) {
        case reply_kind::first: break;
        case reply_kind::duplicated: ++counted.duplicated; return;
        case reply_kind::forgotten: return;
        case reply_kind::never_sent: ++counted.corrupted; return;
    }
    ++counted.arrived;
    if (header.sequence < window_begin_) return;
    ++counted.received;
    const bool is_sampled = header.sequence % sample_interval == 0;
    if (is_sampled || context_.asked.kind == mode::ping) {
        counted.round_trips.record(received_ns - header.sent_ns);
    }
}

void flow::give_up_old(std::int64_t at_ns) {
    while (!marks_.empty() && at_ns - marks_.front().at_ns >= give_up_after_ns) {
        window_.give_up_before(marks_.front().next);
        marks_.pop_front();
    }
    marks_.push_back({.at_ns = at_ns, .next = window_.next()});
}

}  // namespace bench
