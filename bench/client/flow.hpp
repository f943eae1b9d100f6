// SPDX-License-Identifier: MIT
//
// One flow of the client: a connected UDP socket, what it has sent, and which answers came.
// Errors: std::system_error with words.
// Thread safety: none.
#pragma once

#include "probe.hpp"
#include "reply_window.hpp"
#include "result.hpp"
#include "settings.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include <sys/socket.h>
#include <sys/uio.h>

namespace bench {

constexpr std::int64_t give_up_after_ns = 200 * millisecond_ns;
constexpr std::int64_t drain_max_ns = 200 * millisecond_ns;

/// A connected UDP socket with raised buffers; closes it.
class connected_socket {
  public:
    explicit connected_socket(const settings& asked);
    ~connected_socket();
    connected_socket(connected_socket&& other) noexcept;
    connected_socket& operator=(connected_socket&&) = delete;

    [[nodiscard]] int fd() const noexcept { return fd_; }
    /// Blocking receives give up after that long.
    void set_receive_timeout(std::int64_t timeout_ns) const;

  private:
    int fd_;
};

/// Sends runs of datagrams, as few messages as there can be, from one buffer all flows share, so
/// that it stays in the cache.
class sender {
  public:
    explicit sender(const settings& asked);

    /// Sends up to `count` datagrams that differ in their sequence only; returns how many the
    /// kernel took, less than asked after an error, which is counted.
    std::uint64_t send(int fd, probe_header first, std::uint64_t count, counts& counted);

  private:
    std::size_t send_train(int fd, std::size_t count);
    std::size_t send_vector(int fd, std::size_t count);
    void write_headers(probe_header first, std::size_t count) noexcept;

    std::size_t size_;
    bool is_offloading_;
    std::size_t run_length_max_;
    std::vector<char> buffer_;
    std::vector<iovec> iovecs_;
    std::vector<mmsghdr> messages_;
};

/// What all flows of a run have in common. A run id is random.
struct run_context {
    explicit run_context(const settings& what);

    const settings& asked;
    std::uint64_t run_id;
    std::vector<char> pattern;  // a whole datagram; the header's place is not compared
    counts counted;
};

class flow {
  public:
    flow(run_context& context, std::uint32_t number);

    [[nodiscard]] int fd() const noexcept { return socket_.fd(); }
    [[nodiscard]] const connected_socket& socket() const noexcept { return socket_; }
    [[nodiscard]] std::uint64_t in_flight() const noexcept { return window_.in_flight(); }
    [[nodiscard]] std::uint64_t sent_in_window() const noexcept {
        return window_.next() - window_begin_;
    }

    void begin_window() noexcept { window_begin_ = window_.next(); }
    /// Fills the free places.
    void refill(sender& with);
    /// One datagram that came back.
    void count(std::span<const char> payload, std::int64_t received_ns);
    /// Places older than 200 ms are free again. To be called every few milliseconds.
    void give_up_old(std::int64_t at_ns);

  private:
    // Everything before `next` was sent before `at_ns`.
    struct mark {
        std::int64_t at_ns;
        std::uint64_t next;
    };

    [[nodiscard]] bool is_whole(std::span<const char> payload, const probe_header& header) const;

    run_context& context_;
    std::uint32_t number_;
    connected_socket socket_;
    reply_window window_;
    std::uint64_t window_begin_ = 0;
    std::deque<mark> marks_;
};

}  // namespace bench
