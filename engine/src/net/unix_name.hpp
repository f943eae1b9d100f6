// SPDX-License-Identifier: MIT
//
// quoit::unix_address <-> struct sockaddr_un.
//
// Lengths are the kernel's: of a path the NUL that ends it is counted when there is room for one,
// of an abstract name it is not. A path of 108 bytes comes back with a length of 111, one more than
// the struct has (measured on Linux 6.18), so the bytes there are decide, not the length.
#pragma once

#include <quoit/unix_address.hpp>

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <optional>
#include <span>

namespace quoit::detail {

class unix_name {
  public:
    /// Not initialised: for the kernel to fill, or to be assigned to.
    unix_name() noexcept {}
    /// REQUIRES: from.is_valid().
    explicit unix_name(const unix_address& from) noexcept;

    [[nodiscard]] const sockaddr* get() const noexcept { return &any_.base; }
    [[nodiscard]] sockaddr* get() noexcept { return &any_.base; }
    [[nodiscard]] socklen_t size() const noexcept { return size_; }
    static constexpr socklen_t size_max = sizeof(sockaddr_un);

  private:
    union {
        sockaddr base;
        sockaddr_un name;
    } any_;
    socklen_t size_ = 0;
};

/// As the kernel returns it: a family at most.
[[nodiscard]] constexpr bool is_unnamed(std::span<const std::byte> name) noexcept {
    return name.size() <= offsetof(sockaddr_un, sun_path);
}
/// Of no bytes: unnamed. Nothing when they are no UNIX address.
[[nodiscard]] std::optional<unix_address> from_unix_name(std::span<const std::byte> name) noexcept;

}  // namespace quoit::detail
