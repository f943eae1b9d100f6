// SPDX-License-Identifier: MIT
//
// A core's loop is made by the thread that makes the group, and run and destroyed by the core's
// own: a port is closed by the thread that it belongs to. stop() may come meanwhile, from a signal
// handler too, so nothing is locked there:
//
//   stop()                                 the end of a core
//   ++stops_running_       (seq_cst)       running = null              (seq_cst)
//   read each running      (seq_cst)       wait: stops_running_ == 0   (seq_cst)
//   loop.stop()                            now nobody uses the loop
//   --stops_running_       (release)
//
// A handler that interrupts the waiting thread comes to its end first.
#include <quoit/every_core.hpp>

#include "collective_openings.hpp"
#include "loop_core.hpp"
#include "print_what_escapes.hpp"
#include "stop_signals.hpp"

#include <quoit/detail/allowed_cpus.hpp>

#include <algorithm>
#include <atomic>
#include <exception>
#include <expected>
#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace quoit {

namespace {

struct ledgers {
    quoit::stats datagrams{};
    quoit::engine_stats engine{};
};

ledgers ledgers_of(const port& of) {
    return {.datagrams = of.stats(), .engine = of.engine_stats()};
}

bool is_cancellation(const std::exception_ptr& thrown) noexcept {
    try {
        std::rethrow_exception(thrown);
    } catch (const std::system_error& e) {
        return error(e.code()) == errc::canceled;
    } catch (const std::bad_expected_access<error>& e) {  // result<>::value()
        return e.error() == errc::canceled;
    } catch (...) {
        return false;
    }
}

// The group and core whose thread this is. Not the current loop: that is there only while the loop
// turns, and may be another that the main's plain part turns itself.
struct core_thread {
    const void* group = nullptr;
    std::size_t core = 0;
};
thread_local core_thread here;

// Threads that spin on fewer CPUs only keep each other from working; each port knows of its own.
void keep_from_spinning_on_too_few(loop_options& options, std::size_t core_count,
                                   std::size_t cpu_count) {
    const std::size_t threads = core_count * (options.worker_count + std::size_t{1});
    if (options.waiting == waiting::block || threads <= cpu_count) return;
    options.log(log_level::warning, "busy_poll on " + std::to_string(core_count) + " cores needs " +
                                        std::to_string(threads) +
                                        " CPUs and this process may use " +
                                        std::to_string(cpu_count) + ": its threads sleep instead");
    options.waiting = waiting::block;
}

}  // namespace

class core_group::implementation {
  public:
    [[nodiscard]] static result<std::unique_ptr<implementation>> create(core_options options);

    void run(const main_function& main);
    void stop() noexcept;

    [[nodiscard]] std::size_t core_count() const noexcept { return cores_.size(); }
    [[nodiscard]] int cpu(std::size_t core) const noexcept { return cores_[core].cpu; }
    [[nodiscard]] const quoit::capabilities& capabilities(std::size_t core) const noexcept {
        return cores_[core].capabilities;
    }
    [[nodiscard]] const detail::collective_openings& openings() const noexcept { return openings_; }
    [[nodiscard]] ledgers ledgers_of_core(std::size_t core) const;

  private:
    enum class phase : std::uint8_t { before, running, after };
    struct one_core {
        int cpu = -1;
        std::optional<loop> runs;  // gone when its main has ended
        std::atomic<loop*> running{nullptr};
        std::shared_ptr<detail::loop_mailbox> mailbox;
        quoit::capabilities capabilities;
        std::thread thread;
        // Under `mutex_`:
        phase now = phase::before;
        ledgers at_the_end{};
    };

    implementation(const std::vector<int>& cpus, const core_options& options)
        : openings_(cpus, options.steering, options.loop.log), cores_(cpus.size()) {}
    void run_core(std::size_t core, const main_function& main) noexcept;
    void failed(const std::exception_ptr& thrown) noexcept;
    void enter(one_core& one, phase now);

    detail::collective_openings openings_;
    std::vector<one_core> cores_;
    std::atomic<int> stops_running_{0};
    std::atomic<bool> is_stopping_{false};
    bool has_run_ = false;
    mutable std::mutex mutex_;
    std::exception_ptr first_failure_;  // under mutex_
};

result<std::unique_ptr<core_group::implementation>> core_group::implementation::create(
    core_options options) {
    const std::size_t count_max = core_count_max();
    if (options.core_count > count_max) {
        return failure(errc::invalid_option, "core_count of " + std::to_string(options.core_count) +
                                                 ": this process may use " +
                                                 std::to_string(count_max) +
                                                 (count_max == 1 ? " CPU" : " CPUs"));
    }
    if (options.loop.cpu != -1) {
        return failure(errc::invalid_option, "loop.cpu: core_options::pin says where loops run");
    }
    if (options.loop.log == nullptr) return failure(errc::invalid_option, "log of null");
    if (options.steering == steering::by_cpu && options.pin == pinning::none) {
        return failure(errc::invalid_option,
                       "steering by_cpu of cores that are on no CPU of their own: pin is none");
    }
    const std::size_t count = options.core_count == 0 ? count_max : options.core_count;
    if (options.loop.worker_pinning != pinning::none && count > 1) {
        return failure(errc::invalid_option,
                       "loop.worker_pinning: the workers of every core would begin on the first "
                       "CPU");
    }
    keep_from_spinning_on_too_few(options.loop, count, count_max);
    std::vector<int> cpus(count, -1);
    // Unknown where there are more CPUs than can be told apart: then they run where they may.
    const std::vector<int> allowed = detail::allowed_cpus();
    if (options.pin == pinning::spread && allowed.size() >= count) {
        std::copy_n(allowed.begin(), count, cpus.begin());
    }
    std::unique_ptr<implementation> made(new implementation(cpus, options));
    for (std::size_t core = 0; core < count; ++core) {
        one_core& one = made->cores_[core];
        loop_options wanted = options.loop;
        wanted.cpu = one.cpu = cpus[core];
        auto opened = loop::create(wanted);
        if (!opened) return std::unexpected(opened.error());
        loop& runs = one.runs.emplace(*std::move(opened));
        detail::loop_core& inside = detail::loop_access::core(runs);
        inside.in_group = {.openings = &made->openings_, .core = core};
        one.mailbox = inside.mailbox();
        one.capabilities = runs.capabilities();
        one.running.store(&runs, std::memory_order_seq_cst);
    }
    return made;
}

void core_group::implementation::run(const main_function& main) {
    if (has_run_) throw std::system_error(errc::already_running, "a group of cores runs once");
    has_run_ = true;
    std::exception_ptr no_thread;
    for (std::size_t core = 0; core < cores_.size() && !no_thread; ++core) {
        try {
            cores_[core].thread = std::thread([this, core, &main] { run_core(core, main); });
        } catch (...) {
            no_thread = std::current_exception();
            for (std::size_t absent = core; absent < cores_.size(); ++absent)
                openings_.leave(absent);
            stop();
        }
    }
    for (one_core& one : cores_) {
        if (one.thread.joinable()) one.thread.join();
    }
    if (no_thread) std::rethrow_exception(no_thread);
    if (first_failure_) std::rethrow_exception(first_failure_);
}

void core_group::implementation::run_core(std::size_t core, const main_function& main) noexcept {
    one_core& one = cores_[core];
    here = {.group = this, .core = core};
    enter(one, phase::running);
    try {
        one.runs->run(main(core));
    } catch (...) {
        failed(std::current_exception());
    }
    openings_.leave(core);
    enter(one, phase::after);
    one.running.store(nullptr, std::memory_order_seq_cst);
    while (stops_running_.load(std::memory_order_seq_cst) != 0)
        std::this_thread::yield();
    one.runs.reset();
}

// The first failure ends the others. What they throw because of that, or of stop(), is none.
void core_group::implementation::failed(const std::exception_ptr& thrown) noexcept {
    {
        const std::scoped_lock lock(mutex_);
        const bool is_asked_for =
            is_stopping_.load(std::memory_order_relaxed) && is_cancellation(thrown);
        if (!first_failure_ && !is_asked_for) first_failure_ = thrown;
    }
    stop();
}

void core_group::implementation::enter(one_core& one, phase now) {
    const std::scoped_lock lock(mutex_);
    if (now == phase::after)
        one.at_the_end = ledgers_of(detail::loop_access::core(*one.runs).get_port());
    one.now = now;
}

void core_group::implementation::stop() noexcept {
    stops_running_.fetch_add(1, std::memory_order_seq_cst);
    // Relaxed: a core sees it after the stop of its own loop, which releases.
    is_stopping_.store(true, std::memory_order_relaxed);
    for (one_core& one : cores_) {
        if (loop* const running = one.running.load(std::memory_order_seq_cst)) running->stop();
    }
    stops_running_.fetch_sub(1, std::memory_order_release);
}

ledgers core_group::implementation::ledgers_of_core(std::size_t core) const {
    const one_core& one = cores_[core];
    const bool is_asked_by_core = here.group == this;
    const auto recorded = [&]() -> std::optional<ledgers> {
        const std::scoped_lock lock(mutex_);
        // Of one that has not begun a core would have it by chance.
        const bool is_known =
            is_asked_by_core ? one.now == phase::after : one.now != phase::running;
        if (!is_known) return std::nullopt;
        return one.at_the_end;
    };
    if (auto known = recorded()) return *known;
    if (is_asked_by_core && here.core == core) {
        loop* const own = one.running.load(std::memory_order_relaxed);  // this thread's
        return ledgers_of(detail::loop_access::core(*own).get_port());
    }
    if (is_asked_by_core) {
        detail::misused(
            "a core's task asked for the ledger of another core, and would wait for it");
    }
    std::promise<ledgers> promise;
    auto answer = promise.get_future();
    one.mailbox->post([promise = std::move(promise)]() mutable {
        promise.set_value(ledgers_of(detail::current_core().get_port()));
    });
    try {
        return answer.get();
    } catch (const std::future_error&) {
        // It ended, and dropped the letter; before that it wrote down how it stood.
        return recorded().value_or(ledgers());
    }
}

// --- quoit/every_core.hpp ---

core_group::core_group(std::unique_ptr<implementation> made) noexcept
    : implementation_(std::move(made)) {}
core_group::core_group(core_group&& other) noexcept = default;
core_group& core_group::operator=(core_group&& other) noexcept = default;
core_group::~core_group() = default;

std::size_t core_group::core_count_max() {
    return std::max<std::size_t>(1, detail::allowed_cpus().size());
}

result<core_group> core_group::create(const core_options& options) {
    auto made = implementation::create(options);
    if (!made) return std::unexpected(made.error());
    return core_group(*std::move(made));
}

void core_group::run_mains(const main_function& main) { implementation_->run(main); }
void core_group::stop() noexcept { implementation_->stop(); }
std::size_t core_group::core_count() const noexcept { return implementation_->core_count(); }
int core_group::cpu(std::size_t core) const noexcept { return implementation_->cpu(core); }
const capabilities& core_group::capabilities(std::size_t core) const noexcept {
    return implementation_->capabilities(core);
}
steering core_group::steering() const { return implementation_->openings().steering_now(); }
std::string core_group::steering_reason() const {
    return implementation_->openings().steering_reason();
}

stats core_group::stats() const {
    quoit::stats sum;
    for (std::size_t core = 0; core < core_count(); ++core)
        sum += stats(core);
    return sum;
}

stats core_group::stats(std::size_t core) const {
    return implementation_->ledgers_of_core(core).datagrams;
}

engine_stats core_group::engine_stats() const {
    quoit::engine_stats sum;
    for (std::size_t core = 0; core < core_count(); ++core)
        sum += engine_stats(core);
    return sum;
}

engine_stats core_group::engine_stats(std::size_t core) const {
    return implementation_->ledgers_of_core(core).engine;
}

namespace detail {

int run_cores(std::move_only_function<void(core_group&)> run,
              const core_options& options) noexcept {
    return print_what_escapes([&] {
        core_group group = or_throw(core_group::create(options));
        const stop_signals stopping(group);
        run(group);
        return 0;
    });
}

}  // namespace detail

}  // namespace quoit
