// SPDX-License-Identifier: MIT
//
// udp_socket: one UDP socket, opened as the options say. Knows nothing of loops or buffers.
//
// What is set on every socket, and why:
//   SOCK_NONBLOCK | SOCK_CLOEXEC   sockets are ours; MSG_DONTWAIT is passed all the same
//   IPV6_V6ONLY = 1                an IPv6 socket takes IPv6 only, whatever the sysctl says
//   IP_RECVERR = 0                 on an unconnected socket one dead peer's ICMP would fail the
//   next
//                                  send to a healthy one (measured on Linux 6.18)
//   UDP_GRO                        on for offload::on, off for the others: whoever opens a socket
//                                  knows its buffers, and has decided what `automatic` means
//
// Threads: any, one at a time. Errors: the kernel's errno, with "listen 127.0.0.1:9999" or
// "connect ..." as context.
#pragma once

#include <quoit/address.hpp>
#include <quoit/error.hpp>
#include <quoit/file_descriptor.hpp>
#include <quoit/options.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace quoit::detail {

class udp_socket {
  public:
    udp_socket() noexcept = default;

    /// Bound to `where`; port 0: the kernel's choice. An address that is in use is tried again for
    /// 50 ms: after kill -9 of a process with a ring its port is free about 7.5 ms later (measured
    /// on Linux 6.18), and a server that is restarted should not fail over that.
    [[nodiscard]] static result<udp_socket> listen(const address& where,
                                                   const udp_options& options);
    /// The first of several on one port (SO_REUSEPORT, whatever options.reuse_port says). It is
    /// bound without that option and SO_REUSEADDR, which it gets afterwards: so nobody else has the
    /// port then. With reuse_port, one that others share is shared with them; port 0 never is.
    [[nodiscard]] static result<udp_socket> listen_first(const address& where,
                                                         const udp_options& options);
    /// Connected to `peer`: the kernel lets nobody else in.
    [[nodiscard]] static result<udp_socket> connect(const address& peer,
                                                    const udp_options& options);

    /// A UDP socket that somebody else opened, with the name and peer it has; bound if it was not.
    /// `shared`: others use it too. apply() is still to be called.
    /// Errors: see port::adopt.
    [[nodiscard]] static result<udp_socket> adopt(file_descriptor fd, ownership how);
    /// Sets the options, of an adopted socket also those that are off by default.
    [[nodiscard]] status apply(const udp_options& options);

    /// Of an open socket. The kernel keeps the source address of its first connection, so one that
    /// is bound to every interface is disconnected in between, and drops what others send it then
    /// (net/peer_filter.hpp; not if it is shared or has a filter of somebody's). After a failure
    /// the former peer, if there was one, is peer() still.
    [[nodiscard]] status connect_to(const address& peer);
    /// Keeps the port number: one that the kernel chose is given up with the peer (Linux
    /// net/ipv4/udp.c, __udp_disconnect) and is bound again here.
    [[nodiscard]] status disconnect();
    /// SO_ERROR: what the socket would report next, which is thereby reported. 0: nothing.
    [[nodiscard]] int take_error() noexcept;
    /// A UNIX datagram socket that net/unix_socket.hpp opened: what any datagram socket can do.
    [[nodiscard]] static udp_socket of_unix(file_descriptor fd, std::uint32_t receive_buffer_asked,
                                            std::uint32_t send_buffer_asked) noexcept;

    [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }
    [[nodiscard]] bool is_open() const noexcept { return fd_.is_open(); }
    [[nodiscard]] const address& local() const noexcept { return local_; }
    [[nodiscard]] const std::optional<address>& peer() const noexcept { return peer_; }
    /// Of listen_first(): others had the port already.
    [[nodiscard]] bool shares_with_others() const noexcept { return shares_with_others_; }
    /// Keeps `counter` until it is closed: its use count says whether it is open.
    void count_with(std::shared_ptr<const void> counter) noexcept { counted_ = std::move(counter); }
    /// UDP_GRO is on: messages may be trains.
    [[nodiscard]] bool has_gro() const noexcept { return has_gro_; }

    [[nodiscard]] buffer_sizes buffers() const;
    [[nodiscard]] status set_broadcast(bool allowed) noexcept;
    [[nodiscard]] bool broadcast() const noexcept;

    /// Datagrams (coalesced: trains) the kernel dropped since this socket was opened, its buffer
    /// being full; 0 when closed. SO_MEMINFO, since Linux 4.12.
    [[nodiscard]] std::uint64_t kernel_drops() const noexcept;

    struct drained {
        std::uint64_t datagrams = 0;
        std::uint64_t kernel_drops = 0;
    };
    /// Counts exactly what nobody will read, then closes: a filter makes what still arrives count
    /// as dropped (BPF `ret 0`, measured on Linux 6.18), what is queued is taken out and counted.
    /// Of a shared socket nothing is taken, and it is left without a filter: it is others' too.
    /// A UNIX socket is shut instead (senders are told, EPIPE): a filter goes on swallowing what is
    /// sent to it after it has been closed, and connected peers never learn that it is gone
    /// (measured on Linux 6.18).
    /// REQUIRES: no backend receives from it any more.
    drained drain_and_close() noexcept;

  private:
    [[nodiscard]] static result<udp_socket> open(const address& where, const udp_options& options,
                                                 bool is_server);
    /// Tries again while the address is in use, until `patience` has passed.
    [[nodiscard]] static result<udp_socket> listen_for(const address& where,
                                                       const udp_options& options,
                                                       std::chrono::milliseconds patience);
    [[nodiscard]] int set_options(const udp_options& options) noexcept;
    void reset_options() noexcept;
    [[nodiscard]] int read_local_name() noexcept;
    void read_peer_name() noexcept;
    [[nodiscard]] int bind_to(const address& where) noexcept;
    enum class after : std::uint8_t { nothing, disconnecting };
    [[nodiscard]] status change_peer(const address& peer, after what);
    [[nodiscard]] status remove_peer();
    [[nodiscard]] bool has_peer_filter() const noexcept;
    void remove_filter() noexcept;
    [[nodiscard]] int connect_once(const address& peer) noexcept;
    [[nodiscard]] int drop_what_arrives() noexcept;

    file_descriptor fd_;
    std::shared_ptr<const void> counted_;  // until it is closed
    address local_;
    address bound_;  // what it was bound to; unspecified: the kernel's choice when it connected
    std::optional<address> peer_;
    std::uint32_t receive_buffer_asked_ = 0;
    std::uint32_t send_buffer_asked_ = 0;
    std::uint32_t drops_before_ = 0;  // of an adopted socket
    bool has_gro_ = false;
    bool is_adopted_ = false;
    bool is_shared_ = false;
    bool is_unix_ = false;
    bool shares_with_others_ = false;
};

/// The descriptor, or another of the same socket, as `how` says. ownership::take: it is closed when
/// the result is dropped. Errors: EBADF.
[[nodiscard]] result<file_descriptor> take_descriptor(int fd, ownership how);

/// The most the kernel grants (twice net.core.rmem_max or wmem_max), in bytes; 0: unknown.
[[nodiscard]] std::uint32_t granted_buffer_max(const char* sysctl);

}  // namespace quoit::detail
