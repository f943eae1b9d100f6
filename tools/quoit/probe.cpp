// SPDX-License-Identifier: MIT
#include "probe.hpp"

#include <bit>
#include <cstring>
#include <random>

namespace quoit::program {

namespace {

// Bodies of consecutive probes start this far apart, so that one taken for another is noticed.
constexpr std::size_t body_shift_count = 64;
constexpr std::size_t body_shift = sizeof(std::uint64_t);

// The finaliser of MurmurHash3 (public domain): every bit of the input reaches every bit of the
// result.
constexpr std::uint64_t mix(std::uint64_t hash, std::uint64_t word) noexcept {
    hash = (hash ^ word) + 0x9e3779b97f4a7c15U;
    hash = (hash ^ (hash >> 33U)) * 0xff51afd7ed558ccdU;
    hash = (hash ^ (hash >> 33U)) * 0xc4ceb9fe1a85ec53U;
    return hash ^ (hash >> 33U);
}

std::uint64_t check_of(const probe_header& header) noexcept {
    const std::uint64_t flow_and_size = std::uint64_t{header.flow} << 32U | header.size;
    std::uint64_t hash = mix(0, header.run);
    hash = mix(hash, header.sequence);
    hash = mix(hash, std::bit_cast<std::uint64_t>(header.intended_ns));
    return mix(hash, flow_and_size);
}

}  // namespace

probe_format::probe_format(std::uint64_t run, std::uint32_t size)
    : run_(run), size_(size),
      pattern_(size - probe_size_min + body_shift * (body_shift_count - 1)) {
    std::mt19937_64 random(run);
    for (std::byte& one : pattern_)
        one = static_cast<std::byte>(random() & 0xffU);
}

probe_header probe_format::make_header(std::uint32_t flow, std::uint64_t sequence,
                                       std::int64_t intended_ns) const noexcept {
    probe_header header{
        .run = run_, .sequence = sequence, .intended_ns = intended_ns, .flow = flow, .size = size_};
    header.check = check_of(header);
    return header;
}

byte_view probe_format::body(std::uint64_t sequence) const noexcept {
    const std::size_t offset = (sequence % body_shift_count) * body_shift;
    return {pattern_.data() + offset, size_ - probe_size_min};
}

probe_kind probe_format::recognise(std::span<const std::byte> payload, std::uint32_t flow,
                                   probe_header& header) const noexcept {
    if (payload.size() < probe_size_min) return probe_kind::corrupted;
    std::memcpy(&header, payload.data(), sizeof header);
    if (header.check != check_of(header) || header.size != payload.size()) {
        return probe_kind::corrupted;
    }
    if (header.run != run_ || header.flow != flow) return probe_kind::foreign;
    const std::span<const std::byte> expected = body(header.sequence).bytes();
    if (header.size != size_ ||
        (!expected.empty() &&
         std::memcmp(payload.data() + probe_size_min, expected.data(), expected.size()) != 0)) {
        return probe_kind::corrupted;
    }
    return probe_kind::ours;
}

}  // namespace quoit::program
