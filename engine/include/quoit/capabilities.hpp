// SPDX-License-Identifier: MIT
//
// capabilities: which backend a loop runs on, and why. What is here was found by trying it in this
// process, never from a version number.
#pragma once

#include <quoit/options.hpp>

#include <string>

namespace quoit {

struct capabilities {
    /// io_uring or epoll, never automatic.
    quoit::backend backend = quoit::backend::epoll;
    /// Why io_uring is not used and what would change that; empty when it is, or when epoll was
    /// named.
    std::string reason;
    /// The ring was had with IORING_SETUP_DEFER_TASKRUN (Linux 6.1); false on epoll.
    bool defer_taskrun = false;
    /// Equal datagrams to one peer leave as one message (UDP_SEGMENT, Linux 4.18) ...
    bool segmentation_offload = false;
    /// ... and are received as one (UDP_GRO, 5.0), as udp_options::offload says.
    bool receive_offload = false;
    /// loop_options::napi_busy_poll was asked for and is in force. False too for threads that never
    /// sleep.
    bool napi_busy_poll = false;
    /// loop_options::waiting was busy_poll, and there are CPUs enough for it.
    bool busy_poll = false;
};

}  // namespace quoit
