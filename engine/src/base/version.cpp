// SPDX-License-Identifier: MIT
//
// What detail/archive_version.hpp asks of the library. A member of the archive of its own, which
// needs nothing: whoever uses no more of quoit gets no more.
#include <quoit/detail/archive_version.hpp>

namespace quoit::detail {

// The build defines the name, from the project's version.
const char QUOIT_ARCHIVE_VERSION_SYMBOL = 0;

}  // namespace quoit::detail
