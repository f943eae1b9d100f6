// SPDX-License-Identifier: MIT
#include "net/multicast.hpp"

#include "net/sockaddr.hpp"
#include "net/socket_option.hpp"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

namespace quoit::detail {

namespace {

int level_of(family of) noexcept { return of == family::ipv6 ? IPPROTO_IPV6 : IPPROTO_IP; }

void copy_to(sockaddr_storage& into, const ip& host) noexcept {
    const socket_address name(address(host, 0));
    std::memcpy(&into, name.get(), name.size());
}

bool has_address(const ifaddrs& one, const ip& wanted) noexcept {
    if (one.ifa_addr == nullptr) return false;
    const sa_family_t domain = one.ifa_addr->sa_family;
    const std::size_t size = domain == AF_INET    ? sizeof(sockaddr_in)
                             : domain == AF_INET6 ? sizeof(sockaddr_in6)
                                                  : 0;
    const auto found = from_sockaddr({reinterpret_cast<const std::byte*>(one.ifa_addr), size});
    // A link-local address may be written without the scope that the kernel shows it with.
    return found && found->host().family() == wanted.family() &&
           found->host().bytes() == wanted.bytes() &&
           (wanted.scope() == 0 || found->host().scope() == wanted.scope());
}

result<std::uint32_t> index_of_owner(const ip& owner) {
    ifaddrs* listed = nullptr;
    if (::getifaddrs(&listed) != 0) {
        return system_failure(-errno, "interface " + owner.to_string());
    }
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> all(listed, &::freeifaddrs);
    for (const ifaddrs* one = all.get(); one != nullptr; one = one->ifa_next) {
        if (has_address(*one, owner)) return ::if_nametoindex(one->ifa_name);
    }
    return system_failure(-ENODEV, "interface " + owner.to_string());
}

std::string doing(membership what) {
    return what == membership::join ? "join group " : "leave group ";
}

// The kernel's errno, and what it means here.
std::unexpected<error> explain(int negative_errno, membership what, const ip& group,
                               const group_options& options) {
    std::string words = doing(what) + group.to_string();
    if (options.source.family() != family::unspecified) {
        words += " from " + options.source.to_string();
    }
    if (!options.interface.is_kernels_choice()) words += " on " + options.interface.to_string();
    switch (negative_errno) {
        case -EADDRINUSE: words += ", of which the socket is a member"; break;
        case -EADDRNOTAVAIL: words += ", of which the socket is no member"; break;
        case -ENODEV:
            if (options.interface.is_kernels_choice()) words += ", to which there is no route";
            break;
        case -ENOBUFS: words += ": net.ipv4.igmp_max_memberships or igmp_max_msf"; break;
        default: break;
    }
    return system_failure(negative_errno, std::move(words));
}

// The mode of the socket's filter on one interface: all sources but some.
bool excludes(int fd, const ip& group, std::uint32_t index) noexcept {
    group_filter found{};
    found.gf_interface = index;
    copy_to(found.gf_group, group);
    socklen_t size = sizeof found;
    const int level = level_of(group.family());
    return system::get_option(fd, level, MCAST_MSFILTER, &found, &size) == 0 &&
           found.gf_fmode == MCAST_EXCLUDE;
}

// On the interface of the route to an IPv4 group; the other request would not look that up, and
// that of IPv6 has none that does.
bool excludes(int fd, const ip& group) noexcept {
    ip_msfilter found{};
    std::memcpy(&found.imsf_multiaddr, group.bytes().data(), sizeof found.imsf_multiaddr);
    socklen_t size = sizeof found;
    return system::get_option(fd, IPPROTO_IP, IP_MSFILTER, &found, &size) == 0 &&
           found.imsf_fmode == MCAST_EXCLUDE;
}

// Whether the socket hears every source of the group. The kernel would make a member of one source
// of it: a filter that excludes nobody becomes one that includes nobody, before the source is
// looked at (Linux net/ipv4/igmp.c, ip_mc_source; net/ipv6/mcast.c, ip6_mc_source).
bool is_member_of_all_sources(int fd, const ip& group, std::uint32_t index) noexcept {
    if (index != 0) return excludes(fd, group, index);
    if (group.family() == family::ipv4) return excludes(fd, group);
    const std::unique_ptr<struct if_nameindex, decltype(&::if_freenameindex)> all(
        ::if_nameindex(), &::if_freenameindex);
    for (const struct if_nameindex* one = all.get(); one != nullptr && one->if_index != 0; ++one) {
        if (excludes(fd, group, one->if_index)) return true;
    }
    return false;
}

}  // namespace

result<std::uint32_t> index_of(const interface& which) {
    if (which.is_name_too_long()) {
        return failure(errc::invalid_option, "interface " + which.to_string() +
                                                 "...: a name has no more than 15 characters");
    }
    if (which.address().family() != family::unspecified) return index_of_owner(which.address());
    if (which.name().empty()) return which.index();
    const unsigned index = ::if_nametoindex(std::string(which.name()).c_str());
    if (index == 0) return system_failure(-ENODEV, "interface " + which.to_string());
    return index;
}

status check_group(membership what, const ip& group) {
    if (group.is_multicast()) return {};
    return failure(errc::invalid_option,
                   doing(what) + group.to_string() + ", which is no multicast group");
}

status change_membership(int fd, membership what, const ip& group, const group_options& options) {
    const bool has_source = options.source.family() != family::unspecified;
    if (has_source && options.source.family() != group.family()) {
        return failure(errc::wrong_family,
                       "group " + group.to_string() + " from " + options.source.to_string());
    }
    const result<std::uint32_t> index = index_of(options.interface);
    if (!index) return index.error();
    // ff02::1%eth0 says it, too.
    const std::uint32_t meant = *index != 0 ? *index : group.scope();
    int error = 0;
    if (has_source && is_member_of_all_sources(fd, group, meant)) {
        error = what == membership::join ? -EADDRINUSE : -EADDRNOTAVAIL;
    } else if (has_source) {
        group_source_req request{};
        request.gsr_interface = meant;
        copy_to(request.gsr_group, group);
        copy_to(request.gsr_source, options.source);
        const int name =
            what == membership::join ? MCAST_JOIN_SOURCE_GROUP : MCAST_LEAVE_SOURCE_GROUP;
        error = system::set_option(fd, level_of(group.family()), name, &request, sizeof request);
    } else {
        group_req request{};
        request.gr_interface = meant;
        copy_to(request.gr_group, group);
        const int name = what == membership::join ? MCAST_JOIN_GROUP : MCAST_LEAVE_GROUP;
        error = system::set_option(fd, level_of(group.family()), name, &request, sizeof request);
    }
    if (error < 0) return explain(error, what, group, options);
    return {};
}

result<multicast_request> look_up(const multicast_options& options) {
    if (options.ttl && (*options.ttl < 0 || *options.ttl > 255)) {
        return failure(errc::invalid_option,
                       "ttl is " + std::to_string(*options.ttl) + ", expected 0 to 255");
    }
    multicast_request made{.options = options};
    if (options.interface) {
        const result<std::uint32_t> index = index_of(*options.interface);
        if (!index) return std::unexpected(index.error());
        made.index = *index;
    }
    return made;
}

int set_multicast(int fd, family of, const multicast_request& wanted) noexcept {
    const multicast_options& options = wanted.options;
    const bool is_v6 = of == family::ipv6;
    option_setter socket(fd);
    if (options.ttl) {
        socket.set(level_of(of), is_v6 ? IPV6_MULTICAST_HOPS : IP_MULTICAST_TTL, *options.ttl);
    }
    if (options.loopback) {
        socket.set(level_of(of), is_v6 ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP,
                   *options.loopback ? 1 : 0);
    }
    if (!options.interface || socket.error() < 0) return socket.error();
    if (is_v6) return set_int(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, static_cast<int>(wanted.index));
    ip_mreqn request{};
    request.imr_ifindex = static_cast<int>(wanted.index);
    // Then it is also what datagrams are sent from.
    if (const ip& owner = options.interface->address(); owner.family() == family::ipv4) {
        std::memcpy(&request.imr_address, owner.bytes().data(), sizeof request.imr_address);
    }
    return system::set_option(fd, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof request);
}

multicast_options get_multicast(int fd, family of) noexcept {
    const bool is_v6 = of == family::ipv6;
    multicast_options found;
    found.ttl = get_int(fd, level_of(of), is_v6 ? IPV6_MULTICAST_HOPS : IP_MULTICAST_TTL);
    found.loopback =
        get_int(fd, level_of(of), is_v6 ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP) != 0;
    if (is_v6) {
        found.interface = interface::index(
            static_cast<std::uint32_t>(get_int(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF)));
        return found;
    }
    std::array<std::uint8_t, 4> owner{};
    socklen_t size = owner.size();
    found.interface = interface();
    if (system::get_option(fd, IPPROTO_IP, IP_MULTICAST_IF, owner.data(), &size) == 0 &&
        owner != std::array<std::uint8_t, 4>{}) {
        found.interface = interface(ip::v4(owner));
    }
    return found;
}

}  // namespace quoit::detail

namespace quoit {

std::string interface::to_string() const {
    if (address_.family() != family::unspecified) return address_.to_string();
    if (!name().empty()) return std::string(name());
    return index_ == 0 ? "any" : std::to_string(index_);
}

}  // namespace quoit
