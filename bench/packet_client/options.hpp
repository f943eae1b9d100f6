// SPDX-License-Identifier: MIT
//
// What the client for packets is asked to do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <netinet/in.h>
#include <sys/types.h>

namespace bench::packets {

struct options {
    sockaddr_in target{};
    std::string target_text;
    unsigned connection_count = 1;
    std::size_t outstanding = 64;  ///< per connection
    std::size_t size = 64;         ///< bytes of a packet's body
    std::int64_t warmup_ns = 0;
    std::int64_t duration_ns = 0;
    std::optional<pid_t> server;
    bool is_json = false;
};

/// The options; or, when the program should end at once, its exit code after the words were
/// printed: 0 for help, 2 for a wrong command line.
struct parsed_options {
    options asked;
    std::optional<int> exit_code;
};
[[nodiscard]] parsed_options parse_options(int argument_count, char** arguments);

}  // namespace bench::packets
