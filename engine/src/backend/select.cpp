// SPDX-License-Identifier: MIT
#include "backend/select.hpp"

#include "backend/epoll/epoll_backend.hpp"
#include "net/system.hpp"
#if QUOIT_HAS_IO_URING
#include "backend/io_uring/io_uring_backend.hpp"
#endif

#include <quoit/file_descriptor.hpp>

#include <sys/resource.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <string>

namespace quoit::detail {

namespace {

#if QUOIT_HAS_IO_URING

constexpr std::uint32_t probe_buffer_count = 8;

std::error_code system_code(int error) { return {error, std::system_category()}; }

// The words behind an errno of io_uring_setup or of registering buffers.
std::string explain(std::error_code code) {
    if (code == std::errc::operation_not_permitted) {
        std::ifstream file("/proc/sys/kernel/io_uring_disabled");  // since Linux 6.6
        int disabled = 0;
        if (file >> disabled && disabled != 0) {
            return "kernel.io_uring_disabled is " + std::to_string(disabled) +
                   "; `sysctl kernel.io_uring_disabled=0` allows it";
        }
        return "a seccomp filter refuses it (the default in containers); allow io_uring_setup, "
               "io_uring_enter and io_uring_register in its profile";
    }
    if (code == std::errc::not_enough_memory) {
        rlimit limit{};
        if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
            return "RLIMIT_MEMLOCK is " + std::to_string(limit.rlim_cur / 1024) +
                   " KiB; raise it (`ulimit -l`, LimitMEMLOCK=)";
        }
        return "the kernel has no memory for it";
    }
    if (code == std::errc::function_not_supported) {
        return "this kernel is built without io_uring, or a filter hides it";
    }
    if (code == std::errc::invalid_argument) {
        return "this kernel's io_uring lacks buffer rings or multishot receive; Linux 6.1 has them";
    }
    return "see io_uring_setup(2)";
}

error obstacle(const error& failed) {
    return {failed.code(), "io_uring (" + explain(failed.code()) + ")"};
}

class counting_sink final : public event_sink {
  public:
    void deliver(std::span<const event> events) noexcept override {
        for (const event& one : events)
            ++counts_[static_cast<std::size_t>(one.kind)];
    }
    [[nodiscard]] int count(event_kind kind) const noexcept {
        return counts_[static_cast<std::size_t>(kind)];
    }

  private:
    std::array<int, 8> counts_{};
};

// Turns until `count` events of a kind have come; a second is far beyond what that takes.
bool turn_until(io_backend& tested, counting_sink& sink, event_kind kind, int count) {
    const auto give_up_at = system::now() + std::chrono::seconds(1);
    while (sink.count(kind) < count && system::now() < give_up_at)
        tested.turn(give_up_at, sink);
    return sink.count(kind) == count;
}

std::optional<error> test_io_uring() {
    std::array<buffer_pool::owner, buffer_class_count> pools;
    backend_ledger ledger;
    backend_options options{.pools = {}, .source_count_max = 1, .ledger = &ledger};
    for (std::size_t i = 0; i < buffer_class_count; ++i) {
        auto pool = buffer_pool::create(
            {.count = probe_buffer_count, .stride = small_buffer_stride, .socket_count = 1});
        if (!pool) return obstacle(pool.error());
        pools[i] = *std::move(pool);
        options.pools[i] = pools[i].get();
    }
    auto made = make_io_uring_backend(options);
    if (!made) return obstacle(made.error());
    io_backend& tested = **made;

    int fds[2] = {-1, -1};
    const int paired = system::socket_pair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, fds);
    if (paired < 0) return error(system_code(-paired), "io_uring self-test: socketpair");
    const file_descriptor receiver(fds[0]);
    const file_descriptor sender(fds[1]);

    const source_id source = tested.attach(receiver.get(), {.layout = {.name_size = 32}});
    const std::array<std::byte, 4> payload{};
    const std::array<iovec, 2> pieces{piece_of({}), piece_of(payload)};
    const std::array<outgoing, 2> messages{
        outgoing{.pieces = std::span(pieces).first(1)},
        outgoing{.pieces = std::span(pieces).last(1)},
    };
    counting_sink sink;
    const bool has_sent = send_messages(sender.get(), messages).sent == messages.size();
    // The empty one ends the multishot: the second arrives only if arming again works.
    const bool has_received = has_sent && turn_until(tested, sink, event_kind::datagram, 2);
    tested.detach(source);
    const bool has_detached = turn_until(tested, sink, event_kind::detached, 1);
    if (has_received && has_detached && sink.count(event_kind::failed) == 0) return std::nullopt;
    return error(errc::not_supported, has_received
                                          ? "io_uring self-test: a receive could not be cancelled"
                                          : "io_uring self-test: no datagram came through");
}

#else

std::optional<error> test_io_uring() {
    return error(errc::not_supported, "io_uring (quoit was built without it)");
}

result<std::unique_ptr<io_backend>> make_io_uring_backend(const backend_options&) {
    return std::unexpected(*test_io_uring());
}

error obstacle(const error& failed) { return failed; }

#endif

}  // namespace

const std::optional<error>& io_uring_obstacle() {
    static const std::optional<error> found = test_io_uring();
    return found;
}

result<std::unique_ptr<io_backend>> make_backend(backend wanted, const backend_options& options) {
    if (wanted == backend::epoll) return make_epoll_backend(options);
    const std::optional<error>& found = io_uring_obstacle();
    if (!found) {
        auto made = make_io_uring_backend(options);
        if (!made) return std::unexpected(obstacle(made.error()));
        return made;
    }
    if (wanted == backend::io_uring) return std::unexpected(*found);
    return make_epoll_backend(options, found->message());
}

}  // namespace quoit::detail
