// SPDX-License-Identifier: MIT
#include "figures.hpp"

#include <array>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace bench {

namespace {

struct named_fraction {
    const char* name;
    double fraction;
};
constexpr std::array percentiles{named_fraction{"p50", 0.5}, named_fraction{"p90", 0.9},
                                 named_fraction{"p99", 0.99}, named_fraction{"p99.9", 0.999}};

std::string to_words(const figures& told) {
    std::string words;
    for (const auto& [name, value] : told.items())
        words += name + ": " + (value.is_null() ? "not measured" : value.dump()) + "\n";
    return words;
}

}  // namespace

figures round_trip_figures(const std::optional<histogram>& measured) {
    if (!measured) return nullptr;
    figures to;
    for (const auto& [name, fraction] : percentiles)
        to[name] = measured->percentile(fraction);
    to["max"] = measured->max();
    return to;
}

figures cpu_ns_per(const std::optional<std::int64_t>& cpu_ns, std::uint64_t count) {
    if (!cpu_ns || count == 0) return nullptr;
    return static_cast<double>(*cpu_ns) / static_cast<double>(count);
}

void print(const figures& told, bool is_json) {
    const std::string text = is_json ? told.dump() + "\n" : to_words(told);
    if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0) {
        throw std::runtime_error("cannot write the report to standard output");
    }
}

}  // namespace bench
