// SPDX-License-Identifier: MIT
#include "receiver.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include <netinet/udp.h>

namespace bench {

namespace {

constexpr std::size_t cache_line_size = 64;
constexpr std::size_t train_size_max = 65'535;
constexpr std::uint64_t train_count = 8;
constexpr std::uint64_t datagram_count = 64;

std::size_t stride_of(std::size_t size) noexcept {
    return ((size + cache_line_size - 1) / cache_line_size | 1U) * cache_line_size;
}

}  // namespace

receiver::receiver(run_context& context)
    : context_(context),
      buffer_size_(context.asked.is_offloading ? train_size_max : context.asked.size + 1) {
    const bool is_offloading = context.asked.is_offloading;
    const std::size_t stride = stride_of(buffer_size_);
    const std::size_t count =
        std::min(context.asked.outstanding, is_offloading ? train_count : datagram_count);
    memory_.resize(stride * count);
    iovecs_.resize(count);
    controls_.resize(count);
    messages_.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
        iovecs_[i] = {.iov_base = memory_.data() + i * stride, .iov_len = buffer_size_};
        msghdr& header = messages_[i].msg_hdr;
        header.msg_iov = &iovecs_[i];
        header.msg_iovlen = 1;
        if (is_offloading) header.msg_control = controls_[i].bytes;
    }
    reset(count);
}

void receiver::receive(flow& from, int flags) {
    const auto vector_length = static_cast<unsigned>(messages_.size());
    for (;;) {
        const int result = ::recvmmsg(from.fd(), messages_.data(), vector_length, flags, nullptr);
        if (result < 0) {
            if (errno == EAGAIN || errno == EINTR) return;
            if (errno != ECONNREFUSED) {
                throw std::system_error(errno, std::generic_category(), "recvmmsg");
            }
            ++context_.counted.refused;
            return;
        }
        const auto count = static_cast<std::size_t>(result);
        const std::int64_t received_ns = now_ns();
        for (std::size_t i = 0; i < count; ++i)
            take_apart(messages_[i], from, received_ns);
        reset(count);
        if (count < vector_length || from.in_flight() == 0) return;
        flags = MSG_DONTWAIT;
    }
}

std::size_t receiver::segment_size(const mmsghdr& message) const noexcept {
    const cmsghdr* const control = CMSG_FIRSTHDR(&message.msg_hdr);
    if (control == nullptr || control->cmsg_level != SOL_UDP || control->cmsg_type != UDP_GRO) {
        return message.msg_len;
    }
    int segment = 0;
    std::memcpy(&segment, CMSG_DATA(control), sizeof segment);
    return static_cast<std::size_t>(segment);
}

void receiver::take_apart(const mmsghdr& message, flow& from, std::int64_t received_ns) {
    const char* const payload = static_cast<const char*>(message.msg_hdr.msg_iov->iov_base);
    const std::size_t size = message.msg_len;
    const std::size_t segment = segment_size(message);
    if (segment == 0 || segment >= size) return from.count({payload, size}, received_ns);
    ++context_.counted.trains;
    for (std::size_t at = 0; at < size; at += segment) {
        ++context_.counted.datagrams_in_trains;
        from.count({payload + at, std::min(segment, size - at)}, received_ns);
    }
}

// Only what the kernel changed.
void receiver::reset(std::size_t count) noexcept {
    if (!context_.asked.is_offloading) return;
    for (std::size_t i = 0; i < count; ++i)
        messages_[i].msg_hdr.msg_controllen = sizeof controls_[i].bytes;
}

}  // namespace bench
