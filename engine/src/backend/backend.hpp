// SPDX-License-Identifier: MIT
//
// io_backend: THE contract between the engine and a way to wait for the kernel. io_uring, epoll and
// the tests' fake implement it; one suite (tests/engine/backend/contract_*_test.cpp) runs on all
// three.
//
// A backend takes sources (descriptors of sockets) and turns; what arrives comes out as 16-byte
// events that refer to buffers of its pools:
//
//      attach(fd, options) ----> source              set(source, interest)
//                                  |                        |
//      turn(deadline, sink): arm what is wanted, wait, deliver events in batches
//                                  |
//      recycle(buffers) <---- whoever has read them         detach(source) -> one `detached` event
//
// Rules, each tested on every implementation:
//  1. One thread: the one that first turns it. Only wake() may be called by others, and from signal
//     handlers.
//  2. deliver() is called once per batch, never per datagram, and only from turn(). It must not
//     call back into the backend.
//  3. The events of one source come in the order in which the kernel had them.
//  4. A buffer belongs to the kernel or the backend until an event names it, then to whoever got
//     the event until it is recycled. An event that names a buffer is delivered even after detach.
//  5. Every datagram the kernel hands over becomes exactly one event; an empty one too.
//  6. A source that cannot receive for want of buffers reports `starved` and waits, first in first
//     out with others, until recycle() brings some. Its datagrams stay in the kernel. No polling.
//  7. An error of the socket (a refusal) is one `failed` event, behind every datagram that was
//     waiting when it came, and receiving goes on.
//  8. detach(source) ends in exactly one `detached` event, the last with that tag. When detach
//     returns, the kernel holds no reference of ours to the descriptor: it may be closed at once
//     and its port bound again at once.
//  9. turn() returns after the deadline, after wake(), or after something was delivered; with a
//     deadline in the past it does not wait.
// 10. A destroyed backend has taken back every buffer it gave the kernel, and closed a connection
//     that it accepted and nobody was told of.
// 14. Who has made a backend join a set may wait for the set instead of in turn(): after
//     prepare_to_wait() the set is readable as soon as a turn would bring something, and is not
//     while none would (once at most for nothing). What a turn would bring already is what
//     prepare_to_wait() answers; the set need not show it.
//
// Streams (connected TCP sockets) and listeners are sources too:
// 11. What a stream brings is `bytes`, in order and never empty, then one `end_of_stream` or one
//     `failed`: after that it is not received from any more. It is not received from either while
//     it is paused, and one that still connects is attached paused: `writable` says when it has, or
//     has failed.
// 12. A listener gives one connection (`accepted`) each time it is set to receive, attaching being
//     the first: who has no room asks for none, and connections wait in the kernel. `failed`
//     (EMFILE) pauses a listener.
// 13. A stream that starved gets one buffer when its turn in the line comes, and as many as there
//     are once nobody waits: one that never stops sending does not keep the others from theirs.
#pragma once

#include "backend/buffer_pool.hpp"
#include "backend/ledger.hpp"
#include "net/message.hpp"
#include "net/send.hpp"
#include "net/waiting_set.hpp"

#include <quoit/capabilities.hpp>
#include <quoit/error.hpp>
#include <quoit/stats.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>

namespace quoit::detail {

using steady_time = std::chrono::steady_clock::time_point;
inline constexpr steady_time no_deadline = steady_time::max();
inline constexpr steady_time at_once = steady_time::min();

enum class event_kind : std::uint8_t {
    datagram,       // buffer, length (bytes of the buffer in use), segment
    bytes,          // of a stream: buffer, length
    end_of_stream,  // its peer has finished
    accepted,       // a new connection: value is a descriptor, which is whoever hears of it
    writable,       // once per request: sending may go on
    failed,         // value is an errno; receiving goes on, but from streams and listeners
    starved,        // waits for a buffer; says so once per wait
    detached,       // the last event of its source
};

/// 16 bytes, so that a queue of them is cheap: four to a cache line.
struct event {
    std::uint32_t tag = 0;      // source_options::tag
    std::uint32_t buffer = 0;   // datagram, bytes: index in the source's pool
    std::uint32_t value = 0;    // datagram, bytes: length in bytes; failed: errno; accepted: fd
    std::uint16_t segment = 0;  // datagram: UDP_GRO segment size in bytes; 0: one datagram
    event_kind kind = event_kind::datagram;
    buffer_class pool = buffer_class::small;
};
static_assert(sizeof(event) == 16);

class event_sink {
  public:
    virtual void deliver(std::span<const event> events) noexcept = 0;

  protected:
    ~event_sink() = default;
};

struct source_id {
    std::uint32_t index = 0;
    [[nodiscard]] bool operator==(const source_id&) const noexcept = default;
};

enum class source_kind : std::uint8_t { datagrams, stream, listener };

struct source_options {
    std::uint32_t tag = 0;  // comes back in every event
    buffer_class pool = buffer_class::small;
    message_layout layout{};  // of datagrams
    bool has_gro = false;     // look for UDP_GRO among the control messages
    source_kind kind = source_kind::datagrams;
    bool is_paused = false;  // attach without receiving
};

/// What a source shall do from now on.
enum class interest : std::uint8_t {
    receive,   // deliver what comes (as after attach); a listener: one connection
    pause,     // leave it in the kernel; some may still be on its way
    writable,  // tell me once when it can be written to; receiving is not changed
};

struct backend_options {
    std::array<buffer_pool*, buffer_class_count> pools{};  // outlive the backend
    std::uint32_t source_count_max = 0;
    /// It is turned without pause: a turn that must not wait may take the shortest way to what has
    /// come.
    bool is_spinning = false;
    /// Poll the network cards while waiting, for so many microseconds; 0: do not. Where it cannot
    /// be had about().napi_busy_poll is false.
    std::uint32_t napi_busy_poll_us = 0;
    backend_ledger* ledger = nullptr;  // outlives the backend
};

class io_backend {
  public:
    io_backend() = default;
    io_backend(const io_backend&) = delete;
    io_backend& operator=(const io_backend&) = delete;
    /// On the thread that turned it. Sources need not have been detached.
    virtual ~io_backend() = default;

    [[nodiscard]] virtual const capabilities& about() const noexcept = 0;

    /// REQUIRES: a non-negative descriptor that outlives its detach(); layout and pool that fit; no
    /// more than source_count_max sources whose `detached` has not been delivered.
    [[nodiscard]] virtual source_id attach(int fd, const source_options& options) = 0;
    virtual void set(source_id source, interest wanted) = 0;
    virtual void detach(source_id source) = 0;

    /// In order; stops at the first message the kernel refuses. See net/send.hpp.
    virtual send_result send(source_id source, std::span<const outgoing> messages) = 0;

    /// Gives buffers back for the kernel to fill.
    virtual void recycle(buffer_class pool, std::span<const std::uint32_t> buffers) = 0;

    virtual void turn(steady_time deadline, event_sink& sink) = 0;

    /// Adds what turn() waits for to `set` (rule 14), once; from then on nothing spins. The set
    /// outlives no backend that has joined it, or is not used afterwards. Errors: waiting_set's.
    [[nodiscard]] virtual status join(waiting_set& set) = 0;
    /// Between two turns, before somebody waits for the set: hands to the kernel what is prepared.
    /// True: do not wait, a turn has something to do. REQUIRES: join().
    [[nodiscard]] virtual bool prepare_to_wait() = 0;

    /// Any thread; async-signal-safe. A wake() before turn() counts.
    virtual void wake() noexcept = 0;
};

}  // namespace quoit::detail
