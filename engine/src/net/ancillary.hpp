// SPDX-License-Identifier: MIT
//
// Descriptors and credentials beside a UNIX datagram: SCM_RIGHTS and SCM_CREDENTIALS (unix(7)).
//
// Received descriptors are this process's from the moment the kernel has written the message,
// whether anybody looks at it or not, so exactly one of take_descriptors() and close_descriptors()
// must be called for every buffer that may hold some. Who does is decided in one place: the pool
// that takes the buffer back (backend/buffer_pool.hpp).
//
// The walk over the control messages trusts no length, as that of net/control_message.hpp.
#pragma once

#include <quoit/error.hpp>
#include <quoit/file_descriptor.hpp>
#include <quoit/unix_options.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace quoit::detail {

/// Bytes of control buffer for so many descriptors and, if asked for, credentials.
[[nodiscard]] std::uint32_t ancillary_size_for(const unix_options& options) noexcept;

void close_descriptors(std::span<const std::byte> control) noexcept;
[[nodiscard]] std::vector<file_descriptor> take_descriptors(std::span<const std::byte> control);
[[nodiscard]] std::optional<credentials> find_credentials(
    std::span<const std::byte> control) noexcept;

/// What a datagram that waits to be sent keeps: descriptors of its own, closed with it, and the
/// control messages that name them.
class outgoing_ancillary {
  public:
    /// Null when there is nothing to send. Errors: the kernel's (a descriptor that is none, too
    /// many open); errc::invalid_option for more than 253.
    [[nodiscard]] static result<std::unique_ptr<outgoing_ancillary>> create(const ancillary& with);

    [[nodiscard]] std::span<const std::byte> control() const noexcept { return control_; }

  private:
    outgoing_ancillary() = default;
    std::vector<file_descriptor> descriptors_;
    std::vector<std::byte> control_;
};

}  // namespace quoit::detail
