#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""All entries into the kernel's sockets, polls, rings and clocks are in two objects.

Those are net/system.cpp and backend/io_uring/system.cpp; both are called system.cpp.o in the
archive and are told apart by what they define. Other definitions linked in their place are a
simulated kernel, so no other member may need one of the symbols below.

Not covered, on purpose: read, write, close and mmap (descriptors that are no sockets have them
too); sched and pthread calls; and the clock in api/, where loops and timers ask
std::chrono::steady_clock directly: the rule about clocks holds for the engine's members only, and
a simulated kernel does not yet have api's time in hand.

Usage: seam_symbols.py LIBQUOIT_A [NM]     prints each violation, exits with 1 if there is any
       seam_symbols.py --self-test         checks the checker
"""
import pathlib
import re
import subprocess
import sys

SOCKETS = set("""
    socket socketpair bind connect listen accept accept4 shutdown getsockname getpeername setsockopt
    getsockopt send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg __recv_chk
    __recvfrom_chk""".split())
WAITING = set("""
    poll ppoll __poll_chk __ppoll_chk select pselect epoll_create epoll_create1 epoll_ctl epoll_wait
    epoll_pwait epoll_pwait2 eventfd eventfd_read eventfd_write timerfd_create timerfd_settime
    signalfd""".split())
CLOCKS = set("""
    clock_gettime gettimeofday time nanosleep clock_nanosleep usleep sleep
    _ZNSt6chrono3_V212steady_clock3nowEv _ZNSt6chrono3_V212system_clock3nowEv""".split())
# Anything can be done with it.
RAW = {"syscall"}
RING = re.compile(r"_{0,2}io_uring_\w+$")

SEAM = "_ZN5quoit6detail6system"
NET = SEAM + "6socketEiii"          # quoit::detail::system::socket(int, int, int)
IO_URING = SEAM + "9ring_openE"     # quoit::detail::system::ring_open(...)


def members_of(listing):
    """`nm` of an archive: [(member, defined symbols, undefined symbols)]."""
    members = []
    for line in listing.splitlines():
        if line.endswith(":") and " " not in line:
            members.append((line[:-1], set(), set()))
            continue
        # "ADDRESS KIND NAME", or "KIND NAME" when it is undefined.
        fields = line.split()
        if len(fields) < 2 or not members:
            continue
        kind, name = fields[-2], fields[-1].split("@", 1)[0]
        members[-1][2 if kind in "Uw" else 1].add(name)
    return members


def kernel_entries(symbols, has_clocks):
    found = {one for one in symbols if one in SOCKETS | WAITING | RAW or RING.match(one)}
    return found | (symbols & CLOCKS if has_clocks else set())


def check(members, api_names):
    """Violations as lines of text. `api_names`: the members that are api's."""
    found = []
    seams = {"net": 0, "io_uring": 0}
    for member, defined, undefined in members:
        entries = kernel_entries(undefined, member not in api_names)
        if NET in defined:
            seams["net"] += 1
            allowed = {one for one in entries if not RING.match(one)} - RAW
        elif any(one.startswith(IO_URING) for one in defined):
            seams["io_uring"] += 1
            allowed = {one for one in entries if RING.match(one)}
        else:
            allowed = set()
        found += [f"{member}: needs {one}" for one in sorted(entries - allowed)]
    if seams["net"] != 1:
        found.append(f"{seams['net']} members are net/system.cpp, expected one")
    if seams["io_uring"] > 1:
        found.append(f"{seams['io_uring']} members are io_uring/system.cpp, expected one or none")
    return found


def api_members():
    """Objects are named after their sources. A name that the engine has too is the engine's."""
    root = pathlib.Path(__file__).resolve().parents[2]
    engine = {path.name for path in (root / "engine/src").rglob("*.cpp")}
    return {path.name + ".o" for path in (root / "api/src").rglob("*.cpp")
            if path.name not in engine}


SOUND = f"""
system.cpp.o:
0000000000000000 T {NET}
                 U socket
                 U epoll_pwait2@GLIBC_2.35
                 U _ZNSt6chrono3_V212steady_clock3nowEv

system.cpp.o:
0000000000000000 T {IO_URING}jP8io_uring
                 U io_uring_submit

port.cpp.o:
                 U {NET}
                 U write

loop.cpp.o:
                 U _ZNSt6chrono3_V212steady_clock3nowEv
"""


def self_test():
    wrong = [f"reported, but sound: {one}" for one in check(members_of(SOUND), {"loop.cpp.o"})]

    def expect(listing, expected):
        found = check(members_of(listing), {"loop.cpp.o"})
        if expected not in found:
            wrong.append(f"not reported: {expected} (but {found})")

    for symbol in ("socket", "sendmmsg", "recvmmsg", "epoll_wait", "eventfd", "ppoll", "syscall",
                   "io_uring_submit", "__io_uring_get_cqe", "clock_gettime",
                   "_ZNSt6chrono3_V212steady_clock3nowEv"):
        line = f"                 U {symbol}@GLIBC_2.2.5\n"
        expect(SOUND + "\nworker.cpp.o:\n" + line, f"worker.cpp.o: needs {symbol}")
    expect(SOUND + "                 U sendto\n", "loop.cpp.o: needs sendto")
    expect(SOUND.replace("U socket", "U io_uring_submit"), "system.cpp.o: needs io_uring_submit")
    expect(SOUND.replace("U io_uring_submit", "U bind"), "system.cpp.o: needs bind")
    expect("", "0 members are net/system.cpp, expected one")
    for line in wrong:
        print(line)
    print(f"{len(wrong)} mistakes")
    return 1 if wrong else 0


def main():
    if len(sys.argv) not in (2, 3):
        print(__doc__)
        return 2
    if sys.argv[1] == "--self-test":
        return self_test()
    nm = sys.argv[2] if len(sys.argv) == 3 else "nm"
    try:
        listing = subprocess.run([nm, sys.argv[1]], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        print(f"there is no {nm}")
        return 77
    members = members_of(listing.stdout)
    found = check(members, api_members())
    for line in found:
        print(line)
    print(f"{len(members)} members, {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
