// SPDX-License-Identifier: MIT
#include "net/udp_socket.hpp"

#include "base/assert.hpp"
#include "net/control_message.hpp"
#include "net/kernel_constants.hpp"
#include "net/message.hpp"
#include "net/segmentation.hpp"
#include "net/sockaddr.hpp"
#include "net/socket_option.hpp"
#include "net/system.hpp"

#include <linux/filter.h>
#include <netinet/in.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <limits>
#include <utility>

namespace quoit::detail {

namespace {

constexpr std::chrono::milliseconds bind_retry_for{50};
constexpr std::chrono::milliseconds bind_retry_every{2};

// The indices of what SO_MEMINFO returns (SK_MEMINFO_DROPS in <linux/sock_diag.h>).
constexpr std::size_t meminfo_drops = 8;
constexpr std::size_t meminfo_count = 9;

// Of control messages: more than all that can be asked for.
constexpr std::size_t control_size_max = 512;

int to_int(std::uint32_t value) noexcept {
    return value > std::numeric_limits<int>::max() ? std::numeric_limits<int>::max()
                                                   : static_cast<int>(value);
}

}  // namespace

int udp_socket::set_options(const udp_options& options) noexcept {
    has_gro_ = options.offload == offload::on && find_offload_support().has_gro;
    option_setter socket(descriptor());
    const bool is_v6 = local_.family() == family::ipv6;
    // Cannot be changed once bound: an adopted one may take IPv4 too, as mapped addresses.
    if (is_v6 && !is_adopted_) socket.set(IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (is_v6) socket.try_set(IPPROTO_IPV6, IPV6_RECVERR, 0);
    if (!is_v6) socket.try_set(IPPROTO_IP, IP_RECVERR, 0);
    // A kernel that knows UDP_SEGMENT gets it per message; an adopted socket may have it on.
    if (find_offload_support().has_segment) socket.try_set(SOL_UDP, UDP_SEGMENT, 0);
    socket.try_set(SOL_UDP, UDP_GRO, has_gro_ ? 1 : 0);
    // A socket receives what is sent to groups it has joined itself, not any that somebody on this
    // host has. IPV6_MULTICAST_ALL since Linux 4.20. Who shares a socket may rely on the opposite.
    if (!is_shared_ && is_v6) socket.try_set(IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
    if (!is_shared_ && !is_v6) socket.try_set(IPPROTO_IP, IP_MULTICAST_ALL, 0);
    const bool reuses_port = options.reuse_port || options.listen_multiple;
    const bool reuses_address = options.reuse_address || options.listen_multiple;
    if (reuses_port) socket.set(SOL_SOCKET, SO_REUSEPORT, 1);
    if (reuses_address) socket.set(SOL_SOCKET, SO_REUSEADDR, 1);
    if (options.broadcast) socket.set(SOL_SOCKET, SO_BROADCAST, 1);
    if (options.receive_buffer_size != 0) {
        socket.set(SOL_SOCKET, SO_RCVBUF, to_int(options.receive_buffer_size));
        receive_buffer_asked_ = options.receive_buffer_size;
    }
    if (options.send_buffer_size != 0) {
        socket.set(SOL_SOCKET, SO_SNDBUF, to_int(options.send_buffer_size));
        send_buffer_asked_ = options.send_buffer_size;
    }
    if (options.socket_busy_poll.count() > 0) {
        socket.set(SOL_SOCKET, SO_BUSY_POLL, static_cast<int>(options.socket_busy_poll.count()));
    }
    const metadata wanted = options.received_metadata;
    if (contains(wanted, metadata::timestamp)) socket.set(SOL_SOCKET, SO_TIMESTAMPNS, 1);
    if (contains(wanted, metadata::local_address)) {
        if (is_v6) socket.set(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
        if (!is_v6) socket.set(IPPROTO_IP, IP_PKTINFO, 1);
    }
    if (contains(wanted, metadata::tos)) {
        if (is_v6) socket.set(IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
        if (!is_v6) socket.set(IPPROTO_IP, IP_RECVTOS, 1);
    }
    if (contains(wanted, metadata::ttl)) {
        if (is_v6) socket.set(IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
        if (!is_v6) socket.set(IPPROTO_IP, IP_RECVTTL, 1);
    }
    return socket.error();
}

int udp_socket::read_local_name() noexcept {
    socket_address name;
    socklen_t size = socket_address::size_max;
    const int error = system::local_name(descriptor(), name.get(), &size);
    if (error < 0) return error;
    const auto* bytes = reinterpret_cast<const std::byte*>(name.get());
    local_ = from_sockaddr({bytes, size}).value_or(address());
    return 0;
}

result<udp_socket> udp_socket::open(const address& where, const udp_options& options,
                                    bool is_server) {
    const char* const what = is_server ? "listen" : "connect";
    udp_socket made;
    const int fd =
        system::socket(domain_of(where.family()), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return system_failure(fd, what, where);
    made.fd_ = file_descriptor(fd);
    made.local_ = where;
    if (const int error = made.set_options(options); error < 0) {
        return system_failure(error, what, where);
    }
    return made;
}

result<udp_socket> udp_socket::listen(const address& where, const udp_options& options) {
    return listen_for(where, options, bind_retry_for);
}

result<udp_socket> udp_socket::listen_first(const address& where, const udp_options& options) {
    udp_options alone = options;
    alone.reuse_port = false;
    alone.reuse_address = false;
    auto made = listen(where, alone);
    if (made) {
        option_setter socket(made->descriptor());
        socket.set(SOL_SOCKET, SO_REUSEPORT, 1);
        if (options.reuse_address) socket.set(SOL_SOCKET, SO_REUSEADDR, 1);
        if (socket.error() < 0) return system_failure(socket.error(), "listen", where);
    } else if (made.error() == std::errc::address_in_use && options.reuse_port &&
               where.port() != 0) {
        made = listen_for(where, options, std::chrono::milliseconds(0));
        if (made) made->shares_with_others_ = true;
    }
    return made;
}

result<udp_socket> udp_socket::listen_for(const address& where, const udp_options& options,
                                          std::chrono::milliseconds patience) {
    auto made = open(where, options, true);
    if (!made) return made;
    const socket_address name(where);
    const auto give_up_at = system::now() + patience;
    int error = system::bind(made->descriptor(), name.get(), name.size());
    while (error == -EADDRINUSE && system::now() < give_up_at) {
        system::pause_briefly(bind_retry_every);
        error = system::bind(made->descriptor(), name.get(), name.size());
    }
    if (error == 0) error = made->read_local_name();
    if (error < 0) return system_failure(error, "listen", where);
    made->bound_ = made->local_;
    return made;
}

result<udp_socket> udp_socket::connect(const address& peer, const udp_options& options) {
    auto made = open(peer, options, false);
    if (!made) return made;
    if (options.local.family() != family::unspecified) {
        const socket_address local(options.local);
        const int error = system::bind(made->descriptor(), local.get(), local.size());
        if (error < 0) return system_failure(error, "bind", options.local);
    }
    made->bound_ = options.local;
    const int error = made->connect_once(peer);
    if (error < 0) return system_failure(error, "connect", peer);
    return made;
}

udp_socket udp_socket::of_unix(file_descriptor fd, std::uint32_t receive_buffer_asked,
                               std::uint32_t send_buffer_asked) noexcept {
    udp_socket made;
    made.fd_ = std::move(fd);
    made.receive_buffer_asked_ = receive_buffer_asked;
    made.send_buffer_asked_ = send_buffer_asked;
    made.is_unix_ = true;
    return made;
}

buffer_sizes udp_socket::buffers() const {
    return {
        .receive = {.asked = receive_buffer_asked_,
                    .granted =
                        static_cast<std::uint32_t>(get_int(descriptor(), SOL_SOCKET, SO_RCVBUF)),
                    .granted_max = granted_buffer_max("rmem_max")},
        .send = {.asked = send_buffer_asked_,
                 .granted =
                     static_cast<std::uint32_t>(get_int(descriptor(), SOL_SOCKET, SO_SNDBUF)),
                 .granted_max = granted_buffer_max("wmem_max")},
    };
}

status udp_socket::set_broadcast(bool allowed) noexcept {
    const int error = set_int(descriptor(), SOL_SOCKET, SO_BROADCAST, allowed ? 1 : 0);
    return std::error_code(-error, std::system_category());
}

bool udp_socket::broadcast() const noexcept {
    return get_int(descriptor(), SOL_SOCKET, SO_BROADCAST) != 0;
}

std::uint64_t udp_socket::kernel_drops() const noexcept {
    std::array<std::uint32_t, meminfo_count> meminfo{};
    socklen_t size = sizeof meminfo;
    const int error =
        system::get_option(descriptor(), SOL_SOCKET, SO_MEMINFO, meminfo.data(), &size);
    return error < 0 ? 0 : meminfo[meminfo_drops] - drops_before_;  // a counter that wraps
}

int udp_socket::drop_what_arrives() noexcept {
    sock_filter drop_all = BPF_STMT(BPF_RET | BPF_K, 0);
    const sock_fprog program{.len = 1, .filter = &drop_all};
    return system::set_option(descriptor(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

udp_socket::drained udp_socket::drain_and_close() noexcept {
    drained counted;
    if (!is_open()) return counted;
    if (is_shared_) {
        counted.kernel_drops = kernel_drops();
        fd_.reset();
        counted_.reset();
        return counted;
    }
    const int filtered = is_unix_ ? system::shut_receiving(descriptor()) : drop_what_arrives();
    // Without the filter a flood could keep this going: then what is queued now is the bound.
    constexpr std::uint64_t without_filter_max = 65'536;
    constexpr int errors_max = 8;  // pending refusals are reported ahead of datagrams, one by one
    for (int errors = 0; errors < errors_max;) {
        // No room for a payload: only its length is wanted, and whether it is a train.
        alignas(cmsghdr) std::array<std::byte, control_size_max> control;
        msghdr message{};
        if (!is_unix_) {  // without room for them the kernel keeps descriptors out
            message.msg_control = control.data();
            message.msg_controllen = control.size();
        }
        const auto got = system::receive(descriptor(), &message, MSG_DONTWAIT | MSG_TRUNC);
        if (got == -EAGAIN) break;
        if (got < 0) {
            ++errors;
        } else {
            const auto said = parse_control(std::span(control).first(message.msg_controllen));
            const auto size = static_cast<std::uint32_t>(got);
            counted.datagrams += datagrams_in(size, said.gro_segment);
            if (counted.datagrams >= without_filter_max && filtered != 0) break;
        }
    }
    counted.kernel_drops = kernel_drops();
    // The socket may live on elsewhere (fork, SCM_RIGHTS), and is to receive there.
    if (is_adopted_) {
        const int unused = 0;
        (void)system::set_option(descriptor(), SOL_SOCKET, SO_DETACH_FILTER, &unused,
                                 sizeof unused);
    }
    fd_.reset();
    counted_.reset();
    return counted;
}

std::uint32_t granted_buffer_max(const char* sysctl) {
    std::ifstream file(std::string("/proc/sys/net/core/") + sysctl);
    std::uint64_t limit = 0;
    if (!(file >> limit)) return 0;
    const std::uint64_t doubled = limit * 2;
    constexpr std::uint64_t most = std::numeric_limits<int>::max();
    return static_cast<std::uint32_t>(doubled < most ? doubled : most);
}

}  // namespace quoit::detail
