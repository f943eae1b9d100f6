#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One run: what client and server are called with, and which system calls count."""

import sys
import unittest
from pathlib import Path
from unittest import mock

import support
from comparison import measure
from comparison.catalogue import SCENARIOS
from comparison.measure import Bench
from comparison.process import ChildFailed
from comparison.selection import Timing

BY_ID = {one.id: one for one in SCENARIOS}
SHORT = Timing(rounds=2, duration_s=0.1, warmup_s=0.0)


def contestant(scenario, name):
    return BY_ID[scenario].row(name).contestant


def bench_on(tree):
    """Nothing is pinned."""
    return Bench(tree, support.SOURCES, support.ONE_CPU, SHORT)


class ClientCommand(unittest.TestCase):
    def command(self, scenario, name="quoit/io_uring"):
        load = contestant(scenario, name).load
        return bench_on(Path("/tree")).client_command(load, "127.0.0.1:7", 42)

    def option(self, command, name):
        return command[command.index(name) + 1]

    def test_p1b_asks_for_trains_of_sixteen(self):
        self.assertEqual(self.option(self.command("P1b"), "--train-max"), "16")

    def test_without_a_limit_trains_are_as_long_as_they_can_be(self):
        for scenario in ("P1", "P2", "P3", "P4", "P6"):
            with self.subTest(scenario=scenario):
                self.assertNotIn("--train-max", self.command(scenario))

    def test_p1b_is_called_like_p1_otherwise(self):
        command = self.command("P1b")
        at = command.index("--train-max")
        self.assertEqual(command[:at] + command[at + 2:], self.command("P1"))

    def test_spins_where_the_load_says_so(self):
        for scenario, spins in (("P1", True), ("P1b", True), ("P2", True), ("P3", False),
                                ("P4", False)):
            with self.subTest(scenario=scenario):
                self.assertEqual("--spin" in self.command(scenario), spins)
        self.assertIn("--spin", self.command("P6", "quoit/busy_poll"))
        self.assertNotIn("--spin", self.command("P6"))

    def test_is_told_the_server_so_that_it_can_read_its_cpu_time(self):
        self.assertEqual(self.option(self.command("P1"), "--server-pid"), "42")


class PacketClientCommand(unittest.TestCase):
    def command(self, scenario):
        load = contestant(scenario, "asio").load
        return bench_on(Path("/tree")).client_command(load, "127.0.0.1:7", 42)

    def test_small_packets_are_pipelined_by_64_and_large_ones_by_4_on_one_connection(self):
        for scenario, outstanding, size in (("P10", "64", "64"), ("P11", "4", "65536")):
            with self.subTest(scenario=scenario):
                command = self.command(scenario)
                options = dict(zip(command[1:-1:2], command[2:-1:2]))
                self.assertEqual(options, {
                    "--target": "127.0.0.1:7", "--connections": "1",
                    "--outstanding": outstanding, "--size": size, "--duration": "0.1",
                    "--warmup": "0.0", "--server-pid": "42"})

    def test_it_is_a_client_of_its_own_that_has_no_offload_and_needs_not_be_told_to_spin(self):
        command = self.command("P10")
        self.assertEqual(command[0], "/tree/bench/packet_client/bench_packet_client")
        self.assertEqual(command[-1], "--json")
        for option in ("--mode", "--flows", "--offload", "--spin"):
            self.assertNotIn(option, command)


class EchoRun(unittest.TestCase):
    CLIENT = {"sent": 10, "received": 10, "lost": 0, "rate": 5.0, "rtt_ns": {"p50": 1},
              "server_cpu_ns_per_packet": 7.0}

    def test_cpu_time_is_read_per_what_was_counted(self):
        self.assertEqual(measure.echo_run(self.CLIENT, "packet").cpu_ns, 7.0)
        self.assertIsNone(measure.echo_run(self.CLIENT).cpu_ns)


class Python(unittest.TestCase):
    def started_with(self):
        return bench_on(Path("/tree")).command(contestant("P9", "twisted").program)

    def test_scripts_run_under_the_systems_python_which_has_its_packages(self):
        with mock.patch.object(measure, "SYSTEM_PYTHON", Path(sys.executable)), \
                mock.patch.object(measure.sys, "executable", "/another/python3"):
            self.assertEqual(self.started_with()[0], str(measure.SYSTEM_PYTHON))
        self.assertEqual(measure.SYSTEM_PYTHON, Path("/usr/bin/python3"))

    def test_without_it_they_run_under_the_drivers_own(self):
        with mock.patch.object(measure, "SYSTEM_PYTHON", Path("/nowhere/python3")):
            self.assertEqual(self.started_with()[0], sys.executable)

    def test_the_script_comes_from_the_sources(self):
        self.assertEqual(self.started_with()[1],
                         str(support.SOURCES / "bench" / "peers" / "peer_twisted.py"))


class IdleCalls(unittest.TestCase):
    """In a FakeTree a server makes 20 system calls to start and to end and 100 for 5000
    datagrams."""

    def setUp(self):
        known = mock.patch.dict(measure._idle_calls, clear=True)
        known.start()
        self.addCleanup(known.stop)

    def test_are_not_among_those_datagrams_are_divided_by(self):
        report = {"engine": {"system_calls": 120}, "ledger": {"received": {"delivered": 5000}}}
        self.assertEqual(measure.system_calls_of(report, 20), 50)
        self.assertIsNone(measure.system_calls_of(report, 120))

    def test_are_subtracted_in_every_run_but_measured_once(self):
        with support.FakeTree() as tree:
            runs = [measure.measure(bench_on(tree.path), contestant("P8", "quoit/io_uring"))
                    for _ in range(3)]
            self.assertEqual([run.per_system_call for run in runs], [50, 50, 50])
            self.assertEqual((len(tree.idle_servers()), len(tree.servers())), (1, 3))

    def test_are_measured_with_the_very_command(self):
        with support.FakeTree() as tree:
            measure.measure(bench_on(tree.path), contestant("P8", "quoit/epoll"))
            idle, = tree.idle_servers()
            busy, = tree.servers()
            self.assertEqual(set(idle[2:-1]), set(busy[2:]) - {busy[busy.index("--json") + 1]})

    def test_are_measured_for_each_command(self):
        with support.FakeTree() as tree:
            for row in BY_ID["P12"].rows:
                measure.measure(bench_on(tree.path), row.contestant)
            workers = [call[call.index("--workers") + 1] for call in tree.idle_servers()]
            self.assertEqual(workers, ["0", "1"])

    def test_are_not_measured_for_peers_which_do_not_tell_theirs(self):
        with support.FakeTree() as tree:
            run = measure.measure(bench_on(tree.path), contestant("P1", "asio"))
            self.assertIsNone(run.per_system_call)
            self.assertEqual(tree.idle_servers(), [])

    def test_a_server_that_cannot_run_idly_has_failed_and_is_not_remembered(self):
        for how in ("crash", "unexplained"):
            with self.subTest(how=how), support.FakeTree({"quoit": how}) as tree:
                with self.assertRaises(ChildFailed):
                    measure.measure(bench_on(tree.path), contestant("P8", "quoit/io_uring"))
                self.assertEqual(measure._idle_calls, {})


if __name__ == "__main__":
    unittest.main(verbosity=2)
