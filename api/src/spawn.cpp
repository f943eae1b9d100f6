// SPDX-License-Identifier: MIT
#include <quoit/spawn.hpp>

namespace quoit::detail {

bool supervise_operation::supervise(std::coroutine_handle<> frame, task_context& parent) {
    if (parent.is_canceled() && parent.has_given_up()) return true;
    if (!child_.context().is_linked()) child_.start_now(current_scheduler(), parent);
    if (child_.is_done()) return false;
    enlist_shielded(frame, parent, limit_, &child_.joiners());
    return true;
}

}  // namespace quoit::detail
