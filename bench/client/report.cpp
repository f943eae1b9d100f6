// SPDX-License-Identifier: MIT
#include "result.hpp"

#include <array>
#include <cstdio>
#include <stdexcept>
#include <string>

#include <nlohmann/json.hpp>

namespace bench {

namespace {

using json = nlohmann::ordered_json;

struct named_fraction {
    const char* name;
    double fraction;
};
constexpr std::array percentiles{named_fraction{"p50", 0.5}, named_fraction{"p90", 0.9},
                                 named_fraction{"p99", 0.99}, named_fraction{"p99.9", 0.999}};

json per_datagram(const std::optional<std::int64_t>& cpu_ns, std::uint64_t datagrams) {
    if (!cpu_ns || datagrams == 0) return nullptr;
    return static_cast<double>(*cpu_ns) / static_cast<double>(datagrams);
}

json round_trips(const std::optional<histogram>& measured) {
    if (!measured) return nullptr;
    json to;
    for (const auto& [name, fraction] : percentiles)
        to[name] = measured->percentile(fraction);
    to["max"] = measured->max();
    return to;
}

json to_json(const settings& asked, const result& measured) {
    return {{"mode", name_of(asked.kind)},
            {"flows", asked.flow_count},
            {"outstanding", asked.outstanding},
            {"size", asked.size},
            {"offload", asked.is_offloading},
            {"seconds", measured.seconds},
            {"sent", measured.sent},
            {"received", measured.received},
            {"lost", measured.lost ? json(*measured.lost) : json()},
            {"duplicated", measured.duplicated},
            {"corrupted", measured.corrupted},
            {"refused", measured.refused},
            {"rate", measured.rate},
            {"cpu_ns_per_datagram", per_datagram(measured.own_cpu_ns, measured.cpu_datagrams)},
            {"server_cpu_ns_per_datagram",
             per_datagram(measured.server_cpu_ns, measured.cpu_datagrams)},
            {"trains_received", measured.trains_received},
            {"datagrams_in_trains", measured.datagrams_in_trains},
            {"rtt_ns", round_trips(measured.round_trips)}};
}

// The same figures, one `name: value` a line.
std::string to_words(const json& figures) {
    std::string words;
    for (const auto& [name, value] : figures.items())
        words += name + ": " + (value.is_null() ? "not measured" : value.dump()) + "\n";
    return words;
}

}  // namespace

void report(const settings& asked, const result& measured) {
    const json figures = to_json(asked, measured);
    const std::string text = asked.is_json ? figures.dump() + "\n" : to_words(figures);
    if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0) {
        throw std::runtime_error("cannot write the report to standard output");
    }
}

}  // namespace bench
