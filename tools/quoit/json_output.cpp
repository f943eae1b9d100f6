// SPDX-License-Identifier: MIT
#include "json_output.hpp"

#include "failure.hpp"
#include "units.hpp"

#include <cerrno>
#include <cstddef>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace quoit::program {

namespace {

[[noreturn]] void fail(const std::string& name, int error) {
    throw run_error("--json " + quoted(name) +
                    ": cannot be written: " + std::generic_category().message(error));
}

}  // namespace

json_output::json_output(std::string name) : name_(std::move(name)) {
    if (!is_wanted() || is_standard_output()) return;
    constexpr int flags = O_WRONLY | O_CREAT | O_CLOEXEC;
    constexpr mode_t mode = 0666;
    descriptor_ = ::open(name_.c_str(), flags | O_EXCL, mode);
    is_new_ = descriptor_ >= 0;
    if (!is_new_ && errno == EEXIST) descriptor_ = ::open(name_.c_str(), flags, mode);
    if (descriptor_ < 0) fail(name_, errno);
}

json_output::~json_output() {
    if (descriptor_ < 0) return;
    ::close(descriptor_);
    if (is_new_) ::unlink(name_.c_str());
}

void json_output::write(std::string_view text) {
    if (!is_wanted()) return;
    const int to = is_standard_output() ? STDOUT_FILENO : descriptor_;
    const std::string line = std::string(text) + '\n';
    is_new_ = false;
    struct stat status{};
    const bool is_file =
        !is_standard_output() && ::fstat(to, &status) == 0 && S_ISREG(status.st_mode);
    if (is_file && ::ftruncate(to, 0) != 0) fail(name_, errno);
    for (std::size_t written = 0; written < line.size();) {
        const ssize_t n = ::write(to, line.data() + written, line.size() - written);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail(name_, errno);
        written += static_cast<std::size_t>(n);
    }
}

}  // namespace quoit::program
