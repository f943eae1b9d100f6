// SPDX-License-Identifier: MIT
#include <quoit/detail/packet_endpoint.hpp>

#include "loop_core.hpp"

#include <utility>

namespace quoit::detail {

packet_event packet_item::as_event() && {
    packet_event event{.what = what, .peer = peer, .received = {}, .reason = reason};
    if (is_packet()) event.received.emplace(std::move(peer), std::move(body));
    return event;
}

// --- reading ---

bool packet_endpoint::take(packet_interest interest, packet_item& into) {
    while (!returned_.empty()) {
        into = std::move(returned_.back());
        returned_.pop_back();
        if (into.is_packet() || interest == packet_interest::everything) return true;
    }
    return take_next(interest, into);
}

result<packet_item> packet_endpoint::try_take(packet_interest interest) {
    result<packet_item> taken;
    if (take(interest, *taken)) return taken;
    if (has_ended()) return std::unexpected(end());
    return failure(errc::would_block);
}

// The first in the list who wants everything; null: they all want packets only.
packet_endpoint::reader* packet_endpoint::first_for_everything() const noexcept {
    reader* found = nullptr;
    readers_.for_each([&](waiter& one) {
        auto& candidate = static_cast<reader&>(one);
        if (found == nullptr && candidate.interest_ == packet_interest::everything) {
            found = &candidate;
        }
    });
    return found;
}

void packet_endpoint::serve_readers() {
    while (auto* const first = static_cast<reader*>(readers_.front())) {
        reader* const listener = first_for_everything();
        packet_item item;
        if (!take(listener != nullptr ? packet_interest::everything : packet_interest::packets,
                  item)) {
            break;
        }
        reader& served = item.is_packet() ? *first : *listener;
        served.item_ = std::move(item);
        served.has_item_ = true;
        woken_.push_back(served);
        served.wake();
    }
    if (!has_ended()) return;
    while (waiter* const one = readers_.front())
        one->wake(waiter::outcome::closed);
}

// See the picture at the top of the header.
void packet_endpoint::give_back(reader& from) noexcept {
    packet_item item = std::move(from.item_);
    from.has_item_ = false;
    bool is_behind = false;
    woken_.for_each([&](reader& one) {
        if (is_behind && (item.is_packet() || one.interest_ == packet_interest::everything)) {
            std::swap(item, one.item_);
        }
        is_behind = is_behind || &one == &from;
    });
    static_cast<chain_link<while_woken>&>(from).unlink();
    if (core_ == nullptr) return;
    returned_.push_back(std::move(item));
    serve_readers();
}

bool packet_endpoint::reader::wait(std::coroutine_handle<> frame, task_context& context) {
    if (answers_at_once(context, limit_)) {
        return answer() == outcome::canceled && context.has_given_up();
    }
    if (endpoint_ == nullptr) {
        set_answer(outcome::closed);
        return false;
    }
    if (endpoint_->core_ != nullptr && endpoint_->core_ != &current_core()) {
        misused("packets were read by a task of another loop");
    }
    if (endpoint_->take(interest_, item_)) {
        has_item_ = true;
        set_answer(outcome::ready);
        return false;
    }
    if (endpoint_->has_ended()) {
        set_answer(outcome::closed);
        return false;
    }
    endpoint_->returned_.reserve(endpoint_->returned_.size() + endpoint_->reader_count_ + 1);
    enlist(frame, context, limit_, &endpoint_->readers_);
    ++endpoint_->reader_count_;
    endpoint_->retain();
    has_suspended_ = true;
    return true;
}

result<packet_item> packet_endpoint::reader::outcome_of_reading() {
    if (has_item_ && answer() != outcome::ready) endpoint_->give_back(*this);
    static_cast<chain_link<while_woken>&>(*this).unlink();
    if (answer() == outcome::ready && std::exchange(has_item_, false)) return std::move(item_);
    if (answer() == outcome::closed) {
        // Somebody who was told of the last packet may have given it back.
        if (endpoint_ != nullptr && endpoint_->take(interest_, item_)) return std::move(item_);
        return endpoint_ != nullptr ? std::unexpected(endpoint_->end()) : failure(errc::closed);
    }
    return std::unexpected(answer_as_status().error());
}

void packet_endpoint::reader::let_go() noexcept {
    --endpoint_->reader_count_;
    if (has_item_) endpoint_->give_back(*this);
    endpoint_->release();
}

// --- the rest ---

void packet_endpoint::join_loop() noexcept { core_->add_packet_endpoint(*this); }

void packet_endpoint::leave_loop() noexcept {
    static_cast<chain_link<in_loop>&>(*this).unlink();
    static_cast<chain_link<while_awaiting_room>&>(*this).unlink();
    core_ = nullptr;
    returned_.clear();
    serve_readers();
    while (waiter* const one = connected_waiters.front())
        one->wake(waiter::outcome::closed);
    while (waiter* const one = room_waiters_.front())
        one->wake(waiter::outcome::closed);
    is_closed_ = true;
    wake_closed_waiters();
}

void packet_endpoint::wake_closed_waiters() noexcept {
    while (waiter* const one = closed_waiters.front())
        one->wake();
}

bool packet_endpoint::look_for_room() noexcept {
    chain<waiter> looked_at;
    looked_at.push_all_of(room_waiters_);
    while (auto* const one = static_cast<packet_drain_operation*>(looked_at.front())) {
        switch (room_for(one->peer_)) {
            case room::none: room_waiters_.push_back(*one); break;
            case room::some: one->wake(); break;
            case room::gone: one->wake(waiter::outcome::closed); break;
        }
    }
    return !room_waiters_.is_empty();
}

bool packet_drain_operation::wait(std::coroutine_handle<> frame, task_context& context) {
    const auto now = of_ ? of_->room_for(peer_) : packet_endpoint::room::gone;
    if (now != packet_endpoint::room::none) {
        const bool suspends = start(frame, context, time_limit(), nullptr, true);
        if (answer() == outcome::ready && now == packet_endpoint::room::gone) {
            set_answer(outcome::closed);
        }
        return suspends;
    }
    const bool suspends = start(frame, context, time_limit(), &of_->room_waiters_, false);
    // One whose answer was known is in no list.
    if (!of_->room_waiters_.is_empty()) of_->core()->watch_room(*of_);
    return suspends;
}

status packet_connected_operation::await_resume() const {
    if (answer() == outcome::ready) {
        if (!of_) return errc::closed;
        return of_->has_connected() ? status() : status(of_->end());
    }
    if (answer() == outcome::closed && of_) return of_->end();
    return answer_as_status();
}

}  // namespace quoit::detail
