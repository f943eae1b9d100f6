// SPDX-License-Identifier: MIT
//
// window_clocks: how long the measured window has lasted, and what CPU time client and server have
// spent in it.
#pragma once

#include "clock.hpp"

#include <cstdint>
#include <optional>

#include <sys/types.h>

namespace bench {

/// The clocks at the beginning of the window, and what has passed since.
class window_clocks {
  public:
    explicit window_clocks(const std::optional<pid_t>& server) : server_(server) { begin(); }

    void begin() noexcept {
        started_ns_ = now_ns();
        own_ns_ = own_cpu_ns();
        server_ns_ = server_cpu_ns();
    }
    [[nodiscard]] double elapsed_s() const noexcept {
        return static_cast<double>(now_ns() - started_ns_) / static_cast<double>(second_ns);
    }
    [[nodiscard]] std::int64_t own_passed_ns() const noexcept { return own_cpu_ns() - own_ns_; }
    [[nodiscard]] std::optional<std::int64_t> server_passed_ns() const noexcept {
        const auto now = server_cpu_ns();
        if (!now || !server_ns_) return std::nullopt;
        return *now - *server_ns_;
    }

  private:
    [[nodiscard]] std::optional<std::int64_t> server_cpu_ns() const noexcept {
        return server_ ? cpu_ns_of(*server_) : std::nullopt;
    }

    std::optional<pid_t> server_;
    std::int64_t started_ns_ = 0;
    std::int64_t own_ns_ = 0;
    std::optional<std::int64_t> server_ns_;
};

}  // namespace bench
