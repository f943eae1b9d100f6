// SPDX-License-Identifier: MIT
//
// What the files about sockets share: integer options, and errors that say of which address.
#pragma once

#include "net/system.hpp"

#include <quoit/address.hpp>
#include <quoit/error.hpp>

#include <string>

namespace quoit::detail {

[[nodiscard]] inline std::unexpected<error> system_failure(int negative_errno, std::string what) {
    return failure(std::error_code(-negative_errno, std::system_category()), std::move(what));
}
[[nodiscard]] inline std::unexpected<error> system_failure(int negative_errno, const char* what,
                                                           const address& where) {
    return system_failure(negative_errno, std::string(what) + " " + where.to_string());
}

/// 0, or a negated errno.
[[nodiscard]] inline int set_int(int fd, int level, int name, int value) noexcept {
    return system::set_option(fd, level, name, &value, sizeof value);
}

/// 0 also when there is no such option.
[[nodiscard]] inline int get_int(int fd, int level, int name) noexcept {
    int value = 0;
    socklen_t size = sizeof value;
    const int error = system::get_option(fd, level, name, &value, &size);
    return error < 0 ? 0 : value;
}

/// Sets options one after the other; the first that fails decides.
class option_setter {
  public:
    explicit option_setter(int fd) noexcept : fd_(fd) {}
    void set(int level, int name, int value) noexcept {
        if (error_ == 0) error_ = set_int(fd_, level, name, value);
    }
    /// For what old kernels do not know and nobody asked for.
    void try_set(int level, int name, int value) const noexcept {
        [[maybe_unused]] const int error = set_int(fd_, level, name, value);
    }
    /// 0, or a negated errno.
    [[nodiscard]] int error() const noexcept { return error_; }

  private:
    int fd_;
    int error_ = 0;
};

}  // namespace quoit::detail
