// SPDX-License-Identifier: MIT
#include "proc_text.hpp"

#include <array>
#include <charconv>
#include <span>
#include <utility>

namespace quoit::program {

namespace {

constexpr std::string_view blanks = " \t";

template <class Number>
std::optional<Number> number_of(std::string_view word, int base = 10) {
    Number value{};
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value, base);
    if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
    return value;
}

std::vector<std::string_view> words_of(std::string_view line) {
    std::vector<std::string_view> words;
    for (;;) {
        const auto begin = line.find_first_not_of(blanks);
        if (begin == std::string_view::npos) return words;
        line.remove_prefix(begin);
        words.push_back(line.substr(0, line.find_first_of(blanks)));
        line.remove_prefix(words.back().size());
    }
}

std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        lines.push_back(text.substr(0, text.find('\n')));
        text.remove_prefix(std::min(text.size(), lines.back().size() + 1));
    }
    return lines;
}

std::string_view without_newline(std::string_view text) {
    if (text.ends_with('\n')) text.remove_suffix(1);
    return text;
}

struct column {
    std::string_view name;
    std::uint64_t udp_counters::* value;
    bool is_required;
};
constexpr std::array<column, 7> columns{{
    {"InDatagrams", &udp_counters::received, true},
    {"NoPorts", &udp_counters::no_ports, true},
    {"InErrors", &udp_counters::receive_errors, true},
    {"RcvbufErrors", &udp_counters::receive_buffer_errors, true},
    {"SndbufErrors", &udp_counters::send_buffer_errors, true},
    {"InCsumErrors", &udp_counters::checksum_errors, false},
    {"MemErrors", &udp_counters::memory_errors, false},
}};

using named_word = std::pair<std::string_view, std::string_view>;

std::optional<udp_counters> counters_of(std::span<const named_word> words) {
    udp_counters found;
    for (const column& one : columns) {
        bool is_there = false;
        for (const auto& [name, word] : words) {
            if (name != one.name) continue;
            const auto value = number_of<std::uint64_t>(word);
            if (!value) return std::nullopt;
            found.*one.value = *value;
            is_there = true;
        }
        if (one.is_required && !is_there) return std::nullopt;
    }
    return found;
}

}  // namespace

std::optional<std::int64_t> parse_number(std::string_view text) {
    return number_of<std::int64_t>(without_newline(text));
}

// A line of names, then one of values.
std::optional<udp_counters> parse_udp_counters(std::string_view text) {
    std::vector<std::string_view> names;
    for (const std::string_view line : lines_of(text)) {
        if (!line.starts_with("Udp: ")) continue;
        const auto words = words_of(line);
        if (names.empty()) {
            names = words;
            continue;
        }
        if (words.size() != names.size()) return std::nullopt;
        std::vector<named_word> pairs;
        for (std::size_t i = 1; i < words.size(); ++i)
            pairs.emplace_back(names[i], words[i]);
        return counters_of(pairs);
    }
    return std::nullopt;
}

// A name and a value in each line.
std::optional<udp_counters> parse_udp6_counters(std::string_view text) {
    constexpr std::string_view prefix = "Udp6";
    std::vector<named_word> pairs;
    for (const std::string_view line : lines_of(text)) {
        if (!line.starts_with(prefix)) continue;
        const auto words = words_of(line.substr(prefix.size()));
        if (words.size() != 2) return std::nullopt;
        pairs.emplace_back(words[0], words[1]);
    }
    return counters_of(pairs);
}

std::optional<std::vector<softnet_counters>> parse_softnet(std::string_view text) {
    constexpr std::size_t cpu_column = 12;
    std::vector<softnet_counters> found;
    for (const std::string_view line : lines_of(text)) {
        const auto words = words_of(line);
        if (words.size() < 3) return std::nullopt;
        const auto processed = number_of<std::uint32_t>(words[0], 16);
        const auto dropped = number_of<std::uint32_t>(words[1], 16);
        const auto squeezed = number_of<std::uint32_t>(words[2], 16);
        if (!processed || !dropped || !squeezed) return std::nullopt;
        found.push_back({.processed = *processed, .dropped = *dropped, .squeezed = *squeezed});
        if (words.size() <= cpu_column) continue;
        found.back().cpu = number_of<std::uint32_t>(words[cpu_column], 16);
        if (!found.back().cpu) return std::nullopt;
    }
    if (found.empty()) return std::nullopt;
    return found;
}

std::optional<udp_memory> parse_udp_memory(std::string_view text) {
    const auto words = words_of(without_newline(text));
    if (words.size() != 3) return std::nullopt;
    const auto min = number_of<std::uint64_t>(words[0]);
    const auto pressure = number_of<std::uint64_t>(words[1]);
    const auto max = number_of<std::uint64_t>(words[2]);
    if (!min || !pressure || !max) return std::nullopt;
    return udp_memory{.min = *min, .pressure = *pressure, .max = *max};
}

std::optional<std::uint64_t> parse_udp_pages(std::string_view text) {
    for (const std::string_view line : lines_of(text)) {
        if (!line.starts_with("UDP: ")) continue;
        const auto words = words_of(line);
        for (std::size_t i = 1; i + 1 < words.size(); i += 2) {
            if (words[i] == "mem") return number_of<std::uint64_t>(words[i + 1]);
        }
    }
    return std::nullopt;
}

thread_status parse_thread_status(std::string_view text) {
    thread_status found;
    for (const std::string_view line : lines_of(text)) {
        const auto words = words_of(line);
        if (words.size() != 2) continue;
        if (words[0] == "Seccomp:") found.seccomp_mode = number_of<int>(words[1]);
        if (words[0] == "CapEff:") found.capabilities = number_of<std::uint64_t>(words[1], 16);
    }
    return found;
}

std::optional<std::string> parse_cgroup_path(std::string_view text) {
    constexpr std::string_view unified = "0::";
    for (const std::string_view line : lines_of(text)) {
        if (!line.starts_with(unified)) continue;
        const std::string_view path = line.substr(unified.size());
        if (!path.starts_with('/')) return std::nullopt;
        return std::string(path);
    }
    return std::nullopt;
}

std::optional<cpu_quota> parse_cpu_max(std::string_view text) {
    const auto words = words_of(without_newline(text));
    if (words.size() != 2) return std::nullopt;
    const auto period = number_of<std::uint64_t>(words[1]);
    if (!period || *period == 0) return std::nullopt;
    if (words[0] == "max") return cpu_quota{};
    const auto quota = number_of<std::uint64_t>(words[0]);
    if (!quota) return std::nullopt;
    return cpu_quota{.cpus = static_cast<double>(*quota) / static_cast<double>(*period)};
}

}  // namespace quoit::program
