// SPDX-License-Identifier: MIT
//
// io_uring_parts: what an io_uring backend is made of, before it is one. The self-test looks at the
// ring in between: a call that a filter refuses is better found there than in the first turn.
#pragma once

#include "backend/io_uring/buffer_ring.hpp"
#include "backend/io_uring/io_uring_backend.hpp"
#include "backend/io_uring/ring.hpp"

#include <quoit/file_descriptor.hpp>

#include <expected>
#include <memory>
#include <vector>

namespace quoit::detail {

struct io_uring_parts {
    std::vector<buffer_ring> buffers;  // by buffer_class; outlive the ring
    std::unique_ptr<quoit::detail::ring> ring;
    file_descriptor waker;
};

/// Errors: those of make_io_uring_backend, which is this and assemble().
[[nodiscard]] std::expected<io_uring_parts, io_uring_refusal> prepare_io_uring(
    const backend_options& options);
[[nodiscard]] std::unique_ptr<io_backend> assemble(const backend_options& options,
                                                   io_uring_parts parts);

}  // namespace quoit::detail
