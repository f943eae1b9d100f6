// SPDX-License-Identifier: MIT
//
// unix_part: what the socket of a UNIX endpoint has that others have not. A UNIX endpoint has one
// socket; its own functions are in port_unix.cpp.
#pragma once

#include "net/unix_socket.hpp"
#include "runtime/unix_send_queue.hpp"

#include <quoit/unix_address.hpp>
#include <quoit/unix_options.hpp>

#include <chrono>
#include <cstdint>
#include <optional>

namespace quoit::detail {

struct unix_part {
    unix_binding binding;
    unix_send_queue queue;
    unix_options options;
    std::optional<unix_address> peer;       // of a client: whom it was told to connect to
    std::optional<unix_address> peer_name;  // ... and what that one calls itself
    bool is_retrying = false;               // listed in the port's unix_retrying_
    // Closing: when it is over unless something has been sent since `sent_before` was.
    std::chrono::steady_clock::time_point give_up_at = std::chrono::steady_clock::time_point::max();
    std::uint64_t sent_before = 0;
    // unnamed_peers::warn: dropped since the log was told, and when it may be told again.
    std::uint64_t unnamed_count = 0;
    std::chrono::steady_clock::time_point next_warning{};
};

}  // namespace quoit::detail
