// SPDX-License-Identifier: MIT
#include "net/control_message.hpp"

#include "net/kernel_constants.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <limits>

namespace quoit::detail {

namespace {

using bytes = std::span<const std::byte>;

template <class T>
bool read(bytes from, T& into) noexcept {
    if (from.size() < sizeof into) return false;
    std::memcpy(&into, from.data(), sizeof into);
    return true;
}

// An int where the value is a byte: TTL, hop limit, traffic class. Anything else is not believed.
std::optional<std::uint8_t> read_byte_in_int(bytes from) noexcept {
    int value = 0;
    if (!read(from, value) || value < 0 || value > 255) return std::nullopt;
    return static_cast<std::uint8_t>(value);
}

template <class Data>  // control_data or segment_data
void read_gro(bytes from, Data& into) noexcept {
    // An int, although its sending counterpart UDP_SEGMENT is a u16 (Linux net/ipv4/udp.c,
    // udp_cmsg_recv: put_cmsg(.., sizeof(int))). A train's segments fit a datagram.
    int segment = 0;
    if (!read(from, segment) || segment < 1 ||
        segment > std::numeric_limits<std::uint16_t>::max()) {
        into.is_valid = false;
        return;
    }
    into.gro_segment = static_cast<std::uint16_t>(segment);
}

void read_timestamp(bytes from, control_data& into) noexcept {
    // What sys_time<nanoseconds> can hold: until the year 2262.
    constexpr time_t seconds_max = 9'223'372'035;
    timespec time{};
    if (!read(from, time) || time.tv_nsec < 0 || time.tv_nsec > 999'999'999) return;
    if (time.tv_sec > seconds_max || time.tv_sec < -seconds_max) return;
    into.received_at = std::chrono::sys_time<std::chrono::nanoseconds>(
        std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

ip host_of(const in_addr& from) noexcept {
    std::array<std::uint8_t, 4> host{};
    std::memcpy(host.data(), &from, host.size());
    return ip::v4(host);
}

ip host_of(const in6_pktinfo& info) noexcept {
    std::array<std::uint8_t, 16> host{};
    std::memcpy(host.data(), &info.ipi6_addr, host.size());
    // A scope belongs to link-local addresses only; elsewhere it would make equal ones differ.
    const bool is_link_local = IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr) != 0;
    return ip::v6(host, is_link_local ? info.ipi6_ifindex : 0);
}

// Whether there is an address that an answer leaves from. ipi_spec_dst is the same as ipi_addr for
// what was sent to this host alone. Otherwise it is the address of ours that the kernel would use
// towards the sender, never a group or a broadcast address (Linux net/ipv4/fib_frontend.c,
// fib_compute_spec_dst).
bool answers(const in_pktinfo& info) noexcept { return info.ipi_spec_dst.s_addr != 0; }

// A group answers nothing; of an IPv4 address in IPv6's clothes it cannot be told whether it is
// everybody's.
bool answers(const in6_pktinfo& info) noexcept {
    return IN6_IS_ADDR_MULTICAST(&info.ipi6_addr) == 0 &&
           IN6_IS_ADDR_V4MAPPED(&info.ipi6_addr) == 0;
}

void read_one(int level, int type, bytes from, control_data& into) noexcept {
    if (level == SOL_UDP && type == UDP_GRO) {
        read_gro(from, into);
    } else if (level == SOL_SOCKET && type == SCM_TIMESTAMPNS) {
        read_timestamp(from, into);
    } else if (level == IPPROTO_IP && type == IP_PKTINFO) {
        in_pktinfo info{};
        if (!read(from, info)) return;
        into.local = host_of(info.ipi_addr);
        if (answers(info)) into.source = host_of(info.ipi_spec_dst);
    } else if (level == IPPROTO_IPV6 && type == IPV6_PKTINFO) {
        in6_pktinfo info{};
        if (!read(from, info)) return;
        into.local = host_of(info);
        if (answers(info)) into.source = into.local;
    } else if (level == IPPROTO_IP && type == IP_TOS) {
        std::uint8_t tos = 0;  // one byte, unlike all others
        if (read(from, tos)) into.tos = tos;
    } else if (level == IPPROTO_IPV6 && type == IPV6_TCLASS) {
        into.tos = read_byte_in_int(from);
    } else if ((level == IPPROTO_IP && type == IP_TTL) ||
               (level == IPPROTO_IPV6 && type == IPV6_HOPLIMIT)) {
        into.ttl = read_byte_in_int(from);
    }
}

// The walk that CMSG_NXTHDR does, with every length checked before it is used: cmsg_len comes from
// the buffer. `visit` gets each header and the message with it. False: a length made no sense.
template <class Visit>
bool walk(std::span<const std::byte> control, Visit visit) noexcept {
    while (!control.empty()) {
        cmsghdr header{};
        // Less than a header: the padding behind the last message, or garbage.
        if (!read(control, header)) return control.size() < CMSG_ALIGN(sizeof(std::size_t));
        if (header.cmsg_len < sizeof header || header.cmsg_len > control.size()) return false;
        visit(header, control.first(header.cmsg_len));
        control = control.subspan(std::min(CMSG_ALIGN(header.cmsg_len), control.size()));
    }
    return true;
}

}  // namespace

control_data parse_control(std::span<const std::byte> control) noexcept {
    control_data found;
    const bool adds_up =
        walk(control, [&](const cmsghdr& header, std::span<const std::byte> message) {
            read_one(header.cmsg_level, header.cmsg_type, message.subspan(CMSG_LEN(0)), found);
        });
    found.is_valid = found.is_valid && adds_up;
    return found;
}

segment_data find_segment(std::span<const std::byte> control) noexcept {
    segment_data found;
    const bool adds_up =
        walk(control, [&](const cmsghdr& header, std::span<const std::byte> message) {
            if (header.cmsg_level != SOL_UDP || header.cmsg_type != UDP_GRO) return;
            read_gro(message.subspan(CMSG_LEN(0)), found);
        });
    found.is_valid = found.is_valid && adds_up;
    return found;
}

std::optional<ip> find_source(std::span<const std::byte> control) noexcept {
    std::optional<ip> found;
    walk(control, [&](const cmsghdr& header, std::span<const std::byte> message) {
        const bytes from = message.subspan(CMSG_LEN(0));
        if (header.cmsg_level == IPPROTO_IP && header.cmsg_type == IP_PKTINFO) {
            in_pktinfo info{};
            if (read(from, info) && answers(info)) found = host_of(info.ipi_spec_dst);
        } else if (header.cmsg_level == IPPROTO_IPV6 && header.cmsg_type == IPV6_PKTINFO) {
            in6_pktinfo info{};
            if (read(from, info) && answers(info)) found = host_of(info);
        }
    });
    return found;
}

std::size_t copy_destination(std::span<const std::byte> control,
                             std::span<std::byte> into) noexcept {
    std::size_t copied = 0;
    walk(control, [&](const cmsghdr& header, std::span<const std::byte> message) {
        const bool is_wanted =
            (header.cmsg_level == IPPROTO_IP && header.cmsg_type == IP_PKTINFO) ||
            (header.cmsg_level == IPPROTO_IPV6 && header.cmsg_type == IPV6_PKTINFO);
        const std::size_t size = CMSG_ALIGN(message.size());
        if (!is_wanted || size > into.size()) return;
        std::memset(into.data(), 0, size);
        std::memcpy(into.data(), message.data(), message.size());
        copied = size;
    });
    return copied;
}

std::uint16_t control_size_for(family of, metadata wanted, bool has_gro) noexcept {
    const bool is_v6 = of == family::ipv6;
    std::size_t size = 0;
    if (has_gro) size += CMSG_SPACE(sizeof(int));
    if (contains(wanted, metadata::timestamp)) size += CMSG_SPACE(sizeof(timespec));
    if (contains(wanted, metadata::local_address)) {
        size += is_v6 ? CMSG_SPACE(sizeof(in6_pktinfo)) : CMSG_SPACE(sizeof(in_pktinfo));
    }
    if (contains(wanted, metadata::tos)) {
        size += is_v6 ? CMSG_SPACE(sizeof(int)) : CMSG_SPACE(sizeof(std::uint8_t));
    }
    if (contains(wanted, metadata::ttl)) size += CMSG_SPACE(sizeof(int));
    return static_cast<std::uint16_t>(size);
}

}  // namespace quoit::detail
