// SPDX-License-Identifier: MIT
//
// How figures are told: one JSON line, or the same ones as `name: value` lines. What was not
// measured is null.
#pragma once

#include "histogram.hpp"

#include <cstdint>
#include <optional>

#include <nlohmann/json.hpp>

namespace bench {

using figures = nlohmann::ordered_json;

/// Percentiles and maximum, in nanoseconds.
[[nodiscard]] figures round_trip_figures(const std::optional<histogram>& measured);

/// null without a time, or when there was nothing to divide it by.
[[nodiscard]] figures cpu_ns_per(const std::optional<std::int64_t>& cpu_ns, std::uint64_t count);

/// On standard output. Throws std::runtime_error when it cannot be written to.
void print(const figures& told, bool is_json);

}  // namespace bench
