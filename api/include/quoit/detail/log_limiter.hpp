// SPDX-License-Identifier: MIT
//
// log_limiter: decides which lines of one kind reach the log when there are very many of them: the
// first lines_max in each period of a second, and then how many more there were.
//
// A kind is words, "a posted function" for example, that stand for what is likely to repeat; what
// tells its lines apart (a peer) is not in it. Kinds beyond kinds_max share the last one's limit.
//
// Thread safety: none. Time is an argument: nothing is asked of a clock, and nothing happens,
// unless there is a line. Errors: none; without memory for a new kind its lines count to the last.
#pragma once

#include <quoit/options.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace quoit::detail {

class log_limiter {
  public:
    using time_point = std::chrono::steady_clock::time_point;

    static constexpr std::uint32_t lines_max = 10;
    static constexpr std::chrono::seconds period{1};
    static constexpr std::size_t kinds_max = 16;

    /// What is left to be told of a kind: `kind` is valid until the next call.
    struct remainder {
        std::string_view kind;
        log_level level = log_level::error;
        std::uint64_t count = 0;
    };

    /// Whether a line may be logged; otherwise it is counted.
    [[nodiscard]] bool admits(std::string_view kind, log_level level, time_point now) noexcept;
    /// Lines were counted that nobody has been told of.
    [[nodiscard]] bool has_remainder() const noexcept { return skipped_ > 0; }
    /// A kind with such lines, which are told with this; a count of 0: there is none.
    [[nodiscard]] remainder take_remainder() noexcept;

  private:
    struct kind_state {
        std::string kind;
        log_level level = log_level::error;
        time_point started{};
        std::uint32_t admitted = 0;
        std::uint64_t skipped = 0;
    };
    kind_state& find(std::string_view kind, time_point now) noexcept;

    std::array<kind_state, kinds_max> kinds_;
    std::size_t kind_count_ = 0;
    std::uint64_t skipped_ = 0;
};

}  // namespace quoit::detail
