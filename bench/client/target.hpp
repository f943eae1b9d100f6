// SPDX-License-Identifier: MIT
//
// Whom to talk to, as it stands on a command line.
#pragma once

#include <string>

#include <netinet/in.h>

namespace bench {

/// ADDRESS:PORT of IPv4. Returns what is wrong with it; nothing when it is well.
[[nodiscard]] std::string parse_target(const std::string& text, sockaddr_in& parsed);

}  // namespace bench
