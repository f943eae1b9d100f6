// SPDX-License-Identifier: MIT
//
// line_splitter: makes lines of bytes that come in pieces.
//
//   line_splitter lines(size_max);
//   while (read(chunk)) lines.push(chunk, ready);     // appends the lines that are whole
//   lines.finish(ready);                              // what has no newline at the end is one too
//
// A line is what stands before a newline, which is not part of it; every other byte is, NUL and
// carriage return too. An empty line is a line. No bytes at all are no line.
//
// Invariant: holds no more than `size_max` bytes of a line that is not whole.
// Thread safety: none. Errors: a line that is too long, see push(). Units: bytes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace quoit::program {

class line_splitter {
  public:
    explicit line_splitter(std::size_t size_max) noexcept : size_max_(size_max) {}

    /// Appends what is whole with these bytes. False: a line is longer than `size_max`; those
    /// before it are in `into`, and nothing more is taken.
    [[nodiscard]] bool push(std::string_view bytes, std::vector<std::string>& into);
    /// Appends the bytes behind the last newline, if there are any.
    void finish(std::vector<std::string>& into);

  private:
    std::string unfinished_;
    std::size_t size_max_;
    bool is_too_long_ = false;
};

}  // namespace quoit::program
