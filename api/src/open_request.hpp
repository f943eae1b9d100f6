// SPDX-License-Identifier: MIT
//
// open_request: what is to be opened, as a copy of what host_ports are views of.
#pragma once

#include <quoit/address.hpp>
#include <quoit/error.hpp>
#include <quoit/options.hpp>
#include <quoit/task.hpp>
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
    /// "listen 127.0.0.1:9999".
    [[nodiscard]] const std::string& what() const noexcept { return what_; }
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

/// The addresses of all places, in their order; those that were found by name are told apart.
class open_targets {
  public:
    void add(const address& literal) { literals_.push_back(literal); }
    void add(std::span<const address> found);
    [[nodiscard]] std::vector<address> all() const;
    /// A name may stand for an address that this machine does not have (::1 where IPv6 is off).
    /// Takes those away, of which `try_one` says so. False: there were none, or nothing would be
    /// left.
    template <class TryOne>
    bool forget_what_is_not_here(TryOne try_one) {
        const auto gone = std::erase_if(named_, [&](const address& one) {
            const status tried = try_one(one);
            return tried == std::errc::address_not_available ||
                   tried == std::errc::address_family_not_supported;
        });
        return gone > 0 && !(named_.empty() && literals_.empty());
    }

  private:
    std::vector<address> literals_;
    std::vector<address> named_;
};

/// One error for each name that has no address. REQUIRES: `request` lives as long as the task.
[[nodiscard]] task<result<open_targets>> resolve_places(const open_request& request, family wanted);

/// As start_udp_server().
[[nodiscard]] task<result<udp_server>> open_server(open_request request, udp_options options);
/// As open_udp_connection().
[[nodiscard]] task<result<udp_client>> open_client(open_request request, udp_options options);

}  // namespace quoit::detail
