// SPDX-License-Identifier: MIT
#include "runtime/socket_group.hpp"

#include "net/steering_program.hpp"
#include "runtime/check_options.hpp"
#include "runtime/open_sockets.hpp"
#include "runtime/socket_options.hpp"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace quoit {

namespace {

using detail::udp_socket;
using sockets = std::vector<udp_socket>;

result<void> check(const udp_options& options, const socket_group_options& how) {
    if (options.listen_multiple) {
        return failure(errc::invalid_option,
                       "listen_multiple: each listener gets everything, and a group spreads it");
    }
    if (how.size == 0 || how.size > socket_group::size_max) {
        return failure(errc::invalid_option, "size of " + std::to_string(how.size));
    }
    if (how.steering == steering::by_cpu && how.cpus.size() != how.size) {
        return failure(errc::invalid_option, "cpus of " + std::to_string(how.cpus.size()) +
                                                 " members, of " + std::to_string(how.size));
    }
    return detail::check(options);
}

bool shares_with_others(const sockets& opened) {
    return std::ranges::any_of(opened, &udp_socket::shares_with_others);
}

}  // namespace

// --- implementation ---

result<std::unique_ptr<socket_group::implementation>> socket_group::implementation::create(
    sockets first, const udp_options& options, const socket_group_options& how) {
    std::unique_ptr<implementation> made(new implementation(options));
    made->is_shared_ = shares_with_others(first);
    for (const udp_socket& one : first)
        made->locals_.push_back(one.local());
    made->members_.push_back(std::move(first));
    udp_options sharing = options;
    sharing.reuse_port = true;
    while (made->members_.size() < how.size) {
        auto next = detail::listen_on_all(made->locals_, sharing, detail::for_server_socket);
        if (!next) return std::unexpected(next.error());
        made->members_.push_back(*std::move(next));
    }
    for (sockets& member : made->members_) {
        for (udp_socket& one : member)
            one.count_with(made->counter_);
    }
    made->steer(how);
    return made;
}

void socket_group::implementation::steer(const socket_group_options& how) {
    if (is_shared_ && how.steering != quoit::steering::hash) {
        reason_ = "others share the port, and its sockets are numbered together";
    }
    if (is_shared_) detach_what_others_attached();
    if (is_shared_ || how.steering == quoit::steering::hash) return;
    // The kernel has no group to attach it to yet, and there is nothing to choose.
    if (how.size == 1) {
        steering_ = how.steering;
        return;
    }
    const auto program = how.steering == quoit::steering::by_cpu
                             ? detail::steering_program::by_cpu(how.cpus)
                             : detail::steering_program::random(how.size);
    // One for each address: sockets of one address are one group to the kernel.
    const sockets& first = members_.front();
    for (std::size_t i = 0; i < first.size(); ++i) {
        const int error = program.attach_to(first[i].descriptor());
        if (error == 0) continue;
        while (i-- > 0)
            (void)detail::steering_program::detach_from(first[i].descriptor());
        reason_ = "the kernel refuses SO_ATTACH_REUSEPORT_CBPF (Linux 4.5): " +
                  std::system_category().message(-error);
        return;
    }
    steering_ = how.steering;
}

// A program is the group's, and would leave out those that came after it was made: the others'
// outlives the socket it was attached to.
void socket_group::implementation::detach_what_others_attached() {
    for (const udp_socket& one : members_.front()) {
        const int error = detail::steering_program::detach_from(one.descriptor());
        const bool had_none = error == -ENOENT || error == -EINVAL;  // EINVAL: alone at its address
        if (error == 0 || had_none) continue;
        reason_ =
            "others share the port, and a program of theirs could not be detached (Linux 5.3): " +
            std::system_category().message(-error);
    }
}

sockets socket_group::implementation::take(std::size_t member) noexcept {
    return std::exchange(members_[member], {});
}

std::uint64_t socket_group::implementation::close(std::size_t member) noexcept {
    std::uint64_t lost = 0;
    for (udp_socket& one : take(member)) {
        const udp_socket::drained counted = one.drain_and_close();
        lost += counted.datagrams + counted.kernel_drops;
    }
    return lost;
}

// --- quoit/socket_group.hpp ---

socket_group::socket_group(std::unique_ptr<implementation> made) noexcept
    : implementation_(std::move(made)) {}
socket_group::socket_group(socket_group&& other) noexcept = default;
socket_group& socket_group::operator=(socket_group&& other) noexcept = default;
socket_group::~socket_group() = default;

result<socket_group> socket_group::open(std::span<const address> where, const udp_options& options,
                                        const socket_group_options& how) {
    if (auto checked = check(options, how); !checked) return std::unexpected(checked.error());
    auto first =
        detail::listen_on_all(where, options, detail::for_server_socket, udp_socket::listen_first);
    if (!first) return std::unexpected(first.error());
    auto made = implementation::create(*std::move(first), options, how);
    if (!made) return std::unexpected(made.error());
    return socket_group(*std::move(made));
}

result<socket_group> socket_group::open_every_interface(std::uint16_t port_number,
                                                        const udp_options& options,
                                                        const socket_group_options& how) {
    if (auto checked = check(options, how); !checked) return std::unexpected(checked.error());
    udp_options wanted = options;
    // The number chosen for one family may be shared by others in the second: then another.
    if (port_number == 0) wanted.reuse_port = false;
    auto first = detail::listen_on_every_interface(port_number, wanted, detail::for_server_socket,
                                                   udp_socket::listen_first);
    if (!first) return std::unexpected(first.error());
    auto made = implementation::create(*std::move(first), options, how);
    if (!made) return std::unexpected(made.error());
    return socket_group(*std::move(made));
}

std::size_t socket_group::size() const noexcept { return implementation_->size(); }
std::span<const address> socket_group::local_addresses() const noexcept {
    return implementation_->local_addresses();
}
steering socket_group::steering() const noexcept { return implementation_->steering(); }
const std::string& socket_group::steering_reason() const noexcept {
    return implementation_->steering_reason();
}
bool socket_group::is_shared_with_others() const noexcept {
    return implementation_->is_shared_with_others();
}
bool socket_group::is_open() const noexcept { return implementation_->is_open(); }
bool socket_group::is_taken(std::size_t member) const noexcept {
    return implementation_->is_taken(member);
}
std::uint64_t socket_group::close(std::size_t member) noexcept {
    return implementation_->close(member);
}

}  // namespace quoit
