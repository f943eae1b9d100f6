// SPDX-License-Identifier: MIT
//
// steering_program: which socket of a SO_REUSEPORT group gets a datagram, as a classic BPF program
// whose result is the socket's index (SO_ATTACH_REUSEPORT_CBPF, since Linux 4.5).
//
//   by_cpu                            random
//     load SKF_AD_CPU                   load SKF_AD_RANDOM   (since Linux 3.16)
//     is it cpus[0]? return 0           modulo size
//     is it cpus[1]? return 1           return it
//     ...
//     modulo size, return it
//
// It belongs to the whole group, whichever socket it is attached to, and runs before the datagram
// is in any socket. With GRO or on loopback a train is one packet: it goes to one socket whole.
// Source: Linux net/core/sock_reuseport.c (run_bpf_filter, reuseport_attach_prog), net/core/
// filter.c (SKF_AD_CPU is raw_smp_processor_id()).
//
// Thread safety: immutable. Errors: a negated errno.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <linux/filter.h>

namespace quoit::detail {

class steering_program {
  public:
    /// REQUIRES: 1 to 1024 of them.
    [[nodiscard]] static steering_program by_cpu(std::span<const int> cpus);
    /// REQUIRES: 1 to 1024.
    [[nodiscard]] static steering_program random(std::size_t size);

    [[nodiscard]] int attach_to(int socket) const noexcept;
    /// The group is steered by the flow's hash again, whoever attached a program. Since Linux 5.3
    /// (-ENOPROTOOPT before). -ENOENT: there was none.
    static int detach_from(int socket) noexcept;

  private:
    void return_modulo(std::size_t size);

    std::vector<sock_filter> steps_;
};

}  // namespace quoit::detail
