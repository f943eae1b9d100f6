// SPDX-License-Identifier: MIT
//
// One epoll set, level-triggered; each source that is ready is read with recvmmsg, up to 64
// messages per turn. A thread that spins and has few sources asks them directly instead, and they
// are not in the set.
//
//   watched ---- readable, but no buffer is free ----> starved (EPOLLIN off, waits in line)
//      ^                                                  |
//      +----------- recycle() brought buffers ------------+
//
// Level-triggered, because a source that is left with datagrams (more than one call takes) is then
// simply reported again by the next turn: fair to the others, and no list of our own to keep. The
// price is that a source nobody may read must be taken out of the set: starved and paused ones have
// no EPOLLIN, or the loop would spin.
//
// EPOLLERR is always reported, asked for or not (epoll_ctl(2)), and stays until the error is taken.
// A refusal comes as EPOLLERR alone (measured on Linux 6.18). So the error of a source that is not
// read is taken with SO_ERROR and kept until its datagrams have been delivered.
//
// EPOLLHUP cannot be turned off either, and a connection that is over has it for good. So a stream
// that is neither read nor waited for is not in the set at all. A listener is in it while somebody
// asks for a connection.
#include "backend/epoll/epoll_backend.hpp"

#include "base/assert.hpp"
#include "net/accept_error.hpp"
#include "net/system.hpp"

#include <quoit/detail/chain.hpp>
#include <quoit/file_descriptor.hpp>

#include <netinet/in.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

namespace quoit::detail {

namespace {

constexpr std::size_t ready_per_turn = 64;
// Of one source, and so the most that one recvmmsg(2) is asked for.
constexpr std::size_t messages_per_turn = 64;
// Of one stream, likewise.
constexpr std::size_t stretches_per_turn = 16;
constexpr std::size_t vector_size_min_blocking = 8;
constexpr std::size_t vector_size_min_spinning = 2;  // mostly there is one, or none
// A spinning thread asks no more sockets than this by itself, and the set once in so many turns.
constexpr std::size_t sources_asked_max = 2;
constexpr std::uint32_t turns_without_set_max = 64;
constexpr std::uint64_t wake_token = ~std::uint64_t{0};

struct source : chain_link<> {  // the list is the line of starved ones
    int fd = -1;
    source_options options;
    std::uint32_t index = 0;
    std::uint32_t events_watched = 0;
    std::size_t vector_size = 0;  // messages the next recvmmsg(2) asks for
    int pending_error = 0;        // the latest of those taken from the socket and not yet reported
    std::uint32_t pending_error_count = 0;
    bool is_used = false;
    bool is_in_set = false;
    bool is_detached = false;  // its last event is still to come
    bool is_paused = false;
    bool is_starved = false;
    bool wants_writable = false;
    bool is_rechecked = false;  // in line to be read by the next turn, ready or not
    bool is_ended = false;      // a stream that is over
    bool is_asked = false;      // a listener that somebody wants a connection of
    bool was_starved = false;   // a stream whose turn it is: it gets one buffer, before the others

    [[nodiscard]] bool is_datagrams() const noexcept {
        return options.kind == source_kind::datagrams;
    }
};

class epoll_backend final : public io_backend {
  public:
    epoll_backend(const backend_options& options, std::string reason, file_descriptor epoll,
                  file_descriptor waker)
        : pools_(options.pools), ledger_(*options.ledger), is_spinning_(options.is_spinning),
          epoll_(std::move(epoll)), waker_(std::move(waker)), sources_(options.source_count_max) {
        about_.backend = backend::epoll;
        about_.reason = std::move(reason);
        about_.napi_busy_poll =
            options.napi_busy_poll_us > 0 &&
            system::epoll_poll_cards(epoll_.get(), options.napi_busy_poll_us) == 0;
        for (std::size_t pool = 0; pool < buffer_class_count; ++pool) {
            auto& free = free_[pool];
            free.reserve(pools_[pool]->count());
            for (std::uint32_t i = pools_[pool]->count(); i > 0; --i)
                free.push_back(i - 1);
        }
        for (std::uint32_t i = 0; i < sources_.size(); ++i)
            sources_[i].index = i;
        for (std::uint32_t i = options.source_count_max; i > 0; --i)
            unused_.push_back(i - 1);
        detached_.reserve(options.source_count_max);
        recheck_.reserve(options.source_count_max);
    }

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

    [[nodiscard]] int watch_waker() noexcept;

  private:
    void watch(source& one);
    [[nodiscard]] bool reads(const source& one) const noexcept {
        return !one.is_paused && !one.is_starved && !one.is_detached && !one.is_ended &&
               (one.options.kind != source_kind::listener || one.is_asked);
    }
    void handle(const epoll_event& ready);
    void receive(source& one);
    void receive_datagrams(source& one);
    void receive_bytes(source& one);
    void accept(source& one);
    void end(source& one, int error);
    [[nodiscard]] int receive_once(source& one, std::size_t count_max);
    void recheck(source& one);
    [[nodiscard]] std::size_t vector_size_min() const noexcept {
        return is_spinning_ ? vector_size_min_spinning : vector_size_min_blocking;
    }
    void choose_whom_to_ask(steady_time deadline);
    [[nodiscard]] bool must_ask_set() noexcept;
    void ask_set(steady_time deadline);
    void take_out(source& one);
    void deliver_message(source& one, std::uint32_t buffer, const mmsghdr& message);
    void starve(source& one);
    void feed_starved(std::size_t pool);
    void serve_fed();
    static void note_error(source& one, int error);
    void report_error(source& one);
    void emit(const source& one, event what);
    void flush();
    std::vector<std::uint32_t>& free_of(const source& one) {
        return free_[static_cast<std::size_t>(one.options.pool)];
    }

    std::array<buffer_pool*, buffer_class_count> pools_;
    backend_ledger& ledger_;
    bool is_spinning_;
    file_descriptor epoll_;
    file_descriptor waker_;
    capabilities about_;

    std::vector<source> sources_;
    std::vector<std::uint32_t> unused_;    // source slots
    std::vector<std::uint32_t> detached_;  // whose last event is due
    std::vector<std::uint32_t> attached_;  // sources, all that are attached
    bool asks_directly_ = false;
    std::uint32_t turns_without_set_ = 0;
    std::vector<std::uint32_t> recheck_;  // sources with an error that epoll tells no more
    std::vector<std::uint32_t> fed_;      // streams that starved and have a buffer now
    std::array<std::vector<std::uint32_t>, buffer_class_count> free_;
    std::array<chain<source>, buffer_class_count> starved_;  // first in, first out

    // Of the turn that runs.
    event_sink* sink_ = nullptr;
    std::array<event, 256> batch_;
    std::size_t batch_size_ = 0;
};

int epoll_backend::watch_waker() noexcept {
    epoll_event wanted{};
    wanted.events = EPOLLIN;
    wanted.data.u64 = wake_token;
    return system::epoll_control(epoll_.get(), EPOLL_CTL_ADD, waker_.get(), &wanted);
}

source_id epoll_backend::attach(int fd, const source_options& options) {
    QUOIT_ASSERT(!unused_.empty(), "more sources than source_count_max");
    QUOIT_ASSERT(
        options.layout.payload_offset() < pools_[static_cast<std::size_t>(options.pool)]->stride(),
        "a layout that does not fit the buffers of its pool");
    source& made = sources_[unused_.back()];
    unused_.pop_back();
    made.fd = fd;
    made.options = options;
    made.is_used = true;
    made.is_in_set = false;
    made.is_detached = made.is_starved = made.is_ended = false;
    made.is_paused = options.is_paused;
    made.is_asked = !options.is_paused;
    made.wants_writable = made.is_rechecked = made.was_starved = false;
    made.pending_error = 0;
    made.pending_error_count = 0;
    made.vector_size = vector_size_min();
    attached_.push_back(made.index);
    watch(made);
    return {made.index};
}

// Brings the epoll set in line with what the source shall hear of.
void epoll_backend::watch(source& one) {
    epoll_event wanted{};
    wanted.events = reads(one) ? static_cast<std::uint32_t>(EPOLLIN) : 0U;
    if (one.wants_writable) wanted.events |= EPOLLOUT;
    wanted.data.u64 = one.index;
    if (one.pending_error != 0) recheck(one);
    const bool is_silent = !one.is_datagrams() && wanted.events == 0;
    if (is_silent || (asks_directly_ && !one.wants_writable)) {
        take_out(one);
        return;
    }
    if (one.is_in_set && wanted.events == one.events_watched) return;
    const int operation = one.is_in_set ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    one.events_watched = wanted.events;
    const int error = system::epoll_control(epoll_.get(), operation, one.fd, &wanted);
    if (error == 0) one.is_in_set = true;
    ++ledger_.system_calls;
    // ENOMEM and max_user_watches (ENOSPC): the source cannot be heard, and says so.
    if (error < 0) {
        note_error(one, -error);
        recheck(one);
    }
}

void epoll_backend::take_out(source& one) {
    if (!std::exchange(one.is_in_set, false)) return;
    [[maybe_unused]] const int error =
        system::epoll_control(epoll_.get(), EPOLL_CTL_DEL, one.fd, nullptr);
    ++ledger_.system_calls;
}

// The error has been taken from the socket: if it has no datagram, epoll will not speak of it
// again.
void epoll_backend::recheck(source& one) {
    const bool hears = reads(one) || (!one.is_datagrams() && one.wants_writable);
    if (one.is_rechecked || !hears) return;
    one.is_rechecked = true;
    recheck_.push_back(one.index);
}

void epoll_backend::set(source_id id, interest wanted) {
    source& one = sources_[id.index];
    if (one.is_detached) return;
    switch (wanted) {
        case interest::receive:
            one.is_paused = false;
            one.is_asked = true;
            break;
        case interest::pause: one.is_paused = true; break;
        case interest::writable: one.wants_writable = true; break;
    }
    if (one.is_starved && one.is_paused) {
        one.is_starved = false;
        one.unlink();
    }
    watch(one);
}

void epoll_backend::detach(source_id id) {
    source& one = sources_[id.index];
    QUOIT_ASSERT(one.is_used && !one.is_detached, "a source was detached twice");
    one.is_detached = true;
    one.is_starved = one.wants_writable = false;
    one.unlink();
    take_out(one);
    one.fd = -1;
    std::erase(attached_, one.index);
    detached_.push_back(one.index);
}

send_result epoll_backend::send(source_id id, std::span<const outgoing> messages) {
    const send_result result = send_messages(sources_[id.index].fd, messages);
    ledger_.system_calls.add(result.system_calls);
    return result;
}

void epoll_backend::recycle(buffer_class pool, std::span<const std::uint32_t> buffers) {
    auto& free = free_[static_cast<std::size_t>(pool)];
    free.insert(free.end(), buffers.begin(), buffers.end());
    feed_starved(static_cast<std::size_t>(pool));
}

// As many sources get going again as there are buffers to receive into, the oldest first.
void epoll_backend::feed_starved(std::size_t pool) {
    for (std::size_t left = free_[pool].size(); left > 0 && !starved_[pool].is_empty(); --left) {
        source& next = *starved_[pool].pop_front();
        next.is_starved = false;
        if (next.options.kind == source_kind::stream) {
            next.was_starved = true;
            fed_.push_back(next.index);
        }
        ++ledger_.rearmed_starved;
        watch(next);
    }
}

void epoll_backend::starve(source& one) {
    one.is_starved = true;
    starved_[static_cast<std::size_t>(one.options.pool)].push_back(one);
    ++ledger_.starved;
    emit(one, {.kind = event_kind::starved});
    watch(one);
}

void epoll_backend::turn(steady_time deadline, event_sink& sink) {
    sink_ = &sink;
    ++ledger_.turns;
    for (const std::uint32_t index : detached_) {
        source& one = sources_[index];
        emit(one, {.kind = event_kind::detached});
        one.is_used = false;
        unused_.push_back(index);
        deadline = at_once;
    }
    detached_.clear();
    choose_whom_to_ask(deadline);
    if (!recheck_.empty()) deadline = at_once;
    serve_fed();
    if (batch_size_ > 0) deadline = at_once;

    if (asks_directly_) {
        for (const std::uint32_t index : attached_) {
            if (reads(sources_[index]) && !sources_[index].is_in_set) receive(sources_[index]);
        }
    }
    if (must_ask_set()) ask_set(deadline);
    // Those that were in line before; receive() may put some in line anew, for the next turn.
    for (std::size_t count_now = recheck_.size(); count_now > 0; --count_now) {
        source& one = sources_[recheck_.front()];
        recheck_.erase(recheck_.begin());
        one.is_rechecked = false;
        if (!one.is_used || one.is_detached || one.pending_error == 0) continue;
        if (reads(one)) {
            receive(one);
        } else if (std::exchange(one.wants_writable, false)) {
            // It could not be watched: who tries is told why.
            emit(one, {.kind = event_kind::writable});
        }
    }
    // Those that were fed and found nothing used no buffer, and others may have it.
    for (std::size_t pool = 0; pool < buffer_class_count; ++pool)
        feed_starved(pool);
    flush();
    sink_ = nullptr;
}

// An epoll set is readable when one of its descriptors is. Sources that were asked directly go back
// into it, for good: whoever waits elsewhere does not spin.
status epoll_backend::join(waiting_set& set) {
    if (status added = set.add(epoll_.get()); !added) return added;
    is_spinning_ = false;
    choose_whom_to_ask(no_deadline);
    return {};
}

// What the set does not tell: each makes a turn not wait.
bool epoll_backend::prepare_to_wait() {
    return !detached_.empty() || !recheck_.empty() || !fed_.empty() || batch_size_ > 0;
}

// Before those that have not waited, who might take all the buffers again.
void epoll_backend::serve_fed() {
    for (std::size_t count_now = fed_.size(); count_now > 0; --count_now) {
        source& one = sources_[fed_.front()];
        fed_.erase(fed_.begin());
        if (one.is_used && one.was_starved && reads(one)) receive(one);
    }
}

// A thread that spins asks its few sockets themselves, and they leave the set: a socket that is in
// one costs its senders 0.4 us per datagram to report (a round trip of the raw loop took 3.9 us
// instead of 3.5, Linux 6.18).
void epoll_backend::choose_whom_to_ask(steady_time deadline) {
    const bool asks = is_spinning_ && deadline == at_once && attached_.size() <= sources_asked_max;
    if (asks == asks_directly_) return;
    asks_directly_ = asks;
    for (const std::uint32_t index : attached_)
        watch(sources_[index]);
}

// The set is asked for the sources that are in it and for wake-ups. A thread that asks its sources
// itself looks after wake-ups and writability every now and then.
bool epoll_backend::must_ask_set() noexcept {
    if (!asks_directly_ || attached_.empty()) return true;
    turns_without_set_ = (turns_without_set_ + 1) % turns_without_set_max;
    return turns_without_set_ == 0;
}

void epoll_backend::ask_set(steady_time deadline) {
    std::array<epoll_event, ready_per_turn> ready;
    const timespec left = deadline == no_deadline ? timespec{} : system::time_until(deadline);
    const int count =
        system::epoll_wait(epoll_.get(), ready, deadline == no_deadline ? nullptr : &left);
    ++ledger_.system_calls;
    // EINTR: a signal; whoever turns us looks at what it brought and comes back.
    for (int i = 0; i < count; ++i)
        handle(ready[static_cast<std::size_t>(i)]);
}

void epoll_backend::handle(const epoll_event& ready) {
    if (ready.data.u64 == wake_token) {
        system::event_clear(waker_.get());
        ++ledger_.system_calls;
        return;
    }
    source& one = sources_[ready.data.u64];
    // A connection that failed is as writable as it will be: who tries is told.
    const auto may_be_written =
        one.is_datagrams() ? 0U + EPOLLOUT : 0U + (EPOLLOUT | EPOLLERR | EPOLLHUP);
    if ((ready.events & may_be_written) != 0 && one.wants_writable) {
        one.wants_writable = false;
        emit(one, {.kind = event_kind::writable});
        watch(one);
    }
    if (reads(one)) {
        if ((ready.events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) receive(one);
    } else if ((ready.events & EPOLLERR) != 0 && one.is_datagrams()) {
        // Left in the socket it would be reported again and again.
        int error = 0;
        socklen_t size = sizeof error;
        [[maybe_unused]] const int failed =
            system::get_option(one.fd, SOL_SOCKET, SO_ERROR, &error, &size);
        ++ledger_.system_calls;
        if (error != 0) note_error(one, error);
    }
}

void epoll_backend::receive(source& one) {
    if (!one.is_datagrams() && one.pending_error != 0) {  // it could not be watched
        one.pending_error_count = 0;
        end(one, std::exchange(one.pending_error, 0));
        return;
    }
    switch (one.options.kind) {
        case source_kind::datagrams: receive_datagrams(one); break;
        case source_kind::stream: receive_bytes(one); break;
        case source_kind::listener: accept(one); break;
    }
}

// A buffer that was not filled is the last: the rest of a turn's share is asked for by the next.
void epoll_backend::receive_bytes(source& one) {
    auto& free = free_of(one);
    const buffer_pool& pool = *pools_[static_cast<std::size_t>(one.options.pool)];
    const std::size_t share = std::exchange(one.was_starved, false) ? 1 : stretches_per_turn;
    for (std::size_t i = 0; i < share; ++i) {
        if (free.empty()) {
            starve(one);
            return;
        }
        const std::uint32_t buffer = free.back();
        pool.unpoison(buffer);
        const auto got =
            system::receive_bytes(one.fd, {pool.data(buffer), pool.stride()}, MSG_DONTWAIT);
        ++ledger_.system_calls;
        if (got > 0) {
            ++ledger_.completions;
            free.pop_back();
            emit(one, {.buffer = buffer,
                       .value = static_cast<std::uint32_t>(got),
                       .kind = event_kind::bytes});
            if (static_cast<std::uint32_t>(got) < pool.stride()) return;
            continue;
        }
        pool.poison(buffer);
        if (got != -EAGAIN && got != -EINTR) end(one, static_cast<int>(-got));
        return;
    }
}

void epoll_backend::accept(source& one) {
    const int got = system::accept(one.fd);
    ++ledger_.system_calls;
    if (got == -EAGAIN || is_of_one_connection(-got)) return;
    if (got < 0) {
        end(one, -got);
        return;
    }
    one.is_asked = false;
    emit(one, {.value = static_cast<std::uint32_t>(got), .kind = event_kind::accepted});
    watch(one);
}

// A stream is over: 0 means that its peer has finished. A listener is paused.
void epoll_backend::end(source& one, int error) {
    if (one.options.kind == source_kind::listener) {
        one.is_paused = true;
    } else {
        one.is_ended = true;
    }
    watch(one);
    emit(one, {.value = static_cast<std::uint32_t>(error),
               .kind = error == 0 ? event_kind::end_of_stream : event_kind::failed});
}

// As much as is there, but no more than a turn's share. How many messages are asked for at once
// follows what came before: each costs the preparation of a header, and most calls bring one train.
void epoll_backend::receive_datagrams(source& one) {
    std::size_t left = messages_per_turn;
    while (left > 0) {
        const std::size_t count_max = std::min({one.vector_size, left, free_of(one).size()});
        if (count_max == 0) {
            starve(one);
            return;
        }
        const int got = receive_once(one, count_max);
        if (got < 0 && got != -EAGAIN && got != -EINTR) {
            // The kernel reports an error ahead of datagrams that are already queued, so it is kept
            // here while the rest is read, and reported behind it.
            const bool is_first = one.pending_error == 0;
            note_error(one, -got);
            if (is_first) continue;
        }
        if (got == static_cast<int>(count_max)) {  // there may be more
            left -= count_max;
            one.vector_size = std::min(one.vector_size * 2, messages_per_turn);
            continue;
        }
        const std::size_t count = got > 0 ? static_cast<std::size_t>(got) : 0;
        if (count * 4 < one.vector_size) {
            one.vector_size = std::max(one.vector_size / 2, vector_size_min());
        }
        if (one.pending_error == 0) return;
        if (got == -EINTR) {
            recheck(one);
        } else {
            report_error(one);
        }
        return;
    }
    if (one.pending_error != 0) recheck(one);
}

// One recvmmsg into the last `count_max` free buffers; as many events as it returned messages.
int epoll_backend::receive_once(source& one, std::size_t count_max) {
    auto& free = free_of(one);
    const buffer_pool& pool = *pools_[static_cast<std::size_t>(one.options.pool)];
    const message_layout layout = one.options.layout;

    // Not initialised on purpose: what the call uses is written below.
    std::array<mmsghdr, messages_per_turn> messages;
    std::array<iovec, messages_per_turn> payloads;
    for (std::size_t i = 0; i < count_max; ++i) {
        const std::uint32_t buffer = free[free.size() - 1 - i];
        pool.unpoison(buffer);
        std::byte* const data = pool.data(buffer);
        payloads[i] = {.iov_base = data + layout.payload_offset(),
                       .iov_len = pool.stride() - layout.payload_offset()};
        messages[i] = {};
        msghdr& header = messages[i].msg_hdr;
        header.msg_name = data + message_layout::header_size;
        header.msg_namelen = layout.name_size;
        header.msg_control = layout.control_size == 0 ? nullptr : data + layout.control_offset();
        header.msg_controllen = layout.control_size;
        header.msg_iov = &payloads[i];
        header.msg_iovlen = 1;
    }
    // MSG_TRUNC: report the original length of what is cut. MSG_CMSG_CLOEXEC: descriptors that a
    // UNIX peer passes do not leak into children.
    const int got = system::receive_many(one.fd, std::span(messages).first(count_max),
                                         MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
    ++ledger_.system_calls;
    const std::size_t count = got > 0 ? static_cast<std::size_t>(got) : 0;
    for (std::size_t i = count; i < count_max; ++i)
        pool.poison(free[free.size() - 1 - i]);
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t buffer = free.back();
        free.pop_back();
        deliver_message(one, buffer, messages[i]);
    }
    ledger_.completions.add(count);
    return got;
}

void epoll_backend::deliver_message(source& one, std::uint32_t buffer, const mmsghdr& message) {
    const buffer_pool& pool = *pools_[static_cast<std::size_t>(one.options.pool)];
    const message_layout layout = one.options.layout;
    const message_header header{
        .name_size = message.msg_hdr.msg_namelen,
        .control_size = static_cast<std::uint32_t>(message.msg_hdr.msg_controllen),
        .payload_size = message.msg_len,
        .flags = static_cast<std::uint32_t>(message.msg_hdr.msg_flags)};
    std::memcpy(pool.data(buffer), &header, sizeof header);
    const std::uint32_t length = std::min(layout.payload_offset() + message.msg_len, pool.stride());
    emit(one, {.buffer = buffer,
               .value = length,
               .segment = one.options.has_gro ? segment_of(pool.used(buffer, length), layout)
                                              : std::uint16_t{0},
               .kind = event_kind::datagram});
}

void epoll_backend::note_error(source& one, int error) {
    one.pending_error = error;
    ++one.pending_error_count;
}

void epoll_backend::report_error(source& one) {
    const auto error = static_cast<std::uint32_t>(std::exchange(one.pending_error, 0));
    for (; one.pending_error_count > 0; --one.pending_error_count) {
        emit(one, {.value = error, .kind = event_kind::failed});
        ++ledger_.rearmed_error;
    }
}

void epoll_backend::emit(const source& one, event what) {
    what.tag = one.options.tag;
    what.pool = one.options.pool;
    batch_[batch_size_++] = what;
    if (batch_size_ == batch_.size()) flush();
}

void epoll_backend::flush() {
    if (batch_size_ == 0) return;
    const std::size_t count = std::exchange(batch_size_, 0);
    sink_->deliver(std::span(batch_).first(count));
}

}  // namespace

result<std::unique_ptr<io_backend>> make_epoll_backend(const backend_options& options,
                                                       std::string reason) {
    const int epoll = system::epoll_create();
    if (epoll < 0) {
        return failure(std::error_code(-epoll, std::system_category()), "create an epoll set");
    }
    file_descriptor epoll_owner(epoll);
    const int waker = system::event_open();
    if (waker < 0) {
        return failure(std::error_code(-waker, std::system_category()), "create an eventfd");
    }
    auto made = std::make_unique<epoll_backend>(options, std::move(reason), std::move(epoll_owner),
                                                file_descriptor(waker));
    if (const int error = made->watch_waker(); error < 0) {
        return failure(std::error_code(-error, std::system_category()), "watch an eventfd");
    }
    return made;
}

}  // namespace quoit::detail
