// SPDX-License-Identifier: MIT
#include "units.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <span>
#include <system_error>

#include <fmt/format.h>

namespace quoit::program {

namespace {

struct unit {
    std::string_view name;
    double factor;
};

constexpr std::array<unit, 5> duration_units{{
    {"us", 1e3},
    {"ms", 1e6},
    {"s", 1e9},
    {"m", 60e9},
    {"h", 3600e9},
}};
constexpr std::array<unit, 3> rate_units{{{"", 1}, {"k", 1e3}, {"M", 1e6}}};
constexpr std::array<unit, 3> size_units{{{"", 1}, {"K", 1024}, {"M", 1024 * 1024}}};
constexpr std::array<unit, 1> count_units{{{"", 1}}};

constexpr std::string_view digits_and_point = "0123456789.";

// Digits, with one point between digits at most, then one of the units.
std::optional<double> parse_quantity(std::string_view text, std::span<const unit> units) {
    const std::size_t end = std::min(text.find_first_not_of(digits_and_point), text.size());
    const std::string_view number = text.substr(0, end);
    if (number.empty() || number.front() == '.' || number.back() == '.') return std::nullopt;
    double value = 0;
    const char* const number_end = number.data() + number.size();
    const auto [stop, error] =
        std::from_chars(number.data(), number_end, value, std::chars_format::fixed);
    if (error != std::errc() || stop != number_end) return std::nullopt;
    for (const unit& one : units) {
        if (text.substr(end) == one.name) return value * one.factor;
    }
    return std::nullopt;
}

parsed<std::uint32_t> parse_whole(std::string_view text, std::span<const unit> units,
                                  std::string_view what, std::uint32_t min, std::uint32_t max) {
    const auto value = parse_quantity(text, units);
    if (!value || *value != std::floor(*value) || *value < min || *value > max) {
        return std::unexpected(
            fmt::format("{}: expected {} from {} to {}", quoted(text), what, min, max));
    }
    return static_cast<std::uint32_t>(*value);
}

// Three significant digits of something from 1 to 999, rounded up to "1000" at most.
std::string three_digits(double value) {
    if (value < 9.995) return fmt::format("{:.2f}", value);
    if (value < 99.95) return fmt::format("{:.1f}", value);
    return fmt::format("{:.0f}", value);
}

}  // namespace

parsed<std::chrono::nanoseconds> parse_duration(std::string_view text, std::chrono::hours max) {
    constexpr double duration_min_ns = 1e3;
    const double duration_max_ns = std::chrono::duration<double, std::nano>(max).count();
    const auto value = parse_quantity(text, duration_units);
    if (!value) {
        return std::unexpected(quoted(text) +
                               ": expected a number and its unit (us, ms, s, m or h), such as "
                               "250ms or 5s");
    }
    if (*value < duration_min_ns || *value > duration_max_ns) {
        return std::unexpected(
            fmt::format("{}: expected a duration from 1us to {}h", quoted(text), max.count()));
    }
    return std::chrono::nanoseconds(std::llround(*value));
}

parsed<double> parse_rate(std::string_view text) {
    constexpr double rate_min = 1;
    constexpr double rate_max = 100e6;
    const auto value = parse_quantity(text, rate_units);
    if (!value) {
        return std::unexpected(quoted(text) +
                               ": expected datagrams per second, such as 1000, 250k or 1.5M");
    }
    if (*value < rate_min || *value > rate_max) {
        return std::unexpected(quoted(text) + ": expected from 1 to 100M datagrams per second");
    }
    return *value;
}

parsed<std::uint32_t> parse_size(std::string_view text, std::uint32_t min, std::uint32_t max) {
    return parse_whole(text, size_units, "bytes (K is 1024, M 1024 K)", min, max);
}

parsed<std::uint32_t> parse_count(std::string_view text, std::uint32_t min, std::uint32_t max) {
    return parse_whole(text, count_units, "a whole number", min, max);
}

std::string quoted(std::string_view text) {
    std::string words = "\"";
    for (const char c : text) {
        if (c >= ' ' && c <= '~') {
            words += c;
        } else {
            words += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        }
    }
    return words + '"';
}

std::string format_duration(std::chrono::nanoseconds duration) {
    const auto ns = static_cast<double>(duration.count());
    if (ns < 999.5) return fmt::format("{} ns", duration.count());
    if (ns < 999.5e3) return three_digits(ns / 1e3) + " us";
    if (ns < 999.5e6) return three_digits(ns / 1e6) + " ms";
    return three_digits(ns / 1e9) + " s";
}

std::string format_rate(double per_second) {
    if (per_second < 999.5) return fmt::format("{:.0f}/s", per_second);
    if (per_second < 999.5e3) return three_digits(per_second / 1e3) + " k/s";
    return three_digits(per_second / 1e6) + " M/s";
}

}  // namespace quoit::program
