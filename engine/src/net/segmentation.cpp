// SPDX-License-Identifier: MIT
#include "net/segmentation.hpp"

#include "net/kernel_constants.hpp"
#include "net/system.hpp"

#include <quoit/file_descriptor.hpp>

#include <netinet/in.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <optional>
#include <utility>

namespace quoit::detail {

namespace {

ip host_of(const address* to) noexcept { return to == nullptr ? ip() : to->host(); }

std::optional<offload_support> try_offloads() noexcept {
    // IPv4 may be compiled out; either family has both options.
    int fd = system::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) fd = system::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return std::nullopt;
    const file_descriptor owner(fd);
    return offload_support_of(fd);
}

}  // namespace

bool segmentation::is_refusal(int error) noexcept {
    return error == EMSGSIZE || error == EIO || error == EINVAL;
}

bool segmentation::is_refused(const address* to, std::uint32_t size) const noexcept {
    const ip host = host_of(to);
    return std::ranges::any_of(lessons_, [&](const lesson& one) {
        return one.left > 0 && size >= one.size_min && one.host == host;
    });
}

void segmentation::note_plain(const address* to, std::uint32_t size, std::uint32_t count) noexcept {
    const ip host = host_of(to);
    if (std::exchange(has_doubt_, false)) {
        if (doubted_count_ > count_max_before_6_9) {
            count_max_ = std::min(count_max_, count_max_before_6_9);
        } else {
            remember(host, doubted_size_);
        }
    }
    for (lesson& one : lessons_) {
        if (one.left == 0 || size < one.size_min || one.host != host) continue;
        one.left -= std::min(one.left, count);
        if (one.left == 0) --used_;
    }
}

void segmentation::refused(int error, const address* to, std::uint32_t size,
                           std::uint32_t count) noexcept {
    if (error == EINVAL) {
        has_doubt_ = true;
        doubted_size_ = size;
        doubted_count_ = count;
    } else {
        remember(host_of(to), error == EMSGSIZE ? size : 0);
    }
}

void segmentation::remember(ip host, std::uint32_t size_min) noexcept {
    for (lesson& one : lessons_) {
        if (one.left == 0 || one.host != host) continue;
        one.size_min = std::min(one.size_min, size_min);
        one.left = plain_count;
        return;
    }
    auto unused = std::ranges::find(lessons_, 0U, &lesson::left);
    lesson& made = unused != lessons_.end() ? *unused : lessons_[next_++ % lesson_count];
    if (made.left == 0) ++used_;
    made = {.host = host, .size_min = size_min, .left = plain_count};
}

offload_support offload_support_of(int fd) noexcept {
    const int off = 0;
    const int on = 1;
    return {.has_segment = system::set_option(fd, SOL_UDP, UDP_SEGMENT, &off, sizeof off) == 0,
            .has_gro = system::set_option(fd, SOL_UDP, UDP_GRO, &on, sizeof on) == 0};
}

offload_support find_offload_support() noexcept {
    // Bits 0 and 1 are the answers, bit 2 that there are some. That no socket could be had (EMFILE)
    // is no answer.
    static std::atomic<unsigned> cached{0};
    constexpr unsigned is_known = 4;
    unsigned found = cached.load(std::memory_order_relaxed);
    if (found == 0) {
        const std::optional<offload_support> tried = try_offloads();
        if (!tried) return {};
        found = is_known | (tried->has_segment ? 1U : 0U) | (tried->has_gro ? 2U : 0U);
        cached.store(found, std::memory_order_relaxed);
    }
    return {.has_segment = (found & 1U) != 0, .has_gro = (found & 2U) != 0};
}

}  // namespace quoit::detail
