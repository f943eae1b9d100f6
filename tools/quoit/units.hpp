// SPDX-License-Identifier: MIT
//
// Numbers with units, as the command line takes them, and as the reports print them.
//
//   durations  250ms, 5s, 1.5m    us, ms, s, m, h; a bare number is refused, since nobody knows
//                                 which of them was meant
//   rates      1000, 250k, 1.5M   per second; k is 10^3, M is 10^6
//   sizes      64, 1400, 16K, 1M  bytes; K is 1024, M 1024 K
//   counts     64                 whole numbers, no unit
//
// Decimal fractions are taken where the result makes sense. Signs, exponents, spaces, "inf" and
// "nan" are refused. Nothing is clamped: a value out of range is an error.
//
// Errors: words for a person, which name the text and what was expected; no newline in them.
// Thread safety: functions of their arguments.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace quoit::program {

template <class T>
using parsed = std::expected<T, std::string>;

/// From 1 us to `max`.
[[nodiscard]] parsed<std::chrono::nanoseconds> parse_duration(
    std::string_view text, std::chrono::hours max = std::chrono::hours(1000));

/// Per second, from 1 to 100M.
[[nodiscard]] parsed<double> parse_rate(std::string_view text);

/// Bytes, from `min` to `max`.
[[nodiscard]] parsed<std::uint32_t> parse_size(std::string_view text, std::uint32_t min,
                                               std::uint32_t max);

/// From `min` to `max`.
[[nodiscard]] parsed<std::uint32_t> parse_count(std::string_view text, std::uint32_t min,
                                                std::uint32_t max);

/// In quotes, on one line whatever is in it: what is not printable ASCII becomes \xNN.
[[nodiscard]] std::string quoted(std::string_view text);

/// Three significant digits: "830 ns", "21.3 us", "1.25 ms", "2.00 s".
[[nodiscard]] std::string format_duration(std::chrono::nanoseconds duration);

/// Three significant digits: "950/s", "12.3 k/s", "1.50 M/s".
[[nodiscard]] std::string format_rate(double per_second);

}  // namespace quoit::program
