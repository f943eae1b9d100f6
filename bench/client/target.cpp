// SPDX-License-Identifier: MIT
#include "target.hpp"

#include <cstddef>
#include <cstdint>

#include <arpa/inet.h>

namespace bench {

std::string parse_target(const std::string& text, sockaddr_in& parsed) {
    const std::string words =
        "'" + text + "': expected an IPv4 address and a port, such as 127.0.0.1:9999";
    const std::size_t colon = text.rfind(':');
    if (colon == std::string::npos) return words;
    const std::string digits = text.substr(colon + 1);
    constexpr std::size_t digits_max = 5;
    if (digits.empty() || digits.size() > digits_max ||
        digits.find_first_not_of("0123456789") != std::string::npos) {
        return words;
    }
    constexpr unsigned long port_max = 65'535;
    const unsigned long port = std::stoul(digits);
    if (port == 0 || port > port_max) return words;
    parsed.sin_family = AF_INET;
    parsed.sin_port = htons(static_cast<std::uint16_t>(port));
    const std::string host = text.substr(0, colon);
    return ::inet_pton(AF_INET, host.c_str(), &parsed.sin_addr) == 1 ? std::string() : words;
}

}  // namespace bench
