// SPDX-License-Identifier: MIT
//
// How the program ends when it cannot do what it was asked: an exception that main() turns into one
// line on standard error and an exit code.
#pragma once

#include <stdexcept>

namespace quoit::program {

/// What quoit exits with. Documented in --help.
enum class exit_code : int {
    success = 0,
    failure = 1,
    usage = 2,
    no_reply = 3,
};

/// Something on the command line is wrong: exit code 2. Names the value and what was expected.
class usage_error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// The command line is right, but it cannot be done: exit code 1.
class run_error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

}  // namespace quoit::program
