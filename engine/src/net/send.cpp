// SPDX-License-Identifier: MIT
#include "net/send.hpp"

#include "net/kernel_constants.hpp"
#include "net/sockaddr.hpp"
#include "net/system.hpp"
#include "net/unix_name.hpp"

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

// What is said about a message beside its bytes: UDP_SEGMENT, IP_PKTINFO or IPV6_PKTINFO, neither.
class send_control {
  public:
    // Of a u16, although the socket option of the same name takes an int (Linux net/ipv4/udp.c,
    // __udp_cmsg_send).
    void add_segment(std::uint16_t segment) noexcept { add(SOL_UDP, UDP_SEGMENT, segment); }
    void add_source(const ip& from) noexcept {
        if (from.family() == family::ipv6) {
            in6_pktinfo info{};
            std::memcpy(&info.ipi6_addr, from.bytes().data(), sizeof info.ipi6_addr);
            info.ipi6_ifindex = from.scope();
            add(IPPROTO_IPV6, IPV6_PKTINFO, info);
        } else {
            in_pktinfo info{};
            std::memcpy(&info.ipi_spec_dst, from.bytes().data(), sizeof info.ipi_spec_dst);
            add(IPPROTO_IP, IP_PKTINFO, info);
        }
    }
    void attach_to(msghdr& message) noexcept {
        message.msg_control = bytes_.data();
        message.msg_controllen = size_;
    }
    void clear() noexcept { size_ = 0; }

  private:
    template <class T>
    void add(int level, int type, const T& value) noexcept {
        const cmsghdr header{
            .cmsg_len = CMSG_LEN(sizeof value), .cmsg_level = level, .cmsg_type = type};
        std::byte* const here = bytes_.data() + size_;
        std::memset(here, 0, CMSG_SPACE(sizeof value));
        std::memcpy(here, &header, sizeof header);
        std::memcpy(here + CMSG_LEN(0), &value, sizeof value);
        size_ += CMSG_SPACE(sizeof value);
    }

    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(std::uint16_t)) +
                                               CMSG_SPACE(sizeof(in6_pktinfo))> bytes_;
    std::size_t size_;
};

// Only read, as all that is sent.
void add_parts(msghdr& header, const unix_outgoing& parts) noexcept {
    if (parts.to != nullptr) {
        header.msg_name = const_cast<sockaddr*>(parts.to->get());
        header.msg_namelen = parts.to->size();
    }
    if (!parts.control.empty()) {
        header.msg_control = const_cast<std::byte*>(parts.control.data());
        header.msg_controllen = parts.control.size();
    }
}

bool is_to_peer(const outgoing& message) noexcept {
    return message.to == nullptr && (message.as_unix == nullptr || message.as_unix->to == nullptr);
}

}  // namespace

send_result send_messages(int fd, std::span<const outgoing> messages) noexcept {
    // Not initialised on purpose: only what is used is written, just before the call.
    std::array<mmsghdr, messages_per_call> headers;
    std::array<send_control, messages_per_call> controls;
    std::array<socket_address, messages_per_call> names;

    // The last: those before may be from the time when it had another peer or none.
    const bool is_connected = !messages.empty() && is_to_peer(messages.back());
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
            if (message.as_unix != nullptr) {
                add_parts(header, *message.as_unix);
                continue;
            }
            if (message.segment == 0 && message.from == nullptr) continue;
            controls[i].clear();
            if (message.segment != 0) controls[i].add_segment(message.segment);
            if (message.from != nullptr) controls[i].add_source(*message.from);
            controls[i].attach_to(header);
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
