// SPDX-License-Identifier: MIT
#include "net/waiting_set.hpp"

#include "net/system.hpp"

#include <utility>

namespace quoit::detail {

result<waiting_set> waiting_set::create() {
    file_descriptor epoll;
    if (const int made = system::epoll_create(); made >= 0) {
        epoll.reset(made);
    } else {
        return failure(std::error_code(-made, std::system_category()), "create an epoll set");
    }
    const int timer = system::timer_open();
    if (timer < 0) {
        return failure(std::error_code(-timer, std::system_category()), "create a timerfd");
    }
    waiting_set made(std::move(epoll), file_descriptor(timer));
    if (status added = made.add(timer); !added) return std::unexpected(added.error());
    made.wait_until(time_point::min());
    return made;
}

status waiting_set::add(int fd) {
    const int error = system::epoll_add_readable(epoll_.get(), fd);
    if (error == 0) return {};
    return failure(std::error_code(-error, std::system_category()), "watch a descriptor");
}

// A timer that has expired stays readable until it is set anew, so the same deadline again needs no
// call.
void waiting_set::wait_until(time_point deadline) noexcept {
    if (deadline == deadline_) return;
    deadline_ = deadline;
    system::timer_set(timer_.get(), deadline);
}

}  // namespace quoit::detail
