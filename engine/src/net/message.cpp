// SPDX-License-Identifier: MIT
#include "net/message.hpp"

#include "net/control_message.hpp"
#include "net/sockaddr.hpp"
#include "net/unix_name.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace quoit::detail {

namespace {

// The control messages that are really there.
std::span<const std::byte> control_of(std::span<const std::byte> buffer, message_layout layout,
                                      const message_header& header) noexcept {
    const std::size_t size = std::min<std::size_t>(header.control_size, layout.control_size);
    return buffer.subspan(layout.control_offset(), size);
}

std::span<const std::byte> name_of(std::span<const std::byte> buffer, message_layout layout,
                                   const message_header& header) noexcept {
    return buffer.subspan(message_layout::header_size,
                          std::min<std::size_t>(header.name_size, layout.name_size));
}

bool has_name(std::span<const std::byte> buffer, message_layout layout,
              const message_header& header) noexcept {
    const auto name = name_of(buffer, layout, header);
    return layout.is_unix() ? from_unix_name(name).has_value() : from_sockaddr(name).has_value();
}

bool read_header(std::span<const std::byte> buffer, message_layout layout,
                 message_header& header) noexcept {
    if (buffer.size() < layout.payload_offset()) return false;
    std::memcpy(&header, buffer.data(), sizeof header);
    return true;
}

// Apart, so that segment_of() of a message without control data costs next to nothing.
[[gnu::noinline]] std::uint16_t segment_said(std::span<const std::byte> buffer,
                                             message_layout layout,
                                             const message_header& header) noexcept {
    const segment_data said = find_segment(control_of(buffer, layout, header));
    const bool is_cut = (header.flags & MSG_CTRUNC) != 0;
    if (said.gro_segment == 0 || (!said.is_valid && !is_cut)) return 0;
    // Only a train's name is looked at: parse_message() refuses the message for it.
    const std::size_t there =
        std::min<std::size_t>(buffer.size() - layout.payload_offset(), header.payload_size);
    const bool is_train = said.gro_segment < there && has_name(buffer, layout, header);
    return is_train ? said.gro_segment : std::uint16_t{0};
}

}  // namespace

std::uint16_t segment_of(std::span<const std::byte> buffer, message_layout layout) noexcept {
    message_header header;
    if (layout.control_size == 0 || !read_header(buffer, layout, header)) return 0;
    return header.control_size == 0 ? std::uint16_t{0} : segment_said(buffer, layout, header);
}

parsed_message parse_message(std::span<const std::byte> buffer, message_layout layout,
                             std::uint32_t payload_size_max) noexcept {
    parsed_message parsed;
    message_header header;
    if (!read_header(buffer, layout, header)) return parsed;

    const auto name = name_of(buffer, layout, header);
    const auto peer = layout.is_unix() ? std::optional(address()) : from_sockaddr(name);
    if (!peer || (layout.is_unix() && !from_unix_name(name))) {
        parsed.state = message_state::bad_name;
        return parsed;
    }
    bool is_cut = (header.flags & MSG_CTRUNC) != 0;
    auto control = control_of(buffer, layout, header);
    if (!control.empty()) {
        const segment_data said = find_segment(control);
        if (!said.is_valid && !is_cut) {
            parsed.state = message_state::bad_control;
            return parsed;
        }
        parsed.segment = said.gro_segment;
    }
    // What is left of a UNIX message's are descriptors.
    if (is_cut && !layout.is_unix()) control = {};
    // What was cut off is not that this is a train: the rest is only metadata.
    if (parsed.segment != 0) is_cut = false;

    // What is there, never what is claimed: the kernel's length is the original one.
    const auto payload = buffer.subspan(layout.payload_offset());
    const std::size_t there = std::min<std::size_t>(payload.size(), header.payload_size);
    parsed.size_total = static_cast<std::uint32_t>(there);
    if (parsed.segment >= there) parsed.segment = 0;

    datagram_fields& first = parsed.first;
    first.data = payload.data();
    first.control = control.data();
    first.control_size = static_cast<std::uint16_t>(control.size());
    first.peer = *peer;
    if (parsed.segment == 0) {
        first.original_size = header.payload_size;
        first.size = std::min(parsed.size_total, payload_size_max);
    } else {
        first.original_size = parsed.segment;
        first.size = std::min<std::uint32_t>(parsed.segment, payload_size_max);
    }
    parsed.state = is_cut ? message_state::control_cut : message_state::valid;
    return parsed;
}

unix_message unix_message_before(const std::byte* control, std::size_t control_size) noexcept {
    const std::byte* const buffer = control - message_layout::unix_control_offset;
    message_header header;
    std::memcpy(&header, buffer, sizeof header);
    const std::size_t name_size =
        std::min<std::size_t>(header.name_size, message_layout::unix_name_size);
    return {.name = {buffer + message_layout::header_size, name_size},
            .control = {control, std::min<std::size_t>(header.control_size, control_size)},
            .is_control_cut = (header.flags & MSG_CTRUNC) != 0};
}

}  // namespace quoit::detail
