#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench/compare as its users meet it, on a build tree of fakes: no datagram is sent."""

import json
import os
import signal
import tempfile
import time
import unittest
from pathlib import Path

from support import COMPARE, DEADLINE_S, FakeTree

P1 = ("--only", "P1", "--rounds", "2", "--quick")
P8 = ("--only", "P8", "--rounds", "2", "--quick")  # two contestants are enough for most
WAITING = {}


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def setUpModule():
    """Those that wait for a limit of several seconds wait while the other tests run."""
    for how in ("mute", "stay"):
        tree = unittest.enterModuleContext(FakeTree({"peer_libuv": how}))
        WAITING[how] = tree, tree.start(*P1)
        unittest.addModuleCleanup(end, WAITING[how][1])


def end(driver):
    if driver.poll() is None:
        driver.terminate()
        driver.communicate(timeout=DEADLINE_S)


class P1Runs(unittest.TestCase):
    """One run of P1, from all sides."""

    @classmethod
    def setUpClass(cls):
        cls.tree = cls.enterClassContext(FakeTree())
        scratch = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.file, cls.drawing = scratch / "out.json", scratch / "out.svg"
        cls.ended = cls.tree.compare(*P1, "--json", str(cls.file), "--svg", str(cls.drawing))

    def test_prints_its_table_and_ends_with_0(self):
        self.assertEqual(self.ended.returncode, 0, self.ended.stderr)
        self.assertRegex(self.ended.stdout, r"holds +quoit/io_uring >= 8 x asio: 14\.3 \[")
        self.assertIn("ahead of quoit: ceiling/mmsg", self.ended.stdout)
        self.assertTrue(self.ended.stdout.endswith("3 of 3 targets hold\n"))

    def test_contestants_take_turns_each_with_a_fresh_server(self):
        servers = self.tree.servers()
        names = [call[0] for call in servers]
        self.assertEqual(names, names[:8] * 2)
        self.assertEqual(len({call[1] for call in servers}), 16)

    def test_idle_servers_run_once_however_many_rounds_there_are(self):
        backends = [call[call.index("--backend") + 1] for call in self.tree.idle_servers()]
        self.assertEqual(backends, ["io_uring", "epoll"])

    def test_every_server_binds_a_port_of_the_kernels_choice(self):
        for call in self.tree.servers() + self.tree.idle_servers():
            self.assertEqual(call[call.index("--bind") + 1], "127.0.0.1:0")

    def test_every_client_spins(self):
        self.assertEqual(len(self.tree.clients()), 16)
        for call in self.tree.clients():
            self.assertIn("--spin", call)

    def test_json_and_svg_are_written(self):
        report = json.loads(self.file.read_text(encoding="utf-8"))
        rates = {row["name"]: row["rate"] for row in report["scenarios"][0]["contestants"]}
        self.assertEqual((rates["asio"], rates["plain/mmsg"]), (210e3, 330e3))
        self.assertTrue(self.drawing.read_text(encoding="utf-8").startswith("<svg "))


class Runs(unittest.TestCase):
    def test_what_only_a_receiver_reports_is_used(self):
        with FakeTree() as tree:
            ended = tree.compare("--only", "P5", "--quick", "--rounds", "2")
            self.assertEqual(ended.returncode, 0, ended.stderr)
            self.assertRegex(ended.stdout, r"raw/gro .* 950 k ")
            for call in tree.clients():
                self.assertEqual(call[call.index("--warmup") + 1], "0.0")

    def test_benchmarks_system_calls_and_ping_pong_have_their_own_figures(self):
        with FakeTree() as tree, tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "out.json"
            ended = tree.compare("--only", "P6,P7,P8", "--quick", "--rounds", "2", "--json",
                                 str(file))
            self.assertEqual(ended.returncode, 0, ended.stderr)
            ping, queue, calls = json.loads(file.read_text(encoding="utf-8"))["scenarios"]
            self.assertEqual(queue["contestants"][0]["rate"], 2e8)
            self.assertEqual(calls["contestants"][0]["value"], 50)
            self.assertIn("p99.9", ping["contestants"][0]["rtt_ns"])
            spinning = [call for call in tree.calls() if "--spin" in call]
            self.assertTrue(spinning or os.cpu_count() == 1)


    def test_packets_have_their_own_client_and_their_own_figures(self):
        with FakeTree() as tree, tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "out.json"
            ended = tree.compare("--only", "P10,P11", "--quick", "--rounds", "2", "--json",
                                 str(file))
            self.assertEqual(ended.returncode, 0, ended.stderr)
            self.assertEqual({call[0] for call in tree.clients()}, {"bench_packet_client"})
            small, large = json.loads(file.read_text(encoding="utf-8"))["scenarios"]
            self.assertEqual((small["id"], large["id"]), ("P10", "P11"))
            for scenario in small, large:
                asio = next(row for row in scenario["contestants"] if row["name"] == "asio")
                self.assertEqual(asio["rate"], 1.4e6)
                self.assertAlmostEqual(asio["cpu_ns"], 1e9 / 1.4e6)
                self.assertAlmostEqual(asio["rtt_ns"]["p50"], 2e10 / 1.4e6)
            self.assertRegex(ended.stdout, r"holds +quoit/io_uring >= 1\.5 x asio: 2\.14 \[")
            self.assertRegex(ended.stdout, r"holds +quoit/io_uring >= 1 x asio: 2\.14 \[")


class Failures(unittest.TestCase):
    def test_a_contestant_that_crashes_is_named_and_the_others_go_on(self):
        with FakeTree({"peer_asio": "crash"}) as tree:
            ended = tree.compare(*P1)
            self.assertEqual(ended.returncode, 1)
            self.assertIn("asio  FAILED: ended before it listened (status 1): no sockets left",
                          ended.stdout)
            self.assertIn("asio in P1 failed", ended.stdout)
            self.assertRegex(ended.stdout, r"libuv +250 k")

    def test_zero_delivered_corruption_and_an_inexact_ledger_fail(self):
        for program, how, words in (("bench_client", "silence", "nothing was delivered"),
                                    ("bench_client", "corrupt", "7 answers were corrupted"),
                                    ("quoit", "unexplained", "leaves 3 unexplained")):
            with self.subTest(how=how), FakeTree({program: how}) as tree:
                ended = tree.compare(*P8)
                self.assertEqual(ended.returncode, 1)
                self.assertIn(f"quoit/io_uring  FAILED: {words}"
                              if how != "unexplained" else f"its ledger {words}", ended.stdout)

    def test_a_peer_that_lacks_its_library_is_skipped_with_a_word(self):
        with FakeTree({"peer_asio": "skip"}, without=("bench/peers/peer_libuv",)) as tree:
            ended = tree.compare(*P1)
            self.assertEqual(ended.returncode, 0)
            self.assertIn("asio  skipped: no module named fake", ended.stdout)
            self.assertIn("libuv  skipped: not built", ended.stdout)
            self.assertIn("not measured  quoit/io_uring >= 8 x libuv", ended.stdout)

    def test_packets_that_are_changed_doubled_or_unexplained_fail(self):
        for program, how, words in (
                ("bench_packet_client", "silence", "nothing was delivered"),
                ("bench_packet_client", "corrupt", "7 answers were corrupted"),
                ("quoit", "unexplained", "its ledger leaves 3 unexplained")):
            with self.subTest(how=how), FakeTree({program: how}) as tree:
                ended = tree.compare("--only", "P10", "--rounds", "2", "--quick")
                self.assertEqual(ended.returncode, 1)
                self.assertIn(f"quoit/io_uring  FAILED: {words}", ended.stdout)

    def test_without_the_client_for_packets_only_these_fail(self):
        with FakeTree(without=("bench/packet_client/bench_packet_client",)) as tree:
            ended = tree.compare("--only", "P8,P10", "--rounds", "2", "--quick")
            self.assertEqual(ended.returncode, 1)
            self.assertIn("plain/epoll in P10 failed: the client: cannot start", ended.stdout)
            self.assertIn("2 of 3 targets hold", ended.stdout)

    def test_quoit_itself_must_be_there(self):
        with FakeTree(without=("tools/quoit",)) as tree:
            ended = tree.compare(*P1)
            self.assertEqual(ended.returncode, 1)
            self.assertRegex(ended.stdout, "quoit/epoll  FAILED: .*tools/quoit does not exist")

    def test_a_missed_target_is_a_result_unless_strict(self):
        missed = r"MISSED +quoit/io_uring >= 32 datagrams per system call: 5 \["
        with FakeTree({"quoit": "chatty"}) as tree:
            for arguments, status in ((P8, 0), ((*P8, "--strict"), 3)):
                ended = tree.compare(*arguments)
                self.assertEqual(ended.returncode, status)
                self.assertRegex(ended.stdout, missed)
        with FakeTree() as tree:
            self.assertEqual(tree.compare(*P8, "--strict").returncode, 0)

    def test_an_interrupt_ends_every_child(self):
        for how in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=how.name), FakeTree({"quoit": "mute"}) as tree:
                driver = tree.start(*P1)
                end = time.monotonic() + DEADLINE_S
                while not tree.calls() and time.monotonic() < end:
                    time.sleep(0.01)
                driver.send_signal(how)
                _, errors = driver.communicate(timeout=DEADLINE_S)
                self.assertEqual(driver.returncode, 130, errors)
                self.assertIn("interrupted", errors)
                self.assertEqual([call for call in tree.calls() if is_alive(call[1])], [])


class Usage(unittest.TestCase):
    def check(self, words, *arguments):
        with FakeTree() as tree:
            ended = tree.compare(*arguments)
            self.assertEqual(ended.returncode, 2, ended.stdout + ended.stderr)
            self.assertIn(words, ended.stderr)
            self.assertEqual(tree.calls(), [])

    def test_what_cannot_be_done_is_refused_before_anything_runs(self):
        self.check("no scenario P99; there are P1, P1b, P2", "--only", "P99")
        self.check("at least 2", "--rounds", "1")
        self.check("--svg draws P1", "--only", "P2", "--svg", "unused.svg")
        self.check("cannot be written", "--json", "/nowhere/out.json")
        self.check("unrecognized arguments: --fast", "--fast")

    def test_a_tree_without_the_client_is_refused(self):
        with FakeTree(without=("bench/client/bench_client",)) as tree:
            ended = tree.compare(*P1)
            self.assertEqual(ended.returncode, 1)
            self.assertIn("there is no bench/client/bench_client in it", ended.stderr)

    def test_list_runs_nothing(self):
        with FakeTree() as tree:
            ended = tree.compare("--list")
            self.assertEqual(ended.returncode, 0)
            self.assertIn("P13  ", ended.stdout)
            self.assertEqual(tree.calls(), [])
            self.assertTrue(os.access(COMPARE, os.X_OK))


class Waits(unittest.TestCase):
    """Last, because their drivers were started first."""

    def ended(self, how):
        tree, driver = WAITING[how]
        output, _ = driver.communicate(timeout=DEADLINE_S)
        self.assertEqual(driver.returncode, 1)
        for call in tree.calls():
            self.assertFalse(is_alive(call[1]))
        return output

    def test_one_that_never_listens_is_not_awaited_forever(self):
        self.assertIn("libuv  FAILED: printed no line within 5 s", self.ended("mute"))

    def test_one_that_ignores_sigterm_is_ended_all_the_same(self):
        self.assertIn("libuv  FAILED: did not end within 5 s of SIGTERM", self.ended("stay"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
