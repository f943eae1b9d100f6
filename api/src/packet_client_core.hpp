// SPDX-License-Identifier: MIT
//
// packet_client_core: what a packet client is: the attempts to connect, what was written meanwhile,
// and the connection.
//
//   resolving --> connecting (one address after the other) --> open --> over
//                     |                                                  ^
//                     +--------------------------------------------------+
//
// `over`: nothing more will be read but what was given back. The stream may still be flushed then.
// A client that is closed, or dropped, while it connects and has something to send goes on
// connecting to send it, and keeps itself meanwhile.
//
// Ownership: owns its stream; see packet_endpoint.
// Thread safety: none; the loop's thread.
#pragma once

#include <quoit/detail/idle_watch.hpp>
#include <quoit/detail/packet_endpoint.hpp>
#include <quoit/detail/timer_queue.hpp>
#include <quoit/packet_options.hpp>
#include <quoit/packet_stats.hpp>
#include <quoit/payload.hpp>
#include <quoit/spawn.hpp>

#include "open_request.hpp"
#include "packet_peer_state.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace quoit::detail {

class packet_client_core final : public packet_endpoint, private packet_handler {
  public:
    packet_client_core(loop_core& core, open_request request, const packet_options& options);

    /// Begins to connect: to these addresses, or to what the request's name is resolved to.
    /// Errors: when nobody could even be asked; then it is over.
    status start(std::vector<address> targets);
    void start_by_name();

    // --- the handle's side ---
    status write(byte_view body);
    status write(const shared_bytes& body);
    void flush() noexcept;
    [[nodiscard]] address local_address() const noexcept { return local_; }
    [[nodiscard]] address peer_address() const noexcept { return remote_; }
    [[nodiscard]] bool is_connected() const noexcept {
        return phase_ == phase::open && !is_closing_;
    }
    void close() noexcept;
    void abort() noexcept;
    [[nodiscard]] bool is_closing() const noexcept { return is_closing_ || phase_ == phase::over; }
    /// The handle is gone.
    void abandon() noexcept;
    [[nodiscard]] packet_stats stats() const;

    // --- for who keeps what is to be sent elsewhere ---
    /// A body of this size would be taken now. True also when there is nobody to take it.
    [[nodiscard]] bool has_room(std::size_t body_size) const noexcept;

    // --- packet_endpoint ---
    void lose_loop() noexcept override;
    [[nodiscard]] room room_for(const packet_peer& peer) noexcept override;
    [[nodiscard]] bool has_ended() const noexcept override {
        return phase_ == phase::over || (is_closing_ && phase_ != phase::open);
    }
    [[nodiscard]] error end() const override;

  private:
    enum class phase : std::uint8_t { resolving, connecting, open, over };
    class name_search;

    ~packet_client_core() override;
    [[nodiscard]] bool take_next(packet_interest interest, packet_item& into) override;
    // packet_handler
    void connected() noexcept override;
    void readable() noexcept override;
    void drained() noexcept override;
    void closed() noexcept override;
    void close_peer() noexcept override { close(); }

    [[nodiscard]] packet_port& on() const noexcept;
    [[nodiscard]] bool is_trying() const noexcept {
        return phase_ == phase::resolving || phase_ == phase::connecting;
    }
    [[nodiscard]] static task<> resolve(name_search self);
    void resolved(const result<open_targets>& found);
    void start_timers();
    bool try_next_target();
    void attempt_failed(error why);
    void fail(error why) noexcept;
    void forget_stream() noexcept;
    void drop_pending() noexcept;
    void end_reading(error why) noexcept;
    void settle() noexcept;
    void detach() noexcept;
    void stop_timers() noexcept;
    void look_for_idle() noexcept;
    [[nodiscard]] std::size_t waiting_size() const noexcept;
    template <class Body>
    status write_now_or_later(const Body& body);

    open_request request_;
    packet_options options_;
    std::vector<address> targets_;
    std::size_t next_target_ = 0;
    std::vector<error> causes_;
    task_handle<> searching_;
    timer_queue::ptr giving_up_;
    timer_queue::ptr idle_timer_;
    idle_watch idle_;

    packet_stream_id stream_;  // generation 0: none
    phase phase_ = phase::resolving;
    error end_ = errc::closed;
    packet_peer peer_;
    address local_;
    address remote_;
    std::vector<shared_bytes> pending_;  // written before there is a connection
    std::size_t pending_size_ = 0;       // with headers
    std::size_t refused_size_ = 0;       // of the last write that found no room, with its header
    packet_stats before_;                // of attempts that are over, and of pending_
    bool is_closing_ = false;
    bool is_stream_closed_ = false;
    bool may_have_packets_ = false;
    bool keeps_itself_ = false;
};

}  // namespace quoit::detail
