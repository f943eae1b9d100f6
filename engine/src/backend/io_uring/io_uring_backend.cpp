// SPDX-License-Identifier: MIT
//
// One multishot request per source, armed once and armed again whenever it ends: recvmsg for
// datagrams, recv for streams. A listener's accept is for one connection: a multishot one takes
// whatever is in the listen queue before anybody can say that there is no room (300 descriptors for
// a server of two peers, Linux 6.18).
//
//   idle --arm--> armed --final completion--> [on_receive decides] --+--> armed
//    ^              |                                                 +--> starved (in line)
//    +---- pause: cancel, final completion <--------------------------+--> idle, detached
//
// What ends a multishot recvmsg, that is, a completion without F_MORE (measured on Linux 6.18):
//   - an EMPTY DATAGRAM: success, header only, payload 0. Whoever re-arms only on errors can be
//     deafened by one empty packet;
//   - no buffers: -ENOBUFS, also when there is no data at all. The datagrams wait in the socket.
//     The source waits in line until buffers come back; never a timer, which would be a busy loop;
//   - a full completion queue: success with a valid buffer. Deliver it and arm again;
//   - a refusal on a connected socket: -ECONNREFUSED, ahead of datagrams that are already queued;
//   - a cancel: -ECANCELED.
// A multishot recv ends like that too, but for the first: 0 bytes are the end of the stream, and an
// error is its end as well. One that is armed after it starved is for one buffer: a multishot one
// would take all there are, for as long as its peer sends, and the others would starve for ever.
// All end in on_receive(), which has one exit that decides what is next. A second receive is never
// armed before the final completion of the first was seen: two would deliver out of order.
#include "backend/io_uring/io_uring_backend.hpp"

#include "backend/io_uring/parts.hpp"
#include "base/assert.hpp"
#include "net/accept_error.hpp"
#include "net/system.hpp"

#include <quoit/detail/chain.hpp>

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>
#include <vector>

namespace quoit::detail {

namespace {

constexpr unsigned submission_count = 256;
// Completions beside those that name a buffer: wake-ups, cancels and errors of one turn. Should
// more come than there is room for, the kernel keeps them until the next turn.
constexpr unsigned completion_slack = 256;

// What would come back for ever: a descriptor that is closed or none to receive from, a buffer
// smaller than the layout. Everything else is news of one datagram.
bool is_for_good(int error) noexcept {
    return error == EBADF || error == ENOTSOCK || error == EINVAL || error == EOPNOTSUPP ||
           error == EFAULT;
}

enum class operation : std::uint8_t { receive, writable, cancel, wake };

// What a completion belongs to: an operation of a source. A source's slot is not used again while
// one of its operations is in flight, so no generation is needed.
struct token {
    operation what;
    std::uint32_t source = 0;

    [[nodiscard]] std::uint64_t pack() const noexcept {
        return std::uint64_t{static_cast<std::uint8_t>(what)} << 32 | source;
    }
    [[nodiscard]] static token unpack(std::uint64_t packed) noexcept {
        return {.what = static_cast<operation>(packed >> 32),
                .source = static_cast<std::uint32_t>(packed)};
    }
};

struct source : chain_link<> {  // the list is the line of starved ones
    int fd = -1;
    source_options options;
    std::uint32_t index = 0;
    msghdr header{};  // only its lengths matter; read by the kernel when the receive is submitted
    int pending_error = 0;  // the latest of those not yet reported, and how many
    std::uint32_t pending_error_count = 0;
    bool is_used = false;
    bool is_detached = false;  // its last event is still to come
    bool is_paused = false;
    bool is_starved = false;
    bool is_armed = false;       // a receive is in flight
    bool is_cancelling = false;  // ... and shall end
    std::uint32_t cancels_in_flight = 0;
    bool is_polling = false;  // a request for writability is in flight
    bool is_ended = false;    // a stream that is over
    bool is_single = false;   // what is armed is for one buffer, or for one connection
    bool is_asked = false;    // a listener that somebody wants a connection of

    [[nodiscard]] bool is_datagrams() const noexcept {
        return options.kind == source_kind::datagrams;
    }
    [[nodiscard]] bool is_listener() const noexcept {
        return options.kind == source_kind::listener;
    }
    /// A receive should be in flight.
    [[nodiscard]] bool wants_more() const noexcept {
        return !is_detached && !is_paused && !is_ended && (!is_listener() || is_asked);
    }
};

class io_uring_backend final : public io_backend {
  public:
    io_uring_backend(const backend_options& options, io_uring_parts parts);
    ~io_uring_backend() override;

    [[nodiscard]] const capabilities& about() const noexcept override { return about_; }
    source_id attach(int fd, const source_options& options) override;
    void set(source_id id, interest wanted) override;
    void detach(source_id id) override;
    send_result send(source_id id, std::span<const outgoing> messages) override;
    void recycle(buffer_class pool, std::span<const std::uint32_t> buffers) override;
    void turn(steady_time deadline, event_sink& sink) override;
    status join(waiting_set& set) override;
    bool prepare_to_wait() override;
    void wake() noexcept override { system::event_raise(waker_.get()); }

  private:
    enum class shots : std::uint8_t { many, one };
    void arm(source& one, shots how = shots::many);
    void starve(source& one);
    bool arm_starved();
    [[nodiscard]] bool may_arm_starved() const noexcept;
    void cancel_receive(source& one);
    void poll_writable(source& one);
    void poll_waker();

    void handle(const io_uring_cqe& completion);
    void on_receive(source& one, const io_uring_cqe& completion);
    void on_end(source& one, int outcome);
    bool take_what_came(source& one, const io_uring_cqe& completion);
    bool take_buffer(source& one, const io_uring_cqe& completion);
    void count_rearming(int outcome, bool is_empty) noexcept;
    void on_writable(source& one);
    void on_cancel(source& one, int outcome);
    void on_wake(const io_uring_cqe& completion);

    void report_errors();
    void finish_if_detached(source& one);
    void emit(const source& one, event what);
    void flush();
    void count_system_calls();
    chain<source>& starved_of(const source& one) noexcept {
        return starved_[static_cast<std::size_t>(one.options.pool)];
    }
    buffer_ring& buffers_of(const source& one) noexcept {
        return buffers_[static_cast<std::size_t>(one.options.pool)];
    }

    backend_ledger& ledger_;
    std::vector<buffer_ring> buffers_;  // by buffer_class; outlive the ring
    std::unique_ptr<ring> ring_;
    file_descriptor waker_;
    file_descriptor announcer_;  // what the ring raises for who waits in a waiting_set
    capabilities about_;
    std::uint64_t system_calls_counted_ = 0;
    bool is_waker_polled_ = false;
    bool was_woken_ = false;  // in the turn that runs

    std::vector<source> sources_;
    std::vector<std::uint32_t> unused_;  // source slots
    std::vector<std::uint32_t> failed_;  // with an error that waits for datagrams ahead of it
    std::array<chain<source>, buffer_class_count> starved_;  // first in, first out

    // What has happened since the last delivery; delivered in turn() only.
    event_sink* sink_ = nullptr;
    std::vector<event> batch_;
    bool is_delivering_ = false;
};

constexpr std::size_t batch_size_max = 256;

io_uring_backend::io_uring_backend(const backend_options& options, io_uring_parts parts)
    : ledger_(*options.ledger), buffers_(std::move(parts.buffers)), ring_(std::move(parts.ring)),
      waker_(std::move(parts.waker)), sources_(options.source_count_max) {
    about_.backend = backend::io_uring;
    about_.defer_taskrun = ring_->has_defer_taskrun();
    about_.napi_busy_poll =
        options.napi_busy_poll_us > 0 && ring_->poll_cards(options.napi_busy_poll_us) == 0;
    for (std::uint32_t i = 0; i < sources_.size(); ++i)
        sources_[i].index = i;
    unused_.reserve(sources_.size());
    failed_.reserve(sources_.size());
    for (std::uint32_t i = options.source_count_max; i > 0; --i)
        unused_.push_back(i - 1);
    batch_.reserve(batch_size_max + sources_.size());
}

io_uring_backend::~io_uring_backend() {
    // The kernel must have let go of every buffer before the pools may be unmapped. A ring that was
    // never enabled has nothing in flight.
    if (!ring_->is_enabled()) return;
    ring_->submit();
    [[maybe_unused]] const int cancelled = ring_->cancel_now(-1);
    // Connections that nobody was told of.
    for (const event& one : batch_) {
        if (one.kind == event_kind::accepted) file_descriptor(static_cast<int>(one.value)).reset();
    }
    ring_->consume([this](const io_uring_cqe& completion) {
        const token of = token::unpack(completion.user_data);
        const bool is_connection = of.what == operation::receive && completion.res >= 0 &&
                                   sources_[of.source].is_listener();
        if (is_connection) file_descriptor(completion.res).reset();
    });
}

source_id io_uring_backend::attach(int fd, const source_options& options) {
    QUOIT_ASSERT(!unused_.empty(), "more sources than source_count_max");
    source& made = sources_[unused_.back()];
    unused_.pop_back();
    made.fd = fd;
    made.options = options;
    made.header = {};
    made.header.msg_namelen = options.layout.name_size;
    made.header.msg_controllen = options.layout.control_size;
    made.pending_error = 0;
    made.pending_error_count = 0;
    made.is_used = true;
    made.is_detached = made.is_starved = made.is_ended = false;
    made.is_paused = options.is_paused;
    made.is_asked = !options.is_paused;
    // Otherwise the kernel would answer -EFAULT, for ever.
    QUOIT_ASSERT(options.layout.payload_offset() < buffers_of(made).pool().stride(),
                 "a layout that does not fit the buffers of its pool");
    if (!made.is_paused) arm(made);
    return {made.index};
}

void io_uring_backend::set(source_id id, interest wanted) {
    source& one = sources_[id.index];
    if (one.is_detached) return;
    switch (wanted) {
        case interest::receive:
            if (!one.is_paused && !one.is_listener()) break;
            one.is_asked = true;
            one.is_paused = false;
            // While a cancel is on its way the final completion arms again.
            if (one.is_armed || one.is_ended) break;
            if (!one.is_listener()) ++ledger_.rearmed_resumed;
            arm(one);
            break;
        case interest::pause:
            if (one.is_paused) break;
            one.is_paused = true;
            if (one.is_starved) {
                one.is_starved = false;
                one.unlink();
            } else if (one.is_armed && !one.is_cancelling) {
                cancel_receive(one);
            }
            break;
        case interest::writable:
            if (!one.is_polling) poll_writable(one);
            break;
    }
}

void io_uring_backend::detach(source_id id) {
    source& one = sources_[id.index];
    QUOIT_ASSERT(one.is_used && !one.is_detached, "a source was detached twice");
    one.is_detached = true;
    one.is_starved = false;
    one.unlink();
    if (std::exchange(one.pending_error, 0) != 0) std::erase(failed_, one.index);
    if (!one.is_armed && !one.is_polling) {
        finish_if_detached(one);  // or with the completion of a cancel
        return;
    }
    // close(2) with a multishot armed would do nothing visible: the port stays bound and datagrams
    // keep arriving. So: submit what is prepared for this descriptor, cancel all of it, and see the
    // final completion in the queue; it is handled by the next turn.
    const std::uint64_t receiving = token{operation::receive, one.index}.pack();
    const std::uint64_t polling = token{operation::writable, one.index}.pack();
    const auto is_final = [](const io_uring_cqe& completion, std::uint64_t of) {
        return completion.user_data == of && (completion.flags & IORING_CQE_F_MORE) == 0;
    };
    const auto is_let_go = [&] {
        return (!one.is_armed ||
                ring_->any_of([&](const auto& c) { return is_final(c, receiving); })) &&
               (!one.is_polling ||
                ring_->any_of([&](const auto& c) { return is_final(c, polling); }));
    };
    // One round is the rule. A request that is just being run answers -EALREADY and is cancelled in
    // the next; a final completion that found the queue full is in the kernel's own list, where it
    // cannot be seen: then nothing left to cancel is the sign.
    constexpr int rounds_max = 100;
    for (int rounds = 0; rounds < rounds_max; ++rounds) {
        ring_->submit();
        const int cancelled = ring_->cancel_now(one.fd);
        if (is_let_go() || (cancelled <= 0 && cancelled != -EALREADY && ring_->has_overflow())) {
            break;
        }
    }
    one.fd = -1;
}

send_result io_uring_backend::send(source_id id, std::span<const outgoing> messages) {
    const send_result result = send_messages(sources_[id.index].fd, messages);
    ledger_.system_calls.add(result.system_calls);
    return result;
}

void io_uring_backend::recycle(buffer_class pool, std::span<const std::uint32_t> buffers) {
    buffers_[static_cast<std::size_t>(pool)].add(buffers);
}

// At most as many sources get going again as there are buffers to receive into, the oldest first:
// arming all of 1000 cost 7.8 failed completions per datagram (measured on Linux 6.18). True: more
// wait than could be armed, and there may be buffers for them yet, since one that is armed and has
// no datagram uses none.
bool io_uring_backend::arm_starved() {
    for (std::size_t pool = 0; pool < buffer_class_count; ++pool) {
        for (std::uint32_t left = buffers_[pool].available();
             left > 0 && !starved_[pool].is_empty(); --left) {
            source& next = *starved_[pool].pop_front();
            next.is_starved = false;
            ++ledger_.rearmed_starved;
            arm(next, shots::one);
        }
    }
    return may_arm_starved();
}

bool io_uring_backend::may_arm_starved() const noexcept {
    for (std::size_t pool = 0; pool < buffer_class_count; ++pool) {
        if (buffers_[pool].available() > 0 && !starved_[pool].is_empty()) return true;
    }
    return false;
}

void io_uring_backend::arm(source& one, shots how) {
    QUOIT_DEBUG_ASSERT(!one.is_armed && !one.is_starved && !one.is_detached,
                       "a receive would be armed twice");
    if (!one.is_listener() && buffers_of(one).available() == 0) {
        starve(one);
        return;
    }
    io_uring_sqe& submission = ring_->prepare();
    switch (one.options.kind) {
        case source_kind::datagrams:
            io_uring_prep_recvmsg_multishot(&submission, one.fd, &one.header,
                                            MSG_TRUNC | MSG_CMSG_CLOEXEC);
            break;
        case source_kind::stream:
            if (how == shots::one) {
                io_uring_prep_recv(&submission, one.fd, nullptr, 0, 0);
            } else {
                io_uring_prep_recv_multishot(&submission, one.fd, nullptr, 0, 0);
            }
            break;
        case source_kind::listener:
            io_uring_prep_accept(&submission, one.fd, nullptr, nullptr,
                                 SOCK_NONBLOCK | SOCK_CLOEXEC);
            break;
    }
    one.is_single = one.is_listener() || (how == shots::one && !one.is_datagrams());
    if (!one.is_listener()) {
        submission.flags |= IOSQE_BUFFER_SELECT;
        submission.buf_group = buffers_of(one).group();
    }
    submission.user_data = token{operation::receive, one.index}.pack();
    one.is_armed = true;
}

void io_uring_backend::starve(source& one) {
    one.is_starved = true;
    starved_of(one).push_back(one);
    ++ledger_.starved;
    emit(one, {.kind = event_kind::starved});
}

void io_uring_backend::cancel_receive(source& one) {
    io_uring_sqe& submission = ring_->prepare();
    io_uring_prep_cancel64(&submission, token{operation::receive, one.index}.pack(), 0);
    submission.user_data = token{operation::cancel, one.index}.pack();
    one.is_cancelling = true;
    ++one.cancels_in_flight;
}

void io_uring_backend::poll_writable(source& one) {
    io_uring_sqe& submission = ring_->prepare();
    io_uring_prep_poll_add(&submission, one.fd, POLLOUT);
    submission.user_data = token{operation::writable, one.index}.pack();
    one.is_polling = true;
}

// A poll and not a read: it needs no memory of ours that would have to outlive the ring.
void io_uring_backend::poll_waker() {
    io_uring_sqe& submission = ring_->prepare();
    io_uring_prep_poll_multishot(&submission, waker_.get(), POLLIN);
    submission.user_data = token{operation::wake}.pack();
    is_waker_polled_ = true;
}

void io_uring_backend::turn(steady_time deadline, event_sink& sink) {
    sink_ = &sink;
    ++ledger_.turns;
    bool may_go_on = false;
    was_woken_ = false;
    do {
        if (!is_waker_polled_) poll_waker();
        may_go_on = arm_starved();
        // What is known already is not kept waiting.
        const bool must_wait = batch_.empty() && !may_go_on;
        const int outcome = ring_->turn(must_wait ? deadline : at_once);
        QUOIT_ASSERT(outcome != -EEXIST, "a ring was turned by a thread that is not its own");
        ring_->consume([this](const io_uring_cqe& completion) { handle(completion); });
        report_errors();
    } while (may_go_on && batch_.empty() && !was_woken_);
    flush();
    count_system_calls();
    sink_ = nullptr;
}

// Two descriptors: what wakes is an eventfd too, and the ring does not signal one reliably because
// of another (ring::signal_to()).
status io_uring_backend::join(waiting_set& set) {
    if (!announcer_) {
        const int opened = system::event_open();
        if (opened < 0) {
            return failure(std::error_code(-opened, std::system_category()), "create an eventfd");
        }
        file_descriptor made(opened);
        if (const int error = ring_->signal_to(made.get()); error < 0) {
            return failure(std::error_code(-error, std::system_category()), "register an eventfd");
        }
        announcer_ = std::move(made);
    }
    if (status added = set.add(waker_.get()); !added) return added;
    return set.add(announcer_.get());
}

// Starved sources are for the turn: armed here, they would hold buffers that the turn still counts
// as free. The eventfd is cleared before the look: what raises it later is news.
bool io_uring_backend::prepare_to_wait() {
    if (!is_waker_polled_) poll_waker();
    if (ring_->has_unsubmitted()) ring_->submit();
    system::event_clear(announcer_.get());
    ++ledger_.system_calls;
    count_system_calls();
    return !batch_.empty() || may_arm_starved() || ring_->has_something_new();
}

void io_uring_backend::handle(const io_uring_cqe& completion) {
    const token of = token::unpack(completion.user_data);
    source* const one = of.what == operation::wake ? nullptr : &sources_[of.source];
    switch (of.what) {
        case operation::receive: on_receive(*one, completion); break;
        case operation::writable: on_writable(*one); break;
        case operation::cancel: on_cancel(*one, completion.res); break;
        case operation::wake: on_wake(completion); break;
    }
}

// Every receive completion comes here, and the end of every receive is decided here.
void io_uring_backend::on_receive(source& one, const io_uring_cqe& completion) {
    const bool is_empty = take_what_came(one, completion);
    if ((completion.flags & IORING_CQE_F_MORE) != 0) return;  // goes on by itself

    one.is_armed = false;
    one.is_cancelling = false;
    if (one.is_detached) {
        finish_if_detached(one);
        return;
    }
    const int outcome = completion.res;
    if (outcome <= 0 && outcome != -ENOBUFS && outcome != -ECANCELED) on_end(one, outcome);
    if (!one.wants_more()) return;  // set(receive) arms again
    if (outcome == -ENOBUFS && !one.is_listener()) {
        starve(one);
        return;
    }
    if (one.is_single && outcome > 0 && !starved_of(one).is_empty()) {
        starve(one);  // the others first
        return;
    }
    if (!one.is_single) count_rearming(outcome, is_empty);
    arm(one);
}

void io_uring_backend::count_rearming(int outcome, bool is_empty) noexcept {
    if (outcome == -ECANCELED) {
        ++ledger_.rearmed_resumed;
    } else if (outcome < 0) {
        ++ledger_.rearmed_error;
    } else if (is_empty) {
        ++ledger_.rearmed_empty;
    } else {
        ++ledger_.rearmed_overflow;
    }
}

// Neither did a cancel end it nor the want of buffers. (Datagrams: an outcome of 0 there is not.)
void io_uring_backend::on_end(source& one, int outcome) {
    switch (one.options.kind) {
        case source_kind::datagrams:
            if (outcome == 0) break;
            // Reported when the datagrams it came ahead of are out.
            if (one.pending_error_count++ == 0) failed_.push_back(one.index);
            one.pending_error = -outcome;
            if (is_for_good(-outcome)) one.is_paused = true;
            break;
        case source_kind::stream:
            if (outcome == -EINTR || outcome == -EAGAIN) break;
            one.is_ended = true;
            if (outcome == 0) {
                emit(one, {.kind = event_kind::end_of_stream});
            } else {
                emit(one,
                     {.value = static_cast<std::uint32_t>(-outcome), .kind = event_kind::failed});
            }
            break;
        case source_kind::listener:
            if (outcome == 0 || is_of_one_connection(-outcome)) break;
            one.is_paused = true;
            emit(one, {.value = static_cast<std::uint32_t>(-outcome), .kind = event_kind::failed});
            break;
    }
}

// Returns whether it was an empty datagram.
bool io_uring_backend::take_what_came(source& one, const io_uring_cqe& completion) {
    if (!one.is_listener()) return take_buffer(one, completion);
    if (completion.res < 0) return false;
    file_descriptor connection(completion.res);
    if (one.is_detached) return false;
    one.is_asked = false;
    emit(one,
         {.value = static_cast<std::uint32_t>(connection.release()), .kind = event_kind::accepted});
    return false;
}

// The buffer is ours whenever F_BUFFER is set, errors included (older kernels, liburing issue 359).
// Returns whether it held an empty datagram.
bool io_uring_backend::take_buffer(source& one, const io_uring_cqe& completion) {
    if ((completion.flags & IORING_CQE_F_BUFFER) == 0) return false;
    ++ledger_.completions;
    const std::uint32_t buffer = completion.flags >> IORING_CQE_BUFFER_SHIFT;
    buffer_ring& buffers = buffers_of(one);
    buffers.take(buffer);
    const bool is_stream = one.options.kind == source_kind::stream;
    if (completion.res < 0 || (is_stream && completion.res == 0)) {
        buffers.pool().poison(buffer);
        buffers.add(std::span(&buffer, 1));
        return false;
    }
    const auto length = static_cast<std::uint32_t>(completion.res);
    if (is_stream) {
        emit(one, {.buffer = buffer, .value = length, .kind = event_kind::bytes});
        return false;
    }
    const message_layout layout = one.options.layout;
    emit(one,
         {.buffer = buffer,
          .value = length,
          .segment = one.options.has_gro ? segment_of(buffers.pool().used(buffer, length), layout)
                                         : std::uint16_t{0},
          .kind = event_kind::datagram});
    return length <= layout.payload_offset();
}

void io_uring_backend::on_writable(source& one) {
    one.is_polling = false;
    if (one.is_detached) {
        finish_if_detached(one);
    } else {
        // A poll that failed (ENOMEM) says so too: whoever asked tries, and asks again if need be.
        emit(one, {.kind = event_kind::writable});
    }
}

void io_uring_backend::on_cancel(source& one, int outcome) {
    // The receive was just running (-EALREADY) or on its way to be run again (-ENOENT): if it still
    // is, and shall still not be, once more: one cancel a turn, until one finds it waiting for
    // data.
    --one.cancels_in_flight;
    if (one.is_detached) {
        finish_if_detached(one);
        return;
    }
    if (outcome >= 0 || !one.is_cancelling) return;
    if (one.is_armed && !one.wants_more()) {
        cancel_receive(one);
    } else {
        one.is_cancelling = false;
    }
}

void io_uring_backend::on_wake(const io_uring_cqe& completion) {
    system::event_clear(waker_.get());
    ++ledger_.system_calls;
    was_woken_ = true;
    if ((completion.flags & IORING_CQE_F_MORE) == 0) is_waker_polled_ = false;
}

// The kernel reports a refusal ahead of datagrams that are already queued (measured on Linux 6.18).
// So an error waits until its socket is empty: while it is not, the receive that has been armed
// again brings the rest.
void io_uring_backend::report_errors() {
    const auto is_reported = [this](std::uint32_t index) {
        source& one = sources_[index];
        if (!is_for_good(one.pending_error)) {
            ++ledger_.system_calls;
            const timespec no_time{};
            if (system::poll_one(one.fd, POLLIN, &no_time) > 0) return false;
        }
        const auto error = static_cast<std::uint32_t>(std::exchange(one.pending_error, 0));
        for (; one.pending_error_count > 0; --one.pending_error_count) {
            emit(one, {.value = error, .kind = event_kind::failed});
        }
        return true;
    };
    if (!failed_.empty() && !ring_->has_overflow()) std::erase_if(failed_, is_reported);
}

void io_uring_backend::finish_if_detached(source& one) {
    if (one.is_armed || one.is_polling || one.cancels_in_flight > 0) return;
    emit(one, {.kind = event_kind::detached});
    one.is_used = false;
    unused_.push_back(one.index);
}

// Outside of turn() an event waits for the next one, which then does not wait.
void io_uring_backend::emit(const source& one, event what) {
    QUOIT_DEBUG_ASSERT(!is_delivering_, "a backend was called by the sink it delivers to");
    what.tag = one.options.tag;
    what.pool = one.options.pool;
    batch_.push_back(what);
    if (batch_.size() >= batch_size_max && sink_ != nullptr) flush();
}

void io_uring_backend::flush() {
    if (batch_.empty()) return;
    is_delivering_ = true;
    sink_->deliver(batch_);
    is_delivering_ = false;
    batch_.clear();
}

void io_uring_backend::count_system_calls() {
    ledger_.system_calls.add(ring_->system_calls() - system_calls_counted_);
    system_calls_counted_ = ring_->system_calls();
}

}  // namespace

std::expected<io_uring_parts, io_uring_refusal> prepare_io_uring(const backend_options& options) {
    const auto refused = [](io_uring_step step, error why) {
        return std::unexpected(io_uring_refusal{.step = step, .why = std::move(why)});
    };
    unsigned completions = completion_slack;
    for (const buffer_pool* pool : options.pools)
        completions += pool->count();
    auto made = ring::create(submission_count, completions);
    if (!made) return refused(io_uring_step::ring, made.error());

    io_uring_parts parts{.buffers = {}, .ring = *std::move(made), .waker = {}};
    for (std::uint16_t group = 0; group < buffer_class_count; ++group) {
        auto registered = buffer_ring::create(*parts.ring, *options.pools[group], group);
        if (!registered) return refused(io_uring_step::buffer_ring, registered.error());
        parts.buffers.push_back(*std::move(registered));
    }
    const int waker = system::event_open();
    if (waker < 0) {
        return refused(io_uring_step::resources,
                       error(std::error_code(-waker, std::system_category()), "create an eventfd"));
    }
    parts.waker = file_descriptor(waker);
    return parts;
}

std::unique_ptr<io_backend> assemble(const backend_options& options, io_uring_parts parts) {
    return std::make_unique<io_uring_backend>(options, std::move(parts));
}

std::expected<std::unique_ptr<io_backend>, io_uring_refusal> make_io_uring_backend(
    const backend_options& options) {
    auto parts = prepare_io_uring(options);
    if (!parts) return std::unexpected(parts.error());
    return assemble(options, *std::move(parts));
}

}  // namespace quoit::detail
