// SPDX-License-Identifier: MIT
//
// standard_input: its lines, for a loop that must not wait for them.
//
//   standard_input input(packet_size_max);
//   do {
//       auto lines = or_throw(co_await input.next());
//       ...
//   } while (!input.is_over());
//
// A thread reads and splits (line_splitter.hpp); it reads on only when what it has read was taken,
// so that a file of any length takes no more memory than one piece of it.
//
// Ownership: the destructor ends the thread, whatever it waits for. What was read and not taken is
// lost with it.
// Thread safety: none; the loop's thread. REQUIRES: a loop runs on it, and outlives this.
// Errors: of reading, and std::errc::message_size for a line that is too long.
#pragma once

#include <quoit/quoit.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace quoit::program {

class standard_input {
  public:
    explicit standard_input(std::size_t line_size_max);
    standard_input(const standard_input&) = delete;
    standard_input& operator=(const standard_input&) = delete;
    ~standard_input();

    /// At least one line, unless it is over. After an error it is over.
    /// Errors also: errc::canceled. REQUIRES: one waits at a time.
    [[nodiscard]] task<result<std::vector<std::string>>> next();
    [[nodiscard]] bool is_over() const noexcept;

  private:
    class reader;
    std::shared_ptr<reader> reader_;
};

}  // namespace quoit::program
