// SPDX-License-Identifier: MIT
#include "net/send.hpp"

#include "net/kernel_constants.hpp"
#include "net/sockaddr.hpp"
#include "net/system.hpp"

#include <netinet/in.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace quoit::detail {

namespace {

// Per system call. More gain little (the call's own cost is spread over 64) and cost stack.
constexpr std::size_t messages_per_call = 64;

// One control message of a u16, although the socket option of the same name takes an int (Linux
// net/ipv4/udp.c, __udp_cmsg_send).
struct segment_control {
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(std::uint16_t))> bytes;

    void write(std::uint16_t segment) noexcept {
        const cmsghdr header{
            .cmsg_len = CMSG_LEN(sizeof segment), .cmsg_level = SOL_UDP, .cmsg_type = UDP_SEGMENT};
        bytes = {};
        std::memcpy(bytes.data(), &header, sizeof header);
        std::memcpy(bytes.data() + CMSG_LEN(0), &segment, sizeof segment);
    }
};

}  // namespace

send_result send_messages(int fd, std::span<const outgoing> messages) noexcept {
    // Not initialised on purpose: only what is used is written, just before the call.
    std::array<mmsghdr, messages_per_call> headers;
    std::array<segment_control, messages_per_call> controls;
    std::array<socket_address, messages_per_call> names;

    // The last: those before may be from the time when it had another peer or none.
    const bool is_connected = !messages.empty() && messages.back().to == nullptr;
    bool was_stopped = false;  // by an error that sendmmsg kept to itself
    send_result result;
    while (result.sent < messages.size()) {
        const auto batch = messages.subspan(
            result.sent, std::min(messages_per_call, messages.size() - result.sent));
        for (std::size_t i = 0; i < batch.size(); ++i) {
            const outgoing& message = batch[i];
            msghdr& header = headers[i].msg_hdr;
            header = {};
            header.msg_iov = const_cast<iovec*>(message.pieces.data());  // only read, again
            header.msg_iovlen = message.pieces.size();
            if (message.to != nullptr) {
                names[i] = socket_address(*message.to);
                header.msg_name = names[i].get();
                header.msg_namelen = names[i].size();
            }
            if (message.segment != 0) {
                controls[i].write(message.segment);
                header.msg_control = controls[i].bytes.data();
                header.msg_controllen = controls[i].bytes.size();
            }
        }
        const int sent = system::send_many(fd, std::span(headers).first(batch.size()),
                                           MSG_DONTWAIT | MSG_NOSIGNAL);
        ++result.system_calls;
        if (sent == -EINTR) continue;
        if (sent < 0) {
            result.error = -sent;
            return result;
        }
        result.sent += static_cast<std::uint32_t>(sent);
        if (was_stopped) ++result.refusals;  // what stopped the call before has gone by itself
        was_stopped = false;
        if (static_cast<std::size_t>(sent) == batch.size()) continue;
        // Fewer than asked: the next call, which starts at the refused one, says why; unless it was
        // a refusal, which is gone by then. A full socket is told from that by its not being
        // writable.
        if (!is_connected) continue;
        const timespec no_time{};
        ++result.system_calls;
        if (system::poll_one(fd, POLLOUT, &no_time) == 0) {
            result.error = EAGAIN;
            return result;
        }
        was_stopped = true;
    }
    return result;
}

}  // namespace quoit::detail
