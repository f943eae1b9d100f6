// SPDX-License-Identifier: MIT
//
// messages: what a test hands to io_backend::send(), and the pieces it consists of. The texts are
// not copied.
#pragma once

#include "net/send.hpp"

#include <cstdint>
#include <deque>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quoit::test {

class messages {
  public:
    void add(std::string_view text, const address* to = nullptr) { add_train({text}, 0, to); }
    /// One message of several pieces. `segment` 0: one datagram.
    void add_train(std::initializer_list<std::string_view> pieces, std::uint16_t segment,
                   const address* to = nullptr) {
        auto& made = pieces_.emplace_back();
        std::size_t size = 0;
        for (const std::string_view piece : pieces) {
            made.push_back(detail::piece_of(std::as_bytes(std::span(piece))));
            size += piece.size();
        }
        const std::size_t count = segment == 0 ? 1 : (size + segment - 1) / segment;
        all_.push_back({.pieces = made,
                        .to = to,
                        .segment = segment,
                        .count = static_cast<std::uint16_t>(count)});
    }
    [[nodiscard]] std::span<const detail::outgoing> all() const noexcept { return all_; }

  private:
    std::deque<std::vector<iovec>> pieces_;
    std::vector<detail::outgoing> all_;
};

/// The payload, in one piece.
[[nodiscard]] inline std::string text_of(const detail::outgoing& message) {
    std::string text;
    for (const iovec& piece : message.pieces)
        text.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
    return text;
}

}  // namespace quoit::test
