// SPDX-License-Identifier: MIT
//
// What the ledgers' texts and sums are made with.
#pragma once

#include <cstdint>
#include <string>

namespace quoit::detail {

/// Of an identity: how much one side is away from the other.
[[nodiscard]] inline std::uint64_t distance(std::uint64_t a, std::uint64_t b) noexcept {
    return a > b ? a - b : b - a;
}

[[nodiscard]] inline std::string n(std::uint64_t value) { return std::to_string(value); }

/// "3 queue full, 1 late", or "none".
class reason_list {
  public:
    void add(std::uint64_t count, const std::string& what) {
        if (count == 0) return;
        if (!text_.empty()) text_ += ", ";
        text_ += std::to_string(count) + " " + what;
    }
    [[nodiscard]] std::string text() const { return text_.empty() ? "none" : text_; }

  private:
    std::string text_;
};

}  // namespace quoit::detail
