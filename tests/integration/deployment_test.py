#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What docs/deploying.md says to deploy quoit with works: a socket that an init system passes on,
the systemd units, the seccomp profile, the Kubernetes example.

Usage: deployment_test.py PATH-OF-QUOIT [unittest arguments]
"""
import contextlib
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import init_system
import program
import seccomp_profile
from init_system import FIRST_DESCRIPTOR, for_it
from program import DEADLINE_S, each_backend, each_worker_count, read_line

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
PROFILE = DOCS / "seccomp/quoit.json"
IO_URING = ("io_uring_enter", "io_uring_register", "io_uring_setup")

def passing(sockets, variables, *arguments):
    """Starts `quoit echo` as an init system would."""
    return subprocess.Popen(
        init_system.command(sockets, variables, program.quoit, "echo", *arguments),
        pass_fds=init_system.numbers(sockets), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@contextlib.contextmanager
def ended(process):
    """Kills what is left of it."""
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def udp_socket(host="127.0.0.1"):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    one = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    one.bind((host, 0))
    return one


class Deployment(unittest.TestCase):
    def asks(self, port, text=b"hello"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(DEADLINE_S)
            client.sendto(text, ("127.0.0.1", port))
            self.assertEqual(client.recv(100), text)

    def ends(self, process):
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=DEADLINE_S)
        self.assertEqual((process.returncode, errors), (0, b""))

    def is_refused(self, process, words):
        output, errors = process.communicate(timeout=DEADLINE_S)
        self.assertEqual((process.returncode, output), (1, b""), errors)
        self.assertRegex(errors.decode(), rf"\Aquoit echo: {words}\n\Z")


class Inherited(Deployment):
    @each_backend
    @each_worker_count
    def test_a_socket_that_is_passed_on_is_served_with_what_it_held(self, backend, workers):
        with udp_socket() as passed, socket.socket(type=socket.SOCK_DGRAM) as early:
            early.settimeout(DEADLINE_S)
            early.sendto(b"before it started", passed.getsockname())
            with ended(passing([passed], for_it(1, "echo"), "--inherited", "echo", "--backend",
                               backend, "--workers", str(workers))) as process:
                port = passed.getsockname()[1]
                self.assertEqual(read_line(process), f"listening on 127.0.0.1:{port} (backend "
                                                     f"{backend}, workers {workers})")
                self.assertEqual(early.recv(100), b"before it started")
                self.asks(port)
                self.ends(process)

    @each_backend
    def test_what_waits_when_it_ends_is_for_the_next_one(self, backend):
        count = 200
        with udp_socket() as passed, socket.socket(type=socket.SOCK_DGRAM) as client:
            granted = passed.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            with tempfile.NamedTemporaryFile() as report, \
                    ended(passing([passed], for_it(1, "echo"), "--inherited", "echo", "--backend",
                                  backend, "--json", report.name)) as process:
                read_line(process)
                # It finds them all when it goes on, behind the signal that ends it.
                process.send_signal(signal.SIGSTOP)
                for _ in range(count):
                    client.sendto(b"x", passed.getsockname())
                process.send_signal(signal.SIGTERM)
                process.send_signal(signal.SIGCONT)
                process.communicate(timeout=DEADLINE_S)
                ledger = json.load(report)["ledger"]["received"]
            self.assertEqual(passed.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), granted)
            left = 0
            passed.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while passed.recv(10):
                    left += 1
            self.assertEqual(ledger["taken"] + left, count, ledger)
            if backend == "epoll":  # takes a part of them in a turn, a ring all
                self.assertGreater(left, 0)

    def test_one_for_both_families_is_served_for_both(self):
        if "IPv6" not in program.families():
            self.skipTest("::1 cannot be bound")
        with udp_socket("::") as passed:
            with ended(passing([passed], for_it(1, "echo"), "--inherited", "echo")) as process:
                read_line(process)
                self.asks(passed.getsockname()[1])
                self.ends(process)

    def test_a_socket_without_a_name_is_unknown(self):
        for names in (None, "", "first:"):
            with self.subTest(names=names), contextlib.ExitStack() as stack:
                passed = [stack.enter_context(udp_socket()) for _ in range(2)]
                process = stack.enter_context(
                    ended(passing(passed, for_it(2, names), "--inherited", "unknown")))
                which = passed[1] if names == "first:" else passed[0]
                self.assertIn(f":{which.getsockname()[1]} ", read_line(process))
                self.ends(process)

    def test_of_several_the_one_of_that_name_is_taken_and_none_leaks_into_children(self):
        with contextlib.ExitStack() as stack:
            passed = [stack.enter_context(udp_socket()) for _ in range(3)]
            process = stack.enter_context(
                ended(passing(passed, for_it(3, "dns:echo:ntp"), "--inherited", "echo")))
            self.assertIn(f":{passed[1].getsockname()[1]} ", read_line(process))
            open_files = list(pathlib.Path(f"/proc/{process.pid}/fdinfo").iterdir())
            self.assertGreaterEqual(len(open_files), FIRST_DESCRIPTOR + 3)
            for one in open_files:
                flags = int(re.search(r"^flags:\s+(\d+)$", one.read_text("ascii"),
                                      re.MULTILINE)[1], 8)
                if int(one.name) >= FIRST_DESCRIPTOR:
                    self.assertTrue(flags & os.O_CLOEXEC, one.name)
            self.ends(process)

    def test_what_is_malformed_is_refused_in_words(self):
        number = "expected a number up to \\d+: Invalid option"
        cases = [
            ({"LISTEN_PID": "PID", "LISTEN_FDS": "one"}, f'LISTEN_FDS is "one", {number}'),
            ({"LISTEN_PID": "PID", "LISTEN_FDS": "-1"}, f'LISTEN_FDS is "-1", {number}'),
            ({"LISTEN_PID": "PID", "LISTEN_FDS": "1 "}, f'LISTEN_FDS is "1 ", {number}'),
            ({"LISTEN_PID": "PID", "LISTEN_FDS": ""}, f'LISTEN_FDS is "", {number}'),
            ({"LISTEN_PID": "PID", "LISTEN_FDS": "99999999999999999999"},
             f'LISTEN_FDS is "9+", {number}'),
            ({"LISTEN_PID": "me", "LISTEN_FDS": "1"}, f'LISTEN_PID is "me", {number}'),
            (for_it(1, "echo:dns"),
             "LISTEN_FDNAMES has 2 names and LISTEN_FDS is 1: Invalid option"),
            (for_it(1000, "echo"), r"LISTEN_FDS is 1000: descriptor \d+: Bad file descriptor"),
        ]
        for variables, words in cases:
            with self.subTest(**variables), udp_socket() as passed:
                with ended(passing([passed], variables, "--inherited", "echo")) as process:
                    self.is_refused(process, words)

    def test_a_name_that_there_is_not_is_refused_with_those_there_are(self):
        missing = 'take the inherited socket "echo"'
        cases = [
            (for_it(1, "dns"), f'{missing} of "dns"'),
            (for_it(0), f"{missing}, and none was passed to this process"),
            ({}, f"{missing}, and none was passed to this process"),
            ({"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "echo"},
             f"{missing}, and none was passed to this process"),
            ({"LISTEN_FDS": "1", "LISTEN_FDNAMES": "echo"},
             f"{missing}, and none was passed to this process"),
        ]
        for variables, words in cases:
            with self.subTest(**variables), udp_socket() as passed:
                with ended(passing([passed], variables, "--inherited", "echo")) as process:
                    self.is_refused(process, f"{words}: No such file or directory")

    def test_what_is_no_socket_is_left_alone(self):
        with open(os.devnull, "rb") as file, udp_socket() as passed:
            with ended(passing([file, passed], for_it(2, "echo:echo"), "--inherited",
                               "echo")) as process:
                self.assertIn(f":{passed.getsockname()[1]} ", read_line(process))
                self.ends(process)

    def test_a_socket_of_another_kind_is_refused(self):
        with socket.create_server(("127.0.0.1", 0)) as passed:
            with ended(passing([passed], for_it(1, "echo"), "--inherited", "echo")) as process:
                self.is_refused(process, ".+: Protocol wrong type for socket")

    def test_an_address_beside_it_is_a_usage_error(self):
        both = program.run("echo", "--bind", "127.0.0.1:0", "--inherited", "echo")
        self.assertEqual((both.returncode, both.stdout), (2, ""))
        self.assertIn("--inherited", both.stderr)

    def test_systemd_itself_starts_it_with_the_first_datagram(self):
        starter = shutil.which("systemd-socket-activate")
        if not starter:
            self.skipTest("systemd-socket-activate is not installed")
        with udp_socket() as free:
            port = free.getsockname()[1]
        with ended(subprocess.Popen(
                [starter, "--datagram", f"--listen=127.0.0.1:{port}", "--fdname=echo",
                 program.quoit, "echo", "--inherited", "echo"], stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)) as process:
            with socket.socket(type=socket.SOCK_DGRAM) as client:
                client.connect(("127.0.0.1", port))
                client.settimeout(0.1)
                end = time.monotonic() + DEADLINE_S
                answer = None
                # Refused until systemd has bound it.
                while answer is None and time.monotonic() < end:
                    with contextlib.suppress(OSError):
                        client.send(b"hello")
                        answer = client.recv(100)
            self.assertEqual(answer, b"hello")
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=DEADLINE_S)
            self.assertEqual(process.returncode, 0)


class Units(unittest.TestCase):
    def setUp(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("systemd-analyze is not installed")

    def test_they_are_as_systemd_wants_them_and_expose_little(self):
        with tempfile.TemporaryDirectory() as directory:
            for unit in sorted((DOCS / "systemd").iterdir()):
                text = unit.read_text("utf-8").replace("/usr/bin/quoit", program.quoit)
                (pathlib.Path(directory) / unit.name).write_text(text, "utf-8")
            service = os.path.join(directory, "quoit-echo.service")
            checked = subprocess.run(
                ["systemd-analyze", "verify", "--man=no", service,
                 os.path.join(directory, "quoit-echo.socket")],
                capture_output=True, text=True, timeout=DEADLINE_S, check=False)
            complaints = [line for line in checked.stderr.splitlines() if "quoit" in line]
            self.assertEqual((checked.returncode, complaints), (0, []), checked.stderr)
            looked_at = subprocess.run(
                ["systemd-analyze", "security", "--offline=true", "--threshold=20", service],
                capture_output=True, text=True, timeout=DEADLINE_S, check=False)
            self.assertEqual(looked_at.returncode, 0, looked_at.stdout[-200:])


class Containers(Deployment):
    def setUp(self):
        if platform.machine() not in seccomp_profile.ARCHITECTURES:
            self.skipTest(f"no seccomp profile for {platform.machine()}")

    def under(self, profile, *arguments):
        return ended(subprocess.Popen(
            [program.quoit, *arguments], preexec_fn=profile.install, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE))

    def serves(self, profile, *arguments):
        """What it runs on, from the program's own line."""
        with self.under(profile, "echo", "--bind", "127.0.0.1:0", *arguments) as process:
            line = read_line(process)
            self.asks(int(re.search(r":(\d+) ", line)[1]))
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=DEADLINE_S)
            self.assertEqual(process.returncode, 0, errors)
            return re.search(r"backend (\w+)", line)[1], errors.decode()

    def test_the_profile_has_no_misspelt_names(self):
        # Runtimes pass over what they do not know.
        profile = seccomp_profile.Profile.read(PROFILE)
        others = {"access", "arch_prctl", "chmod", "dup2", "epoll_wait", "lstat", "open", "poll",
                  "readlink", "select", "stat", "unlink", "getrlimit", "epoll_pwait2",
                  "futex_waitv"}  # which not all architectures or headers have
        self.assertLessEqual(profile.unknown, others)

    @each_backend
    @each_worker_count
    def test_under_the_profile_it_serves_on_either_backend(self, backend, workers):
        profile = seccomp_profile.Profile.read(PROFILE)
        self.assertEqual(self.serves(profile, "--backend", backend, "--workers", str(workers)),
                         (backend, ""))

    def test_without_its_three_calls_the_filter_is_what_keeps_it_from_io_uring(self):
        if "io_uring" not in program.backends():
            self.skipTest("there is no io_uring to be kept from")
        profile = seccomp_profile.Profile.read(PROFILE, without=IO_URING)
        backend, errors = self.serves(profile)
        self.assertEqual(backend, "epoll")
        self.assertIn("seccomp", errors)

    def test_under_the_profile_packets_are_served(self):
        profile = seccomp_profile.Profile.read(PROFILE)
        with self.under(profile, "packets", "serve", "--bind", "127.0.0.1:0") as process:
            port = re.search(r":(\d+) ", read_line(process))[1]
            with self.under(profile, "packets", "send", "--target",
                            f"127.0.0.1:{port}") as client:
                output, errors = client.communicate(timeout=DEADLINE_S)
                self.assertEqual((client.returncode, output), (0, b""), errors)
            self.ends(process)

    def test_the_profile_refuses_what_it_does_not_name(self):
        profile = seccomp_profile.Profile.read(PROFILE)
        tried = subprocess.run(
            [sys.executable, "-c", "import os, sys\n"
             "for call in (lambda: os.mkfifo('/tmp/' + sys.argv[1]), lambda: os.chroot('/')):\n"
             "    try:\n        call()\n    except PermissionError:\n        continue\n"
             "    sys.exit('it was allowed')\n", f"quoit-{os.getpid()}"],
            preexec_fn=profile.install, capture_output=True, text=True, timeout=DEADLINE_S,
            check=False)
        self.assertEqual((tried.returncode, tried.stderr), (0, ""))

    def test_the_kubernetes_example_names_the_profile_and_its_limits(self):
        try:
            import yaml
        except ImportError:
            if program.is_set("CI"):
                raise
            self.skipTest("python3-yaml is not installed")
        with open(DOCS / "kubernetes/quoit-echo.yaml", encoding="utf-8") as file:
            objects = {one["kind"]: one for one in yaml.safe_load_all(file)}
        self.assertEqual(set(objects), {"Deployment", "Service"})
        pod = objects["Deployment"]["spec"]["template"]
        profile = pod["spec"]["securityContext"]["seccompProfile"]
        self.assertEqual(profile["type"], "Localhost")
        self.assertEqual(os.path.basename(profile["localhostProfile"]), PROFILE.name)
        container = pod["spec"]["containers"][0]
        self.assertEqual(set(container["resources"]), {"requests", "limits"})
        # The ports fit each other, and the labels do.
        port = objects["Service"]["spec"]["ports"][0]
        self.assertEqual(port["protocol"], "UDP")
        self.assertEqual(port["targetPort"], container["ports"][0]["name"])
        self.assertEqual(objects["Service"]["spec"]["selector"], pod["metadata"]["labels"])
        self.assertIn(f":{container['ports'][0]['containerPort']}", container["args"])

    def test_the_profile_is_json_that_every_runtime_reads(self):
        with open(PROFILE, encoding="utf-8") as file:
            profile = json.load(file)
        # Docker's own format has archMap instead, and conditions, which the OCI's has not.
        self.assertEqual(set(profile),
                         {"defaultAction", "defaultErrnoRet", "architectures", "syscalls"})
        names = [name for rule in profile["syscalls"] for name in rule["names"]]
        self.assertEqual(len(names), len(set(names)), "a call is named twice")
        self.assertLessEqual(set(IO_URING), set(names))


if __name__ == "__main__":
    program.main()
