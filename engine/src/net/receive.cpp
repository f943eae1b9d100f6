// SPDX-License-Identifier: MIT
#include "net/receive.hpp"

#include "net/system.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>

namespace quoit::detail {

receive_result receive_message(int fd, std::span<std::byte> buffer,
                               message_layout layout) noexcept {
    const auto payload = buffer.subspan(layout.payload_offset());
    iovec piece{.iov_base = payload.data(), .iov_len = payload.size()};
    msghdr message{};
    message.msg_name = buffer.data() + message_layout::header_size;
    message.msg_namelen = layout.name_size;
    if (layout.control_size > 0) {
        message.msg_control = buffer.data() + layout.control_offset();
        message.msg_controllen = layout.control_size;
    }
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    std::ptrdiff_t size = -EINTR;
    while (size == -EINTR)
        size = system::receive(fd, &message, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
    if (size < 0) return {.error = static_cast<int>(-size), .size = 0};
    const message_header header{.name_size = message.msg_namelen,
                                .control_size = static_cast<std::uint32_t>(message.msg_controllen),
                                .payload_size = static_cast<std::uint32_t>(size),
                                .flags = static_cast<std::uint32_t>(message.msg_flags)};
    std::memcpy(buffer.data(), &header, sizeof header);
    const std::size_t there = std::min(static_cast<std::size_t>(size), payload.size());
    return {.error = 0, .size = layout.payload_offset() + there};
}

}  // namespace quoit::detail
