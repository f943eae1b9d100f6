// SPDX-License-Identifier: MIT
//
// The one way out: messages in order through sendmmsg(2), which stops at the first refusal and says
// how many went. Both backends and every thread send like this. Batches of SQEs are no alternative:
// after one EAGAIN in a batch later ones still went out, in 20 of 20 batches (measured on Linux
// 6.18), and they are no faster.
//
// A message is one datagram, or a run of equal ones that the kernel or the network card cuts apart
// (UDP_SEGMENT, since Linux 4.18; net/segmentation.hpp decides which).
//
// Error policy: this function interprets nothing but EINTR (it goes on). The caller sees the errno
// of the message that stopped the batch and decides (runtime/send_queue.hpp). MSG_DONTWAIT always,
// so that an adopted blocking descriptor does not block us; MSG_NOSIGNAL always, since a plain send
// raises SIGPIPE after shutdown(SHUT_WR).
#pragma once

#include <quoit/address.hpp>

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace quoit::detail {

class unix_name;

/// What a message on a UNIX socket has that others have not.
struct unix_outgoing {
    const unix_name* to = nullptr;  // null on a connected socket
    std::span<const std::byte> control{};
};

/// One message to send. Everything it points to lives until the call returns.
struct outgoing {
    /// The payload; of a run, that of all its datagrams, one behind the other. At most 1024.
    std::span<const iovec> pieces;
    /// Null on a connected socket.
    const address* to = nullptr;
    /// What it is sent from; null: what the route chooses. An IPv6 scope is the interface.
    const ip* from = nullptr;
    /// Of a run: bytes of each datagram but the last, which may be shorter. 0: one datagram.
    std::uint16_t segment = 0;
    /// Datagrams. The kernel takes all of them or none.
    std::uint16_t count = 1;
    /// Null on a socket that is no UNIX one; otherwise `to` and `segment` are not used.
    const unix_outgoing* as_unix = nullptr;
};

/// The kernel only reads what it sends, but struct iovec serves both directions.
[[nodiscard]] inline iovec piece_of(std::span<const std::byte> payload) noexcept {
    return {.iov_base = const_cast<std::byte*>(payload.data()), .iov_len = payload.size()};
}

struct send_result {
    std::uint32_t sent = 0;  // messages the kernel took, from the front
    int error = 0;           // why messages[sent] was not; 0: all went
    // Times a connected socket stopped the call, was writable, and took the same message at the
    // next attempt: sendmmsg(2) keeps an error behind a message that went to itself, and a refusal
    // of an earlier datagram is cleared by being read (measured on Linux 6.18). Likely refusals,
    // then; a firewall that drops now and then (EPERM) looks the same.
    std::uint32_t refusals = 0;
    std::uint32_t system_calls = 0;
};

[[nodiscard]] send_result send_messages(int fd, std::span<const outgoing> messages) noexcept;

}  // namespace quoit::detail
