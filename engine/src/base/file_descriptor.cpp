// SPDX-License-Identifier: MIT
#include <quoit/file_descriptor.hpp>

#include "base/assert.hpp"

#include <cerrno>

#include <unistd.h>

namespace quoit {

void file_descriptor::close_keeping_errno(int fd) noexcept {
    // Descriptors are closed on the way out of failed calls, whose errno is still to be read.
    const int errno_before = errno;
    [[maybe_unused]] const int result = ::close(fd);
    QUOIT_DEBUG_ASSERT(result == 0 || errno != EBADF,
                       "somebody else closed a descriptor that quoit owns");
    errno = errno_before;
}

}  // namespace quoit
