// SPDX-License-Identifier: MIT
#include "doctor_checks.hpp"

#include <algorithm>

namespace quoit::program {

std::string_view to_string(verdict verdict) noexcept {
    switch (verdict) {
        case verdict::ok: return "OK";
        case verdict::warn: return "WARN";
        case verdict::fail: return "FAIL";
        case verdict::unknown: return "unknown";
    }
    return "unknown";
}

std::vector<finding> check(const machine_facts& facts) {
    std::vector<finding> findings;
    check_backend(facts, findings);
    check_limits(facts, findings);
    check_network(facts, findings);
    return findings;
}

bool has_failed(const std::vector<finding>& findings) noexcept {
    return std::ranges::any_of(findings,
                               [](const finding& one) { return one.verdict == verdict::fail; });
}

}  // namespace quoit::program
