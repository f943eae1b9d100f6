// SPDX-License-Identifier: MIT
//
// What main() does with an exception: "error: WORDS" on standard error, and exit status 1.
#pragma once

#include <cstdio>
#include <exception>

namespace quoit::detail {

/// What `body` returns, or 1.
template <class Body>
int print_what_escapes(Body body) noexcept {
    try {
        return body();
    } catch (const std::exception& e) {
        std::fprintf(stderr, "error: %s\n", e.what());
    } catch (...) {
        std::fputs("error: an exception of an unknown type\n", stderr);
    }
    return 1;
}

}  // namespace quoit::detail
