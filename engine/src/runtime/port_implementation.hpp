// SPDX-License-Identifier: MIT
//
// port::implementation: the engine behind quoit/port.hpp. Three groups of functions, a file each:
// opening and closing, turning, sending. What they share is the tables of endpoints and sockets.
//
// Single-threaded but for wake(); see quoit/port.hpp.
#pragma once

#include "base/fork_watch.hpp"
#include "net/multicast.hpp"
#include "net/waiting_set.hpp"
#include "runtime/endpoint.hpp"

#include <quoit/port.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace quoit {

class port::implementation final : private detail::event_sink {
  public:
    [[nodiscard]] static result<std::unique_ptr<implementation>> create(
        const loop_options& options);
    implementation(const implementation&) = delete;
    implementation& operator=(const implementation&) = delete;
    ~implementation();

    // --- port_open.cpp ---
    [[nodiscard]] result<endpoint_id> open(std::span<const address> where,
                                           const udp_options& options);
    [[nodiscard]] result<endpoint_id> open_every_interface(std::uint16_t port_number,
                                                           const udp_options& options);
    [[nodiscard]] result<endpoint_id> open(socket_group::implementation& group, std::size_t member);
    [[nodiscard]] result<endpoint_id> open_connection(const address& peer,
                                                      const udp_options& options);
    void close(detail::endpoint_state& endpoint) noexcept;
    void abort(detail::endpoint_state& endpoint) noexcept;
    void release(detail::endpoint_state& endpoint) noexcept;

    // --- port_connect.cpp ---
    [[nodiscard]] result<endpoint_id> adopt(int descriptor, ownership how,
                                            const udp_options& options, connectedness wanted);
    status connect(detail::endpoint_state& endpoint, const address& peer);
    status reconnect(detail::endpoint_state& endpoint, const address& peer);
    status disconnect(detail::endpoint_state& endpoint);

    // --- port_groups.cpp ---
    status change_group(detail::endpoint_state& endpoint, const ip& group,
                        const group_options& options, detail::membership what);
    status set_multicast(detail::endpoint_state& endpoint, const multicast_options& options);
    [[nodiscard]] multicast_options multicast(
        const detail::endpoint_state& endpoint) const noexcept;

    // --- port_unix.cpp ---
    [[nodiscard]] result<endpoint_id> open_unix(const unix_address& where,
                                                const unix_options& options);
    [[nodiscard]] result<endpoint_id> open_unix_connection(const unix_address& peer,
                                                           const unix_options& options);
    status send_unix(detail::endpoint_state& endpoint, std::span<const byte_view> pieces,
                     const unix_address* to, const ancillary& with);

    // --- port_packets.cpp ---
    class packets;
    [[nodiscard]] packets& packet_streams() const noexcept { return *packets_; }

    // --- port_turn.cpp ---
    result<std::size_t> turn(clock::time_point deadline, port_events& events);
    void wake() noexcept;
    [[nodiscard]] bool is_called_from_its_thread() const noexcept {
        const std::thread::id owner = thread_.load(std::memory_order_relaxed);
        return owner == std::thread::id() || owner == std::this_thread::get_id();
    }
    void let_go_of_thread() noexcept;

    // --- port_foreign.cpp ---
    [[nodiscard]] result<int> descriptor();
    void prepare_to_wait(clock::time_point deadline);

    // --- port_send.cpp ---
    status send(detail::endpoint_state& endpoint, std::span<const byte_view> pieces,
                const address* to, const detail::datagram_fields* request = nullptr);
    status send(detail::endpoint_state& endpoint, datagram&& received, const address* to);
    status try_send(detail::endpoint_state& endpoint, std::span<const byte_view> pieces,
                    const address* to);
    void flush() noexcept;
    void flush(detail::endpoint_state& endpoint) noexcept;
    [[nodiscard]] std::size_t send_queue_size(const detail::endpoint_state& of) const noexcept;

    // --- port.cpp ---
    status set_broadcast(detail::endpoint_state& endpoint, bool allowed);
    /// Null for a stale id.
    [[nodiscard]] detail::endpoint_state* find(endpoint_id id) const noexcept {
        if (id.index >= endpoints_.size()) return nullptr;
        detail::endpoint_state* const found = endpoints_[id.index].get();
        return found != nullptr && found->id == id && !found->is_released ? found : nullptr;
    }
    [[nodiscard]] quoit::stats stats_of(const detail::endpoint_state& endpoint) const;
    [[nodiscard]] quoit::stats stats_of_all() const;
    [[nodiscard]] quoit::engine_stats engine_stats() const noexcept;
    [[nodiscard]] const quoit::capabilities& capabilities() const noexcept { return capabilities_; }
    [[nodiscard]] const loop_options& options() const noexcept { return options_; }
    [[nodiscard]] const detail::socket_state* first_socket(
        const detail::endpoint_state& of) const noexcept {
        return of.sockets.empty() ? nullptr : sockets_[of.sockets.front()].get();
    }
    [[nodiscard]] detail::socket_state* first_socket(const detail::endpoint_state& of) noexcept {
        return of.sockets.empty() ? nullptr : sockets_[of.sockets.front()].get();
    }
    // A ring does not survive a fork (EEXIST, SINGLE_ISSUER).
    [[nodiscard]] bool is_forked() const noexcept { return fork_watch_.is_forked(); }

  private:
    explicit implementation(const loop_options& options);
    [[nodiscard]] bool is_inline() const noexcept { return options_.worker_count == 0; }
    [[nodiscard]] detail::socket_state& socket(std::uint32_t tag) noexcept {
        return *sockets_[tag];
    }

    // opening and closing
    [[nodiscard]] endpoint_id add_endpoint(std::vector<detail::udp_socket> opened,
                                           std::optional<address> peer, const udp_options& options);
    [[nodiscard]] std::uint32_t free_tag();
    [[nodiscard]] detail::socket_state* listener_for(detail::endpoint_state& endpoint,
                                                     const ip& group) noexcept;
    [[nodiscard]] status may_change_peer(const detail::endpoint_state& endpoint,
                                         std::string_view doing) const;
    status change_peer(detail::endpoint_state& endpoint, const address* peer);
    void add_socket(detail::endpoint_state& endpoint, detail::udp_socket opened);
    [[nodiscard]] std::size_t sockets_free() const noexcept;
    void leave_if_flushed(detail::socket_state& one) noexcept;
    void shut(detail::socket_state& one) noexcept;
    [[nodiscard]] bool is_gone(const detail::endpoint_state& endpoint) const noexcept;
    void wait_for_workers_until(const std::function<bool()>& is_so) noexcept;
    void sleep_until_woken(clock::time_point deadline) noexcept;
    void list_unflushed(detail::socket_state& one);
    void free_if_done(detail::endpoint_state& endpoint) noexcept;
    void drop_queued(detail::endpoint_state& endpoint) noexcept;

    // UNIX
    class unix_outlet;
    [[nodiscard]] std::unexpected<error> no_unix_socket_left() const;
    [[nodiscard]] endpoint_id add_unix_endpoint(detail::unix_socket opened,
                                                const std::optional<unix_address>& peer,
                                                const unix_options& options);
    void finish_unix_sockets() noexcept;
    void look_for_descriptors(const detail::socket_state& one, const detail::event& what) noexcept;
    [[nodiscard]] bool admits_unix(detail::socket_state& one, const detail::parsed_message& message,
                                   receive_stats& ledger);
    void warn_of_unnamed(detail::unix_part& part);
    [[nodiscard]] std::error_code check_unix(const detail::endpoint_state& endpoint,
                                             std::size_t size,
                                             const unix_address* to) const noexcept;
    [[nodiscard]] bool has_unix_room(detail::endpoint_state& endpoint, detail::socket_state& one,
                                     std::size_t size, const unix_address* to);
    void flush_unix(detail::socket_state& one);
    void list_retrying(detail::socket_state& one);
    void bound_closing(detail::socket_state& one);
    [[nodiscard]] clock::time_point retry_unix() noexcept;

    // turning
    void deliver(std::span<const detail::event> events) noexcept override;
    void receive(detail::socket_state& one, const detail::event& what);
    void on_refusal(detail::socket_state& one, int error, std::uint32_t count);
    void on_detached(detail::socket_state& one);
    void resume_paused();
    void pause_if_greedy(detail::socket_state& one, detail::buffer_class pool);
    void set_paused(detail::socket_state& one, bool was_paused);
    void give(detail::socket_state& one, detail::order_kind what);
    void give_deferred();
    [[nodiscard]] std::uint32_t sharing(const detail::socket_state& one) const noexcept;
    [[nodiscard]] std::size_t pool_index(const detail::socket_state& one) const noexcept;
    void belong_to_this_thread() noexcept;
    [[nodiscard]] bool take_wake() noexcept;
    // In somebody else's loop that is who waits.
    [[nodiscard]] bool may_spin() const noexcept {
        return options_.waiting == waiting::busy_poll && !watched_;
    }
    [[nodiscard]] clock::time_point spin_end(clock::time_point deadline) const noexcept;
    [[nodiscard]] clock::time_point begin_turn(clock::time_point deadline);
    void speak_to_workers();
    [[nodiscard]] bool may_sleep() noexcept;
    void wait_inline(clock::time_point deadline);
    void wait_threaded(clock::time_point deadline);
    void drain_workers();
    void list(detail::endpoint_state& endpoint);
    [[nodiscard]] bool has_news() const noexcept;
    void tell(port_events& events);

    // sending
    [[nodiscard]] std::error_code check(const detail::endpoint_state& endpoint, std::size_t size,
                                        const address* to) const noexcept;
    [[nodiscard]] detail::socket_state* sender_for(detail::endpoint_state& endpoint,
                                                   const address* to,
                                                   std::uint32_t tag_preferred) noexcept;
    [[nodiscard]] static std::optional<ip> source_for(
        const detail::endpoint_state& endpoint, const detail::socket_state& sender,
        const address* to, const detail::datagram_fields* request) noexcept;
    [[nodiscard]] bool send_next(detail::endpoint_state& endpoint, datagram&& received,
                                 const address* to);
    [[nodiscard]] bool has_room(detail::endpoint_state& endpoint, detail::socket_state& one,
                                std::size_t size);
    void queued(detail::endpoint_state& endpoint, detail::socket_state& one);
    void flush(detail::socket_state& one) noexcept;
    void tell_lost(detail::endpoint_state& endpoint, const decltype(send_stats::reasons)& before,
                   std::span<const int> told);
    [[nodiscard]] detail::send_result send_now(detail::socket_state& one,
                                               std::span<const detail::outgoing> messages);

    detail::fork_watch fork_watch_;
    loop_options options_;
    quoit::capabilities capabilities_;
    std::unique_ptr<detail::port_waker> waker_;
    std::vector<std::unique_ptr<detail::worker>> workers_;
    std::optional<detail::waiting_set> watched_;  // by a loop that is not quoit's
    std::size_t next_worker_ = 0;

    std::vector<std::unique_ptr<detail::endpoint_state>> endpoints_;
    std::vector<std::uint32_t> endpoints_unused_;
    std::vector<std::uint32_t> generations_;
    std::vector<std::unique_ptr<detail::socket_state>> sockets_;
    std::vector<std::uint32_t> sockets_unused_;
    std::vector<std::uint32_t> sockets_per_pool_;  // by worker and class: attached now

    std::vector<std::uint32_t> unflushed_;      // tags with something to send that are not blocked
    std::vector<std::uint32_t> paused_;         // tags
    std::vector<std::uint32_t> unix_retrying_;  // tags with destinations that took no more
    std::vector<std::uint32_t> news_;           // endpoints for tell()
    std::vector<std::uint32_t> told_;           // of the turn that runs

    std::unique_ptr<packets> packets_;

    quoit::stats released_;  // the ledgers of endpoints that are gone
    detail::counter system_calls_;
    detail::counter wakeups_;
    std::vector<detail::order> deferred_;  // given while a backend delivered
    bool is_delivering_ = false;
    std::size_t arrived_ = 0;
    std::atomic<std::thread::id> thread_{};
    std::atomic<bool> is_woken_{false};
};

}  // namespace quoit
