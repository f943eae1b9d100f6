// SPDX-License-Identifier: MIT
#include "net/ancillary.hpp"

#include "net/system.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace quoit::detail {

namespace {

using bytes = std::span<const std::byte>;

// visit(level, type, payload) of each whole control message.
template <class Visit>
void for_each_message(bytes control, Visit visit) {
    cmsghdr header{};
    while (control.size() >= sizeof header) {
        std::memcpy(&header, control.data(), sizeof header);
        if (header.cmsg_len < CMSG_LEN(0) || header.cmsg_len > control.size()) return;
        visit(header.cmsg_level, header.cmsg_type,
              control.subspan(CMSG_LEN(0), header.cmsg_len - CMSG_LEN(0)));
        control = control.subspan(std::min(CMSG_ALIGN(header.cmsg_len), control.size()));
    }
}

template <class Visit>
void for_each_descriptor(bytes control, Visit visit) {
    for_each_message(control, [&](int level, int type, bytes payload) {
        if (level != SOL_SOCKET || type != SCM_RIGHTS) return;
        for (; payload.size() >= sizeof(int); payload = payload.subspan(sizeof(int))) {
            int fd = -1;
            std::memcpy(&fd, payload.data(), sizeof fd);
            visit(fd);
        }
    });
}

void append_message(std::vector<std::byte>& control, int type, bytes payload) {
    cmsghdr header{};
    header.cmsg_len = CMSG_LEN(payload.size());
    header.cmsg_level = SOL_SOCKET;
    header.cmsg_type = type;
    const std::size_t begin = control.size();
    control.resize(begin + CMSG_SPACE(payload.size()));
    std::memcpy(control.data() + begin, &header, sizeof header);
    std::memcpy(control.data() + begin + CMSG_LEN(0), payload.data(), payload.size());
}

}  // namespace

std::uint32_t ancillary_size_for(const unix_options& options) noexcept {
    // The kernel writes credentials first. The descriptors come last and are not padded: the
    // padding would be room for one more.
    std::size_t size = 0;
    if (options.receive_credentials) size += CMSG_SPACE(sizeof(ucred));
    if (options.descriptors_max > 0) size += CMSG_LEN(options.descriptors_max * sizeof(int));
    return static_cast<std::uint32_t>(size);
}

void close_descriptors(bytes control) noexcept {
    for_each_descriptor(control, [](int fd) { file_descriptor(fd).reset(); });
}

std::vector<file_descriptor> take_descriptors(bytes control) {
    std::size_t count = 0;
    for_each_descriptor(control, [&](int) { ++count; });
    std::vector<file_descriptor> taken;
    taken.reserve(count);  // what can fail, before any is owned
    for_each_descriptor(control, [&](int fd) { taken.emplace_back(fd); });
    return taken;
}

std::optional<credentials> find_credentials(bytes control) noexcept {
    std::optional<credentials> found;
    for_each_message(control, [&](int level, int type, bytes payload) {
        ucred who{};
        if (level != SOL_SOCKET || type != SCM_CREDENTIALS || payload.size() < sizeof who) return;
        std::memcpy(&who, payload.data(), sizeof who);
        found = credentials{.pid = who.pid, .uid = who.uid, .gid = who.gid};
    });
    return found;
}

result<std::unique_ptr<outgoing_ancillary>> outgoing_ancillary::create(const ancillary& with) {
    std::unique_ptr<outgoing_ancillary> made;
    if (with.descriptors.empty() && !with.credentials) return made;
    if (with.descriptors.size() > descriptors_limit) {
        return failure(errc::invalid_option, std::to_string(with.descriptors.size()) +
                                                 " descriptors, expected at most 253");
    }
    made.reset(new outgoing_ancillary());
    std::vector<int> numbers;
    // What can fail, before any is owned.
    made->descriptors_.reserve(with.descriptors.size());
    numbers.reserve(with.descriptors.size());
    for (const int fd : with.descriptors) {
        const int duplicate = system::duplicate(fd);
        if (duplicate < 0) {
            return failure(std::error_code(-duplicate, std::system_category()),
                           "pass descriptor " + std::to_string(fd));
        }
        made->descriptors_.emplace_back(duplicate);
        numbers.push_back(duplicate);
    }
    if (!numbers.empty()) {
        append_message(made->control_, SCM_RIGHTS, std::as_bytes(std::span(numbers)));
    }
    if (with.credentials) {
        const ucred self = system::own_credentials();
        append_message(made->control_, SCM_CREDENTIALS, std::as_bytes(std::span(&self, 1)));
    }
    return made;
}

}  // namespace quoit::detail
