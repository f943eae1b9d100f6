// SPDX-License-Identifier: MIT
#include "net/steering_program.hpp"

#include "net/kernel_constants.hpp"
#include "net/system.hpp"

namespace quoit::detail {

namespace {

constexpr std::uint16_t load_word = BPF_LD | BPF_W | BPF_ABS;
// Negative offsets name what the kernel knows of the packet.
constexpr auto cpu_of_packet = static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_CPU);
constexpr auto random_number = static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_RANDOM);

}  // namespace

void steering_program::return_modulo(std::size_t size) {
    steps_.push_back(BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, static_cast<std::uint32_t>(size)));
    steps_.push_back(BPF_STMT(BPF_RET | BPF_A, 0));
}

steering_program steering_program::by_cpu(std::span<const int> cpus) {
    steering_program made;
    made.steps_.push_back(BPF_STMT(load_word, cpu_of_packet));
    std::uint32_t index = 0;
    for (const int cpu : cpus) {
        made.steps_.push_back(
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(cpu), 0, 1));
        made.steps_.push_back(BPF_STMT(BPF_RET | BPF_K, index++));
    }
    made.return_modulo(cpus.size());
    return made;
}

steering_program steering_program::random(std::size_t size) {
    steering_program made;
    made.steps_.push_back(BPF_STMT(load_word, random_number));
    made.return_modulo(size);
    return made;
}

int steering_program::attach_to(int socket) const noexcept {
    // The kernel's structure wants them writable, and copies them.
    const sock_fprog program{.len = static_cast<unsigned short>(steps_.size()),
                             .filter = const_cast<sock_filter*>(steps_.data())};
    return system::set_option(socket, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program,
                              sizeof program);
}

int steering_program::detach_from(int socket) noexcept {
    const int unused = 0;
    return system::set_option(socket, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &unused, sizeof unused);
}

}  // namespace quoit::detail
