// SPDX-License-Identifier: MIT
#include "line_splitter.hpp"

#include <utility>

namespace quoit::program {

bool line_splitter::push(std::string_view bytes, std::vector<std::string>& into) {
    while (!is_too_long_ && !bytes.empty()) {
        const std::size_t end = bytes.find('\n');
        const std::string_view piece = bytes.substr(0, end);
        if (piece.size() > size_max_ - unfinished_.size()) {
            is_too_long_ = true;
            unfinished_.clear();
            break;
        }
        unfinished_ += piece;
        if (end == std::string_view::npos) break;
        into.push_back(std::exchange(unfinished_, std::string()));
        bytes.remove_prefix(end + 1);
    }
    return !is_too_long_;
}

void line_splitter::finish(std::vector<std::string>& into) {
    if (!unfinished_.empty()) into.push_back(std::exchange(unfinished_, std::string()));
}

}  // namespace quoit::program
