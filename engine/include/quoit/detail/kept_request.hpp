// SPDX-License-Identifier: MIT
//
// kept_request: of a datagram what it takes to answer it later, without its bytes and its lease:
// who sent it, which socket received it, and the address it was sent to, if the kernel said so.
//
// Ownership: owns what it refers to; does not move, because its view lies in it.
// Thread safety: a value of one thread.
#pragma once

#include <quoit/datagram.hpp>

#include <array>
#include <cstddef>

namespace quoit::detail {

class kept_request {
  public:
    explicit kept_request(const datagram_view& of) noexcept;
    kept_request(const kept_request&) = delete;
    kept_request& operator=(const kept_request&) = delete;

    /// Empty; for udp_socket::reply().
    [[nodiscard]] const datagram_view& view() const noexcept { return view_; }

  private:
    // One control message with an in6_pktinfo, the longer of the two (cmsg(3): 16 + 20, aligned).
    static constexpr std::size_t control_size_max = 40;
    alignas(std::size_t) std::array<std::byte, control_size_max> control_;
    datagram_view view_;
};

}  // namespace quoit::detail
