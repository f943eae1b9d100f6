// SPDX-License-Identifier: MIT
//
// loop: runs tasks on one thread, the one that first turns it.
//
//   int main() { return quoit::run_main(echo()); }             // a loop for one program
//
//   auto loop = or_throw(quoit::loop::create({.cpu = 1}));      // or one of your own
//   loop.run(echo());
//
// One turn: the port is turned (which waits, when nothing is ready, until the earliest timer), then
// come the timers that are due, signals, posted functions, and the tasks that were ready when the
// turn reached them; then everything that was sent is flushed. What becomes ready meanwhile runs in
// the next turn, so that I/O is looked at between any two rounds of tasks.
//
// In a loop that is not quoit's (epoll, Asio, a toolkit's) watch descriptor(), and call poll()
// whenever it is readable:
//
//   epoll_event watch{.events = EPOLLIN, .data = {.fd = loop.descriptor()}};
//   epoll_ctl(set, EPOLL_CTL_ADD, loop.descriptor(), &watch);
//   for (;;)                                               // a signal that is handled is EINTR
//       if (epoll_wait(set, &watch, 1, -1) == 1 && watch.data.fd == loop.descriptor())
//           loop.poll();
//
// loop_options::cpu pins the thread that first turns the loop, by run() or poll(), and does so for
// good: the thread stays on that CPU after run() has returned and after the loop is gone.
//
// Thread safety: post(), stop() and endpoint_handle from any thread; everything else from the
// loop's own, or before it runs.
// Errors: run(), poll() and turns throw std::system_error with errc::forked in a child of the
// process that made the loop, and nothing else of their own; so does descriptor(), which may also
// find no descriptor left.
#pragma once

#include <quoit/capabilities.hpp>
#include <quoit/detail/scheduler.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>
#include <quoit/packet_options.hpp>
#include <quoit/packet_stats.hpp>
#include <quoit/spawn.hpp>
#include <quoit/stats.hpp>
#include <quoit/task.hpp>
#include <quoit/time.hpp>
#include <quoit/timer.hpp>

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

namespace quoit {

class datagram_protocol;
class packet_protocol;
class packet_protocol_port;
class protocol_port;

namespace detail {
class loop_core;
struct loop_access;
}  // namespace detail

class loop {
  public:
    /// Errors: errc::invalid_option; for a backend that was named, why it cannot be had.
    [[nodiscard]] static result<loop> create(const loop_options& options = {});
    /// Moving is for the time between turns.
    loop(loop&& other) noexcept;
    loop& operator=(loop&& other) noexcept;
    /// Drops what still runs, then closes what is open (one flush): handles that live on answer
    /// errc::closed, their stats stay readable.
    ~loop();

    /// The one whose turn runs on this thread. Aborts when there is none.
    [[nodiscard]] static loop& current() noexcept;

    /// Runs until `main` has ended; then what else runs is cancelled, turned until it ends, for
    /// 1000 turns or one second at most, and dropped. Returns what main returned or throws what it
    /// threw. stop() cancels main; one that comes while the rest ends changes nothing.
    template <class T>
    T run(task<T> main);
    /// Runs until stop(). A stop() that came before counts.
    void run();
    /// Makes run() return after its turn. Any thread; async-signal-safe.
    void stop() noexcept;
    /// One turn that never waits. Returns how many things arrived or ran. Aborts when it is called
    /// from inside a turn, by a task for example. Pins the calling thread, as run() does.
    std::size_t poll();

    /// For a loop that is not quoit's: one descriptor, to be watched for readability
    /// (level-triggered). It is readable when poll() has something to do: something arrived, was
    /// posted or signalled, a timer is due, a task is ready; and from the start, so that there is a
    /// first poll(). What this thread does to the loop between two polls (opening, closing,
    /// spawn, timers, sends, datagrams given back) waits for the next one: call it, or do such
    /// things from post().
    ///
    /// The loop's to close: stop watching it before the loop is gone. Made by the first call. From
    /// then on waiting::busy_poll does not spin on this thread. Throws std::system_error when there
    /// is no descriptor left, or errc::forked.
    [[nodiscard]] int descriptor();

    /// Calls `function` in a later turn, on the loop's thread, in the order of posting. Any thread.
    /// What it throws is logged and counted. May throw std::bad_alloc. REQUIRES: not empty.
    void post(std::move_only_function<void()> function);

    /// Calls `function` on the loop's thread, once, `delay` from now, or at a point in time; 0, or
    /// a time that has passed: in the next turn. The handle may be ignored (timer.hpp). A delay
    /// that is negative or no number is refused: timer::status() and the log say so.
    /// May throw std::bad_alloc. REQUIRES: `function` is not empty.
    template <class Rep, class Period>
    timer call_later(std::chrono::duration<Rep, Period> delay,
                     std::move_only_function<void()> function) {
        return start_timer("call_later", delay, std::move(function));
    }
    timer call_at(std::chrono::steady_clock::time_point when,
                  std::move_only_function<void()> function);
    /// Again and again, first one `period` from now. A period that is not positive is refused.
    template <class Rep, class Period>
    timer call_every(std::chrono::duration<Rep, Period> period,
                     std::move_only_function<void()> function) {
        return start_timer("call_every", period, std::move(function), repeated::yes);
    }

    /// As quoit::spawn, from outside a turn.
    template <class T>
    task_handle<T> spawn(task<T> body);
    template <task_function Function>
    auto spawn(Function function) {
        return spawn(detail::keep_callable(std::move(function)));
    }

    /// Callback style (protocol.hpp): binds to a literal, at once; the protocol's started() is
    /// called before this returns.
    /// Errors: as port::open(); errc::already_running for a protocol that listens already;
    /// errc::invalid_option for one of null.
    [[nodiscard]] result<protocol_port> listen_udp(const address& where,
                                                   std::shared_ptr<datagram_protocol> protocol,
                                                   const udp_options& options = {});

    /// The same, on a UDP socket that somebody else opened, connected or not. Errors: as
    /// port::adopt().
    [[nodiscard]] result<protocol_port> adopt_udp(int descriptor, ownership how,
                                                  std::shared_ptr<datagram_protocol> protocol,
                                                  const udp_options& options = {});

    /// Callback style for packets over TCP (packet_protocol.hpp), likewise. Errors: as
    /// packet_port::listen(); errc::already_running; errc::invalid_option.
    [[nodiscard]] result<packet_protocol_port> listen_packets(
        const address& where, std::shared_ptr<packet_protocol> protocol,
        const packet_options& options = {});

    /// The sum over all endpoints, closed ones included.
    [[nodiscard]] quoit::stats stats() const;
    /// The same of packets over TCP.
    [[nodiscard]] quoit::packet_stats packet_stats() const;
    [[nodiscard]] quoit::engine_stats engine_stats() const noexcept;
    [[nodiscard]] const quoit::capabilities& capabilities() const noexcept;
    /// Exceptions of tasks that nobody joined, of posted functions, signal handlers and timers.
    /// They were logged: ten within a second of each kind, then how many more there were.
    [[nodiscard]] std::uint64_t unobserved_exception_count() const noexcept;

  private:
    friend struct detail::loop_access;
    explicit loop(std::unique_ptr<detail::loop_core> core) noexcept;

    enum class repeated : std::uint8_t { no, yes };
    timer start_timer(std::string_view name, time_limit when,
                      std::move_only_function<void()> function, repeated how = repeated::no);
    [[nodiscard]] detail::loop_core& entered() noexcept;
    [[nodiscard]] detail::task_scheduler& scheduler() noexcept;
    void run_until_done(detail::spawned& main);

    std::unique_ptr<detail::loop_core> core_;
};

namespace detail {

class [[nodiscard("co_await it")]] sleep_operation final : public waiter {
  public:
    explicit sleep_operation(time_limit how_long) noexcept : how_long_(how_long) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <task_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> frame) {
        return start(frame, *frame.promise().context, how_long_, nullptr, false);
    }
    status await_resume() const noexcept {
        return answer() == outcome::timed_out ? status() : answer_as_status();
    }

  private:
    time_limit how_long_;
};

}  // namespace detail

/// Suspends for a duration or until a point in time; 0: for one turn; {}: until cancelled.
/// Errors: errc::canceled, errc::invalid_option.
[[nodiscard("co_await it")]] inline detail::sleep_operation sleep(time_limit how_long) noexcept {
    return detail::sleep_operation(how_long);
}

template <class T>
task_handle<T> loop::spawn(task<T> body) {
    const detail::counted_ptr running(new detail::spawned_task<T>(std::move(body)));
    running->start(scheduler());
    return task_handle<T>(running);
}

template <class T>
T loop::run(task<T> main) {
    const detail::supervised<T> running(std::move(main));
    run_until_done(*running);
    return running->take_or_throw();
}

/// A loop for one task, on this thread. Throws std::system_error when there can be no loop, and
/// what the task threw.
template <class T>
T run(task<T> main, const loop_options& options = {}) {
    auto made = or_throw(loop::create(options));
    return made.run(std::move(main));
}

/// For main(): an exception is printed as "error: WORDS" on standard error and becomes exit status
/// 1.
[[nodiscard]] int run_main(task<> main, const loop_options& options = {}) noexcept;
[[nodiscard]] int run_main(task<int> main, const loop_options& options = {}) noexcept;

}  // namespace quoit
