// SPDX-License-Identifier: MIT
#include "packet_client_core.hpp"

#include "loop_core.hpp"

#include <chrono>
#include <string>
#include <type_traits>
#include <utility>

namespace quoit::detail {

// Keeps the client while its server's name is looked up, and ends the attempt when the task was
// dropped: a parameter of resolve(), so that it does so even when that has not begun.
class packet_client_core::name_search {
  public:
    explicit name_search(counted_ptr<packet_client_core> of) noexcept : of_(std::move(of)) {}
    name_search(name_search&&) noexcept = default;
    ~name_search() {
        if (of_ && of_->phase_ == phase::resolving) of_->fail(errc::canceled);
    }
    packet_client_core* operator->() const noexcept { return of_.get(); }

  private:
    counted_ptr<packet_client_core> of_;
};

packet_client_core::packet_client_core(loop_core& core, open_request request,
                                       const packet_options& options)
    : packet_endpoint(core), request_(std::move(request)), options_(options) {
    join_loop();
}

packet_client_core::~packet_client_core() {
    if (packet_peer_state* const shared = packet_peer_state::of(peer_)) shared->disconnect();
}

packet_port& packet_client_core::on() const noexcept { return core()->packets(); }

// --- connecting ---

status packet_client_core::start(std::vector<address> targets) {
    targets_ = std::move(targets);
    if (!try_next_target()) {
        status why = end_;
        return why;
    }
    start_timers();
    return {};
}

void packet_client_core::start_by_name() {
    start_timers();
    searching_ = spawn(resolve(name_search(counted_ptr<packet_client_core>(this))));
}

task<> packet_client_core::resolve(name_search self) {
    family wanted = self->options_.family;
    if (wanted == family::unspecified) wanted = self->options_.local.family();
    const result<open_targets> found = co_await resolve_places(self->request_, wanted);
    self->resolved(found);
}

void packet_client_core::resolved(const result<open_targets>& found) {
    if (phase_ != phase::resolving) return;
    if (!found) {
        fail(request_.explain(found.error()));
        return;
    }
    targets_ = found->all();
    static_cast<void>(try_next_target());
}

void packet_client_core::start_timers() {
    const auto now = std::chrono::steady_clock::now();
    if (options_.connect_timeout.count() > 0 && is_trying()) {
        giving_up_ = core()->calls().add(
            [this] {
                if (is_trying()) attempt_failed(errc::timed_out);
            },
            now + options_.connect_timeout);
    }
    if (options_.idle_timeout.count() > 0) {
        const auto period = idle_watch::period(options_.idle_timeout);
        idle_timer_ = core()->calls().add([this] { look_for_idle(); }, now + period, period);
    }
}

// False: there is none left, and it has failed.
bool packet_client_core::try_next_target() {
    while (next_target_ < targets_.size()) {
        const address& target = targets_[next_target_++];
        const result<packet_stream_id> opened = on().connect(target, options_);
        if (!opened) {
            causes_.push_back(request_.explain(opened.error()));
            continue;
        }
        core()->register_stream(*opened, *this);
        stream_ = *opened;
        remote_ = target;
        phase_ = phase::connecting;
        return true;
    }
    fail(request_.collect(std::move(causes_)));
    return false;
}

// One that timed out was the last: the time is for all of them together.
void packet_client_core::attempt_failed(error why) {
    const bool was_last = why.code() == make_error_code(errc::timed_out);
    if (why.context().empty()) {
        why = phase_ == phase::connecting ? error(why.code(), "connect " + remote_.to_string())
                                          : request_.explain(why);
    }
    forget_stream();
    causes_.push_back(std::move(why));
    if (was_last) {
        fail(request_.collect(std::move(causes_)));
    } else {
        static_cast<void>(try_next_target());
    }
}

void packet_client_core::fail(error why) noexcept {
    forget_stream();
    drop_pending();
    remote_ = address();
    end_reading(std::move(why));
    is_stream_closed_ = true;
    settle();
}

void packet_client_core::connected() noexcept {
    if (phase_ != phase::connecting) return;
    phase_ = phase::open;
    has_connected_ = true;
    local_ = on().local_address(stream_);
    remote_ = on().peer_address(stream_);
    peer_ = packet_peer_state::make(remote_, core()->mailbox(), *this, *this);
    causes_.clear();
    if (giving_up_ && giving_up_->is_pending()) giving_up_->cancel();
    if (core()->wants_information()) {
        core()->announce_packets("connected for packets from " + local_.to_string() + " to " +
                                 remote_.to_string());
    }
    before_.sent.accepted -= pending_.size();
    before_.sent.waiting = 0;
    for (const shared_bytes& body : pending_) {
        // It fits, being no more than the queue takes.
        if (on().write(stream_, body)) continue;
        ++before_.sent.accepted;
        ++before_.sent.dropped;
    }
    pending_.clear();
    pending_size_ = 0;
    refused_size_ = 0;
    while (waiter* const one = connected_waiters.front())
        one->wake();
    if (is_closing_) {
        on().close(stream_);
        end_reading(errc::closed);
        settle();
        return;
    }
    may_have_packets_ = true;
    serve_readers();
    look_for_room();
}

// --- the connection ---

bool packet_client_core::take_next(packet_interest interest, packet_item& into) {
    static_cast<void>(interest);
    if (phase_ != phase::open || !may_have_packets_) return false;
    result<shared_bytes> body = on().receive(stream_);
    if (body) {
        into = packet_item(peer_, *std::move(body));
        return true;
    }
    if (body.error() == errc::would_block) {
        may_have_packets_ = false;
        return false;
    }
    const error why = body.error();
    if (!is_stream_closed_) on().close(stream_);
    end_reading(why);
    settle();
    return false;
}

void packet_client_core::readable() noexcept {
    if (phase_ == phase::connecting) {
        const result<shared_bytes> body = on().receive(stream_);
        if (!body && body.error() != errc::would_block) attempt_failed(body.error());
    } else if (phase_ == phase::open) {
        may_have_packets_ = true;
        serve_readers();
    }
}

void packet_client_core::drained() noexcept { look_for_room(); }

void packet_client_core::closed() noexcept {
    const counted_ptr<packet_client_core> alive(this);
    is_stream_closed_ = true;
    readable();
    settle();
}

// Nothing more will be read.
void packet_client_core::end_reading(error why) noexcept {
    if (phase_ == phase::over) return;
    phase_ = phase::over;
    end_ = std::move(why);
    stop_timers();
    if (packet_peer_state* const shared = packet_peer_state::of(peer_)) {
        shared->is_connected.store(false, std::memory_order_relaxed);
    }
    if (core() == nullptr) return;
    if (end_ == errc::framing) {
        core()->log_limited(log_level::warning, "a server whose bytes are no packets",
                            remote_.to_string() + " is closed: " + end_.code().message());
    }
    serve_readers();
    while (waiter* const one = connected_waiters.front())
        one->wake(waiter::outcome::closed);
    look_for_room();
}

// Once the stream is closed and everything has been read it is not needed any more.
void packet_client_core::settle() noexcept {
    if (!is_stream_closed_ || core() == nullptr) return;
    if (!is_closed_) {
        is_closed_ = true;
        if (has_connected_ && core()->wants_information()) {
            core()->announce_packets_closed(local_.to_string() + " to " + remote_.to_string(),
                                            stats());
        }
        wake_closed_waiters();
    }
    if (phase_ != phase::over) return;
    forget_stream();
    if (keeps_itself_) detach();
}

void packet_client_core::forget_stream() noexcept {
    if (stream_.generation == 0) return;
    on().abort(stream_, make_error_code(errc::closed));  // so that it is counted as what it was
    before_ += on().stats(stream_);
    core()->forget_stream(stream_);
    on().release(stream_);
    stream_ = {};
}

void packet_client_core::drop_pending() noexcept {
    before_.sent.dropped += pending_.size();
    before_.sent.waiting = 0;
    pending_.clear();
    pending_size_ = 0;
}

void packet_client_core::stop_timers() noexcept {
    for (const timer_queue::ptr& one : {giving_up_, idle_timer_}) {
        if (one && one->is_pending()) one->cancel();
    }
}

void packet_client_core::look_for_idle() noexcept {
    if (phase_ != phase::open || !on().is_connected(stream_)) return;
    const bool is_held_up = on().readable_count(stream_) > 0;
    if (!idle_.look(on().bytes_received(stream_), is_held_up)) return;
    on().abort(stream_, make_error_code(errc::timed_out));
    may_have_packets_ = true;
    serve_readers();
}

// --- writing ---

template <class Body>
status packet_client_core::write_now_or_later(const Body& body) {
    if (is_closing()) return errc::closed;
    const std::size_t size = packet_header_size(options_.framing) + body.size();
    status written;
    if (phase_ == phase::open) {
        written = on().write(stream_, body);
        if (!written && written == errc::slow_peer) may_have_packets_ = true;  // that is, its end
    } else if (body.size() > options_.packet_size_max) {
        written = errc::message_too_long;
    } else if (pending_size_ > 0 && pending_size_ + size > options_.write_queue_size_max) {
        written = errc::would_block;
        ++before_.sent.dropped_slow;
    } else {
        if constexpr (std::is_same_v<Body, shared_bytes>) {
            pending_.push_back(body);
        } else {
            pending_.push_back(shared_bytes::copy_of(body));
        }
        pending_size_ += size;
        ++before_.sent.accepted;
        ++before_.sent.waiting;
    }
    refused_size_ = 0;
    if (written) return written;
    if (written == errc::would_block) refused_size_ = size;
    serve_readers();
    return written;
}

status packet_client_core::write(byte_view body) { return write_now_or_later(body); }
status packet_client_core::write(const shared_bytes& body) { return write_now_or_later(body); }

void packet_client_core::flush() noexcept {
    if (core() != nullptr && stream_.generation != 0) on().flush(stream_);
}

std::size_t packet_client_core::waiting_size() const noexcept {
    return phase_ == phase::open ? on().write_queue_size(stream_) : pending_size_;
}

bool packet_client_core::has_room(std::size_t body_size) const noexcept {
    if (core() == nullptr || phase_ == phase::over) return true;
    const std::size_t waiting = waiting_size();
    return waiting == 0 || waiting + packet_header_size(options_.framing) + body_size <=
                               options_.write_queue_size_max;
}

packet_endpoint::room packet_client_core::room_for(const packet_peer& peer) noexcept {
    static_cast<void>(peer);
    if (core() == nullptr || phase_ == phase::over) return room::gone;
    if (phase_ == phase::open && !on().is_connected(stream_)) return room::gone;
    const auto is_full = [this] {
        const std::size_t waiting = waiting_size();
        return waiting > options_.write_queue_size_max / 2 ||
               (waiting > 0 && waiting + refused_size_ > options_.write_queue_size_max);
    };
    if (!is_full()) return room::some;
    flush();
    return is_full() ? room::none : room::some;
}

// --- life ---

void packet_client_core::close() noexcept {
    if (is_closing_) return;
    is_closing_ = true;
    if (core() == nullptr) return;
    if (phase_ == phase::open) {
        on().close(stream_);
        may_have_packets_ = true;
        serve_readers();
    } else if (is_trying()) {
        if (pending_.empty()) {
            fail(errc::closed);
        } else {
            serve_readers();  // reading has ended; writing goes on
            while (waiter* const one = connected_waiters.front())
                one->wake(waiter::outcome::closed);
        }
    }
}

void packet_client_core::abort() noexcept {
    is_closing_ = true;
    if (core() == nullptr) return;
    if (is_trying()) {
        fail(errc::closed);
    } else if (stream_.generation != 0 && !is_stream_closed_) {
        on().abort(stream_, make_error_code(errc::closed));
        may_have_packets_ = true;
        serve_readers();
        look_for_room();
    }
}

void packet_client_core::abandon() noexcept {
    if (core() == nullptr) return;
    close();
    if (core() == nullptr) return;
    if (is_trying()) {
        keeps_itself_ = true;
        retain();
        return;
    }
    detach();
}

// An open stream is left to the loop, which releases it when it is closed.
void packet_client_core::detach() noexcept {
    drop_pending();
    if (stream_.generation != 0) {
        if (is_stream_closed_) {
            forget_stream();
        } else {
            before_ += on().stats(stream_);
            core()->forget_stream(stream_);
            on().close(stream_);
            stream_ = {};
        }
    }
    is_closing_ = true;
    end_reading(errc::closed);
    leave_loop();
    if (std::exchange(keeps_itself_, false)) release();
}

void packet_client_core::lose_loop() noexcept {
    flush();
    detach();
}

error packet_client_core::end() const { return is_closing_ ? error(errc::closed) : end_; }

packet_stats packet_client_core::stats() const {
    packet_stats sum = before_;
    if (core() != nullptr && stream_.generation != 0) sum += on().stats(stream_);
    return sum;
}

}  // namespace quoit::detail
