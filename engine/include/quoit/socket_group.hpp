// SPDX-License-Identifier: MIT
//
// socket_group: the sockets of several ports at one place, opened all together or not at all. The
// kernel spreads what arrives over them (SO_REUSEPORT), so each port can have a thread of its own.
//
//   auto group = or_throw(quoit::socket_group::open(where, {}, {.size = 4}));
//   auto endpoint = or_throw(port.open(group, 2));    // on the thread of the third port
//
// What it knows of the kernel:
//   - The members' order is the order in which they were bound, and what a steering program returns
//     is an index into it; without a program, or for an index that there is not, the flow's hash
//     decides (Linux net/core/sock_reuseport.c, reuseport_select_sock).
//   - When a member closes, the last one takes its index: steering then sends its share there
//     (reuseport_detach_sock; measured on Linux 6.18). By hash too most flows get another socket
//     when one comes or goes: the index is a share of the hash (measured: 164 of 309 flows of
//     members that stayed).
//   - A steering program belongs to all sockets of the address, those too that come later, and
//     outlives the one it was attached to; it counts only those that there were.
//   - Asked for port 0, the kernel may choose one that other sockets of the same user share already
//     (measured on Linux 6.18: 5652 of 19 992). Therefore the first member is bound without
//     SO_REUSEPORT, which it gets afterwards: nobody else has what port 0 becomes, and of another
//     one it is known whether somebody shares it. That is so when it is opened: later the kernel
//     may give it to sockets of the same user that ask for port 0 with SO_REUSEPORT.
//
// What arrives between opening and port::open() waits in the socket's buffer.
//
// Threads: opening and closing by one thread; members may be taken by several threads at once, each
// by one. Ownership: what was not taken is closed with the group.
// Errors: as port::open(), told of the first member that failed.
#pragma once

#include <quoit/address.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace quoit {

/// Which of the sockets that share a port gets a datagram. All but `hash` are classic BPF programs
/// (SO_ATTACH_REUSEPORT_CBPF, since Linux 4.5); where they cannot be had it is `hash`, and
/// socket_group::steering_reason() says why.
enum class steering : std::uint8_t {
    hash,    ///< by the flow (addresses and ports), as the kernel does by itself: a flow stays with
             ///< one socket until a socket comes or goes, when most flows move
    by_cpu,  ///< the socket of the CPU on which the kernel handles the packet: with the card's
             ///< queues spread over the CPUs nothing crosses from one to another. A flow stays as
             ///< long as its packets are handled by one CPU
    random,  ///< any, each time: an even load from few flows. The datagrams of one flow go to all
             ///< sockets, and nothing keeps their order
};

/// "hash", "by_cpu", "random".
[[nodiscard]] constexpr std::string_view to_string(steering how) noexcept {
    switch (how) {
        case steering::hash: return "hash";
        case steering::by_cpu: return "by_cpu";
        case steering::random: return "random";
    }
    return "?";
}

struct socket_group_options {
    /// Members, 1..1024.
    std::size_t size = 1;
    quoit::steering steering = quoit::steering::hash;
    /// steering::by_cpu: the CPU of each member, as many as there are. What other CPUs handle is
    /// spread by their number.
    std::span<const int> cpus{};
};

static_assert(await_safe<socket_group_options>);

class socket_group {
  public:
    static constexpr std::size_t size_max = 1024;

    /// One socket per member and address. With options.reuse_port on, a port that others share
    /// (sockets of the same user, all with SO_REUSEPORT) may be shared with them. Steering is then
    /// `hash`, because the indices would be theirs, and for all of them: a program that somebody
    /// attached is detached. Before Linux 5.3 it cannot be and stays in force; steering_reason()
    /// says so. Without reuse_port a port in use is an error. listen_multiple: invalid_option.
    [[nodiscard]] static result<socket_group> open(std::span<const address> where,
                                                   const udp_options& options,
                                                   const socket_group_options& how);
    /// As port::open_every_interface(): both families on one port number.
    [[nodiscard]] static result<socket_group> open_every_interface(std::uint16_t port_number,
                                                                   const udp_options& options,
                                                                   const socket_group_options& how);
    socket_group(socket_group&& other) noexcept;
    socket_group& operator=(socket_group&& other) noexcept;
    ~socket_group();

    [[nodiscard]] std::size_t size() const noexcept;
    /// The same for each member.
    [[nodiscard]] std::span<const address> local_addresses() const noexcept;
    /// What is in force, and why it is not what was asked for, or not surely (empty when it is).
    [[nodiscard]] quoit::steering steering() const noexcept;
    [[nodiscard]] const std::string& steering_reason() const noexcept;
    /// Somebody else shared the port when it was opened, and gets a part of what arrives.
    [[nodiscard]] bool is_shared_with_others() const noexcept;

    /// Whether a socket of this group is open: here, or in a port that took it. Any thread.
    [[nodiscard]] bool is_open() const noexcept;
    /// Whether port::open() has taken this member, or close() has closed it. REQUIRES: member <
    /// size().
    [[nodiscard]] bool is_taken(std::size_t member) const noexcept;
    /// Closes a member that was not taken. Returns how many datagrams were waiting in it, or had
    /// been dropped by the kernel. REQUIRES: member < size().
    std::uint64_t close(std::size_t member) noexcept;

  private:
    friend class port;
    class implementation;
    explicit socket_group(std::unique_ptr<implementation> made) noexcept;
    std::unique_ptr<implementation> implementation_;
};

}  // namespace quoit
