// SPDX-License-Identifier: MIT
//
// histogram: a log-linear histogram of durations. Every power of two is cut into 128 equal buckets,
// so that a bucket is at most 1/128 (0.8 %) of its values wide, from 1 ns to 584 years, in 58 KiB.
//
//     value      0 .. 255    one bucket each
//              256 .. 511    buckets of 2
//              512 .. 1023   buckets of 4, and so on
//
// Invariants: recording costs a few instructions and never allocates; quantiles are never too
// small, and too large by 0.8 % at most; max() is exact.
//
// Thread safety: none. Errors: none; a negative duration counts as 0. Units: nanoseconds.
#pragma once

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace quoit::program {

class histogram {
  public:
    histogram() : counts_(bucket_count) {}

    void record(std::chrono::nanoseconds value) noexcept {
        const auto ns = static_cast<std::uint64_t>(std::max<std::int64_t>(value.count(), 0));
        ++counts_[bucket_of(ns)];
        ++count_;
        max_ = std::max(max_, ns);
    }

    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

    [[nodiscard]] std::chrono::nanoseconds max() const noexcept {
        return std::chrono::nanoseconds(max_);
    }

    /// The value that the fraction `q`, 0..1, of what was recorded does not exceed: the largest one
    /// in its bucket. 0 when nothing was recorded.
    [[nodiscard]] std::chrono::nanoseconds quantile(double q) const noexcept {
        const auto rank = std::max<std::uint64_t>(
            1, static_cast<std::uint64_t>(std::ceil(q * static_cast<double>(count_))));
        std::uint64_t seen = 0;
        for (std::size_t bucket = 0; bucket < bucket_count; ++bucket) {
            seen += counts_[bucket];
            if (seen >= rank) {
                return std::chrono::nanoseconds(std::min(largest_in(bucket), max_));
            }
        }
        return max();
    }

  private:
    static constexpr unsigned cut_bits = 7;
    static constexpr std::uint64_t cut_count = 1U << cut_bits;
    static constexpr std::size_t bucket_count = (64 - cut_bits + 1) * cut_count;

    static constexpr std::size_t bucket_of(std::uint64_t ns) noexcept {
        if (ns < 2 * cut_count) return ns;
        const auto shift = static_cast<unsigned>(std::bit_width(ns)) - cut_bits - 1;
        return (std::size_t{shift} << cut_bits) + (ns >> shift);
    }
    static constexpr std::uint64_t largest_in(std::size_t bucket) noexcept {
        if (bucket < 2 * cut_count) return bucket;
        const std::size_t shift = (bucket >> cut_bits) - 1;
        return (((bucket & (cut_count - 1)) + cut_count + 1) << shift) - 1;
    }

    std::vector<std::uint64_t> counts_;
    std::uint64_t count_ = 0;
    std::uint64_t max_ = 0;
};

}  // namespace quoit::program
