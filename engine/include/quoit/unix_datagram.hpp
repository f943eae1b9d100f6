// SPDX-License-Identifier: MIT
//
// unix_datagram: one datagram of a UNIX endpoint, with the descriptors and credentials that came
// with it. A datagram (quoit/datagram.hpp) with another peer; the same lease, the same rules.
//
//   while (auto datagram = co_await server.read()) {
//       for (auto& file : datagram->take_descriptors()) append(file.get(), datagram->text());
//       server.reply(*datagram, "done");
//   }
//
// Ownership: descriptors belong to the datagram until they are taken, and are closed with it. The
// same holds for datagrams that nobody reads. payload() and text() are valid while it lives.
// Thread safety: as datagram: the thread of the loop (or port) it came from.
#pragma once

#include <quoit/datagram.hpp>
#include <quoit/file_descriptor.hpp>
#include <quoit/unix_address.hpp>
#include <quoit/unix_options.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quoit {

class unix_datagram {
  public:
    /// Empty, from nobody.
    unix_datagram() noexcept = default;
    /// For users of a bare port: what port::receive() returned for a UNIX endpoint. Of another
    /// endpoint: a datagram from nobody, with nothing beside its payload.
    explicit unix_datagram(datagram&& received) noexcept : lease_(std::move(received)) {}

    [[nodiscard]] std::span<const std::byte> payload() const& noexcept { return lease_.payload(); }
    [[nodiscard]] std::span<const std::byte> payload() && = delete;
    [[nodiscard]] std::string_view text() const& noexcept { return lease_.text(); }
    [[nodiscard]] std::string_view text() && = delete;
    [[nodiscard]] std::string to_string() const { return lease_.to_string(); }
    /// Bytes of payload; 0 is a datagram all the same.
    [[nodiscard]] std::size_t size() const noexcept { return lease_.size(); }
    [[nodiscard]] bool is_empty() const noexcept { return lease_.is_empty(); }
    /// It was longer than payload_size_max; original_size() says how long.
    [[nodiscard]] bool truncated() const noexcept { return lease_.truncated(); }
    [[nodiscard]] std::size_t original_size() const noexcept { return lease_.original_size(); }

    /// Who sent it; unnamed if it cannot be answered.
    [[nodiscard]] unix_address peer() const noexcept;
    /// The descriptors it brought, in order, close-on-exec; none the second time.
    /// Errors: std::bad_alloc; then they are still the datagram's.
    [[nodiscard]] std::vector<file_descriptor> take_descriptors();
    /// Empty without unix_options::receive_credentials.
    [[nodiscard]] std::optional<quoit::credentials> credentials() const noexcept;
    /// It brought more than there was room for, or than this process may have open: what was cut
    /// off has been closed by the kernel.
    [[nodiscard]] bool ancillary_truncated() const noexcept;

  private:
    datagram lease_;
};

}  // namespace quoit
