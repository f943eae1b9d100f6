// SPDX-License-Identifier: MIT
//
// What all peers share: the command line, the bound socket, and how they end. A peer is a small
// echo server written against the kernel or a library, as its users would tune it; the benchmarks
// measure quoit against it. No peer includes a header of quoit.
//
// Every peer with a UDP socket raises both its buffers to 4 MiB (the kernel caps them at
// net.core.rmem_max and wmem_max); those of TCP sockets the kernel adapts. Every peer prints
// "listening on ADDRESS:PORT" once it is ready, and serves until SIGTERM, SIGINT or --duration.
// Exit codes: 0 it served, 1 it could not, 2 the command line is wrong.
#pragma once

#include <array>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <exception>
#include <string>
#include <string_view>
#include <system_error>

#include <CLI/CLI.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace peer {

constexpr int socket_buffer_size = 4 * 1024 * 1024;
constexpr std::size_t datagram_size_max = 65'535;
constexpr int exit_failure = 1;
constexpr int exit_usage = 2;

[[noreturn]] inline void fail(const std::string& what, int error = errno) {
    throw std::system_error(error, std::generic_category(), what);
}

/// ADDRESS:PORT of IPv4; false when `text` is not one.
inline bool parse_address(const std::string& text, sockaddr_in& parsed) {
    constexpr unsigned long port_max = 65'535;
    const std::size_t colon = text.rfind(':');
    if (colon == std::string::npos) return false;
    const std::string digits = text.substr(colon + 1);
    constexpr std::size_t digits_max = 5;
    if (digits.empty() || digits.size() > digits_max) return false;
    if (digits.find_first_not_of("0123456789") != std::string::npos) return false;
    const unsigned long port = std::stoul(digits);
    parsed = {};
    parsed.sin_family = AF_INET;
    parsed.sin_port = htons(static_cast<std::uint16_t>(port));
    return port <= port_max &&
           ::inet_pton(AF_INET, text.substr(0, colon).c_str(), &parsed.sin_addr) == 1;
}

inline std::string to_text(const sockaddr_in& address) {
    std::array<char, INET_ADDRSTRLEN> host{};
    ::inet_ntop(AF_INET, &address.sin_addr, host.data(), host.size());
    return std::string(host.data()) + ":" + std::to_string(ntohs(address.sin_port));
}

/// The options every peer has; a peer adds its own to app().
class command_line {
  public:
    explicit command_line(const std::string& description) : app_(description) {
        constexpr double duration_max_s = 86'400;
        app_.add_option("--bind", bind_text_,
                        "where to listen, such as 127.0.0.1:9999; port 0: any")
            ->required()
            ->type_name("ADDRESS:PORT")
            ->check([this](const std::string& text) {
                return parse_address(text, bind_) ? std::string()
                                                  : "'" + text +
                                                        "': expected an IPv4 address and a port, "
                                                        "such as 127.0.0.1:9999";
            });
        app_.add_option("--duration", duration_s_, "end after that long; default: never")
            ->type_name("SECONDS")
            ->check(CLI::Range(0.001, duration_max_s));
    }
    command_line(const command_line&) = delete;
    command_line& operator=(const command_line&) = delete;

    [[nodiscard]] CLI::App& app() noexcept { return app_; }
    [[nodiscard]] const sockaddr_in& bind() const noexcept { return bind_; }
    /// 0: no end.
    [[nodiscard]] double duration_s() const noexcept { return duration_s_; }

  private:
    CLI::App app_;
    std::string bind_text_;
    sockaddr_in bind_{};
    double duration_s_ = 0;
};

/// Parses, serves, and turns what went wrong into words and an exit code.
template <class Serve>
int run_main(command_line& line, int argument_count, char** arguments, Serve serve) {
    try {
        line.app().parse(argument_count, arguments);
    } catch (const CLI::ParseError& error) {
        return line.app().exit(error) == 0 ? 0 : exit_usage;
    }
    try {
        serve();
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", arguments[0], error.what());
        return exit_failure;
    }
}

/// Asks the serving loop to end on SIGTERM, SIGINT, and after `duration_s`. Blocking calls return
/// EINTR. A signal between the loop's check and its blocking call is not missed, because a timer
/// repeats it until this object goes: cheaper than a timeout on every call. One at a time.
class stop_signal {
  public:
    explicit stop_signal(double duration_s) {
        struct sigaction action{};
        action.sa_handler = &stop_signal::handle;  // no SA_RESTART: blocking calls must return
        for (const int number : {SIGTERM, SIGINT, SIGALRM})
            ::sigaction(number, &action, nullptr);
        sigevent event{};
        event.sigev_notify = SIGEV_SIGNAL;
        event.sigev_signo = SIGALRM;
        if (::timer_create(CLOCK_MONOTONIC, &event, &timer_) != 0) fail("timer_create");
        if (duration_s > 0) start_timer(duration_s);
    }
    ~stop_signal() { ::timer_delete(timer_); }
    stop_signal(const stop_signal&) = delete;
    stop_signal& operator=(const stop_signal&) = delete;

    [[nodiscard]] static bool is_requested() noexcept {
        return requested_.load(std::memory_order_relaxed);
    }

  private:
    static constexpr double repeat_s = 0.01;

    static timespec to_timespec(double seconds) noexcept {
        const double whole = std::floor(seconds);
        return {.tv_sec = static_cast<time_t>(whole),
                .tv_nsec = static_cast<long>((seconds - whole) * 1e9)};
    }
    static void start_timer(double first_s) noexcept {
        const itimerspec spec{.it_interval = to_timespec(repeat_s),
                              .it_value = to_timespec(first_s)};
        ::timer_settime(timer_, 0, &spec, nullptr);  // async-signal-safe by POSIX
    }
    static void handle(int number) noexcept {
        const int saved = errno;
        requested_.store(true, std::memory_order_relaxed);
        if (number != SIGALRM) start_timer(repeat_s);
        errno = saved;
    }

    // A signal handler has no argument to carry them.
    static inline std::atomic<bool> requested_ = false;
    static inline timer_t timer_ = nullptr;
};

/// An IPv4 UDP socket with raised buffers; closes it.
class bound_socket {
  public:
    /// `type_flags`: SOCK_NONBLOCK or 0.
    explicit bound_socket(const sockaddr_in& where, int type_flags = 0)
        : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | type_flags, 0)) {
        if (fd_ < 0) fail("cannot make a UDP socket");
        set(SOL_SOCKET, SO_RCVBUF, socket_buffer_size);
        set(SOL_SOCKET, SO_SNDBUF, socket_buffer_size);
        if (::bind(fd_, reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0) {
            const int error = errno;
            ::close(fd_);
            fail("cannot listen on " + to_text(where), error);
        }
    }
    ~bound_socket() { ::close(fd_); }
    bound_socket(const bound_socket&) = delete;
    bound_socket& operator=(const bound_socket&) = delete;

    [[nodiscard]] int fd() const noexcept { return fd_; }
    void set(int level, int name, int value) const {
        if (::setsockopt(fd_, level, name, &value, sizeof value) != 0) fail("setsockopt");
    }

  private:
    int fd_;
};

/// An IPv4 TCP socket that listens and does not block; closes it.
class listening_socket {
  public:
    explicit listening_socket(const sockaddr_in& where)
        : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
        if (fd_ < 0) fail("cannot make a TCP socket");
        constexpr int on = 1;
        ::setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (::bind(fd_, reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0 ||
            ::listen(fd_, SOMAXCONN) != 0) {
            const int error = errno;
            ::close(fd_);
            fail("cannot listen on " + to_text(where), error);
        }
    }
    ~listening_socket() { ::close(fd_); }
    listening_socket(const listening_socket&) = delete;
    listening_socket& operator=(const listening_socket&) = delete;

    [[nodiscard]] int fd() const noexcept { return fd_; }

  private:
    int fd_;
};

/// The one line on standard output that says the peer is ready.
inline void announce(const std::string& address) {
    std::printf("listening on %s\n", address.c_str());
    if (std::fflush(stdout) != 0) fail("cannot write to standard output");
}

inline std::string local_of(int fd) {
    sockaddr_in bound{};
    socklen_t size = sizeof bound;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) != 0) fail("getsockname");
    return to_text(bound);
}

inline void announce(const bound_socket& socket) { announce(local_of(socket.fd())); }

/// Replies the kernel refused are lost; a peer says so when it ends.
inline void report_refused(std::uint64_t refused) {
    if (refused == 0) return;
    std::fprintf(stderr, "%llu replies were refused by the kernel\n",
                 static_cast<unsigned long long>(refused));
}

}  // namespace peer
