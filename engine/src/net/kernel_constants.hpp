// SPDX-License-Identifier: MIT
//
// Socket options that the C library's headers may be too old to name. What the kernel can do is
// found by trying, never from these.
#pragma once

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103  // since Linux 4.18, <linux/udp.h>
#endif
#ifndef UDP_GRO
#define UDP_GRO 104  // since Linux 5.0, <linux/udp.h>
#endif
#ifndef SO_BUSY_POLL
#define SO_BUSY_POLL 46  // since Linux 3.11, <asm-generic/socket.h>
#endif
#ifndef SO_ATTACH_REUSEPORT_CBPF
#define SO_ATTACH_REUSEPORT_CBPF 51  // since Linux 4.5, <asm-generic/socket.h>
#endif
#ifndef SO_DETACH_REUSEPORT_BPF
#define SO_DETACH_REUSEPORT_BPF 68  // since Linux 5.3, <asm-generic/socket.h>
#endif
#ifndef SO_MEMINFO
#define SO_MEMINFO 55  // since Linux 4.12, <asm-generic/socket.h>
#endif
#ifndef IPV6_MULTICAST_ALL
#define IPV6_MULTICAST_ALL 29  // since Linux 4.20, <linux/in6.h>
#endif
