// SPDX-License-Identifier: MIT
#include "connection.hpp"

#include "clock.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <string>
#include <system_error>
#include <utility>

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

namespace bench::packets {

namespace {

// Small enough to stay in the second-level cache beside the packets of P11.
constexpr std::size_t receive_size = std::size_t{256} << 10U;
constexpr time_t connect_limit_s = 5;

[[noreturn]] void fail(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

connected_socket::connected_socket(const options& asked)
    : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (fd_ < 0) fail("cannot make a TCP socket");
    constexpr int on = 1;
    if (::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) fail("TCP_NODELAY");
    // connect(2) keeps to the limit of sends (socket(7)); all else here never waits.
    const timeval limit{.tv_sec = connect_limit_s, .tv_usec = 0};
    if (::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0) fail("SO_SNDTIMEO");
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

run_context::run_context(const options& what) : asked(what), received(receive_size) {
    std::random_device random;
    constexpr unsigned half = 32;
    run_id = std::uint64_t{random()} << half | random();
}

connection::connection(run_context& context, std::uint32_t number)
    : context_(context), number_(number), socket_(context.asked),
      packet_size_(prefix_size + context.asked.size), outstanding_(context.asked.outstanding) {
    fill_slots();
}

// Each slot's pattern is shifted, so that a body that belongs to another packet is noticed.
void connection::fill_slots() {
    slots_.resize(outstanding_ * packet_size_);
    for (std::size_t i = 0; i < outstanding_; ++i) {
        char* const packet = slot(i);
        write_prefix(packet, static_cast<std::uint32_t>(context_.asked.size));
        for (std::size_t at = head_size; at < packet_size_; ++at)
            packet[at] = probe_pattern(at + i);
    }
}

void connection::write_next(std::int64_t at_ns) noexcept {
    const probe_header header{.run_id = context_.run_id,
                              .flow = number_,
                              .size = static_cast<std::uint32_t>(context_.asked.size),
                              .sequence = next_,
                              .sent_ns = at_ns};
    std::memcpy(slot(next_) + prefix_size, &header, sizeof header);
    ++next_;
}

void connection::send() {
    if (in_flight() < outstanding_) {
        const std::int64_t at_ns = now_ns();
        while (in_flight() < outstanding_)
            write_next(at_ns);
    }
    send_rest();
}

void connection::send_rest() {
    const std::uint64_t queued_bytes = next_ * packet_size_;
    while (sent_bytes_ < queued_bytes) {
        const std::size_t sent = send_some(queued_bytes);
        if (sent == 0) return;
        sent_bytes_ += sent;
    }
}

// 0: the kernel takes nothing for now.
std::size_t connection::send_some(std::uint64_t queued_bytes) {
    const std::size_t at = sent_bytes_ % slots_.size();
    const std::size_t size = queued_bytes - sent_bytes_;
    const std::size_t to_the_end = std::min(size, slots_.size() - at);
    std::array pieces{iovec{.iov_base = slots_.data() + at, .iov_len = to_the_end},
                      iovec{.iov_base = slots_.data(), .iov_len = size - to_the_end}};
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = pieces[1].iov_len == 0 ? 1 : 2;
    const ssize_t sent = ::sendmsg(socket_.fd(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) return static_cast<std::size_t>(sent);
    if (errno != EAGAIN && errno != EINTR) fail("cannot send");
    return 0;
}

void connection::receive() {
    std::vector<char>& buffer = context_.received;
    for (;;) {
        const ssize_t result = ::recv(socket_.fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (result < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (result < 0) fail("cannot receive");
        if (result == 0) throw std::runtime_error("the server has closed the connection");
        const auto size = static_cast<std::size_t>(result);
        take({buffer.data(), size}, now_ns());
        if (size < buffer.size()) return;  // there was no more
    }
}

void connection::take(std::span<const char> bytes, std::int64_t received_ns) {
    while (!bytes.empty()) {
        if (is_next_answer(bytes)) {
            accept(answered_, received_ns);
            bytes = bytes.subspan(packet_size_);
            continue;
        }
        bytes = bytes.subspan(take_piece(bytes));
        if (incoming_.at >= prefix_size && incoming_.at == incoming_.size) finish(received_ns);
    }
}

// The usual case: a whole packet, and just the one that is due.
bool connection::is_next_answer(std::span<const char> bytes) noexcept {
    return incoming_.at == 0 && bytes.size() >= packet_size_ && in_flight() > 0 &&
           std::memcmp(bytes.data(), slot(answered_), packet_size_) == 0;
}

// Returns how many bytes it took, at least one.
std::size_t connection::take_piece(std::span<const char> bytes) {
    if (incoming_.at < prefix_size) {
        const std::size_t taken = take_head(bytes, prefix_size);
        if (incoming_.at == prefix_size) {
            incoming_.size = prefix_size + read_prefix(incoming_.head.data());
        }
        return taken;
    }
    if (incoming_.size == packet_size_ && incoming_.at < head_size) {
        const std::size_t taken = take_head(bytes, head_size);
        if (incoming_.at == head_size) identify();
        return taken;
    }
    return take_rest(bytes);
}

std::size_t connection::take_head(std::span<const char> bytes, std::size_t until) noexcept {
    const std::size_t size = std::min(until - incoming_.at, bytes.size());
    std::memcpy(incoming_.head.data() + incoming_.at, bytes.data(), size);
    incoming_.at += size;
    return size;
}

std::size_t connection::take_rest(std::span<const char> bytes) noexcept {
    const std::size_t size = std::min(incoming_.size - incoming_.at, bytes.size());
    if (incoming_.sequence) {
        const char* const expected = slot(*incoming_.sequence) + incoming_.at;
        if (std::memcmp(bytes.data(), expected, size) != 0) incoming_.is_changed = true;
    }
    incoming_.at += size;
    return size;
}

void connection::identify() noexcept {
    probe_header header;
    std::memcpy(&header, incoming_.head.data() + prefix_size, sizeof header);
    if (header.run_id != context_.run_id || header.flow != number_) return;
    if (header.sequence >= sent_bytes_ / packet_size_) return;
    incoming_.is_old = header.sequence < answered_;
    if (incoming_.is_old) return;
    incoming_.sequence = header.sequence;
    incoming_.is_changed =
        std::memcmp(incoming_.head.data(), slot(header.sequence), head_size) != 0;
}

void connection::finish(std::int64_t received_ns) noexcept {
    counts& counted = context_.counted;
    if (incoming_.is_old) {
        ++counted.duplicated;
    } else if (!incoming_.sequence) {
        ++counted.corrupted;
    } else if (incoming_.is_changed) {
        ++counted.corrupted;
        answered_ = *incoming_.sequence + 1;
    } else {
        accept(*incoming_.sequence, received_ns);
    }
    incoming_.at = incoming_.size = 0;
    incoming_.sequence.reset();
    incoming_.is_old = incoming_.is_changed = false;
}

// Answers come in order: packets that are passed over are lost.
void connection::accept(std::uint64_t sequence, std::int64_t received_ns) noexcept {
    counts& counted = context_.counted;
    probe_header header;
    std::memcpy(&header, slot(sequence) + prefix_size, sizeof header);
    answered_ = sequence + 1;
    ++counted.arrived;
    if (sequence < window_begin_) return;
    ++counted.received;
    counted.round_trips.record(received_ns - header.sent_ns);
}

}  // namespace bench::packets
