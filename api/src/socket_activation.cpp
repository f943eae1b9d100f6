// SPDX-License-Identifier: MIT
#include <quoit/socket_activation.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <system_error>

namespace quoit {

namespace {

constexpr int first_descriptor = 3;  // SD_LISTEN_FDS_START
constexpr std::string_view name_of_the_nameless = "unknown";

struct inheritance {
    pid_t process = 0;  // that it is for; 0: not read yet
    std::vector<inherited_socket> sockets;
    bool had_any = false;
    std::optional<error> why_none;
};

std::mutex mutex;
inheritance here;  // under mutex

std::optional<std::string_view> variable(const char* name) {
    const char* const value = std::getenv(name);
    return value == nullptr ? std::nullopt : std::optional<std::string_view>(value);
}

// The whole text, digits only.
result<std::size_t> number(std::string_view name, std::string_view text, std::size_t value_max) {
    std::size_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, value);
    if (error == std::errc() && stopped == end && value <= value_max) return value;
    return failure(errc::invalid_option, std::string(name) + " is \"" + std::string(text) +
                                             "\", expected a number up to " +
                                             std::to_string(value_max));
}

result<std::vector<std::string>> names_of(std::size_t count) {
    std::vector<std::string> names;
    const auto text = variable("LISTEN_FDNAMES");
    for (std::string_view left = text.value_or(""); text;) {
        const std::size_t size = std::min(left.find(':'), left.size());
        names.emplace_back(left.substr(0, size));
        if (size == left.size()) break;
        left.remove_prefix(size + 1);
    }
    if (names.size() > count && *text != "") {
        return failure(errc::invalid_option, "LISTEN_FDNAMES has " + std::to_string(names.size()) +
                                                 " names and LISTEN_FDS is " +
                                                 std::to_string(count));
    }
    names.resize(count);
    for (std::string& one : names) {
        if (one.empty()) one = name_of_the_nameless;
    }
    return names;
}

bool is_socket(int descriptor) noexcept {
    struct stat found{};
    return ::fstat(descriptor, &found) == 0 && S_ISSOCK(found.st_mode);
}

result<std::vector<inherited_socket>> read_environment(pid_t process) {
    constexpr std::size_t process_number_max = 1U << 22U;  // PID_MAX_LIMIT, <linux/threads.h>
    const auto for_whom = variable("LISTEN_PID");
    const auto how_many = variable("LISTEN_FDS");
    std::vector<inherited_socket> found;
    if (!for_whom || !how_many) return found;
    const auto meant = number("LISTEN_PID", *for_whom, process_number_max);
    if (!meant) return std::unexpected(meant.error());
    if (*meant != static_cast<std::size_t>(process)) return found;
    const auto count = number("LISTEN_FDS", *how_many, inherited_sockets_max);
    if (!count) return std::unexpected(count.error());
    auto names = names_of(*count);
    if (!names) return std::unexpected(names.error());

    // All of them before the first is owned: on an error none is closed.
    const int end = first_descriptor + static_cast<int>(*count);
    for (int one = first_descriptor; one < end; ++one) {
        const int flags = ::fcntl(one, F_GETFD);
        if (flags < 0 || ::fcntl(one, F_SETFD, flags | FD_CLOEXEC) < 0) {
            return failure(
                std::error_code(errno, std::system_category()),
                "LISTEN_FDS is " + std::to_string(*count) + ": descriptor " + std::to_string(one));
        }
    }
    for (std::size_t i = 0; i < *count; ++i) {
        const int one = first_descriptor + static_cast<int>(i);
        if (is_socket(one)) found.emplace_back(file_descriptor(one), std::move((*names)[i]));
    }
    return found;
}

// REQUIRES: the mutex is held.
result<void> read_once() {
    if (const pid_t process = ::getpid(); here.process != process) {
        // In a child of a process that has read them, they are the parent's: its copies stay open.
        for (inherited_socket& of_the_parent : here.sockets)
            static_cast<void>(of_the_parent.descriptor.release());
        here = {};
        here.process = process;
        auto found = read_environment(process);
        if (found) {
            here.sockets = *std::move(found);
            here.had_any = !here.sockets.empty();
        } else {
            here.why_none = found.error();
        }
    }
    if (here.why_none) return std::unexpected(*here.why_none);
    return {};
}

std::string words_for(std::string_view name) {
    std::string words = "take the inherited socket \"" + std::string(name) + "\"";
    if (!here.had_any) return words + ", and none was passed to this process";
    if (here.sockets.empty()) return words + ", and none is left";
    words += " of";
    for (const inherited_socket& one : here.sockets)
        words += " \"" + one.name + "\"";
    return words;
}

}  // namespace

result<std::vector<inherited_socket>> inherited_sockets() {
    const std::scoped_lock lock(mutex);
    if (auto read = read_once(); !read) return std::unexpected(read.error());
    return std::exchange(here.sockets, {});
}

result<file_descriptor> take_inherited_socket(std::string_view name) {
    const std::scoped_lock lock(mutex);
    if (auto read = read_once(); !read) return std::unexpected(read.error());
    const auto found = std::ranges::find(here.sockets, name, &inherited_socket::name);
    if (found == here.sockets.end()) {
        return failure(std::make_error_code(std::errc::no_such_file_or_directory), words_for(name));
    }
    file_descriptor taken = std::move(found->descriptor);
    here.sockets.erase(found);
    return taken;
}

}  // namespace quoit
