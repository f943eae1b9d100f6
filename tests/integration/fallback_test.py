#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Where io_uring is refused, quoit says why: it runs on epoll, or fails when io_uring was named.

Usage: fallback_test.py PATH-OF-QUOIT [unittest arguments]

Each case starts the program in a process of which one thing was taken away: a system call, by a
seccomp filter as container runtimes install it, lockable memory, or io_uring by the sysctl
kernel.io_uring_disabled, which is the whole machine's while the test has it: nothing else may run.
QUOIT_REQUIRE_NETNS=1 in the environment: that it cannot be changed is a failure.
"""
import errno
import os
import re
import signal
import socket
import subprocess
import sys
import unittest

import confinement
from confinement import (ENABLE_RINGS, IO_URING_ENTER, IO_URING_REGISTER, IO_URING_SETUP, PBUF_RING,
                         SYNC_CANCEL, limit_locked_memory, refuse)

DEADLINE_S = 20
DISABLED, GROUP = "kernel.io_uring_disabled", "kernel.io_uring_group"
quoit = None


def echo(backend, before=None):
    return subprocess.Popen([quoit, "echo", "--bind", "127.0.0.1:0", "--backend", backend,
                             "--duration", f"{DEADLINE_S}s"], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            preexec_fn=before)


def possessions(process):
    """What a process holds: its descriptors by kind, its named mappings, and KiB of memory."""
    directory = f"/proc/{process.pid}/fd"
    descriptors = sorted(re.sub(r"\d+", "", os.readlink(f"{directory}/{name}"))
                         for name in os.listdir(directory))
    with open(f"/proc/{process.pid}/maps", encoding="utf-8") as maps:
        fields = [line.split(None, 5) for line in maps]
    names = sorted({one[5].strip() for one in fields if len(one) > 5})
    with open(f"/proc/{process.pid}/status", encoding="utf-8") as status:
        size = re.search(r"VmSize:\s+(\d+) kB", status.read())
    return descriptors, names, int(size[1])


class Started(unittest.TestCase):
    """Starting the program, and what is asked of it each time."""

    def serves(self, before, backend="auto"):
        """Starts it; returns the backend it runs on, what it said on stderr, what it holds."""
        with echo(backend, before) as process:
            try:
                line = process.stdout.readline()
                match = re.fullmatch(
                    r"listening on (\S+):(\d+) \(backend (\w+), workers 0\)\n", line)
                self.assertIsNotNone(match, (line, process.poll()))
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.settimeout(DEADLINE_S)
                    client.sendto(b"who are you?", (match[1], int(match[2])))
                    self.assertEqual(client.recv(100), b"who are you?")
                held = possessions(process)
                process.send_signal(signal.SIGTERM)
                _, said = process.communicate(timeout=DEADLINE_S)
                self.assertEqual(process.returncode, 0, said)
                return match[3], said, held
            finally:
                if process.poll() is None:
                    process.kill()

    def fails(self, before):
        """Starts it with io_uring named; returns its one line."""
        with echo("io_uring", before) as process:
            output, said = process.communicate(timeout=DEADLINE_S)
        self.assertEqual((process.returncode, output), (1, ""), said)
        self.assertEqual(said.count("\n"), 1, said)
        return said

    def check_nothing_leaked(self, held):
        """Against a program that never tried io_uring."""
        _, _, expected = self.serves(None, "epoll")
        self.assertEqual(held[0], expected[0])
        self.assertEqual(held[1], expected[1])
        self.assertLess(abs(held[2] - expected[2]), 1024, "KiB of memory differ")

    def check(self, before, *words):
        backend, said, held = self.serves(before)
        self.assertEqual(backend, "epoll")
        self.assertEqual(said.count("running on epoll"), 1, said)
        line = self.fails(before)
        for word in words:
            self.assertIn(word, said)
            self.assertIn(word, line)
        self.check_nothing_leaked(held)


class Fallback(Started):
    def test_a_seccomp_filter_that_refuses_is_named_with_what_to_allow(self):
        self.check(refuse(IO_URING_SETUP, errno.EPERM), "a seccomp filter refuses io_uring_setup",
                   "allow io_uring_setup, io_uring_enter and io_uring_register",
                   "Operation not permitted")

    def test_a_kernel_that_has_no_io_uring_is_told_from_a_filter_that_hides_it(self):
        words = (["seccomp filter hides io_uring_setup"]
                 if os.path.exists(confinement.path_of(DISABLED)) else
                 ["without io_uring", "or a seccomp filter hides it"])
        self.check(refuse(IO_URING_SETUP, errno.ENOSYS), *words, "Function not implemented")

    def test_a_kernel_without_buffer_rings_is_named(self):
        self.check(refuse(IO_URING_REGISTER, errno.EINVAL, PBUF_RING), "lacks buffer rings",
                   "Linux 5.19 has them", "Invalid argument")

    def test_a_filter_that_refuses_to_register_is_named(self):
        self.check(refuse(IO_URING_REGISTER, errno.EPERM), "seccomp",
                   "refuses io_uring_register", "Operation not permitted")

    def test_a_ring_that_cannot_be_enabled_is_found_before_it_is_used(self):
        self.check(refuse(IO_URING_REGISTER, errno.EPERM, ENABLE_RINGS), "seccomp",
                   "Operation not permitted")

    def test_a_ring_that_cannot_be_entered_is_found_before_it_is_used(self):
        self.check(refuse(IO_URING_ENTER, errno.EPERM), "seccomp", "refuses io_uring_enter",
                   "Operation not permitted")

    def test_a_kernel_without_synchronous_cancels_is_named(self):
        self.check(refuse(IO_URING_REGISTER, errno.EINVAL, SYNC_CANCEL),
                   "lacks synchronous cancels", "Linux 6.0 has them", "Invalid argument")

    def test_memory_that_runs_out_in_the_middle_is_named(self):
        self.check(refuse(IO_URING_REGISTER, errno.ENOMEM, PBUF_RING), "Cannot allocate memory")

    def test_too_little_lockable_memory_is_named_with_the_limit(self):
        self.check(limit_locked_memory(0), "RLIMIT_MEMLOCK is 0 KiB", "ulimit -l", "LimitMEMLOCK=")

    def test_whatever_the_limit_it_serves_says_when_on_epoll_and_leaks_nothing(self):
        for size in range(0, 160, 16):
            with self.subTest(kilobytes=size):
                backend, said, held = self.serves(limit_locked_memory(size * 1024))
                if backend == "epoll":
                    self.assertIn(f"RLIMIT_MEMLOCK is {size} KiB", said)
                    self.check_nothing_leaked(held)
                else:
                    self.assertEqual(held[0].count("anon_inode:[io_uring]"), 1, held)

    def test_without_an_obstacle_it_runs_on_io_uring_and_says_nothing(self):
        backend, said, held = self.serves(None)
        self.assertEqual((backend, said), ("io_uring", ""))
        self.assertIn("anon_inode:[io_uring]", held[0])
        self.assertIn("anon_inode:[io_uring]", held[1])


class Sysctl(Started):
    """kernel.io_uring_disabled, since Linux 6.6."""

    def setUp(self):
        why = next(filter(None, map(confinement.why_not_sysctl, (DISABLED, GROUP))), None)
        if why is not None:
            if os.environ.get("QUOIT_REQUIRE_NETNS") == "1":
                self.fail(why)
            self.skipTest(why)

    def refused_while(self, value, before, *words):
        """The sysctl is held while programs start, and no longer: others need io_uring too."""
        with confinement.sysctl(DISABLED, value):
            backend, said, _ = self.serves(before)
            line = self.fails(before)
        self.assertEqual(backend, "epoll")
        for word in (DISABLED, *words, "Operation not permitted"):
            self.assertIn(word, said)
            self.assertIn(word, line)
        self.assertEqual(confinement.read_sysctl(DISABLED), "0")
        self.assertEqual(self.serves(before)[:2], ("io_uring", ""))

    def test_2_is_named_and_restored_it_runs_on_io_uring(self):
        self.refused_while("2", None, "kernel.io_uring_disabled is 2",
                           "`sysctl -w kernel.io_uring_disabled=0` allows it")

    def test_1_is_named_to_those_without_the_capability(self):
        self.refused_while("1", confinement.drop_capability(confinement.CAP_SYS_ADMIN),
                           "kernel.io_uring_disabled is 1", "CAP_SYS_ADMIN",
                           f"`sysctl -w kernel.io_uring_group={os.getegid()}`")

    def test_1_means_neither_the_capability_nor_the_group(self):
        unprivileged = confinement.drop_capability(confinement.CAP_SYS_ADMIN)
        with confinement.sysctl(DISABLED, "1"):
            if os.geteuid() == 0:
                self.assertEqual(self.serves(None)[:2], ("io_uring", ""))
            with confinement.sysctl(GROUP, str(os.getegid())):
                self.assertEqual(self.serves(unprivileged)[:2], ("io_uring", ""))

    def test_a_test_that_is_killed_leaves_the_sysctl_as_it_was(self):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            with confinement.sysctl(GROUP, "12345"):
                os.write(writer, b"!")
                signal.pause()
            os._exit(0)
        self.assertEqual(os.read(reader, 1), b"!")
        self.assertEqual(confinement.read_sysctl(GROUP), "12345")
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)
        confinement.wait_until(lambda: confinement.read_sysctl(GROUP) != "12345", DEADLINE_S)


def is_built_without_io_uring():
    with echo("io_uring") as process:
        try:
            line = process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=DEADLINE_S)
        finally:
            if process.poll() is None:
                process.kill()
    if line.startswith("listening"):
        return None
    return said.strip()


if __name__ == "__main__":
    if len(sys.argv) < 2 or not os.access(sys.argv[1], os.X_OK):
        print(__doc__)
        sys.exit(2)
    quoit = os.path.abspath(sys.argv.pop(1))
    obstacle = is_built_without_io_uring()
    if obstacle is not None:
        must = os.environ.get("QUOIT_REQUIRE_IO_URING") == "1" and "built without" not in obstacle
        print("there is nothing to fall back from here:", obstacle)
        sys.exit(1 if must else 77)
    if confinement.why_no_filters() is not None:
        print(confinement.why_no_filters())
        sys.exit(77)
    unittest.main(verbosity=2)
