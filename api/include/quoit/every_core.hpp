// SPDX-License-Identifier: MIT
//
// One loop per core: a program that runs the same task on each of them.
//
//   quoit::task<> echo() {
//       auto server = or_throw(co_await quoit::start_udp_server({"", 9999}, {.reuse_port = true}));
//       while (auto datagram = co_await server.read()) server.reply(std::move(*datagram));
//   }
//   int main() { return quoit::run_on_every_core(echo); }
//
// A core is a thread, a loop and its ring; nothing is shared between two of them, so nothing is
// locked while they serve.
//
// Opening together. In a core's task a UDP server with reuse_port (start_udp_server(), and
// loop::listen_udp()) is opened for the whole group by whichever core comes first, with that core's
// options: a socket for each core, all on one port number, all or none. The others take theirs.
//   - Every core opens the same places in the same order: the k-th opening of each belongs
//     together. Another place: errc::invalid_option. Being 64 openings ahead: likewise.
//   - Closing and opening again is for all of them too: while a core has its server at a place
//     open, or may still take it, that place is refused (errc::invalid_option), and may be tried
//     again.
//   - Port 0 is chosen once, and nobody else has it when it is opened.
//   - When it cannot be bound, each core gets the same error. What fails before (a name that is not
//     resolved, a timeout, a cancellation) is that core's own error, and its next opening is for
//     the same sockets. When its loop has no room for them (socket_count_max) they are closed.
//   - A port that sockets outside the group share already is shared with them; the log warns.
//   - Until a core takes its sockets they keep what the kernel gives it, as far as they have room.
//     What it never takes is closed when its main ends, and the log says how much was lost.
// listen_multiple is no such thing: each listener gets everything.
//
// The end. run() returns when all mains have ended. One that throws ends the others: they are
// cancelled, and run() throws what it threw. So does stop(), without an error: each main's awaits
// answer errc::canceled, and what it sent leaves when its server closes. A core whose main has
// ended takes its sockets with it. The kernel then spreads the flows anew: the others get its
// flows, and most of theirs change places too.
//
// Thread safety: run(), moving and destroying by one thread at a time; the rest from any, but not
// while the group is moved or destroyed. A forked child uses no group of its parent's.
#pragma once

#include <quoit/capabilities.hpp>
#include <quoit/error.hpp>
#include <quoit/loop.hpp>
#include <quoit/options.hpp>
#include <quoit/socket_group.hpp>
#include <quoit/stats.hpp>
#include <quoit/task.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace quoit {

struct core_options {
    /// Loops, up to as many as this process may use CPUs; 0: that many.
    std::uint32_t core_count = 0;
    /// spread: the k-th loop's thread stays on the k-th of the CPUs this process may use.
    quoit::pinning pin = quoit::pinning::spread;
    /// Which core gets a datagram; by_cpu needs pinning::spread.
    quoit::steering steering = quoit::steering::hash;
    /// Of each loop. `cpu` stays -1: see pin; of several cores so does worker_pinning none.
    quoit::loop_options loop{};
};

static_assert(await_safe<core_options>);

/// Returns a task<>, called with the core's number (0, 1, ...) or without. It is called on every
/// core's thread, at the same time: what it refers to is shared.
template <class Function>
concept core_function = requires(const Function& function, std::size_t core) {
    { function(core) } -> std::same_as<task<>>;
} || requires(const Function& function) {
    { function() } -> std::same_as<task<>>;
};

class core_group {
  public:
    /// How many CPUs the calling thread may use; 1 when that cannot be known.
    [[nodiscard]] static std::size_t core_count_max();

    /// Makes the loops. Errors: errc::invalid_option; as loop::create().
    [[nodiscard]] static result<core_group> create(const core_options& options = {});
    core_group(core_group&& other) noexcept;
    core_group& operator=(core_group&& other) noexcept;
    /// REQUIRES: run() does not run.
    ~core_group();

    /// Runs the function's task on every core, each on a thread of its own, and waits for all.
    /// Throws what the first that failed threw; std::system_error with errc::already_running when
    /// it is called again, or when there can be no thread.
    template <core_function Function>
    void run(Function function);
    /// Cancels every core's main. One that comes before run() counts. Async-signal-safe.
    void stop() noexcept;

    [[nodiscard]] std::size_t core_count() const noexcept;
    /// The CPU its thread stays on; -1 with pinning::none. Of all that take a core's number,
    /// REQUIRES: core < core_count().
    [[nodiscard]] int cpu(std::size_t core) const noexcept;
    [[nodiscard]] const quoit::capabilities& capabilities(std::size_t core) const noexcept;

    /// What the last opening got, and before that what was asked for; and why it is not that, or
    /// empty.
    [[nodiscard]] quoit::steering steering() const;
    [[nodiscard]] std::string steering_reason() const;

    // --- ledgers, summed and of one core ---
    // While it runs a core is asked, and answers in its next turn, which the caller waits for: on a
    // core's thread its own may be asked for, and that of cores that have ended (aborts otherwise).
    // Afterwards: as they stood when its main had ended. What a server that outlives the main still
    // counts is not in it, nor what waited in sockets that a core never took: the log has that.

    [[nodiscard]] quoit::stats stats() const;
    [[nodiscard]] quoit::stats stats(std::size_t core) const;
    [[nodiscard]] quoit::engine_stats engine_stats() const;
    [[nodiscard]] quoit::engine_stats engine_stats(std::size_t core) const;

  private:
    using main_function = std::move_only_function<task<>(std::size_t core) const>;
    class implementation;
    explicit core_group(std::unique_ptr<implementation> made) noexcept;
    void run_mains(const main_function& main);

    std::unique_ptr<implementation> implementation_;
};

template <core_function Function>
void core_group::run(Function function) {
    run_mains([function = std::move(function)](std::size_t core) -> task<> {
        if constexpr (requires {
                          { function(core) } -> std::same_as<task<>>;
                      }) {
            return function(core);
        } else {
            return function();
        }
    });
}

namespace detail {
[[nodiscard]] int run_cores(std::move_only_function<void(core_group&)> run,
                            const core_options& options) noexcept;
}  // namespace detail

/// For main(): a core_group that SIGINT and SIGTERM stop (a second of the same ends the process; a
/// task that subscribes to them takes them over). Of several at once only the first is stopped by
/// them. Returns 0, or 1 for an exception, which is printed as "error: WORDS" on standard error.
template <core_function Function>
[[nodiscard]] int run_on_every_core(Function function, const core_options& options = {}) noexcept {
    return detail::run_cores([&](core_group& group) { group.run(std::move(function)); }, options);
}

}  // namespace quoit
