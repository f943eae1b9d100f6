// SPDX-License-Identifier: MIT
//
// counter: a number that one thread raises and any thread reads. Raising is a plain load, add and
// store: no locked instruction, because there is one writer. Reading is exact for what the writer
// has published and says nothing about other counters; nobody orders anything by it, hence relaxed.
#pragma once

#include <atomic>
#include <cstdint>

namespace quoit::detail {

class counter {
  public:
    /// The writer's thread.
    void add(std::uint64_t how_many) noexcept {
        value_.store(value_.load(std::memory_order_relaxed) + how_many, std::memory_order_relaxed);
    }
    counter& operator++() noexcept {
        add(1);
        return *this;
    }
    /// Any thread.
    [[nodiscard]] std::uint64_t get() const noexcept {
        return value_.load(std::memory_order_relaxed);
    }

  private:
    std::atomic<std::uint64_t> value_{0};
};

}  // namespace quoit::detail
