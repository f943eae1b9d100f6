// SPDX-License-Identifier: MIT
#include <quoit/unix_address.hpp>

#include <ostream>

namespace quoit {

namespace {

constexpr std::string_view unnamed_text = "unnamed";
constexpr std::string_view hex_digits = "0123456789abcdef";

// What would end a line or be invisible. Bytes above 0x7f are UTF-8 as likely as not.
bool is_printable(char c) noexcept {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte != 0x7f;
}

void append_hex(std::string& text, char c) {
    const auto byte = static_cast<unsigned char>(c);
    text += "\\x";
    text += hex_digits[byte >> 4U];
    text += hex_digits[byte & 0xfU];
}

void append_escaped(std::string& text, std::string_view name) {
    for (const char c : name) {
        if (c == '\\') {
            text += "\\\\";
        } else if (is_printable(c)) {
            text += c;
        } else {
            append_hex(text, c);
        }
    }
}

std::unexpected<error> refused(std::string_view text, const char* expected) {
    return failure(errc::invalid_address,
                   '"' + std::string(text) + "\" is no UNIX address, expected " + expected);
}

// Writes the bytes that the text stands for; false at an escape that is none.
bool unescape(std::string_view text, std::string& into) {
    while (!text.empty()) {
        const char c = text.front();
        text.remove_prefix(1);
        if (c != '\\') {
            into += c;
            continue;
        }
        if (text.starts_with('\\') || text.starts_with('@')) {
            into += text.front();
            text.remove_prefix(1);
            continue;
        }
        if (text.size() < 3 || text.front() != 'x') return false;
        const std::size_t high = hex_digits.find(text[1]);
        const std::size_t low = hex_digits.find(text[2]);
        if (high == hex_digits.npos || low == hex_digits.npos) return false;
        into += static_cast<char>(high << 4U | low);
        text.remove_prefix(3);
    }
    return true;
}

}  // namespace

std::string unix_address::to_string() const {
    if (is_unnamed()) return std::string(unnamed_text);
    std::string text;
    std::string_view rest = name();
    if (is_abstract()) {
        text += '@';
    } else if (rest.starts_with('@')) {
        text += '\\';
    } else if (rest == unnamed_text) {
        append_hex(text, rest.front());
        rest.remove_prefix(1);
    }
    append_escaped(text, rest);
    if (size_ > size_max) text += "...";
    return text;
}

result<unix_address> unix_address::parse(std::string_view text) {
    if (text.empty()) return refused(text, "a path, @NAME or \"unnamed\"");
    if (text == unnamed_text) return unix_address();
    const bool is_abstract = text.starts_with('@');
    std::string name;
    if (!unescape(text.substr(is_abstract ? 1 : 0), name)) {
        return refused(text,
                       R"("\\", "\@" or "\xHH" with two lower-case digits behind a backslash)");
    }
    if (!is_abstract && name.find('\0') != name.npos) return refused(text, "a path without NUL");
    const unix_address made = is_abstract ? abstract(name) : unix_address(name);
    if (!made.is_valid()) return refused(text, "at most 108 bytes, 107 after an @");
    return made;
}

std::ostream& operator<<(std::ostream& out, const unix_address& a) { return out << a.to_string(); }

}  // namespace quoit
