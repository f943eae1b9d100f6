// SPDX-License-Identifier: MIT
//
// blocking_implementation: what is behind quoit/detail/blocking_socket.hpp. Three groups of
// functions, a file each: life, receiving, sending.
//
// Who may touch what:
//
//   sending_, receiving_   gates: one thread at a time is behind each; only it uses the members
//                          that are listed with the gate, and the descriptors
//   mutex_                 the gates themselves, the ledger, early_ and the flags; never held
//                          during a system call that could take long
//   descriptors            by whoever is behind a gate or holds mutex_; closed under mutex_ by
//                          close(), or by the last to come out of a gate
//
// A thread that waits in poll(2) is woken by an eventfd of its gate. What it is woken for stands in
// flags that are set before the eventfd is raised, and looked at before the next poll.
#pragma once

#include "base/fork_watch.hpp"
#include "net/message.hpp"
#include "net/send.hpp"
#include "net/udp_socket.hpp"
#include "runtime/check_options.hpp"

#include <quoit/detail/blocking_socket.hpp>

#include <poll.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace quoit::detail {

// Who gets a datagram that is taken from the kernel.
enum class goes_to : std::uint8_t { reader, queue };

// One side's turn: who is behind it, and who waits in front.
struct gate {
    bool is_taken = false;
    std::condition_variable is_free;
    file_descriptor event;
};

class blocking_implementation final : public blocking_socket {
  public:
    blocking_implementation(std::vector<udp_socket> sockets, std::optional<address> peer,
                            const udp_options& options);
    ~blocking_implementation() override { close(); }

    [[nodiscard]] result<void> prepare();

    result<datagram> receive(time_limit timeout) override;
    void interrupt() noexcept override;
    status send(std::span<const byte_view> pieces, destination where, time_limit timeout) override;
    void close() noexcept override;
    bool is_closing() const noexcept override {
        return is_closing_.load(std::memory_order_acquire);  // pairs with close()
    }

    std::span<const address> local_addresses() const noexcept override { return locals_; }
    std::optional<address> peer() const noexcept override { return rules_.peer; }
    int descriptor() const noexcept override;
    buffer_sizes buffers() const override;
    status set_broadcast(bool allowed) noexcept override;
    bool broadcast() const noexcept override;
    quoit::stats stats() const override;

  private:
    using time_point = time_limit::time_point;
    // Pieces of a datagram that need no memory; more are gathered in a vector that is kept.
    static constexpr std::size_t pieces_on_stack = 64;
    class turn;

    // One attempt to receive: a datagram, or why there is none; 0: one that made no sense was
    // dropped.
    struct attempt {
        int error = 0;
        std::optional<datagram> received;
    };
    // Something that was taken from the kernel before somebody asked for it.
    struct early {
        datagram received;
        int refusal = 0;  // not 0: this instead
    };

    // behind receiving_
    [[nodiscard]] result<datagram> receive_behind_gate(time_point deadline);
    [[nodiscard]] std::optional<result<datagram>> look_at_news();
    [[nodiscard]] std::optional<result<datagram>> try_sockets();
    [[nodiscard]] attempt try_receive(std::size_t index, goes_to whom);
    [[nodiscard]] attempt read_message(std::size_t index, std::span<const std::byte> message,
                                       goes_to whom);
    void keep_what_came_before(int refusal);
    [[nodiscard]] std::size_t room_for_early() const noexcept;

    // behind sending_
    [[nodiscard]] status send_behind_gate(const outgoing& message, int fd, std::size_t size,
                                          time_point deadline);
    [[nodiscard]] std::optional<ip> source_for(const destination& where) const noexcept;
    [[nodiscard]] std::span<const iovec> gather(std::span<const byte_view> pieces,
                                                std::span<iovec, pieces_on_stack> few,
                                                std::size_t size);
    [[nodiscard]] int descriptor_for(const destination& where) const noexcept;
    void count_sent(int error, std::size_t size);
    void tell_reader(int refusal);

    // under mutex_
    [[nodiscard]] std::optional<result<datagram>> take_early();
    void shut_if_nobody_is_inside() noexcept;

    const fork_watch fork_watch_;
    const udp_options options_;
    destination_rules rules_;  // but for allows_broadcast, which is below
    std::vector<address> locals_;
    std::vector<message_layout> layouts_;

    mutable std::mutex mutex_;
    gate receiving_;
    gate sending_;
    std::vector<udp_socket> sockets_;
    quoit::stats ledger_;
    std::deque<early> early_;
    // Of early_, each up to queue_size_max; datagrams are counted when they are taken.
    std::uint64_t early_datagrams_ = 0;
    std::uint64_t early_refusals_ = 0;
    std::vector<int> refusals_heard_;  // by senders
    bool is_interrupted_ = false;
    bool is_shut_ = false;
    // Written under mutex_, read anywhere. has_news_: the receiver is to look under the mutex
    // before it waits.
    std::atomic<bool> is_closing_{false};
    std::atomic<bool> has_news_{false};
    std::atomic<bool> allows_broadcast_;

    // behind receiving_
    std::unique_ptr<std::byte[]> buffer_;
    std::vector<pollfd> polled_;  // the sockets, then the gate's eventfd
    std::size_t next_ = 0;        // the socket to ask first: they take turns

    // behind sending_
    std::vector<iovec> many_pieces_;
    std::vector<std::byte> copied_;
};

// Behind a gate, or not: then why not.
class blocking_implementation::turn {
  public:
    turn(blocking_implementation& of, gate& through, time_point deadline);
    turn(const turn&) = delete;
    turn& operator=(const turn&) = delete;
    ~turn();
    [[nodiscard]] bool is_inside() const noexcept { return is_inside_; }
    [[nodiscard]] errc refusal() const noexcept {
        return of_.is_closing() ? errc::closed : errc::timed_out;
    }

  private:
    blocking_implementation& of_;
    gate& through_;
    bool is_inside_ = false;
};

/// Until one of them has something: no error. EINTR is none either: who asked looks again, and
/// comes back. Otherwise errc::timed_out, or what poll(2) says.
[[nodiscard]] std::error_code wait_for(std::span<pollfd> any,
                                       time_limit::time_point deadline) noexcept;

[[nodiscard]] inline std::error_code system_error(int error) noexcept {
    return {error, std::system_category()};
}
[[nodiscard]] inline std::unexpected<error> no_time_limit() {
    return failure(errc::invalid_option, "timeout is negative or not a number");
}

}  // namespace quoit::detail
