// SPDX-License-Identifier: MIT
//
// unix_options: what a UNIX datagram endpoint is. See quoit/options.hpp for what holds for every
// option struct.
//
//   quoit::start_unix_server("/run/app.sock", {.mode = 0660, .receive_credentials = true});
//
// Errors: errc::invalid_option, with the field's name, from the function that opens.
#pragma once

#include <quoit/options.hpp>
#include <quoit/unix_address.hpp>

#include <cstdint>
#include <span>

namespace quoit {

/// What becomes of a datagram whose sender has no name, so that it cannot be answered.
enum class unnamed_peers : std::uint8_t {
    ignore,  ///< dropped and counted (receive_stats::drops::unnamed)
    handle,  ///< delivered; peer().is_unnamed() says so
    warn,    ///< dropped, counted, and said to the log, at most every ten seconds
};

/// unix_options::mode: what bind(2) makes of it, 0777 without the bits of the umask.
inline constexpr std::uint32_t mode_of_umask = 0xffff'ffff;

/// What a server asks for as its send buffer, in bytes; net.core.wmem_max may give it less. All
/// that its peers have not read yet is in there.
inline constexpr std::uint32_t unix_server_send_buffer_size = 4U << 20U;

/// Descriptors in one message: the kernel's own limit (SCM_MAX_FD).
inline constexpr std::uint32_t descriptors_limit = 253;

/// Sizes of 0 mean the default that is named beside them.
struct unix_options {
    /// Clients: the name to bind to; unnamed: autobind, so that they can be answered. Servers take
    /// it as an argument.
    unix_address local{};
    /// Permission bits of a path, 0..0777, whatever the umask; who may not write to it may not send
    /// to it. There is no moment at which it allows more than this.
    std::uint32_t mode = mode_of_umask;
    unnamed_peers unnamed = unnamed_peers::ignore;
    /// Descriptors that one message may bring, 0..253; 0: the kernel keeps them out. More arrive
    /// as so many, with ancillary_truncated(). They are open from when the datagram is received:
    /// whoever may send here can take queue_size_max times as many of this process's descriptors
    /// (RLIMIT_NOFILE) until they are read, so this is for senders that are trusted that far.
    std::uint32_t descriptors_max = 0;
    /// SO_PASSCRED: each datagram says which process sent it.
    bool receive_credentials = false;
    /// Datagrams that wait for a reader, 1..1 048 576; 0: 1024. See udp_options.
    std::uint32_t queue_size_max = 0;
    when_full on_full = when_full::drop_newest;
    /// Bytes, 1..65 527. Longer datagrams are cut, say so, and are counted. Beside descriptors_max
    /// above 46 (38 with credentials) there is room for less; what does not fit is refused.
    std::uint32_t payload_size_max = payload_size_limit;
    /// Bytes asked of the kernel (SO_RCVBUF, SO_SNDBUF); 0: what the system gives, but for the send
    /// buffer of a server: unix_server_send_buffer_size. A UNIX datagram is charged to its sender's
    /// buffer until it is read; one longer than that is never sent (EMSGSIZE, counted).
    std::uint32_t receive_buffer_size = 0;
    std::uint32_t send_buffer_size = 0;
    /// Bytes that wait here while the kernel takes no more, up to 1 GiB; 0: 4 MiB. See udp_options.
    /// One destination that does not read may have half of it.
    std::uint32_t send_queue_size_max = 0;
    std::uint32_t send_high_water = 0;  ///< as in udp_options
    std::uint32_t send_low_water = 0;   ///< as in udp_options
};
static_assert(await_safe<unix_options>);

/// What a UNIX datagram carries beside its payload.
struct ancillary {
    /// Duplicated by the call, so the caller keeps his and may close them at once; at most 253.
    std::span<const int> descriptors{};
    /// This process's id, user and group, checked by the kernel. A receiver that asks for
    /// credentials gets them from everybody anyway.
    bool credentials = false;
};
static_assert(await_safe<ancillary>);

/// Who sent a datagram, as the kernel says: process, user and group id.
struct credentials {
    std::int32_t pid = 0;  ///< 0: of another PID namespace
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    [[nodiscard]] bool operator==(const credentials&) const noexcept = default;
};

}  // namespace quoit
