#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The examples do what they say.

Usage: examples_test.py DIRECTORY-OF-THE-EXAMPLES [unittest arguments]

They listen on the port that their texts name, 9999. So that nobody else's program is in the way,
this runs in a network namespace of its own where that is allowed.
"""
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import time
import unittest

DEADLINE_S = 30
PORT = 9999
LOOP_PORT = 9998  # of batches, turned by hand
INSIDE = "QUOIT_TEST_INSIDE_NAMESPACE"
examples = None


def enter_namespace():
    """Runs this script again in a fresh network namespace. Where there can be none: returns, or
    ends with 1 if QUOIT_REQUIRE_NETNS is 1."""
    lo_up = ["ip", "link", "set", "lo", "up"]
    if INSIDE in os.environ:
        subprocess.run(lo_up, check=True)
        return
    unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    try:
        subprocess.run([*unshare, *lo_up], check=True, capture_output=True, text=True)
    except FileNotFoundError as why:
        reason = str(why)
    except subprocess.CalledProcessError as why:
        reason = why.stderr.strip()
    else:
        os.environ[INSIDE] = "1"
        os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])
    if os.environ.get("QUOIT_REQUIRE_NETNS") == "1":
        print(f"a network namespace is required here: {reason}", file=sys.stderr)
        sys.exit(1)
    print(f"no network namespace, in the host's then: {reason}")


def is_listening(pid, port):
    """Whether this process has a socket bound to `port`, by what the kernel lists."""
    inodes = set()
    for family in ("udp", "udp6"):
        with open(f"/proc/net/{family}", encoding="ascii") as table:
            for line in list(table)[1:]:
                fields = line.split()
                if int(fields[1].split(":")[1], 16) == port:
                    inodes.add(fields[9])
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue
        if target.removeprefix("socket:[").rstrip("]") in inodes:
            return True
    return False


def handles(pid, wanted):
    """Whether this process has a handler for the signal."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        caught = next(line for line in status if line.startswith("SigCgt:"))
    return int(caught.split()[1], 16) >> (wanted - 1) & 1 == 1


class Server:
    """An example in the background; ended by its process id if it does not end by itself."""

    def __init__(self, *arguments, port=PORT, stdout=subprocess.PIPE):
        self.process = subprocess.Popen([os.path.join(examples, arguments[0]), *arguments[1:]],
                                        stdout=stdout, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + DEADLINE_S
        while not is_listening(self.process.pid, port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise AssertionError(f"{arguments[0]} does not listen: "
                                     f"{self.process.communicate()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def end(self):
        return self.process.communicate(timeout=DEADLINE_S)


def run(name, *arguments):
    return subprocess.run([os.path.join(examples, name), *arguments], capture_output=True,
                          text=True, timeout=DEADLINE_S, check=False)


class Examples(unittest.TestCase):
    def test_five_clients_get_their_echo_and_the_server_ends(self):
        with Server("echo_server") as server:
            for _ in range(5):
                client = run("echo_client")
                self.assertEqual((client.returncode, client.stdout),
                                 (0, "Received Hello, World!\n"), client.stderr)
            output, errors = server.end()
            self.assertEqual(server.process.returncode, 0, errors)
            self.assertEqual(output.count("Received Hello, World! from 127.0.0.1:"), 5)

    def test_a_used_port_is_one_line_of_words_and_status_1(self):
        with Server("graceful_shutdown"):
            second = run("echo_server")
        self.assertEqual(second.returncode, 1)
        self.assertEqual(second.stderr,
                         "error: listen 127.0.0.1:9999: Address already in use\n")

    def test_a_client_without_a_server_hears_of_it(self):
        client = run("echo_client")
        self.assertEqual(client.returncode, 1)
        self.assertIn("Connection refused", client.stderr)

    def test_a_thousand_requests_are_answered_and_the_ledger_adds_up(self):
        with Server("graceful_shutdown") as server:
            requests = run("requests")
            self.assertEqual((requests.returncode, requests.stdout),
                             (0, "1000 answers, all in time\n"), requests.stderr)
            server.process.send_signal(signal.SIGTERM)
            output, errors = server.end()
        self.assertEqual(server.process.returncode, 0, errors)
        self.assertIn(f"signal {int(signal.SIGTERM)}, closing", output)
        self.assertIn("unexplained 0", output)
        self.assertIn("0 replies refused", output)

    def test_a_signal_that_comes_while_it_says_that_it_listens_is_not_missed(self):
        for wanted in (signal.SIGTERM, signal.SIGINT):
            # It waits for room to say it in, and must already handle the signal.
            reader, writer = os.pipe()
            with open(reader, encoding="ascii") as output:
                size = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
                os.write(writer, b"." * size)
                with Server("graceful_shutdown", stdout=writer) as server:
                    os.close(writer)
                    deadline = time.monotonic() + DEADLINE_S
                    while not handles(server.process.pid, wanted):
                        self.assertLess(time.monotonic(), deadline, f"{wanted} is not handled")
                    server.process.send_signal(wanted)
                    said = output.read().lstrip(".")
                    _, errors = server.end()
            self.assertEqual(server.process.returncode, 0, errors)
            self.assertTrue(said.startswith(f"listening on 127.0.0.1:{PORT}\n"), said)
            self.assertIn(f"signal {int(wanted)}, closing", said)

    def test_batches_count_every_datagram(self):
        with Server("batches") as server:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for number in range(100):
                    sender.sendto(b"%d" % number, ("127.0.0.1", PORT))
            output, errors = server.end()
        self.assertEqual(server.process.returncode, 0, errors)
        self.assertTrue(output.startswith("100 datagrams, 0 congested, "), output)

    def test_batches_turned_by_hand_end_when_they_have_their_count(self):
        deadline = time.monotonic() + DEADLINE_S
        with Server("batches", "1000", port=LOOP_PORT) as server:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                # Some may find the socket full.
                while server.process.poll() is None and time.monotonic() < deadline:
                    sender.sendto(b"x", ("127.0.0.1", LOOP_PORT))
            output, errors = server.end()
        self.assertEqual(server.process.returncode, 0, errors)
        match = re.fullmatch(r"(\d+) datagrams, (\d+) ns at worst\n", output)
        self.assertTrue(match, output)
        self.assertGreaterEqual(int(match[1]), 1000)
        self.assertGreater(int(match[2]), 0)  # the kernel's timestamps arrived



if __name__ == "__main__":
    if len(sys.argv) < 2 or not os.path.isdir(sys.argv[1]):
        print(__doc__)
        sys.exit(2)
    enter_namespace()
    examples = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
