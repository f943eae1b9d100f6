// SPDX-License-Identifier: MIT
#include "net/peer_filter.hpp"

#include "net/system.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

namespace quoit::detail {

namespace {

// A program sees a datagram from its UDP header on; what lies before is at SKF_NET_OFF (a negative
// offset, as the kernel takes it). Words are loaded in host order.
constexpr std::uint32_t source_port = 0;
constexpr auto ip_header = static_cast<std::uint32_t>(SKF_NET_OFF);
constexpr std::uint32_t source_in_ipv4 = 12;
constexpr std::uint32_t source_in_ipv6 = 8;

std::uint32_t word_at(const ip& host, std::size_t offset) noexcept {
    std::uint32_t word = 0;
    std::memcpy(&word, host.bytes().data() + offset, sizeof word);
    return std::endian::native == std::endian::little ? std::byteswap(word) : word;
}

}  // namespace

peer_filter::peer_filter(const address& peer) noexcept {
    constexpr std::uint16_t half = BPF_LD | BPF_H | BPF_ABS;
    constexpr std::uint16_t word = BPF_LD | BPF_W | BPF_ABS;
    const bool is_ipv6 = peer.family() == family::ipv6;
    const std::uint32_t source = ip_header + (is_ipv6 ? source_in_ipv6 : source_in_ipv4);
    expect(half, source_port, peer.port());
    for (std::uint32_t offset = 0; offset < (is_ipv6 ? 16U : 4U); offset += 4)
        expect(word, source + offset, word_at(peer.host(), offset));
    constexpr std::uint32_t whole = 0xffff'ffff;
    steps_[size_++] = BPF_STMT(BPF_RET | BPF_K, whole);
    steps_[size_++] = BPF_STMT(BPF_RET | BPF_K, 0);
    // What differs goes to the last step, which drops it.
    for (unsigned short at = 1; at < size_ - 2; at += 2)
        steps_[at].jf = static_cast<std::uint8_t>(size_ - 1 - (at + 1));
}

void peer_filter::expect(std::uint16_t load, std::uint32_t offset, std::uint32_t value) noexcept {
    steps_[size_++] = BPF_STMT(load, offset);
    steps_[size_++] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 0);
}

int peer_filter::attach_to(int socket) const noexcept {
    auto steps = steps_;  // the kernel's structure wants them writable
    const sock_fprog program{.len = size_, .filter = steps.data()};
    return system::set_option(socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

bool peer_filter::is_on(int socket) const noexcept {
    std::array<sock_filter, steps_max> found{};
    socklen_t count = steps_max;  // in steps, not bytes; EINVAL if there are more
    if (system::get_option(socket, SOL_SOCKET, SO_GET_FILTER, found.data(), &count) < 0) {
        return false;
    }
    constexpr auto is_same = [](const sock_filter& a, const sock_filter& b) {
        return a.code == b.code && a.jt == b.jt && a.jf == b.jf && a.k == b.k;
    };
    return count == size_ && std::ranges::equal(found, steps_, is_same);
}

bool has_filter(int socket) noexcept {
    // Without room it says how many steps there are; an error when they cannot be shown.
    socklen_t count = 0;
    return system::get_option(socket, SOL_SOCKET, SO_GET_FILTER, nullptr, &count) < 0 || count != 0;
}

}  // namespace quoit::detail
