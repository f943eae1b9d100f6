// SPDX-License-Identifier: MIT
//
// receiver: takes from a flow's socket everything there is, by recvmmsg, and hands each datagram
// to the flow, trains taken apart. One for all flows.
//
// Buffers are one byte larger than what was sent, so that a longer answer is noticed; with UDP_GRO
// 64 KiB, so that no train is cut. Their starts are an odd number of cache lines apart: a power of
// two would put all headers into the same sets of the L1 cache.
#pragma once

#include "flow.hpp"

#include <cstddef>
#include <vector>

namespace bench {

class receiver {
  public:
    explicit receiver(run_context& context);

    /// Receives until the socket is empty or the flow has nothing in flight. `flags` of the first
    /// call: MSG_DONTWAIT, or MSG_WAITFORONE to wait as long as the socket's timeout says.
    void receive(flow& from, int flags);

  private:
    union control_buffer {
        cmsghdr alignment;
        char bytes[CMSG_SPACE(sizeof(int))];
    };

    [[nodiscard]] std::size_t segment_size(const mmsghdr& message) const noexcept;
    void take_apart(const mmsghdr& message, flow& from, std::int64_t received_ns);
    void reset(std::size_t count) noexcept;

    run_context& context_;
    std::size_t buffer_size_;
    std::vector<char> memory_;
    std::vector<iovec> iovecs_;
    std::vector<control_buffer> controls_;
    std::vector<mmsghdr> messages_;
};

}  // namespace bench
