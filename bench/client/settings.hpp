// SPDX-License-Identifier: MIT
//
// What the client is asked to do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <netinet/in.h>
#include <sys/types.h>

namespace bench {

enum class mode : std::uint8_t { echo, ping, flood };

struct settings {
    sockaddr_in target{};
    std::string target_text;
    mode kind = mode::echo;
    unsigned flow_count = 1;
    std::uint64_t outstanding = 64;  ///< per flow
    std::size_t size = 64;           ///< bytes of payload
    bool is_offloading = false;
    bool is_spinning = false;
    bool is_json = false;
    std::int64_t duration_ns = 0;
    std::int64_t warmup_ns = 0;
    std::uint64_t train_max = 0;  ///< datagrams sent as one message; 0: as many as the kernel takes
    double rate = 0;              ///< datagrams per second in flood; 0: as fast as it goes
    std::optional<pid_t> server;
};

/// The settings; or, when the program should end at once, its exit code after the words were
/// printed: 0 for help, 2 for a wrong command line.
struct parsed_settings {
    settings asked;
    std::optional<int> exit_code;
};
[[nodiscard]] parsed_settings parse_settings(int argument_count, char** arguments);

[[nodiscard]] const char* name_of(mode kind) noexcept;

}  // namespace bench
