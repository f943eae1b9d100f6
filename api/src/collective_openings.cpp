// SPDX-License-Identifier: MIT
#include "collective_openings.hpp"

#include "joined.hpp"

#include <algorithm>
#include <exception>
#include <functional>
#include <span>
#include <utility>

namespace quoit::detail {

namespace {

constexpr std::size_t openings_max = 64;  // that some core has not come to yet

}  // namespace

// Lines that are written when this ends: declared before a lock, after it.
class collective_openings::late_log {
  public:
    explicit late_log(log_function log) noexcept : log_(log) {}
    late_log(const late_log&) = delete;
    late_log& operator=(const late_log&) = delete;
    ~late_log() {
        for (const auto& [level, words] : lines_)
            log_(level, words);
    }
    void add(log_level level, std::string words) { lines_.emplace_back(level, std::move(words)); }

  private:
    log_function log_;
    std::vector<std::pair<log_level, std::string>> lines_;
};

collective_openings::claim claim_opening(const loop_core& of, const udp_options& options) {
    const bool is_collective =
        of.in_group.openings != nullptr && options.reuse_port && !options.listen_multiple;
    return is_collective ? collective_openings::claim(*of.in_group.openings, of.in_group.core)
                         : collective_openings::claim();
}

collective_openings::collective_openings(std::vector<int> cpus, steering wanted, log_function log)
    : cpus_(std::move(cpus)), wanted_(wanted), now_(wanted), numbers_(cpus_.size()),
      has_left_(cpus_.size()), log_(log) {}

collective_openings::claim::claim(collective_openings& of, std::size_t core)
    : of_(&of), core_(core) {
    const std::scoped_lock lock(of.mutex_);
    number_ = of.numbers_[core]++;
}

collective_openings::claim::~claim() {
    if (of_ != nullptr) of_->give_up(core_, number_);
}

result<endpoint_id> collective_openings::claim::open(port& on, std::string_view what,
                                                     std::span<const address> where,
                                                     bind_function bind) {
    late_log log(of_->log_);
    const std::scoped_lock lock(of_->mutex_);
    if (of_->has_left_[core_]) return failure(errc::closed, std::string(what));
    const result<opening*> found = of_->find(core_, number_, what);
    if (!found) return std::unexpected(found.error());
    opening& one = **found;
    if (one.what.empty()) {
        if (of_->is_open_already(where)) {
            return failure(errc::invalid_option,
                           std::string(what) +
                               ": cores of this group have it open; it can be opened again when "
                               "all of them have closed it");
        }
        of_->bind_all(one, core_, what, bind, log);
    } else if (one.what != what) {
        of_->close_member(one, core_, log);
        return failure(errc::invalid_option,
                       std::string(what) +
                           ": the cores of a group open the same places in the same order, and "
                           "core " +
                           std::to_string(one.opened_by) + " began to " + one.what + " here");
    }
    result<endpoint_id> opened = failure(errc::closed);
    if (one.sockets) {
        opened = on.open(*one.sockets, one.members[core_]);
        if (!opened) of_->close_member(one, core_, log);
    } else {
        opened = std::unexpected(*one.failed);
    }
    one.has_come[core_] = true;
    of_->forget_finished();
    return opened;
}

result<collective_openings::opening*> collective_openings::find(std::size_t core,
                                                                std::uint64_t number,
                                                                std::string_view what) {
    // Those before the first are finished, so this core has been there already.
    const std::uint64_t index = number - first_number_;
    if (index >= openings_max) {
        return failure(errc::invalid_option, std::string(what) + ": core " + std::to_string(core) +
                                                 " is " + std::to_string(openings_max) +
                                                 " openings ahead of another core of its group");
    }
    while (openings_.size() <= index)
        openings_.emplace_back().has_come = has_left_;
    return &openings_[index];
}

void collective_openings::bind_all(opening& one, std::size_t core, std::string_view what,
                                   bind_function& bind, late_log& log) {
    std::vector<int> cpus;
    std::vector<std::size_t> members(cpus_.size());
    for (std::size_t i = 0; i < cpus_.size(); ++i) {
        if (one.has_come[i]) continue;
        members[i] = cpus.size();
        cpus.push_back(cpus_[i]);
    }
    auto made = bind({.size = cpus.size(), .steering = wanted_, .cpus = cpus});
    if (made) {
        tell_how_it_is(*made, log);
        one.sockets = std::make_shared<socket_group>(*std::move(made));
        bound_.push_back(one.sockets);
    } else {
        one.failed = made.error();
    }
    one.what = what;
    one.opened_by = core;
    one.members = std::move(members);
}

// Its sockets would be shared with those the other cores have, and half of them read by nobody.
bool collective_openings::is_open_already(std::span<const address> where) {
    std::erase_if(bound_, [](const auto& one) { return !one->is_open(); });
    return std::ranges::any_of(bound_, [&](const auto& one) {
        const auto locals = one->local_addresses();
        return std::ranges::find_first_of(locals, where) != locals.end();
    });
}

void collective_openings::tell_how_it_is(const socket_group& made, late_log& log) {
    now_ = made.steering();
    reason_ = made.steering_reason();
    if (!reason_.empty() && !std::exchange(has_logged_reason_, true)) {
        const std::string_view wanted = to_string(wanted_);
        log.add(log_level::warning,
                "steering by hash" + (now_ == wanted_ ? "" : " instead of " + std::string(wanted)) +
                    ": " + reason_);
    }
    if (made.is_shared_with_others()) {
        log.add(log_level::warning,
                joined(made.local_addresses()) +
                    " is shared with sockets of others, who get a part of what arrives");
    }
}

// The core's last one is given back: its next try is for the same sockets, which wait. Others of
// the same core came after it, and it will not come to this one any more.
void collective_openings::give_up(std::size_t core, std::uint64_t number) noexcept {
    late_log log(log_);
    const std::scoped_lock lock(mutex_);
    if (has_left_[core] || number < first_number_) return;
    const std::uint64_t index = number - first_number_;
    if (index < openings_.size() && openings_[index].has_come[core]) return;
    if (numbers_[core] == number + 1) {
        numbers_[core] = number;
        return;
    }
    try {
        if (const auto found = find(core, number, {})) close_member(**found, core, log);
    } catch (const std::exception&) {
        // No memory: its sockets stay until its main has ended.
    }
    forget_finished();
}

void collective_openings::forget_finished() noexcept {
    while (!openings_.empty() && std::ranges::all_of(openings_.front().has_come, std::identity())) {
        openings_.pop_front();
        ++first_number_;
    }
}

void collective_openings::close_member(opening& of, std::size_t core, late_log& log) noexcept {
    if (of.sockets && !of.sockets->is_taken(of.members[core])) {
        const std::uint64_t lost = of.sockets->close(of.members[core]);
        try {
            log.add(lost > 0 ? log_level::warning : log_level::info,
                    "core " + std::to_string(core) + " did not open " +
                        joined(of.sockets->local_addresses()) + ": " + std::to_string(lost) +
                        " datagrams that came for it are lost");
        } catch (const std::exception&) {
            // No memory for words.
        }
    }
    of.has_come[core] = true;
}

void collective_openings::leave(std::size_t core) noexcept {
    late_log log(log_);
    const std::scoped_lock lock(mutex_);
    for (opening& one : openings_) {
        if (!one.has_come[core]) close_member(one, core, log);
    }
    has_left_[core] = true;
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
