// SPDX-License-Identifier: MIT
//
// What quoit runs on, and what the kernel does for it.
#include "doctor_checks.hpp"

#include <quoit/version.hpp>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace quoit::program {

namespace {

constexpr std::string_view group = "backend";
constexpr std::string_view group_io_uring = "io_uring";
constexpr std::string_view group_offload = "offload";
constexpr std::string_view build_with_io_uring =
    "install liburing 2.3 or later and build with -DQUOIT_WITH_IO_URING=ON";

// What the lack of io_uring is to somebody who asked for this backend.
verdict lack_of_io_uring(backend asked) {
    switch (asked) {
        case backend::io_uring: return verdict::fail;
        case backend::automatic: return verdict::warn;
        case backend::epoll: return verdict::ok;
    }
    return verdict::warn;
}

const feature* first_obstacle(const machine_facts& facts) {
    const auto found = std::ranges::find_if(facts.io_uring.features, [](const feature& one) {
        return one.is_required && one.state != feature_state::works;
    });
    return found == facts.io_uring.features.end() ? nullptr : &*found;
}

bool names(const feature& obstacle, std::string_view cause) {
    return obstacle.cause.find(cause) != std::string::npos;
}

std::string with_errno(const feature& one) {
    return one.code ? fmt::format("{}: {}", one.cause, one.code.message()) : one.cause;
}

finding check_kernel(const machine_facts& facts) {
    finding made{.group = group, .id = "kernel", .name = "kernel"};
    if (facts.kernel_release.empty()) {
        made.verdict = verdict::unknown;
        made.current = not_readable;
    } else {
        made.current = "Linux " + facts.kernel_release;
    }
    return made;
}

finding check_build(const machine_facts& facts) {
    finding made{.group = group, .id = "quoit", .name = "quoit"};
    const bool has_io_uring = !facts.io_uring.features.empty();
    made.current =
        fmt::format("{}, built {} io_uring", version_string, has_io_uring ? "with" : "without");
    if (has_io_uring || facts.asked == backend::epoll) return made;
    made.verdict = lack_of_io_uring(facts.asked);
    made.wanted = "built with io_uring";
    made.why = "This build runs on epoll, whatever the kernel has.";
    made.remedy = build_with_io_uring;
    return made;
}

// Why io_uring was not had: first what the self-test says, then what the loop does.
void explain_lack(const machine_facts& facts, std::string_view loop_says, finding& one) {
    const feature* const obstacle = first_obstacle(facts);
    if (obstacle != nullptr) {
        one.why = obstacle->cause;
        one.remedy = obstacle->remedy;
        return;
    }
    one.why = loop_says;
    // Where the self-test passed, memory is the only thing that a loop's ring may want.
    one.remedy = facts.io_uring.features.empty() ? std::string(build_with_io_uring)
                                                 : more_lockable_memory(facts);
}

finding check_chosen(const machine_facts& facts) {
    finding made{.group = group, .id = "backend", .name = "backend"};
    if (!facts.chosen) {
        made.verdict = verdict::fail;
        made.current = "none";
        made.wanted = facts.asked == backend::automatic ? "io_uring or epoll"
                                                        : std::string(to_string(facts.asked));
        if (facts.asked == backend::io_uring) {
            explain_lack(facts, facts.refusal, made);
        } else {
            made.why = facts.refusal;
            made.remedy = "see the limits of this process";
        }
        made.why += ".";
        return made;
    }
    made.current = std::string(to_string(facts.chosen->backend));
    if (facts.asked == backend::epoll) {
        made.why = "It was asked for.";
        return made;
    }
    if (facts.chosen->backend == backend::io_uring) return made;
    made.verdict = verdict::warn;
    made.wanted = "io_uring";
    explain_lack(facts, facts.chosen->reason, made);
    made.why += "; everything works on epoll.";
    return made;
}

// Those of streams are on top of what was asked for.
finding check_buffers(const machine_facts& facts) {
    finding made{.group = group, .id = "buffers", .name = "receive buffers"};
    if (!facts.chosen) {
        made.verdict = verdict::unknown;
        made.current = "no loop to ask";
        return made;
    }
    made.current = fmt::format("{} for each worker", facts.buffers);
    if (facts.buffers >= facts.buffers_asked) return made;
    made.verdict = verdict::warn;
    made.wanted = fmt::format("{} and more", facts.buffers_asked);
    made.why = "Memory that may be locked is too short for as many as a loop asks for.";
    made.remedy = more_lockable_memory(facts);
    return made;
}

finding check_feature(const feature& one, std::string_view in, verdict lack) {
    finding made{.group = in,
                 .id = std::string(one.id),
                 .name = fmt::format("{} (Linux {})", one.name, one.since)};
    switch (one.state) {
        case feature_state::works: made.current = "works"; break;
        case feature_state::untried:
            made.verdict = verdict::unknown;
            made.current = one.cause.empty() ? "not tried" : "not tried: " + one.cause;
            made.remedy = one.remedy;
            break;
        case feature_state::missing:
            made.verdict = lack;
            made.current = "does not work";
            made.wanted = "works";
            made.why = with_errno(one) + ".";
            made.remedy = one.remedy;
            break;
    }
    return made;
}

finding check_segmentation(const offload_features& offload) {
    finding made = check_feature(offload.segmentation, group_offload, verdict::warn);
    made.name = "sending trains, UDP_SEGMENT (Linux 4.18)";
    if (made.verdict == verdict::ok) {
        made.current = fmt::format("works, {} datagrams at once", offload.segments_max);
    } else if (made.verdict == verdict::warn) {
        made.why +=
            " Each datagram crosses the kernel by itself, which costs several times as "
            "much CPU time.";
    }
    return made;
}

finding check_coalescing(const offload_features& offload) {
    finding made = check_feature(offload.coalescing, group_offload, verdict::warn);
    made.name = "receiving trains, UDP_GRO (Linux 5.0)";
    return made;
}

finding check_loopback(const offload_features& offload) {
    finding made{.group = group_offload, .id = "loopback", .name = "loopback"};
    made.current = offload.is_loopback_down ? "down" : "up";
    if (offload.is_loopback_down) {
        made.verdict = verdict::warn;
        made.wanted = "up";
        made.why = "Nothing can be sent to 127.0.0.1 or ::1 in this network namespace.";
        made.remedy = "ip link set lo up";
    } else if (offload.segmentation.state == feature_state::untried) {
        made.verdict = verdict::unknown;
        made.current = "not tried";
        if (!offload.segmentation.cause.empty()) made.current += ": " + offload.segmentation.cause;
    }
    return made;
}

finding check_sysctl(const machine_facts& facts) {
    finding made{.group = group_io_uring,
                 .id = "kernel.io_uring_disabled",
                 .name = "kernel.io_uring_disabled"};
    if (!facts.io_uring_disabled) {
        made.verdict = verdict::unknown;
        made.current = fmt::format("{} (since Linux 6.6)", not_readable);
        return made;
    }
    made.current = std::to_string(*facts.io_uring_disabled);
    if (*facts.io_uring_disabled == 0) return made;
    if (facts.io_uring_group) {
        made.current += fmt::format(", kernel.io_uring_group {}", *facts.io_uring_group);
    }
    const feature* const obstacle = first_obstacle(facts);
    if (facts.io_uring.features.empty()) return made;  // it makes no difference
    if (obstacle == nullptr || obstacle->id != "io_uring.ring") {
        made.why = "This process is exempt, by CAP_SYS_ADMIN or by the group.";
        return made;
    }
    // 2 refuses everybody; whether 1 refuses this process the words of the self-test say.
    const bool is_for_some = *facts.io_uring_disabled == 1;
    if (is_for_some && !names(*obstacle, "io_uring_disabled")) {
        made.why = "The self-test names another cause.";
        return made;
    }
    made.why = is_for_some
                   ? "Only CAP_SYS_ADMIN and the members of kernel.io_uring_group may use io_uring."
                   : "Nobody may use io_uring.";
    made.verdict = lack_of_io_uring(facts.asked);
    if (made.verdict == verdict::ok) return made;  // nobody asked for it: it stays shut
    made.wanted = "0";
    made.setting = sysctl_setting{.name = made.id, .value = "0"};
    made.remedy = "sysctl -w kernel.io_uring_disabled=0";
    made.caution = "0 opens io_uring to every user of this machine.";
    if (is_for_some) {
        made.remedy += ", or kernel.io_uring_group=GID for one group";
        made.caution += " For one group alone, write kernel.io_uring_group = GID instead.";
    }
    return made;
}

finding check_seccomp(const machine_facts& facts) {
    constexpr int filter_mode = 2;
    finding made{.group = group_io_uring, .id = "seccomp", .name = "seccomp filter"};
    if (!facts.status.seccomp_mode) {
        set_unknown(made);
        return made;
    }
    if (*facts.status.seccomp_mode != filter_mode) {
        made.current = "none";
        return made;
    }
    const feature* const obstacle = first_obstacle(facts);
    if (obstacle == nullptr || facts.io_uring.features.empty()) {
        made.current = facts.io_uring.features.empty() ? "in force" : "in force, allows io_uring";
        return made;
    }
    // The words of the self-test say whether a filter is the cause, or may be.
    if (!names(*obstacle, "seccomp")) {
        // What the self-test could not try may be the filter's doing: it lacked a socket, say.
        const bool was_tried = obstacle->state == feature_state::missing;
        if (!was_tried) made.verdict = verdict::unknown;
        made.current = was_tried ? "in force, and not why io_uring does not work"
                                 : "in force; whether it allows io_uring was not tried";
        return made;
    }
    made.verdict = lack_of_io_uring(facts.asked);
    made.current = "in force, and refuses io_uring";
    made.wanted = "one that allows io_uring_setup, io_uring_enter, io_uring_register";
    made.why = "The default profiles of container runtimes refuse io_uring.";
    made.remedy =
        "docker run --security-opt seccomp=PROFILE.json, seccompProfile: Localhost in "
        "Kubernetes, @aio in the unit's SystemCallFilter=";
    return made;
}

}  // namespace

void check_backend(const machine_facts& facts, std::vector<finding>& into) {
    into.push_back(check_kernel(facts));
    into.push_back(check_build(facts));
    into.push_back(check_chosen(facts));
    into.push_back(check_buffers(facts));
    const verdict lack = lack_of_io_uring(facts.asked);
    for (const feature& one : facts.io_uring.features) {
        // DEFER_TASKRUN is an improvement, whoever asked for what.
        const verdict missing =
            one.is_required || facts.asked == backend::epoll ? lack : verdict::warn;
        into.push_back(check_feature(one, group_io_uring, missing));
    }
    into.push_back(check_sysctl(facts));
    into.push_back(check_seccomp(facts));
    into.push_back(check_segmentation(facts.offload));
    into.push_back(check_coalescing(facts.offload));
    into.push_back(check_loopback(facts.offload));
}

}  // namespace quoit::program
