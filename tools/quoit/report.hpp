// SPDX-License-Identifier: MIT
//
// What the subcommands report at the end: for people, and as one JSON object.
//
// Both name the same facts; the keys are listed by the --help of each. In JSON,
// durations are nanoseconds where the key ends in _ns, otherwise seconds; the unknown is null.
//
// Thread safety: functions of their arguments. Errors: none.
#pragma once

#include "echo.hpp"
#include "load.hpp"
#include "packets_send.hpp"
#include "packets_serve.hpp"

#include <string>

namespace quoit::program {

/// Several lines, each with its newline. The ledger is the last of it.
[[nodiscard]] std::string to_text(const echo_result& result);
[[nodiscard]] std::string to_text(const load_settings& settings, const load_result& result);
[[nodiscard]] std::string to_text(const packets_serve_result& result);

/// One object, on several lines, without a final newline.
[[nodiscard]] std::string to_json(const echo_result& result);
[[nodiscard]] std::string to_json(const load_settings& settings, const load_result& result);
[[nodiscard]] std::string to_json(const packets_serve_result& result);
[[nodiscard]] std::string to_json(const packets_send_settings& settings,
                                  const packets_send_result& result);

}  // namespace quoit::program
