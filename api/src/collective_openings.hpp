// SPDX-License-Identifier: MIT
//
// collective_openings: the k-th server with reuse_port that each core of a group opens, opened once
// for all of them (quoit/every_core.hpp).
//
//   core 0: open #1 -> binds a socket for each core, takes the first
//   core 1:      open #1 -> takes the second
//
// An opening that failed is kept as its error until every core has heard of it. What fails before
// it came to one (a name that is not resolved, a cancellation) is that core's own error, and its
// next opening is that one again.
//
// Threads: any; whoever opens makes the others wait, as long as binding takes. Nothing is logged
// under the lock: who writes the log may ask how it is steered.
#pragma once

#include "loop_core.hpp"

#include <quoit/error.hpp>
#include <quoit/options.hpp>
#include <quoit/port.hpp>
#include <quoit/socket_group.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quoit::detail {

class collective_openings {
  public:
    /// Binds the sockets of all cores as the options say.
    using bind_function =
        std::move_only_function<result<socket_group>(const socket_group_options&)>;

    collective_openings(std::vector<int> cpus, steering wanted, log_function log);

    /// A core's next opening; to be made before anything is waited for, so that all cores count
    /// alike. Given up when it is destroyed without having opened.
    class claim {
      public:
        claim() noexcept = default;  // of no group
        claim(collective_openings& of, std::size_t core);
        claim(const claim&) = delete;
        claim& operator=(const claim&) = delete;
        ~claim();
        explicit operator bool() const noexcept { return of_ != nullptr; }

        /// This core's sockets at `where`, which `bind` makes for all if nobody has. `what` is the
        /// place as text.
        [[nodiscard]] result<endpoint_id> open(port& on, std::string_view what,
                                               std::span<const address> where, bind_function bind);

      private:
        collective_openings* of_ = nullptr;
        std::size_t core_ = 0;
        std::uint64_t number_ = 0;
    };
    /// This core opens nothing any more: what it has not taken is closed, and nothing more is bound
    /// for it.
    void leave(std::size_t core) noexcept;

    [[nodiscard]] steering steering_now() const;
    [[nodiscard]] std::string steering_reason() const;

  private:
    struct opening {
        std::string what;  // empty: nobody has bound it yet
        std::size_t opened_by = 0;
        std::optional<error> failed;
        std::shared_ptr<socket_group> sockets;
        std::vector<std::size_t> members;  // by core; of those that had not left
        std::vector<bool> has_come;        // by core; also that it will not
    };
    class late_log;

    [[nodiscard]] result<opening*> find(std::size_t core, std::uint64_t number,
                                        std::string_view what);
    void bind_all(opening& one, std::size_t core, std::string_view what, bind_function& bind,
                  late_log& log);
    [[nodiscard]] bool is_open_already(std::span<const address> where);
    void tell_how_it_is(const socket_group& made, late_log& log);
    void give_up(std::size_t core, std::uint64_t number) noexcept;
    void close_member(opening& of, std::size_t core, late_log& log) noexcept;
    void forget_finished() noexcept;

    mutable std::mutex mutex_;
    // Under `mutex_`:
    std::vector<int> cpus_;  // by core; -1 where not pinned
    steering wanted_;
    steering now_;
    std::string reason_;
    bool has_logged_reason_ = false;
    std::vector<std::uint64_t> numbers_;  // by core: the next
    std::vector<bool> has_left_;          // by core
    std::deque<opening> openings_;
    std::uint64_t first_number_ = 0;                    // of openings_.front()
    std::vector<std::shared_ptr<socket_group>> bound_;  // that may have a socket open yet
    log_function log_;
};

/// Of the group this loop is of, if a server with these options is opened by that.
[[nodiscard]] collective_openings::claim claim_opening(const loop_core& of,
                                                       const udp_options& options);

}  // namespace quoit::detail
