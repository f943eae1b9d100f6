// SPDX-License-Identifier: MIT
#include "request_workers.hpp"

#include <functional>
#include <utility>

namespace quoit::detail {

request_workers::request_workers(std::uint32_t count, std::uint32_t queue_size_max, handler handle)
    : handle_(std::move(handle)) {
    try {
        for (std::uint32_t i = 0; i < count; ++i) {
            worker& one = *workers_.emplace_back(std::make_unique<worker>());
            one.slots.resize(queue_size_max);
            one.thread = std::thread([this, &one] { run(one); });
        }
    } catch (...) {
        stop();
        throw;
    }
}

request_workers::~request_workers() { stop(); }

void request_workers::stop() noexcept {
    for (const auto& one : workers_) {
        const std::scoped_lock lock(one->mutex);
        one->is_stopping = true;
        one->has_work.notify_one();
    }
    for (const auto& one : workers_) {
        if (one->thread.joinable()) one->thread.join();  // all but one that could not be started
    }
    workers_.clear();
}

void request_workers::push(datagram received) {
    worker& one = *workers_[std::hash<address>()(received.peer()) % workers_.size()];
    std::unique_lock lock(one.mutex);
    one.has_room.wait(lock, [&] { return one.count < one.slots.size(); });
    one.slots[(one.head + one.count) % one.slots.size()] = std::move(received);
    ++one.count;
    one.has_work.notify_one();
}

void request_workers::run(worker& one) const {
    std::unique_lock lock(one.mutex);
    for (;;) {
        one.has_work.wait(lock, [&] { return one.count > 0 || one.is_stopping; });
        if (one.count == 0) return;
        const datagram next = std::move(one.slots[one.head]);
        one.head = (one.head + 1) % one.slots.size();
        --one.count;
        one.has_room.notify_one();
        lock.unlock();
        handle_(next);
        lock.lock();
    }
}

}  // namespace quoit::detail
