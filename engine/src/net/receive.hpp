// SPDX-License-Identifier: MIT
//
// One message at a time through recvmsg(2), for a thread that waits by itself; the backends, which
// receive many, do it their own way.
//
// Error policy: as net/send.hpp, nothing is interpreted but EINTR (it goes on). MSG_DONTWAIT;
// MSG_TRUNC, so that the original length is known; MSG_CMSG_CLOEXEC.
#pragma once

#include "net/message.hpp"

#include <cstddef>
#include <span>

namespace quoit::detail {

struct receive_result {
    int error = 0;         // an errno; 0: there is a message
    std::size_t size = 0;  // bytes of the buffer that are used
};

/// Lays the message out in `buffer` as net/message.hpp has it, for parse_message(). What does not
/// fit behind the layout's parts is cut off.
[[nodiscard]] receive_result receive_message(int fd, std::span<std::byte> buffer,
                                             message_layout layout) noexcept;

}  // namespace quoit::detail
