// SPDX-License-Identifier: MIT
//
// open_request: what is to be opened, as a copy of what host_ports are views of.
#pragma once

#include <quoit/address.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>
#include <quoit/udp.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quoit::detail {

// A class with constructors: GCC 12 is not to see an aggregate with a destructor among a
// coroutine's parameters.
class open_request {
  public:
    class place {
      public:
        explicit place(const address& literal) : literal_(literal) {}
        place(std::string_view name, std::int64_t port) : name_(name), port_(port) {}
        [[nodiscard]] bool is_name() const noexcept { return !name_.empty(); }
        [[nodiscard]] const address& literal() const noexcept { return literal_; }
        [[nodiscard]] host_port name() const noexcept { return {name_, port_}; }

      private:
        std::string name_;
        address literal_;
        std::int64_t port_ = 0;
    };

    open_request(std::string_view doing, std::span<const host_port> where);

    /// Why nothing of the kind can be opened, whatever there is.
    [[nodiscard]] const std::optional<error>& refusal() const noexcept { return refusal_; }
    [[nodiscard]] std::span<const place> places() const noexcept { return places_; }
    [[nodiscard]] const std::optional<std::uint16_t>& every_interface() const noexcept {
        return every_interface_;
    }
    /// The same error, saying what was opened if it does not do so yet.
    [[nodiscard]] error explain(const error& why) const;
    /// One error for several; the only one, as it is. REQUIRES: not empty.
    [[nodiscard]] error collect(std::vector<error> causes) const;

  private:
    struct neighbours {
        bool is_alone = true;
    };
    void add_every_interface(const host_port& one, neighbours all, std::vector<error>& refused);

    std::string what_;
    std::vector<place> places_;
    std::optional<std::uint16_t> every_interface_;
    std::optional<error> refusal_;
};

/// As start_udp_server().
[[nodiscard]] task<result<udp_server>> open_server(open_request request, udp_options options);
/// As open_udp_connection().
[[nodiscard]] task<result<udp_client>> open_client(open_request request, udp_options options);

}  // namespace quoit::detail
