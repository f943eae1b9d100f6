// SPDX-License-Identifier: MIT
//
// messages: the vector of messages recvmmsg fills and sendmmsg sends back, without a copy.
//
// Each message has its own buffer, name and control data for ever; a reply is the received message
// itself. reset() restores only what the kernel or to_reply() changed: the length of the iovec and
// the size of the control data. The name's size is the same for every IPv4 peer.
//
// Buffers start at multiples of an odd number of cache lines, never of a power of two: headers of
// all datagrams would otherwise fall into the same few sets of the L1 cache.
//
// UDP_GRO's control message is an int, UDP_SEGMENT's a u16 (Linux net/ipv4/udp.c); both take
// CMSG_SPACE 24 on 64-bit machines, so that one is rewritten into the other in place.
#pragma once

#include "peer.hpp"

#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include <netinet/udp.h>

namespace peer {

constexpr std::size_t cache_line_size = 64;
// With GRO a message is a whole train, up to 64 KiB: few of them are in the cache at once.
constexpr unsigned train_count = 8;
constexpr unsigned datagram_count = 64;

class messages {
  public:
    messages(unsigned count, std::size_t buffer_size)
        : buffer_size_(buffer_size), stride_(stride_of(buffer_size)),
          memory_(new(std::align_val_t{cache_line_size}) char[stride_ * count]), names_(count),
          controls_(count), iovecs_(count), headers_(count) {
        std::memset(memory_.get(), 0, stride_ * count);  // fault the pages in
        for (unsigned i = 0; i < count; ++i) {
            iovecs_[i].iov_base = memory_.get() + stride_ * i;
            msghdr& header = headers_[i].msg_hdr;
            header.msg_name = &names_[i];
            header.msg_namelen = sizeof names_[i];
            header.msg_iov = &iovecs_[i];
            header.msg_iovlen = 1;
            header.msg_control = controls_[i].bytes;
        }
        reset(count);
    }

    [[nodiscard]] unsigned count() const noexcept { return static_cast<unsigned>(headers_.size()); }
    [[nodiscard]] mmsghdr* data() noexcept { return headers_.data(); }
    [[nodiscard]] const char* payload(unsigned i) const noexcept {
        return static_cast<const char*>(iovecs_[i].iov_base);
    }
    [[nodiscard]] std::size_t size(unsigned i) const noexcept { return headers_[i].msg_len; }

    /// The size of the datagrams of train i but the last; size(i) when it is a single datagram.
    [[nodiscard]] std::size_t segment_size(unsigned i) const noexcept {
        const cmsghdr* const control = CMSG_FIRSTHDR(&headers_[i].msg_hdr);
        if (control == nullptr || control->cmsg_level != SOL_UDP || control->cmsg_type != UDP_GRO) {
            return size(i);
        }
        int segment = 0;
        std::memcpy(&segment, CMSG_DATA(control), sizeof segment);
        return static_cast<std::size_t>(segment);
    }

    /// Makes the received message i the one that sends it back.
    void to_reply(unsigned i) noexcept {
        msghdr& header = headers_[i].msg_hdr;
        iovecs_[i].iov_len = size(i);
        if (header.msg_controllen == 0) return;
        const std::size_t segment = segment_size(i);
        if (segment >= size(i)) {
            header.msg_controllen = 0;  // a single datagram: some drivers refuse UDP_SEGMENT on it
            return;
        }
        cmsghdr* const control = CMSG_FIRSTHDR(&header);
        const auto value = static_cast<std::uint16_t>(segment);
        control->cmsg_type = UDP_SEGMENT;
        control->cmsg_len = CMSG_LEN(sizeof value);
        std::memcpy(CMSG_DATA(control), &value, sizeof value);
    }

    /// Makes the first `count` messages ready to receive again.
    void reset(unsigned count) noexcept {
        for (unsigned i = 0; i < count; ++i) {
            iovecs_[i].iov_len = buffer_size_;
            headers_[i].msg_hdr.msg_controllen = sizeof controls_[i].bytes;
        }
    }

  private:
    union control_buffer {
        cmsghdr alignment;
        char bytes[CMSG_SPACE(sizeof(int))];
    };
    static_assert(CMSG_SPACE(sizeof(int)) == CMSG_SPACE(sizeof(std::uint16_t)));

    struct aligned_delete {
        void operator()(char* memory) const noexcept {
            ::operator delete[](memory, std::align_val_t{cache_line_size});
        }
    };

    static std::size_t stride_of(std::size_t size) noexcept {
        const std::size_t lines = (size + cache_line_size - 1) / cache_line_size;
        return (lines | 1U) * cache_line_size;
    }

    std::size_t buffer_size_;
    std::size_t stride_;
    std::unique_ptr<char[], aligned_delete> memory_;
    std::vector<sockaddr_in> names_;
    std::vector<control_buffer> controls_;
    std::vector<iovec> iovecs_;
    std::vector<mmsghdr> headers_;
};

/// Receives what there is, waiting for the first unless `flags` says MSG_DONTWAIT; 0 when nothing
/// came or a signal did.
inline unsigned receive(const bound_socket& socket, messages& to, int flags) {
    const int received = ::recvmmsg(socket.fd(), to.data(), to.count(), flags, nullptr);
    if (received >= 0) return static_cast<unsigned>(received);
    if (errno == EINTR || errno == EAGAIN) return 0;
    fail("recvmmsg");
}

}  // namespace peer
