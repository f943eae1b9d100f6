// SPDX-License-Identifier: MIT
//
// One connection of the client: what it has sent, and which answers came. Packets lie ready in a
// ring of as many slots as may be outstanding, one behind the other, so that all that is due leaves
// in one send. A slot is filled once; then only the header in it changes.
//
//            answered_        sent_bytes_ / packet_size      next_
//     ---------+------------------+-----------------------------+------------
//       free   | sent, unanswered | written, not yet sent       |  free
//
// A slot keeps its packet until that is answered, so an answer is compared with the slot, byte for
// byte, as it comes; nothing is put together again.
//
// Invariant: next_ - answered_ <= outstanding.
// Errors: std::system_error and std::runtime_error with words; the stream is then of no use.
// Thread safety: none. Units: sequence numbers, unless bytes are said.
#pragma once

#include "histogram.hpp"
#include "options.hpp"
#include "packet.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace bench::packets {

struct counts {
    std::uint64_t received = 0;    ///< answers to packets sent in the window
    std::uint64_t arrived = 0;     ///< answers, whenever their packets were sent
    std::uint64_t duplicated = 0;  ///< from the start: answered before, or behind a later one
    std::uint64_t corrupted = 0;   ///< from the start; another length, other bytes, or never sent
    histogram round_trips;

    /// Starts the measured window.
    void begin_window() noexcept {
        received = arrived = 0;
        round_trips.clear();
    }
};

/// What all connections of a run have in common. A run id is random.
struct run_context {
    explicit run_context(const options& what);

    const options& asked;
    std::uint64_t run_id;
    std::vector<char> received;  // where every receive goes
    counts counted;
};

/// A connected TCP socket with TCP_NODELAY; closes it. The kernel adapts its buffers.
class connected_socket {
  public:
    explicit connected_socket(const options& asked);
    ~connected_socket();
    connected_socket(connected_socket&& other) noexcept;
    connected_socket& operator=(connected_socket&&) = delete;

    [[nodiscard]] int fd() const noexcept { return fd_; }

  private:
    int fd_;
};

class connection {
  public:
    connection(run_context& context, std::uint32_t number);

    /// Everything there is. Does not block.
    void receive();
    /// Fills the free slots and sends as much as the kernel takes. Does not block.
    void send();
    /// The same without filling slots.
    void send_rest();

    void begin_window() noexcept { window_begin_ = next_; }
    [[nodiscard]] std::uint64_t sent_in_window() const noexcept { return next_ - window_begin_; }
    [[nodiscard]] std::uint64_t in_flight() const noexcept { return next_ - answered_; }

  private:
    static constexpr std::size_t head_size = prefix_size + sizeof(probe_header);

    /// The answer that is coming in.
    struct incoming {
        std::array<char, head_size> head;
        std::size_t at = 0;                     // bytes that have come
        std::size_t size = 0;                   // bytes in all, once the prefix has come
        std::optional<std::uint64_t> sequence;  // whose answer it is, once that is known
        bool is_old = false;                    // that one needs no answer any more
        bool is_changed = false;
    };

    [[nodiscard]] char* slot(std::uint64_t sequence) noexcept {
        return slots_.data() + sequence % outstanding_ * packet_size_;
    }
    void fill_slots();
    void write_next(std::int64_t at_ns) noexcept;
    [[nodiscard]] std::size_t send_some(std::uint64_t queued_bytes);

    void take(std::span<const char> bytes, std::int64_t received_ns);
    [[nodiscard]] std::size_t take_piece(std::span<const char> bytes);
    [[nodiscard]] std::size_t take_head(std::span<const char> bytes, std::size_t until) noexcept;
    [[nodiscard]] std::size_t take_rest(std::span<const char> bytes) noexcept;
    [[nodiscard]] bool is_next_answer(std::span<const char> bytes) noexcept;
    void identify() noexcept;
    void finish(std::int64_t received_ns) noexcept;
    void accept(std::uint64_t sequence, std::int64_t received_ns) noexcept;

    run_context& context_;
    std::uint32_t number_;
    connected_socket socket_;
    std::size_t packet_size_;  // prefix included
    std::size_t outstanding_;
    std::vector<char> slots_;
    std::uint64_t next_ = 0;
    std::uint64_t answered_ = 0;
    std::uint64_t sent_bytes_ = 0;  // of the stream
    std::uint64_t window_begin_ = 0;
    incoming incoming_;
};

}  // namespace bench::packets
