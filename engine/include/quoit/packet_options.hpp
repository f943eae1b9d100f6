// SPDX-License-Identifier: MIT
//
// Options of packets over TCP (quoit/packet.hpp). Rules as in options.hpp: trivially copyable
// aggregates, every member with an initialiser, nothing is clamped: what is out of range is refused
// with errc::invalid_option and the field's name.
#pragma once

#include <quoit/address.hpp>
#include <quoit/options.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace quoit {

/// What stands before each body. Both ends must say the same.
enum class packet_framing : std::uint8_t {
    packetsocket,   ///< "#!?&", then the body's length as u32, little-endian
    little_endian,  ///< the length as u32, little-endian, alone
    big_endian,     ///< the length as u32, big-endian (network order), alone
};

/// "packetsocket", "little_endian", "big_endian".
[[nodiscard]] constexpr std::string_view to_string(packet_framing which) noexcept {
    switch (which) {
        case packet_framing::packetsocket: return "packetsocket";
        case packet_framing::little_endian: return "little_endian";
        case packet_framing::big_endian: return "big_endian";
    }
    return "?";
}

/// Bytes in front of each body.
[[nodiscard]] constexpr std::size_t packet_header_size(packet_framing framing) noexcept {
    return framing == packet_framing::packetsocket ? 8 : 4;
}
/// Bytes that a packet which waits to be read counts beside its body (read_queue_size_max).
inline constexpr std::size_t unread_packet_overhead = 64;

/// What becomes of a packet for a peer whose write queue is full, that is, who does not read.
enum class slow_peer : std::uint8_t {
    drop,   ///< the packet is dropped and counted (packet_stats::sends::dropped_slow)
    close,  ///< it is dropped and the peer closed, errc::slow_peer; so are those that still wait
    wait,   ///< it stays the caller's: write() answers errc::would_block, drain() tells when there
            ///< is room
};

/// The largest body that packet_size_max can allow: 1 GiB.
inline constexpr std::uint32_t packet_size_limit = 1U << 30;

struct packet_options {
    packet_framing framing = packet_framing::packetsocket;
    /// Bytes of a body, either way, 1..packet_size_limit. A peer that announces a longer one is
    /// closed with errc::framing; a longer one is not written (errc::message_too_long).
    std::uint32_t packet_size_max = 16U << 20;
    /// Bytes that wait for one peer, headers included, 1..1 GiB. A packet that is longer is taken
    /// when nothing else waits.
    std::uint32_t write_queue_size_max = 1U << 20;
    slow_peer on_slow_peer = slow_peer::drop;
    /// Bytes of one peer's packets that nobody has read yet (unread_packet_overhead more for each),
    /// 1..1 GiB: then it is not read until half of it is free, and what it sends waits in the kernel, and with the
    /// peer. What the engine had on its way still comes, and the packet that is under way.
    std::uint32_t read_queue_size_max = 1U << 20;
    /// Servers: connections at once, 1..32 768, for each address that is listened on. Further ones
    /// wait in the listen queue until one ends. A loop has room for loop_options::socket_count_max sockets in all.
    std::uint32_t peers_max = 1024;
    /// Servers: connections the kernel keeps until they are accepted, 1..65 535; it takes no more
    /// than net.core.somaxconn.
    std::uint32_t backlog = 1024;
    /// Clients: how long connecting may take (std::errc::timed_out), up to 1 h; 0: as long as the
    /// kernel tries, about two minutes.
    std::chrono::milliseconds connect_timeout{0};
    /// A connection that nothing was received from for so long is closed (errc::timed_out), up to
    /// 24 h; 0: never. It is noticed up to an eighth of it later.
    std::chrono::milliseconds idle_timeout{0};
    /// The kernel asks a silent peer's host after so many seconds whether it is still there
    /// (TCP_KEEPIDLE, then ten questions a second apart), 1..32 767; 0: it does not.
    std::uint32_t keep_alive_s = 0;
    /// TCP_NODELAY: a packet leaves at the end of the turn, not when the one before it is
    /// acknowledged.
    bool no_delay = true;
    /// Servers: SO_REUSEPORT, several processes share a port.
    bool reuse_port = false;
    /// Names are resolved to, and every interface means, addresses of this family only.
    quoit::family family = quoit::family::unspecified;
    /// Clients: where to bind; unspecified: the kernel's choice.
    address local{};
    /// Bytes asked of the kernel (SO_RCVBUF, SO_SNDBUF); 0: it adapts them itself.
    std::uint32_t receive_buffer_size = 0;
    std::uint32_t send_buffer_size = 0;
};

static_assert(await_safe<packet_options>);

}  // namespace quoit
