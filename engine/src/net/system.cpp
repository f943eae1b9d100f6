// SPDX-License-Identifier: MIT
#include "net/system.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <thread>

namespace quoit::detail::system {

namespace {

template <class Result>
Result or_error(Result returned) noexcept {
    return returned < 0 ? static_cast<Result>(-errno) : returned;
}

// Until the first refusal: kernels before 5.11, filters that do not know it.
std::atomic<bool> has_epoll_pwait2{true};

int to_milliseconds(const timespec& time) noexcept {
    constexpr long nanoseconds_per_millisecond = 1'000'000;
    constexpr time_t seconds_max = 2'000'000;  // about 23 days: fits an int of milliseconds
    if (time.tv_sec > seconds_max) return static_cast<int>(seconds_max) * 1000;
    return static_cast<int>(time.tv_sec) * 1000 +
           static_cast<int>((time.tv_nsec + nanoseconds_per_millisecond - 1) /
                            nanoseconds_per_millisecond);
}

}  // namespace

std::chrono::steady_clock::time_point now() noexcept { return std::chrono::steady_clock::now(); }

int socket(int domain, int type, int protocol) noexcept {
    return or_error(::socket(domain, type, protocol));
}

int socket_pair(int domain, int type, int (&fds)[2]) noexcept {
    return or_error(::socketpair(domain, type, 0, fds));
}

int bind(int fd, const sockaddr* address, socklen_t size) noexcept {
    return or_error(::bind(fd, address, size));
}

int connect(int fd, const sockaddr* address, socklen_t size) noexcept {
    return or_error(::connect(fd, address, size));
}

int duplicate(int fd) noexcept { return or_error(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

int set_close_on_exec(int fd) noexcept { return or_error(::fcntl(fd, F_SETFD, FD_CLOEXEC)); }

int local_name(int fd, sockaddr* address, socklen_t* size) noexcept {
    return or_error(::getsockname(fd, address, size));
}

int peer_name(int fd, sockaddr* address, socklen_t* size) noexcept {
    return or_error(::getpeername(fd, address, size));
}

int set_option(int fd, int level, int name, const void* value, socklen_t size) noexcept {
    return or_error(::setsockopt(fd, level, name, value, size));
}

int get_option(int fd, int level, int name, void* value, socklen_t* size) noexcept {
    return or_error(::getsockopt(fd, level, name, value, size));
}

int listen(int fd, int backlog) noexcept { return or_error(::listen(fd, backlog)); }

int accept(int fd) noexcept {
    return or_error(::accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

std::ptrdiff_t receive_bytes(int fd, std::span<std::byte> into, int flags) noexcept {
    return or_error(::recv(fd, into.data(), into.size(), flags));
}

std::ptrdiff_t send_pieces(int fd, std::span<iovec> pieces, int flags) noexcept {
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = pieces.size();
    return or_error(::sendmsg(fd, &message, flags));
}

int shut_sending(int fd) noexcept { return or_error(::shutdown(fd, SHUT_WR)); }

int shut_receiving(int fd) noexcept { return or_error(::shutdown(fd, SHUT_RD)); }

int send_many(int fd, std::span<mmsghdr> messages, int flags) noexcept {
    return or_error(::sendmmsg(fd, messages.data(), static_cast<unsigned>(messages.size()), flags));
}

int receive_many(int fd, std::span<mmsghdr> messages, int flags) noexcept {
    return or_error(
        ::recvmmsg(fd, messages.data(), static_cast<unsigned>(messages.size()), flags, nullptr));
}

std::ptrdiff_t receive(int fd, msghdr* message, int flags) noexcept {
    return or_error(::recvmsg(fd, message, flags));
}

int open_path(const char* path) noexcept {
    return or_error(::open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC));
}

int identify(int fd, file_identity& into) noexcept {
    struct stat found{};
    const int error = or_error(::fstat(fd, &found));
    into = {.device = found.st_dev,
            .inode = found.st_ino,
            .mode = found.st_mode & 07777U,
            .is_socket = S_ISSOCK(found.st_mode)};
    return error;
}

int change_mode(int fd, std::uint32_t mode) noexcept { return or_error(::fchmod(fd, mode)); }

int change_mode_of_path(int fd, std::uint32_t mode) noexcept {
    char link[64];
    std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return or_error(::chmod(link, mode));
}

int unlink(const char* path) noexcept { return or_error(::unlink(path)); }

ucred own_credentials() noexcept {
    return {.pid = ::getpid(), .uid = ::getuid(), .gid = ::getgid()};
}

int poll_one(int fd, short events, const timespec* timeout) noexcept {
    pollfd one{.fd = fd, .events = events, .revents = 0};
    const int count = or_error(::ppoll(&one, 1, timeout, nullptr));
    return count > 0 ? static_cast<int>((one.revents & events) != 0) : count;
}

int poll_several(std::span<pollfd> descriptors, const timespec* timeout) noexcept {
    return or_error(::ppoll(descriptors.data(), descriptors.size(), timeout, nullptr));
}

int epoll_create() noexcept { return or_error(::epoll_create1(EPOLL_CLOEXEC)); }

int epoll_control(int epoll, int operation, int fd, epoll_event* event) noexcept {
    return or_error(::epoll_ctl(epoll, operation, fd, event));
}

int epoll_add_readable(int epoll, int fd) noexcept {
    epoll_event wanted{};
    wanted.events = EPOLLIN;
    return epoll_control(epoll, EPOLL_CTL_ADD, fd, &wanted);
}

int epoll_wait(int epoll, std::span<epoll_event> events, const timespec* timeout) noexcept {
    const int count_max = static_cast<int>(events.size());
    if (has_epoll_pwait2.load(std::memory_order_relaxed)) {
        const int count =
            or_error(::epoll_pwait2(epoll, events.data(), count_max, timeout, nullptr));
        // EPERM: a seccomp filter that is older than the call.
        if (count != -ENOSYS && count != -EPERM) return count;
        has_epoll_pwait2.store(false, std::memory_order_relaxed);
    }
    return or_error(::epoll_wait(epoll, events.data(), count_max,
                                 timeout == nullptr ? -1 : to_milliseconds(*timeout)));
}

int epoll_poll_cards(int epoll, std::uint32_t time_us) noexcept {
    // struct epoll_params and its request, since Linux 6.9 (<linux/eventpoll.h>).
    struct options {
        std::uint32_t busy_poll_time_us;
        std::uint16_t busy_poll_budget;
        std::uint8_t prefers_busy_poll;
        std::uint8_t padding;
    };
    constexpr unsigned long set_options = _IOW(0x8A, 0x01, options);
    constexpr std::uint16_t budget = 8;  // packets a round: the kernel's default
    const options wanted{.busy_poll_time_us = time_us,
                         .busy_poll_budget = budget,
                         .prefers_busy_poll = 0,
                         .padding = 0};
    return or_error(::ioctl(epoll, set_options, &wanted));
}

int event_open() noexcept { return or_error(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)); }

void event_raise(int fd) noexcept {
    const int errno_before = errno;
    const std::uint64_t one = 1;
    // EAGAIN: the counter is at its top, so whoever waits is woken all the same.
    [[maybe_unused]] const ssize_t written = ::write(fd, &one, sizeof one);
    errno = errno_before;
}

void event_clear(int fd) noexcept {
    std::uint64_t count = 0;
    // EAGAIN: it was at zero already.
    [[maybe_unused]] const ssize_t got = ::read(fd, &count, sizeof count);
}

int timer_open() noexcept {
    return or_error(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
}

void timer_set(int fd, std::chrono::steady_clock::time_point when) noexcept {
    using namespace std::chrono;
    itimerspec wanted{};  // all 0: never
    if (when != steady_clock::time_point::max()) {
        // 1 ns after the machine was started is past.
        const nanoseconds since = std::max<nanoseconds>(when.time_since_epoch(), nanoseconds(1));
        const auto whole = duration_cast<seconds>(since);
        wanted.it_value.tv_sec = static_cast<time_t>(whole.count());
        wanted.it_value.tv_nsec = static_cast<long>((since - whole).count());
    }
    // No error there could be: the descriptor is a timer's and the time is valid.
    [[maybe_unused]] const int error = ::timerfd_settime(fd, TFD_TIMER_ABSTIME, &wanted, nullptr);
}

void pause_briefly(std::chrono::milliseconds how_long) noexcept {
    std::this_thread::sleep_for(how_long);
}

timespec time_until(std::chrono::steady_clock::time_point deadline) noexcept {
    using namespace std::chrono;
    if (deadline == steady_clock::time_point::min()) return {};
    const auto left = deadline - now();
    if (left <= left.zero()) return {};
    const auto whole = duration_cast<seconds>(left);
    return {.tv_sec = static_cast<time_t>(whole.count()),
            .tv_nsec = static_cast<long>(duration_cast<nanoseconds>(left - whole).count())};
}

}  // namespace quoit::detail::system
