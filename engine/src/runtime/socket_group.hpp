// SPDX-License-Identifier: MIT
//
// socket_group::implementation: sockets that share ports, member by member, until ports take them.
#pragma once

#include "net/udp_socket.hpp"

#include <quoit/socket_group.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace quoit {

class socket_group::implementation {
  public:
    using sockets = std::vector<detail::udp_socket>;

    /// `first` is bound already; the others are bound to what it has. All or none.
    [[nodiscard]] static result<std::unique_ptr<implementation>> create(
        sockets first, const udp_options& options, const socket_group_options& how);

    [[nodiscard]] std::size_t size() const noexcept { return members_.size(); }
    [[nodiscard]] std::span<const address> local_addresses() const noexcept { return locals_; }
    [[nodiscard]] const udp_options& options() const noexcept { return options_; }
    [[nodiscard]] quoit::steering steering() const noexcept { return steering_; }
    [[nodiscard]] const std::string& steering_reason() const noexcept { return reason_; }
    [[nodiscard]] bool is_shared_with_others() const noexcept { return is_shared_; }

    [[nodiscard]] bool is_open() const noexcept { return counter_.use_count() > 1; }
    [[nodiscard]] bool is_taken(std::size_t member) const noexcept {
        return members_[member].empty();
    }
    [[nodiscard]] sockets take(std::size_t member) noexcept;
    std::uint64_t close(std::size_t member) noexcept;

  private:
    explicit implementation(const udp_options& options) : options_(options) {}
    void steer(const socket_group_options& how);
    void detach_what_others_attached();

    udp_options options_;
    std::vector<address> locals_;
    std::vector<sockets> members_;                                    // empty: taken
    std::shared_ptr<const void> counter_ = std::make_shared<char>();  // each open socket has it too
    quoit::steering steering_ = quoit::steering::hash;
    std::string reason_;
    bool is_shared_ = false;
};

}  // namespace quoit
