// SPDX-License-Identifier: MIT
//
// Several addresses in one line of words.
#pragma once

#include <quoit/address.hpp>

#include <span>
#include <string>

namespace quoit::detail {

/// "127.0.0.1:9999, [::1]:9999".
[[nodiscard]] inline std::string joined(std::span<const address> addresses) {
    std::string text;
    for (const address& one : addresses) {
        if (!text.empty()) text += ", ";
        text += one.to_string();
    }
    return text;
}

}  // namespace quoit::detail
