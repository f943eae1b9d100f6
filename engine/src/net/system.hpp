// SPDX-License-Identifier: MIT
//
// Every entry into the kernel but io_uring's (those are in backend/io_uring/system.hpp): one
// function a system call, as thin as can be. This is the seam: other definitions linked in place of
// system.cpp are a simulated kernel, and production pays nothing for it. A test lists the archive's
// undefined symbols and finds no socket, epoll or clock symbol outside these two objects.
//
// Errors: each returns what the call returns, or the negated errno. Nothing is retried here: what
// EINTR or EAGAIN means is for the caller to know. No function touches errno for its caller.
//
// Threads: any.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

struct epoll_event;
struct pollfd;
struct ucred;

namespace quoit::detail::system {

[[nodiscard]] std::chrono::steady_clock::time_point now() noexcept;

// --- sockets ---
[[nodiscard]] int socket(int domain, int type, int protocol) noexcept;
[[nodiscard]] int socket_pair(int domain, int type, int (&fds)[2]) noexcept;
[[nodiscard]] int bind(int fd, const sockaddr* address, socklen_t size) noexcept;
[[nodiscard]] int connect(int fd, const sockaddr* address, socklen_t size) noexcept;
/// F_DUPFD_CLOEXEC: another descriptor of the same socket.
[[nodiscard]] int duplicate(int fd) noexcept;
[[nodiscard]] int set_close_on_exec(int fd) noexcept;
[[nodiscard]] int local_name(int fd, sockaddr* address, socklen_t* size) noexcept;
[[nodiscard]] int peer_name(int fd, sockaddr* address, socklen_t* size) noexcept;
[[nodiscard]] int set_option(int fd, int level, int name, const void* value,
                             socklen_t size) noexcept;
[[nodiscard]] int get_option(int fd, int level, int name, void* value, socklen_t* size) noexcept;
/// What is queued can still be received; nothing more gets in.
[[nodiscard]] int shut_receiving(int fd) noexcept;
[[nodiscard]] int send_many(int fd, std::span<mmsghdr> messages, int flags) noexcept;
[[nodiscard]] int receive_many(int fd, std::span<mmsghdr> messages, int flags) noexcept;
[[nodiscard]] std::ptrdiff_t receive(int fd, msghdr* message, int flags) noexcept;

// --- streams ---
[[nodiscard]] int listen(int fd, int backlog) noexcept;
/// accept4(2), non-blocking and close-on-exec.
[[nodiscard]] int accept(int fd) noexcept;
[[nodiscard]] std::ptrdiff_t receive_bytes(int fd, std::span<std::byte> into, int flags) noexcept;
[[nodiscard]] std::ptrdiff_t send_pieces(int fd, std::span<iovec> pieces, int flags) noexcept;
/// The peer is told that nothing more comes.
[[nodiscard]] int shut_sending(int fd) noexcept;

// --- files that are the names of UNIX sockets ---
struct file_identity {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::uint32_t mode = 0;  // permission bits
    bool is_socket = false;
};
/// O_PATH | O_NOFOLLOW: the file itself, to look at.
[[nodiscard]] int open_path(const char* path) noexcept;
[[nodiscard]] int identify(int fd, file_identity& into) noexcept;
[[nodiscard]] int change_mode(int fd, std::uint32_t mode) noexcept;
/// Of what open_path() returned, which fchmod(2) refuses.
[[nodiscard]] int change_mode_of_path(int fd, std::uint32_t mode) noexcept;
[[nodiscard]] int unlink(const char* path) noexcept;

// --- what UNIX sockets pass on ---
[[nodiscard]] ucred own_credentials() noexcept;

// --- waiting ---
/// poll(2) on one descriptor: 1 when one of `events` is there, 0 when the time is up.
[[nodiscard]] int poll_one(int fd, short events, const timespec* timeout) noexcept;
/// poll(2): how many of them have something, 0 when the time is up; null: it never is.
[[nodiscard]] int poll_several(std::span<pollfd> descriptors, const timespec* timeout) noexcept;
[[nodiscard]] int epoll_create() noexcept;
[[nodiscard]] int epoll_control(int epoll, int operation, int fd, epoll_event* event) noexcept;
/// epoll_pwait2 (Linux 5.11), or epoll_wait with the timeout rounded up to milliseconds.
[[nodiscard]] int epoll_wait(int epoll, std::span<epoll_event> events,
                             const timespec* timeout) noexcept;

/// EPOLL_CTL_ADD for EPOLLIN, with nothing to tell it by.
[[nodiscard]] int epoll_add_readable(int epoll, int fd) noexcept;

/// Waiting polls the network cards for so many microseconds (EPIOCSPARAMS, Linux 6.9). ENOTTY: this
/// kernel does not know it.
[[nodiscard]] int epoll_poll_cards(int epoll, std::uint32_t time_us) noexcept;

// --- waking: an eventfd, non-blocking, close-on-exec ---
[[nodiscard]] int event_open() noexcept;
/// Async-signal-safe; keeps errno.
void event_raise(int fd) noexcept;
/// Back to zero.
void event_clear(int fd) noexcept;

// --- a timerfd on the steady clock, non-blocking, close-on-exec ---
[[nodiscard]] int timer_open() noexcept;
/// Readable from then on; time_point::min(): at once, max(): never.
void timer_set(int fd, std::chrono::steady_clock::time_point when) noexcept;

/// Milliseconds, not exact: for the bounded retries when opening only.
void pause_briefly(std::chrono::milliseconds how_long) noexcept;

/// Time until a deadline as the timeouts above want it: 0 for one in the past.
[[nodiscard]] timespec time_until(std::chrono::steady_clock::time_point deadline) noexcept;

}  // namespace quoit::detail::system
