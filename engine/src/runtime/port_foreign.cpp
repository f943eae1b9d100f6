// SPDX-License-Identifier: MIT
//
// A port in a loop that is not quoit's. That loop waits in turn()'s place, for one descriptor:
//
//      inline      epoll set of the port's: { what the backend turns for, a timer }
//      threaded    epoll set of the port's: { the eventfd that workers raise, a timer }
//
// prepare_to_wait() is the half of a turn that comes before the waiting: it sends, lets paused
// sockets go on, gives buffers back, and then, instead of waiting, says until when there is nothing
// to do. With workers it leaves the flag of base/parking.hpp published; the next turn takes it
// back.
#include "runtime/port_implementation.hpp"

#include <utility>

namespace quoit {

result<int> port::implementation::descriptor() {
    if (is_forked()) return failure(errc::forked, "watch a port of the parent process");
    if (watched_) return watched_->descriptor();
    auto made = detail::waiting_set::create();
    if (!made) return std::unexpected(made.error());
    const status joined =
        is_inline() ? workers_.front()->join(*made) : made->add(waker_->descriptor());
    if (!joined) return std::unexpected(joined.error());
    watched_ = *std::move(made);
    return watched_->descriptor();
}

void port::implementation::prepare_to_wait(clock::time_point deadline) {
    if (!watched_ || is_forked()) return;
    belong_to_this_thread();
    deadline = begin_turn(deadline);
    bool may_wait = deadline != at_once;
    if (is_inline()) {
        may_wait = !workers_.front()->prepare_to_wait() && may_wait;
    } else {
        speak_to_workers();
        may_wait = may_sleep() && may_wait;
    }
    watched_->wait_until(may_wait ? deadline : at_once);
}

}  // namespace quoit
