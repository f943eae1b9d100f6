// SPDX-License-Identifier: MIT
#include "loop_core.hpp"
#include "print_what_escapes.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <string>
#include <utility>

#include <sched.h>

namespace quoit {

namespace detail {

namespace {

thread_local loop_core* current = nullptr;

constexpr int leftover_turns_max = 1000;
constexpr std::chrono::seconds leftover_time_max{1};

}  // namespace

loop_core& current_core() noexcept {
    if (current == nullptr) misused("this needs a loop whose turn runs on this thread");
    return *current;
}

loop_core* current_core_or_null() noexcept { return current; }

task_scheduler& current_scheduler() noexcept { return current_core(); }

// --- loop_mailbox ---

void loop_mailbox::post(letter function) {
    const std::scoped_lock lock(mutex_);
    if (receiver_ == nullptr) return;
    letters_.push_back(std::move(function));
    // Relaxed: see has_letters().
    if (!has_letters_.exchange(true, std::memory_order_relaxed)) receiver_->wake();
}

void loop_mailbox::take(std::vector<letter>& into) {
    const std::scoped_lock lock(mutex_);
    has_letters_.store(false, std::memory_order_relaxed);
    into.swap(letters_);
}

void loop_mailbox::shut(std::vector<letter>& into) {
    const std::scoped_lock lock(mutex_);
    receiver_ = nullptr;
    into.swap(letters_);
}

// --- loop_core ---

loop_core::scope::scope(loop_core& entered) noexcept : outer_(std::exchange(current, &entered)) {}
loop_core::scope::~scope() { current = outer_; }

loop_core::loop_core(port&& made, const loop_options& options)
    : task_scheduler(options.log), port_(std::move(made)),
      mailbox_(std::make_shared<loop_mailbox>(port_)), signals_(port_), cpu_(options.cpu) {}

// Dropping tasks and letters runs destructors of the program's, which may post, spawn and close; so
// the order is: what can bring in work, then what it works on.
loop_core::~loop_core() {
    const scope entered(*this);
    cancel_all();  // what is spawned from here on starts cancelled, and is dropped below
    calls().close();
    drop_all();
    std::vector<loop_mailbox::letter> undelivered;
    mailbox_->shut(undelivered);
    undelivered.clear();
    drop_all();
    while (!subscriptions_.empty()) {
        const std::shared_ptr<signal_entry> last = subscriptions_.back();
        unsubscribe(*last);
    }
    for (loop_endpoint* const endpoint : endpoints_) {
        if (endpoint != nullptr) endpoint->lose_loop();
    }
    while (packet_endpoint* const endpoint = packet_endpoints_.front())
        endpoint->lose_loop();
    if (packets_ != nullptr) packets_->set_events(nullptr);
    drop_all();
}

std::size_t loop_core::turn(port::clock::time_point until) {
    if (is_turning_) {
        misused(
            "a loop was turned from inside its own turn (loop.poll() or loop.run() in a task?)");
    }
    struct flag_guard {
        bool& flag;
        ~flag_guard() { flag = false; }
    } const turning{is_turning_};
    is_turning_ = true;
    if (cpu_ >= 0) pin_thread();

    std::size_t count = or_throw(port_.turn(std::min(until, next_due()), *this));
    if (has_timers()) {
        const auto now = port::clock::now();
        count += expire_timers(now);
        count += run_calls(now);
    }
    count += deliver_signals();
    count += deliver_letters();
    count += run_ready();
    port_.flush();
    look_at_draining();
    look_for_room();
    return count;
}

port::clock::time_point loop_core::next_due() const noexcept {
    if (has_ready() || mailbox_->has_letters()) return port::at_once;
    return has_timers() ? earliest_timer() : port::no_deadline;
}

void loop_core::run_until_done(spawned& main) {
    const scope entered(*this);
    main.start(*this);
    while (!main.is_done()) {
        turn(port::no_deadline);
        if (take_stop()) main.cancel();
    }
    end_leftovers();
    // What came meanwhile meant this run, not the next.
    static_cast<void>(take_stop());
    prepare_to_wait();
}

void loop_core::run_until_stopped() {
    const scope entered(*this);
    while (!take_stop())
        turn(port::no_deadline);
    prepare_to_wait();
}

void loop_core::end_leftovers() {
    if (!has_tasks()) return;
    cancel_all();
    const auto give_up_at = port::clock::now() + leftover_time_max;
    for (int turns = 0; has_tasks() && turns < leftover_turns_max; ++turns) {
        if (port::clock::now() >= give_up_at) break;
        turn(give_up_at);
    }
    if (has_tasks()) {
        log(log_level::warning,
            "tasks that had not ended a second after they were cancelled are "
            "dropped");
        drop_all();
    }
    accept_again();
}

void loop_core::pin_thread() noexcept {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(cpu_), &set);
    if (::sched_setaffinity(0, sizeof set, &set) != 0) {
        log(log_level::warning,
            "the loop's thread could not be pinned to the CPU it was given; it "
            "runs wherever it may");
    }
    cpu_ = -1;
}

std::size_t loop_core::deliver_letters() {
    if (!mailbox_->has_letters()) return 0;
    std::vector<loop_mailbox::letter> batch = std::exchange(letters_, {});
    mailbox_->take(batch);
    for (loop_mailbox::letter& one : batch) {
        try {
            one();
        } catch (...) {
            report_unobserved(std::current_exception(), "a posted function");
        }
        one = nullptr;  // what it owns dies in its turn, not after the others
    }
    const std::size_t count = batch.size();
    batch.clear();
    letters_ = std::move(batch);
    return count;
}

std::size_t loop_core::deliver_signals() {
    const std::uint64_t pending = signals_.take();
    if (pending == 0) return 0;
    // A copy: handlers subscribe and unsubscribe, themselves included.
    const std::vector<std::shared_ptr<signal_entry>> subscribed = subscriptions_;
    std::size_t count = 0;
    for (const std::shared_ptr<signal_entry>& one : subscribed) {
        if ((pending & signal_inbox::bit(one->signal)) == 0 || one->core == nullptr) continue;
        ++count;
        try {
            one->handler(one->signal);
        } catch (...) {
            report_unobserved(std::current_exception(), "a signal's handler");
        }
    }
    return count;
}

void loop_core::look_at_draining() noexcept {
    if (draining_.is_empty()) return;
    chain<loop_endpoint, while_draining> looked_at;
    looked_at.push_all_of(draining_);
    while (loop_endpoint* const endpoint = looked_at.pop_front()) {
        endpoint->look_at_send_queue();
        if (!endpoint->drain_waiters.is_empty()) draining_.push_back(*endpoint);
    }
}

void loop_core::register_endpoint(loop_endpoint& endpoint) {
    const std::size_t index = endpoint.id().index;
    if (endpoints_.size() <= index) endpoints_.resize(index + 1);
    endpoints_[index] = &endpoint;
    announce_opening(endpoint);
}

void loop_core::forget_endpoint(loop_endpoint& endpoint) noexcept {
    endpoints_[endpoint.id().index] = nullptr;
}

loop_endpoint* loop_core::find_endpoint(endpoint_id id) const noexcept {
    if (id.index >= endpoints_.size()) return nullptr;
    loop_endpoint* const found = endpoints_[id.index];
    return found != nullptr && found->id() == id ? found : nullptr;
}

void loop_core::readable(endpoint_id endpoint) {
    if (loop_endpoint* const found = find_endpoint(endpoint)) found->became_readable();
}
void loop_core::drained(endpoint_id endpoint) {
    if (loop_endpoint* const found = find_endpoint(endpoint)) found->became_drained();
}
void loop_core::closed(endpoint_id endpoint) {
    if (loop_endpoint* const found = find_endpoint(endpoint)) found->became_closed();
}

}  // namespace detail

// --- loop ---

loop::loop(std::unique_ptr<detail::loop_core> core) noexcept : core_(std::move(core)) {}
loop::loop(loop&& other) noexcept = default;
loop& loop::operator=(loop&& other) noexcept {
    if (this != &other) {
        if (core_) core_->owner = this;
        core_ = std::move(other.core_);
    }
    return *this;
}
loop::~loop() {
    if (core_) core_->owner = this;
}

// Whatever makes the core the current one comes through here: a loop may have moved since.
detail::loop_core& loop::entered() noexcept {
    core_->owner = this;
    return *core_;
}

result<loop> loop::create(const loop_options& options) {
    if (options.cpu < -1 || options.cpu >= CPU_SETSIZE) {
        return failure(errc::invalid_option, "cpu of " + std::to_string(options.cpu));
    }
    if (options.log == nullptr) return failure(errc::invalid_option, "log of null");
    auto made = port::create(options);
    if (!made) return std::unexpected(made.error());
    return loop(std::make_unique<detail::loop_core>(*std::move(made), options));
}

loop& loop::current() noexcept { return *detail::current_core().owner; }

void loop::run() { entered().run_until_stopped(); }
void loop::run_until_done(detail::spawned& main) { entered().run_until_done(main); }
void loop::stop() noexcept { core_->request_stop(); }

std::size_t loop::poll() {
    const detail::loop_core::scope current(entered());
    const std::size_t count = core_->turn(port::at_once);
    core_->prepare_to_wait();
    return count;
}

int loop::descriptor() { return or_throw(core_->get_port().descriptor()); }

void loop::post(std::move_only_function<void()> function) {
    if (!function) detail::misused("post() was given nothing to call");
    core_->mailbox()->post(std::move(function));
}

timer loop::call_at(std::chrono::steady_clock::time_point when,
                    std::move_only_function<void()> function) {
    return start_timer("call_at", when, std::move(function));
}

timer loop::start_timer(std::string_view name, time_limit when,
                        std::move_only_function<void()> function, repeated how) {
    if (!function) detail::misused("a timer was given nothing to call");
    const auto now = std::chrono::steady_clock::now();
    const auto first = when.deadline(now);
    if (!when.is_valid() || (how == repeated::yes && first <= now)) {
        core_->log_limited(log_level::error, name,
                           std::string(name) +
                               (how == repeated::yes ? ": a period that is not positive"
                                                     : ": a delay that is negative or no number") +
                               "; nothing will be called");
        return timer(errc::invalid_option);
    }
    const auto period = how == repeated::yes ? first - now : std::chrono::nanoseconds(0);
    return timer(core_->calls().add(std::move(function), first, period));
}

detail::task_scheduler& loop::scheduler() noexcept { return *core_; }

quoit::stats loop::stats() const { return core_->get_port().stats(); }
quoit::packet_stats loop::packet_stats() const { return core_->get_port().packets().stats(); }
quoit::engine_stats loop::engine_stats() const noexcept { return core_->get_port().engine_stats(); }
const quoit::capabilities& loop::capabilities() const noexcept {
    return core_->get_port().capabilities();
}
std::uint64_t loop::unobserved_exception_count() const noexcept {
    return core_->unobserved_exception_count();
}

int run_main(task<> main, const loop_options& options) noexcept {
    return detail::print_what_escapes([&] {
        run(std::move(main), options);
        return 0;
    });
}

int run_main(task<int> main, const loop_options& options) noexcept {
    return detail::print_what_escapes([&] { return run(std::move(main), options); });
}

}  // namespace quoit
