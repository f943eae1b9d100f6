// SPDX-License-Identifier: MIT
#include <quoit/detail/allowed_cpus.hpp>

#include <sched.h>

namespace quoit::detail {

std::vector<int> allowed_cpus() {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    std::vector<int> found;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return found;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(cpu, &allowed)) found.push_back(static_cast<int>(cpu));
    }
    return found;
}

}  // namespace quoit::detail
