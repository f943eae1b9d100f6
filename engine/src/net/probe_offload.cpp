// SPDX-License-Identifier: MIT
//
// Trains over loopback, for probe_offload(). A train of n datagrams of one byte is taken or refused
// with EINVAL, so the limit is found by trying (UDP_MAX_SEGMENTS in <linux/udp.h>: 64, 128 since
// Linux 6.9). What arrives whole was not cut apart: loopback hands a train on as it is to a socket
// with UDP_GRO (measured on Linux 6.18).
#include "net/control_message.hpp"
#include "net/kernel_constants.hpp"
#include "net/segmentation.hpp"
#include "net/send.hpp"
#include "net/sockaddr.hpp"
#include "net/socket_option.hpp"
#include "net/system.hpp"

#include <quoit/features.hpp>
#include <quoit/file_descriptor.hpp>

#include <poll.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <span>

namespace quoit::detail {

namespace {

// Far above what any kernel takes; fits the payload of one datagram.
constexpr std::uint32_t segments_tried_max = 4096;
constexpr timespec patience{.tv_sec = 1, .tv_nsec = 0};

struct socket_pair {
    file_descriptor receiver;
    file_descriptor sender;
};

// 0, or a negated errno.
int open_pair(const address& where, socket_pair& into) {
    const int type = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    const int receiver = system::socket(domain_of(where.family()), type, 0);
    if (receiver < 0) return receiver;
    into.receiver = file_descriptor(receiver);
    const int sender = system::socket(domain_of(where.family()), type, 0);
    if (sender < 0) return sender;
    into.sender = file_descriptor(sender);
    const socket_address name(where);
    if (const int error = system::bind(receiver, name.get(), name.size()); error < 0) return error;
    socket_address bound;
    socklen_t size = socket_address::size_max;
    if (const int error = system::local_name(receiver, bound.get(), &size); error < 0) return error;
    return system::connect(sender, bound.get(), size);
}

// In a fresh network namespace loopback has neither its address nor a route to it.
bool means_loopback_is_down(int error) {
    return error == -EADDRNOTAVAIL || error == -ENETUNREACH || error == -ENETDOWN;
}

// 0, or an errno.
int send_train(int fd, std::uint32_t count) {
    static constexpr std::array<std::byte, segments_tried_max> payload{};
    const iovec piece = piece_of(std::span(payload).first(count));
    const outgoing train{
        .pieces = std::span(&piece, 1), .segment = 1, .count = static_cast<std::uint16_t>(count)};
    return send_messages(fd, std::span(&train, 1)).error;
}

void drain(int fd) {
    std::array<std::byte, 1> payload{};
    iovec piece{.iov_base = payload.data(), .iov_len = payload.size()};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    for (std::uint32_t i = 0; i < segments_tried_max; ++i) {
        if (system::receive(fd, &message, MSG_DONTWAIT) < 0) return;
    }
}

// The longest that is taken; 0: not even one of two. `error` is what the last refusal was. What has
// arrived is taken out at once, so that the machine's counters show no drops that are ours.
std::uint32_t longest_train(const socket_pair& pair, int& error) {
    const auto is_taken = [&](std::uint32_t count) {
        const int refused = send_train(pair.sender.get(), count);
        if (refused != 0) error = refused;
        drain(pair.receiver.get());
        return refused == 0;
    };
    if (!is_taken(2)) return 0;
    std::uint32_t taken = 2;
    std::uint32_t refused = segments_tried_max;
    while (taken + 1 < refused) {
        const std::uint32_t middle = (taken + refused) / 2;
        (is_taken(middle) ? taken : refused) = middle;
    }
    return taken;
}

// Whether a train of two comes as one message that says so. Longer ones that were sent before may
// still be on their way.
bool arrives_whole(const socket_pair& pair) {
    constexpr int late_max = 32;
    if (send_train(pair.sender.get(), 2) != 0) return false;
    for (int late = 0; late < late_max; ++late) {
        if (system::poll_one(pair.receiver.get(), POLLIN, &patience) <= 0) return false;
        std::array<std::byte, 8> payload{};
        alignas(cmsghdr) std::array<std::byte, 128> control{};
        iovec piece{.iov_base = payload.data(), .iov_len = payload.size()};
        msghdr message{};
        message.msg_iov = &piece;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        const auto got = system::receive(pair.receiver.get(), &message, MSG_DONTWAIT);
        const auto said = parse_control(std::span(control).first(message.msg_controllen));
        if (got <= 2) return got == 2 && said.gro_segment == 1;
    }
    return false;
}

void set(feature& one, feature_state state, int error, std::string cause, std::string remedy) {
    one.state = state;
    if (error != 0) one.code = {error, std::system_category()};
    one.cause = std::move(cause);
    one.remedy = std::move(remedy);
}

void try_segmentation(const socket_pair& pair, offload_features& made) {
    int error = 0;
    made.segments_max = longest_train(pair, error);
    if (made.segments_max > 0) {
        made.segmentation.state = feature_state::works;
    } else {
        set(made.segmentation, feature_state::missing, error,
            "a train over loopback was refused: datagrams are sent one by one", "");
    }
}

void try_coalescing(const socket_pair& pair, offload_features& made) {
    if (made.segmentation.state != feature_state::works) {
        made.coalescing.cause = "the kernel knows it, but there is no train to try it with";
        return;
    }
    drain(pair.receiver.get());
    if (arrives_whole(pair)) {
        made.coalescing.state = feature_state::works;
    } else {
        set(made.coalescing, feature_state::missing, 0,
            "a train over loopback did not arrive whole: datagrams are received one by one", "");
    }
}

}  // namespace

}  // namespace quoit::detail

namespace quoit {

offload_features probe_offload() {
    using namespace detail;
    offload_features made;
    socket_pair pair;
    int error = open_pair({"127.0.0.1", 0}, pair);
    if (error < 0) {
        const int error_of_v6 = open_pair({"::1", 0}, pair);
        made.is_loopback_down =
            means_loopback_is_down(error) &&
            (means_loopback_is_down(error_of_v6) || error_of_v6 == -EAFNOSUPPORT);
        if (error_of_v6 == 0) error = 0;
    }
    if (error < 0) {
        const bool is_down = made.is_loopback_down;
        const char* const cause =
            is_down ? "loopback is down, so nothing can be sent" : "no socket on loopback";
        const char* const remedy = is_down ? "`ip link set lo up`" : "";
        set(made.segmentation, feature_state::untried, -error, cause, remedy);
        set(made.coalescing, feature_state::untried, -error, cause, remedy);
        return made;
    }
    // The receiver has UDP_GRO on from here: a train takes no more room in its buffer than one
    // datagram.
    const offload_support known = offload_support_of(pair.receiver.get());
    if (known.has_segment) {
        try_segmentation(pair, made);
    } else {
        set(made.segmentation, feature_state::missing, 0, "this kernel does not know it",
            "Linux 4.18 has it");
    }
    if (known.has_gro) {
        try_coalescing(pair, made);
    } else {
        set(made.coalescing, feature_state::missing, 0, "this kernel does not know it",
            "Linux 5.0 has it");
    }
    return made;
}

}  // namespace quoit
