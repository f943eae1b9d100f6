// SPDX-License-Identifier: MIT
#include <quoit/resolve.hpp>

#include <quoit/future.hpp>

#include "loop_core.hpp"
#include "resolver_threads.hpp"

#include <memory>
#include <new>
#include <string>
#include <utility>

namespace quoit {

namespace {

using addresses = std::vector<address>;

result<addresses> resolve_or_say_why(const host_port& where, family wanted) noexcept {
    try {
        return detail::resolve_now(where, wanted);
    } catch (const std::bad_alloc&) {
        return std::unexpected(error(std::make_error_code(std::errc::not_enough_memory)));
    }
}

task<result<addresses>> give(result<addresses> known) { co_return known; }

// The answer is set on the loop's thread, by a letter; when the loop is gone there is nobody to
// tell. Shared, because the task may be gone as well.
task<result<addresses>> look_up_elsewhere(std::string name, std::int64_t port, family wanted) {
    const auto answer = std::make_shared<future<addresses>>();
    auto job = [answer, name, port, wanted, mailbox = detail::current_core().mailbox()]() mutable {
        result<addresses> found = resolve_or_say_why({name, port}, wanted);
        mailbox->post([answer = std::move(answer), found = std::move(found)]() mutable {
            if (found) {
                answer->set_value(*std::move(found));
            } else {
                answer->set_error(found.error());
            }
        });
    };
    const status submitted = detail::resolver_threads::submit(std::move(job));
    if (!submitted) co_return failure(submitted.code(), "resolve " + name);
    co_return co_await answer->wait();
}

}  // namespace

// No coroutine itself: it would suspend before it looks at what its parameters refer to.
task<result<std::vector<address>>> resolve(host_port where, family wanted) {
    if (!where.is_host_name()) return give(detail::resolve_now(where, wanted));
    return look_up_elsewhere(std::string(where.name()), where.port(), wanted);
}

task<result<std::vector<address>>> resolve(std::string_view name, std::uint16_t port,
                                           family wanted) {
    return resolve(host_port(name, port), wanted);
}

}  // namespace quoit
