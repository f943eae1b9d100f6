#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""quoit doctor, as its users meet it: on this machine, and where something was taken away from it.

Usage: doctor_test.py PATH-OF-QUOIT [unittest arguments]

A sysctl of the whole machine is changed for a moment: nothing else may run. What takes privileges
is skipped without them; QUOIT_REQUIRE_NETNS=1 in the environment makes that a failure.
"""
import contextlib
import errno
import json
import os
import re
import resource
import socket
import subprocess
import tempfile
import threading
import unittest

import confinement
import program
from confinement import IO_URING_REGISTER, IO_URING_SETUP, PBUF_RING, refuse
from program import run

AT_ONCE = ("--wait", "1ms")


def doctor(*arguments, before=None, wait=AT_ONCE):
    return run("doctor", *wait, *arguments, preexec_fn=before)


def examined(*arguments, before=None, wait=AT_ONCE):
    """Its exit code, its findings by id, and the facts."""
    ended = doctor("--json", *arguments, before=before, wait=wait)
    report = json.loads(ended.stdout)
    return (ended.returncode, {one["id"]: one for one in report["findings"]}, report["facts"])


def troubles(findings):
    return {f"{one['status']} {one['id']}" for one in findings.values()
            if one["status"] in ("WARN", "FAIL")}


def needs_io_uring(test):
    if program.backends() == ["epoll"]:
        test.skipTest("there is no io_uring here to be refused")


def need(test, installer):
    why = confinement.why_not(installer)
    if why is None:
        return
    if os.environ.get("QUOIT_REQUIRE_NETNS") == "1":
        test.fail(why)
    test.skipTest(why)


class OnThisMachine(unittest.TestCase):
    def test_the_facts_are_those_of_the_machine(self):
        _, findings, facts = examined()
        self.assertEqual(facts["kernel"], os.uname().release)
        for name in ("net.core.rmem_max", "net.core.wmem_max", "net.core.netdev_max_backlog",
                     "net.core.netdev_budget", "kernel.io_uring_disabled"):
            if os.path.exists(confinement.path_of(name)):
                self.assertEqual(facts[name], int(confinement.read_sysctl(name)))
            else:
                self.assertIsNone(facts[name])
                self.assertEqual(findings[name]["status"], "unknown")
        self.assertEqual(facts["nofile"], resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self.assertEqual(facts["cpus_allowed"], len(os.sched_getaffinity(0)))

    def test_the_backend_is_the_one_that_programs_get(self):
        _, findings, facts = examined()
        with program.Echo() as echo:
            backend = re.search(r"\(backend (\w+),", echo.first_line)[1]
        self.assertEqual(facts["backend"], backend)
        self.assertEqual(findings["backend"]["current"], backend)
        self.assertEqual(findings["backend"]["status"] == "OK", backend == "io_uring")

    def test_the_report_fits_a_screen_and_has_every_finding(self):
        ended = doctor()
        self.assertEqual(ended.stderr, "")
        self.assertNotIn("\x1b", ended.stdout)
        lines = ended.stdout.splitlines()
        self.assertLessEqual(max(map(len, lines)), 100)
        self.assertRegex(lines[0], r"^quoit \S+ runs on \w+ here: \d+ FAIL, \d+ WARN, \d+ OK, "
                                   r"\d+ unknown$")
        _, findings, _ = examined()
        for one in findings.values():
            self.assertIn(one["name"], ended.stdout)

    def test_a_file_takes_the_json_and_leaves_the_report(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "doctor.json")
            ended = doctor("--json", path)
            self.assertTrue(ended.stdout.startswith("quoit "), ended.stdout)
            with open(path, encoding="utf-8") as file:
                self.assertEqual(json.load(file)["program"], "quoit doctor")
        self.assertEqual(json.loads(doctor("--json", "-").stdout)["program"], "quoit doctor")

    def test_what_is_wrong_on_the_command_line_is_one_line(self):
        for arguments, word in ((["--wait", "0s"], '"0s": expected a duration from 1us to 1h'),
                                (["--wait", "2h"], '"2h": expected a duration from 1us to 1h'),
                                (["--json", "one", "two"], "two"),
                                (["--backend", "kqueue"], "kqueue"), (["--fix", "--json"], "--fix"),
                                (["--nonsense"], "--nonsense")):
            with self.subTest(arguments=arguments):
                ended = run("doctor", *arguments)
                self.assertEqual((ended.returncode, ended.stdout), (2, ""), ended.stderr)
                self.assertEqual(ended.stderr.count("\n"), 1, ended.stderr)
                self.assertIn(word, ended.stderr)

    def test_datagrams_that_are_dropped_meanwhile_are_noticed(self):
        is_over = threading.Event()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as full, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            full.bind(("127.0.0.1", 0))

            def flood():
                while not is_over.is_set():
                    sender.sendto(bytes(1000), full.getsockname())
            flooding = threading.Thread(target=flood)
            flooding.start()
            try:
                code, findings, facts = examined(wait=("--wait", "300ms"))
            finally:
                is_over.set()
                flooding.join()
        self.assertEqual(code, 0)
        self.assertEqual(findings["udp.receive_buffer"]["status"], "WARN")
        self.assertGreater(facts["after"]["udp"]["RcvbufErrors"],
                           facts["before"]["udp"]["RcvbufErrors"])
        self.assertGreaterEqual(facts["seconds"], 0.3)


class WhereSomethingIsRefused(unittest.TestCase):
    def refused(self, before, expected, word):
        """A WARN for those who leave the choice to quoit, a FAIL for those who named io_uring."""
        needs_io_uring(self)
        code, findings, facts = examined(before=before)
        self.assertEqual(code, 0)
        self.assertEqual(facts["backend"], "epoll")
        self.assertLessEqual({f"WARN {one}" for one in expected}, troubles(findings))
        self.assertIn(word, findings["backend"]["why"] + findings["backend"]["remedy"])
        code, findings, facts = examined("--backend", "io_uring", before=before)
        self.assertEqual(code, 1)
        self.assertIsNone(facts["backend"])
        self.assertEqual(findings["backend"]["status"], "FAIL")
        self.assertIn(word, findings["backend"]["why"] + findings["backend"]["remedy"])
        code, findings, facts = examined("--backend", "epoll", before=before)
        self.assertEqual((code, facts["backend"]), (0, "epoll"))
        self.assertNotIn("backend", {one.split()[1] for one in troubles(findings)})
        ended = doctor(before=before)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        self.assertIn("WARN  backend\n", ended.stdout)

    def test_by_a_filter(self):
        self.refused(refuse(IO_URING_SETUP, errno.EPERM),
                     ["backend", "io_uring.ring", "seccomp"], "seccomp")

    def test_for_want_of_buffer_rings(self):
        before = refuse(IO_URING_REGISTER, errno.EINVAL, PBUF_RING)
        self.refused(before, ["backend", "io_uring.buffer_ring"], "buffer rings")
        _, findings, _ = examined(before=before)
        self.assertEqual(findings["io_uring.ring"]["status"], "OK")
        self.assertEqual(findings["io_uring.multishot_receive"]["status"], "unknown")

    def test_for_want_of_lockable_memory(self):
        self.refused(confinement.limit_locked_memory(0), ["backend", "memlock"], "ulimit -l")

    def test_by_the_sysctl(self):
        name = "kernel.io_uring_disabled"
        if (why := confinement.why_not_sysctl(name)) is not None:
            if os.environ.get("QUOIT_REQUIRE_NETNS") == "1":
                self.fail(why)
            self.skipTest(why)
        needs_io_uring(self)
        with confinement.sysctl(name, "2"):
            _, findings, facts = examined()
            code, _, _ = examined("--backend", "io_uring")
            fix = doctor("--fix")
            of_epoll = doctor("--backend", "epoll", "--fix")
        self.assertEqual((facts["backend"], code), ("epoll", 1))
        self.assertEqual(findings[name]["status"], "WARN")
        self.assertEqual(findings[name]["sysctl"], {"name": name, "value": "0"})
        self.assertIn("sysctl -w kernel.io_uring_disabled=0", findings["backend"]["remedy"])
        self.assertIn("every user of this machine.\nkernel.io_uring_disabled = 0\n", fix.stdout)
        self.assertNotIn(f"\n{name}", of_epoll.stdout, "nobody asked for it")
        _, findings, facts = examined()
        self.assertEqual(facts["backend"], "io_uring")
        self.assertEqual(findings[name]["status"], "OK")

    def test_descriptors(self):
        code, findings, _ = examined(before=confinement.limit_descriptors(5))
        self.assertEqual(code, 1)
        self.assertLessEqual({"FAIL backend", "WARN nofile"}, troubles(findings))
        self.assertIn(findings["offload.segmentation"]["status"], ("OK", "unknown"))
        self.assertIn("Too many open files", findings["backend"]["why"])

    def test_all_descriptors_but_one(self):
        _, findings, facts = examined(before=confinement.limit_descriptors(4))
        self.assertIs(facts["offload"]["loopback_is_down"], False)
        for name in ("offload.segmentation", "offload.coalescing", "loopback"):
            self.assertEqual(findings[name]["status"], "unknown", "nothing was sent over it")

    def test_all_cpus_but_one(self):
        one = min(os.sched_getaffinity(0))
        code, findings, facts = examined(before=confinement.run_on_cpus({one}))
        self.assertEqual((code, facts["cpus_allowed"]), (0, 1))
        self.assertEqual(findings["cpus"]["status"], "WARN")
        self.assertEqual("taskset" in findings["cpus"]["remedy"], os.cpu_count() > 1)

    def test_cpu_quotas(self):
        need(self, confinement.show_cgroups())
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            if "0::/" not in file.read():
                self.skipTest("there is no unified hierarchy of cgroups")
        root = {"cgroup_controllers": "cpuset cpu io\n"}
        for texts, quota, status in (
                ({}, None, "unknown"), (root, "unlimited", "OK"),
                ({"cgroup_controllers": "cpuset io\n"}, None, "unknown"),
                # A container's root: what limits it may be above.
                ({**root, "cgroup_type": "domain\n"}, None, "unknown"),
                ({**root, "cpu_max": "50000 100000\n"}, 0.5, "WARN"),
                ({**root, "cpu_max": "max 100000\n"}, "unlimited", "OK")):
            with self.subTest(texts=texts):
                _, findings, facts = examined(before=confinement.show_cgroups(**texts))
                self.assertEqual((facts["cpu_quota"], findings["cpu_quota"]["status"]),
                                 (quota, status))

    def test_loopback(self):
        need(self, confinement.leave_network)
        code, findings, facts = examined(before=confinement.leave_network)
        self.assertEqual(code, 0)
        self.assertIs(facts["offload"]["loopback_is_down"], True)
        self.assertEqual(findings["loopback"]["remedy"], "ip link set lo up")
        self.assertIn("WARN loopback", troubles(findings))
        self.assertEqual(findings["offload.segmentation"]["status"], "unknown")
        self.assertIn("loopback is down", findings["offload.segmentation"]["current"])
        if program.backends() != ["epoll"]:
            self.assertEqual(facts["backend"], "io_uring", "which needs no loopback")

    def test_proc(self):
        need(self, confinement.hide_proc)
        code, findings, facts = examined(before=confinement.hide_proc)
        self.assertEqual(code, 0)
        self.assertNotIn("backend", troubles(findings))
        for name in ("kernel.io_uring_disabled", "net.core.rmem_max", "net.ipv4.udp_mem", "seccomp",
                     "udp.receive_buffer", "softnet.dropped"):
            self.assertEqual(findings[name]["status"], "unknown", name)
            self.assertIn("not readable here", findings[name]["current"])
        self.assertIsNone(facts["after"]["udp"])
        fix = doctor("--fix", before=confinement.hide_proc).stdout
        self.assertIn("# - net.core.rmem_max\n", fix)
        self.assertNotIn("Nothing to mend", fix)


class ItLeavesEverythingAsItIs(unittest.TestCase):
    def test_looking_drops_nothing(self):
        own_network = confinement.all_of(confinement.leave_network, confinement.raise_loopback)
        need(self, own_network)
        _, findings, facts = examined(before=own_network)
        if findings["offload.segmentation"]["status"] == "OK":
            self.assertGreater(facts["after"]["udp"]["InDatagrams"], 0, "it has sent something")
        for family in ("udp", "udp6"):
            if facts["after"][family] is None:
                continue
            for counter in ("RcvbufErrors", "InErrors", "SndbufErrors", "NoPorts"):
                self.assertEqual(facts["after"][family][counter], 0, (family, counter))

    def test_what_fix_prints_mends_what_was_found(self):
        name = "net.core.netdev_budget"
        if (why := confinement.why_not_sysctl(name)) is not None:
            self.skipTest(why)
        with confinement.sysctl(name, "299"):
            self.assertEqual(examined()[1][name]["status"], "WARN")
            fix = doctor("--fix")
            self.assertEqual(confinement.read_sysctl(name), "299", "it changes nothing")
            settings = [line for line in fix.stdout.splitlines()
                        if line and not line.startswith("#")]
            mine = [line for line in settings if line.startswith(name)]
            self.assertEqual(mine, [f"{name} = 300"], fix.stdout)
            with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
                # That one alone: the others would stay on the machine.
                file.write(mine[0] + "\n")
                file.flush()
                with contextlib.suppress(FileNotFoundError):  # no procps
                    subprocess.run(["sysctl", "-q", "-p", file.name], check=True,
                                   env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"})
                    self.assertEqual(examined()[1][name]["status"], "OK")


if __name__ == "__main__":
    if confinement.why_no_filters() is not None:
        print(confinement.why_no_filters())
        raise SystemExit(77)
    program.main()
