// SPDX-License-Identifier: MIT
//
// json_output: where --json goes. The file is opened before anything else begins, so that a name
// that cannot be written is found out early; it is written at the end, all at once.
//
// Invariants: a file that was there keeps its contents until write(); one that was not there is
// removed again when nothing is written.
// Thread safety: none. Errors: run_error, which names the file.
#pragma once

#include <string>
#include <string_view>

namespace quoit::program {

class json_output {
  public:
    /// "-" is standard output; "" is nowhere.
    explicit json_output(std::string name);
    json_output(const json_output&) = delete;
    json_output& operator=(const json_output&) = delete;
    ~json_output();

    [[nodiscard]] bool is_wanted() const noexcept { return !name_.empty(); }
    [[nodiscard]] bool is_standard_output() const noexcept { return name_ == "-"; }

    /// Once. Adds the final newline.
    void write(std::string_view text);

  private:
    std::string name_;
    int descriptor_ = -1;
    bool is_new_ = false;
};

}  // namespace quoit::program
