// SPDX-License-Identifier: MIT
#include <quoit/detail/log_limiter.hpp>

#include <exception>
#include <utility>

namespace quoit::detail {

log_limiter::kind_state& log_limiter::find(std::string_view kind, time_point now) noexcept {
    for (std::size_t i = 0; i < kind_count_; ++i) {
        if (kinds_[i].kind == kind) return kinds_[i];
    }
    if (kind_count_ < kinds_max) {
        try {
            kinds_[kind_count_].kind = kind;
            kinds_[kind_count_].started = now;
            ++kind_count_;
        } catch (const std::exception&) {
            if (kind_count_ == 0) return kinds_[0];
        }
    }
    return kinds_[kind_count_ - 1];
}

bool log_limiter::admits(std::string_view kind, log_level level, time_point now) noexcept {
    kind_state& of = find(kind, now);
    of.level = level;
    if (now - of.started >= period) {
        of.started = now;
        of.admitted = 0;
    }
    if (of.admitted < lines_max) {
        ++of.admitted;
        return true;
    }
    ++of.skipped;
    ++skipped_;
    return false;
}

log_limiter::remainder log_limiter::take_remainder() noexcept {
    for (std::size_t i = 0; i < kinds_max; ++i) {
        kind_state& of = kinds_[i];
        if (of.skipped == 0) continue;
        skipped_ -= of.skipped;
        return {.kind = of.kind, .level = of.level, .count = std::exchange(of.skipped, 0)};
    }
    return {};
}

}  // namespace quoit::detail
