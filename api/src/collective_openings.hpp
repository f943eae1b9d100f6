// SPDX-License-Identifier: MIT
//
// collective_openings: the k-th server with reuse_port that each core of a group opens, opened once
// for all of them (quoit/every_core.hpp).
//
//   core 0: open #1 -> binds a socket for each core, takes the first
//   core 1:      open #1 -> takes the second
//
// An opening that failed is kept as its error until every core has heard of it.
//
// Threads: any; whoever opens makes the others wait, as long as binding takes.
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

    /// The number of this core's next opening; to be taken before anything is waited for, so that
    /// all cores count alike.
    [[nodiscard]] std::uint64_t next_number(std::size_t core);
    /// This core's sockets of that opening, which `bind` makes if nobody has. `what` is the place
    /// as text.
    [[nodiscard]] result<endpoint_id> open(port& on, std::size_t core, std::uint64_t number,
                                           std::string_view what, bind_function bind);
    /// This core opens nothing any more: what it has not taken is closed, and will not be bound.
    void leave(std::size_t core) noexcept;

    [[nodiscard]] steering steering_now() const;
    [[nodiscard]] std::string steering_reason() const;

  private:
    struct opening {
        std::string what;
        std::size_t opened_by = 0;
        result<socket_group> sockets;
        std::vector<bool> has_come;  // by core; also that it will not
    };

    [[nodiscard]] result<opening*> find_or_bind(std::size_t core, std::uint64_t number,
                                                std::string_view what, bind_function& bind);
    void tell_how_it_is(const opening& made);
    void close_member(opening& of, std::size_t core) noexcept;
    void forget_finished() noexcept;

    mutable std::mutex mutex_;
    // Under `mutex_`:
    std::vector<int> cpus_;  // by core; -1 where not pinned
    steering wanted_;
    steering now_;
    std::string reason_;
    bool has_logged_reason_ = false;
    std::vector<std::uint64_t> numbers_;             // by core: the next
    std::vector<bool> has_left_;                     // by core
    std::deque<std::unique_ptr<opening>> openings_;  // null: nobody has come to it
    std::uint64_t first_number_ = 0;                 // of openings_.front()
    log_function log_;
};

/// Whether a server with these options is opened by the group this loop is of; nothing otherwise.
[[nodiscard]] loop_core::group_place find_group_place(const loop_core& of,
                                                      const udp_options& options) noexcept;

}  // namespace quoit::detail
