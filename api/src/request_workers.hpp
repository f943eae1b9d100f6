// SPDX-License-Identifier: MIT
//
// request_workers: the threads of a request server. Each has a bounded queue, and each peer belongs
// to one of them, so that its requests are handled in order and never two at once.
//
// Threads: push() by the thread that serves, as are construction and destruction; the handler is
// called on the workers.
#pragma once

#include <quoit/datagram.hpp>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace quoit::detail {

class request_workers {
  public:
    using handler = std::function<void(const datagram&)>;

    /// `handle` must not throw. Throws std::system_error when a thread cannot be had.
    request_workers(std::uint32_t count, std::uint32_t queue_size_max, handler handle);
    request_workers(const request_workers&) = delete;
    request_workers& operator=(const request_workers&) = delete;
    /// Waits until everything that was pushed has been handled.
    ~request_workers();

    /// Waits while the queue of this peer's worker is full.
    void push(datagram received);

  private:
    // A ring of `slots`, of which `count` from `head` on are used.
    struct worker {
        std::mutex mutex;
        std::condition_variable has_work;
        std::condition_variable has_room;
        std::vector<datagram> slots;
        std::size_t head = 0;
        std::size_t count = 0;
        bool is_stopping = false;
        std::thread thread;
    };

    void run(worker& one) const;
    void stop() noexcept;

    handler handle_;
    std::vector<std::unique_ptr<worker>> workers_;
};

}  // namespace quoit::detail
