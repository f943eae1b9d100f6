// SPDX-License-Identifier: MIT
//
// The manual page quoit(1), made of what --help is made of, so that the two cannot differ:
//
//   quoit --manual | man -l -
//
// The build writes it to a file, which is installed. --manual is not among the options of --help.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace quoit::program {

/// In the language of man(7): every subcommand of `app` with its options and its closing words.
[[nodiscard]] std::string manual_page(const CLI::App& app);

}  // namespace quoit::program
