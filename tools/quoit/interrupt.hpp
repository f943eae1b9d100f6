// SPDX-License-Identifier: MIT
//
// interrupt: turns SIGINT and SIGTERM into a flag and a wake-up of one port, for a program that
// turns the port itself. Programs on the loop have on_signal() for this.
//
// Invariants: one at a time; a second signal does what it did before (ends the process); the
// previous dispositions are restored by the destructor.
// Thread safety: is_requested() from the port's thread; the signal may arrive on any.
#pragma once

#include <quoit/port.hpp>

#include <atomic>

#include <signal.h>

namespace quoit::program {

class interrupt {
  public:
    explicit interrupt(port& wakes) noexcept;
    interrupt(const interrupt&) = delete;
    interrupt& operator=(const interrupt&) = delete;
    ~interrupt();

    [[nodiscard]] bool is_requested() const noexcept {
        return requested_.load(std::memory_order_relaxed);  // a flag, nothing is read behind it
    }

  private:
    static void handle(int signal) noexcept;

    std::atomic<bool> requested_ = false;
    port& port_;
    struct sigaction previous_int_{};
    struct sigaction previous_term_{};
};

}  // namespace quoit::program
