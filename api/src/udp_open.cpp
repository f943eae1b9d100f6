// SPDX-License-Identifier: MIT
//
// Opening by name. A literal is opened at once; a name is resolved first, and stands for all its
// addresses when listening, for the first that can be connected to when connecting.
#include <quoit/resolve.hpp>
#include <quoit/udp.hpp>

#include "open_request.hpp"
#include "udp_access.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quoit {

namespace detail {

// --- open_request ---

open_request::open_request(std::string_view doing, std::span<const host_port> where) {
    std::vector<error> refused;
    for (const host_port& one : where) {
        if (!what_.empty()) what_ += ", ";
        what_ += one.to_string();
        if (one.is_every_interface()) {
            add_every_interface(one, {.is_alone = where.size() == 1}, refused);
        } else if (one.is_host_name()) {
            places_.emplace_back(one.name(), one.port());
        } else if (const result<address> literal = one.to_address()) {
            places_.emplace_back(*literal);
        } else {
            refused.push_back(literal.error());
        }
    }
    what_ = std::string(doing) + ' ' + what_;
    if (where.empty()) {
        refusal_ = error(errc::invalid_option, std::string(doing) + ": no address was given");
    } else if (!refused.empty()) {
        refusal_ = collect(std::move(refused));
    }
}

error open_request::explain(const error& why) const {
    if (!why.context().empty()) return why;
    return error(why.code(), what_, std::vector<error>(why.causes().begin(), why.causes().end()));
}

error open_request::collect(std::vector<error> causes) const {
    if (causes.size() == 1) return causes.front();
    const std::error_code first = causes.front().code();
    return error(first, what_, std::move(causes));
}

void open_request::add_every_interface(const host_port& one, neighbours all,
                                       std::vector<error>& refused) {
    if (one.port() < 0 || one.port() > 65'535) {
        refused.push_back(
            error(errc::invalid_option, one.to_string() + ": a port is not in 0..65535"));
    } else if (all.is_alone) {
        every_interface_ = static_cast<std::uint16_t>(one.port());
    } else {
        refused.push_back(
            error(errc::invalid_option, one.to_string() + " leaves nothing for other addresses"));
    }
}

// --- opening ---

namespace {

// The addresses of all places, in their order; those that were found by name are counted apart.
class open_targets {
  public:
    void add(const address& literal) { literals_.push_back(literal); }
    void add(std::span<const address> found) {
        for (const address& one : found) {
            if (std::ranges::find(named_, one) == named_.end()) named_.push_back(one);
        }
    }
    [[nodiscard]] std::vector<address> all() const {
        std::vector<address> joined = literals_;
        for (const address& one : named_) {
            if (std::ranges::find(literals_, one) == literals_.end()) joined.push_back(one);
        }
        return joined;
    }
    /// A name may stand for an address that this machine does not have (::1 where IPv6 is off).
    /// Takes those away. False: there were none, or nothing would be left.
    bool forget_what_is_not_here(port& on, const udp_options& options) {
        const auto is_not_here = [&](const address& one) {
            const auto tried = on.open(std::span(&one, 1), options);
            if (tried) on.release(*tried);
            return !tried && (tried.error() == std::errc::address_not_available ||
                              tried.error() == std::errc::address_family_not_supported);
        };
        const auto gone = std::erase_if(named_, is_not_here);
        return gone > 0 && !(named_.empty() && literals_.empty());
    }

  private:
    std::vector<address> literals_;
    std::vector<address> named_;
};

// One error for each name that has no address.
task<result<open_targets>> resolve_places(const open_request& request, family wanted) {
    open_targets targets;
    std::vector<error> causes;
    for (const open_request::place& one : request.places()) {
        if (!one.is_name()) {
            targets.add(one.literal());
            continue;
        }
        const result<std::vector<address>> found = co_await resolve(one.name(), wanted);
        if (found) {
            targets.add(*found);
        } else {
            causes.push_back(found.error());
        }
    }
    if (!causes.empty()) co_return std::unexpected(request.collect(std::move(causes)));
    co_return targets;
}

result<endpoint_id> listen_everywhere(port& on, std::uint16_t number, const udp_options& options) {
    switch (options.family) {
        case family::unspecified: return on.open_every_interface(number, options);
        case family::ipv4: {
            const address any(ip::v4({0, 0, 0, 0}), number);
            return on.open(std::span(&any, 1), options);
        }
        case family::ipv6: {
            const address any(ip::v6({}), number);
            return on.open(std::span(&any, 1), options);
        }
    }
    return failure(errc::invalid_option, "a family that is none");
}

}  // namespace

task<result<udp_server>> open_server(open_request request, udp_options options) {
    if (request.refusal()) co_return std::unexpected(*request.refusal());
    port& on = current_core().get_port();
    result<endpoint_id> opened = failure(errc::closed);
    if (request.every_interface()) {
        opened = listen_everywhere(on, *request.every_interface(), options);
    } else {
        result<open_targets> targets = co_await resolve_places(request, options.family);
        if (!targets) co_return std::unexpected(request.explain(targets.error()));
        opened = on.open(targets->all(), options);
        if (!opened && targets->forget_what_is_not_here(on, options)) {
            opened = on.open(targets->all(), options);
        }
    }
    if (!opened) co_return std::unexpected(request.explain(opened.error()));
    co_return udp_access::make<udp_server>(*opened);
}

task<result<udp_client>> open_client(open_request request, udp_options options) {
    if (request.refusal()) co_return std::unexpected(*request.refusal());
    if (request.every_interface()) {
        co_return std::unexpected(
            request.explain(error(errc::invalid_address)));  // a connection has one peer
    }
    family wanted = options.family;
    const bool is_name = request.places().front().is_name();
    if (wanted == family::unspecified && is_name) wanted = options.local.family();
    const result<open_targets> targets = co_await resolve_places(request, wanted);
    if (!targets) co_return std::unexpected(request.explain(targets.error()));
    std::vector<error> causes;
    for (const address& one : targets->all()) {
        const result<endpoint_id> opened = current_core().get_port().open_connection(one, options);
        if (opened) co_return udp_access::make<udp_client>(*opened);
        causes.push_back(request.explain(opened.error()));
    }
    co_return std::unexpected(request.collect(std::move(causes)));
}

}  // namespace detail

// No coroutines themselves: those would suspend before they look at what their parameters refer to.
task<result<udp_server>> start_udp_server(host_port where, udp_options options) {
    return start_udp_server(std::span(&where, 1), options);
}

task<result<udp_server>> start_udp_server(std::span<const host_port> where, udp_options options) {
    return detail::open_server(detail::open_request("listen", where), options);
}

task<result<udp_client>> open_udp_connection(host_port where, udp_options options) {
    return detail::open_client(detail::open_request("connect", std::span(&where, 1)), options);
}

}  // namespace quoit
