// SPDX-License-Identifier: MIT
#include "process_time.hpp"

#include <sys/resource.h>

namespace quoit::program {

std::chrono::microseconds process_time() noexcept {
    struct rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto time = [](const timeval& t) {
        return std::chrono::seconds(t.tv_sec) + std::chrono::microseconds(t.tv_usec);
    };
    return time(usage.ru_utime) + time(usage.ru_stime);
}

}  // namespace quoit::program
