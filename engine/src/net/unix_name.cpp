// SPDX-License-Identifier: MIT
#include "net/unix_name.hpp"

#include <algorithm>
#include <cstring>

namespace quoit::detail {

namespace {

constexpr std::size_t path_offset = offsetof(sockaddr_un, sun_path);

}  // namespace

unix_name::unix_name(const unix_address& from) noexcept : any_{} {
    any_.name = {};
    any_.name.sun_family = AF_UNIX;
    const std::string_view bytes = from.kernel_name();
    std::memcpy(any_.name.sun_path, bytes.data(), bytes.size());
    const bool has_nul = from.is_path() && bytes.size() < sizeof any_.name.sun_path;
    size_ = static_cast<socklen_t>(path_offset + bytes.size() + (has_nul ? 1 : 0));
}

std::optional<unix_address> from_unix_name(std::span<const std::byte> name) noexcept {
    sa_family_t family = AF_UNSPEC;
    if (name.empty()) return unix_address();
    if (name.size() < sizeof family) return std::nullopt;
    std::memcpy(&family, name.data(), sizeof family);
    if (family != AF_UNIX) return std::nullopt;
    const auto bytes = name.subspan(path_offset);
    std::string_view text(reinterpret_cast<const char*>(bytes.data()),
                          std::min(bytes.size(), unix_address::size_max));
    if (!text.starts_with('\0')) text = text.substr(0, text.find('\0'));
    return unix_address(text);
}

}  // namespace quoit::detail
