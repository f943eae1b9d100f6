// SPDX-License-Identifier: MIT
#include "support/namespace.hpp"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <system_error>
#include <thread>

namespace quoit::test {

namespace {

std::string because(const char* what, int error) {
    return std::string(what) + ": " + std::error_code(error, std::system_category()).message();
}

// In a new namespace lo is down, and sending to 127.0.0.1 is ENETUNREACH.
std::optional<std::string> bring_loopback_up() {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return because("socket", errno);
    ifreq loopback{};
    std::memcpy(loopback.ifr_name, "lo", sizeof "lo");
    loopback.ifr_flags = IFF_UP;
    const int outcome = ::ioctl(fd, SIOCSIFFLAGS, &loopback);
    const int error = errno;
    ::close(fd);
    if (outcome < 0) return because("bring lo up", error);
    return std::nullopt;
}

std::optional<std::string> shape_loopback(const std::string& how) {
    if (how.empty()) return std::nullopt;
    // The child of system(3) is started by this thread and so in this thread's namespace.
    const std::string command =
        "PATH=$PATH:/usr/sbin:/sbin tc qdisc add dev lo root " + how + " >/dev/null 2>&1";
    const int outcome = std::system(command.c_str());
    if (outcome != 0) return "no traffic control: tc qdisc add dev lo root " + how;
    return std::nullopt;
}

std::optional<std::string> enter(const namespace_options& wanted) {
    if (::unshare(CLONE_NEWNET) < 0) return because("no network namespace", errno);
    if (auto why_not = bring_loopback_up()) return why_not;
    return shape_loopback(wanted.loopback_shape);
}

// Routes to an IPv6 address of one's own are made behind its back, by a work queue (Linux
// net/ipv6/addrconf.c, addrconf_dad_work); what is sent before is lost without an error. So it is
// asked until it answers.
bool carries(const char* host, std::uint32_t scope) {
    const int fd = ::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in6 name{};
    socklen_t size = sizeof name;
    name.sin6_family = AF_INET6;
    name.sin6_scope_id = scope;
    bool has_come = false;
    if (::inet_pton(AF_INET6, host, &name.sin6_addr) == 1 &&
        ::bind(fd, reinterpret_cast<sockaddr*>(&name), size) == 0 &&
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) == 0) {
        constexpr int tries_max = 500;
        constexpr int wait_ms = 10;
        for (int i = 0; i < tries_max && !has_come; ++i) {
            (void)::sendto(fd, "?", 1, 0, reinterpret_cast<sockaddr*>(&name), size);
            pollfd one{.fd = fd, .events = POLLIN, .revents = 0};
            has_come = ::poll(&one, 1, wait_ms) > 0;
        }
    }
    ::close(fd);
    return has_come;
}

}  // namespace

std::optional<std::string> run_in_network_namespace(const namespace_options& wanted,
                                                    const std::function<void()>& body) {
    std::optional<std::string> why_not;
    std::thread([&] {
        why_not = enter(wanted);
        if (!why_not) body();
    }).join();
    const char* const is_required = std::getenv("QUOIT_REQUIRE_NETNS");
    if (why_not && is_required != nullptr && std::string_view(is_required) == "1") {
        ADD_FAILURE() << "QUOIT_REQUIRE_NETNS=1, but " << *why_not;
    }
    return why_not;
}

bool run_in_shell(const std::string& command) {
    const std::string quiet =
        "{ PATH=$PATH:/usr/sbin:/sbin; set -e; " + command + "; } >/dev/null 2>&1";
    return std::system(quiet.c_str()) == 0;
}

bool add_loopback_addresses() {
    return run_in_shell("for a in fd00::2 fd00::3; do ip address add $a/128 dev lo nodad; done") &&
           carries("fd00::2", 0) && carries("fd00::3", 0);
}

bool add_interfaces() {
    // No link-local addresses of the kernel's making, whose duplicates it would look for.
    const bool is_made = run_in_shell(
        "ip link add near type veth peer name far; ip address add 10.9.0.1/24 brd + dev near; "
        "for d in near far; do ip link set $d addrgenmode none; ip link set $d up; done; "
        "for a in fd09::1 fd09::2 fe80::1 fe80::2; do ip address add $a/64 dev near nodad; done");
    const std::uint32_t near = ::if_nametoindex("near");
    return is_made && carries("fd09::1", 0) && carries("fd09::2", 0) && carries("fe80::1", near) &&
           carries("fe80::2", near);
}

}  // namespace quoit::test
