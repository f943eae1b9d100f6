// SPDX-License-Identifier: MIT
#include "net/control_message.hpp"
#include "net/system.hpp"
#include "runtime/blocking_implementation.hpp"
#include "runtime/send_queue.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

namespace quoit::detail {

namespace {

// IOV_MAX: more go as one copy.
constexpr std::size_t pieces_max = 1024;

}  // namespace

status blocking_implementation::send(std::span<const byte_view> pieces, destination where,
                                     time_limit timeout) {
    if (!timeout.is_valid()) return no_time_limit();
    if (is_closing()) return errc::closed;
    if (fork_watch_.is_forked()) return errc::forked;
    std::size_t size = 0;
    for (const byte_view& piece : pieces)
        size += piece.size();
    destination_rules rules = rules_;
    rules.allows_broadcast = allows_broadcast_.load(std::memory_order_relaxed);
    if (const auto refused = check_destination(rules, size, where.to)) return refused;

    const time_point deadline = timeout.deadline(system::now());
    const turn mine(*this, sending_, deadline);
    if (!mine.is_inside()) return mine.refusal();
    std::array<iovec, pieces_on_stack> few;
    const std::optional<ip> from = source_for(where);
    const outgoing message{.pieces = gather(pieces, few, size),
                           .to = rules_.peer ? nullptr : where.to,
                           .from = from ? &*from : nullptr};
    return send_behind_gate(message, descriptor_for(where), size, deadline);
}

// An answer leaves from the address the request went to, where the kernel said which that was.
std::optional<ip> blocking_implementation::source_for(const destination& where) const noexcept {
    if (rules_.peer || where.request == nullptr || where.request->control_size == 0) return {};
    const bool is_answer = where.to != nullptr && *where.to == where.request->peer;
    if (!is_answer) return {};
    return find_source({where.request->control, where.request->control_size});
}

std::span<const iovec> blocking_implementation::gather(std::span<const byte_view> pieces,
                                                       std::span<iovec, pieces_on_stack> few,
                                                       std::size_t size) {
    if (pieces.size() <= few.size()) {
        std::ranges::transform(pieces, few.begin(),
                               [](const byte_view& one) { return piece_of(one.bytes()); });
        return few.first(pieces.size());
    }
    many_pieces_.clear();
    if (pieces.size() <= pieces_max) {
        for (const byte_view& one : pieces)
            many_pieces_.push_back(piece_of(one.bytes()));
        return many_pieces_;
    }
    copied_.clear();
    copied_.reserve(size);
    for (const byte_view& one : pieces)
        copied_.insert(copied_.end(), one.data(), one.data() + one.size());
    many_pieces_.push_back(piece_of(copied_));
    return many_pieces_;
}

// The socket that received what is answered, if it is one of ours; else the first of the family.
int blocking_implementation::descriptor_for(const destination& where) const noexcept {
    if (where.to == nullptr) return sockets_.front().descriptor();
    const family of = where.to->family();
    const std::uint32_t asked = where.request != nullptr ? where.request->socket : ~0U;
    if (asked < sockets_.size() && locals_[asked].family() == of) {
        return sockets_[asked].descriptor();
    }
    const auto found = std::ranges::find(locals_, of, &address::family);
    return sockets_[static_cast<std::size_t>(found - locals_.begin())].descriptor();
}

status blocking_implementation::send_behind_gate(const outgoing& message, int fd, std::size_t size,
                                                 time_point deadline) {
    std::array<pollfd, 2> polled{
        pollfd{.fd = fd, .events = POLLOUT, .revents = 0},
        pollfd{.fd = sending_.event.get(), .events = POLLIN, .revents = 0}};
    bool is_resent = false;
    for (;;) {
        const int error = send_messages(fd, std::span(&message, 1)).error;
        if (error == EAGAIN || error == EWOULDBLOCK) {
            {
                const std::scoped_lock lock(mutex_);
                ++ledger_.sent.blocked;
            }
            const std::error_code why = wait_for(polled, deadline);
            if (is_closing()) return errc::closed;
            if (why) return why;
            continue;
        }
        // News of an earlier datagram: this one was not sent.
        if (message.to == nullptr && !is_resent && send_queue::is_news(error)) {
            if (options_.report_refused_on_send) {
                const std::scoped_lock lock(mutex_);
                ++ledger_.received.refused;
                return system_error(error);
            }
            tell_reader(error);
            is_resent = true;
            continue;
        }
        count_sent(error, size);
        if (error != 0) return system_error(error);
        return {};
    }
}

void blocking_implementation::count_sent(int error, std::size_t size) {
    const std::scoped_lock lock(mutex_);
    ++ledger_.sent.accepted;
    if (error == 0) {
        ++ledger_.sent.sent;
        ledger_.sent.bytes += size;
        return;
    }
    quoit::stats lost;
    lost.sent.errors = 1;
    lost.sent.reasons.front() = {.error = error, .count = 1};
    ledger_ += lost;
}

void blocking_implementation::tell_reader(int refusal) {
    const std::scoped_lock lock(mutex_);
    ++ledger_.sent.resent;
    ++ledger_.received.refused;
    // Bounded: perhaps nobody ever reads.
    if (early_refusals_ + refusals_heard_.size() < options_.queue_size_max) {
        refusals_heard_.push_back(refusal);
    }
    has_news_.store(true, std::memory_order_release);  // pairs with receive_behind_gate()
    system::event_raise(receiving_.event.get());
}

}  // namespace quoit::detail
