// SPDX-License-Identifier: MIT
#include <quoit/detail/frame_cache.hpp>

#include <array>
#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#define QUOIT_CACHES_FRAMES 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define QUOIT_CACHES_FRAMES 0
#endif
#endif
#ifndef QUOIT_CACHES_FRAMES
#define QUOIT_CACHES_FRAMES 1
#endif

namespace quoit::detail {

#if QUOIT_CACHES_FRAMES

namespace {

constexpr std::size_t granularity = 64;        // bytes; a cache line
constexpr std::size_t cached_size_max = 4096;  // bytes; longer frames are rare
constexpr std::size_t class_count = cached_size_max / granularity;
constexpr std::uint32_t blocks_per_class_max = 1024;

struct free_block {
    free_block* next;
};

class cache {
  public:
    cache() noexcept = default;
    cache(const cache&) = delete;
    cache& operator=(const cache&) = delete;
    ~cache();

    [[nodiscard]] void* take(std::size_t size_class) noexcept {
        list& blocks = lists_[size_class];
        free_block* const block = blocks.first;
        if (block == nullptr) return nullptr;
        blocks.first = block->next;
        --blocks.count;
        return block;
    }
    [[nodiscard]] bool keep(void* frame, std::size_t size_class) noexcept {
        list& blocks = lists_[size_class];
        if (blocks.count == blocks_per_class_max) return false;
        blocks.first = new (frame) free_block{blocks.first};
        ++blocks.count;
        return true;
    }

  private:
    struct list {
        free_block* first = nullptr;
        std::uint32_t count = 0;
    };
    std::array<list, class_count> lists_{};
};

// Frames may die after the cache, in the destructors of other thread-local or static objects. This
// flag has no destructor and is readable until the thread is gone.
thread_local bool is_cache_gone = false;
thread_local cache frames;

cache::~cache() {
    is_cache_gone = true;
    for (list& blocks : lists_) {
        while (blocks.first != nullptr) {
            free_block* const block = blocks.first;
            blocks.first = block->next;
            ::operator delete(block);
        }
    }
}

constexpr std::size_t class_of(std::size_t size) noexcept {
    return size == 0 ? 0 : (size - 1) / granularity;
}

}  // namespace

void* allocate_frame(std::size_t size) {
    const std::size_t size_class = class_of(size);
    if (size_class >= class_count) return ::operator new(size);
    if (!is_cache_gone) {
        if (void* const frame = frames.take(size_class)) return frame;
    }
    return ::operator new((size_class + 1) * granularity);
}

void free_frame(void* frame, std::size_t size) noexcept {
    const std::size_t size_class = class_of(size);
    if (size_class < class_count && !is_cache_gone && frames.keep(frame, size_class)) return;
    ::operator delete(frame);
}

#else

void* allocate_frame(std::size_t size) { return ::operator new(size); }
void free_frame(void* frame, std::size_t) noexcept { ::operator delete(frame); }

#endif

}  // namespace quoit::detail
