// SPDX-License-Identifier: MIT
#include "base/assert.hpp"

#include <cstdio>
#include <cstdlib>

namespace quoit::detail {

void assertion_failed(const char* expression, const char* file, int line,
                      const char* words) noexcept {
    // One call: standard error is unbuffered, so the line goes out as one write and is not mixed
    // with what other threads print.
    std::fprintf(stderr, "quoit: assertion failed: %s, %s:%d: %s\n", expression, file, line, words);
    std::abort();
}

}  // namespace quoit::detail
