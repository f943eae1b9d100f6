// SPDX-License-Identifier: MIT
#include "runtime/worker.hpp"

#include "backend/select.hpp"
#include "base/assert.hpp"
#include "net/system.hpp"

#include <pthread.h>
#include <sched.h>

#include <algorithm>

namespace quoit::detail {

namespace {

constexpr std::array<std::uint32_t, buffer_class_count> strides{
    small_buffer_stride, large_buffer_stride, large_buffer_stride};
constexpr std::uint32_t buffer_count_min = 64;  // below it, memory is too short for a ring

}  // namespace

result<std::unique_ptr<port_waker>> port_waker::create() {
    const int event = system::event_open();
    if (event < 0) {
        return failure(std::error_code(-event, std::system_category()), "create an eventfd");
    }
    return std::unique_ptr<port_waker>(new port_waker(file_descriptor(event)));
}

void port_waker::wake() const noexcept { system::event_raise(event_.get()); }

worker::worker(const options& wanted, event_sink& inline_sink, port_waker& waker)
    : inline_sink_(inline_sink), waker_(waker), socket_count_max_(wanted.socket_count_max),
      is_threaded_(wanted.is_threaded), cpu_(wanted.cpu),
      spins_(wanted.waiting == waiting::busy_poll), spin_time_(wanted.spin_time),
      napi_busy_poll_us_(wanted.napi_busy_poll_us), sources_(wanted.socket_count_max),
      sockets_(wanted.socket_count_max) {}

result<std::unique_ptr<worker>> worker::create(const options& wanted, event_sink& inline_sink,
                                               port_waker& waker) {
    std::unique_ptr<worker> made(new worker(wanted, inline_sink, waker));
    auto counts = wanted.buffer_counts;
    result<std::unique_ptr<io_backend>> backend = failure(errc::not_supported);
    for (;;) {
        if (auto pools = made->make_pools(counts); !pools) return std::unexpected(pools.error());
        backend = made->make_backend_of(wanted.backend);
        const bool is_short_of_memory = !backend && backend.error() == std::errc::not_enough_memory;
        if (!is_short_of_memory || std::ranges::max(counts) <= buffer_count_min) break;
        for (auto& count : counts)
            count = std::max(count / 2, std::min(count, buffer_count_min));
    }
    std::string reason;
    if (!backend && wanted.backend == backend::automatic) {
        reason = backend.error().message();
        if (auto pools = made->make_pools(wanted.buffer_counts); !pools) {
            return std::unexpected(pools.error());
        }
        backend = made->make_backend_of(backend::epoll);
    }
    if (!backend) return std::unexpected(backend.error());
    made->backend_ = *std::move(backend);
    made->about_ = made->backend_->about();
    if (made->about_.reason.empty()) made->about_.reason = std::move(reason);

    std::size_t buffers = 0;
    for (const auto& pool : made->pools_)
        buffers += pool->count();
    made->returned_.reserve(buffers);
    if (made->is_threaded_) {
        const std::size_t events_per_socket = 4;
        const std::size_t orders_per_socket = 4;
        made->down_ = std::make_unique<spsc_queue<event>>(buffers + events_per_socket *
                                                                        made->socket_count_max_);
        made->up_ =
            std::make_unique<spsc_queue<order>>(orders_per_socket * made->socket_count_max_);
    }
    return made;
}

result<void> worker::make_pools(const std::array<std::uint32_t, buffer_class_count>& counts) {
    for (std::size_t i = 0; i < buffer_class_count; ++i) {
        auto pool = buffer_pool::create(
            {.count = counts[i], .stride = strides[i], .socket_count = socket_count_max_});
        if (!pool) return std::unexpected(pool.error());
        pools_[i] = *std::move(pool);
    }
    return {};
}

result<std::unique_ptr<io_backend>> worker::make_backend_of(quoit::backend wanted) {
    backend_options of_backend{.pools = {},
                               .source_count_max = socket_count_max_,
                               .is_spinning = spins_,
                               .napi_busy_poll_us = napi_busy_poll_us_,
                               .ledger = &ledger_};
    for (std::size_t i = 0; i < buffer_class_count; ++i)
        of_backend.pools[i] = pools_[i].get();
    return make_backend(wanted, of_backend);
}

worker::~worker() { stop(); }

void worker::start() {
    if (!is_threaded_) return;
    for (const auto& pool : pools_) {
        pool->set_waker([](void* self) noexcept { static_cast<worker*>(self)->wake(); }, this);
    }
    thread_ = std::thread([this] { run(); });
}

void worker::stop() noexcept {
    if (thread_.joinable()) {
        // Release, with the wake-up's own ordering: the thread reads it after it has woken.
        is_stopping_.store(true, std::memory_order_release);
        backend_->wake();
        // Release: pairs with the acquire in run(). The thread may see the flag before the wake-up,
        // and must not destroy the backend under it.
        has_been_woken_.store(true, std::memory_order_release);
        thread_.join();
    }
    for (const auto& pool : pools_) {
        if (pool) pool->set_waker(nullptr, nullptr);
    }
    backend_.reset();
}

void worker::give(const order& what) {
    if (!is_threaded_) {
        execute(what);
        return;
    }
    has_ordered_ = true;
    if (!waiting_orders_.empty() || !up_->producer_end().push(what))
        waiting_orders_.push_back(what);
}

bool worker::flush_orders() noexcept {
    if (!has_ordered_) return false;
    const std::size_t pushed = up_->producer_end().push(waiting_orders_);
    waiting_orders_.erase(waiting_orders_.begin(),
                          waiting_orders_.begin() + static_cast<std::ptrdiff_t>(pushed));
    has_ordered_ = !waiting_orders_.empty();
    if (!parking_.must_wake()) return false;
    wake();
    return true;
}

void worker::turn(steady_time deadline) {
    recycle();
    backend_->turn(deadline, *this);
}

bool worker::prepare_to_wait() {
    recycle();
    return backend_->prepare_to_wait();
}

engine_stats worker::stats() const noexcept {
    engine_stats now;
    now.turns = ledger_.turns.get();
    now.system_calls = ledger_.system_calls.get();
    now.completions = ledger_.completions.get();
    now.wakeups = wakeups_.get();
    now.starved = ledger_.starved.get();
    now.rearmed = {.empty = ledger_.rearmed_empty.get(),
                   .starved = ledger_.rearmed_starved.get(),
                   .overflow = ledger_.rearmed_overflow.get(),
                   .error = ledger_.rearmed_error.get(),
                   .resumed = ledger_.rearmed_resumed.get()};
    for (const auto& pool : pools_) {
        now.buffers += pool->count();
        now.buffers_held += pool->leased();
    }
    return now;
}

// --- the worker's thread ---

void worker::run() noexcept {
    if (cpu_ >= 0) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(static_cast<unsigned>(cpu_), &one);
        // A CPU that has gone is no reason to fail: the thread runs where it may.
        [[maybe_unused]] const int error = pthread_setaffinity_np(pthread_self(), sizeof one, &one);
    }
    // When to stop spinning and sleep; a worker that blocks never spins.
    steady_time spin_until = spins_ ? no_deadline : at_once;
    while (!is_stopping_.load(std::memory_order_acquire)) {
        up_->consumer_end().consume(up_->capacity(), [this](std::span<const order> orders) {
            for (const order& one : orders)
                execute(one);
        });
        recycle();
        has_delivered_ = false;
        if (spin_until != at_once) {
            backend_->turn(at_once, *this);
            if (spin_time_.count() > 0) spin_until = next_spin_end(spin_until);
        } else {
            parking_.prepare_to_sleep();
            const steady_time deadline = has_work() ? at_once : no_deadline;
            backend_->turn(deadline, *this);
            parking_.cancel();
            if (spins_) spin_until = system::now() + spin_time_;
        }
        if (has_events() && waker_.parking.must_wake()) {
            ++wakeups_;
            waker_.wake();
        }
    }
    // Between stop()'s flag and the end of its wake-up: one write(2).
    while (!has_been_woken_.load(std::memory_order_acquire))
        std::this_thread::yield();
    backend_.reset();
}

// After a turn that did not wait: later when it brought something, at_once when it is time to
// sleep.
steady_time worker::next_spin_end(steady_time before) const noexcept {
    const steady_time now = system::now();
    if (has_delivered_ || before == no_deadline) return now + spin_time_;
    return now < before ? before : at_once;
}

bool worker::has_work() const noexcept {
    if (!up_->consumer_end().is_empty() || is_stopping_.load(std::memory_order_acquire))
        return true;
    for (std::size_t i = 0; i < buffer_class_count; ++i) {
        if (starved_[i] > 0 && pools_[i]->has_returned()) return true;
    }
    return false;
}

void worker::execute(const order& what) {
    source_id& source = sources_[what.tag];
    switch (what.kind) {
        case order_kind::attach:
            sockets_[what.tag] = what.socket;
            source = backend_->attach(what.socket->fd, what.socket->options);
            break;
        case order_kind::receive: backend_->set(source, interest::receive); break;
        case order_kind::pause: backend_->set(source, interest::pause); break;
        case order_kind::writable: backend_->set(source, interest::writable); break;
        case order_kind::detach: backend_->detach(source); break;
    }
}

void worker::recycle() {
    for (std::size_t i = 0; i < buffer_class_count; ++i) {
        pools_[i]->take_returned(returned_);
        if (returned_.empty()) continue;
        backend_->recycle(static_cast<buffer_class>(i), returned_);
        if (starved_[i] == 0) continue;
        // At least as many sources go on, now or in the turn that follows, as buffers came back; so
        // this never says too early that none waits any more.
        starved_[i] -= std::min(starved_[i], static_cast<std::uint32_t>(returned_.size()));
        if (is_threaded_ && starved_[i] == 0) pools_[i]->set_starved(false);
    }
}

void worker::deliver(std::span<const event> events) noexcept {
    has_delivered_ = true;
    for (const event& one : events)
        note(one);
    if (!is_threaded_) {
        inline_sink_.deliver(events);
        return;
    }
    // All but what stays here, in as few stretches as there are.
    auto down = down_->producer_end();
    std::size_t first = 0;
    for (std::size_t i = 0; i <= events.size(); ++i) {
        const bool is_end = i == events.size();
        if (!is_end && !stays_here(events[i])) continue;
        const auto stretch = events.subspan(first, i - first);
        const std::size_t pushed = down.push(stretch);
        QUOIT_ASSERT(pushed == stretch.size(), "the queue to the port has room by construction");
        first = i + 1;
    }
}

void worker::note(const event& one) noexcept {
    if (one.kind == event_kind::datagram) {
        shared_socket& socket = *sockets_[one.tag];
        socket.taken.add(datagram_count(one.value, one.segment, socket.options.layout));
    } else if (one.kind == event_kind::starved) {
        const auto pool = static_cast<std::size_t>(one.pool);
        if (starved_[pool]++ == 0 && is_threaded_) pools_[pool]->set_starved(true);
    }
}

// A refusal behind one that the port has not seen yet is counted, not queued.
bool worker::stays_here(const event& one) noexcept {
    if (one.kind == event_kind::starved) return true;
    if (one.kind != event_kind::failed) return false;
    if (sockets_[one.tag]->options.kind != source_kind::datagrams) return false;  // the only one
    // Pairs with the port's exchange: it either takes this one too, or finds its event.
    return sockets_[one.tag]->refusals.fetch_add(1, std::memory_order_acq_rel) > 0;
}

}  // namespace quoit::detail
