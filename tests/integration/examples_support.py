# SPDX-License-Identifier: MIT
"""What the tests of the example programs share: a network namespace, and running the programs.

The examples listen on the ports that their texts name, 9999 and, for packets, 4200. So that nobody
else's program is in the way, the tests run in a network namespace of their own where that is
allowed. Everything that waits has a deadline; only processes started here are ended, by their id.
"""
import contextlib
import os
import socket
import subprocess
import sys
import time
import unittest

import program
from program import DEADLINE_S

PORT = 9999
PACKET_PORT = 4200
GROUP = "228.0.0.5"
NETWORK_ADDRESS, BROADCAST_ADDRESS = "192.0.2.1", "192.0.2.255"
TCP_LISTEN = "0A"  # include/net/tcp_states.h
INSIDE = "QUOIT_TEST_INSIDE_NAMESPACE"
# Makes `lo` a network with a broadcast address and multicast.
PREPARATION = (
    "link set lo up",
    "link set lo multicast on",
    f"address add {NETWORK_ADDRESS}/24 broadcast {BROADCAST_ADDRESS} dev lo",
    "route add 224.0.0.0/4 dev lo",
)
LINK_LOCAL = "fe80::1"

directory = None  # of the examples


def main(documentation):
    """To be called by each test file: takes the examples' directory off the command line."""
    global directory
    if len(sys.argv) < 2 or not os.path.isdir(sys.argv[1]):
        print(documentation)
        sys.exit(2)
    enter_namespace()
    directory = os.path.abspath(sys.argv.pop(1))
    unittest.main(module="__main__", verbosity=2)


def enter_namespace():
    """Runs this script again in a fresh network namespace. Where there can be none: returns, or
    ends with 1 if QUOIT_REQUIRE_NETNS is 1."""
    if is_inside():
        for command in PREPARATION:
            subprocess.run(["ip", *command.split()], check=True)
        if socket.has_ipv6 and os.path.exists("/proc/net/if_inet6"):
            subprocess.run(["ip", "address", "add", f"{LINK_LOCAL}/64", "dev", "lo", "nodad"],
                           check=True)
        return
    try:
        subprocess.run([*unshare(), "ip", "link", "set", "lo", "up"], check=True,
                       capture_output=True, text=True)
    except FileNotFoundError as why:
        reason = str(why)
    except subprocess.CalledProcessError as why:
        reason = why.stderr.strip()
    else:
        os.environ[INSIDE] = "1"
        os.execvp("unshare", [*unshare(), sys.executable, *sys.argv])
    if program.is_set("QUOIT_REQUIRE_NETNS"):
        print(f"a network namespace is required here: {reason}", file=sys.stderr)
        sys.exit(1)
    print(f"no network namespace, in the host's then: {reason}")


def is_inside():
    return INSIDE in os.environ


def unshare():
    """The beginning of a command that runs the rest of it in a fresh network namespace."""
    return ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]


def need_namespace(test):
    if not is_inside():
        test.skipTest("needs a network namespace of its own")


def need_ipv6(test):
    if "IPv6" not in program.families():
        test.skipTest("::1 cannot be bound")


def bound_sockets():
    """The UDP sockets and the listening TCP sockets of this network namespace: what /proc/PID/fd
    calls each, and its port."""
    ports = {}
    for family in ("udp", "udp6", "tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):  # no IPv6
            with open(f"/proc/net/{family}", encoding="ascii") as table:
                for line in list(table)[1:]:
                    fields = line.split()
                    if family.startswith("tcp") and fields[3] != TCP_LISTEN:
                        continue
                    ports[f"socket:[{fields[9]}]"] = int(fields[1].split(":")[1], 16)
    return ports


def held_by(pid):
    """What the descriptors of this process stand for."""
    held = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            held.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return held


def sockets_on(pid, port):
    """How many sockets bound to `port` this process has."""
    return len({name for name, where in bound_sockets().items() if where == port} & held_by(pid))


def is_member(group, count=1):
    """Whether `count` sockets of this network namespace are members, by what the kernel lists."""
    wanted = socket.inet_aton(group)[::-1].hex().upper()
    with open("/proc/net/igmp", encoding="ascii") as table:
        members = [line.split() for line in table]
    # GROUP USERS TIMER REPORTER: one such line for each interface.
    return sum(int(fields[1]) for fields in members if fields[0] == wanted) >= count


def wait_until(condition, what):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {DEADLINE_S} s: {what}")


class Background:
    """A process in the background; ended by its id if it does not end by itself."""

    def __init__(self, command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, **options):
        self.name = os.path.basename(command[0])
        self.process = subprocess.Popen(command, stdin=stdin, stdout=stdout,
                                        stderr=subprocess.PIPE, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            held = held_by(self.process.pid)
            self.process.kill()
            self.process.wait()
            # The kernel takes an io_uring apart, and lets go of its sockets, some time after the
            # end of its process (io_ring_exit_work() in io_uring/io_uring.c).
            wait_until(lambda: not held & bound_sockets().keys(), f"the port of {self.name} free")
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                stream.close()

    def wait_until(self, condition, what):
        """The condition may become true only while the process runs."""
        def has_come():
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name} has ended, not {what}: "
                                     f"{self.process.communicate()}")
            return condition()
        try:
            wait_until(has_come, f"{self.name} {what}")
        except BaseException:
            self.__exit__()
            raise

    def type(self, line):
        """A line of its input. REQUIRES: stdin=subprocess.PIPE."""
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def line(self):
        """The next line of its output."""
        return program.read_line(self.process)

    def error_line(self):
        return program.read_line(self.process, self.process.stderr)

    def end_after(self, sent):
        """Sends a signal, and waits for the end."""
        self.process.send_signal(sent)
        return self.end()

    def end(self):
        """Waits for its end; returns the rest of what it said and complained."""
        output, errors = self.process.communicate(timeout=DEADLINE_S)
        return tuple((said or b"").decode(errors="backslashreplace")
                     for said in (output, errors))


class Server(Background):
    """An example that listens: it has `sockets` sockets bound to the port when this returns."""

    def __init__(self, name, *arguments, port=PORT, sockets=1, **options):
        super().__init__([path_of(name), *arguments], **options)
        self.wait_until(lambda: sockets_on(self.process.pid, port) >= sockets,
                        f"listening on {port}")


def sockets_of_every_host():
    """How many sockets a server has that listens on every interface: one for each family."""
    return len(program.families())


def run(name, *arguments, **options):
    """Runs an example to its end."""
    return subprocess.run([path_of(name), *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, encoding="utf-8", timeout=DEADLINE_S,
                          check=False, **options)


def start(name, *arguments, before=(), **options):
    """An example in the background, whether it listens or not; run by the command `before`."""
    return Background([*before, path_of(name), *arguments], **options)


def path_of(name):
    return os.path.join(directory, name)


def peer(family=socket.AF_INET, address=None):
    """A plain UDP socket that knows nothing of quoit."""
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.settimeout(DEADLINE_S)
    if address is not None:
        made.bind(address)
    return made
