# SPDX-License-Identifier: MIT
"""What the tests of the program quoit share: running it, and checking the ledgers it reports.

Everything that waits has a deadline; only processes started here are ended, by their id.
"""

import contextlib
import errno
import functools
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

DEADLINE_S = 20
LOOPBACK = {"IPv4": "127.0.0.1", "IPv6": "::1"}
FAMILY = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6}

quoit = None  # the program's path


def main():
    """To be called by each test file: takes the program's path off the command line."""
    global quoit
    if len(sys.argv) < 2 or not os.access(sys.argv[1], os.X_OK):
        print(f"usage: {sys.argv[0]} PATH-OF-QUOIT [unittest arguments]", file=sys.stderr)
        sys.exit(2)
    quoit = os.path.abspath(sys.argv.pop(1))
    unittest.main(module="__main__", verbosity=2)


def run(*arguments, **options):
    """Runs the program to its end."""
    return subprocess.run([quoit, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=DEADLINE_S, check=False, **options)


def is_set(name):
    return os.environ.get(name) in ("1", "true")


# What the program says when this machine, or this build, has no io_uring. Whatever else it says
# is a failure of the program.
NO_IO_URING = re.compile(r"quoit echo: (io_uring (\(|self-test: ).+)\n")
NOT_BUILT_IN = "quoit was built without it"


@functools.cache
def backends():
    """Both, or epoll alone where there is no io_uring; says why. Only the program's own words
    count as a reason, and none but NOT_BUILT_IN where QUOIT_REQUIRE_IO_URING is 1."""
    tried = run("echo", "--bind", "127.0.0.1:0", "--backend", "io_uring", "--duration", "1ms")
    if tried.returncode == 0:
        return ["io_uring", "epoll"]
    reason = NO_IO_URING.fullmatch(tried.stderr)
    if tried.returncode != 1 or not reason:
        raise AssertionError(f"quoit echo on io_uring ended with {tried.returncode}: "
                             f"{tried.stderr!r}")
    if is_set("QUOIT_REQUIRE_IO_URING") and NOT_BUILT_IN not in reason[1]:
        raise AssertionError(f"io_uring is required here: {reason[1]}")
    print(f"skipped: backend io_uring: {reason[1]}")
    return ["epoll"]


@functools.cache
def families():
    """Those this machine has; says when IPv6 is left out."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError as why:
        if why.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise
        print(f"skipped: IPv6: ::1 cannot be bound: {why}")
        return ["IPv4"]
    return ["IPv4", "IPv6"]


def need_tool(test, name):
    """Skips the test where this program of others is missing; fails where tests must not be
    skipped."""
    if shutil.which(name):
        return
    if is_set("QUOIT_REQUIRE_IO_URING") or is_set("CI"):
        test.fail(f"{name} is not installed")
    test.skipTest(f"{name} is not installed")


def each(name, values):
    """Decorates a test: it runs once for each value, handed over as the argument `name`, and a
    failure says for which."""
    def decorate(test):
        @functools.wraps(test)
        def wrapped(self, **given):
            chosen = values() if callable(values) else values
            self.assertTrue(chosen, f"no {name} to run with")
            for value in chosen:
                with self.subTest(**{name: value}):
                    test(self, **given, **{name: value})
        return wrapped
    return decorate


each_backend = each("backend", backends)
each_family = each("family", families)
each_worker_count = each("workers", (0, 1))


def bind_text(host, port=0):
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Echo:
    """A running `quoit echo`. Use with `with`; stop() ends it and reads its report."""
    command = ("echo",)

    def __init__(self, host="127.0.0.1", backend="auto", workers=0, port=0, arguments=()):
        self._directory = tempfile.TemporaryDirectory()
        self._json = os.path.join(self._directory.name, "echo.json")
        self.process = subprocess.Popen(
            [quoit, *self.command, "--bind", bind_text(host, port), "--backend", backend, "--workers",
             str(workers), "--json", self._json, *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.first_line = read_line(self.process)
        # "listening on ADDRESS:PORT (backend ...": ADDRESS:PORT of the first, if there are several
        self.target = self.first_line.split()[2].rstrip(",")
        self.port = int(self.target.rpartition(":")[2])
        self.address = (host, self.port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self._directory.cleanup()

    def stop(self, how=signal.SIGTERM):
        """Returns the exit code, the rest of the output, what was complained, and the JSON."""
        if how is not None:
            self.process.send_signal(how)
        out, err = self.process.communicate(timeout=DEADLINE_S)
        report = None
        if os.path.exists(self._json):
            with open(self._json, encoding="utf-8") as file:
                report = json.load(file)
        return self.process.returncode, out.decode(), err.decode(), report


class PacketServer(Echo):
    """A running `quoit packets serve`."""
    command = ("packets", "serve")


def read_line(process, stream=None):
    """One line, read byte by byte so that nothing behind it is taken."""
    descriptor = (stream or process.stdout).fileno()
    end = time.monotonic() + DEADLINE_S
    line = b""
    while not line.endswith(b"\n"):
        left = end - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            raise TimeoutError(f"no whole line within {DEADLINE_S} s, only {line!r}")
        byte = os.read(descriptor, 1)
        if not byte:
            errors = process.stderr.read().decode() if process.stderr else ""
            raise EOFError(f"the output ended after {line!r}: {errors}")
        line += byte
    return line.decode().rstrip("\n")


@contextlib.contextmanager
def client(echo, family="IPv4"):
    """A plain socket connected to the server."""
    with socket.socket(FAMILY[family], socket.SOCK_DGRAM) as one:
        one.settimeout(DEADLINE_S)
        one.connect(echo.address)
        yield one


def host_backlog_drops():
    """Datagrams dropped in front of every socket of the host, all CPUs together: the second number
    of each line, hexadecimal (net/core/net-procfs.c). They never reached the socket."""
    try:
        with open("/proc/net/softnet_stat", encoding="ascii") as table:
            return sum(int(line.split()[1], 16) for line in table)
    except FileNotFoundError:
        return 0


def check_ledger(test, ledger):
    """The three identities, from the figures themselves."""
    received, sent = ledger["received"], ledger["sent"]
    dropped = received["dropped"]
    test.assertEqual(received["taken"],
                     received["passed"] + dropped["invalid"] + dropped["late"])
    test.assertEqual(received["passed"],
                     received["delivered"] + dropped["queue_full"] + dropped["abandoned"] +
                     received["waiting"])
    test.assertEqual(sent["accepted"],
                     sent["sent"] + sent["waiting"] + sent["errors"] + sent["dropped"])
    test.assertEqual(ledger["unexplained"], 0)


def check_packet_ledger(test, ledger):
    """The three identities of packets over TCP, from the figures themselves."""
    received, sent, connections = ledger["received"], ledger["sent"], ledger["connections"]
    test.assertEqual(received["packets"],
                     received["delivered"] + received["waiting"] + received["abandoned"])
    test.assertEqual(sent["accepted"], sent["sent"] + sent["waiting"] + sent["dropped"])
    test.assertEqual(connections["made"],
                     sum(connections[how] for how in ("open", "ended", "reset", "framing", "slow",
                                                      "timed_out", "closed")))
    test.assertEqual(ledger["unexplained"], 0)
