// SPDX-License-Identifier: MIT
//
// stop_signals: SIGINT and SIGTERM stop a group of cores while this lives. Not on_signal(): that
// would be one loop's, and no other core's task could subscribe to them. A task that does takes
// them over until its subscription ends.
//
// One at a time: a second one does nothing. A second SIGINT, or a second SIGTERM, does what it does
// by default, so that a program that does not end can be ended. In a forked child they do that from
// the first, until the child makes one of these itself.
#pragma once

#include <quoit/every_core.hpp>

#include <csignal>

namespace quoit::detail {

class stop_signals {
  public:
    explicit stop_signals(core_group& stopped) noexcept;
    stop_signals(const stop_signals&) = delete;
    stop_signals& operator=(const stop_signals&) = delete;
    /// Puts back what was in force before.
    ~stop_signals();

  private:
    struct sigaction previous_int_{};
    struct sigaction previous_term_{};
    bool is_installed_ = false;
};

}  // namespace quoit::detail
