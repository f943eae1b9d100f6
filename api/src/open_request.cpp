// SPDX-License-Identifier: MIT
#include "open_request.hpp"

#include <quoit/resolve.hpp>

#include <algorithm>
#include <utility>

namespace quoit::detail {

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

// --- open_targets ---

void open_targets::add(std::span<const address> found) {
    for (const address& one : found) {
        if (std::ranges::find(named_, one) == named_.end()) named_.push_back(one);
    }
}

std::vector<address> open_targets::all() const {
    std::vector<address> joined = literals_;
    for (const address& one : named_) {
        if (std::ranges::find(literals_, one) == literals_.end()) joined.push_back(one);
    }
    return joined;
}

}  // namespace quoit::detail
