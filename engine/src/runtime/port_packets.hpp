// SPDX-License-Identifier: MIT
//
// port::implementation::packets: quoit/packet_port.hpp on a port's workers, tags and turns.
//
// What a backend delivers is handled by on_event(), which orders nothing (backend.hpp, rule 2) but
// lists what is to be ordered; settle() orders it when the backend is off the stack; tell() calls
// the user. Calls of the user's order at once.
#pragma once

#include "runtime/packet_stream.hpp"
#include "runtime/port_implementation.hpp"

#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace quoit {

class port::implementation::packets final : public packet_port {
  public:
    explicit packets(implementation& owner) noexcept : port_(owner) {}

    // --- quoit/packet_port.hpp ---
    void set_events(packet_events* events) noexcept override { events_ = events; }
    result<packet_stream_id> listen(const address& where, const packet_options& options) override;
    result<packet_stream_id> connect(const address& peer, const packet_options& options) override;
    result<shared_bytes> receive(packet_stream_id id) override;
    std::size_t readable_count(packet_stream_id id) const noexcept override;
    status write(packet_stream_id id, byte_view body) override;
    status write(packet_stream_id id, const shared_bytes& body) override;
    std::size_t write_queue_size(packet_stream_id id) const noexcept override;
    void flush(packet_stream_id id) noexcept override;
    void close(packet_stream_id id) noexcept override;
    void abort(packet_stream_id id, std::error_code why) noexcept override;
    void release(packet_stream_id id) noexcept override;
    bool is_closing(packet_stream_id id) const noexcept override;
    bool is_closed(packet_stream_id id) const noexcept override;
    bool is_connected(packet_stream_id id) const noexcept override;
    address local_address(packet_stream_id id) const noexcept override;
    address peer_address(packet_stream_id id) const noexcept override;
    int descriptor(packet_stream_id id) const noexcept override;
    packet_stats stats(packet_stream_id id) const override;
    std::uint64_t bytes_received(packet_stream_id id) const noexcept override;
    packet_stats stats() const override;

    // --- for the port ---
    [[nodiscard]] bool owns(std::uint32_t tag) const noexcept {
        return tag < by_tag_.size() && by_tag_[tag] != nullptr;
    }
    void on_event(const detail::event& what);
    void settle();
    void flush() noexcept;
    [[nodiscard]] bool has_news() const noexcept { return !news_.empty(); }
    void tell();
    /// Looks after what waits for a time to pass; when to look next.
    [[nodiscard]] detail::steady_time look_after_waiting() noexcept;
    /// The port goes: what still comes is discarded.
    void shut() noexcept;

  private:
    using stream = detail::packet_stream;

    [[nodiscard]] stream* find(packet_stream_id id) const noexcept;
    [[nodiscard]] result<void> may_open() const;
    [[nodiscard]] stream& add(detail::stream_socket socket, const packet_options& options,
                              detail::source_kind kind);
    void give(stream& one, detail::order_kind what);

    void on_bytes(stream& one, const detail::event& what);
    void parse(stream& one, std::span<const std::byte> bytes);
    void on_end_of_stream(stream& one);
    void on_failed(stream& one, int error);
    void on_accepted(stream& listener, int descriptor);
    void on_writable(stream& one);
    void on_detached(stream& one);

    [[nodiscard]] bool has_room(const stream& listener) const noexcept;
    void ask_for_connection(stream& listener);
    void ask_later(stream& listener);
    void give_room_to_listener_of(const stream& one);

    template <class Push>
    status write(packet_stream_id id, std::size_t size, Push&& push);
    [[nodiscard]] static bool fits(const stream& one, std::size_t frame_size) noexcept;
    [[nodiscard]] status make_room(stream& one, std::size_t frame_size);
    [[nodiscard]] bool send_at_once(stream& one, byte_view body);
    void queue_rest(stream& one, byte_view body, std::size_t sent_size);
    void queued(stream& one);
    void flush(stream& one) noexcept;
    void sent(stream& one, std::size_t bytes) noexcept;
    void block(stream& one);
    void on_refused_send(stream& one, int error) noexcept;
    void look_at_room(stream& one) noexcept;

    void end(stream& one, std::error_code why, std::uint64_t packet_stats::ends::* as);
    void settle_fate(stream& one, std::uint64_t packet_stats::ends::* as) noexcept;
    void fail(stream& one, std::error_code why, std::uint64_t packet_stats::ends::* as);
    void close(stream& one) noexcept;
    void abort(stream& one, std::error_code why) noexcept;
    void go_on_closing(stream& one);
    void leave(stream& one);
    void drop_unread(stream& one) noexcept;
    void free_if_done(stream& one) noexcept;
    [[nodiscard]] packet_stats ledger_of(const stream& one) const noexcept;
    [[nodiscard]] static error end_of(const stream& one);
    void list(stream& one);
    void later(stream& one, detail::order_kind what) {
        orders_.push_back({.id = one.id, .what = what});
    }

    struct postponed {
        packet_stream_id id;
        detail::order_kind what;
    };

    implementation& port_;
    packet_events* events_ = nullptr;
    std::vector<std::unique_ptr<stream>> streams_;
    std::vector<std::uint32_t> generations_;
    std::vector<std::uint32_t> unused_;
    std::vector<stream*> by_tag_;
    std::vector<postponed> orders_;      // for settle()
    std::vector<postponed> orders_now_;  // of the settle() that runs
    std::vector<packet_stream_id> unflushed_;
    std::vector<packet_stream_id> closing_;          // that wait for their peer
    std::vector<packet_stream_id> listening_again_;  // listeners that are to be asked again
    detail::steady_time listen_again_at_ = no_deadline;
    std::vector<packet_stream_id> news_;
    std::vector<packet_stream_id> told_;
    packet_stats released_;
};

}  // namespace quoit
