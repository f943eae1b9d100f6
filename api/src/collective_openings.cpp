// SPDX-License-Identifier: MIT
#include "collective_openings.hpp"

#include <algorithm>
#include <exception>
#include <functional>
#include <span>
#include <utility>

namespace quoit::detail {

namespace {

constexpr std::size_t openings_max = 64;  // that some core has not come to yet

std::string joined(std::span<const address> addresses) {
    std::string text;
    for (const address& one : addresses) {
        if (!text.empty()) text += ", ";
        text += one.to_string();
    }
    return text;
}

}  // namespace

loop_core::group_place find_group_place(const loop_core& of, const udp_options& options) noexcept {
    const bool is_collective = options.reuse_port && !options.listen_multiple;
    return is_collective ? of.in_group : loop_core::group_place();
}

collective_openings::collective_openings(std::vector<int> cpus, steering wanted, log_function log)
    : cpus_(std::move(cpus)), wanted_(wanted), now_(wanted), numbers_(cpus_.size()),
      has_left_(cpus_.size()), log_(log) {}

std::uint64_t collective_openings::next_number(std::size_t core) {
    const std::scoped_lock lock(mutex_);
    return numbers_[core]++;
}

result<endpoint_id> collective_openings::open(port& on, std::size_t core, std::uint64_t number,
                                              std::string_view what, bind_function bind) {
    const std::scoped_lock lock(mutex_);
    const result<opening*> found = find_or_bind(core, number, what, bind);
    if (!found) return std::unexpected(found.error());
    opening& one = **found;
    one.has_come[core] = true;
    result<endpoint_id> opened = failure(errc::closed);
    if (one.sockets) {
        opened = on.open(*one.sockets, core);
    } else {
        opened = std::unexpected(one.sockets.error());
    }
    forget_finished();
    return opened;
}

result<collective_openings::opening*> collective_openings::find_or_bind(std::size_t core,
                                                                        std::uint64_t number,
                                                                        std::string_view what,
                                                                        bind_function& bind) {
    // Those before the first are finished, so this core has been there already.
    const std::uint64_t index = number - first_number_;
    if (index >= openings_max) {
        return failure(errc::invalid_option, std::string(what) + ": core " + std::to_string(core) +
                                                 " is " + std::to_string(openings_max) +
                                                 " openings ahead of another core of its group");
    }
    if (openings_.size() <= index) openings_.resize(index + 1);
    std::unique_ptr<opening>& one = openings_[index];
    if (!one) {
        auto made = std::make_unique<opening>(opening{.what = std::string(what),
                                                      .opened_by = core,
                                                      .sockets = failure(errc::closed),
                                                      .has_come = std::vector<bool>(cpus_.size())});
        made->sockets = bind({.size = cpus_.size(), .steering = wanted_, .cpus = cpus_});
        one = std::move(made);
        if (one->sockets) tell_how_it_is(*one);
        for (std::size_t left = 0; left < cpus_.size(); ++left) {
            if (has_left_[left]) close_member(*one, left);
        }
    } else if (one->what != what) {
        close_member(*one, core);
        return failure(errc::invalid_option,
                       std::string(what) +
                           ": the cores of a group open the same places in the same order, and "
                           "core " +
                           std::to_string(one->opened_by) + " began to " + one->what + " here");
    }
    return one.get();
}

void collective_openings::tell_how_it_is(const opening& made) {
    now_ = made.sockets->steering();
    reason_ = made.sockets->steering_reason();
    if (!reason_.empty() && !std::exchange(has_logged_reason_, true)) {
        log_(log_level::warning,
             "steering by hash instead of " + std::string(to_string(wanted_)) + ": " + reason_);
    }
    if (made.sockets->is_shared_with_others()) {
        log_(log_level::warning,
             joined(made.sockets->local_addresses()) +
                 " is shared with sockets of others, who get a part of what arrives");
    }
}

void collective_openings::forget_finished() noexcept {
    while (!openings_.empty() && openings_.front() != nullptr &&
           std::ranges::all_of(openings_.front()->has_come, std::identity())) {
        openings_.pop_front();
        ++first_number_;
    }
}

void collective_openings::close_member(opening& of, std::size_t core) noexcept {
    of.has_come[core] = true;
    if (!of.sockets || of.sockets->is_taken(core)) return;
    const std::uint64_t lost = of.sockets->close(core);
    try {
        log_(lost > 0 ? log_level::warning : log_level::info,
             "core " + std::to_string(core) + " did not open " +
                 joined(of.sockets->local_addresses()) + ": " + std::to_string(lost) +
                 " datagrams that came for it are lost");
    } catch (const std::exception&) {
        // No memory for words.
    }
}

void collective_openings::leave(std::size_t core) noexcept {
    const std::scoped_lock lock(mutex_);
    has_left_[core] = true;
    for (const std::unique_ptr<opening>& one : openings_) {
        if (one) close_member(*one, core);
    }
    forget_finished();
}

steering collective_openings::steering_now() const {
    const std::scoped_lock lock(mutex_);
    return now_;
}

std::string collective_openings::steering_reason() const {
    const std::scoped_lock lock(mutex_);
    return reason_;
}

}  // namespace quoit::detail
