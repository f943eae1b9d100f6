// SPDX-License-Identifier: MIT
#include "base/mapped_region.hpp"

#include "base/assert.hpp"
#include "base/poison.hpp"

#include <cerrno>
#include <limits>

#include <sys/mman.h>
#include <unistd.h>

namespace quoit::detail {

mapped_region::~mapped_region() {
    if (bytes_.empty()) return;
    unpoison_memory(bytes_.data(), bytes_.size());
    // Unmapping exactly what was mapped splits nothing, and so needs no memory and cannot fail.
    [[maybe_unused]] const int result = ::munmap(bytes_.data(), bytes_.size());
    QUOIT_ASSERT(result == 0, "a mapping that quoit owns is gone or was changed");
}

std::expected<mapped_region, int> mapped_region::create(std::size_t size) noexcept {
    const auto page_size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    if (size == 0) return std::unexpected(EINVAL);
    if (size > std::numeric_limits<std::size_t>::max() - (page_size - 1)) {
        return std::unexpected(ENOMEM);
    }
    const std::size_t size_in_pages = (size + page_size - 1) / page_size * page_size;

    void* const address =
        ::mmap(nullptr, size_in_pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address == MAP_FAILED) return std::unexpected(errno);
    return mapped_region(std::span(static_cast<std::byte*>(address), size_in_pages));
}

}  // namespace quoit::detail
