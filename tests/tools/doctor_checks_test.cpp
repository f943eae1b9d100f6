// SPDX-License-Identifier: MIT
//
// Every rule at its edges, on facts that no machine need have.
#include "doctor_checks.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <string>
#include <string_view>

namespace quoit::program {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

feature working(std::string_view id, bool is_required = true) {
    return {.id = id,
            .name = id,
            .since = "6.1",
            .is_required = is_required,
            .state = feature_state::works};
}

capabilities running_on(backend chosen, std::string reason = {}) {
    capabilities made;
    made.backend = chosen;
    made.reason = std::move(reason);
    return made;
}

// A machine on which there is nothing to mend.
machine_facts sound() {
    machine_facts facts;
    facts.kernel_release = "6.18.0";
    facts.chosen = running_on(backend::io_uring);
    facts.buffers = 1288;
    facts.buffers_asked = 1280;
    facts.io_uring.features = {working("io_uring.ring"), working("io_uring.defer_taskrun", false),
                               working("io_uring.buffer_ring")};
    facts.offload.segmentation.state = feature_state::works;
    facts.offload.segments_max = 128;
    facts.offload.coalescing.state = feature_state::works;
    facts.io_uring_disabled = 0;
    facts.io_uring_group = -1;
    facts.rmem_max = rmem_max_wanted;
    facts.wmem_max = wmem_max_wanted;
    facts.netdev_max_backlog = backlog_wanted;
    facts.netdev_budget = budget_wanted;
    facts.udp_mem = udp_memory{.min = 100, .pressure = 200, .max = 300};
    facts.udp_pages = 0;
    facts.memlock = 8U << 20U;
    facts.nofile = nofile_wanted;
    facts.status = {.seccomp_mode = 0, .capabilities = 0};
    facts.cpus_online = 4;
    facts.cpus_allowed = 4;
    facts.quota = cpu_quota{};
    facts.before = {.ipv4 = udp_counters{},
                    .ipv6 = udp_counters{},
                    .softnet = std::vector<softnet_counters>(4)};
    facts.after = facts.before;
    facts.between = std::chrono::seconds(1);
    return facts;
}

// As probe_io_uring() leaves it when io_uring_setup is refused.
machine_facts refused(backend asked, std::string cause, std::string remedy) {
    machine_facts facts = sound();
    facts.asked = asked;
    feature& ring = facts.io_uring.features.front();
    ring.state = feature_state::missing;
    ring.code = {EPERM, std::system_category()};
    ring.cause = cause;
    ring.remedy = remedy;
    for (feature& one : facts.io_uring.features) {
        if (one.id != ring.id) one.state = feature_state::untried;
    }
    facts.io_uring.obstacle = error(ring.code, "io_uring (" + cause + "; " + remedy + ")");
    if (asked == backend::io_uring) {
        facts.chosen.reset();
        facts.refusal = facts.io_uring.obstacle->message();
    } else {
        facts.chosen = running_on(backend::epoll);
        if (asked == backend::automatic) facts.chosen->reason = facts.io_uring.obstacle->message();
    }
    return facts;
}

finding found(const machine_facts& facts, std::string_view id) {
    for (const finding& one : check(facts)) {
        if (one.id == id) return one;
    }
    ADD_FAILURE() << "no finding " << id;
    return {};
}

std::set<std::string> not_ok(const machine_facts& facts) {
    std::set<std::string> ids;
    for (const finding& one : check(facts)) {
        if (one.verdict != verdict::ok) {
            ids.insert(std::string(to_string(one.verdict)) + " " + one.id);
        }
    }
    return ids;
}
using ids = std::set<std::string>;

TEST(doctor_checks, ASoundMachineIsOkThroughout) { EXPECT_EQ(not_ok(sound()), ids{}); }

TEST(doctor_checks, EachFindingHasAnIdOfItsOwnAndWhatIsToBeMendedSaysWhyAndHow) {
    machine_facts facts = refused(backend::automatic, "a seccomp filter refuses it", "allow it");
    facts.rmem_max = facts.wmem_max = facts.netdev_max_backlog = facts.netdev_budget = 1;
    facts.memlock = facts.nofile = 1;
    facts.cpus_allowed = 1;
    facts.quota->cpus = 0.1;
    facts.udp_pages = 300;
    facts.offload.is_loopback_down = true;
    facts.buffers = 1;
    facts.status.seccomp_mode = 2;
    for (auto* const after : {&facts.after.ipv4, &facts.after.ipv6}) {
        *after = udp_counters{.receive_errors = 9,
                              .receive_buffer_errors = 1,
                              .send_buffer_errors = 1,
                              .checksum_errors = 1,
                              .memory_errors = 1};
    }
    facts.after.softnet->front() = {.processed = 1, .dropped = 1, .squeezed = 100};
    std::set<std::string> seen;
    int count = 0;
    for (const finding& one : check(facts)) {
        EXPECT_TRUE(seen.insert(one.id).second) << one.id;
        EXPECT_FALSE(one.current.empty()) << one.id;
        if (one.verdict == verdict::ok || one.verdict == verdict::unknown) continue;
        ++count;
        EXPECT_FALSE(one.wanted.empty()) << one.id;
        EXPECT_FALSE(one.why.empty()) << one.id;
        EXPECT_FALSE(one.remedy.empty()) << one.id;
        EXPECT_TRUE(one.why.ends_with('.')) << one.why;
    }
    EXPECT_EQ(count, 19);
}

TEST(doctor_checks, WhatCannotBeReadIsUnknownAndNeverOk) {
    machine_facts nothing;
    nothing.io_uring = sound().io_uring;
    nothing.chosen = sound().chosen;
    for (const finding& one : check(nothing)) {
        const bool is_known = one.id == "quoit" || one.id == "backend" || one.id == "buffers" ||
                              one.id.starts_with("io_uring.");
        EXPECT_EQ(one.verdict, is_known ? verdict::ok : verdict::unknown) << one.id;
    }
    EXPECT_FALSE(has_failed(check(nothing)));
}

TEST(doctor_checks, LackOfIoUringIsAWarningUnlessItWasAskedFor) {
    const auto with = [](backend asked) {
        return refused(asked, "a security module refuses it", "allow it in its policy");
    };
    EXPECT_EQ(not_ok(with(backend::automatic)),
              (ids{"WARN backend", "WARN io_uring.ring", "unknown io_uring.defer_taskrun",
                   "unknown io_uring.buffer_ring"}));
    EXPECT_EQ(not_ok(with(backend::io_uring)),
              (ids{"FAIL backend", "FAIL io_uring.ring", "unknown buffers",
                   "unknown io_uring.defer_taskrun", "unknown io_uring.buffer_ring"}));
    EXPECT_EQ(not_ok(with(backend::epoll)),
              (ids{"unknown io_uring.defer_taskrun", "unknown io_uring.buffer_ring"}));
    EXPECT_TRUE(has_failed(check(with(backend::io_uring))));
    EXPECT_FALSE(has_failed(check(with(backend::automatic))));
}

TEST(doctor_checks, TheBackendsFindingHasTheCauseAndTheRemedyOfTheSelfTest) {
    for (const backend asked : {backend::automatic, backend::io_uring}) {
        const finding one = found(refused(asked, "the cause", "the remedy"), "backend");
        EXPECT_THAT(one.why, HasSubstr("the cause"));
        EXPECT_EQ(one.remedy, "the remedy");
        EXPECT_EQ(one.current, asked == backend::io_uring ? "none" : "epoll");
    }
}

TEST(doctor_checks, ABackendThatFellBackWithoutAnObstacleSaysItsReason) {
    machine_facts facts = sound();
    facts.chosen = running_on(backend::epoll, "RLIMIT_MEMLOCK is 64 KiB");
    const finding one = found(facts, "backend");
    EXPECT_EQ(one.verdict, verdict::warn);
    EXPECT_THAT(one.why, HasSubstr("RLIMIT_MEMLOCK is 64 KiB"));
    EXPECT_THAT(one.remedy, HasSubstr("ulimit -l"));
}

TEST(doctor_checks, NoBackendAtAllIsAFailure) {
    machine_facts facts = sound();
    facts.chosen.reset();
    facts.refusal = "create an eventfd: Too many open files";
    EXPECT_EQ(not_ok(facts), (ids{"FAIL backend", "unknown buffers"}));
    EXPECT_THAT(found(facts, "backend").why, HasSubstr("Too many open files"));
}

TEST(doctor_checks, ABuildWithoutIoUringIsNotTheKernelsFault) {
    machine_facts facts = sound();
    facts.io_uring = {.features = {}, .obstacle = error(errc::not_supported, "built without")};
    facts.chosen = running_on(backend::epoll, "built without");
    EXPECT_EQ(not_ok(facts), (ids{"WARN quoit", "WARN backend"}));
    EXPECT_THAT(found(facts, "backend").remedy, HasSubstr("QUOIT_WITH_IO_URING"));
    facts.io_uring_disabled = 2;
    facts.memlock = 0;
    EXPECT_EQ(not_ok(facts), (ids{"WARN quoit", "WARN backend"}));
    for (const finding& one : check(facts)) {
        EXPECT_EQ(one.setting, std::nullopt) << one.id;
        EXPECT_THAT(one.remedy, Not(HasSubstr("ulimit"))) << one.id;
    }
    facts.asked = backend::epoll;
    EXPECT_EQ(not_ok(facts), ids{});
}

TEST(doctor_checks, AFeatureThatIsNotRequiredIsAWarningOnly) {
    machine_facts facts = sound();
    facts.asked = backend::io_uring;
    facts.io_uring.features[1].state = feature_state::missing;
    facts.io_uring.features[1].cause = "not known";
    EXPECT_EQ(not_ok(facts), ids{"WARN io_uring.defer_taskrun"});
}

TEST(doctor_checks, FewerBuffersThanAskedForIsAWarning) {
    machine_facts facts = sound();
    facts.buffers = facts.buffers_asked;
    EXPECT_EQ(not_ok(facts), ids{});
    --facts.buffers;
    EXPECT_EQ(not_ok(facts), ids{"WARN buffers"});
}

TEST(doctor_checks, TheSysctlIsToBlameOnlyIfThereIsNoRing) {
    for (const int value : {1, 2}) {
        machine_facts facts =
            refused(backend::automatic, "kernel.io_uring_disabled is so", "`sysctl -w ...`");
        facts.io_uring_disabled = value;
        const finding one = found(facts, "kernel.io_uring_disabled");
        EXPECT_EQ(one.verdict, verdict::warn);
        EXPECT_THAT(one.caution, HasSubstr("every user"));
        EXPECT_EQ(one.caution.find("io_uring_group") != std::string::npos, value == 1);
        EXPECT_EQ(one.setting, (sysctl_setting{"kernel.io_uring_disabled", "0"}));
        EXPECT_EQ(one.remedy.find("io_uring_group") != std::string::npos, value == 1);
    }
    machine_facts exempt = sound();
    exempt.io_uring_disabled = 1;
    EXPECT_EQ(not_ok(exempt), ids{});
    EXPECT_THAT(found(exempt, "kernel.io_uring_disabled").why, HasSubstr("exempt"));
}

TEST(doctor_checks, ASysctlOf1IsNotToBlameIfTheSelfTestNamesAnotherCause) {
    machine_facts facts = refused(backend::automatic, "a seccomp filter refuses it", "allow it");
    facts.status.seccomp_mode = 2;
    facts.io_uring_disabled = 1;
    const finding one = found(facts, "kernel.io_uring_disabled");
    EXPECT_EQ(one.verdict, verdict::ok);
    EXPECT_EQ(one.setting, std::nullopt);
    EXPECT_EQ(found(facts, "seccomp").verdict, verdict::warn);
    facts.io_uring_disabled = 2;  // it would be next
    EXPECT_EQ(found(facts, "kernel.io_uring_disabled").verdict, verdict::warn);
}

TEST(doctor_checks, WhatNobodyAskedForIsNotOpened) {
    for (const int value : {1, 2}) {
        machine_facts facts =
            refused(backend::epoll, "kernel.io_uring_disabled is so", "`sysctl -w ...`");
        facts.io_uring_disabled = value;
        const finding one = found(facts, "kernel.io_uring_disabled");
        EXPECT_EQ(one.verdict, verdict::ok);
        EXPECT_EQ(one.setting, std::nullopt);
        EXPECT_EQ(one.wanted + one.remedy + one.caution, "");
    }
}

TEST(doctor_checks, AFilterIsToBlameOnlyIfTheSelfTestSaysSo) {
    machine_facts facts = sound();
    facts.status.seccomp_mode = 2;
    EXPECT_EQ(found(facts, "seccomp").current, "in force, allows io_uring");
    EXPECT_EQ(not_ok(facts), ids{});
    facts = refused(backend::automatic, "a seccomp filter refuses io_uring_setup", "allow it");
    facts.status.seccomp_mode = 2;
    EXPECT_EQ(found(facts, "seccomp").verdict, verdict::warn);
    EXPECT_THAT(found(facts, "seccomp").remedy, HasSubstr("--security-opt seccomp="));
    facts = refused(backend::automatic, "kernel.io_uring_disabled is 2", "sysctl");
    facts.status.seccomp_mode = 2;
    EXPECT_EQ(found(facts, "seccomp").verdict, verdict::ok);
    facts.io_uring.features.front().state = feature_state::untried;
    facts.io_uring.features.front().cause = "the self-test has no UNIX socket pair to try it with";
    EXPECT_EQ(found(facts, "seccomp").verdict, verdict::unknown);
}

TEST(doctor_checks, OffloadThatIsMissingIsAWarningAndThatCouldNotBeTriedUnknown) {
    machine_facts facts = sound();
    EXPECT_THAT(found(facts, "offload.segmentation").current, HasSubstr("128 datagrams"));
    facts.offload.segmentation.state = feature_state::missing;
    facts.offload.segmentation.cause = "this kernel does not know it";
    EXPECT_EQ(not_ok(facts), ids{"WARN offload.segmentation"});
    facts.offload.segmentation.state = feature_state::untried;
    facts.offload.coalescing.state = feature_state::untried;
    EXPECT_EQ(not_ok(facts), (ids{"unknown offload.segmentation", "unknown offload.coalescing",
                                  "unknown loopback"}));
    facts.offload.is_loopback_down = true;
    EXPECT_EQ(not_ok(facts),
              (ids{"unknown offload.segmentation", "unknown offload.coalescing", "WARN loopback"}));
    EXPECT_EQ(found(facts, "loopback").remedy, "ip link set lo up");
}

struct number_rule {
    std::string id;
    std::optional<std::int64_t> machine_facts::* fact;
    std::int64_t wanted;
};

TEST(doctor_checks, ASysctlIsEnoughAtItsWantedValueAndTooLittleOneBelow) {
    for (const auto& rule :
         {number_rule{"net.core.rmem_max", &machine_facts::rmem_max, rmem_max_wanted},
          number_rule{"net.core.wmem_max", &machine_facts::wmem_max, wmem_max_wanted},
          number_rule{"net.core.netdev_max_backlog", &machine_facts::netdev_max_backlog,
                      backlog_wanted},
          number_rule{"net.core.netdev_budget", &machine_facts::netdev_budget, budget_wanted}}) {
        machine_facts facts = sound();
        facts.*rule.fact = rule.wanted - 1;
        EXPECT_EQ(not_ok(facts), ids{"WARN " + rule.id});
        const finding one = found(facts, rule.id);
        EXPECT_EQ(one.setting, (sysctl_setting{rule.id, std::to_string(rule.wanted)}));
        EXPECT_EQ(one.remedy, "sysctl -w " + rule.id + "=" + std::to_string(rule.wanted));
        facts.*rule.fact = std::nullopt;
        EXPECT_EQ(not_ok(facts), ids{"unknown " + rule.id});
    }
}

TEST(doctor_checks, TheMemoryOfUdpWarnsAtItsFirstNumberAndFailsAtItsLast) {
    const auto with = [](std::uint64_t pages) {
        machine_facts facts = sound();
        facts.udp_pages = pages;
        return facts;
    };
    EXPECT_EQ(not_ok(with(99)), ids{});
    EXPECT_EQ(not_ok(with(100)), ids{"WARN net.ipv4.udp_mem"});
    EXPECT_EQ(not_ok(with(299)), ids{"WARN net.ipv4.udp_mem"});
    EXPECT_EQ(not_ok(with(300)), ids{"FAIL net.ipv4.udp_mem"});
    EXPECT_EQ(found(with(300), "net.ipv4.udp_mem").setting,
              (sysctl_setting{"net.ipv4.udp_mem", "200 400 600"}));
    EXPECT_THAT(found(with(299), "net.ipv4.udp_mem").why, HasSubstr("udp_rmem_min"));
    EXPECT_THAT(found(with(300), "net.ipv4.udp_mem").why, HasSubstr("however empty"));
    EXPECT_THAT(found(with(300), "net.ipv4.udp_mem").caution, HasSubstr("up to 2 MiB"));
}

TEST(doctor_checks, LockableMemoryIsEnoughForARingOnEachCpuAndOneMore) {
    machine_facts facts = sound();
    facts.memlock = 5 * memlock_wanted_per_ring;
    EXPECT_EQ(not_ok(facts), ids{});
    --*facts.memlock;
    EXPECT_EQ(not_ok(facts), ids{"WARN memlock"});
    facts.status.capabilities = 1U << 14U;  // CAP_IPC_LOCK
    EXPECT_EQ(not_ok(facts), ids{});
    facts.status.capabilities = 0;
    facts.asked = backend::epoll;
    EXPECT_EQ(not_ok(facts), ids{});
    facts.asked = backend::automatic;
    facts.memlock = unlimited;
    EXPECT_EQ(found(facts, "memlock").current, "unlimited");
}

TEST(doctor_checks, TheRemedyForLockableMemoryIsEnoughHoweverManyCpusThereAre) {
    machine_facts facts = sound();
    facts.memlock = 65'536;
    EXPECT_THAT(found(facts, "memlock").remedy, HasSubstr("ulimit -l 8192 "));
    facts.cpus_allowed = 127;  // 32 MiB
    EXPECT_EQ(found(facts, "memlock").wanted, "at least 32768 KiB");
    EXPECT_THAT(found(facts, "memlock").remedy, HasSubstr("ulimit -l 32768 "));
    EXPECT_THAT(found(facts, "memlock").remedy, HasSubstr("LimitMEMLOCK=32M"));
    // Where buffers are missing, it is more than there is, and still a number at the edges.
    facts.memlock = 64U << 20U;
    facts.buffers = 1;
    EXPECT_THAT(found(facts, "buffers").remedy, HasSubstr("ulimit -l 131072 "));
    facts.memlock = unlimited - 1;
    EXPECT_THAT(found(facts, "buffers").remedy, HasSubstr("ulimit -l 9007199254740992 "));
}

TEST(doctor_checks, DescriptorsAreEnoughAtTheUsualLimit) {
    machine_facts facts = sound();
    facts.nofile = nofile_wanted - 1;
    EXPECT_EQ(not_ok(facts), ids{"WARN nofile"});
    facts.nofile = unlimited;
    EXPECT_EQ(not_ok(facts), ids{});
}

TEST(doctor_checks, OneCpuIsAWarningAndOthersAreOfferedIfThereAreAny) {
    machine_facts facts = sound();
    facts.cpus_allowed = 2;
    EXPECT_EQ(not_ok(facts), ids{});
    EXPECT_THAT(found(facts, "cpus").why, HasSubstr("the loop and 1 worker;"));
    facts.cpus_allowed = 1;
    EXPECT_EQ(not_ok(facts), ids{"WARN cpus"});
    EXPECT_THAT(found(facts, "cpus").remedy, HasSubstr("taskset -a -c -p $(cat /sys/"));
    facts.cpus_online = 1;
    EXPECT_EQ(found(facts, "cpus").verdict, verdict::warn);
    EXPECT_THAT(found(facts, "cpus").remedy, Not(HasSubstr("taskset")));
}

TEST(doctor_checks, AQuotaBelowTheCpusIsAWarning) {
    machine_facts facts = sound();
    facts.quota->cpus = 4;
    EXPECT_EQ(not_ok(facts), ids{});
    facts.quota->cpus = 3.99;
    EXPECT_EQ(not_ok(facts), ids{"WARN cpu_quota"});
}

TEST(doctor_checks, DropsAreJudgedByWhatComesBetweenTheTwoLooks) {
    machine_facts facts = sound();
    facts.before.ipv4 = facts.after.ipv4 =
        udp_counters{.receive_errors = 5, .receive_buffer_errors = 5, .send_buffer_errors = 5};
    EXPECT_EQ(not_ok(facts), ids{});
    EXPECT_THAT(found(facts, "udp.receive_buffer").current, HasSubstr("0 in 1.00 s, 5 in all"));
    facts.after.ipv6->receive_buffer_errors = 3;
    EXPECT_EQ(not_ok(facts), ids{"WARN udp.receive_buffer"});
    EXPECT_THAT(found(facts, "udp.receive_buffer").current, HasSubstr("3 in 1.00 s, 8 in all"));
    ++facts.after.ipv4->send_buffer_errors;
    EXPECT_EQ(not_ok(facts), (ids{"WARN udp.receive_buffer", "WARN udp.send_buffer"}));
}

TEST(doctor_checks, ErrorsAreJudgedOnlyIfTheyAreNobodysIntention) {
    machine_facts facts = sound();
    facts.after.ipv4->receive_errors = 7;  // a socket filter
    facts.after.ipv4->no_ports = 7;
    EXPECT_EQ(not_ok(facts), ids{});
    facts.after.ipv4->checksum_errors = 1;
    EXPECT_EQ(not_ok(facts), ids{"WARN udp.receive_errors"});
    facts.after.ipv4->checksum_errors = 0;
    facts.after.ipv4->memory_errors = 1;
    EXPECT_EQ(not_ok(facts), ids{"WARN udp.receive_errors"});
    EXPECT_THAT(found(facts, "udp.receive_errors").remedy, HasSubstr("udp_mem"));
}

TEST(doctor_checks, CountersOfOneFamilyAloneSayThatTheyAre) {
    machine_facts facts = sound();
    facts.before.ipv6.reset();
    facts.after.ipv6.reset();
    EXPECT_EQ(not_ok(facts), ids{});
    EXPECT_THAT(found(facts, "udp.receive_buffer").current, HasSubstr("IPv6 is not readable here"));
    facts.after.ipv4.reset();
    EXPECT_EQ(found(facts, "udp.receive_buffer").verdict, verdict::unknown);
}

TEST(doctor_checks, BacklogDropsDoubleTheBacklog) {
    machine_facts facts = sound();
    (*facts.after.softnet)[2].dropped = 1;
    EXPECT_EQ(not_ok(facts), ids{"WARN softnet.dropped"});
    EXPECT_EQ(found(facts, "softnet.dropped").setting,
              (sysctl_setting{"net.core.netdev_max_backlog", "2000"}));
    facts.netdev_max_backlog.reset();
    EXPECT_EQ(found(facts, "softnet.dropped").setting, std::nullopt);
    EXPECT_FALSE(found(facts, "softnet.dropped").remedy.empty());
}

TEST(doctor_checks, WhatIsDoubledIsNoLessThanWanted) {
    machine_facts facts = sound();
    facts.after.softnet->front() = {.processed = 1, .dropped = 1, .squeezed = 100};
    facts.netdev_max_backlog = 100;
    facts.netdev_budget = 100;
    EXPECT_EQ(found(facts, "softnet.dropped").setting,
              (sysctl_setting{"net.core.netdev_max_backlog", std::to_string(backlog_wanted)}));
    EXPECT_EQ(found(facts, "softnet.squeezed").setting,
              (sysctl_setting{"net.core.netdev_budget", std::to_string(budget_wanted)}));
}

TEST(doctor_checks, SqueezesAreUsualUntilThereAreMany) {
    machine_facts facts = sound();
    facts.after.softnet->front().squeezed = 10;
    EXPECT_EQ(not_ok(facts), ids{});
    facts.after.softnet->front().squeezed = 11;
    EXPECT_EQ(not_ok(facts), ids{"WARN softnet.squeezed"});
    EXPECT_THAT(found(facts, "softnet.squeezed").why, HasSubstr("netdev_budget_usecs"));
    EXPECT_THAT(found(facts, "softnet.squeezed").remedy, HasSubstr("netdev_budget_usecs"));
    facts.between = std::chrono::seconds(2);
    EXPECT_EQ(not_ok(facts), ids{});
    // A short look does not make a few into many.
    facts.between = std::chrono::milliseconds(1);
    facts.after.softnet->front().squeezed = 10;
    EXPECT_EQ(not_ok(facts), ids{});
}

TEST(doctor_checks, CountersOfACpuWrapAndCpusThatComeOrGoAreNotCompared) {
    machine_facts facts = sound();
    facts.before.softnet->front().dropped = 0xffffffff;
    facts.after.softnet->front().dropped = 1;
    EXPECT_THAT(found(facts, "softnet.dropped").current, HasSubstr("2 in 1.00 s"));
    auto& last = facts.after.softnet->back();
    facts.before.softnet->back().cpu = last.cpu = 3;
    EXPECT_EQ(found(facts, "softnet.dropped").verdict, verdict::warn);
    last.cpu = 4;  // one came, one went
    EXPECT_EQ(found(facts, "softnet.dropped").verdict, verdict::unknown);
    facts.after.softnet->pop_back();
    EXPECT_EQ(found(facts, "softnet.dropped").verdict, verdict::unknown);
}

}  // namespace
}  // namespace quoit::program
