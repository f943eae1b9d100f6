#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Where io_uring is refused, quoit says why: it runs on epoll, or fails when io_uring was named.

Usage: fallback_test.py PATH-OF-QUOIT [unittest arguments]

Each case starts the program in a process of which one thing was taken away: the system call
io_uring_setup, by a seccomp filter as container runtimes install it, or lockable memory.
"""
import ctypes
import errno
import os
import platform
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import unittest

DEADLINE_S = 20
quoit = None

# <linux/prctl.h>, <linux/seccomp.h>, <linux/filter.h>, <linux/capability.h>; the same everywhere.
PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 22, 24, 38
SECCOMP_MODE_FILTER = 2
LOAD_SYSTEM_CALL_NUMBER = struct.pack("HBBI", 0x20, 0, 0, 0)
ALLOW = struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000)
CAP_IPC_LOCK = 14
IO_URING_SETUP, IO_URING_REGISTER = 425, 427  # the same number on all architectures

libc = ctypes.CDLL(None, use_errno=True)


class Program(ctypes.Structure):
    _fields_ = [("size", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def refuse(system_call, error):
    """A function for a child before it runs the program: that call answers `error`."""
    code = (LOAD_SYSTEM_CALL_NUMBER + struct.pack("HBBI", 0x15, 0, 1, system_call) +
            struct.pack("HBBI", 0x06, 0, 0, 0x00050000 | error) + ALLOW)

    def install():
        program = Program(len(code) // 8, code)
        if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "no_new_privs")
        if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "seccomp")
    return install


def limit_locked_memory(size):
    def install():
        if os.geteuid() == 0 and libc.prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "capability")
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (size, size))
    return install


def echo(backend, before=None):
    return subprocess.Popen([quoit, "echo", "--bind", "127.0.0.1:0", "--backend", backend,
                             "--duration", f"{DEADLINE_S}s"], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            preexec_fn=before)


class Fallback(unittest.TestCase):
    def serves(self, before):
        """Starts it on whatever it chooses; returns the backend and what it said on stderr."""
        with echo("auto", before) as process:
            try:
                line = process.stdout.readline()
                match = re.fullmatch(
                    r"listening on (\S+):(\d+) \(backend (\w+), workers 0\)\n", line)
                self.assertIsNotNone(match, (line, process.poll()))
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.settimeout(DEADLINE_S)
                    client.sendto(b"who are you?", (match[1], int(match[2])))
                    self.assertEqual(client.recv(100), b"who are you?")
                process.send_signal(signal.SIGTERM)
                _, said = process.communicate(timeout=DEADLINE_S)
                self.assertEqual(process.returncode, 0, said)
                return match[3], said
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

    def check(self, before, *words):
        backend, said = self.serves(before)
        self.assertEqual(backend, "epoll")
        self.assertEqual(said.count("running on epoll"), 1, said)
        line = self.fails(before)
        for word in words:
            self.assertIn(word, said)
            self.assertIn(word, line)

    def test_a_seccomp_filter_that_refuses_is_named_with_what_to_allow(self):
        self.check(refuse(IO_URING_SETUP, errno.EPERM), "seccomp", "io_uring_setup",
                   "Operation not permitted")

    def test_a_kernel_without_io_uring_is_named(self):
        self.check(refuse(IO_URING_SETUP, errno.ENOSYS), "without io_uring",
                   "Function not implemented")

    def test_a_kernel_without_buffer_rings_is_named(self):
        self.check(refuse(IO_URING_REGISTER, errno.EINVAL), "buffer rings", "Invalid argument")

    def test_too_little_lockable_memory_is_named_with_the_limit(self):
        self.check(limit_locked_memory(0), "RLIMIT_MEMLOCK is 0 KiB", "ulimit -l")

    def test_whatever_the_limit_it_serves_and_says_when_on_epoll(self):
        for size in range(0, 160, 16):
            with self.subTest(kilobytes=size):
                backend, said = self.serves(limit_locked_memory(size * 1024))
                if backend == "epoll":
                    self.assertIn(f"RLIMIT_MEMLOCK is {size} KiB", said)

    def test_without_an_obstacle_it_runs_on_io_uring_and_says_nothing(self):
        backend, said = self.serves(None)
        self.assertEqual((backend, said), ("io_uring", ""))


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
    if platform.machine() not in ("x86_64", "aarch64", "riscv64"):
        print("no system call numbers for", platform.machine())
        sys.exit(77)
    unittest.main(verbosity=2)
