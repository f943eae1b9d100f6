// SPDX-License-Identifier: MIT
//
// histogram: durations in nanoseconds, in buckets at most 1/128 of their value wide, so that a
// percentile (the upper end of its bucket) is at most 0.8 % too large. The maximum is exact.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace bench {

class histogram {
  public:
    histogram() : counts_(bucket_count) {}

    void record(std::int64_t duration_ns) noexcept {
        const auto value = static_cast<std::uint64_t>(std::max<std::int64_t>(duration_ns, 0));
        ++counts_[bucket_of(value)];
        ++count_;
        max_ = std::max(max_, value);
    }
    void clear() noexcept {
        std::ranges::fill(counts_, 0);
        count_ = 0;
        max_ = 0;
    }

    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
    [[nodiscard]] std::uint64_t max() const noexcept { return max_; }
    /// 0 when nothing was recorded. REQUIRES: 0 < fraction <= 1.
    [[nodiscard]] std::uint64_t percentile(double fraction) const noexcept {
        const auto wanted = static_cast<std::uint64_t>(fraction * static_cast<double>(count_));
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            seen += counts_[i];
            if (seen > wanted || (seen == count_ && count_ > 0)) {
                return std::min(upper_end_of(i), max_);
            }
        }
        return 0;
    }

  private:
    static constexpr unsigned precision_bits = 7;
    static constexpr std::uint64_t linear_count = std::uint64_t{1} << (precision_bits + 1);
    static constexpr std::size_t bucket_count = (64 - precision_bits + 1) << precision_bits;

    // Values below linear_count have a bucket each; above, every power of two has 128.
    static std::size_t bucket_of(std::uint64_t value) noexcept {
        if (value < linear_count) return value;
        const auto shift = static_cast<unsigned>(std::bit_width(value)) - (precision_bits + 1);
        return (std::size_t{shift} << precision_bits) + (value >> shift);
    }
    static std::uint64_t upper_end_of(std::size_t bucket) noexcept {
        if (bucket < linear_count) return bucket;
        const std::size_t shift = (bucket >> precision_bits) - 1;
        const std::uint64_t mantissa = bucket - (shift << precision_bits);
        return ((mantissa + 1) << shift) - 1;
    }

    std::vector<std::uint64_t> counts_;
    std::uint64_t count_ = 0;
    std::uint64_t max_ = 0;
};

}  // namespace bench
