// SPDX-License-Identifier: MIT
//
// foreign_stream: a TCP connection that is no quoit, and packets on it, framed by hand: what the
// acceptance cases of packets over TCP talk to.
//
//   foreign_stream peer(server.local_address());
//   peer.send(frame("hello"));
//   const std::string answer = co_await read_packet(peer);
//
// Threads: each by one thread at a time. Errors: std::system_error of the kernel's errno; a
// blocking call gives up after `patience`.
#pragma once

#include "integration/acceptance_fixture.hpp"

#include <quoit/packet_options.hpp>

#include <netinet/tcp.h>

#include <optional>
#include <string>
#include <string_view>

namespace quoit::test {

/// A length as the framing has it, behind the magic if there is one.
[[nodiscard]] inline std::string frame_header(
    std::uint32_t size, packet_framing framing = packet_framing::packetsocket) {
    std::string header = framing == packet_framing::packetsocket ? "#!?&" : "";
    for (unsigned place = 0; place < 4; ++place) {
        const unsigned shift = framing == packet_framing::big_endian ? 24 - 8 * place : 8 * place;
        header += static_cast<char>(size >> shift & 0xffU);
    }
    return header;
}
/// The bytes of one packet.
[[nodiscard]] inline std::string frame(std::string_view body,
                                       packet_framing framing = packet_framing::packetsocket) {
    std::string bytes = frame_header(static_cast<std::uint32_t>(body.size()), framing);
    bytes += body;
    return bytes;
}

/// Finds the packets in a stream. Throws std::runtime_error at what is none.
class unframer {
  public:
    explicit unframer(packet_framing framing = packet_framing::packetsocket)
        : framing_(framing), header_size_(frame_header(0, framing).size()) {}

    void push(std::string_view bytes) {
        // What was taken goes when it is most of it.
        if (begin_ > bytes_.size() / 2) {
            bytes_.erase(0, begin_);
            begin_ = 0;
        }
        bytes_ += bytes;
    }
    [[nodiscard]] std::optional<std::string> next() {
        const std::string_view left = std::string_view(bytes_).substr(begin_);
        if (left.size() < header_size_) return std::nullopt;
        const std::uint32_t size = length_of(left.substr(header_size_ - 4));
        if (left.substr(0, header_size_) != frame_header(size, framing_)) {
            throw std::runtime_error("a foreign peer was sent what is no packet");
        }
        if (left.size() < header_size_ + size) return std::nullopt;
        begin_ += header_size_ + size;
        return std::string(left.substr(header_size_, size));
    }
    [[nodiscard]] bool is_between_packets() const noexcept { return begin_ == bytes_.size(); }

  private:
    [[nodiscard]] std::uint32_t length_of(std::string_view four) const {
        std::uint32_t size = 0;
        for (unsigned place = 0; place < 4; ++place) {
            const unsigned from = framing_ == packet_framing::big_endian ? place : 3 - place;
            size = size << 8 | static_cast<unsigned char>(four[from]);
        }
        return size;
    }

    packet_framing framing_;
    std::size_t header_size_;
    std::string bytes_;
    std::size_t begin_ = 0;
};

class foreign_stream {
  public:
    /// Connects. On loopback the kernel does that alone, while the listener's queue has room.
    explicit foreign_stream(const address& to, int receive_buffer_size = 0)
        : foreign_stream(::socket(to.family() == family::ipv6 ? AF_INET6 : AF_INET,
                                  SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        // Before connecting, so that the window is as small.
        if (receive_buffer_size > 0) set(SOL_SOCKET, SO_RCVBUF, receive_buffer_size);
        const socket_name name(to);
        if (::connect(descriptor_, name.get(), name.size) != 0) throw_errno("connect");
        set_time_limits();
        local_ = bound_address(descriptor_);
    }
    /// Takes a descriptor.
    explicit foreign_stream(int descriptor) : descriptor_(descriptor) {
        if (descriptor < 0) throw_errno("socket");
        set(IPPROTO_TCP, TCP_NODELAY, 1);  // every send is a segment
    }
    foreign_stream(foreign_stream&& other) noexcept
        : packets(std::move(other.packets)), descriptor_(std::exchange(other.descriptor_, -1)),
          local_(other.local_) {}
    foreign_stream& operator=(foreign_stream other) noexcept {
        std::swap(packets, other.packets);
        std::swap(descriptor_, other.descriptor_);
        std::swap(local_, other.local_);
        return *this;
    }
    ~foreign_stream() { close(); }

    /// Its own address: by that the other side knows it.
    [[nodiscard]] const address& local() const noexcept { return local_; }

    /// All of it; blocks.
    void send(std::string_view bytes) const {
        while (!bytes.empty()) {
            const auto sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent < 0 && errno == EINTR) continue;
            if (sent < 0) throw_errno("send");
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
    }
    /// What the kernel takes now.
    [[nodiscard]] std::size_t try_send(std::string_view bytes) const {
        const auto sent =
            ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) return static_cast<std::size_t>(sent);
        if (errno != EAGAIN) throw_errno("send");
        return 0;
    }
    /// Some bytes, none at the end; blocks.
    [[nodiscard]] std::string receive(std::size_t size_max) const {
        std::string bytes(size_max, '\0');
        ssize_t size = ::recv(descriptor_, bytes.data(), bytes.size(), 0);
        while (size < 0 && errno == EINTR)
            size = ::recv(descriptor_, bytes.data(), bytes.size(), 0);
        if (size < 0) throw_errno("recv");
        bytes.resize(static_cast<std::size_t>(size));
        return bytes;
    }
    /// What is there, none at the end; nothing when there is neither.
    [[nodiscard]] std::optional<std::string> try_receive(std::size_t size_max = 65'536) const {
        std::string bytes(size_max, '\0');
        const auto size = ::recv(descriptor_, bytes.data(), bytes.size(), MSG_DONTWAIT);
        if (size < 0) {
            if (errno != EAGAIN) throw_errno("recv");
            return std::nullopt;
        }
        bytes.resize(static_cast<std::size_t>(size));
        return bytes;
    }

    /// Sends nothing more; can still receive.
    void finish() const {
        if (::shutdown(descriptor_, SHUT_WR) != 0) throw_errno("shutdown");
    }
    void close() noexcept {
        if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
    }
    /// Closes with a reset.
    void reset() {
        const linger at_once{.l_onoff = 1, .l_linger = 0};
        if (::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) != 0) {
            throw_errno("SO_LINGER");
        }
        close();
    }

    /// Of what read_packet() has received.
    unframer packets;

  private:
    // With them blocking calls are not restarted (signal(7)), and an io_uring interrupts those of
    // its thread: so not before connecting.
    void set_time_limits() const {
        const timeval limit{.tv_sec = patience.count(), .tv_usec = 0};
        ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        ::setsockopt(descriptor_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    }
    void set(int level, int option, int value) const {
        if (::setsockopt(descriptor_, level, option, &value, sizeof value) != 0) {
            throw_errno("setsockopt");
        }
    }

    int descriptor_;
    address local_;
};

/// A listening socket on 127.0.0.1, which accepts nobody by itself.
class foreign_listener {
  public:
    explicit foreign_listener(int backlog = 16)
        : descriptor_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
        if (descriptor_ < 0) throw_errno("socket");
        const socket_name name(address("127.0.0.1", 0));
        if (::bind(descriptor_, name.get(), name.size) != 0 ||
            ::listen(descriptor_, backlog) != 0) {
            const int error = errno;
            ::close(descriptor_);
            errno = error;
            throw_errno("listen");
        }
        local_ = bound_address(descriptor_);
    }
    foreign_listener(const foreign_listener&) = delete;
    foreign_listener& operator=(const foreign_listener&) = delete;
    ~foreign_listener() { ::close(descriptor_); }

    [[nodiscard]] const address& local() const noexcept { return local_; }
    [[nodiscard]] std::optional<foreign_stream> try_accept() const {
        const int accepted = ::accept4(descriptor_, nullptr, nullptr, SOCK_CLOEXEC);
        if (accepted >= 0) return std::make_optional<foreign_stream>(accepted);
        if (errno != EAGAIN) throw_errno("accept4");
        return std::nullopt;
    }

  private:
    int descriptor_;
    address local_;
};

// --- on the loop; each throws when nothing comes ---

/// REQUIRES: the stream outlives the task; so do those below.
inline task<std::string> read_packet(foreign_stream& at) {
    const give_up_time limit;
    auto body = at.packets.next();
    while (!body) {
        limit.check("a packet at a foreign stream");
        const auto bytes = at.try_receive();
        if (bytes && bytes->empty()) throw std::runtime_error("the stream ended");
        if (bytes) {
            at.packets.push(*bytes);
        } else {
            or_throw(co_await next_turn());
        }
        body = at.packets.next();
    }
    co_return *std::move(body);
}

/// How the other side closes.
enum class stream_end : std::uint8_t { finished, reset };

/// What comes before the end is dropped.
inline task<stream_end> wait_for_end(const foreign_stream& at) {
    const give_up_time limit;
    for (;;) {
        limit.check("the end of a foreign stream");
        try {
            const auto bytes = at.try_receive();
            if (bytes && bytes->empty()) co_return stream_end::finished;
        } catch (const std::system_error& e) {
            if (e.code() != std::errc::connection_reset) throw;
            co_return stream_end::reset;
        }
        or_throw(co_await next_turn());
    }
}

/// All of it, by turns.
inline task<> send_all(const foreign_stream& from, std::string_view bytes) {
    const give_up_time limit;
    while (!bytes.empty()) {
        limit.check("room to send");
        bytes.remove_prefix(from.try_send(bytes));
        or_throw(co_await next_turn());
    }
}

inline task<foreign_stream> accept(const foreign_listener& at) {
    const give_up_time limit;
    auto accepted = at.try_accept();
    while (!accepted) {
        limit.check("a connection");
        or_throw(co_await next_turn());
        accepted = at.try_accept();
    }
    co_return *std::move(accepted);
}

}  // namespace quoit::test
