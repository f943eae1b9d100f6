// SPDX-License-Identifier: MIT
#include <quoit/detail/peer_table.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <new>
#include <random>
#include <string>
#include <utility>

namespace quoit::detail {

namespace {

constexpr std::size_t bucket_count_min = 64;

std::uint64_t random_seed() {
    std::random_device source;
    return std::uint64_t{source()} << 32U | source();
}

status check_range(const char* name, std::uint32_t value, std::uint32_t most) {
    if (value >= 1 && value <= most) return {};
    return failure(errc::invalid_option, std::string(name) + " of " + std::to_string(value) +
                                             " is not in 1.." + std::to_string(most));
}

}  // namespace

status check(const peer_options& options) {
    constexpr std::uint32_t million = 1'048'576;
    if (status s = check_range("peers_max", options.peers_max, million); !s) return s;
    if (status s = check_range("queue_per_peer_max", options.queue_per_peer_max, 65'536); !s) {
        return s;
    }
    if (status s = check_range("queue_size_max", options.queue_size_max, million); !s) return s;
    if (!options.idle_time_max.is_valid()) {
        return failure(errc::invalid_option, "idle_time_max of less than nothing");
    }
    return {};
}

// --- peer ---

peer::peer(peer_table& table, const datagram_view& first, std::uint64_t hash)
    : table_(&table), hash_(hash), origin_(first) {}

peer::~peer() {
    discard_queue();
    table_->leave(*this);
}

address peer::local() const noexcept {
    if (const auto told = origin_.view().local()) return *told;
    const udp_server* const server = table_->server_;
    if (server == nullptr) return {};
    const std::uint16_t port = origin_.view().fields().local_port;
    for (const address& one : server->local_addresses()) {
        if (one.port() == port && one.family() == remote().family()) return one;
    }
    return server->local_address();
}

status peer::send(byte_view payload) {
    if (is_closing() || table_->server_ == nullptr) return errc::closed;
    return table_->server_->reply(origin_.view(), payload);
}

void peer::close() noexcept {
    if (is_closing()) return;
    table_->leave(*this);
    waiting_.end();
}

datagram peer::pop() noexcept {
    queued_datagram& first = *queue_.pop_front();
    datagram popped = std::move(first.value);
    table_->give_back(first);
    --table_->counted_.waiting;
    if (popped.is_lease()) --table_->leases_;
    waiting_.removed();
    return popped;
}

datagram peer::take() noexcept {
    ++taken_;
    ++table_->counted_.taken;
    return pop();
}

void peer::discard_one() noexcept {
    if (!waiting_.has_free()) return;
    static_cast<void>(pop());
    ++table_->counted_.discarded;
}

void peer::discard_queue() noexcept {
    while (waiting_.has_free())
        discard_one();
}

// --- peer::reader ---

peer::reader::reader(counted_ptr<peer> of, time_limit limit) noexcept
    : keeps(of), claim(of ? &of->waiting_ : nullptr,
                       limit.is_none() && of ? of->table().options().idle_time_max : limit) {}

result<datagram> peer::reader::take() {
    if (!may_take()) return std::unexpected(answer_as_status().error());
    return kept()->take();
}

// --- peer_table ---

peer_table::peer_table(const peer_options& options)
    : options_(options), buckets_(bucket_count_min), seed_(random_seed()) {}

peer_table::~peer_table() {
    while (queued_datagram* const one = unused_.pop_front())
        delete one;
}

// Keyed with what a sender does not know, so that it cannot choose addresses that all fall into
// one bucket.
std::uint64_t peer_table::hash_of(std::uint32_t socket, const address& from) const noexcept {
    const auto words = std::bit_cast<std::array<std::uint64_t, 2>>(from.host().bytes());
    const std::uint64_t rest = std::uint64_t{from.host().scope()} << 32U | socket;
    std::uint64_t hash = mix_hash(seed_, words[0]);
    hash = mix_hash(hash, words[1]);
    hash = mix_hash(hash, rest);
    return mix_hash(hash, from.port());
}

peer* peer_table::find(std::uint64_t hash, const datagram_view& like) noexcept {
    const address from = like.peer();
    const std::uint32_t socket = like.fields().socket;
    for (peer* one = bucket_of(hash); one != nullptr; one = one->next_in_bucket_) {
        if (one->hash_ == hash && one->origin_.view().fields().socket == socket &&
            one->remote() == from) {
            return one;
        }
    }
    return nullptr;
}

void peer_table::push(datagram&& received) {
    ++counted_.received;
    counted_ptr<peer> known;
    try {
        known = queue(std::move(received));
    } catch (const std::bad_alloc&) {
        ++counted_.dropped.queue_full;
    }
    if (!known) return;
    known->waiting_.added();
    if (!known->is_attended() && host_ != nullptr) host_->came(*known);
}

// Null when there was no room, which has been counted.
counted_ptr<peer> peer_table::queue(datagram&& received) {
    const datagram_view& view = received.view();
    const std::uint64_t hash = hash_of(view.fields().socket, view.peer());
    counted_ptr<peer> known(find(hash, view));
    if (counted_.waiting >= options_.queue_size_max ||
        (known && known->queue_size() >= options_.queue_per_peer_max)) {
        if (known) ages_.push_back(*known);
        ++counted_.dropped.queue_full;
        return {};
    }
    if (known) {
        ages_.push_back(*known);
    } else if (!make_room()) {
        ++counted_.dropped.crowded;
        return {};
    } else {
        known = counted_ptr<peer>(new peer(*this, view, hash));
        enter(*known);
    }
    const bool is_copied = received.is_lease() && leases_ >= leases_max;
    datagram kept = is_copied ? received.to_owned() : std::move(received);
    queued_datagram& added = node();
    added.value = std::move(kept);
    if (added.value.is_lease()) ++leases_;
    known->queue_.push_back(added);
    ++counted_.waiting;
    return known;
}

bool peer_table::make_room() noexcept {
    if (counted_.known < options_.peers_max) return true;
    if (options_.on_crowded == when_crowded::drop_newcomer) return false;
    const counted_ptr<peer> idlest(ages_.front());
    ++counted_.forgotten;
    idlest->close();
    if (host_ != nullptr) host_->forgotten(*idlest);
    return true;
}

void peer_table::enter(peer& one) {
    if (counted_.known >= buckets_.size()) grow();
    peer*& bucket = bucket_of(one.hash_);
    one.next_in_bucket_ = bucket;
    bucket = &one;
    ages_.push_back(one);
    ++counted_.known;
    ++counted_.came;
}

void peer_table::leave(peer& one) noexcept {
    auto& aged = static_cast<chain_link<by_age>&>(one);
    if (!aged.is_linked()) return;
    aged.unlink();
    peer** at = &bucket_of(one.hash_);
    while (*at != &one)
        at = &(*at)->next_in_bucket_;
    *at = one.next_in_bucket_;
    --counted_.known;
}

void peer_table::grow() {
    std::vector<peer*> before(buckets_.size() * 2);
    buckets_.swap(before);
    for (peer* one : before) {
        while (one != nullptr) {
            peer* const next = std::exchange(one->next_in_bucket_, bucket_of(one->hash_));
            bucket_of(one->hash_) = one;
            one = next;
        }
    }
}

void peer_table::close_all() noexcept {
    while (peer* const one = ages_.front()) {
        const counted_ptr<peer> kept(one);
        kept->close();
    }
}

queued_datagram& peer_table::node() {
    if (queued_datagram* const one = unused_.pop_front()) return *one;
    return *new queued_datagram;
}

void peer_table::give_back(queued_datagram& node) noexcept { unused_.push_back(node); }

peer_stats peer_table::stats() const noexcept { return counted_; }

}  // namespace quoit::detail
