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
    /// Why io_uring is not used and what would change that; empty when it is, or was not wanted.
    std::string reason;
    /// The ring was had with IORING_SETUP_DEFER_TASKRUN (Linux 6.1); false on epoll.
    bool defer_taskrun = false;
};

}  // namespace quoit
