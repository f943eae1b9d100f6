// SPDX-License-Identifier: MIT
#include "backend/select.hpp"

#include "backend/epoll/epoll_backend.hpp"
#if QUOIT_HAS_IO_URING
#include "backend/io_uring/io_uring_backend.hpp"
#include "backend/io_uring/self_test.hpp"
#endif

#include <quoit/features.hpp>

#include <atomic>
#include <memory>

namespace quoit {

std::string_view to_string(feature_state state) noexcept {
    switch (state) {
        case feature_state::untried: return "untried";
        case feature_state::works: return "works";
        case feature_state::missing: return "missing";
    }
    return "unknown";
}

}  // namespace quoit

namespace quoit::detail {

namespace {

#if QUOIT_HAS_IO_URING

// They pass: who tries again may have more luck.
bool is_shortage(const error& why) {
    return why == std::errc::too_many_files_open ||
           why == std::errc::too_many_files_open_in_system || why == std::errc::not_enough_memory;
}

// Not a static inside a function: the child of a fork() would wait for ever for a thread that was
// about to fill it in, and is not there. Never freed: destructors of statics may ask.
std::atomic<const io_uring_features*> kept{nullptr};

result<std::unique_ptr<io_backend>> make_io_uring(const backend_options& options) {
    auto made = make_io_uring_backend(options);
    if (made) return *std::move(made);
    const io_uring_refusal& refused = made.error();
    const std::error_code code = refused.why.code();
    return std::unexpected(obstacle_of(code, explain(refused.step, code, read_process_facts())));
}

#else

error not_built() { return {errc::not_supported, "io_uring (quoit was built without it)"}; }

result<std::unique_ptr<io_backend>> make_io_uring(const backend_options&) {
    return std::unexpected(not_built());
}

#endif

}  // namespace

}  // namespace quoit::detail

namespace quoit {

io_uring_features probe_io_uring() {
#if QUOIT_HAS_IO_URING
    // Acquire: pairs with the exchange below; whoever finds the answer sees what is in it.
    if (const auto* known = detail::kept.load(std::memory_order_acquire)) return *known;
    io_uring_features found = detail::try_io_uring();
    if (found.obstacle && detail::is_shortage(*found.obstacle)) return found;
    // Threads that come at once all try; the first answer stays.
    auto mine = std::make_unique<const io_uring_features>(found);
    const io_uring_features* none = nullptr;
    if (!detail::kept.compare_exchange_strong(none, mine.get(), std::memory_order_acq_rel)) {
        return *none;
    }
    [[maybe_unused]] const auto* const stays = mine.release();
    return found;
#else
    return {.features = {}, .obstacle = detail::not_built()};
#endif
}

}  // namespace quoit

namespace quoit::detail {

result<std::unique_ptr<io_backend>> make_backend(backend wanted, const backend_options& options) {
    if (wanted == backend::epoll) return make_epoll_backend(options);
    const std::optional<error> obstacle = probe_io_uring().obstacle;
    if (!obstacle) return make_io_uring(options);
    if (wanted == backend::io_uring) return std::unexpected(*obstacle);
    return make_epoll_backend(options, obstacle->message());
}

}  // namespace quoit::detail
