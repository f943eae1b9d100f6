// SPDX-License-Identifier: MIT
//
// What a backend counts. Written by the thread that turns it, read by any (base/counter.hpp); the
// meanings are those of quoit::engine_stats.
#pragma once

#include "base/counter.hpp"

namespace quoit::detail {

struct backend_ledger {
    counter turns;
    counter system_calls;
    counter completions;
    counter starved;
    counter rearmed_empty;
    counter rearmed_starved;
    counter rearmed_overflow;
    counter rearmed_error;
    counter rearmed_resumed;
};

}  // namespace quoit::detail
