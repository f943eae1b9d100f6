// SPDX-License-Identifier: MIT
//
// peer_table: the peers of one server, each with a queue of its own in front of one handler or
// connection.
//
//   server's queue --push()--> hash of (socket, address) --> peer: [ datagrams ] --> reader
//                                                              |
//                       by age: idlest ... latest <------------+
//
// A datagram waits as the lease it came as, while the table holds few of them: beyond leases_max it
// is copied, so that slow readers do not keep the kernel from receiving.
//
// Invariants:
//   1. A peer is in the hash and in the list by age, or in neither (it is closing).
//   2. No more than peers_max are in the hash; no more than queue_size_max datagrams wait in all.
//   3. Readers hold reservations of queued datagrams (reservations.hpp).
//
// Ownership: peers are counted: by who attends to them and by copies of conversations. The last
// one to let go takes the peer out. Peers keep the table. Thread safety: none; the loop's thread.
#pragma once

#include <quoit/address.hpp>
#include <quoit/datagram.hpp>
#include <quoit/detail/chain.hpp>
#include <quoit/detail/counted.hpp>
#include <quoit/detail/kept_request.hpp>
#include <quoit/detail/reservations.hpp>
#include <quoit/detail/scheduler.hpp>
#include <quoit/payload.hpp>
#include <quoit/payload_buffer.hpp>
#include <quoit/peers.hpp>
#include <quoit/spawn.hpp>
#include <quoit/udp.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace quoit::detail {

class peer_table;
struct by_age;
struct in_backlog;

struct queued_datagram : chain_link<> {
    datagram value;
};

class peer final : public chain_link<by_age>, public chain_link<in_backlog> {
  public:
    class reader;

    peer(peer_table& table, const datagram_view& first, std::uint64_t hash);
    peer(const peer&) = delete;
    peer& operator=(const peer&) = delete;

    void retain() noexcept { ++references_; }
    void release() noexcept {
        if (--references_ == 0) delete this;
    }
    static void* operator new(std::size_t size) { return allocate_frame(size); }
    static void operator delete(void* object, std::size_t size) noexcept {
        free_frame(object, size);
    }

    [[nodiscard]] address remote() const noexcept { return origin_.view().peer(); }
    /// Of the socket it wrote to.
    [[nodiscard]] address local() const noexcept;
    [[nodiscard]] peer_table& table() const noexcept { return *table_; }
    /// A handler runs for it, or a connection is open.
    [[nodiscard]] bool is_attended() const noexcept { return is_attended_; }
    void set_attended(bool is_attended) noexcept { is_attended_ = is_attended; }
    /// The task that does, if it is one.
    void set_attendant(task_handle<> task) noexcept { attendant_ = std::move(task); }
    void cancel_attendant() noexcept { attendant_.cancel(); }
    [[nodiscard]] bool is_closing() const noexcept { return waiting_.has_ended(); }
    [[nodiscard]] std::size_t queue_size() const noexcept { return waiting_.size(); }
    /// Datagrams that readers took so far.
    [[nodiscard]] std::uint64_t taken_count() const noexcept { return taken_; }

    /// To it, from the socket and the address it wrote to. Errors: as udp_socket::reply().
    status send(byte_view payload);
    /// Out of the table: what is queued stays readable, then reads answer errc::closed. Idempotent.
    void close() noexcept;
    /// What is queued and not reserved; or the oldest of it alone.
    void discard_queue() noexcept;
    void discard_one() noexcept;

  private:
    friend class peer_table;
    ~peer();
    [[nodiscard]] datagram pop() noexcept;
    [[nodiscard]] datagram take() noexcept;

    counted_ptr<peer_table> table_;
    peer* next_in_bucket_ = nullptr;
    std::uint64_t hash_;
    kept_request origin_;  // its first datagram
    chain<queued_datagram> queue_;
    reservations waiting_;
    task_handle<> attendant_;
    std::uint64_t taken_ = 0;
    std::uint32_t references_ = 0;
    bool is_attended_ = false;
};

/// What is done about peers.
class peer_host {
  public:
    /// `one` has a datagram and nobody attends to it.
    virtual void came(peer& one) = 0;
    /// `one` is out of the table, for want of room; it is closing.
    virtual void forgotten(peer& one) noexcept = 0;

  protected:
    ~peer_host() = default;
};

class peer_table final {
  public:
    /// Leases that wait here; what comes when there are so many is copied.
    static constexpr std::size_t leases_max = 64;

    explicit peer_table(const peer_options& options);
    peer_table(const peer_table&) = delete;
    peer_table& operator=(const peer_table&) = delete;

    void retain() noexcept { ++references_; }
    void release() noexcept {
        if (--references_ == 0) delete this;
    }

    /// Who is told, and through what is replied. Both outlive this or are taken back with null.
    void set_host(peer_host* host) noexcept { host_ = host; }
    void set_server(udp_server* server) noexcept { server_ = server; }
    /// What conversations decode with; they may outlive their service.
    void set_codec(std::shared_ptr<void> codec) noexcept { codec_ = std::move(codec); }
    [[nodiscard]] void* codec() const noexcept { return codec_.get(); }
    /// For encoding into; used up before anything else runs.
    [[nodiscard]] payload_buffer& scratch() noexcept { return scratch_; }

    /// To its peer's queue. May call the host.
    void push(datagram&& received);
    /// Closes every peer.
    void close_all() noexcept;

    [[nodiscard]] peer_stats stats() const noexcept;
    [[nodiscard]] const peer_options& options() const noexcept { return options_; }
    [[nodiscard]] udp_server* server() const noexcept { return server_; }

  private:
    friend class peer;
    ~peer_table();
    [[nodiscard]] std::uint64_t hash_of(std::uint32_t socket, const address& from) const noexcept;
    [[nodiscard]] peer*& bucket_of(std::uint64_t hash) noexcept {
        return buckets_[hash & (buckets_.size() - 1)];
    }
    [[nodiscard]] peer* find(std::uint64_t hash, const datagram_view& like) noexcept;
    [[nodiscard]] counted_ptr<peer> queue(datagram&& received);
    [[nodiscard]] bool make_room() noexcept;
    void enter(peer& one);
    void leave(peer& one) noexcept;
    void grow();
    [[nodiscard]] queued_datagram& node();
    void give_back(queued_datagram& node) noexcept;

    peer_options options_;
    peer_host* host_ = nullptr;
    udp_server* server_ = nullptr;
    std::shared_ptr<void> codec_;
    payload_buffer scratch_;
    std::vector<peer*> buckets_;
    chain<peer, by_age> ages_;
    chain<queued_datagram> unused_;
    std::uint64_t seed_;
    std::size_t leases_ = 0;
    std::uint32_t references_ = 0;
    peer_stats counted_;
};

/// One read of one peer.
class peer::reader : protected keeps<peer>, public reservations::claim {
  protected:
    /// `of` may be null: closed.
    reader(counted_ptr<peer> of, time_limit limit) noexcept;
    [[nodiscard]] result<datagram> take();
};

/// A datagram of a peer.
class [[nodiscard("co_await it")]] peer_read_operation final : public peer::reader {
  public:
    peer_read_operation(counted_ptr<peer> of, wait_options options) noexcept
        : reader(std::move(of), options.timeout) {}
    result<datagram> await_resume() { return take(); }
};

/// Errors: errc::invalid_option with the field's name.
[[nodiscard]] status check(const peer_options& options);

}  // namespace quoit::detail
