// SPDX-License-Identifier: MIT
#include "runtime/socket_options.hpp"

#include "backend/buffer_pool.hpp"
#include "base/cache_line.hpp"
#include "net/control_message.hpp"
#include "net/sockaddr.hpp"

#include <string>

namespace quoit::detail {

namespace {

// A sockaddr of the family, in whole 16 bytes so that what follows is aligned.
constexpr std::uint16_t name_size_of(family of) noexcept { return of == family::ipv6 ? 32 : 16; }

}  // namespace

// On a socket that receives trains UDP_GRO must not be cut off
// by what somebody set on descriptor(), so there is room for that; and large buffers have room for
// the payload to begin on a cache line.
message_layout layout_of(family of, const udp_options& options, bool has_gro) noexcept {
    message_layout made{.name_size = name_size_of(of),
                        .control_size = control_size_for(of, options.received_metadata, has_gro)};
    if (has_gro) {
        // 65 536 bytes remain for the payload; beside all metadata there are 128 or more to spare
        // (SO_TIMESTAMPING, the longest, takes 64).
        constexpr std::uint32_t payload_offset = 320;
        static_assert(payload_offset % cache_line_size == 0 &&
                      payload_offset + payload_size_limit <= large_buffer_stride);
        made.control_size = static_cast<std::uint16_t>(payload_offset - made.control_offset());
    }
    return made;
}

bool fits_small_buffer(message_layout layout, const udp_options& options) noexcept {
    return layout.payload_offset() + options.payload_size_max <= small_buffer_stride;
}

udp_options for_socket(family of, udp_options options) noexcept {
    if (options.offload == offload::automatic) {
        const bool is_small = fits_small_buffer(layout_of(of, options, false), options);
        options.offload = is_small ? offload::off : offload::on;
    }
    return options;
}

bool needs_destinations(const address& where, const udp_options& options) noexcept {
    return options.reply_source == reply_source::automatic && is_every_interface(where.host());
}

udp_options for_server_socket(const address& where, udp_options options) noexcept {
    if (needs_destinations(where, options)) {
        options.received_metadata = options.received_metadata | metadata::local_address;
    }
    return for_socket(where.family(), options);
}

std::unexpected<error> no_socket_left(const loop_options& options) {
    return failure(std::make_error_code(std::errc::too_many_files_open),
                   "socket_count_max is " + std::to_string(options.socket_count_max));
}

}  // namespace quoit::detail
