// SPDX-License-Identifier: MIT
#include "support/namespace.hpp"

#include <gtest/gtest.h>

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
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

bool add_interfaces() {
    return run_in_shell(
        "ip link add near type veth peer name far; ip address add 10.9.0.1/24 brd + dev near; "
        "ip link set near up; ip link set far up; "
        "for a in fd09::1 fd09::2 fe80::1 fe80::2; do ip address add $a/64 dev near nodad; done; "
        "for a in fd00::2 fd00::3; do ip address add $a/128 dev lo nodad; done");
}

}  // namespace quoit::test
