// SPDX-License-Identifier: MIT
//
// What quoit doctor prints, for people: the text, and the sysctl.d file.
#include "doctor.hpp"

#include <quoit/version.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <string_view>

#include <fmt/format.h>

namespace quoit::program {

namespace {

constexpr std::size_t width = 80;
constexpr std::size_t indent = 6;
constexpr std::size_t name_width = 46;

std::size_t count_of(const std::vector<finding>& findings, verdict of) {
    return static_cast<std::size_t>(std::ranges::count(findings, of, &finding::verdict));
}

// Words, in lines that begin with `prefix` and so many blanks less what stands there already.
std::string wrapped(std::string_view text, std::string_view prefix, std::size_t column,
                    std::size_t hanging) {
    std::string made;
    std::size_t at = column;
    bool is_first = true;
    while (!text.empty()) {
        const std::string_view word = text.substr(0, text.find(' '));
        text.remove_prefix(std::min(text.size(), word.size() + 1));
        if (!is_first && at + 1 + word.size() > width) {
            made += fmt::format("\n{}{:{}}", prefix, "", hanging);
            at = prefix.size() + hanging;
        } else if (!is_first) {
            made += ' ';
            ++at;
        }
        made += word;
        at += word.size();
        is_first = false;
    }
    return made;
}

std::string labelled(std::string_view label, std::string_view text) {
    if (text.empty()) return {};
    const std::size_t hanging = indent + 8;
    return fmt::format("{:{}}{:<8}{}\n", "", indent, label, wrapped(text, "", hanging, hanging));
}

// Everything there is to say about it.
std::string in_full(const finding& one) {
    return fmt::format("{:<{}}{}\n", to_string(one.verdict), indent, one.name) +
           labelled("is", one.current) + labelled("wanted", one.wanted) + labelled("why", one.why) +
           labelled("mend", one.remedy);
}

std::string in_one_line(const finding& one) {
    const std::string_view mark = one.verdict == verdict::unknown ? "?" : to_string(one.verdict);
    const std::string head = fmt::format("  {:<{}}{:<{}} ", mark, indent, one.name, name_width);
    return head + wrapped(one.current, "", head.size(), head.size()) + "\n";
}

std::string summary(const doctor_result& result) {
    const auto count = [&](verdict of) { return count_of(result.findings, of); };
    const auto& chosen = result.facts.chosen;
    return fmt::format("quoit {} {}: {} FAIL, {} WARN, {} OK, {} unknown\n", version_string,
                       chosen ? fmt::format("runs on {} here", to_string(chosen->backend))
                              : "does not run here as asked",
                       count(verdict::fail), count(verdict::warn), count(verdict::ok),
                       count(verdict::unknown));
}

// Of numbers without a sign: the longer one is the larger.
bool is_less(std::string_view left, std::string_view right) {
    return left.size() != right.size() ? left.size() < right.size() : left < right;
}

// Those that a file for /etc/sysctl.d could hold.
bool is_sysctl(const finding& one) {
    return one.id.starts_with("net.") || one.id.starts_with("kernel.");
}

std::string listed(std::string_view text) { return "# - " + wrapped(text, "#", 4, 3) + "\n"; }

std::string commented(std::string_view text) { return "# " + wrapped(text, "# ", 2, 0) + "\n"; }

}  // namespace

std::string to_text(const doctor_result& result) {
    std::string text = summary(result);
    for (const verdict level : {verdict::fail, verdict::warn}) {
        for (const finding& one : result.findings) {
            if (one.verdict == level) text += "\n" + in_full(one);
        }
    }
    std::string_view group;
    for (const finding& one : result.findings) {
        if (one.group != group) text += fmt::format("\n{}\n", one.group);
        group = one.group;
        text += in_one_line(one);
    }
    const bool has_settings = std::ranges::any_of(
        result.findings, [](const finding& one) { return one.setting.has_value(); });
    if (has_settings) text += "\nquoit doctor --fix prints the sysctls as a file.\n";
    return text;
}

std::string to_sysctl_file(const doctor_result& result) {
    std::string text = fmt::format(
        "# What quoit doctor ({}) would have mended on this machine.\n"
        "# Save it as /etc/sysctl.d/90-quoit.conf and run: "
        "sysctl --system\n",
        version_string);
    // Two findings may want more of the same: the larger mends both.
    std::map<std::string, std::string> settings;
    for (const finding& one : result.findings) {
        if (!one.setting) continue;
        std::string& value = settings[one.setting->name];
        if (is_less(value, one.setting->value)) value = one.setting->value;
    }
    bool has_others = false;
    for (const finding& one : result.findings) {
        if (!one.setting) {
            has_others = has_others || one.verdict == verdict::warn || one.verdict == verdict::fail;
            continue;
        }
        const auto kept = settings.find(one.setting->name);
        if (kept == settings.end() || kept->second != one.setting->value) continue;
        text += "\n" + commented(fmt::format("{} is {}. {}", one.name, one.current, one.why));
        if (!one.caution.empty()) text += commented(one.caution);
        text += fmt::format("{} = {}\n", kept->first, kept->second);
        settings.erase(kept);
    }
    const auto is_unread = [](const finding& one) {
        return is_sysctl(one) && one.verdict == verdict::unknown;
    };
    if (std::ranges::any_of(result.findings, is_unread)) {
        text += "\n# Not readable here, so neither well nor mended:\n";
        for (const finding& one : result.findings) {
            if (is_unread(one)) text += listed(one.name);
        }
    } else if (std::ranges::none_of(result.findings,
                                    [](const finding& one) { return one.setting.has_value(); })) {
        text += "\n# Nothing to mend: no sysctl is too small.\n";
    }
    if (!has_others) return text;
    text += "\n# No sysctls, so not mended here:\n";
    for (const finding& one : result.findings) {
        if (one.setting || (one.verdict != verdict::warn && one.verdict != verdict::fail)) continue;
        const std::string words = fmt::format("{}: {}{}", one.name, one.current,
                                              one.remedy.empty() ? "" : "; " + one.remedy);
        text += listed(words);
    }
    return text;
}

}  // namespace quoit::program
