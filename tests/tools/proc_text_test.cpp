// SPDX-License-Identifier: MIT
//
// Recorded on Linux 6.18, shortened; and what is broken.
#include "proc_text.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace quoit::program {
namespace {

constexpr std::string_view snmp =
    "Tcp: RtoAlgorithm RtoMin\n"
    "Tcp: 1 200\n"
    "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors "
    "IgnoredMulti MemErrors\n"
    "Udp: 53155944 11787547 10947247 59908449 9507459 7 3 478 5\n"
    "UdpLite: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors "
    "IgnoredMulti MemErrors\n"
    "UdpLite: 1 2 3 4 5 6 7 8 9\n";

constexpr udp_counters recorded{.received = 53'155'944,
                                .no_ports = 11'787'547,
                                .receive_errors = 10'947'247,
                                .receive_buffer_errors = 9'507'459,
                                .send_buffer_errors = 7,
                                .checksum_errors = 3,
                                .memory_errors = 5};

TEST(proc_text, CountersAreFoundByTheirNames) {
    EXPECT_EQ(parse_udp_counters(snmp), recorded);
    EXPECT_EQ(parse_udp_counters("Udp: NoPorts New InDatagrams InErrors SndbufErrors RcvbufErrors\n"
                                 "Udp: 1 9 2 3 4 5\n"),
              (udp_counters{.received = 2,
                            .no_ports = 1,
                            .receive_errors = 3,
                            .receive_buffer_errors = 5,
                            .send_buffer_errors = 4}));
}

TEST(proc_text, CountersOfIpv6HaveALineEach) {
    EXPECT_EQ(parse_udp6_counters("Ip6InReceives    \t12\n"
                                  "Udp6InDatagrams                 \t1\n"
                                  "Udp6NoPorts                     \t2\n"
                                  "Udp6InErrors                    \t3\n"
                                  "Udp6OutDatagrams                \t4\n"
                                  "Udp6RcvbufErrors                \t5\n"
                                  "Udp6SndbufErrors                \t6\n"
                                  "Udp6InCsumErrors                \t7\n"
                                  "Udp6MemErrors                   \t8\n"
                                  "UdpLite6InDatagrams             \t9\n"),
              (udp_counters{.received = 1,
                            .no_ports = 2,
                            .receive_errors = 3,
                            .receive_buffer_errors = 5,
                            .send_buffer_errors = 6,
                            .checksum_errors = 7,
                            .memory_errors = 8}));
}

TEST(proc_text, CountersThatAreNotAllThereAreNone) {
    for (const char* const broken :
         {"", "\n", "Udp: \n", "Udp: InDatagrams\n", "Udp: InDatagrams NoPorts\nUdp: 1 2\n",
          "Udp: InDatagrams NoPorts InErrors RcvbufErrors SndbufErrors\nUdp: 1 2 3 4\n",
          "Udp: InDatagrams NoPorts InErrors RcvbufErrors SndbufErrors\nUdp: 1 2 3 4 x\n",
          "Udp: InDatagrams NoPorts InErrors RcvbufErrors SndbufErrors\nUdp: 1 2 3 4 -5\n",
          "Udp: InDatagrams NoPorts InErrors RcvbufErrors SndbufErrors\nUdp: 1 2 3 4 "
          "99999999999999999999\n",
          "UdpLite: InDatagrams NoPorts InErrors RcvbufErrors SndbufErrors\nUdpLite: 1 2 3 4 "
          "5\n"}) {
        EXPECT_EQ(parse_udp_counters(broken), std::nullopt) << broken;
        EXPECT_EQ(parse_udp6_counters(broken), std::nullopt) << broken;
    }
    EXPECT_EQ(parse_udp6_counters("Udp6InDatagrams 1\nUdp6NoPorts\n"), std::nullopt);
}

TEST(proc_text, WhateverIsCutOffIsNeverANumberThatIsNotThere) {
    for (std::size_t size = 0; size < snmp.size(); ++size) {
        const auto found = parse_udp_counters(snmp.substr(0, size));
        // A last number that is cut short is the one mistake that cannot be seen.
        if (!found) continue;
        EXPECT_EQ(found->received, recorded.received) << size;
        EXPECT_EQ(found->receive_buffer_errors, recorded.receive_buffer_errors) << size;
    }
}

TEST(proc_text, SoftnetHasALineOfHexadecimalsForEachCpu) {
    using lines = std::vector<softnet_counters>;
    EXPECT_EQ(parse_softnet("035ef263 00000010 00000007 00000000 00000000\n"
                            "ffffffff 0000000a 00000001 00000000 00000000\n"),
              (lines{{.processed = 0x35ef263, .dropped = 16, .squeezed = 7},
                     {.processed = 0xffffffff, .dropped = 10, .squeezed = 1}}));
    // The thirteenth says which CPU; one that is offline has no line.
    EXPECT_EQ(parse_softnet("1 2 3 0 0 0 0 0 0 0 0 0 00000000 0 0\n"
                            "4 5 6 0 0 0 0 0 0 0 0 0 0000000a 0 0\n"),
              (lines{{.processed = 1, .dropped = 2, .squeezed = 3, .cpu = 0},
                     {.processed = 4, .dropped = 5, .squeezed = 6, .cpu = 10}}));
    for (const char* const broken : {"", "\n", "1 2\n", "1 2 3\n\n", "1 2 x\n", "1 2 1ffffffff\n",
                                     "1 2 3 0 0 0 0 0 0 0 0 0 x\n"}) {
        EXPECT_EQ(parse_softnet(broken), std::nullopt) << broken;
    }
}

TEST(proc_text, TheMemoryOfUdpIsThreeNumbersAndWhatIsInUseOne) {
    EXPECT_EQ(parse_udp_memory("575802\t767738\t1151604\n"),
              (udp_memory{.min = 575'802, .pressure = 767'738, .max = 1'151'604}));
    for (const char* const broken : {"", "1 2\n", "1 2 3 4\n", "1 2 x\n", "-1 2 3\n"}) {
        EXPECT_EQ(parse_udp_memory(broken), std::nullopt) << broken;
    }
    EXPECT_EQ(parse_udp_pages("sockets: used 13\nTCP: inuse 1 orphan 0 tw 2 alloc 1 mem 209\n"
                              "UDP: inuse 4 mem 2\nUDPLITE: inuse 0\n"),
              2U);
    for (const char* const broken :
         {"", "UDP: inuse 4\n", "UDP: inuse 4 mem\n", "UDP: mem x\n", "TCP: inuse 1 mem 2\n"}) {
        EXPECT_EQ(parse_udp_pages(broken), std::nullopt) << broken;
    }
}

TEST(proc_text, ANumberIsAllThereIs) {
    EXPECT_EQ(parse_number("212992\n"), 212'992);
    EXPECT_EQ(parse_number("-1\n"), -1);
    for (const char* const broken : {"", "\n", "1 2\n", "x\n", "1\n\n", "9999999999999999999\n"}) {
        EXPECT_EQ(parse_number(broken), std::nullopt) << broken;
    }
}

TEST(proc_text, AThreadSaysItsFilterAndItsCapabilities) {
    const auto found = parse_thread_status(
        "Name:\tquoit\nCapInh:\t0000000000000000\n"
        "CapEff:\t000001fffeffffff\nSeccomp:\t2\n"
        "Seccomp_filters:\t1\n");
    EXPECT_EQ(found.seccomp_mode, 2);
    EXPECT_EQ(found.capabilities, 0x1fffeffffffU);
    const auto nothing = parse_thread_status("Seccomp_filters:\t1\nCapEff: xyz\nSeccomp:\n");
    EXPECT_EQ(nothing.seccomp_mode, std::nullopt);
    EXPECT_EQ(nothing.capabilities, std::nullopt);
}

TEST(proc_text, TheUnifiedCgroupIsTheOneWithoutAName) {
    EXPECT_EQ(parse_cgroup_path("3:cpuset:/a\n0::/user.slice/session-1.scope\n"),
              "/user.slice/session-1.scope");
    EXPECT_EQ(parse_cgroup_path("0::/\n"), "/");
    for (const char* const broken : {"", "3:cpuset:/a\n", "0::\n", "0::nowhere\n"}) {
        EXPECT_EQ(parse_cgroup_path(broken), std::nullopt) << broken;
    }
}

TEST(proc_text, AQuotaIsAShareOfItsPeriod) {
    EXPECT_EQ(parse_cpu_max("50000 100000\n"), cpu_quota{.cpus = 0.5});
    EXPECT_EQ(parse_cpu_max("max 100000\n"), cpu_quota{});
    for (const char* const broken :
         {"", "max\n", "max 0\n", "1 0\n", "x 100000\n", "-1 100000\n"}) {
        EXPECT_EQ(parse_cpu_max(broken), std::nullopt) << broken;
    }
}

}  // namespace
}  // namespace quoit::program
