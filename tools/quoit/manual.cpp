// SPDX-License-Identifier: MIT
#include "manual.hpp"

#include <quoit/version.hpp>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

namespace quoit::program {

namespace {

// What troff would take for its own: a backslash, a dot or an apostrophe that begins a line. A plain
// hyphen may be typeset as something that cannot be pasted.
std::string escaped(std::string_view text) {
    std::string out;
    bool is_line_start = true;
    for (const char letter : text) {
        if (is_line_start && (letter == '.' || letter == '\'')) out += "\\&";
        is_line_start = letter == '\n';
        if (letter == '\\') {
            out += "\\e";
        } else if (letter == '-') {
            out += "\\-";
        } else {
            out += letter;
        }
    }
    return out;
}

// Lines stay as they are: these texts have tables and examples.
std::string block(std::string_view text) {
    return fmt::format(".PP\n.nf\n{}\n.fi\n", escaped(text));
}

std::string option_entry(const CLI::Option& option) {
    std::string names;
    for (const auto& [list, dashes] :
         {std::pair(&option.get_snames(), "-"), std::pair(&option.get_lnames(), "--")}) {
        for (const std::string& name : *list) {
            if (!names.empty()) names += ", ";
            names += fmt::format("\\fB{}\\fR", escaped(dashes + name));
        }
    }
    std::string entry = ".TP\n" + names;
    if (const std::string value = option.get_type_name(); !value.empty()) {
        entry += fmt::format(" \\fI{}\\fR", escaped(value));
    }
    entry += '\n' + escaped(option.get_description());
    if (option.get_required()) entry += " (required)";
    if (!option.get_default_str().empty()) {
        entry += escaped(fmt::format(" (default: {})", option.get_default_str()));
    }
    return entry + '\n';
}

std::string options_of(const CLI::App& app) {
    std::string text;
    // An option without a group is hidden.
    for (const CLI::Option* option :
         app.get_options([](const CLI::Option* one) { return !one->get_group().empty(); })) {
        text += option_entry(*option);
    }
    return text;
}

struct leaf {
    std::string name;
    const CLI::App* app;
};

// The subcommands that have none of their own, as they are called: "quoit packets serve".
void add_leaves(const CLI::App& app, const std::string& name, std::vector<leaf>& to) {
    const auto below = app.get_subcommands([](const CLI::App*) { return true; });
    for (const CLI::App* one : below)
        add_leaves(*one, name + ' ' + one->get_name(), to);
    if (below.empty()) to.push_back({name, &app});
}

}  // namespace

std::string manual_page(const CLI::App& app) {
    std::vector<leaf> leaves;
    add_leaves(app, app.get_name(), leaves);

    // "quoit: a UDP datagram engine for Linux. An echo server ...": the first sentence is the title.
    const std::string description = app.get_description();
    std::string title = description.substr(0, description.find(". "));
    title.erase(0, std::min(title.size(), app.get_name().size() + 2));

    std::string page =
        fmt::format(".TH QUOIT 1 \"\" \"quoit {}\" \"User Commands\"\n", version_string);
    page += ".nh\n.ad l\n";  // no hyphens that nobody wrote, no stretched lines
    page += fmt::format(".SH NAME\nquoit \\- {}\n", escaped(title));
    page += ".SH SYNOPSIS\n";
    for (const leaf& one : leaves) {
        page += fmt::format("\\fB{}\\fR [\\fIOPTIONS\\fR]\n.br\n", escaped(one.name));
    }
    page += fmt::format(".SH DESCRIPTION\n{}\n", escaped(description));
    page += block(app.get_footer());
    page += ".SH OPTIONS\n" + options_of(app);
    page += ".SH COMMANDS\n";
    for (const leaf& one : leaves) {
        page += fmt::format(".SS {}\n{}\n", escaped(one.name), escaped(one.app->get_description()));
        page += options_of(*one.app) + block(one.app->get_footer());
    }
    return page;
}

}  // namespace quoit::program
