// SPDX-License-Identifier: MIT
#include "net/receive.hpp"
#include "net/system.hpp"
#include "runtime/blocking_implementation.hpp"
#include "runtime/send_queue.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace quoit::detail {

result<datagram> blocking_implementation::receive(time_limit timeout) {
    if (!timeout.is_valid()) return no_time_limit();
    if (fork_watch_.is_forked()) return failure(errc::forked);
    const time_point deadline = timeout.deadline(system::now());
    const turn mine(*this, receiving_, deadline);
    if (mine.is_inside()) return receive_behind_gate(deadline);
    const std::scoped_lock lock(mutex_);
    if (is_closing()) {
        if (auto left = take_early()) return *std::move(left);
    }
    return failure(mine.refusal());
}

result<datagram> blocking_implementation::receive_behind_gate(time_point deadline) {
    for (;;) {
        // Pairs with close(), interrupt(), tell_reader() and keep_what_came_before().
        if (has_news_.load(std::memory_order_acquire)) {
            if (auto found = look_at_news()) return *std::move(found);
        }
        if (auto found = try_sockets()) return *std::move(found);
        if (has_news_.load(std::memory_order_acquire)) continue;  // what try_sockets() kept
        if (const std::error_code why = wait_for(polled_, deadline)) return failure(why);
    }
}

std::optional<result<datagram>> blocking_implementation::look_at_news() {
    std::vector<int> heard;
    {
        const std::scoped_lock lock(mutex_);
        if (!is_closing()) heard = std::exchange(refusals_heard_, {});
    }
    for (const int refusal : heard)
        keep_what_came_before(refusal);
    const std::scoped_lock lock(mutex_);
    if (auto found = take_early()) return found;
    if (is_closing()) return result<datagram>(failure(errc::closed));
    // Whoever has something new after this raises both again.
    system::event_clear(receiving_.event.get());
    has_news_.store(!refusals_heard_.empty(), std::memory_order_release);
    if (std::exchange(is_interrupted_, false)) return result<datagram>(failure(errc::canceled));
    return std::nullopt;
}

std::optional<result<datagram>> blocking_implementation::take_early() {
    if (early_.empty()) return std::nullopt;
    early first = std::move(early_.front());
    early_.pop_front();
    if (first.refusal != 0) {
        --early_refusals_;
        return result<datagram>(failure(system_error(first.refusal)));
    }
    --early_datagrams_;
    ++ledger_.received.delivered;
    return result<datagram>(std::move(first.received));
}

std::optional<result<datagram>> blocking_implementation::try_sockets() {
    for (std::size_t asked = 0; asked < sockets_.size();) {
        attempt one = try_receive(next_, goes_to::reader);
        const bool is_empty = one.error == EAGAIN || one.error == EWOULDBLOCK;
        if (one.received || is_empty) {
            next_ = (next_ + 1) % sockets_.size();
            ++asked;
        }
        if (one.received) return result<datagram>(*std::move(one.received));
        if (one.error == 0 || is_empty) continue;
        if (!send_queue::is_news(one.error)) {
            return result<datagram>(failure(system_error(one.error), "receive"));
        }
        {
            const std::scoped_lock lock(mutex_);
            ++ledger_.received.refused;
        }
        // Otherwise there is nobody to tell: of which peer, an unconnected socket does not say.
        if (rules_.peer) {
            keep_what_came_before(one.error);
            return std::nullopt;
        }
    }
    return std::nullopt;
}

// The kernel reports a refusal ahead of what is already waiting (measured on Linux 6.18), so that
// is taken out first, as much as a queue would hold together with what was kept before: how often
// this is called is the remote's choice.
void blocking_implementation::keep_what_came_before(int refusal) {
    constexpr std::size_t refusals_max = 8;
    std::vector<int> refusals{refusal};
    std::vector<datagram> before;
    const std::size_t room = room_for_early();
    while (refusals.size() < refusals_max && before.size() < room) {
        attempt one = try_receive(0, goes_to::queue);
        if (one.error == EAGAIN || one.error == EWOULDBLOCK) break;
        if (one.error != 0) refusals.push_back(one.error);
        if (one.received) before.push_back(*std::move(one.received));
    }
    const std::scoped_lock lock(mutex_);
    ledger_.received.refused += refusals.size() - 1;
    for (datagram& one : before)
        early_.push_back({.received = std::move(one), .refusal = 0});
    for (const int one : refusals) {
        if (early_refusals_ == options_.queue_size_max) break;  // counted, but not told
        early_.push_back({.received = {}, .refusal = one});
        ++early_refusals_;
    }
    has_news_.store(true, std::memory_order_release);  // pairs with receive_behind_gate()
}

std::size_t blocking_implementation::room_for_early() const noexcept {
    const std::scoped_lock lock(mutex_);
    return options_.queue_size_max -
           std::min<std::size_t>(early_datagrams_, options_.queue_size_max);
}

blocking_implementation::attempt blocking_implementation::try_receive(std::size_t index,
                                                                      goes_to whom) {
    const message_layout layout = layouts_[index];
    const auto buffer =
        std::span(buffer_.get(), layout.payload_offset() + options_.payload_size_max);
    const receive_result got = receive_message(sockets_[index].descriptor(), buffer, layout);
    if (got.error != 0) return {.error = got.error, .received = {}};
    return read_message(index, buffer.first(got.size), whom);
}

blocking_implementation::attempt blocking_implementation::read_message(
    std::size_t index, std::span<const std::byte> message, goes_to whom) {
    parsed_message parsed = parse_message(message, layouts_[index], options_.payload_size_max);
    // Control data that is cut only lacks metadata: UDP_GRO, which it could hide, is off.
    const bool is_whole =
        parsed.state == message_state::valid || parsed.state == message_state::control_cut;
    // Between bind and connect the socket took anybody's.
    const bool is_strange = rules_.peer && is_whole &&
                            (parsed.first.peer.host() != rules_.peer->host() ||
                             parsed.first.peer.port() != rules_.peer->port());
    const std::uint32_t count = is_whole ? parsed.count() : 1;
    if (!is_whole || is_strange || count != 1) {
        const std::scoped_lock lock(mutex_);
        ledger_.received.taken += count;
        ledger_.received.dropped.invalid += count;
        return {};
    }
    parsed.first.socket = static_cast<std::uint32_t>(index);
    parsed.first.local_port = locals_[index].port();
    attempt made{.error = 0, .received = lease_access::borrowed(parsed.first).to_owned()};
    const std::scoped_lock lock(mutex_);
    receive_stats& ledger = ledger_.received;
    ++ledger.taken;
    ++ledger.passed;
    ++(whom == goes_to::reader ? ledger.delivered : early_datagrams_);
    ledger.bytes += parsed.first.size;
    if (parsed.first.size == 0) ++ledger.empty;
    if (parsed.first.original_size > parsed.first.size) ++ledger.truncated;
    return made;
}

void blocking_implementation::interrupt() noexcept {
    if (fork_watch_.is_forked()) return;
    const std::scoped_lock lock(mutex_);
    if (is_closing()) return;
    is_interrupted_ = true;
    has_news_.store(true, std::memory_order_release);  // pairs with receive_behind_gate()
    system::event_raise(receiving_.event.get());
}

}  // namespace quoit::detail
