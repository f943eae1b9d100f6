// SPDX-License-Identifier: MIT
#include "backend/io_uring/self_test.hpp"

#include "backend/io_uring/parts.hpp"
#include "net/system.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace quoit::detail {

namespace {

constexpr std::uint32_t buffer_count = 8;
constexpr auto patience = std::chrono::seconds(1);  // far beyond what a datagram takes

// In the order of io_uring_step, `resources` left out. Since: what quoit asks of the step, so the
// ring's is that of IORING_SETUP_SUBMIT_ALL and enter's that of IORING_REGISTER_ENABLE_RINGS.
std::vector<feature> untried_features() {
    return {
        {.id = "io_uring.ring", .name = "ring", .since = "5.18"},
        {.id = "io_uring.defer_taskrun",
         .name = "DEFER_TASKRUN",
         .since = "6.1",
         .is_required = false},
        {.id = "io_uring.buffer_ring", .name = "buffer ring", .since = "5.19"},
        {.id = "io_uring.enter", .name = "enter", .since = "5.10"},
        {.id = "io_uring.cancel", .name = "synchronous cancel", .since = "6.0"},
        {.id = "io_uring.multishot_receive", .name = "multishot receive", .since = "6.0"},
        {.id = "io_uring.rearm", .name = "re-arming after an empty datagram", .since = "6.0"},
        {.id = "io_uring.let_go", .name = "letting go of a socket", .since = "6.0"},
    };
}

class counting_sink final : public event_sink {
  public:
    void deliver(std::span<const event> events) noexcept override {
        for (const event& one : events) {
            ++counts_[static_cast<std::size_t>(one.kind)];
            if (one.kind == event_kind::failed) error_ = static_cast<int>(one.value);
        }
    }
    [[nodiscard]] int count(event_kind kind) const noexcept {
        return counts_[static_cast<std::size_t>(kind)];
    }
    /// Of the latest `failed`; 0: none.
    [[nodiscard]] int error() const noexcept { return error_; }

  private:
    std::array<int, 8> counts_{};
    int error_ = 0;
};

class self_test {
  public:
    io_uring_features run() {
        made_.features = untried_features();
        if (make_pools() && prepare() && enter()) receive();
        return std::move(made_);
    }

  private:
    static std::error_code system_code(int error) { return {error, std::system_category()}; }
    feature& feature_of(io_uring_step step) {
        return made_.features[static_cast<std::size_t>(step)];
    }
    void works(io_uring_step step) { feature_of(step).state = feature_state::works; }
    // Returns false, so that the steps behind it are not tried.
    bool fail(io_uring_step step, std::error_code code) {
        explanation said = explain(step, code, read_process_facts());
        made_.obstacle = obstacle_of(code, said);
        const bool is_of_feature = step != io_uring_step::resources;
        feature& one = is_of_feature ? feature_of(step) : made_.features.front();
        // A want of memory or descriptors says nothing about what the kernel can do.
        one.state = is_of_feature ? feature_state::missing : feature_state::untried;
        one.code = code;
        one.cause = std::move(said.cause);
        one.remedy = std::move(said.remedy);
        return false;
    }
    bool fail(io_uring_step step, int error) { return fail(step, system_code(error)); }

    bool make_pools();
    bool prepare();
    bool enter();
    void receive();
    bool turn_until(io_backend& tested, event_kind kind, int count);

    io_uring_features made_;
    std::array<buffer_pool::owner, buffer_class_count> pools_;
    backend_ledger ledger_;
    backend_options options_{.pools = {}, .source_count_max = 1, .ledger = &ledger_};
    io_uring_parts parts_;
    counting_sink sink_;
};

bool self_test::make_pools() {
    for (std::size_t i = 0; i < buffer_class_count; ++i) {
        auto pool = buffer_pool::create(
            {.count = buffer_count, .stride = small_buffer_stride, .socket_count = 1});
        if (!pool) return fail(io_uring_step::resources, pool.error().code());
        pools_[i] = *std::move(pool);
        options_.pools[i] = pools_[i].get();
    }
    return true;
}

bool self_test::prepare() {
    auto parts = prepare_io_uring(options_);
    if (!parts) {
        if (parts.error().step == io_uring_step::buffer_ring) works(io_uring_step::ring);
        return fail(parts.error().step, parts.error().why.code());
    }
    parts_ = *std::move(parts);
    works(io_uring_step::ring);
    works(io_uring_step::buffer_ring);
    feature& deferred = feature_of(io_uring_step::defer_taskrun);
    if (parts_.ring->has_defer_taskrun()) {
        deferred.state = feature_state::works;
    } else {
        deferred.state = feature_state::missing;
        deferred.code = system_code(EINVAL);
        deferred.cause = "this kernel's io_uring does not know it; quoit works without";
        deferred.remedy = "Linux 6.1 has it";
    }
    return true;
}

bool self_test::enter() {
    // EINTR and the like are no refusals.
    const auto is_refused = [](int outcome) {
        return outcome == -EPERM || outcome == -EACCES || outcome == -ENOSYS ||
               outcome == -EINVAL || outcome == -EOPNOTSUPP;
    };
    if (const int outcome = parts_.ring->try_enable(); outcome < 0) {
        return fail(io_uring_step::entering, -outcome);
    }
    if (const int outcome = parts_.ring->post(); is_refused(outcome)) {
        return fail(io_uring_step::entering, -outcome);
    }
    works(io_uring_step::entering);
    // There is nothing to cancel, which the kernel may call ENOENT.
    if (const int outcome = parts_.ring->cancel_now(-1); is_refused(outcome)) {
        return fail(io_uring_step::cancelling, -outcome);
    }
    works(io_uring_step::cancelling);
    return true;
}

// Turns until `count` events of a kind have come, or the kernel has refused to receive.
bool self_test::turn_until(io_backend& tested, event_kind kind, int count) {
    const auto give_up_at = system::now() + patience;
    while (sink_.count(kind) < count && sink_.error() == 0 && system::now() < give_up_at)
        tested.turn(give_up_at, sink_);
    return sink_.count(kind) == count;
}

void self_test::receive() {
    int fds[2] = {-1, -1};
    if (const int paired = system::socket_pair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, fds);
        paired < 0) {
        fail(io_uring_step::resources, -paired);
        return;
    }
    const file_descriptor receiver(fds[0]);
    const file_descriptor sender(fds[1]);
    const auto tested = assemble(options_, std::move(parts_));
    const source_id source = tested->attach(receiver.get(), {.layout = {.name_size = 32}});

    const std::array<std::byte, 4> payload{};
    const std::array<iovec, 2> pieces{piece_of({}), piece_of(payload)};
    const std::array<outgoing, 2> messages{
        outgoing{.pieces = std::span(pieces).first(1)},
        outgoing{.pieces = std::span(pieces).last(1)},
    };
    const auto code = [this] {
        return sink_.error() != 0 ? system_code(sink_.error()) : make_error_code(errc::timed_out);
    };
    const send_result sent = send_messages(sender.get(), messages);
    if (sent.error != 0) {
        fail(io_uring_step::resources, sent.error);
        return;
    }
    // The empty one ends the multishot: the second arrives only if arming again works.
    if (turn_until(*tested, event_kind::datagram, 2)) {
        works(io_uring_step::receiving);
        works(io_uring_step::rearming);
    } else if (sink_.count(event_kind::datagram) == 1) {
        works(io_uring_step::receiving);
        fail(io_uring_step::rearming, code());
        return;
    } else {
        fail(io_uring_step::receiving, code());
        return;
    }
    tested->detach(source);
    if (turn_until(*tested, event_kind::detached, 1)) {
        works(io_uring_step::letting_go);
    } else {
        fail(io_uring_step::letting_go, code());
    }
}

}  // namespace

io_uring_features try_io_uring() { return self_test().run(); }

}  // namespace quoit::detail
