// SPDX-License-Identifier: MIT
//
// Options: what can be asked of a loop (or a bare port) and of an endpoint.
//
// Every option struct is a trivially copyable aggregate at namespace scope whose every member has
// an initialiser:
//   - trivial, because GCC 12 destroys a non-trivial aggregate twice when it is written in an
//     expression with co_await (docs/coroutines.md); a static_assert below keeps it so;
//   - at namespace scope, because a nested aggregate with initialisers cannot be a default argument
//     of the class around it;
//   - initialisers everywhere, so that {.reuse_port = true} is clean under -Wextra.
// Designators are written in the order of declaration. A value out of range is refused by the
// function it is given to with errc::invalid_option and the field's name; nothing is clamped.
#pragma once

#include <quoit/address.hpp>
#include <quoit/interface.hpp>
#include <quoit/time.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

namespace quoit {

/// Safe to write in braces inside a co_await expression on GCC 12.
template <class T>
concept await_safe = std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>;

/// How the kernel is asked for datagrams. `automatic` takes io_uring where it works and says why
/// where it does not; a backend that is named is had or is an error.
enum class backend : std::uint8_t { automatic, io_uring, epoll };

/// "automatic", "io_uring", "epoll".
[[nodiscard]] constexpr std::string_view to_string(backend which) noexcept {
    switch (which) {
        case backend::automatic: return "automatic";
        case backend::io_uring: return "io_uring";
        case backend::epoll: return "epoll";
    }
    return "?";
}

/// What happens to a datagram that finds its endpoint's queue full.
enum class when_full : std::uint8_t {
    drop_newest,  ///< it is dropped and counted (receive_stats::drops::queue_full)
    drop_oldest,  ///< the oldest waiting one is dropped and counted, it takes its place
    pause,        ///< nothing is dropped here: the socket is not read until half the queue is free;
                  ///< what a turn had on its way (as many as there are buffers) still comes
};

/// What the threads that turn a port do when there is nothing to do: its own and its workers'.
enum class waiting : std::uint8_t {
    block,      ///< sleep in the kernel until something happens
    busy_poll,  ///< spin: the lowest latency, for the price of a whole core each
};

/// Whether the kernel moves several datagrams at once: what is queued for one peer leaves as one
/// message that the kernel or the network card cuts into datagrams (UDP_SEGMENT, since Linux 4.18),
/// and what was sent like that is received whole (UDP_GRO, since 5.0). Reading and sending stay one
/// datagram at a time, with their own lengths, in order; only the speed tells, and what the kernel
/// drops: a train that finds the socket's buffer full is dropped whole and counted once
/// (stats::is_exact).
enum class offload : std::uint8_t {
    automatic,  ///< both; but where small_buffer_count's buffers are used, which hold no train,
                ///< datagrams are received one by one
    on,         ///< both, whatever payload_size_max is
    off,        ///< neither: the kernel's drops are then exact to the datagram
};

/// "automatic", "on", "off".
[[nodiscard]] constexpr std::string_view to_string(offload which) noexcept {
    switch (which) {
        case offload::automatic: return "automatic";
        case offload::on: return "on";
        case offload::off: return "off";
    }
    return "?";
}

/// What an answer is sent from (reply(), and sending a datagram back to its sender) by an endpoint
/// that is bound to every interface. A client that is connected takes an answer only from the
/// address it wrote to, which is not always the one that the route back would choose.
enum class reply_source : std::uint8_t {
    automatic,  ///< the address the request was sent to; of a request to a group or to everybody,
                ///< the one its interface has for the sender (IPv4) or that the route chooses
                ///< (IPv6). Costs a control message per datagram in either direction (IP_PKTINFO,
                ///< IPV6_PKTINFO); endpoints that are bound to one address pay nothing
    by_route,   ///< what the route back chooses
};

/// What becomes of a descriptor that an endpoint is made of.
enum class ownership : std::uint8_t {
    take,       ///< it is the endpoint's from the call on, even when the call fails: it closes it
    duplicate,  ///< it stays the caller's, who may close it at once or go on using it
};

/// Where worker threads may run.
enum class pinning : std::uint8_t {
    none,    ///< wherever the scheduler likes
    spread,  ///< one CPU each, in turn, of those the process is allowed to use
};

/// Metadata the kernel attaches to each datagram. A set: metadata::timestamp | metadata::tos.
/// Off by default: each costs a control message per datagram.
enum class metadata : std::uint8_t {
    none = 0,
    local_address = 1,  ///< the address it was sent to (IP_PKTINFO, IPV6_RECVPKTINFO); known anyway
                        ///< where reply_source needs it
    timestamp = 2,      ///< when the kernel received it, CLOCK_REALTIME (SO_TIMESTAMPNS)
    tos = 4,            ///< the TOS byte or IPv6 traffic class (IP_RECVTOS, IPV6_RECVTCLASS)
    ttl = 8,            ///< the TTL or IPv6 hop limit on arrival (IP_RECVTTL, IPV6_RECVHOPLIMIT)
};
[[nodiscard]] constexpr metadata operator|(metadata a, metadata b) noexcept {
    return static_cast<metadata>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
[[nodiscard]] constexpr bool contains(metadata set, metadata one) noexcept {
    return (static_cast<unsigned>(set) & static_cast<unsigned>(one)) != 0;
}

enum class log_level : std::uint8_t { debug, info, warning, error };

/// Receives one finished line, without a newline, on whichever thread has something to say. Must
/// not throw. Never called per datagram.
using log_function = void (*)(log_level level, std::string_view line) noexcept;

/// Writes warnings and errors to standard error as "quoit: LINE"; keeps the rest to itself.
void log_to_standard_error(log_level level, std::string_view line) noexcept;

/// The largest UDP payload: 65 507 bytes over IPv4, 65 527 over IPv6 (without jumbograms).
inline constexpr std::uint32_t payload_size_limit = 65'527;

/// What a loop, or a bare port, runs on.
struct loop_options {
    /// See quoit::backend.
    quoit::backend backend = quoit::backend::automatic;
    /// Threads that turn rings, 0..64. 0: the loop's own thread does, and no queue is crossed;
    /// n: a slow handler never stalls a ring.
    std::uint32_t worker_count = 0;
    /// Of the worker threads; see `cpu` for the loop's own.
    quoit::pinning worker_pinning = quoit::pinning::none;
    /// The CPU, 0..1023, that the thread which runs the loop is pinned to, for good, when it first
    /// turns it; -1: not pinned. One that cannot be had is logged.
    int cpu = -1;
    /// What the threads that turn the port do when there is nothing to do. busy_poll needs a CPU
    /// for each of them (worker_count + 1); with fewer they block, and the log says so.
    /// backend::automatic is epoll then: a thread that spins asks its sockets directly
    /// (docs/performance.md).
    quoit::waiting waiting = quoit::waiting::block;
    /// busy_poll: how long to spin before sleeping, up to 1 h; 0: for ever. A few times the usual
    /// gap between datagrams spares the CPU when there are none.
    std::chrono::microseconds spin_time{0};
    /// While waiting, poll the network cards the sockets receive from for up to this long instead
    /// of relying on interrupts (NAPI busy polling: IORING_REGISTER_NAPI and EPIOCSPARAMS, since
    /// Linux 6.9), up to 1 s; 0: do not. capabilities::napi_busy_poll says whether it was had. It
    /// acts while a thread sleeps: one that spins for ever wants socket_busy_poll instead. Loopback
    /// has no card.
    std::chrono::microseconds napi_busy_poll{0};
    /// Receive buffers of 2112 bytes for endpoints whose payload_size_max fits one, per worker.
    /// A power of two, 8..32768.
    std::uint32_t small_buffer_count = 1024;
    /// Receive buffers of 65 856 bytes for all other endpoints, per worker; memory is used as
    /// it is touched: a page for a small datagram, up to 17 for a train. A power of two, 8..32768.
    std::uint32_t large_buffer_count = 256;
    /// Sockets open at once, 1..32768.
    std::uint32_t socket_count_max = 2048;
    /// Where the lines go, from warnings to information about each endpoint that opens and closes.
    /// Never null. What may repeat without end is limited to ten lines of a kind within a second.
    log_function log = log_to_standard_error;
};

/// What an endpoint is. Sizes of 0 mean the default that is named beside them.
struct udp_options {
    /// Clients: where to bind; unspecified: the kernel's choice. Servers take it as an argument.
    address local{};
    /// Names are resolved to, and every interface means, addresses of this family only.
    quoit::family family = quoit::family::unspecified;
    /// Datagrams that wait for a reader, 1..1 048 576; 0: 1024. Where the receive buffers are
    /// fewer, they bound first: with drop_oldest the oldest give way at half of them, otherwise
    /// what they have no room for waits in the kernel, which drops the newest.
    std::uint32_t queue_size_max = 0;
    when_full on_full = when_full::drop_newest;
    /// Bytes, 1..65 527. Longer datagrams are cut, say so, and are counted.
    std::uint32_t payload_size_max = payload_size_limit;
    /// Bytes asked of the kernel (SO_RCVBUF), any number: it grants twice that, at least 2304 and
    /// at most twice net.core.rmem_max; 0: what the system gives. buffers() tells.
    std::uint32_t receive_buffer_size = 0;
    /// Bytes asked of the kernel (SO_SNDBUF), likewise, at least 4608, at most twice wmem_max.
    std::uint32_t send_buffer_size = 0;
    /// Bytes that wait here while the kernel takes no more, up to 1 GiB; 0: 4 MiB. A datagram
    /// counts 64 bytes more than its payload. One too many is refused with errc::would_block.
    std::uint32_t send_queue_size_max = 0;
    /// drain() waits while more than this many bytes are queued, counted likewise, at most
    /// send_queue_size_max; 0: 64 KiB, or half of send_queue_size_max if that is less ...
    std::uint32_t send_high_water = 0;
    /// ... until no more than this many are, at most send_high_water; 0: a quarter of it.
    std::uint32_t send_low_water = 0;
    metadata received_metadata = metadata::none;
    /// SO_REUSEPORT: several sockets share a port and the kernel spreads flows over them.
    bool reuse_port = false;
    /// SO_REUSEADDR. A hazard for unicast: a second socket that sets it too takes the traffic over
    /// (measured on Linux 6.18).
    bool reuse_address = false;
    /// SO_REUSEADDR and SO_REUSEPORT: several multicast listeners on one port, each of which gets
    /// what is sent to the groups it has joined. What is sent to the port by unicast goes to one
    /// of them, of the kernel's choice.
    bool listen_multiple = false;
    /// SO_BROADCAST. Without it sending to 255.255.255.255 is refused: permission denied.
    bool broadcast = false;
    /// Connected endpoints: each send is an immediate system call and reports a refusal itself,
    /// instead of leaving it to the next read.
    bool report_refused_on_send = false;
    /// What the kernel refuses of a queued send for good (no route, a firewall, too long for the
    /// path) is reported to the next reads, once for each datagram, as the errno; otherwise it is
    /// counted only. A loop that ends at the first read that fails is not prepared for this.
    bool report_send_errors = false;
    /// See quoit::offload.
    quoit::offload offload = quoit::offload::automatic;
    /// See quoit::reply_source.
    quoit::reply_source reply_source = quoit::reply_source::automatic;
    /// SO_BUSY_POLL, up to 1 s; 0: what net.core.busy_read says. More than that needs
    /// CAP_NET_ADMIN: otherwise opening fails with EPERM.
    std::chrono::microseconds socket_busy_poll{0};
};

/// How long to wait: none, a duration or a point in time; {} is as long as it takes, 0 s a poll.
/// A negative or NaN duration is errc::invalid_option.
struct wait_options {
    time_limit timeout{};
};

struct batch_options {
    /// Datagrams, 1..65 536.
    std::uint32_t size_max = 64;
    time_limit timeout{};
};

struct incoming_options {
    /// Of waiting, over the whole iteration; the time spent outside next() does not count.
    time_limit budget{};
};

/// Of a multicast group that is joined or left.
struct group_options {
    /// Where the group is listened to. Unspecified: where the route to the group leads; what
    /// leaves a group names the interface it was joined on.
    quoit::interface interface{};
    /// Source-specific: only what this host sends is received. Several may be joined one by one.
    ip source{};
};

/// How datagrams are sent to groups. Setting changes what is named and leaves the rest; getting
/// fills everything in.
struct multicast_options {
    /// Routers they may pass, and one: 0 (this host) to 255. The kernel's default is 1, the local
    /// network.
    std::optional<int> ttl{};
    /// Whether listeners on this host get them too. The kernel's default is yes.
    std::optional<bool> loopback{};
    /// Where they leave. Named by its IPv4 address, that is also what they are sent from.
    /// Unspecified: where the route to the group leads.
    std::optional<quoit::interface> interface{};
};

static_assert(await_safe<loop_options> && await_safe<udp_options> && await_safe<wait_options> &&
              await_safe<batch_options> && await_safe<incoming_options> &&
              await_safe<group_options> && await_safe<multicast_options>);

/// What was asked of the kernel, what it granted, and the most it would grant, in bytes. Linux
/// grants twice what is asked, because it counts its own book-keeping (socket(7)).
struct buffer_size {
    std::uint32_t asked = 0;        ///< 0: nothing was asked
    std::uint32_t granted = 0;      ///< what getsockopt reports
    std::uint32_t granted_max = 0;  ///< twice rmem_max or wmem_max; 0 where /proc is not mounted
};
struct buffer_sizes {
    buffer_size receive, send;
};

}  // namespace quoit
